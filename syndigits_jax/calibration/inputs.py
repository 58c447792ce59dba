"""Checks at the boundary of calibration: shapes always, values where they are known."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..solvers.boundary import Numbers, as_float, as_floats, concrete
from ..solvers.checks import check_squares
from ..tables.frames import column_names, is_frame
from .calibrators import Calibrator, FitAndTransfer, MatrixCompletion


def check_method(method: Calibrator) -> None:
    """Refuse anything but a calibrator."""
    if not isinstance(method, FitAndTransfer | MatrixCompletion):
        raise ValueError(
            f"method must be a calibrator such as ElasticNet(0.1, 0.5), got {method!r}"
        )


def check_labels(human, twin, axis: int) -> None:
    """Refuse data frames whose labels disagree: arrays are matched by position."""
    if not (is_frame(human) and is_frame(twin)):
        return
    labels = [("columns", column_names(human), column_names(twin), axis == 0)]
    if hasattr(human, "index") and hasattr(twin, "index"):
        labels.append(("index", list(human.index), list(twin.index), axis == 1))
    for name, ours, theirs, longer in labels:
        if ours != (theirs[: len(ours)] if longer else theirs):
            raise ValueError(
                f"twin: the labels of its {name} differ from human's, but rows and columns are "
                "matched by position here; align them, or use Panel.from_frames"
            )


def answer_matrix(x: Numbers, name: str) -> Array:
    """A floating (n, m) array of at least single precision, checked where its values are known."""
    array = as_float(name, x)
    if array.ndim != 2:
        raise ValueError(f"`{name}` must be a matrix (users x questions), got shape {array.shape}")
    values = concrete(array)
    if values is not None and np.any(np.isinf(values)):
        raise ValueError(f"`{name}` contains infinities; code missing answers as NaN")
    if values is not None:
        check_squares(values, name, array.dtype)
    return array


def answer_matrices(**named: Numbers) -> tuple[Any, ...]:
    """[`answer_matrix`][] of each, all in the widest of their types; `None` stays `None`."""
    return as_floats(**{k: None if x is None else answer_matrix(x, k) for k, x in named.items()})


def check_sizes(shape: tuple[int, ...], what: str) -> None:
    """Refuse fewer than two users or two questions; `what` names the argument."""
    if min(shape) < 2:
        raise ValueError(
            f"{what} has shape {shape}; calibration needs at least two users and two questions "
            "with human answers"
        )


def check_missing(human: Array, targets: Array, axis: int, weight: Array | None = None) -> None:
    """Refuse donors without any human answer and targets without any twin answer that counts.

    **Arguments:**

    - `human`: (n, m) human answers, NaN where missing.
    - `targets`: the twins' answers to the targets, NaN where missing: (n, q) for new questions,
      (q, m) for new users.
    - `axis`: 0 for new questions, 1 for new users.
    - `weight`: (n,) weights of the users. For new questions, twin answers of weight 0 do not
      count. By default all count.

    **Raises:** `ValueError` naming the first row or column without an answer. Nothing is checked
    inside `jit`, where values are not known.
    """
    human_values, target_values = concrete(human), concrete(targets)
    if human_values is None or target_values is None:
        return
    weights = None if weight is None or axis == 1 else concrete(weight)
    if weights is not None:
        target_values = np.where((weights > 0)[:, None], target_values, np.nan)
    kind = ("question (column)", "user (row)")[axis]
    empty = np.flatnonzero(np.isnan(human_values).all(axis=axis))
    if empty.size:
        raise ValueError(
            f"human has no answer at all for {kind} {empty[0]}; a target belongs in `twin` only, "
            "and a donor needs human answers"
        )
    empty = np.flatnonzero(np.isnan(target_values).all(axis=axis))
    if empty.size:
        counted = "" if weights is None else " from users of positive weight"
        raise ValueError(f"twin has no answer at all{counted} for new {kind} {empty[0]}")
    empty = np.flatnonzero(np.isnan(human_values).all(axis=0))
    if empty.size:  # of a new user; for new questions this was the first check
        raise ValueError(
            f"human has no answer at all for question (column) {empty[0]}, so that its level is "
            "unknown; calibrate it as a new question"
        )


def person_weight(sample_weight: Numbers, n: int, dtype) -> Array | None:
    """Checked (n,) weights of the users in `dtype`; `None` stays `None`."""
    if sample_weight is None:
        return None
    weight = as_float("sample_weight", sample_weight).astype(dtype)
    if weight.shape != (n,):
        raise ValueError(f"`sample_weight` must have shape {(n,)}, got {weight.shape}")
    values = concrete(weight)
    if values is not None and not np.all((values >= 0) & np.isfinite(values)):
        raise ValueError("`sample_weight` must be finite and not negative")
    if values is not None and not np.any(values):
        raise ValueError("`sample_weight` is zero for every user")
    return weight


def threshold_per_target(threshold: Numbers, q: int, dtype) -> Array | None:
    """A checked threshold for each of q targets in `dtype`; `None` stays `None`."""
    if threshold is None:
        return None
    limit = as_float("threshold", threshold).astype(dtype)
    if limit.shape not in ((), (q,)):
        raise ValueError(f"`threshold` must be one number or have shape {(q,)}, got {limit.shape}")
    values = concrete(limit)
    if values is not None and np.any(np.isnan(values)):
        raise ValueError("`threshold` must not be NaN; leave it out to transfer always")
    return jnp.broadcast_to(limit, (q,))
