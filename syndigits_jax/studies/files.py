"""Files written whole or not at all."""

from syndigits_jax._files import remove_partial, replacing, write_text

__all__ = ["remove_partial", "replacing", "write_text"]
