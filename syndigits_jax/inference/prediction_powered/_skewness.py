"""The ends of a t interval, corrected for the skewness of what an estimate sums.

Source: Hall (1992), "On the removal of skewness by transformation", after Johnson (1978). T is the
sum of rows over its estimated error. Where rows are skewed to the right, a sum that is too small
comes with an estimated error that is too small, so that T is skewed to the left. With A the
skewness of the sum,

    g(T) = T + A (1 + 2 T²) / 6 + A² T³ / 27, so that (1 + A T / 3)³ = 1 + A (g(T) - A / 6),

has none to second order and is monotone. The ends are where it is the usual quantile t.

As A is estimated, coverage then falls short by

    (K - 3 A² / 2) t (2 t² + 1) φ(t) / 3,

with K the excess kurtosis of the sum (Hall, 1988, "Theoretical comparison of bootstrap confidence
intervals"): nothing for normal and for exponential answers, something for symmetric ones with heavy
tails. Where it is positive, the quantile is raised by as much.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..student_t import student_t_quantile


def skewed_ends(
    row: Float[Array, " n"], df: Float[Array, ""], level: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The ends of an interval for an error, (lower, upper), in standard errors.

    **Arguments:** `row`: independent contributions to the error, with a sum of squares of 1 (or all
    0); `df`: degrees of freedom; `level`: the share that is covered.
    """
    people = df + 1
    # That of a sample is too small: the usual adjustment.
    unbiased = jnp.sqrt(people * df) / jnp.maximum(df - 1, 1)
    skewness = unbiased * jnp.sum(row**3)
    kurtosis = jnp.sum(row**4) - 3 / people
    t = student_t_quantile(level, df)
    t = t + t * (2 * t**2 + 1) / 6 * jnp.maximum(kurtosis - 1.5 * skewness**2, 0)

    def end(quantile: Float[Array, ""]) -> Float[Array, ""]:
        moved = quantile - skewness / 6
        # 3 (∛(1 + A moved) - 1) / A, without the difference or the division.
        root = jnp.cbrt(1 + skewness * moved)
        return 3 * moved / (1 + root + root**2)

    return -end(t), -end(-t)
