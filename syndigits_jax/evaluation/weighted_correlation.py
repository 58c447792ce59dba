"""Correlations over people with weights, many at once."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..inference.alike import alike


def weighted_correlation(
    x: Float[Array, "*t n"], y: Float[Array, "*t n"], weight: Float[Array, "*t n"]
) -> Float[Array, "*t"]:
    """Pearson correlation over the last axis; NaN where either side does not vary.

    **Arguments:** `x`, `y`: (..., n) finite numbers; `weight`: (..., n), at least 0.
    """
    total = jnp.sum(weight, axis=-1, keepdims=True)
    share = weight / jnp.where(total > 0, total, 1)

    def centred(values):
        # A second pass: the mean of many numbers is off by more than their rounding.
        values = values - jnp.sum(share * values, axis=-1, keepdims=True)
        return values - jnp.sum(share * values, axis=-1, keepdims=True)

    constant = alike(x, weight > 0, -1) | alike(y, weight > 0, -1)
    x, y = centred(x), centred(y)
    xx, yy = jnp.sum(share * x * x, axis=-1), jnp.sum(share * y * y, axis=-1)
    usable = (xx > 0) & (yy > 0) & ~constant
    scale = jnp.sqrt(jnp.where(usable, xx, 1)) * jnp.sqrt(jnp.where(usable, yy, 1))
    correlation = jnp.clip(jnp.sum(share * x * y, axis=-1) / scale, -1, 1)
    return jnp.where(usable, correlation, jnp.nan)
