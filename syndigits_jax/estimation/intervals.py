"""Predictive intervals for people's answers to new questions, conformal over questions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..calibration.calibrate import calibrate_question
from ..calibration.calibrators import Calibrator
from ..calibration.inputs import (
    answer_matrices,
    check_labels,
    check_method,
    check_sizes,
    person_weight,
)
from ..calibration.settings import Settings, resolve
from ..evaluation.folds import calibrated_without
from ..evaluation.holdout import default_batch_size, padded_targets, threads
from ..inference.conformal import (
    Interval,
    hierarchical_jackknife_plus,
    hierarchical_quantile,
    twin_scale,
)
from ..solvers.boundary import Numbers
from ..solvers.checks import check_probability
from ..solvers.keys import PRNGKey
from .stack import in_order

SMALLEST_SCALE = 0.05
"""Of a question whose twins agree, relative to the median question's standard deviation."""


def question_intervals(
    method: Calibrator,
    human: Numbers,
    twin: Numbers,
    *,
    alpha: float = 0.1,
    kind: str = "split",
    sample_weight: Numbers | None = None,
    settings: Settings | None = None,
    key: PRNGKey | None = None,
) -> tuple[Float[Array, "n q"], Interval]:
    """Calibrated answers to q new questions, with an interval for every person's answer.

    The known questions are held out and predicted. The errors of these predictions, in units of the
    standard deviation of the twins' answers to the question, decide the width. An interval holds
    the answer of a person drawn at random to a question drawn like the known ones:

    - `"split"`: with probability >= 1 - alpha. A random half of the known questions predicts the
      other half and the new ones. One fit per question, but from half the donors.
    - `"jackknife+"`: with probability >= 1 - 2 alpha, in practice about 1 - alpha. As many fits as
      known questions, each without one of them, predict it and the new ones.

    No condition on the method or on how people answer is needed, only that new questions are
    exchangeable with the known ones: for questions chosen because they are hard, or taken from
    another survey, intervals may be too narrow. The probability is not conditional on a question:
    intervals hold more of one question's answers and fewer of another's.

    **Arguments:**

    - `method`, `human`, `twin`, `sample_weight`, `settings`: as in [`calibrate_question`][].
    - `alpha`: the share of answers that intervals may miss. Ends are infinite with fewer than
      1/alpha - 1 questions to learn from.
    - `kind`: `"split"` or `"jackknife+"`, as above.
    - `key`: random key that decides the halves of `"split"`; `jax.random.key(0)` by default.

    **Returns:** predictions (n, q) and an [`Interval`][] of that shape. With `"split"` the
    predictions are those of half the donors; with `"jackknife+"` of all, and not always inside.

    **Raises:** `ValueError` as [`calibrate_question`][], for an `alpha` outside (0, 1), a `kind`
    that does not exist, or fewer than four known questions (three for the jackknife) that both
    people and twins have answered.

    **Example:**

        >>> from syndigits_jax import Ridge
        >>> from syndigits_jax.datasets import sample_panel
        >>> from syndigits_jax.estimation import question_intervals
        >>> panel = sample_panel()
        >>> prediction, interval = question_intervals(Ridge(10.0), panel.human[:, :-1], panel.twin)
        >>> print(prediction.shape, (interval.lower < interval.upper).all())
        (200, 1) True
    """
    check_probability(alpha=alpha)
    if kind not in ("split", "jackknife+"):
        raise ValueError(f"kind must be 'split' or 'jackknife+', got {kind!r}")
    check_method(method)
    check_labels(human, twin, 0)
    people, twins = answer_matrices(human=human, twin=twin)
    check_sizes(people.shape, "human")

    options = {"sample_weight": sample_weight, "settings": settings}
    survey = _Survey(method, np.asarray(people), np.asarray(twins), options)
    if kind == "split":
        return _split(survey, jax.random.key(0) if key is None else key, alpha)
    return _jackknife(survey, alpha)


@dataclass(frozen=True, eq=False)
class _Survey:
    """People's answers to m known questions, and their twins' to these and to q new ones."""

    method: Calibrator
    human: Float[np.ndarray, "n m"]
    twin: Float[np.ndarray, "n k"]
    options: Mapping[str, Any]

    @property
    def known(self) -> Int[np.ndarray, " m"]:
        """Columns of the known questions."""
        return np.arange(self.human.shape[1])

    @property
    def new(self) -> Int[np.ndarray, " q"]:
        """Columns of the new questions."""
        return np.arange(self.human.shape[1], self.twin.shape[1])

    def predict(
        self, donors: Int[np.ndarray, " d"], targets: Int[np.ndarray, " t"]
    ) -> Float[Array, "t n"]:
        """Predictions of the targets from the donors; columns are chosen without a dispatch."""
        twin = self.twin[:, np.concatenate([donors, targets])]
        return calibrate_question(
            self.method, self.human[:, donors], twin, **self.options
        ).prediction.T

    def residuals(
        self,
        predicted: Float[Array, "t n"],
        targets: Int[np.ndarray, " t"],
        scale: Float[Array, " k"],
    ) -> tuple[Float[Array, "t n"], Bool[Array, "t n"]]:
        """Scale-free absolute errors, 0 where there is no answer, and where there is one."""
        truth = jnp.asarray(self.human[:, targets].T)
        mask = ~jnp.isnan(truth)
        return jnp.where(mask, jnp.abs(truth - predicted) / scale[targets][:, None], 0), mask


def _split(survey: _Survey, key: PRNGKey, alpha: float) -> tuple[Float[Array, "n q"], Interval]:
    """One fit from half of the known questions, judged on the other half."""
    known, new = survey.known, survey.new
    if not len(new):
        raise ValueError(
            f"twin has {survey.twin.shape[1]} columns and human {len(known)}: twin must hold the "
            "human questions and, after them, at least one new question"
        )
    chosen = np.asarray(jax.random.permutation(key, _usable(survey, 4)))
    judged = np.sort(chosen[: len(chosen) // 2])
    predicted = survey.predict(np.setdiff1d(known, judged), np.concatenate([judged, new]))
    scale = _scale(jnp.asarray(survey.twin))
    residual, mask = survey.residuals(predicted[: len(judged)], judged, scale)
    width = hierarchical_quantile(residual, mask, alpha) * scale[new][:, None]
    prediction = predicted[len(judged) :]
    return prediction.T, Interval((prediction - width).T, (prediction + width).T)


def _jackknife(survey: _Survey, alpha: float) -> tuple[Float[Array, "n q"], Interval]:
    """A fit without each known question in turn, judged on that question."""
    prediction = calibrate_question(
        survey.method, survey.human, survey.twin, **survey.options
    ).prediction
    usable, scale = _usable(survey, 3), _scale(jnp.asarray(survey.twin))
    found = _without_each(survey, usable)
    held_out = survey.residuals(found[:, 0], usable, scale)
    ends = [
        _jackknife_plus(found[:, 1 + k], *held_out, scale[column], alpha)
        for k, column in enumerate(survey.new)
    ]
    lower, upper = jnp.stack([e.lower for e in ends], 1), jnp.stack([e.upper for e in ends], 1)
    return prediction, Interval(lower, upper)


def _without_each(survey: _Survey, usable: Int[np.ndarray, " t"]) -> Float[Array, "t q n"]:
    """Predictions without each usable question: of itself first, then of the new ones."""
    vectorised = jax.default_backend() != "cpu"
    size = min(default_batch_size(None, vectorised), len(usable))
    human, twin = jnp.asarray(survey.human), jnp.asarray(survey.twin)
    weight = person_weight(survey.options["sample_weight"], human.shape[0], human.dtype)
    settings = resolve(survey.options["settings"])
    out: list[np.ndarray] = [np.zeros(0)] * -(-len(usable) // size)

    def fit(batch: int) -> None:
        left_out = usable[batch * size : (batch + 1) * size]
        index = jnp.asarray(padded_targets(left_out, size))
        found = calibrated_without(survey.method, human, twin, index, weight, settings, vectorised)
        out[batch] = np.asarray(found)[: len(left_out)]

    in_order(fit, range(len(out)), threads(None))
    return jnp.asarray(np.concatenate(out))


_jackknife_plus = jax.jit(hierarchical_jackknife_plus, static_argnames=("alpha",))


def _usable(survey: _Survey, least: int) -> Int[np.ndarray, " t"]:
    """Known questions that can be held out: both people and twins have answered them."""
    twin = survey.twin[:, survey.known]
    usable = np.flatnonzero(~np.isnan(survey.human).all(axis=0) & ~np.isnan(twin).all(axis=0))
    if len(usable) < least:
        raise ValueError(
            f"human has {len(usable)} questions that can be held out; at least {least} are needed"
        )
    return usable


def _scale(twin: Float[Array, "n k"]) -> Float[Array, " k"]:
    """The unit of each question, the same function for all, as exchangeability requires."""
    tiny = float(jnp.finfo(twin.dtype).tiny)
    floor = SMALLEST_SCALE * float(jnp.median(twin_scale(twin.T, floor=tiny)))
    return twin_scale(twin.T, floor=max(floor, tiny))
