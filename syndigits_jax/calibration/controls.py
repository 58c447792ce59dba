"""The trivial predictors that every table shows beside the calibrators."""

import warnings

import numpy as np
from jaxtyping import Float, Int

from ..panel import Panel


def controls(
    panel: Panel, targets: Int[np.ndarray, " t"], direction: str
) -> dict[str, Float[np.ndarray, "t s"]]:
    """Predictions of the human answers that need no calibration, one row per target.

    - `Baseline`: the twins themselves.
    - those of `panel.controls`, such as `InContext`.
    - `UserMean`: the user's own mean answer to the other questions (new questions only).
    - `ItemMean`: the other users' mean human answer to the question (new users only).

    For a new question the item mean is not known, and for a new user the user mean is not.
    Missing twin answers stay NaN: those cells have no prediction to judge.
    """
    by_target = (lambda x: x[:, targets].T) if direction == "question" else (lambda x: x[targets])
    result = {"Baseline": by_target(panel.twin)}
    for name, values in panel.controls.items():
        result[name] = by_target(values)
    axis = 1 if direction == "question" else 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        result["UserMean" if axis == 1 else "ItemMean"] = by_target(_leave_out(panel.human, axis))
    return result


def _leave_out(human: Float[np.ndarray, "n m"], axis: int) -> Float[np.ndarray, "n m"]:
    """Mean along `axis` of all observed entries but the cell's own, NaN where there is none."""
    observed = ~np.isnan(human)
    values = np.where(observed, human, 0.0)
    others = observed.sum(axis, keepdims=True) - observed
    total = values.sum(axis, keepdims=True) - values
    return np.where(others > 0, total / np.maximum(others, 1), np.nan)
