"""Gram matrices."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

WIDE = 1024  # columns from which half a product is faster than a whole one
_STRIPS = 4


def gram_matrix(weighted: Float[Array, "n p"], x: Float[Array, "n p"]) -> Float[Array, "p p"]:
    """`weighted.T @ x`, where `weighted` is `x` with its rows times weights: a symmetric matrix.

    Of many columns only four strips are computed, each from the diagonal on: five eighths of the
    operations.
    """
    p = x.shape[1]
    if p < WIDE:
        return weighted.T @ x
    # Without it what precedes is computed anew for every strip.
    weighted, x = lax.optimization_barrier((weighted, x))
    size = -(-p // _STRIPS)
    strips = [
        jnp.pad(weighted[:, i : i + size].T @ x[:, i:], ((0, 0), (i, 0))) for i in range(0, p, size)
    ]
    upper = jnp.triu(jnp.concatenate(strips))
    return upper + jnp.triu(upper, 1).T
