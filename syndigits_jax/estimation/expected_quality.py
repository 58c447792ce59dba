"""How good the answers to a question will be, before anybody has answered it.

Correlation and error of the mean, of raw and of calibrated twins, are regressed over the known
questions on what is known of a question without people's answers to it: how much and how its twins
vary, how well other questions explain its twins (the training error), how far its level is expected
to be moved, how large the calibrated predictions are and how far they agree with the raw twins, its
number of options, its kind of scale and its block.

For the questions of a fold, everything is learnt without it: the known questions of another
fold are judged by predictions that were made without both folds (see `stack`),
so that people's answers to a question change nothing in its own expectation, bit for bit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from ..evaluation.holdout import threads
from ..evaluation.holdout_result import HoldOut
from ..inference.conformal import conformal_quantile
from ..panel import Panel
from ..results.keys import Key
from ..solvers.boundary import Numbers
from ..solvers.checks import check_probability
from .components import COMPONENTS
from .difficulty import NestedScales, nested_scales, stack_weights
from .held_out import held_out
from .held_out_probabilities import (
    MOST_OPTIONS,
    HeldOutProbabilities,
    listed_questions,
    probabilities_of,
)
from .levels import FEWEST_ANSWERS, GROUP_PENALTY, question_table, ridge_over_questions
from .questions import Nested, Problem, Setting, nested, prepare_hold_out
from .stack import OnFit, predict

OUTCOMES = ("calibrated correlation", "raw correlation", "calibrated error", "raw error")
"""What is expected: correlations over people, and absolute errors of the mean over the range."""

FEATURES = (
    "twins' spread",
    "twins' entropy",
    "training error",
    "options",
    "expected shift of the level",
    "room of the level",
    "expected spread",
    "size of calibrated predictions",
    "agreement of raw and calibrated",
)
"""What the expectations are made of, besides kinds of scale and blocks."""

FEWEST_QUESTIONS = 10
"""Known questions of other folds that an expectation is learnt from."""

_BINS = 11
_TWIN = COMPONENTS.index("Twin")


@dataclass(frozen=True)
class ExpectedQuality:
    """Expected quality of q questions, learnt from other questions.

    - `questions`: (q,) the known ones, then those that nobody has answered.
    - `known`: (q,); `fold`: (q,) left out together, -1 for new questions.
    - `expected`, `lower`, `upper`: by name of [`OUTCOMES`][], (q,); NaN, with infinite ends, where
      fewer than [`FEWEST_QUESTIONS`][] others could be judged. The ends hold what comes true for a
      question drawn like the others with probability `level` (conformal, from leave-one-out
      residuals; infinite where there are too few questions for that level).
    - `features`: (q, f) of the questions, named by [`FEATURES`][].
    - `level`.
    """

    questions: tuple[str, ...]
    known: Bool[np.ndarray, " q"]
    fold: Int[np.ndarray, " q"]
    expected: Mapping[str, Float[np.ndarray, " q"]]
    lower: Mapping[str, Float[np.ndarray, " q"]]
    upper: Mapping[str, Float[np.ndarray, " q"]]
    features: Float[np.ndarray, "q f"]
    level: float


def hold_out_quality(
    panel: Panel,
    *,
    setting: Setting = "known battery",
    blocks: Sequence[Any] | None = None,
    sample_weight: Numbers | None = None,
    level: float = 0.95,
    key: Key = 0,
    most_options: int = MOST_OPTIONS,
    workers: int | None = None,
    on_fit: OnFit | None = None,
) -> tuple[HoldOut, HeldOutProbabilities | None, ExpectedQuality]:
    """Every known question estimated from other folds, and how good that was to be expected.

    [`hold_out_questions`][syndigits_jax.estimation.hold_out_questions] and
    [`hold_out_probabilities`][] from the same fits, with expectations.

    **Arguments:** `panel`, `setting`, `blocks`, `sample_weight`, `key`, `workers`, `on_fit`: as in
    [`hold_out_questions`][syndigits_jax.estimation.hold_out_questions]; `most_options`: as in
    [`hold_out_probabilities`][]; `level`: of the intervals.

    **Returns:** what these two return, `None` in place of probabilities if no question's options
    are known, and an [`ExpectedQuality`][] of all questions, also of those without human answers.

    **Raises:** `ValueError` as there, and for a `level` outside (0, 1).

    **Example:**

        >>> from syndigits_jax.datasets import sample_panel
        >>> from syndigits_jax.estimation import hold_out_quality
        >>> panel = sample_panel().take(users=slice(0, 60), questions=slice(0, 16))
        >>> held_out, probabilities, found = hold_out_quality(panel, level=0.8)
        >>> expected = found.expected["calibrated correlation"]
        >>> print(expected.shape, (found.lower["calibrated correlation"] < expected).all())
        (16,) True
    """
    check_probability(level=level)
    problem = prepare_hold_out(panel, setting, blocks, sample_weight)
    at = listed_questions(problem, most_options)
    run = nested(problem, setting, key=key, workers=threads(workers), on_fit=on_fit)
    probabilities = probabilities_of(run, at) if at.size else None
    return held_out(run), probabilities, expected_quality(problem, run, level=level)


def expected_quality(problem: Problem, run: Nested, *, level: float = 0.95) -> ExpectedQuality:
    """[`ExpectedQuality`][] from a nested hold-out of the known questions.

    **Arguments:** `problem`: a panel, prepared; `run`: its nested hold-out; `level`: of intervals.
    """
    panel, known, fold = problem.panel, problem.known, run.moments.fold
    places = len(run.scales) + 1
    new = np.setdiff1d(np.arange(panel.m), known)
    scales = nested_scales(problem, run, problem.levels(known))
    judged = _Judged.of(problem, run, scales)
    features = judged.features(new)
    table = question_table(
        np.full(panel.twin.shape, np.nan), panel.twin, scales.whole.low, scales.whole.high,
        problem.weight, blocks=problem.blocks,
    )  # fmt: skip
    groups = np.asarray(table.groups)
    # Of known questions only: predictions of new ones have seen every fold.
    centre = features[:, known].mean(1, keepdims=True)
    size = features[:, known].std(1, keepdims=True)
    scaled = (features - centre) / np.where(size > 1e-6, size, 1)
    shape = (places, panel.m)
    x = np.concatenate(
        [np.ones((*shape, 1)), scaled, np.broadcast_to(groups, (*shape, groups.shape[1]))], axis=2
    )
    penalties = np.concatenate(
        [[0], np.ones(len(FEATURES)), np.full(groups.shape[1], GROUP_PENALTY)]
    )
    truth, used = judged.outcomes()
    dtype = table.twin_sd.dtype
    value, reach = _regressions(
        *(jnp.asarray(a, dtype) for a in (x, truth, used, penalties)), jnp.asarray(1 - level, dtype)
    )
    value, reach = np.asarray(value, np.float64), np.asarray(reach, np.float64)
    place = np.full(panel.m, places - 1)
    place[known] = fold
    at, rows = np.concatenate([known, new]), slice(None)
    value, reach = value[rows, place[at], at], reach[rows, place[at]]
    enough = used.sum(axis=2)[rows, place[at]] >= FEWEST_QUESTIONS
    least = np.array([[-1.0], [-1.0], [0.0], [0.0]])
    expected = np.where(enough, np.clip(value, least, 1), np.nan)
    reach = np.where(enough, reach, np.inf)
    centre = np.nan_to_num(expected)
    lower, upper = np.maximum(centre - reach, least), np.minimum(centre + reach, 1.0)
    ends = np.where(np.isfinite(reach), lower, -np.inf), np.where(np.isfinite(reach), upper, np.inf)

    def named(values: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(OUTCOMES, values, strict=True))

    return ExpectedQuality(
        tuple(panel.questions[j] for j in at),
        np.isin(at, known),
        np.concatenate([fold, np.full(len(new), -1)]),
        named(expected),
        named(ends[0]),
        named(ends[1]),
        features[place[at], at],
        level,
    )


@jax.jit
def _regressions(x, truth, used, penalties, alpha):
    """Fitted values (o, p, m) and conformal half-widths (o, p) of every outcome and place."""

    def one(features, values, weight):
        line = ridge_over_questions(features, values, weight, penalties)
        errors = jnp.where(jnp.isinf(line.errors), jnp.nan, line.errors)
        return features @ line.coef, conformal_quantile(errors, alpha)

    by_place = jax.vmap(one)
    return jax.vmap(by_place, in_axes=(None, 0, 0))(x, truth, used)


@dataclass(frozen=True)
class _Judged:
    """What the nested hold-out says of the known questions, in every place."""

    problem: Problem
    run: Nested
    scales: NestedScales
    weights: Sequence[Float[np.ndarray, " c"]]
    twin: Mapping[str, Float[np.ndarray, " m"]]

    @staticmethod
    def of(problem: Problem, run: Nested, scales: NestedScales) -> "_Judged":
        panel, weight = problem.panel, problem.weight
        mean, sd = (np.zeros(panel.m) for _ in range(2))
        entropy, options = (np.zeros(panel.m) for _ in range(2))
        for j in range(panel.m):
            there = ~np.isnan(panel.twin[:, j]) & (weight > 0)
            answers, share = panel.twin[there, j], weight[there]
            if not answers.size:
                continue
            share = share / share.sum()
            mean[j] = share @ answers
            sd[j] = np.sqrt(share @ (answers - mean[j]) ** 2)
            low, high = answers.min(), answers.max()
            bins = np.round((answers - low) / max(high - low, 1e-12) * (_BINS - 1)).astype(int)
            shares = np.bincount(bins, share, _BINS)
            entropy[j] = -np.sum(shares * np.log(np.where(shares > 0, shares, 1)))
            options[j] = np.log(len(np.unique(answers)))
        twin = {"mean": mean, "sd": sd, "entropy": entropy, "options": options}
        return _Judged(problem, run, scales, stack_weights(run), twin)

    def outcomes(self) -> tuple[Float[np.ndarray, "o p m"], Bool[np.ndarray, "o p m"]]:
        """What came true of known questions without each place, and where that can be told."""
        panel, known, fold = self.problem.panel, self.problem.known, self.run.moments.fold
        shape = len(OUTCOMES), len(self.run.scales) + 1, panel.m
        truth, used = np.zeros(shape), np.zeros(shape, bool)
        mean, correlation, count = self._people()
        for p in range(shape[1]):
            usable = (self.run.moments.size[p] > 0) & (count >= FEWEST_ANSWERS)
            size, cross, _ = self._shape(p, self.run.moments.gram[p], self.run.moments.cross[p])
            for k in np.flatnonzero(usable & (fold != p)):
                j, other = known[k], self.scales.without(p, int(fold[k]))
                level = float(np.asarray(other.levels.mean)[j])
                truth[:, p, j] = (
                    cross[k] / size[k] if size[k] > 1e-6 else 0.0,
                    correlation[k],
                    abs(level - mean[k]) / other.width[j],
                    abs(self.twin["mean"][j] - mean[k]) / other.width[j],
                )
                used[:, p, j] = True
        return np.clip(truth, -1, 1), used

    def features(self, new: Int[np.ndarray, " t"]) -> Float[np.ndarray, "p m f"]:
        """Of every question, as they are known in every place."""
        known, fold, moments = self.problem.known, self.run.moments.fold, self.run.moments
        places, m = len(self.run.scales) + 1, self.problem.panel.m
        out = np.zeros((places, m, len(FEATURES)))
        unexplained = np.ones(m)
        unexplained[known] = moments.unexplained
        fresh = np.zeros((0, len(COMPONENTS), len(COMPONENTS)))
        if len(new):
            found, _ = predict(self.problem.responses, known, new)
            unexplained[new] = found.unexplained
            values = np.asarray(found.values, np.float64)
            weight = self.problem.weight / self.problem.weight.sum()
            fresh = np.einsum("tcn,n,tdn->tcd", values, weight, values)
        for p in range(places):
            place = self.scales.place(p)
            level, spread = (np.array(a, float) for a in (place.levels.mean, place.levels.sd))
            low, width = place.low.copy(), place.width.copy()
            own = fold == p
            for g in {int(f) for f in fold[~own]}:
                at, other = known[fold == g], self.scales.without(p, g)
                level[at] = np.asarray(other.levels.mean)[at]
                spread[at] = np.asarray(other.levels.sd)[at]
                low[at], width[at] = other.low[at], other.width[at]
            # Questions of the place itself are predicted without it alone.
            gram = np.where(own[:, None, None], moments.gram[-1], moments.gram[p])
            size, agreement = np.zeros(m), np.zeros(m)
            size[known], _, agreement[known] = self._shape(p, gram)
            if len(new):
                size[new], _, agreement[new] = self._shape(p, fresh)
            middle = np.clip((level - low) / width, 0, 1)
            out[p] = np.stack(
                [
                    self.twin["sd"] / width,
                    self.twin["entropy"],
                    unexplained,
                    self.twin["options"],
                    np.abs(level - self.twin["mean"]) / width,
                    4 * middle * (1 - middle),
                    spread / width,
                    size,
                    agreement,
                ],
                axis=1,
            )
        return np.nan_to_num(out)

    def _shape(self, place: int, gram: np.ndarray, cross: np.ndarray | None = None):
        """Size of the stack's predictions, their product with the truth, correlation with twins."""
        weights = np.asarray(self.weights[place], np.float64)
        gram = np.asarray(gram, np.float64)
        size = np.sqrt(np.maximum(np.einsum("c,kcd,d->k", weights, gram, weights), 0))
        own = np.sqrt(np.maximum(gram[:, _TWIN, _TWIN], 0))
        product = gram[:, _TWIN] @ weights
        scale = size * own
        agreement = np.where(scale > 1e-6, product / np.where(scale > 1e-6, scale, 1), 0)
        truth = np.zeros(len(gram)) if cross is None else np.asarray(cross, np.float64) @ weights
        return size, truth, agreement

    def _people(self):
        """(k,) mean of people's answers, correlation of twins with them, and how many answered."""
        panel, weight = self.problem.panel, self.problem.weight
        known = self.problem.known
        mean, correlation, count = (np.zeros(len(known)) for _ in range(3))
        for k, j in enumerate(known):
            there = ~np.isnan(panel.human[:, j]) & (weight > 0)
            count[k] = there.sum()
            if not count[k]:
                continue
            mean[k] = np.average(panel.human[there, j], weights=weight[there])
            both = there & ~np.isnan(panel.twin[:, j])
            if both.sum() > 1:
                correlation[k] = _correlation(
                    panel.human[both, j], panel.twin[both, j], weight[both]
                )
        return mean, correlation, count


def _correlation(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    """Weighted correlation, 0 where a side does not vary."""
    share = weight / weight.sum()
    x, y = x - share @ x, y - share @ y
    xx, yy = share @ x**2, share @ y**2
    return float(share @ (x * y) / np.sqrt(xx * yy)) if xx > 1e-12 and yy > 1e-12 else 0.0
