"""What twins add: do they know anything that a control without twins does not?

Estimates that use twins are compared with a control that never saw them, on the same people and
questions. Both are random: the bootstrap resamples people and questions at once (the pigeonhole
bootstrap of Owen, 2007), or people and blocks where questions of a block stand or fall together.
Its intervals are a little too wide rather than too narrow.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..inference.pigeonhole import block_members, pigeonhole_means
from ..inference.resampling import nan_mean
from ..inference.sample_weight import checked_weight
from ..solvers.boundary import Numbers, as_float, as_floats, concrete
from ..solvers.checks import check_count, check_probability
from ..solvers.keys import PRNGKey
from ..solvers.precision import full_precision
from .people_scores import mean_correlation, scaled_rows, weighted_mean


class TwinGain(eqx.Module):
    """What twins add to a control without them; positive is for the twins.

    - `estimate`: mean over questions; `standard_error`, `lower`, `upper`: of the bootstrap over
      people and questions, an interval of probability `level`.
    - `by_question`: (t,), NaN where nobody could be compared.
    """

    estimate: Float[Array, ""]
    standard_error: Float[Array, ""]
    lower: Float[Array, ""]
    upper: Float[Array, ""]
    by_question: Float[Array, " t"]
    level: float = eqx.field(static=True)

    @property
    def verdict(self) -> str:
        """`"twins add"`, `"twins take away"`, or `"no gain shown"` if 0 is in the interval."""
        if float(self.lower) > 0:
            return "twins add"
        return "twins take away" if float(self.upper) < 0 else "no gain shown"


@full_precision
def twin_gain(
    estimate: Numbers,
    control: Numbers,
    truth: Numbers | None = None,
    *,
    key: PRNGKey,
    comparison: str = "pearson",
    blocks: Iterable[Any] | None = None,
    sample_weight: Numbers | None = None,
    replicates: int = 1000,
    level: float = 0.95,
    batch_size: int = 100,
) -> TwinGain:
    """How much better estimates that use twins are than a control without twins.

    - `"pearson"`: difference of the correlations over people with the truth. A side that does not
      vary has correlation 0.
    - `"partial"`: the partial correlation of estimate and truth, given the control. Also where an
      estimate is no better than the control alone, it can know something that the control does not.
    - `"mse"`: how much smaller the mean squared error is.
    - `"loss"`: how much smaller the mean loss is; `estimate` and `control` are losses of single
      answers, such as
      [`probability_losses`][syndigits_jax.evaluation.probability_scores.probability_losses], and
      there is no `truth`.

    **Arguments:**

    - `estimate`, `control`, `truth`: (t, n), a row per question, NaN where missing. Only answers
      that all of them have are compared. Estimates and control must have been made without the
      truth.
    - `key`: of the resampling.
    - `comparison`: as above.
    - `blocks`: (t,) the survey or battery of each question, resampled as a whole; by default
      questions are resampled one by one.
    - `sample_weight`: (n,) weights of the people.
    - `replicates`: of the bootstrap; `level`: of the interval; `batch_size`: replicates at a time.

    **Returns:** a [`TwinGain`][].

    **Raises:** `ValueError` for an unknown comparison, shapes, weights or blocks that do not fit,
    fewer than two blocks, and nothing to compare.

    **Example:**

        >>> import jax
        >>> from syndigits_jax.evaluation import twin_gain
        >>> truth = jax.random.normal(jax.random.key(0), (10, 40))
        >>> control = 0.1 * truth + jax.random.normal(jax.random.key(1), (10, 40))
        >>> estimate = truth + jax.random.normal(jax.random.key(2), (10, 40))
        >>> print(twin_gain(estimate, control, truth, key=jax.random.key(3)).verdict)
        twins add
    """
    x, z, y, used = _compared(estimate, control, truth, comparison)
    weight = checked_weight(sample_weight, x.shape[1], x.dtype)
    check_count("replicates", replicates, least=2)
    check_probability(level=level)
    member, count = block_members(blocks, x.shape[0])
    draws, by_question = _resampled(
        key, (x, z, y, used), weight, jnp.asarray(member), comparison=comparison, blocks=count,
        replicates=replicates, batch_size=batch_size,
    )  # fmt: skip
    tail = (1 - level) / 2
    return TwinGain(
        nan_mean(by_question),
        jnp.nanstd(draws, ddof=1),
        jnp.nanquantile(draws, tail),
        jnp.nanquantile(draws, 1 - tail),
        by_question,
        level,
    )


@functools.partial(jax.jit, static_argnames=("comparison", "blocks", "replicates", "batch_size"))
@full_precision
def _resampled(
    key, data, weight, member, *, comparison: str, blocks: int, replicates: int, batch_size: int
):
    """The mean gain of every replicate, and the gain of every question."""
    x, z, y, used = data
    gains = _gains(comparison, x, z, y, used, weight)
    draws = pigeonhole_means(
        key, lambda people: gains(people)[None], weight, member, blocks,
        replicates=replicates, batch_size=batch_size,
    )[:, 0]  # fmt: skip
    return draws, gains(weight)


def _compared(estimate, control, truth, comparison: str):
    """Estimate, control and truth (0 where not compared), and where they are."""
    if comparison not in ("pearson", "partial", "mse", "loss"):
        raise ValueError(
            f"`comparison` must be 'pearson', 'partial', 'mse' or 'loss', got {comparison!r}"
        )
    if (truth is None) != (comparison == "loss"):
        raise ValueError(
            "`truth` is needed, except for the comparison 'loss', which takes losses in place of "
            "estimates"
        )
    x, z = as_floats(estimate=estimate, control=control)
    y = jnp.zeros_like(x) if truth is None else as_float("truth", truth).astype(x.dtype)
    if x.ndim != 2 or not x.shape == z.shape == y.shape:
        raise ValueError(
            f"`estimate`, `control` and `truth` must be (t, n), a row per question, of one shape, "
            f"got {x.shape}, {z.shape} and {y.shape}"
        )
    used = ~(jnp.isnan(x) | jnp.isnan(z) | jnp.isnan(y))
    known = concrete(used)
    if known is not None and not known.any():
        raise ValueError("`estimate`, `control` and `truth` have no answer in common")
    for name, values in (("estimate", x), ("control", z), ("truth", y)):
        numbers = concrete(values)
        if numbers is not None and np.isinf(numbers).any():
            raise ValueError(
                f"`{name}` is infinite somewhere; log scores are where a forecast is 0, unless it "
                "is `smoothed`"
            )
    return (*(jnp.where(used, a, 0) for a in (x, z, y)), used)


def _gains(
    comparison: str, x, z, y, used, weight
) -> Callable[[Float[Array, " n"]], Float[Array, " t"]]:
    """A function of people's weights that returns every question's gain."""
    if comparison in ("loss", "mse"):
        gain = z - x if comparison == "loss" else (z - y) ** 2 - (x - y) ** 2

        def plain(people):
            mean, total = weighted_mean(used, people)
            return jnp.where(total > 0, mean(gain), jnp.nan)

        return plain
    x, z, y = (scaled_rows(values, used, weight) for values in (x, z, y))

    def by_correlation(people):
        mean, total = weighted_mean(used, people)
        xy, zy = mean_correlation(mean, x, y), mean_correlation(mean, z, y)
        if comparison == "pearson":
            return jnp.where(total > 0, xy - zy, jnp.nan)
        xz = mean_correlation(mean, x, z)
        rest = (1 - xz**2) * (1 - zy**2)
        usable = rest > 1e-5  # an estimate that is the control has nothing beyond it
        partial = (xy - xz * zy) / jnp.sqrt(jnp.where(usable, rest, 1))
        return jnp.where(total > 0, jnp.where(usable, jnp.clip(partial, -1, 1), 0), jnp.nan)

    return by_correlation
