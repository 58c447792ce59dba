"""A control of group means alone: what is known of a group says what its people answer."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Float

from ..solvers.boundary import Numbers, host_floats
from ..solvers.checks import check_penalty


def group_mean_control(
    truth: Numbers,
    groups: Iterable[Any],
    *,
    folds: Iterable[Any] | None = None,
    sample_weight: Numbers | None = None,
) -> Float[np.ndarray, "q n"]:
    """Everybody's answer as the standardised mean of their group on the other questions.

    The answer to a question is the average level of the other questions, plus their average
    standard deviation times how many standard deviations the group is above everybody on them. It
    uses no twin, and neither the question itself nor those of its fold.

    **Arguments:**

    - `truth`: (q, n) answers in shares of the range, a row per question, NaN where missing.
    - `groups`: (n,) labels; people without one ("" or `None`) get the level.
    - `folds`: (q,) questions of one fold are left out together; by default each is its own.
    - `sample_weight`: (n,) weights of the people.

    **Returns:** (q, n); NaN where no other question has an answer.

    **Raises:** `ValueError` for shapes that do not fit.

    **Example:**

        >>> from syndigits_jax.evaluation import group_mean_control
        >>> truth = [[0.1, 0.2, 0.7, 0.8], [0.2, 0.2, 0.6, 0.6], [0.0, 0.1, 0.9, 1.0]]
        >>> print(group_mean_control(truth, ["a", "a", "b", "b"])[0].round(2))
        [0.12 0.12 0.78 0.78]
    """
    y = host_floats("truth", truth)
    labels = ["" if label is None else str(label) for label in groups]
    fold = list(range(y.shape[0])) if folds is None else list(folds)
    weight = np.ones(len(labels))
    if sample_weight is not None:
        check_penalty("sample_weight", sample_weight)
        weight = host_floats("sample_weight", sample_weight)
    if y.ndim != 2 or len(labels) != y.shape[1] or weight.shape != y.shape[1:]:
        raise ValueError(
            f"`truth` must be (q, n), with n labels and weights, got {y.shape}, {len(labels)} and "
            f"{weight.shape}"
        )
    if len(fold) != y.shape[0]:
        raise ValueError(f"`folds` must name {y.shape[0]} questions, got {len(fold)}")
    if np.isinf(y).any():
        raise ValueError("`truth` has infinities; missing answers are NaN")
    if not (np.isfinite(weight).all() and weight.any()):
        raise ValueError("`sample_weight` must be finite, and not zero for everybody")
    weight = weight / weight.max()
    there = ~np.isnan(y)
    y = np.where(there, y, 0.0)

    def mean(values: np.ndarray, people: np.ndarray) -> np.ndarray:
        total = there @ people
        return np.where(total > 0, values @ people / np.where(total > 0, total, 1), np.nan)

    level = mean(y, weight)
    spread = np.sqrt(np.maximum(mean(y**2, weight) - level**2, 0))
    names = sorted(set(labels))
    member = np.array([names.index(label) for label in labels])
    own = np.stack([mean(y, weight * (member == k)) for k in range(len(names))])
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.where(spread[None] > 1e-9, (own - level[None]) / spread[None], np.nan)
    if "" in names:
        z[names.index("")] = 0.0
    others = np.array([[other != one for other in fold] for one in fold])

    def elsewhere(values: np.ndarray) -> np.ndarray:
        """Mean over the questions of other folds."""
        found = ~np.isnan(values)
        count = found.astype(float) @ others.T
        total = np.where(found, values, 0) @ others.T
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    # Where no other question varies, groups do not differ: everybody has the level.
    flat = np.where(np.isnan(elsewhere(spread)), np.nan, 0.0)
    apart = elsewhere(z)
    apart = np.where(np.isnan(apart) & (elsewhere(spread) <= 1e-9)[None], flat[None], apart)
    predicted = elsewhere(level)[None] + elsewhere(spread)[None] * apart
    return predicted[member].T
