"""Estimate the answers to new questions: `auto`, chosen by the known questions.

The prediction is a stack of components (`components`), with weights that fit the known questions
out of fold (`stack`, `weights`), on a level and a spread that the known questions predict
(`levels`). No human answer to a target is used in any of these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int

from ..calibration.inputs import person_weight
from ..panel import Panel
from ..results.keys import Key
from ..solvers.boundary import Numbers
from ..solvers.checks import check_squares
from .components import COMPONENTS, WeightedPanel
from .grouping import block_folds, random_folds
from .levels import Levels, fit_levels, question_ranges, question_table
from .people import effective_weight
from .stack import FoldMoments, OnFit, OnPair, Stack, fold_moments
from .units import AnswerUnits, answer_units
from .weights import FIXED_WEIGHTS, FOLDS, SURVEY_WEIGHTS

Setting = Literal["known battery", "new survey"]
"""Whether questions of the target's block are among the known ones."""

PRIOR = {"known battery": FIXED_WEIGHTS, "new survey": SURVEY_WEIGHTS}


MANY_QUESTIONS = 400
"""With more known questions, pairs of folds are judged by [`MOST_OF_A_PAIR`][] of them."""

MOST_OF_A_PAIR = 40
"""Questions of a pair of folds that decide weights where there are many."""


_fit_levels = jax.jit(fit_levels)


@dataclass(frozen=True)
class Problem:
    """A panel prepared for the estimator.

    - `given`: the panel, without human answers to the targets; `units`: of its questions.
    - `panel`, `responses`: the same in plain units, as is all that follows from it, and its
      numbers.
    - `weight`: (n,) of the users, in units of people ([`effective_weight`][]).
    - `known`: positions of the questions that are donors and from which weights are learnt.
    - `blocks`: of all questions, or `None`.
    """

    given: Panel
    units: AnswerUnits
    panel: Panel
    responses: WeightedPanel
    weight: Float[np.ndarray, " n"]
    known: Int[np.ndarray, " k"]
    blocks: tuple[str, ...] | None

    def known_blocks(self) -> set[str]:
        """The blocks of the known questions; empty without blocks."""
        return set() if self.blocks is None else {self.blocks[j] for j in self.known}

    def block_of_known(self) -> Int[np.ndarray, " k"]:
        """(k,) the block of each known question, by number; without blocks its own."""
        if self.blocks is None:
            return np.arange(len(self.known))
        return np.unique([self.blocks[j] for j in self.known], return_inverse=True)[1]

    def folds(self, setting: Setting, key: Key) -> Int[np.ndarray, " k"]:
        """The fold of every known question: at random, or whole blocks for a new survey."""
        if setting == "known battery" or self.blocks is None:
            return random_folds(len(self.known), FOLDS, key)
        return block_folds([self.blocks[j] for j in self.known], FOLDS)

    def setting(self, target: int) -> Setting:
        """Whether a known question is of the target's block; without blocks, it is assumed so."""
        if self.blocks is None:
            return "known battery"
        return "known battery" if self.blocks[target] in self.known_blocks() else "new survey"

    def levels(self, learn: Int[np.ndarray, " k"]) -> "Scale":
        """Levels of all questions from the humans' answers to `learn` alone, and the ranges."""
        panel = self.panel
        allowed = np.zeros(panel.m, bool)
        allowed[learn] = True
        human = np.where(allowed[None, :], panel.human, np.nan)
        # The ranges of different questions are compared, as they were given.
        given = np.where(allowed[None, :], self.given.human, np.nan)
        ends = self.given.low, self.given.high
        low, high = question_ranges(*ends, given, self.given.twin, allowed)
        low, high = self.units.plain(low), self.units.plain(high)
        table = question_table(human, panel.twin, low, high, self.weight, blocks=self.blocks)
        return Scale(jax.device_get(_fit_levels(table, jnp.asarray(allowed))), low, high)


@dataclass(frozen=True)
class Scale:
    """Level, spread and range of every question: `levels`, and `low` and `high` (m,)."""

    levels: Levels
    low: Float[np.ndarray, " m"]
    high: Float[np.ndarray, " m"]

    @property
    def width(self) -> Float[np.ndarray, " m"]:
        """(m,) width of the range, 1 where it is a single point."""
        return np.where(self.high > self.low, self.high - self.low, 1.0)

    def stack(
        self, weights: Float[np.ndarray, " c"], at: Int[np.ndarray, " t"], people: np.ndarray
    ) -> Stack:
        """The combination with these weights for questions at positions `at`."""
        dtype = self.levels.mean.dtype
        fields = weights, self.levels.mean[at], self.levels.sd[at], self.low[at], self.high[at]
        return Stack(*(jnp.asarray(field, dtype) for field in (*fields, people)))


@dataclass(frozen=True)
class Nested:
    """Every known question predicted without its fold, weights and level included.

    - `problem`: what was held out; `setting`: how folds were made; `moments`: of all folds.
    - `scales`: of each fold, learnt without it.
    - `prediction`: (k, n).
    """

    problem: Problem
    setting: Setting
    moments: FoldMoments
    scales: tuple[Scale, ...]
    prediction: Float[np.ndarray, "k n"]

    @property
    def width(self) -> Float[np.ndarray, " k"]:
        """(k,) of the ranges, 1 for a point."""
        widths = np.stack([scale.width for scale in self.scales])
        return widths[self.moments.fold, self.problem.known]

    def alone(self, component: int) -> Float[np.ndarray, "k n"]:
        """Predictions by one component alone, on the same level and spread."""
        weights = np.eye(len(COMPONENTS))[component]
        return combined(self.problem, self.moments, self.scales, [weights] * len(self.scales))


def responses_of(panel: Panel, sample_weight: Numbers | None) -> WeightedPanel:
    """A panel's numbers in plain units, and its users' weights in units of people, checked."""
    for name in ("human", "twin"):
        check_squares(getattr(panel, name), name, jnp.result_type(float))
    arrays = answer_units(panel).panel(panel).arrays()
    dtype = arrays.human.dtype
    weight = person_weight(sample_weight, panel.n, dtype)
    weight = np.ones(panel.n) if weight is None else np.asarray(weight, np.float64)
    return WeightedPanel(arrays.human, arrays.twin, jnp.asarray(effective_weight(weight), dtype))


def without_answers(
    panel: Panel,
    *,
    users: Int[np.ndarray, " i"] | None = None,
    questions: Int[np.ndarray, " j"] | None = None,
) -> Panel:
    """The panel without any human answer of these users, or to these questions, by position."""
    hidden = np.zeros((panel.n, panel.m), bool)
    if users is not None:
        hidden[users] = True
    if questions is not None:
        hidden[:, questions] = True
    return panel.with_missing(human=hidden) if hidden.any() else panel


def prepare(
    panel: Panel,
    targets: Int[np.ndarray, " t"],
    blocks: Sequence[Any] | None,
    sample_weight: Numbers | None,
) -> Problem:
    """Check the arguments and choose the donors: answered by humans, and no targets.

    **Arguments:**

    - `panel`: human and twin answers.
    - `targets`: (t,) positions of the questions to estimate.
    - `blocks`: the block of each of the panel's m questions, or `None` for the panel's own.
    - `sample_weight`: (n,) weights of the users, or `None`.

    **Raises:** `ValueError` for blocks or weights that do not fit the panel, answers whose squares
    overflow, or fewer than two other questions with human answers.
    """
    weight = np.asarray(responses_of(panel, sample_weight).weight, np.float64)
    if blocks is not None:
        panel = panel.with_blocks(blocks)
    counted = panel.human_mask & (weight > 0)[:, None]
    donor = np.any(counted, axis=0)
    donor[targets] = False
    known = np.flatnonzero(donor)
    if len(known) < 2:
        raise ValueError(
            f"`human`: {len(known)} other questions have human answers; at least two are needed"
        )
    panel = without_answers(panel, questions=targets)
    responses, units = responses_of(panel, sample_weight), answer_units(panel)
    labels = panel.blocks or None
    return Problem(panel, units, units.panel(panel), responses, weight, known, labels)


def prepare_hold_out(
    panel: Panel,
    setting: Setting,
    blocks: Sequence[Any] | None,
    sample_weight: Numbers | None,
    targets: Int[np.ndarray, " t"] | None = None,
) -> Problem:
    """[`prepare`][] for a hold-out of the known questions.

    **Arguments:** `panel`, `blocks`, `sample_weight`: as there; `setting`: what is left out
    together; `targets`: (t,) positions of questions that take no part, none by default.

    **Raises:** `ValueError` as there, for a `setting` that does not exist, and for a new survey
    without two blocks.
    """
    if setting not in PRIOR:
        raise ValueError(f"`setting` must be one of {tuple(PRIOR)}, got {setting!r}")
    targets = np.zeros(0, np.int64) if targets is None else targets
    problem = prepare(panel, targets, blocks, sample_weight)
    if setting == "new survey" and len(problem.known_blocks()) < 2:
        raise ValueError("`blocks` must name at least two blocks to leave out one at a time")
    return problem


def most_of_a_pair(known: Int[np.ndarray, " k"]) -> int | None:
    """How many of a pair of folds' questions decide weights, or `None` for all."""
    return MOST_OF_A_PAIR if len(known) > MANY_QUESTIONS else None


def nested(
    problem: Problem,
    setting: Setting,
    *,
    key: Key = 0,
    workers: int = 1,
    on_fit: OnFit | None = None,
    on_pair: OnPair | None = None,
    mesh: Mesh | None = None,
) -> Nested:
    """Predict every known question from the other folds, choosing everything without its fold.

    **Arguments:**

    - `problem`: a panel, prepared.
    - `setting`: how folds are made.
    - `key`: decides random folds; `workers`: folds computed at once; `on_fit`: progress.
    - `on_pair`, `mesh`: as in [`fold_moments`][].
    """
    known = problem.known
    fold = problem.folds(setting, key)
    most = most_of_a_pair(known)
    moments = fold_moments(
        problem.responses,
        known,
        fold,
        most=most,
        workers=workers,
        on_fit=on_fit,
        on_pair=on_pair,
        mesh=mesh,
    )
    folds = range(int(fold.max()) + 1)
    scales = tuple(problem.levels(known[fold != f]) for f in folds)
    weights = [moments.weights(PRIOR[setting], f)[0] for f in folds]
    prediction = combined(problem, moments, scales, weights)
    return Nested(problem, setting, moments, scales, prediction)


def combined(
    problem: Problem,
    moments: FoldMoments,
    scales: Sequence[Scale],
    weights: Sequence[Float[np.ndarray, " c"]],
) -> Float[np.ndarray, "k n"]:
    """(k, n) every known question from the weights and the scale of its fold.

    **Arguments:** `problem`; `moments`: of its folds; `scales`, `weights`: of every fold.
    """
    out = np.full((len(problem.known), problem.panel.n), np.nan)
    for f, (scale, chosen) in enumerate(zip(scales, weights, strict=True)):
        inside = np.flatnonzero(moments.fold == f)
        stack = scale.stack(chosen, problem.known[inside], problem.weight)
        out[inside] = stack(jnp.asarray(moments.values[inside]))
    return out
