"""Scores of questions over people as functions of people's weights, for resampling.

They need products of answers with weights only, which for many weights at once are products of
matrices.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..calibration.problem import scaled_columns

VARIES = 1e-5
"""Variance, in units of that of everybody's answers, above which a side is taken to vary."""

Mean = Callable[[Float[Array, "*c t n"]], Float[Array, "*c t"]]


def weighted_mean(
    used: Bool[Array, "t n"], people: Float[Array, " n"]
) -> tuple[Mean, Float[Array, " t"]]:
    """A function that takes means over the people who are `used`, and their weight.

    **Arguments:** `used`: (t, n); `people`: (n,) weights. Values must be 0 where not used.
    """
    total = used.astype(people.dtype) @ people
    safe = jnp.where(total > 0, total, 1)

    def mean(values: Float[Array, "*c t n"]) -> Float[Array, "*c t"]:
        return values @ people / safe.reshape((1,) * (values.ndim - 2) + safe.shape)

    return mean, total


def mean_correlation(mean: Mean, x: Float[Array, "t n"], y: Float[Array, "t n"]):
    """(t,) correlation from means of products; 0 where a side does not vary.

    `x` and `y` must be in units of their standard deviation, from [`scaled_rows`][].
    """
    mx, my = mean(x), mean(y)
    xx, yy = mean(x * x) - mx * mx, mean(y * y) - my * my
    usable = (xx > VARIES) & (yy > VARIES)
    scale = jnp.sqrt(jnp.where(usable, xx * yy, 1))
    return jnp.where(usable, jnp.clip((mean(x * y) - mx * my) / scale, -1, 1), 0)


def scaled_rows(
    values: Float[Array, "t n"], used: Bool[Array, "t n"], weight: Float[Array, " n"]
) -> Float[Array, "t n"]:
    """Rows less their mean over their standard deviation, 0 where not used or all are alike."""
    rows = jnp.where(used, weight[None, :], 0)
    scaled, _, _ = scaled_columns(values.T, rows.T, 0.0)
    return jnp.where(used, scaled.T, 0)
