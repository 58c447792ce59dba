"""Several predictions of the same answers: mean scores, and differences, with their intervals.

All predictions are scored on the same answers and see the same resamples of people and questions
([`pigeonhole_means`][syndigits_jax.inference.pigeonhole.pigeonhole_means]), so that differences are
paired. Intervals are symmetric, with Student's t for as many questions, or blocks, or people as
there are, whichever are fewer.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..inference.pigeonhole import block_members, interval_factor, pigeonhole_means
from ..inference.sample_weight import checked_weight
from ..solvers.boundary import Numbers, as_floats
from ..solvers.checks import check_count, check_probability
from ..solvers.keys import PRNGKey
from ..solvers.precision import full_precision
from .people_scores import VARIES, mean_correlation, scaled_rows, weighted_mean

MEASURES = ("pearson", "mean error", "mse", "spread")


class Estimated(NamedTuple):
    """A number with its interval; infinite ends with fewer than two questions, blocks or people."""

    estimate: float
    lower: float
    upper: float


class Comparison(eqx.Module):
    """Mean scores of c predictions over t questions, and r resamples of them.

    - `names`: of the predictions; `estimate`: (c,) means over questions.
    - `by_question`: (c, t), NaN where nobody could be compared.
    - `draws`: (r, c) of the bootstrap over people and questions.
    - `units`: how many were resampled: questions (or blocks) or people, whichever are fewer.
    """

    estimate: Float[np.ndarray, " c"]
    by_question: Float[np.ndarray, "c t"]
    draws: Float[np.ndarray, "r c"]
    names: tuple[str, ...] = eqx.field(static=True)
    units: int = eqx.field(static=True)
    level: float = eqx.field(static=True)
    measure: str = eqx.field(static=True)

    def score(self, name: str) -> Estimated:
        """The mean score of one prediction; ends are within what the measure can be."""
        at = self.names.index(name)
        found = self._interval(self.estimate[at], self.draws[:, at])
        if not np.isfinite(found.lower):
            return found
        least, most = (-1.0, 1.0) if self.measure == "pearson" else (0.0, np.inf)
        ends = np.clip([found.lower, found.upper], least, most)
        return Estimated(found.estimate, *map(float, ends))

    def difference(self, name: str, other: str) -> Estimated:
        """The mean score of one prediction less that of another, paired."""
        a, b = self.names.index(name), self.names.index(other)
        return self._interval(
            self.estimate[a] - self.estimate[b], self.draws[:, a] - self.draws[:, b]
        )

    def over_best(
        self, name: str, others: Sequence[str], *, largest: bool = True
    ) -> tuple[Estimated, str]:
        """The mean score less that of the best of the others, whichever it is; and its name here.

        The best of several looks better than it is. Nothing is chosen: to be above the best is to
        be above every one, which the smallest of the lower ends shows; and the upper end is the
        smallest of simultaneous ones (the largest t of the resamples; Hothorn, Bretz and Westfall,
        2008).

        **Arguments:** `name`; `others`: names; `largest`: whether large scores are good ones. If
        not, the result is the difference to the smallest, and its ends are those of that.
        """
        a, at = self.names.index(name), [self.names.index(other) for other in others]
        sign = 1.0 if largest else -1.0
        gaps = sign * (self.estimate[a] - self.estimate[at])
        draws = sign * (self.draws[:, [a]] - self.draws[:, at])
        draws = draws[np.isfinite(draws).all(axis=1)]
        if len(draws) < 2:
            return Estimated(float("nan"), float("-inf"), float("inf")), others[0]
        error = np.std(draws, axis=0, ddof=1)
        off = np.abs(draws - np.mean(draws, axis=0)) / np.where(error > 0, error, 1)
        largest_t = float(np.quantile(np.max(off, axis=1), self.level))
        alone, normal = interval_factor(self.level, self.units), interval_factor(self.level, 10**9)
        together = alone * max(largest_t / normal, 1.0)
        best = int(np.argmin(gaps))
        ends = float(np.min(gaps - alone * error)), float(np.min(gaps + together * error))
        lower, upper = ends if largest else (-ends[1], -ends[0])
        return Estimated(float(sign * gaps[best]), lower, upper), others[best]

    def _interval(self, estimate: float, draws: Float[np.ndarray, " r"]) -> Estimated:
        draws = draws[np.isfinite(draws)]
        if self.units < 2 or len(draws) < 2:
            return Estimated(float(estimate), float("-inf"), float("inf"))
        reach = interval_factor(self.level, self.units) * float(np.std(draws, ddof=1))
        return Estimated(float(estimate), float(estimate - reach), float(estimate + reach))


@full_precision
def compare_predictions(
    predictions: Mapping[str, Numbers],
    truth: Numbers,
    *,
    key: PRNGKey,
    measure: str = "pearson",
    blocks: Iterable[Any] | None = None,
    sample_weight: Numbers | None = None,
    replicates: int = 1000,
    level: float = 0.95,
    batch_size: int = 100,
) -> Comparison:
    """Mean scores over questions of several predictions of the same answers.

    - `"pearson"`: correlation over people with the truth; 0 where a side does not vary.
    - `"mean error"`: absolute error of the mean answer.
    - `"mse"`: mean squared error.
    - `"spread"`: standard deviation of the prediction over that of the truth; left out where
      people do not vary.

    **Arguments:**

    - `predictions`: by name, (t, n), a row per question, NaN where missing. Only answers that all
      of them have, and the truth, are compared. They must have been made without the truth.
    - `truth`: (t, n).
    - `key`: of the resampling; `measure`: as above.
    - `blocks`: (t,) the survey or battery of each question, resampled as a whole; by default
      questions are resampled one by one.
    - `sample_weight`: (n,) weights of the people.
    - `replicates`: of the bootstrap; `level`: of intervals; `batch_size`: replicates at a time.

    **Returns:** a [`Comparison`][].

    **Raises:** `ValueError` for an unknown measure, no prediction, shapes, weights or blocks that
    do not fit, fewer than two blocks, and nothing to compare.

    **Example:**

        >>> import jax
        >>> from syndigits_jax.evaluation import compare_predictions
        >>> truth = jax.random.normal(jax.random.key(0), (10, 40))
        >>> noise = jax.random.normal(jax.random.key(1), (2, 10, 40))
        >>> predictions = {"good": truth + noise[0], "useless": noise[1]}
        >>> found = compare_predictions(predictions, truth, key=jax.random.key(2))
        >>> print(found.score("good").lower > 0.5, found.difference("good", "useless").lower > 0)
        True True
    """
    if measure not in MEASURES:
        raise ValueError(f"`measure` must be one of {MEASURES}, got {measure!r}")
    if not predictions:
        raise ValueError("`predictions`: there is none")
    check_count("replicates", replicates, least=2)
    check_probability(level=level)
    names = tuple(predictions)
    y, *rows = as_floats(truth=truth, **{f"predictions: {n}": predictions[n] for n in names})
    if y.ndim != 2 or any(row.shape != y.shape for row in rows):
        shapes = ", ".join(str(row.shape) for row in rows)
        raise ValueError(
            f"`predictions` must have the shape of `truth`, (t, n), a row per question, got "
            f"{shapes} and {y.shape}"
        )
    weight = checked_weight(sample_weight, y.shape[1], y.dtype)
    member, count = block_members(blocks, y.shape[0])
    x = jnp.stack(rows)
    used = ~(jnp.isnan(y) | jnp.any(jnp.isnan(x), axis=0))
    counted = np.asarray(used) & (np.asarray(weight) > 0)[None, :]
    if not counted.any():
        raise ValueError("`predictions` and `truth` have no answer in common")
    by_question, draws = _resampled(
        x, y, used, weight, jnp.asarray(member), key,
        measure=measure, blocks=count, replicates=replicates, batch_size=batch_size,
    )  # fmt: skip
    by_question = np.asarray(by_question, np.float64)
    there = len(np.unique(member[counted.any(axis=1)]))
    scores = [row[~np.isnan(row)] for row in by_question]
    return Comparison(
        np.array([row.mean() if row.size else np.nan for row in scores]),
        by_question,
        np.asarray(draws, np.float64),
        names,
        min(there, int(counted.any(axis=0).sum())),
        level,
        measure,
    )


@functools.partial(jax.jit, static_argnames=("measure", "blocks", "replicates", "batch_size"))
def _resampled(
    x: Float[Array, "c t n"],
    y: Float[Array, "t n"],
    used: Bool[Array, "t n"],
    weight: Float[Array, " n"],
    member: Array,
    key: PRNGKey,
    *,
    measure: str,
    blocks: int,
    replicates: int,
    batch_size: int,
) -> tuple[Float[Array, "c t"], Float[Array, "r c"]]:
    """Scores of every question, and the resampled means."""
    x, y = jnp.where(used[None], x, 0), jnp.where(used, y, 0)
    if measure == "pearson":
        x = jax.vmap(lambda one: scaled_rows(one, used, weight))(x)
    if measure in ("pearson", "spread"):
        # Both in the unit of the truth for the spread, so that rounding is small.
        size = jnp.ones_like(y[:, :1])
        if measure == "spread":
            mean, _ = weighted_mean(used, weight)
            centre = jnp.where(used, y - mean(y)[:, None], 0)
            size = jnp.sqrt(mean(centre**2))[:, None]
            size = jnp.where(size > 0, size, 1)
            middle = mean(y)[:, None]
            x = jnp.where(used[None], (x - middle[None]) / size[None], 0)
        y = scaled_rows(y, used, weight)

    def scores(people: Float[Array, " n"]) -> Float[Array, "c t"]:
        mean, total = weighted_mean(used, people)

        def one(prediction: Float[Array, "t n"]) -> Float[Array, " t"]:
            if measure == "pearson":
                value = mean_correlation(mean, prediction, y)
            elif measure == "mean error":
                value = jnp.abs(mean(prediction - y))
            elif measure == "mse":
                value = mean((prediction - y) ** 2)
            else:
                centre = mean(prediction)
                square = mean(jnp.where(used, prediction - centre[:, None], 0) ** 2)
                truth = mean(y * y) - mean(y) ** 2
                varies = truth > VARIES
                ratio = jnp.sqrt(square / jnp.where(varies, truth, 1))
                value = jnp.where(varies, ratio, jnp.nan)
            return jnp.where(total > 0, value, jnp.nan)

        return jax.vmap(one)(x)

    draws = pigeonhole_means(
        key, scores, weight, member, blocks, replicates=replicates, batch_size=batch_size
    )
    return scores(weight), draws
