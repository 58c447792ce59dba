"""Predictions that may learn from the people asked: made without each person's own answer.

Source: Zrnic and Candès (2024), "Cross-prediction-powered inference".
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ...solvers.boundary import Numbers, as_float
from ...solvers.keys import PRNGKey
from ._inputs import codes


def person_folds(
    key: PRNGKey, truth: Numbers, folds: int = 5, *, people: Any | None = None
) -> Int[Array, " n"]:
    """Random folds (n,) of about as many people asked each; people who were not asked get -1.

    **Arguments:** `key`; `truth`: (n,) answers, NaN for people who were not asked; `folds`: how
    many, at least two; `people`: (n,) labels of the person of every row, where one has several.

    **Raises:** `ValueError` for fewer than two folds, or fewer people asked than folds.

    **Example:**

        >>> import jax
        >>> from syndigits_jax.inference import person_folds
        >>> truth = [1.0, 2.0, 3.0, 4.0, float("nan")]
        >>> print(sorted(person_folds(jax.random.key(0), truth, 2).tolist()))
        [-1, 0, 0, 1, 1]
    """
    asked = ~np.isnan(np.asarray(as_float("truth", truth)))
    if people is None:
        members = np.arange(len(asked))
    else:
        members = np.asarray(codes("people", people, len(asked))[0])
    chosen = np.unique(members[asked])
    if folds < 2 or len(chosen) < folds:
        raise ValueError(
            f"`folds` must be from 2 to the number of people asked ({len(chosen)}), got {folds}"
        )
    order = np.asarray(jax.random.permutation(key, len(chosen)))
    of_person = np.full(int(members.max()) + 1, -1)
    of_person[chosen[order]] = np.arange(len(chosen)) % folds
    return jnp.asarray(np.where(asked, of_person[members], -1), jnp.int32)


def cross_fit(
    predict: Callable[[Any], Numbers],
    truth: Numbers,
    folds: Numbers,
) -> Float[Array, "n ..."]:
    """Predictions for all people, each made without the answers of its own fold.

    What learns from the answers of the people asked fits them too well: used as a proxy for the
    same people it makes intervals too narrow. So it is fitted once per fold without its answers; a
    person who was not asked gets the mean of these fits. No answer of a person has any influence on
    that person's prediction.

    **Arguments:**

    - `predict`: from answers (n,), NaN where it may not know them, to predictions (n,) or (n, p)
      for everybody. It must know the answers from this argument only.
    - `truth`: (n,) answers, NaN for people who were not asked.
    - `folds`: (n,) whole numbers from 0, by person ([`person_folds`][]); negative for people who
      were not asked.

    **Returns:** (n,) or (n, p) predictions.

    **Raises:** `ValueError` for folds that do not fit, a person asked without a fold, fewer than
    two folds, or predictions of another shape.

    **Example:**

        >>> import numpy as np
        >>> from syndigits_jax.inference import cross_fit
        >>> truth = np.array([1.0, 2.0, 3.0, np.nan])
        >>> def mean(answers):
        ...     return np.full(4, np.nanmean(answers))
        >>> print(cross_fit(mean, truth, [0, 1, 2, -1]))
        [2.5 2.  1.5 2. ]
    """
    answers = np.asarray(as_float("truth", truth))
    given = np.asarray(as_float("folds", folds))
    if not np.all(np.abs(given) < 2**31):  # nor NaN
        raise ValueError("`folds` must be whole numbers: negative, not NaN, for people not asked")
    fold = given.astype(int)
    asked = ~np.isnan(answers)
    if fold.shape != answers.shape or answers.ndim != 1:
        raise ValueError(
            f"`folds` must have the shape of `truth`, {answers.shape}, got {fold.shape}"
        )
    if np.any(asked & (fold < 0)):
        raise ValueError(f"`folds`: {int(np.sum(asked & (fold < 0)))} people asked have no fold")
    names = np.unique(fold[asked])
    if len(names) < 2:
        raise ValueError("`folds` must put the people asked into at least two folds")
    # On the host: `predict` may be anything, and every number of people would be compiled anew.
    found = []
    for name in names:
        hidden = np.where(asked & (fold == name), np.asarray(np.nan, answers.dtype), answers)
        one = np.asarray(as_float("predict", predict(hidden)))
        if one.shape[:1] != answers.shape:
            raise ValueError(
                f"`predict` must return a prediction per person, ({len(answers)},) or "
                f"({len(answers)}, p), got {one.shape}"
            )
        found.append(one)
    own = np.searchsorted(names, np.where(asked, fold, names[0]))
    predictions = np.stack(found)
    of_own = predictions[own, np.arange(len(answers))]
    known = asked.reshape(-1, *(1,) * (of_own.ndim - 1))
    return jnp.asarray(np.where(known, of_own, predictions.mean(axis=0)))
