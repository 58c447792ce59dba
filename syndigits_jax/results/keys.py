"""Random keys on the host: what a function that draws with NumPy, or hashes, makes of its `key`.

Numerics take JAX keys alone. Functions that read files, write prompts or simulate data also take an
integer, which stands for a key; JAX is imported only where a key is one of its own.
"""

import numbers
from typing import Any

Key = Any
"""A JAX random key, or an integer that stands for one."""


def entropy(key: Key) -> int | list[int]:
    """A seed for NumPy: an integer as it is, a JAX key as its data.

    The same key gives the same seed on any version of JAX.

    **Raises:** `ValueError` for anything else.
    """
    if isinstance(key, numbers.Integral) and not isinstance(key, bool):
        return int(key)
    import jax

    from ..solvers.keys import key_data

    if not isinstance(key, jax.Array):
        raise ValueError(f"`key` must be a JAX random key or an integer, got {key!r:.80}")
    return key_data(key).ravel().tolist()


def random_key(key: Key) -> Any:
    """A JAX random key: the one that is given, or one made from an integer.

    **Raises:** `ValueError` for anything else.
    """
    import jax

    found = entropy(key)
    return jax.random.key(found) if isinstance(found, int) else key
