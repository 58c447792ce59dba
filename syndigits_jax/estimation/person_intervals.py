"""Intervals for people's answers to new questions, conformal over what is exchangeable.

Every person has a distribution over the points of the scale (`predictive`), as wide as answers are
expected to lie from predictions (`difficulty`). The interval at level 1 - α holds every point whose
two tails are both above α/2, which is the choice of the best interval score (Gneiting and Raftery,
2007) where the distribution is right. Where it is not, known questions say so: each was predicted
without its fold, and the interval also holds every point that is not farther out, in tail level,
than the answers to known questions are in all but α of cases. That is a cross-conformal set (CV+:
Barber, Candès, Ramdas and Tibshirani, 2021; Vovk, 2015) in which all cells of a question count as
much as one question (Lee, Barber and Willett, 2023); for a new survey, as one block.

The answer of a person drawn at random, to a question drawn like the known ones, is inside with
probability at least 1 - 2α, in practice 1 - α or more. With fewer than 1/α - 1 questions (blocks
for a new survey) the interval is the whole scale. Nothing is promised of one question, of one
block, or of questions chosen in another way than the known ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from ..inference.conformal import Interval
from ..solvers.checks import check_probability
from .difficulty import expected_residuals, nested_scales, stack_weights
from .predictive import places, scale_points, tail_levels, truth_levels
from .questions import Nested, Problem, Scale, most_of_a_pair
from .stack import fit_sizes, in_order, predict
from .targets import steps

_ROUNDING = 1e-6


@dataclass(frozen=True)
class Judged:
    """Intervals of one level for the known questions, each from the scores of the others.

    - `level`: 1 - α, nominal.
    - `coverage`, `width`, `score`: (k,) share of the answers inside; mean width and mean interval
      score in units of the range, where the whole scale has width and score 1.
    - `question`: (k,) positions in the panel; `unit`: (k,) the question, or its block, by number.
    """

    level: float
    coverage: Float[np.ndarray, " k"]
    width: Float[np.ndarray, " k"]
    score: Float[np.ndarray, " k"]
    question: Int[np.ndarray, " k"]
    unit: Int[np.ndarray, " k"]

    @property
    def units(self) -> int:
        """How many questions, or blocks for a new survey, the intervals rest on."""
        return len(np.unique(self.unit))

    @property
    def enough(self) -> bool:
        """Whether these suffice for the level; otherwise intervals are the whole scale."""
        return self.units >= fewest_units(self.level)

    @property
    def judgeable(self) -> bool:
        """Whether they still suffice without the one that is judged."""
        return self.units > fewest_units(self.level)

    @property
    def useful(self) -> bool:
        """Whether the mean interval score is better than that of quoting the whole scale."""
        return self.judgeable and bool(self.means()["score"] < 1)

    def means(self) -> dict[str, float]:
        """Mean `coverage`, `width` and `score` over the known questions."""
        found = {"coverage": self.coverage, "width": self.width, "score": self.score}
        return {name: float(np.mean(values)) for name, values in found.items()}


@dataclass(frozen=True)
class PersonIntervals:
    """What intervals of every level are made of, for n people's answers to q questions.

    - `reach`: of each question, (n, k) the largest α whose interval still holds each of k evenly
      spaced points of its range, the first and the last of which are the ends.
    - `units`: (q,) how many known questions, or blocks for a new survey, the intervals rest on.
    """

    reach: tuple[Float[np.ndarray, "n _"], ...]
    units: Int[np.ndarray, " q"]

    def at(
        self, level: float, low: Float[np.ndarray, " q"], high: Float[np.ndarray, " q"]
    ) -> Interval:
        """The (n, q) intervals of `level`, never beyond the range.

        **Arguments:** `level`: 1 - α; `low`, `high`: (q,) ends of the ranges. A range of one point
        is no range: it bounds nothing.

        **Raises:** `ValueError` for a `level` outside (0, 1).
        """
        check_probability(level=level)
        lower, upper = [], []
        for reach, first, last in zip(self.reach, low, high, strict=True):
            ends = _hull(reach, np.linspace(first, last, reach.shape[1]), 1 - level)
            lower.append(ends[0] if last > first else np.full(len(reach), -np.inf))
            upper.append(ends[1] if last > first else np.full(len(reach), np.inf))
        return Interval(np.stack(lower, 1), np.stack(upper, 1))  # in double precision

    def whole(self, level: float) -> Bool[np.ndarray, " q"]:
        """(q,) where too few units are known for this level, so that intervals are the whole scale.

        **Raises:** `ValueError` for a `level` outside (0, 1).
        """
        return self.units < fewest_units(level)


def fewest_units(level: float) -> int:
    """How many exchangeable units intervals of this level need: 9 at 90%, 4 at 80%.

    **Raises:** `ValueError` for a `level` outside (0, 1).

    **Example:**

        >>> from syndigits_jax.estimation import fewest_units
        >>> print(fewest_units(0.8), fewest_units(0.9), fewest_units(0.95))
        4 9 19
    """
    check_probability(level=level)
    return int(np.ceil(1 / (1 - level) - 1 - _ROUNDING))


@dataclass(frozen=True)
class Scores:
    """Tail levels of the known questions' answers, each question predicted without its fold.

    - `truth`: (k, n) answers, NaN where missing; `score`: (k, n) their tail levels.
    - `place`: (k, n); `points`, `tables`: of each question, its points and their tail levels.
    - `mass`: (k, n) of every cell: 1 over all cells of a unit, shared alike by its questions.
    - `question`: (k,) positions; `unit`: (k,) by number; `fold`: (k,).
    """

    truth: Float[np.ndarray, "k n"]
    score: Float[np.ndarray, "k n"]
    place: Int[np.ndarray, "k n"]
    points: tuple[Float[np.ndarray, " _"], ...]
    tables: tuple[Float[np.ndarray, "p _"], ...]
    mass: Float[np.ndarray, "k n"]
    question: Int[np.ndarray, " k"]
    unit: Int[np.ndarray, " k"]
    fold: Int[np.ndarray, " k"]

    @property
    def units(self) -> int:
        """How many units have answers."""
        return len(np.unique(self.unit[self.mass.sum(axis=1) > 0]))


def known_scores(
    problem: Problem,
    run: Nested,
    residual: Float[np.ndarray, "o m"],
    prediction: Float[np.ndarray, "k n"] | None = None,
) -> Scores:
    """Scores of the known questions' answers.

    **Arguments:**

    - `problem`; `run`: its nested hold-out.
    - `residual`: expected errors, of [`expected_residuals`][].
    - `prediction`: (k, n) by default the estimator's.
    """
    known, fold, weight = problem.known, run.moments.fold, problem.weight
    prediction = run.prediction if prediction is None else prediction
    low = np.stack([scale.low for scale in run.scales])[fold, known]
    truth = np.where((weight > 0)[:, None], problem.panel.human[:, known], np.nan).T
    points = _points(problem, known, low, run.width)
    place = places(prediction, low, run.width)
    sizes = np.array([len(one) for one in points])
    tables = tail_levels(place, residual[fold, known], sizes, weight)
    score = np.stack([truth_levels(*one) for one in zip(truth, place, points, tables, strict=True)])
    own = np.arange(len(known))
    unit = problem.block_of_known() if run.setting == "new survey" else own
    seen = ~np.isnan(truth) * weight
    total = seen.sum(axis=1, keepdims=True)
    share = np.divide(seen, total, out=np.zeros_like(seen), where=total > 0)
    judged = np.bincount(unit, total[:, 0] > 0)[unit]
    return Scores(
        truth, score, place, tuple(points), tuple(tables),
        share / np.maximum(judged, 1)[:, None], known, unit, fold,
    )  # fmt: skip


def person_intervals(
    problem: Problem,
    run: Nested,
    whole: Scale,
    at: Int[np.ndarray, " q"],
    prediction: Float[np.ndarray, "q n"],
    levels: Sequence[float],
    *,
    workers: int = 1,
) -> tuple[PersonIntervals, tuple[Judged, ...]]:
    """Intervals for the answers to new questions, and how those of known ones do.

    **Arguments:**

    - `problem`; `run`: its nested hold-out, of the setting of the questions.
    - `whole`: levels from all known questions.
    - `at`: (q,) positions of the new questions; `prediction`: (q, n) theirs.
    - `levels`: those that the known questions judge.
    - `workers`: folds computed at once.
    """
    weights, folds = stack_weights(run), len(run.scales)
    scales = nested_scales(problem, run, whole)
    residual = expected_residuals(problem, run, scales, weights)
    scores = known_scores(problem, run, residual)
    without: list = [None] * folds

    size = fit_sizes(run.moments.fold, True, most_of_a_pair(problem.known))[True]

    def fit(f: int) -> None:
        found, _ = predict(problem.responses, problem.known[scores.fold != f], at, size)
        stack = run.scales[f].stack(weights[f], at, problem.weight)
        without[f] = np.asarray(stack(jnp.asarray(found.values)))

    # Leaving out the only fold leaves nothing to predict with: there is one unit at most.
    alone = folds == 1
    if not alone:
        in_order(fit, range(folds), workers)
    points, tables, place = _distributions(problem, whole, at, prediction, residual[-1])
    start = 1 / (scores.units + 1)
    chance = [np.full((problem.panel.n, len(grid)), start, np.float32) for grid in points]
    for f in range(folds):
        pool = _Pool.of(scores, scores.fold == f, scores.units + 1)
        if alone:
            chance = [one + np.float32(pool.total) for one in chance]
            continue
        parts = _distributions(problem, run.scales[f], at, without[f], residual[f])
        for i, (grid, table, where) in enumerate(zip(*parts, strict=True)):
            level = truth_levels(
                np.broadcast_to(points[i][None, :], chance[i].shape), where[:, None], grid, table
            )
            chance[i] += pool.up_to(level).astype(np.float32)
    reach = [
        np.maximum(one, 2 * table[where]).astype(np.float32)
        for one, table, where in zip(chance, tables, place, strict=True)
    ]
    units = np.full(len(at), scores.units)
    judged = tuple(judge(scores, level) for level in levels)
    return PersonIntervals(tuple(reach), units), judged


def judge(scores: Scores, level: float) -> Judged:
    """Intervals for the known questions, each from the scores of other units, against its answers.

    A question's own answers are in no score that its interval is made of. The scores of others come
    from fits that leave out *their* fold, and so may have used its answers as donors: what is shown
    is the coverage of such intervals, each with probability 1 - α over exchangeable units.

    **Raises:** `ValueError` for a `level` outside (0, 1).
    """
    check_probability(level=level)
    alpha, count = 1 - level, len(scores.truth)
    found = np.full((3, count), np.nan)
    for unit in np.unique(scores.unit):
        mine = scores.unit == unit
        pool = _Pool.of(scores, ~mine, scores.units)
        for j in np.flatnonzero(mine):
            table, points = scores.tables[j], scores.points[j]
            chance = 1 / max(scores.units, 1) + pool.up_to(table)
            lower, upper = _hull(np.maximum(chance, 2 * table), points, alpha)
            lower, upper = lower[scores.place[j]], upper[scores.place[j]]
            share = scores.mass[j] / max(scores.mass[j].sum(), 1e-300)
            truth = np.where(np.isnan(scores.truth[j]), points[0], scores.truth[j])
            below, above = np.maximum(lower - truth, 0), np.maximum(truth - upper, 0)
            size = points[-1] - points[0]
            outside = np.maximum(below, above) / size
            if share.sum() > 0:
                found[0, j] = share @ (outside <= _ROUNDING)
                found[1, j] = share @ (upper - lower) / size
                found[2, j] = found[1, j] + 2 / alpha * (share @ outside)
    known = ~np.isnan(found[0])
    coverage, width, score = found[:, known]
    return Judged(level, coverage, width, score, scores.question[known], scores.unit[known])


@dataclass(frozen=True)
class _Pool:
    """Ascending scores and the mass of all up to each, from 0."""

    scores: Float[np.ndarray, " c"]
    mass: Float[np.ndarray, " c1"]

    @staticmethod
    def of(scores: Scores, chosen: Bool[np.ndarray, " k"], units: int) -> "_Pool":
        """Of the questions `chosen`, in which a unit has mass 1 / `units`."""
        values, mass = scores.score[chosen].ravel(), scores.mass[chosen].ravel()
        used = mass > 0
        order = np.argsort(values[used])
        total = np.concatenate([[0.0], np.cumsum(mass[used][order])])
        return _Pool(values[used][order], total / max(units, 1))

    @property
    def total(self) -> float:
        """The mass of all."""
        return float(self.mass[-1])

    def up_to(self, level: np.ndarray) -> np.ndarray:
        """The mass of scores that are at most `level`."""
        return self.mass[np.searchsorted(self.scores, level, side="right")]


def _points(problem: Problem, at, low, width) -> list[Float[np.ndarray, " _"]]:
    found = steps(problem.panel, at)
    return [scale_points(*one) for one in zip(low, low + width, found, strict=True)]


def _distributions(problem: Problem, scale: Scale, at, prediction, residual):
    """Points, tail levels and places of predictions on the ranges of `scale`."""
    low, width = scale.low[at], scale.width[at]
    points, place = _points(problem, at, low, width), places(prediction, low, width)
    sizes = np.array([len(one) for one in points])
    return points, tail_levels(place, residual[at], sizes, problem.weight), place


def _hull(
    reach: Float[np.ndarray, "r k"], points: Float[np.ndarray, " k"], alpha: float
) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, " r"]]:
    """Ends of the points that the interval holds; the likeliest point alone if it holds none."""
    held = reach > alpha + _ROUNDING
    held = held | (~held.any(axis=1, keepdims=True) & (reach == reach.max(axis=1, keepdims=True)))
    last = held.shape[1] - 1
    return points[held.argmax(axis=1)], points[last - held[:, ::-1].argmax(axis=1)]
