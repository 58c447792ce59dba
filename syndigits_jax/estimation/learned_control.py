"""A learned control without twins: what people's other answers and the questions' texts tell.

Twins that know a person should beat what is known of that person without them. For a question
that nobody has answered, that is the person's answers to other questions, more so those of the same
block and of similar text, and what covariates say where answers are missing. No twin is read.

In units of standard deviations of each question's answers, the prediction for person i is
Σ_q A_q z_iq over the known questions q, with weights A of a kernel ridge regression over questions
(texts and blocks are the features, the person's mean is the unpenalised intercept). With a large
penalty it is the person's mean. Missing answers are filled by soft impute, in which covariates are
further columns. Penalty, mix of texts and blocks, size and level are chosen by known questions out
of fold, pairs of folds left out together as in [`stack`][syndigits_jax.estimation.stack].
"""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ..evaluation.holdout import threads
from ..evaluation.holdout_result import HoldOut
from ..panel import Panel
from ..results.keys import Key
from ..solvers.boundary import Numbers
from ._learned_candidates import PENALTIES, Candidates, Sources, candidates
from .components import standardised
from .learned_features import pair_features, people_features, text_and_block_features
from .levels import weighted_moments
from .questions import Problem, Setting, prepare_hold_out
from .stack import OnFit, fold_pairs, in_order
from .targets import chosen_targets

LEARNED = "LearnedControl"
"""The control's name in a [`HoldOut`][syndigits_jax.evaluation.HoldOut]."""


@dataclass(frozen=True)
class _Choice:
    """What the known questions decide: candidates by position, and the size of predictions."""

    values: int
    size: float
    level: int
    spread: int


class _Control:
    """One panel's control: its fits by pairs of folds, and what they decide."""

    def __init__(
        self,
        problem: Problem,
        fold: Int[np.ndarray, " k"],
        features: Float[np.ndarray, "a m f"],
        covariates: Float[np.ndarray, "n c"] | None,
        learner: Any,
    ) -> None:
        human = problem.responses.human
        dtype = human.dtype
        self.known, self.fold, self.learner = problem.known, fold, learner
        self.sources = Sources(
            human,
            problem.responses.weight,
            None if covariates is None else jnp.asarray(covariates, dtype),
            jnp.asarray(features, dtype),
        )
        self.complete = bool(np.asarray(human.mask)[:, problem.known].all())
        self.units = problem.units
        self.low, self.high = problem.panel.low, problem.panel.high
        self.width = np.where(self.high > self.low, self.high - self.low, 1.0)
        mean, sd, self.count = weighted_moments(problem.panel.human, problem.weight)
        self.level = np.where(self.count > 0, (mean - self.low) / self.width, 0.0)
        self.spread = sd / self.width
        self.embedding = features[-1]
        self.found: dict[tuple[int, int], Candidates] = {}

    def fit(self, pair: tuple[int, int]) -> None:
        """Fit without both folds of `pair`; what of it is needed later is kept."""
        f, g = pair
        left_out = self.known[(self.fold == f) | (self.fold == g)]
        found = self.without(left_out)
        if f != g and self.learner is None:
            found = eqx.tree_at(lambda c: c.values, found, np.zeros((0, 0, 0), np.float32))
        else:  # the others are not needed
            kept = np.full_like(found.values, np.nan)
            kept[:, left_out] = found.values[:, left_out]
            found = eqx.tree_at(lambda c: c.values, found, kept)
        self.found[pair] = found

    def without(self, left_out: Int[np.ndarray, " s"]) -> Candidates:
        """Predictions of all questions from the known ones that are not `left_out`."""
        used = np.zeros(len(self.level), bool)
        used[self.known] = True
        used[left_out] = False
        dtype = self.sources.weight.dtype
        moments = (jnp.asarray(x, dtype) for x in (self.level, self.spread))
        found = candidates(self.sources, jnp.asarray(used), *moments, complete=self.complete)
        return jax.tree.map(np.asarray, found)

    def pair(self, f: int | None, g: int) -> Candidates:
        """What is left of the fit without folds f and g; of all but g if f is `None`."""
        return self.found[(g, g) if f is None else (min(f, g), max(f, g))]

    def choice(self, f: int | None) -> _Choice:
        """Chosen by the questions of all folds but f, each predicted without f and its own."""
        others = [g for g in range(int(self.fold.max()) + 1) if g != f]
        sums = np.zeros((4, len(PENALTIES) * len(self.sources.features)))
        for g in others:
            at = self.known[self.fold == g]
            found = self.pair(f, g)
            weight = self.count[at] / (self.count[at] + 20.0)
            sums[0] += found.cross[:, at] @ weight
            sums[1] += found.square[:, at] @ weight
            sums[2] += (found.level[:, at] - self.level[at]) ** 2 @ weight
            sums[3] += (found.spread[:, at] - self.spread[at]) ** 2 @ weight
        cross, square = sums[0], np.maximum(sums[1], np.finfo(float).tiny)
        best = int(np.argmax(np.where(cross > 0, cross**2 / square, 0)))
        size = float(np.clip(cross[best] / square[best], 0, 1))
        return _Choice(best, size, int(np.argmin(sums[2])), int(np.argmin(sums[3])))

    def predict(
        self, found: Candidates, f: int | None, at: Int[np.ndarray, " t"]
    ) -> Float[np.ndarray, "t n"]:
        """Questions at positions `at` on their scales, by what all folds but f decide."""
        chosen = self.choice(f)
        z = chosen.size * found.values[chosen.values][at].astype(np.float64)
        if self.learner is not None:
            z = self._learnt(found, f, chosen, at)
        z = z - np.average(z, axis=1, weights=np.asarray(self.sources.weight))[:, None]
        spread = np.maximum(found.spread[chosen.spread][at], 0)[:, None]
        level = found.level[chosen.level][at][:, None] + spread * z
        low, width = self.low[at][:, None], self.width[at][:, None]
        return np.clip(low + width * level, low, self.high[at][:, None])

    def _learnt(self, found, f, chosen: _Choice, at) -> Float[np.ndarray, "t n"]:
        """The learner's predictions, fitted to the questions of other folds."""
        mask, weight = np.asarray(self.sources.human.mask), np.asarray(self.sources.weight)
        truth = np.asarray(standardised(self.sources.human, self.sources.weight))
        rows, targets, weights = [], [], []
        for g in range(int(self.fold.max()) + 1):
            if g == f:
                continue
            members = self.known[self.fold == g]
            inputs = self._pairs(self.pair(f, g), chosen, members)
            answered = mask[:, members].T & (weight > 0)[None, :]
            rows.append(inputs[answered])
            targets.append(truth[:, members].T[answered])
            weights.append(np.broadcast_to(weight, answered.shape)[answered])
        model = copy.deepcopy(self.learner)
        model.fit(
            np.concatenate(rows), np.concatenate(targets), sample_weight=np.concatenate(weights)
        )
        inputs = self._pairs(found, chosen, at)
        flat = model.predict(inputs.reshape(-1, inputs.shape[-1]))
        return np.asarray(flat, np.float64).reshape(inputs.shape[:2])

    def _pairs(self, found: Candidates, chosen: _Choice, at) -> Float[np.ndarray, "t n p"]:
        values = np.asarray(found.values)
        return pair_features(
            chosen.size * values[chosen.values][at],
            values[len(PENALTIES) - 1][at],
            values[0][at],
            np.asarray(found.level)[chosen.level][at],
            self.embedding[at],
            None if self.sources.covariates is None else np.asarray(self.sources.covariates),
        )


def _control(
    panel: Panel,
    at: Int[np.ndarray, " t"],
    setting: Setting,
    blocks: Sequence[Any] | None,
    embeddings: Numbers | None,
    covariates: Numbers | None,
    sample_weight: Numbers | None,
    key: Key,
    learner: Any,
) -> _Control:
    if learner is not None and not (hasattr(learner, "fit") and hasattr(learner, "predict")):
        raise ValueError(
            "`learner` must have `fit` and `predict`, such as scikit-learn's "
            f"HistGradientBoostingRegressor(), got {learner!r}"
        )
    if np.isnan(panel.low).any() or np.isnan(panel.high).any():
        j = int(np.argmax(np.isnan(panel.low) | np.isnan(panel.high)))
        raise ValueError(
            f"`panel`: the range of question {panel.questions[j]!r} is not known; give it by "
            "`panel.with_scale`"
        )
    # Without the twins' answers, nothing here can read one.
    panel = panel.replace(twin=np.zeros(panel.twin.shape), controls={})
    problem = prepare_hold_out(panel, setting, blocks, sample_weight, at)
    if len(problem.known) < 3:
        raise ValueError(
            f"`human`: {len(problem.known)} other questions have human answers; the learned "
            "control needs at least three"
        )
    people = None if covariates is None else people_features(panel.n, covariates)
    features = text_and_block_features(panel.m, embeddings, problem.blocks)
    return _Control(problem, problem.folds(setting, key), features, people, learner)


def hold_out_learned_control(
    panel: Panel,
    *,
    setting: Setting = "known battery",
    blocks: Sequence[Any] | None = None,
    embeddings: Numbers | None = None,
    covariates: Numbers | None = None,
    sample_weight: Numbers | None = None,
    key: Key = 0,
    learner: Any = None,
    workers: int | None = None,
    on_fit: OnFit | None = None,
) -> HoldOut:
    """Every question with human answers, predicted from other folds' questions without any twin.

    Folds are those of [`hold_out_questions`][] with the same setting and key, so that the two can
    be compared, such as by [`twin_gain`][syndigits_jax.evaluation.twin_gain]. Replacing a fold's
    answers changes none of its predictions, bit for bit, and twins are not read.

    **Arguments:**

    - `panel`, `setting`, `blocks`, `sample_weight`, `key`, `workers`, `on_fit`: as in
      [`hold_out_questions`][]; the range of every question must be known.
    - `embeddings`: (m, e) a vector for the text of each question (see
      [`embed_texts`][syndigits_jax.preferences.embed_texts]). Without them, and without blocks,
      the control is the person's mean.
    - `covariates`: (n, c) numbers that describe people, NaN where missing. They help to fill
      missing answers, and the `learner` sees them.
    - `learner`: a regressor with scikit-learn's `fit` and `predict`, such as
      `HistGradientBoostingRegressor()`, that improves on the ridge regression's predictions; it is
      copied for every fit.

    **Returns:** a [`HoldOut`][syndigits_jax.evaluation.HoldOut] with the prediction
    `"LearnedControl"`.

    **Raises:** `ValueError` for arguments that do not fit the panel, fewer than three known
    questions, and for a new survey without blocks.

    **Example:**

        >>> from syndigits_jax.datasets import sample_panel
        >>> from syndigits_jax.estimation import hold_out_learned_control
        >>> panel = sample_panel().take(users=slice(0, 50), questions=slice(0, 12))
        >>> held_out = hold_out_learned_control(panel, blocks=["a"] * 6 + ["b"] * 6)
        >>> print(held_out.predictions["LearnedControl"].shape)
        (12, 50)
    """
    control = _control(
        panel,
        np.zeros(0, np.int64),
        setting,
        blocks,
        embeddings,
        covariates,
        sample_weight,
        key,
        learner,
    )
    in_order(control.fit, fold_pairs(control.fold, True), threads(workers), on_fit)
    known = control.known
    prediction = np.full((len(known), panel.n), np.nan)
    for f in range(int(control.fold.max()) + 1):
        inside = control.fold == f
        prediction[inside] = control.predict(control.pair(f, f), f, known[inside])
    prediction = control.units.original(prediction.T, known).T
    return HoldOut("question", panel, known, panel.human[:, known].T, {LEARNED: prediction})


def learned_control(
    panel: Panel,
    targets: Iterable[str] | None = None,
    *,
    setting: Setting = "known battery",
    blocks: Sequence[Any] | None = None,
    embeddings: Numbers | None = None,
    covariates: Numbers | None = None,
    sample_weight: Numbers | None = None,
    key: Key = 0,
    learner: Any = None,
    workers: int | None = None,
) -> Float[np.ndarray, "n t"]:
    """Predict people's answers to new questions without any twin.

    **Arguments:**

    - `panel`, `blocks`, `embeddings`, `covariates`, `sample_weight`, `key`, `learner`,
      `workers`: as in [`hold_out_learned_control`][].
    - `targets`: identifiers of the questions, by default those that nobody has answered; human
      answers to them are not used.
    - `setting`: whether the targets are questions of a `"known battery"` or of a `"new survey"`;
      penalties are chosen accordingly.

    **Returns:** (n, t) on the questions' scales. **Raises:** as [`hold_out_learned_control`][], and
    for targets that the panel does not have.

    **Example:**

        >>> import numpy as np
        >>> from syndigits_jax.datasets import sample_panel
        >>> from syndigits_jax.estimation import learned_control
        >>> panel = sample_panel().take(users=slice(0, 50), questions=slice(0, 12))
        >>> texts = np.arange(24.0).reshape(12, 2) % 5  # stands for embeddings of the questions
        >>> print(learned_control(panel, ["item_03"], embeddings=texts).shape)
        (50, 1)
    """
    names = chosen_targets(panel.questions, panel.new_questions, targets, "question")
    at = np.array([panel.questions.index(name) for name in names])
    control = _control(
        panel, at, setting, blocks, embeddings, covariates, sample_weight, key, learner
    )
    folds = range(int(control.fold.max()) + 1)
    in_order(control.fit, [(g, g) for g in folds], threads(workers), None)
    found = control.predict(control.without(np.zeros(0, np.int64)), None, at)
    return control.units.original(found.T, at)
