"""`python -m syndigits_jax.cli`, where the `syndigits` script is not on the path."""

from syndigits_jax.cli import main

main()
