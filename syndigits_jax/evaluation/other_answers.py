"""What people's other answers say about a question, without any twin.

It takes some people who have answered the question, so it does not apply to a new one (see
[`learned_control`][syndigits_jax.estimation.learned_control]). It says what twins must beat where
asking some people is an alternative.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from ..solvers.boundary import Numbers, as_float
from ..solvers.checks import check_penalty
from .controls import standardised

PENALTIES = np.logspace(-2, 3, 11)
"""Of which leave-one-out chooses, times the mean square of a person's standardised answers."""


def person_mean(
    others: Numbers, *, sample_weight: Numbers | None = None
) -> Float[np.ndarray, " n"]:
    """The mean (n,) of each person's standardised answers, 0 for people without any.

    **Arguments:** `others`: (n, m) human answers to other questions, NaN where missing;
    `sample_weight`: (n,) weights of people in the questions' means and standard deviations.

    **Raises:** `ValueError` for `others` that are no matrix, and weights that do not fit.

    **Example:**

        >>> from syndigits_jax.evaluation import person_mean
        >>> print(person_mean([[1.0, 2.0], [3.0, 4.0], [float("nan"), float("nan")]]))
        [-1.  1.  0.]
    """
    table = _table("others", others)
    return _mean(standardised(table, _weights(sample_weight, len(table))))


def _mean(table: Float[np.ndarray, "n m"]) -> Float[np.ndarray, " n"]:
    known = ~np.isnan(table)
    return np.nan_to_num(table).sum(axis=1) / np.maximum(known.sum(axis=1), 1)


def _table(name: str, values: Numbers) -> Float[np.ndarray, "n m"]:
    table = np.asarray(as_float(name, values), np.float64)
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(f"`{name}` must be (n, m), a row per person, got shape {table.shape}")
    if np.isinf(table).any():
        raise ValueError(f"`{name}` has infinities; missing values are NaN")
    return table


def _weights(sample_weight: Numbers | None, n: int) -> Float[np.ndarray, " n"]:
    if sample_weight is None:
        return np.ones(n)
    check_penalty("sample_weight", sample_weight)
    weight = np.asarray(as_float("sample_weight", sample_weight), np.float64)
    if weight.shape != (n,):
        raise ValueError(f"`sample_weight` must have shape ({n},), got {weight.shape}")
    if not (np.isfinite(weight).all() and weight.any()):
        raise ValueError("`sample_weight` must be finite and not zero for everybody")
    return weight / weight.max()


def other_answers(
    others: Numbers,
    *,
    covariates: Numbers | None = None,
    sample_weight: Numbers | None = None,
) -> Callable[[Numbers], Float[np.ndarray, " n"]]:
    """A learner of a question from people's answers to others: the control of what twins add.

    Ridge regression on standardised answers, a missing one at the person's mean, with the penalty
    that predicts the known answers best by leave-one-out. It learns from the answers that it is
    given: for intervals, and to judge it, use it with
    [`cross_fit`][syndigits_jax.inference.cross_fit].

    **Arguments:**

    - `others`: (n, m) human answers to other questions, NaN where missing.
    - `covariates`: (n, c) further numbers that describe people, NaN where missing.
    - `sample_weight`: (n,) weights of the people; nothing is learnt from those of weight 0.

    **Returns:** a function from answers (n,), NaN where not known, to predictions (n,) for all.

    **Raises:** `ValueError` for `others` and `covariates` that are no matrices of the same people,
    and weights that do not fit; the function, for fewer than two known answers.

    **Example:**

        >>> import numpy as np
        >>> from syndigits_jax.evaluation import other_answers
        >>> rng = np.random.default_rng(0)
        >>> tastes = rng.normal(size=(100, 1))
        >>> others = tastes + 0.5 * rng.normal(size=(100, 8))
        >>> answers = np.where(np.arange(100) < 50, tastes[:, 0], np.nan)
        >>> found = other_answers(others)(answers)
        >>> print(np.corrcoef(found[50:], tastes[50:, 0])[0, 1] > 0.9)
        True
    """
    table = _table("others", others)
    weight = _weights(sample_weight, len(table))
    z = standardised(table, weight)
    x = np.where(np.isnan(z), _mean(z)[:, None], z)
    if covariates is not None:
        people = _table("covariates", covariates)
        if len(people) != len(x):
            raise ValueError(
                f"`covariates` must have a row for each of the {len(x)} people, got {people.shape}"
            )
        x = np.concatenate([x, np.nan_to_num(standardised(people, weight))], axis=1)
    x = x / max(float(np.sqrt(np.average(np.sum(x**2, axis=1), weights=weight))), 1e-12)

    def predict(answers: Numbers) -> Float[np.ndarray, " n"]:
        y = np.asarray(as_float("answers", answers), np.float64)
        if y.shape != (len(x),):
            raise ValueError(f"`answers` must have shape ({len(x)},), got {y.shape}")
        if np.isinf(y).any():
            raise ValueError("`answers` has infinities; missing values are NaN")
        known = ~np.isnan(y) & (weight > 0)
        if known.sum() < 2:
            raise ValueError(f"`answers`: {known.sum()} are known; at least two are needed")
        return _ridge(x, y[known], known, weight[known])

    return predict


def _ridge(
    x: Float[np.ndarray, "n p"],
    y: Float[np.ndarray, " k"],
    known: np.ndarray,
    weight: Float[np.ndarray, " k"],
) -> Float[np.ndarray, " n"]:
    """Ridge regression with the penalty of the smallest leave-one-out errors."""
    share = weight / weight.sum()
    root = np.sqrt(share * len(y))
    centre, level = share @ x[known], share @ y
    design, target = root[:, None] * (x[known] - centre), root * (y - level)
    left, square = _left_singular(design)
    along = left.T @ target
    best, dual = np.inf, np.zeros(len(y))
    for penalty in PENALTIES:
        kept = square / (square + penalty)
        # Residuals times the root of the weight, without the person: over 1 - leverage.
        residual = target - left @ (kept * along)
        lever = share + left**2 @ kept
        error = float(np.sum((residual / np.maximum(1 - lever, 1e-9)) ** 2))
        if error < best:
            best, dual = error, left @ (along / (square + penalty))
    return level + (x - centre) @ (design.T @ dual)


def _left_singular(
    design: Float[np.ndarray, "k p"],
) -> tuple[Float[np.ndarray, "k r"], Float[np.ndarray, " r"]]:
    """Left singular vectors and squared singular values, from the smaller Gram matrix."""
    if design.shape[0] <= design.shape[1]:
        square, left = np.linalg.eigh(design @ design.T)
        return left, np.maximum(square, 0)
    square, right = np.linalg.eigh(design.T @ design)
    known = square > 1e-12 * max(float(square[-1]), 1e-300)
    return design @ right[:, known] / np.sqrt(square[known]), square[known]
