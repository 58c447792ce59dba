"""What people's other answers say about a question, without any twin."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from ..solvers.boundary import Numbers, as_float
from .controls import standardised

PENALTIES = np.logspace(-2, 3, 11)
"""Of which leave-one-out chooses, times the mean square of a person's standardised answers."""


def person_mean(others: Numbers) -> Float[np.ndarray, " n"]:
    """The mean (n,) of each person's standardised answers, 0 for people without any.

    **Arguments:** `others`: (n, m) human answers to other questions, NaN where missing.

    **Example:**

        >>> from syndigits_jax.evaluation import person_mean
        >>> print(person_mean([[1.0, 2.0], [3.0, 4.0], [float("nan"), float("nan")]]))
        [-1.  1.  0.]
    """
    table = standardised(_table(others))
    known = ~np.isnan(table)
    return np.nan_to_num(table).sum(axis=1) / np.maximum(known.sum(axis=1), 1)


def _table(others: Numbers) -> Float[np.ndarray, "n m"]:
    table = np.asarray(as_float("others", others), np.float64)
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(f"`others` must be (n, m), people x questions, got shape {table.shape}")
    return table


def other_answers(others: Numbers) -> Callable[[Numbers], Float[np.ndarray, " n"]]:
    """A learner of a question from people's answers to others: the control of what twins add.

    Ridge regression on standardised answers (missing ones at the mean), with the penalty that
    predicts the known answers best by leave-one-out. It learns from the answers that it is given:
    for intervals use it with [`cross_fit`][syndigits_jax.inference.cross_fit].

    **Arguments:** `others`: (n, m) human answers to other questions, NaN where missing.

    **Returns:** a function from answers (n,), NaN where not known, to predictions (n,) for all.

    **Raises:** `ValueError` for `others` that are no matrix; the function, for fewer than two
    known answers.

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
    regressors = np.nan_to_num(standardised(_table(others)))
    kernel = regressors @ regressors.T
    kernel /= max(float(np.trace(kernel)) / len(kernel), 1e-12)

    def predict(answers: Numbers) -> Float[np.ndarray, " n"]:
        answers = np.asarray(as_float("answers", answers), np.float64)
        known = np.flatnonzero(~np.isnan(answers))
        if len(known) < 2:
            raise ValueError(f"`answers`: {len(known)} are known; at least two are needed")
        values, vectors = np.linalg.eigh(kernel[np.ix_(known, known)])
        centre = answers[known].mean()
        rotated = vectors.T @ (answers[known] - centre)
        best, dual = np.inf, np.zeros(len(known))
        for penalty in PENALTIES:
            shrunk = 1 / (np.maximum(values, 0) + penalty)
            found = vectors @ (rotated * shrunk)
            error = float(np.mean((found / (vectors**2 @ shrunk)) ** 2))
            if error < best:
                best, dual = error, found
        return centre + kernel[:, known] @ dual

    return predict
