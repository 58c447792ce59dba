"""Choose the training error above which the twins' own answers are kept, by the known questions.

The published rule (SYN-DIGITS, section 5.3) uses the calibrated prediction of a question where the
training error on the twins is at most a threshold. Here every known question is predicted without
its own human answers, and the threshold with the smallest mean error is taken: never one that needs
the answers to a new question.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..calibration.calibrate import calibrate_question
from ..calibration.calibrators import Calibrator
from ..calibration.inputs import check_method
from ..calibration.settings import Settings
from ..solvers.boundary import Numbers
from ..tables.responses import block_labels
from ._penalty_errors import relative_error
from ._penalty_inputs import panel_inputs

FEWEST = 3
"""Known questions that a choice needs: one to judge by, and two to predict it from."""


@dataclass(frozen=True)
class ThresholdChoice:
    """Candidates for a threshold, the out-of-sample error of each, and the best of them.

    - `best`: the threshold with the smallest error, of several the smallest. Infinite if calibrated
      predictions are always used, minus infinity if never.
    - `thresholds`: (k,) one for every way in which the known questions can be told apart by their
      training errors, from minus infinity to infinity.
    - `error`: (k,) mean over questions of the error of what each threshold uses. The smallest is
      optimistic, being chosen.
    - `training_mse`: (m,) training error on the twins of each known question, NaN where all twins
      answer alike: their answer is then kept at any threshold.
    - `calibrated`, `twin`: (m,) error of the calibrated prediction, and of the twins' answers: the
      squared error relative to the truth's variance, or 1 - correlation. NaN where people's answers
      do not vary, which leaves the question out.
    """

    best: float
    thresholds: Float[np.ndarray, " k"]
    error: Float[np.ndarray, " k"]
    training_mse: Float[np.ndarray, " m"]
    calibrated: Float[np.ndarray, " m"]
    twin: Float[np.ndarray, " m"]


def choose_threshold(
    method: Calibrator,
    human: Numbers,
    twin: Numbers,
    *,
    blocks: Sequence[Any] | None = None,
    metric: str = "mse",
    sample_weight: Numbers | None = None,
    settings: Settings | None = None,
) -> ThresholdChoice:
    """Compare thresholds of the training error by how well they predict the known questions.

    **Arguments:**

    - `method`: a calibrator.
    - `human`, `twin`: (n, m) and (n, m + q) as for [`calibrate_question`][]; the q new questions
      take no part.
    - `blocks`: (m,) the survey or battery of every known question, if the new questions are from
      another one: whole blocks are then left out. By default single questions are.
    - `metric`: `"mse"` or `"pearson"`.
    - `sample_weight`: (n,) weights of the users, in the fits and in the errors.
    - `settings`: see [`Settings`][].

    **Returns:** a [`ThresholdChoice`][], whose `best` is a `threshold` of [`calibrate_question`][].

    **Raises:** `ValueError` as [`calibrate_question`][], for fewer than three known questions, or
    two outside every block, for fewer than two blocks, and if no question could be judged.

    **Example:**

        >>> from syndigits_jax import Ridge
        >>> from syndigits_jax.datasets import sample_panel
        >>> from syndigits_jax.evaluation import choose_threshold
        >>> panel = sample_panel().take(questions=slice(0, 8))
        >>> choice = choose_threshold(Ridge(10.0), panel.human, panel.twin)
        >>> print(choice.thresholds.shape, choice.error.min() <= choice.error[-1])
        (9,) True
    """
    check_method(method)
    if metric not in ("mse", "pearson"):
        raise ValueError(f"`metric` must be 'mse' or 'pearson', got {metric!r}")
    human, twin, weight = panel_inputs(human, twin, sample_weight)
    people, twins = np.asarray(human), np.asarray(twin)[:, : human.shape[1]]
    left_out = _left_out(people.shape[1], blocks)
    prediction, training = np.empty_like(twins), np.empty(people.shape[1], twins.dtype)
    for at in left_out:
        rest = np.setdiff1d(np.arange(people.shape[1]), at)
        found = calibrate_question(
            method,
            people[:, rest],
            twins[:, np.concatenate([rest, at])],
            sample_weight=sample_weight,
            settings=settings,
        )
        prediction[:, at] = np.asarray(found.prediction)
        training[at] = np.asarray(found.training_mse)
    # A twin that gave no answer leaves nothing to keep.
    kept = np.where(np.isnan(twins), prediction, twins)
    weight = jnp.ones_like(human[:, 0]) if weight is None else weight
    calibrated, own = (_errors(values, human, weight, metric) for values in (prediction, kept))
    judged = ~np.isnan(calibrated) & ~np.isnan(own)
    if not judged.any():
        raise ValueError("`human`: no known question can be judged, as no answers to one vary")
    thresholds = _candidates(training[judged])
    uses = training[None, :] <= thresholds[:, None]  # never for NaN
    error = np.where(uses, calibrated, own)[:, judged].mean(axis=1)
    best = float(thresholds[np.argmin(error)])
    return ThresholdChoice(best, thresholds, error, training, calibrated, own)


def _left_out(count: int, blocks: Sequence[Any] | None) -> list[np.ndarray]:
    """What is left out together: single questions, or whole blocks."""
    if count < FEWEST:
        raise ValueError(f"`human`: a threshold needs at least {FEWEST} known questions")
    if blocks is None:
        return [np.array([j]) for j in range(count)]
    labels = np.array(block_labels(blocks, [f"question {j}" for j in range(count)]))
    groups = [np.flatnonzero(labels == name) for name in np.unique(labels)]
    if len(groups) < 2:
        raise ValueError("`blocks` must name at least two blocks to leave out one at a time")
    largest = max(map(len, groups))
    if count - largest < 2:
        raise ValueError(
            f"`blocks`: outside the largest block are {count - largest} known questions; at least "
            "two are needed"
        )
    return groups


def _errors(prediction, human: Float[Array, "n m"], weight, metric: str) -> np.ndarray:
    mask = ~jnp.isnan(human)
    counted = jnp.where(mask, weight[:, None], 0)
    judge = jax.vmap(lambda p, y, w: relative_error(p, y, w, metric), in_axes=1)
    found = judge(jnp.asarray(prediction), jnp.where(mask, human, 0), counted)
    return np.asarray(found, np.float64)


def _candidates(training: np.ndarray) -> Float[np.ndarray, " k"]:
    """Thresholds between the training errors, and beyond them on both sides."""
    errors = np.unique(training[~np.isnan(training)]).astype(np.float64)
    return np.concatenate([[-np.inf], (errors[:-1] + errors[1:]) / 2, [np.inf]])
