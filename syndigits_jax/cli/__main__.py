"""`python -m syndigits_jax.cli`, for use without the `syndigits` script on the path."""

from syndigits_jax.cli import main

main()
