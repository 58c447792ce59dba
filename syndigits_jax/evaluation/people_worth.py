"""What predictions are worth in people asked at random, for the mean of a question.

The mean of k people misses that of the population with variance σ²/k. Predictions alone miss it
with a squared error that does not shrink; they are worth the k at which both are equal. Beside
people who are asked they explain a share R² of the variance σ² (see `people_needed`).

Of n people who answered, with predictions p and answers y, (p̄ - ȳ)² exceeds the squared error of
the predictions in the population by the variance of the mean difference, s²(p - y) / n; the mean of
so many predictions varies itself, by s²(p) / n. R² is corrected for its degree of freedom. All of
them are pooled over questions before ratios are taken.
"""

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..inference.pigeonhole import block_members, interval_factor, pigeonhole_means
from ..inference.sample_weight import checked_weight
from ..solvers.boundary import Numbers, as_floats
from ..solvers.checks import check_count, check_known_squares, check_probability
from ..solvers.keys import PRNGKey
from ..solvers.precision import full_precision
from .comparison import Estimated
from .people_scores import weighted_mean


class PeopleWorth(NamedTuple):
    """What predictions of questions' means are worth.

    - `alone`: how many people, asked at random, have the same mean squared error of the mean as the
      predictions alone; infinite where no error can be told from that of people.
    - `squared_error`: of the mean by predictions alone; negative by chance where it is small.
    - `explained`: R², the share of the variance of answers that predictions explain.
    - `variance`: σ², of people's answers, mean over questions.
    - `by_question`: (t, 3) squared error, unexplained variance and variance; NaN with fewer than
      three people who answered.
    """

    alone: Estimated
    squared_error: Estimated
    explained: Estimated
    variance: Estimated
    by_question: Float[np.ndarray, "t 3"]

    def times(self, asked: float | int, twins: float | int = float("inf")) -> Estimated:
        """By what factor predictions multiply people who are asked: n_eff / n.

        **Arguments:** `asked`: n; `twins`: N, people with predictions, those asked among them.
        """
        factor = (1 / (1 - r * (1 - asked / twins)) for r in self.explained)
        return Estimated(*factor)


@full_precision
def people_worth(
    prediction: Numbers,
    truth: Numbers,
    *,
    key: PRNGKey,
    blocks: Iterable[Any] | None = None,
    sample_weight: Numbers | None = None,
    replicates: int = 1000,
    level: float = 0.95,
    batch_size: int = 100,
) -> PeopleWorth:
    """How many randomly asked people predictions are worth, alone and beside people.

    **Arguments:**

    - `prediction`, `truth`: (t, n), a row per question, NaN where missing, in units in which
      questions can be pooled, such as shares of the range. Predictions must have been made without
      the truth.
    - `key`: of the bootstrap over people and questions; `blocks`: (t,) of questions that are
      resampled together; `sample_weight`: (n,) weights of the people; `replicates`, `level`,
      `batch_size`: of the bootstrap.

    **Returns:** a [`PeopleWorth`][].

    **Raises:** `ValueError` for shapes, weights or blocks that do not fit, fewer than two blocks,
    no question with three answers, and answers that never vary.

    **Example:**

        >>> import jax
        >>> from syndigits_jax.evaluation import people_worth
        >>> keys = jax.random.split(jax.random.key(0), 3)
        >>> truth = jax.random.normal(keys[0], (40, 500))
        >>> bias = 0.5 * jax.random.normal(keys[1], (40, 1))  # squared 1/4: worth 4 people
        >>> found = people_worth(truth / 2 + bias, truth, key=keys[2])
        >>> print(found.alone.lower < 4 < found.alone.upper)
        True
    """
    x, y = as_floats(prediction=prediction, truth=truth)
    if y.ndim != 2 or x.shape != y.shape:
        raise ValueError(
            f"`prediction` must have the shape of `truth`, (t, n), a row per question, got "
            f"{x.shape} and {y.shape}"
        )
    check_known_squares(prediction=x, truth=y)
    weight = checked_weight(sample_weight, y.shape[1], y.dtype)
    check_count("replicates", replicates, least=2)
    check_probability(level=level)
    member, count = block_members(blocks, y.shape[0])
    used = ~(jnp.isnan(x) | jnp.isnan(y)) & (weight > 0)[None, :]
    several = np.asarray(used).sum(axis=1) > 2
    if not several.any():
        raise ValueError("`truth`: no question has three answers with a prediction")
    used = used & jnp.asarray(several)[:, None]
    rows, draws = _resampled(
        x, y, used, weight, jnp.asarray(member), key,
        blocks=count, replicates=replicates, batch_size=batch_size,
    )  # fmt: skip
    rows, draws = np.asarray(rows, np.float64), np.asarray(draws, np.float64)
    error, rest, variance = np.nanmean(rows, axis=1)
    if not variance > 0:
        raise ValueError("`truth` does not vary over people: there is nothing that they are worth")
    draws = draws[np.isfinite(draws).all(axis=1) & (draws[:, 2] > 0)]
    units = min(len(np.unique(member[several])), int(np.asarray(used).any(axis=0).sum()))
    stretch = interval_factor(level, units) / interval_factor(level, 10**9)

    def estimated(value: float, drawn: Float[np.ndarray, " r"]) -> Estimated:
        if len(drawn) < 2 or not np.isfinite(stretch):
            return Estimated(float(value), -np.inf, np.inf)
        ends = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
        lower, upper = value + stretch * (ends - value)
        return Estimated(float(value), float(min(lower, value)), float(max(upper, value)))

    def scaled(value: float, drawn: Float[np.ndarray, " r"]) -> Estimated:
        """Of a mean of squares, whose error is in proportion to it: ratios are resampled."""
        plain = estimated(value, drawn)
        if not np.isfinite(plain.upper):
            return plain
        ends = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
        upper = max(plain.upper, value + stretch * (value - ends[0]))
        if value > 0 and ends[0] > 0.05 * value:
            upper = max(upper, value * (value / ends[0]) ** stretch)
        return Estimated(plain.estimate, plain.lower, float(upper))

    relative = scaled(error / variance, draws[:, 0] / draws[:, 2])
    explained = estimated(1 - rest / variance, 1 - draws[:, 1] / draws[:, 2])
    explained = Estimated(*(float(np.clip(r, 0.0, 1 - 1e-6)) for r in explained))
    value, lower, upper = (1 / u if u > 0 else np.inf for u in relative)
    return PeopleWorth(
        Estimated(value, upper, lower),
        scaled(error, draws[:, 0]),
        explained,
        estimated(variance, draws[:, 2]),
        rows.T,
    )


@functools.partial(jax.jit, static_argnames=("blocks", "replicates", "batch_size"))
def _resampled(
    x: Float[Array, "t n"],
    y: Float[Array, "t n"],
    used: Bool[Array, "t n"],
    weight: Float[Array, " n"],
    member: Array,
    key: PRNGKey,
    *,
    blocks: int,
    replicates: int,
    batch_size: int,
) -> tuple[Float[Array, "3 t"], Float[Array, "r 3"]]:
    x, y = jnp.where(used, x, 0), jnp.where(used, y, 0)
    centre, _ = weighted_mean(used, weight)
    # About the people's means, so that squares do not cancel.
    middle = centre(y)[:, None]
    x, y = jnp.where(used, x - middle, 0), jnp.where(used, y - middle, 0)

    def kish(people):
        there = used.astype(people.dtype)
        total, square = there @ people, there @ people**2
        return total**2 / jnp.where(square > 0, square, 1)

    whole = kish(weight)

    def scores(people: Float[Array, " n"]) -> Float[Array, "3 t"]:
        mean, _ = weighted_mean(used, people)
        size = kish(people)
        enough = size > 1.5
        bessel = size / jnp.where(enough, size - 1, 1)

        def spread(a, b):
            return bessel * (mean(a * b) - mean(a) * mean(b))

        xx, yy, xy = spread(x, x), spread(y, y), spread(x, y)
        gap = mean(x - y)
        # A resample has the noise of the sample once more: its Kish's number says so.
        noise = (xx + yy - 2 * xy) / jnp.where(enough, size, 1)
        error = gap**2 - noise + xx / jnp.where(whole > 0, whole, 1)
        rest = yy - jnp.where(xx > 1e-10, xy**2 / jnp.where(xx > 1e-10, xx, 1), 0)
        freed = (size - 1) / jnp.where(size > 2.5, size - 2, 1)
        rest = jnp.where(xx > 1e-10, rest * freed, yy)
        found = jnp.stack([error, jnp.maximum(rest, 0), yy])
        return jnp.where((enough & (size > 2.5))[None, :], found, jnp.nan)

    draws = pigeonhole_means(
        key, scores, weight, member, blocks, replicates=replicates, batch_size=batch_size
    )
    return scores(weight), draws
