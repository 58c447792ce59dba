"""Checks at the boundary of the regressions: shapes always, values where they are concrete."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


def _concrete(value: ArrayLike) -> np.ndarray | None:
    """The value as NumPy, or None while it is being traced."""
    try:
        return np.asarray(value)
    except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError):
        return None


def check_penalty(name: str, value: ArrayLike) -> None:
    """Raise `ValueError` if a concrete `value` has a negative entry; NaN is left to the solver."""
    array = _concrete(value)
    if array is not None and np.any(array < 0):
        raise ValueError(f"`{name}` must not be negative, got {array.min()}")


def check_fraction(name: str, value: ArrayLike) -> None:
    """Raise `ValueError` if a concrete `value` has an entry outside [0, 1]."""
    array = _concrete(value)
    if array is not None and np.any((array < 0) | (array > 1)):
        raise ValueError(f"`{name}` must lie between 0 and 1, got {array}")


def check_scalar(name: str, value: ArrayLike) -> None:
    """Raise `ValueError` unless `value` is a scalar; batches go through `jax.vmap`."""
    if jnp.ndim(value) != 0:
        raise ValueError(
            f"`{name}` must be a scalar, got shape {jnp.shape(value)}; map over a batch of "
            "values with `jax.vmap`"
        )


def check_regression(
    x: jax.Array, y: jax.Array, sample_weight: jax.Array | None, *, targets: bool = False
) -> None:
    """Raise `ValueError` unless the arrays of a weighted regression fit together.

    `x` must be (n, p) with n, p >= 1 and of a floating type, `y` (n,), or (n, t) too where
    `targets`, and `sample_weight` (n,) without negative entries.
    """
    if x.ndim != 2:
        raise ValueError(f"`x` must be a matrix (n, p), got shape {x.shape}")
    if 0 in x.shape:
        raise ValueError(f"`x` must have at least one row and one column, got shape {x.shape}")
    for name, array in (("x", x), ("y", y), ("sample_weight", sample_weight)):
        if array is not None and not jnp.issubdtype(array.dtype, jnp.floating):
            raise ValueError(
                f"`{name}` must hold floating-point numbers, got {array.dtype}; convert it with "
                "`.astype(float)`"
            )
    if y.ndim not in ((1, 2) if targets else (1,)):
        allowed = "(n,) or (n, t)" if targets else "(n,)"
        raise ValueError(f"`y` must have shape {allowed}, got {y.shape}")
    if y.shape[0] != x.shape[0]:
        raise ValueError(
            f"`y` has {y.shape[0]} rows but `x` has {x.shape[0]}; rows are respondents in both"
        )
    if sample_weight is not None:
        if sample_weight.shape != (x.shape[0],):
            raise ValueError(
                f"`sample_weight` must have shape ({x.shape[0]},), one weight per row of `x`, "
                f"got {sample_weight.shape}"
            )
        check_penalty("sample_weight", sample_weight)
