"""Checks and shapes at the boundary of choosing a penalty: candidates, responses and folds."""

import dataclasses
from collections.abc import Mapping
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from ..calibration.calibrators import Calibrator
from ..calibration.inputs import (
    answer_matrices,
    check_method,
    check_missing,
    check_sizes,
    person_weight,
)
from ..solvers.boundary import as_float
from ._penalty_errors import has_closed_form
from .holdout import target_positions

DEFAULT_FOLDS = 10

Method = TypeVar("Method", bound=Calibrator)


def default_field(method: Calibrator) -> str:
    """The field that holds the method's penalty."""
    for name in ("penalty", "alpha"):
        if hasattr(method, name):
            return name
    raise ValueError(f"{type(method).__name__} has no `penalty` or `alpha`; name a field to vary")


def scalar_field(method: Calibrator, name: str) -> Array:
    """A scalar hyperparameter of the method."""
    value = getattr(method, name, None)
    if not isinstance(value, jax.Array):
        raise ValueError(
            f"penalties: {type(method).__name__} has no array called {name!r} "
            "(ranks and layer sizes shape the program: compare those in separate calls)"
        )
    if value.shape != ():
        raise ValueError(f"method: {name} must be a scalar, got shape {value.shape}")
    return value


def candidates_from(method: Method, penalties) -> tuple[Method, dict[str, Array]]:
    """The product of the given values as one stacked method, and the value of each field (k,)."""
    check_method(method)
    if not isinstance(penalties, Mapping):
        penalties = {default_field(method): penalties}
    if not penalties:
        raise ValueError("penalties is empty")
    columns = {}
    for name, values in penalties.items():
        column = as_float("penalties", values).astype(scalar_field(method, name).dtype)
        if column.ndim != 1 or column.size == 0:
            raise ValueError(f"penalties: {name} must be a list of numbers, got {values}")
        columns[name] = column
    grid = jnp.meshgrid(*columns.values(), indexing="ij")
    values = {name: axis.ravel() for name, axis in zip(columns, grid)}
    return stacked(method, values), values


def stacked(method: Method, values: Mapping[str, Array]) -> Method:
    """The method with the given (k,) fields and every other array repeated k times."""
    size = next(iter(values.values())).shape
    repeated = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, size + leaf.shape), method)
    return dataclasses.replace(repeated, **values)


def panel_inputs(human, twin, sample_weight) -> tuple[Array, Array, Array | None]:
    """Checked `human` (n, m), `twin` (n, m + q) with q >= 0, and user weights, of one dtype."""
    human, twin = answer_matrices(human=human, twin=twin)
    check_sizes(human.shape, "human")
    if twin.shape[0] != human.shape[0] or twin.shape[1] < human.shape[1]:
        raise ValueError(
            f"twin has shape {twin.shape} and human {human.shape}: twin must hold the same users, "
            "and the human questions before any new one"
        )
    weight = person_weight(sample_weight, human.shape[0], human.dtype)
    check_missing(human, twin[:, human.shape[1] :], 0, weight)
    return human, twin, weight


def new_columns(human: Array, twin: Array, targets) -> np.ndarray:
    """Columns of `twin` that hold the new questions, or those of them in `targets`."""
    m, q = human.shape[1], twin.shape[1] - human.shape[1]
    if q == 0:
        raise ValueError(
            "twin holds no new question, on which twins could judge; use judge='questions'"
        )
    return m + target_positions(targets, q, "new question")


def fold_masks(method, folds: int | None, key, n: int) -> Bool[Array, "f n"] | None:
    """Which of the n users are held out in each fold; `None` for leave-one-out in closed form.

    **Arguments:**

    - `method`: decides whether there is a closed form.
    - `folds`: number of folds; by default leave-one-out if there is a closed form, else at most 10.
    - `key`: random key that assigns users to folds; by default user i is in fold i mod `folds`.
    - `n`: number of users.
    """
    if folds is None:
        if has_closed_form(method):
            return None
        folds = min(DEFAULT_FOLDS, n)
    if folds != int(folds) or not 2 <= folds <= n:
        raise ValueError(
            f"`folds` must be a whole number from 2 to the number of users, {n}, got {folds}"
        )
    fold = jnp.arange(n) % folds
    fold = fold if key is None else jax.random.permutation(key, fold)
    return fold[None, :] == jnp.arange(folds)[:, None]
