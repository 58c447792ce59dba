"""How far people's answers to a question will lie from their predictions, learnt out of fold.

The size of an answer's error, in units of the range, is regressed over the known questions on the
estimated spread, the twins' spread, the room that the level leaves, and on kinds of scale and
blocks. The errors come from the moments of the nested hold-out: those that a fold's questions are
judged by have not seen its human answers in any way.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .levels import (
    FEWEST_ANSWERS,
    FEWEST_FOR_LEVELS,
    GROUP_PENALTY,
    question_table,
    ridge_over_questions,
    weighted_moments,
)
from .questions import PRIOR, Nested, Problem, Scale

SMALLEST, LARGEST = 0.02, 0.7
"""Of the standard deviation of an answer about its prediction, in units of the range."""


@dataclass(frozen=True)
class NestedScales:
    """Levels and ranges learnt without a fold, without a pair of folds, and from all questions.

    - `single`: of each fold; `pair`: by the two folds, the smaller number first; `whole`.
    """

    single: tuple[Scale, ...]
    pair: Mapping[tuple[int, int], Scale]
    whole: Scale

    def place(self, place: int) -> Scale:
        """Without fold `place`; of all where there is no such fold."""
        return self.whole if place == len(self.single) else self.single[place]

    def without(self, place: int, fold: int) -> Scale:
        """Without fold `place`, as in [`place`][], and without `fold`."""
        if place == len(self.single):
            return self.single[fold]
        return self.pair[min(place, fold), max(place, fold)]


def nested_scales(problem: Problem, run: Nested, whole: Scale) -> NestedScales:
    """Levels without every pair of folds, besides those of the hold-out.

    **Arguments:** `problem`; `run`: its nested hold-out; `whole`: levels from all known questions.
    """
    fold, known = run.moments.fold, problem.known
    pairs = itertools.combinations(range(len(run.scales)), 2)
    return NestedScales(
        run.scales,
        {(f, g): problem.levels(known[(fold != f) & (fold != g)]) for f, g in pairs},
        whole,
    )


def expected_residuals(
    problem: Problem,
    run: Nested,
    scales: NestedScales,
    weights: Sequence[Float[np.ndarray, " c"]],
    spread: Float[np.ndarray, " m"] | None = None,
) -> Float[np.ndarray, "o m"]:
    """Expected standard deviation of an answer to every question about its prediction.

    **Arguments:**

    - `problem`; `run`: its nested hold-out; `scales`: of [`nested_scales`][].
    - `weights`: of the components, without each fold and with all ([`stack_weights`][]).
    - `spread`: (m,) the unit of the components, by default the levels' standard deviation.

    **Returns:** (F + 1, m) over the range; row f learnt without fold f, the last one from all.
    """
    fold, known, folds = run.moments.fold, problem.known, range(len(run.scales))
    seen = np.zeros(problem.panel.m, bool)
    seen[known] = True
    human, twin = np.where(seen[None, :], problem.panel.human, np.nan), problem.panel.twin
    ends = scales.whole.low, scales.whole.high
    table = question_table(human, twin, *ends, problem.weight, blocks=problem.blocks)
    _, twin_sd, _ = weighted_moments(twin, problem.weight)
    mean, sd, count = weighted_moments(human, problem.weight)
    groups = np.asarray(table.groups)
    penalties = np.concatenate([[0, 1, 1, 1], np.full(groups.shape[1], GROUP_PENALTY)])
    out = np.zeros((len(folds) + 1, problem.panel.m))
    for place in range(len(folds) + 1):
        guess, slopes = _features(scales.place(place), twin_sd)
        truth, used = np.zeros(problem.panel.m), np.zeros(problem.panel.m, bool)
        for g in folds:
            usable = (run.moments.size[place] > 0) & (count[known] >= FEWEST_ANSWERS)
            inside = np.flatnonzero((fold == g) & usable)
            if g == place or not inside.size:
                continue
            j, other = known[inside], scales.without(place, g)
            unit = np.asarray(other.levels.sd if spread is None else spread)[j]
            square = _errors(run, place, inside, weights[place], sd[j], unit)
            square = square + (mean[j] - np.asarray(other.levels.mean)[j]) ** 2
            found = np.sqrt(np.maximum(square, 0)) / other.width[j]
            truth[j] = np.log(np.maximum(found, SMALLEST)) - np.log(guess[j])
            used[j] = True
        out[place] = guess
        if used.sum() >= FEWEST_FOR_LEVELS:
            features = np.concatenate([slopes, groups], 1)
            arrays = features, truth, used, penalties
            dtype = table.twin_sd.dtype
            line = ridge_over_questions(*(jnp.asarray(a, dtype) for a in arrays))
            out[place] = guess * np.exp(features @ np.asarray(line.coef))
    return np.clip(out, SMALLEST, LARGEST)


def stack_weights(run: Nested) -> list[Float[np.ndarray, " c"]]:
    """Weights of the components without each fold, and with all of them."""
    folds = [*range(len(run.scales)), None]
    return [run.moments.weights(PRIOR[run.setting], f)[0] for f in folds]


def _features(scale: Scale, twin_sd: Float[np.ndarray, " m"]):
    """A first guess, (m,), and what it is corrected by: (m, 4), near 0 at ordinary questions."""
    error = float(scale.levels.mean_line.error)
    guess = np.maximum(np.hypot(np.asarray(scale.levels.sd) / scale.width, error), SMALLEST)
    mean = (np.asarray(scale.levels.mean) - scale.low) / scale.width
    twins = np.log(np.maximum(twin_sd / scale.width, SMALLEST))
    room = 4 * mean * (1 - mean)
    slopes = [np.ones_like(guess), np.log(guess) + 1.2, twins + 1.5, room - 0.8]
    return guess, np.stack(slopes, 1)


def _errors(run: Nested, place: int, inside, weights, sd, unit) -> Float[np.ndarray, " b"]:
    """Mean squared error of the shape of predictions, from the moments of the hold-out."""
    gram = np.asarray(run.moments.gram[place, inside], np.float64)
    cross = np.asarray(run.moments.cross[place, inside], np.float64)
    weights = np.asarray(weights, np.float64)
    size = np.einsum("c,kcd,d->k", weights, gram, weights)
    return sd**2 - 2 * sd * unit * (cross @ weights) + unit**2 * size
