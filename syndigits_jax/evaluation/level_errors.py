"""Which questions' means are missed by more than the sampling of people explains."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..inference.alike import alike
from ..inference.sample_weight import checked_weight
from ..inference.student_t import student_t_quantile
from ..solvers.boundary import Numbers, as_floats
from ..solvers.checks import check_fraction

FEWEST_PEOPLE = 10
"""People, by Kish's number, whose differences a t test needs; they are few whole numbers."""


class LevelErrors(eqx.Module):
    """Errors of means, with intervals that hold for all questions at once.

    - `error`: (t,) mean of predictions less mean of answers of the same people; NaN with fewer than
      [`FEWEST_PEOPLE`][] of them.
    - `lower`, `upper`: (t,) simultaneous ends (Bonferroni).
    - `beyond`: (t,) whether the error differs from 0; with probability `level` all of them do
      (Holm, 1979). Where no difference varies nothing is said.
    """

    error: Float[Array, " t"]
    lower: Float[Array, " t"]
    upper: Float[Array, " t"]
    beyond: Bool[Array, " t"]
    level: float = eqx.field(static=True)


def level_errors(
    prediction: Numbers,
    truth: Numbers,
    *,
    sample_weight: Numbers | None = None,
    level: float = 0.95,
) -> LevelErrors:
    """Errors of questions' means beyond the sampling of people, over paired answers.

    **Arguments:** `prediction`, `truth`: (t, n), a row per question, NaN where missing;
    `sample_weight`: (n,) weights of the people, whose number is Kish's; `level`: with which all
    statements hold at once.

    **Returns:** [`LevelErrors`][].

    **Raises:** `ValueError` for shapes that do not fit, or a `level` outside (0, 1).

    **Example:**

        >>> import jax
        >>> from syndigits_jax.evaluation import level_errors
        >>> truth = jax.random.normal(jax.random.key(0), (3, 100))
        >>> noise = jax.random.normal(jax.random.key(1), (3, 100))
        >>> found = level_errors(truth + noise + jax.numpy.asarray([[0.0], [1.0], [0.0]]), truth)
        >>> print(found.beyond)
        [False  True False]
    """
    check_fraction("level", level)
    x, y = as_floats(prediction=prediction, truth=truth)
    if x.ndim != 2 or x.shape != y.shape:
        raise ValueError(
            f"`prediction` must have the shape of `truth`, (t, n), got {x.shape} and {y.shape}"
        )
    weight = checked_weight(sample_weight, x.shape[1], x.dtype)
    error, lower, upper, beyond = _errors(x, y, weight, jnp.asarray(1 - level, x.dtype))
    return LevelErrors(error, lower, upper, beyond, level)


@jax.jit
def _errors(x: Array, y: Array, weight: Array, alpha: Array):
    """Errors, their simultaneous ends, and which are beyond chance."""
    used = ~(jnp.isnan(x) | jnp.isnan(y))
    w = jnp.where(used, weight[None, :], 0)
    total, square = jnp.sum(w, axis=1), jnp.sum(w**2, axis=1)
    size = total**2 / jnp.where(square > 0, square, 1)
    enough = size >= FEWEST_PEOPLE
    share = w / jnp.where(total > 0, total, 1)[:, None]
    gap = jnp.where(used, x - y, 0)
    error = jnp.sum(share * gap, axis=1)
    spread = jnp.sum(share * (gap - error[:, None]) ** 2, axis=1)
    standard = jnp.sqrt(spread / jnp.where(enough, size - 1, 1))
    count = jnp.maximum(jnp.sum(enough), 1).astype(x.dtype)
    freedom = jnp.maximum(size - 1, 1)
    reach = standard * student_t_quantile(1 - alpha / count, freedom)
    # From the largest t on, each against as many questions as are left.
    some = (
        enough
        & (standard > 0)
        & ~alike(gap, w > 0, 1, size=jnp.where(used, jnp.maximum(jnp.abs(x), jnp.abs(y)), 0))
    )
    t = jnp.where(some, jnp.abs(error) / jnp.where(some, standard, 1), 0)
    order = jnp.argsort(-t)
    left = jnp.maximum(count - jnp.arange(x.shape[0], dtype=x.dtype), 1)
    rejected = t[order] > student_t_quantile(1 - alpha / left, freedom[order])
    rejected = jnp.cumprod(rejected.astype(jnp.int32)) > 0
    beyond = jnp.zeros_like(enough).at[order].set(rejected) & enough
    nan = jnp.where(enough, 0, jnp.nan)
    return error + nan, error - reach + nan, error + reach + nan, beyond
