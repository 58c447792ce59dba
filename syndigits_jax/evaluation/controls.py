"""The trivial predictors that every table shows beside the calibrators."""

import numpy as np
from jaxtyping import Float, Int

from ..panel import Panel


def controls(
    panel: Panel, targets: Int[np.ndarray, " t"], direction: str
) -> dict[str, Float[np.ndarray, "t s"]]:
    """Predictions of the human answers that need no calibration, one row per target.

    `direction` is `"question"` or `"user"`; `targets` are positions of either. The predictions are

    - `Baseline`: the twins themselves.
    - those of `panel.controls`, such as `InContext`.
    - `UserMean`: the user's own mean answer to the other questions (new questions only).
    - `ItemMean`: the other users' mean human answer to the question (new users only).

    For a new question the item mean is unknown, and for a new user the user mean.
    Missing twin answers stay NaN: those cells have no prediction to judge.
    """
    by_target = (lambda x: x[:, targets].T) if direction == "question" else (lambda x: x[targets])
    result = {"Baseline": by_target(panel.twin)}
    for name, values in panel.controls.items():
        result[name] = by_target(values)
    by_question = direction == "question"
    result["UserMean" if by_question else "ItemMean"] = _mean_of_others(
        panel.human.T if by_question else panel.human, targets
    )
    return result


def _mean_of_others(
    human: Float[np.ndarray, "k s"], targets: Int[np.ndarray, " t"]
) -> Float[np.ndarray, "t s"]:
    """Per target row, the column means of all other rows' observed entries; NaN without any.

    The target's row is left out of the sum, not subtracted: not even rounding depends on it.
    """
    observed = ~np.isnan(human)
    values = np.where(observed, human, 0.0)
    count = observed.sum(0)
    means = np.full((len(targets), human.shape[1]), np.nan)
    for mean, target in zip(means, targets, strict=True):
        own = values[target].copy()
        values[target] = 0
        others = count - observed[target]
        np.divide(values.sum(0), others, out=mean, where=others > 0)
        values[target] = own
    return means
