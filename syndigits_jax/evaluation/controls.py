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
    - `ZScoredUserMean`: the same mean of answers that are standardised by each question's human
      mean and standard deviation, on the twins' mean and standard deviation of the target (new
      questions only).
    - `ItemMean`: the other users' mean human answer to the question (new users only).

    For a new question the item mean is unknown, and for a new user the user mean.
    Missing twin answers stay NaN: those cells have no prediction to judge.
    """
    by_target = (lambda x: x[:, targets].T) if direction == "question" else (lambda x: x[targets])
    result = {"Baseline": by_target(panel.twin)}
    for name, values in panel.controls.items():
        result[name] = by_target(values)
    if direction == "question":
        result["UserMean"] = _mean_of_others(panel.human.T, targets)
        standing = _mean_of_others(standardised(panel.human).T, targets)
        mean, sd = _moments(panel.twin[:, targets])
        result["ZScoredUserMean"] = mean[:, None] + sd[:, None] * standing
    else:
        result["ItemMean"] = _mean_of_others(panel.human, targets)
    return result


def _mean_of_others(
    values: Float[np.ndarray, "k s"], targets: Int[np.ndarray, " t"]
) -> Float[np.ndarray, "t s"]:
    """Per target row, the column means of all other rows' observed entries; NaN without any.

    The target's row is left out of the sums, not subtracted: not even rounding depends on it.
    Sums of the rows before and after every target serve all targets in one pass.
    """
    observed = ~np.isnan(values)
    others = observed.sum(0)[None, :] - observed[targets]
    total = np.zeros((len(targets), values.shape[1]))
    order = np.argsort(targets)
    for rows, step in ((order, 1), (order[::-1], -1)):
        running, at = np.zeros(values.shape[1]), 0 if step > 0 else len(values) - 1
        for row in rows:
            while at != targets[row]:
                running = running + np.where(observed[at], values[at], 0.0)
                at += step
            total[row] += running
    return np.divide(total, others, out=np.full(total.shape, np.nan), where=others > 0)


def standardised(
    values: Float[np.ndarray, "n m"], weight: Float[np.ndarray, " n"] | None = None
) -> Float[np.ndarray, "n m"]:
    """Columns less their (weighted) mean over their standard deviation; 0 where all are alike.

    A column depends on no other. NaN stays NaN.
    """
    mean, sd = _moments(values, weight)
    return (values - mean) / np.where(sd > 0, sd, 1.0)


def _moments(
    values: Float[np.ndarray, "n m"], weight: Float[np.ndarray, " n"] | None = None
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Mean and standard deviation of the observed entries of each column, exact if all are alike.

    Columns without any have mean and deviation 0.
    """
    observed = ~np.isnan(values)
    if weight is not None:
        observed &= (weight > 0)[:, None]
    filled = np.where(observed, values, 0.0)
    counted = observed if weight is None else np.where(observed, weight[:, None], 0)
    count = counted.sum(0)
    count = np.where(count > 0, count, 1)
    mean = (counted * filled).sum(0) / count
    low = np.where(observed, values, np.inf).min(0)
    high = np.where(observed, values, -np.inf).max(0)
    mean = np.where(low == high, low, mean)
    return mean, np.sqrt((counted * (filled - mean) ** 2).sum(0) / count)
