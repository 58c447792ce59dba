"""Checks at the boundary of the solvers: shapes always, values where they are concrete."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .boundary import Numbers, as_float, as_floats, concrete


def _known(value: Numbers) -> np.ndarray | None:
    """The numbers in `value` as given, or `None` where they are not known (traced)."""
    array = concrete(value)
    return None if array is None or array.dtype.kind not in "biuf" else array


def check_penalty(name: str, value: Numbers) -> None:
    """Raise `ValueError` if a concrete `value` has a negative entry; NaN is left to the solver."""
    array = _known(value)
    if array is not None and (array < 0).any():
        raise ValueError(f"`{name}` must not be negative, got {array.min()}")


def check_finite(name: str, value: Numbers) -> None:
    """Raise `ValueError` if a concrete `value` has an infinite entry; NaN is left to the solver."""
    array = _known(value)
    if array is not None and np.isinf(array).any():
        raise ValueError(f"`{name}` must be finite, got {value}")


def check_positive(**named: Numbers) -> None:
    """Raise `ValueError` if a concrete value has an entry that is not positive."""
    for name, value in named.items():
        array = _known(value)
        if array is not None and not np.all(array > 0):
            raise ValueError(f"`{name}` must be positive, got {value}")


def check_fraction(name: str, value: Numbers) -> None:
    """Raise `ValueError` if a concrete `value` has an entry outside [0, 1]."""
    array = _known(value)
    if array is not None and ((array < 0) | (array > 1)).any():
        raise ValueError(f"`{name}` must lie between 0 and 1, got {array}")


def check_probability(**named: Numbers) -> None:
    """Raise `ValueError` if a concrete value has an entry that is not strictly inside (0, 1)."""
    for name, value in named.items():
        array = _known(value)
        if array is not None and not np.all((array > 0) & (array < 1)):
            raise ValueError(f"`{name}` must lie strictly between 0 and 1, got {value}")


MOST_STEPS = int(np.iinfo(np.int32).max)


def check_steps(value: Numbers, name: str = "max_steps", least: int = 1) -> None:
    """Raise `ValueError` unless a concrete number of steps is whole, from `least` to 2³¹ - 1."""
    array = _known(value)
    if array is None:
        return
    if not np.all(array >= least):
        raise ValueError(f"`{name}` must be at least {least}, got {value}")
    if not np.all(array <= MOST_STEPS):
        raise ValueError(f"`{name}` must be at most {MOST_STEPS}, got {value}")
    if np.any(array % 1):
        raise ValueError(f"`{name}` must be a whole number, got {value}")


def check_stopping(tol: Numbers, steps: Numbers, least: int = 0) -> None:
    """Raise `ValueError` unless `tol` is a scalar, and `steps` (`max_steps`) a count from `least`.

    With a negative tolerance all steps are taken.
    """
    plain = type(tol) is float and type(steps) is int
    if plain and least <= steps <= MOST_STEPS:
        return  # what most calls give, in no time
    check_scalar("tol", tol)
    check_scalar("max_steps", steps)
    check_steps(steps, least=least)


def is_whole(value: Any) -> bool:
    """Whether it is an integer, of Python or NumPy, and no boolean."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_count(name: str, value: Any, most: int | None = None, *, least: int = 1) -> None:
    """Check a count.

    **Arguments:** `name`: of the argument, in messages; `value`: what was given; `least`, `most`:
    its bounds.

    **Raises:** `ValueError` naming the argument unless `value` is a whole number within them.
    """
    if not is_whole(value):
        raise ValueError(f"`{name}` must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"`{name}` must be at least {least}, got {value}")
    if most is not None and value > most:
        raise ValueError(f"`{name}` must be at most {most}, got {value}")


def check_axes(*, empty: bool = False, **named: tuple[jax.Array | None, str]) -> None:
    """Raise `ValueError` unless arrays have the axes that are named, of the same sizes in all.

    **Arguments:** `empty`: whether an axis may have length 0; `named`: by argument, the array and
    its axes as in an annotation, such as `"t s"`; arrays that are `None` are left out.
    """
    sizes: dict[str, tuple[int, str]] = {}
    for name, (array, axes) in named.items():
        if array is None:
            continue
        letters = axes.split()
        wanted = f"({', '.join(letters)}{',' if len(letters) == 1 else ''})"
        if array.ndim != len(letters):
            raise ValueError(f"`{name}` must have shape {wanted}, got {array.shape}")
        if 0 in array.shape and not empty:
            raise ValueError(f"`{name}` is empty: it has shape {array.shape}")
        for letter, size in zip(letters, array.shape, strict=True):
            expected, other = sizes.setdefault(letter, (size, name))
            if size != expected:
                raise ValueError(
                    f"`{name}` must have shape {wanted} with {letter} = {expected}, as in "
                    f"`{other}`, got {array.shape}"
                )


def check_broadcast(**named: jax.Array) -> None:
    """Raise `ValueError` unless the shapes of the arrays broadcast to one."""
    try:
        np.broadcast_shapes(*(array.shape for array in named.values()))
    except ValueError:
        names = " and ".join(f"`{name}`" for name in named)
        shapes = ", ".join(str(array.shape) for array in named.values())
        raise ValueError(f"{names} must be of one shape, or numbers, got {shapes}") from None


def largest_answer(cells: int, dtype) -> float:
    """The largest size of an answer for which the squares of so many `cells` have a finite sum."""
    return float(np.sqrt(float(jnp.finfo(dtype).max) / max(cells, 1))) / 16


def check_squares(values: np.ndarray, name: str, dtype) -> None:
    """Refuse answers whose squares overflow `dtype`; see [`largest_answer`][]."""
    limit = largest_answer(values.size, dtype)
    largest = np.max(np.abs(values), initial=0, where=~np.isnan(values))
    if largest > limit:
        raise ValueError(
            f"`{name}` has an answer of size {largest:.3g}, whose square {jnp.dtype(dtype).name} "
            "does not hold; divide the answers by a constant"
        )


def check_known_squares(**named: jax.Array) -> None:
    """[`check_squares`][] of the arrays that are concrete."""
    for name, array in named.items():
        if (known := concrete(array)) is not None:
            check_squares(known, name, array.dtype)


def check_scalar(name: str, value: Numbers) -> None:
    """Raise `ValueError` unless `value` is a scalar; batches go through `jax.vmap`."""
    if np.ndim(value) != 0:
        raise ValueError(
            f"`{name}` must be a scalar, got shape {np.shape(value)}; map over a batch of "
            "values with `jax.vmap`"
        )


def check_matrix(x: jax.Array) -> None:
    """Raise `ValueError` unless `x` is (n, p) with n, p >= 1 and of a floating type."""
    if x.ndim != 2:
        raise ValueError(f"`x` must be a matrix (n, p), got shape {x.shape}")
    if 0 in x.shape:
        raise ValueError(f"`x` must have at least one row and one column, got shape {x.shape}")
    _check_floating("x", x)


def _check_floating(name: str, array: jax.Array) -> None:
    if array.dtype.kind != "f" and not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(
            f"`{name}` must hold floating-point numbers, got {array.dtype}; convert it with "
            "`.astype(float)`"
        )


def check_sample_weight(sample_weight: jax.Array | None, rows: int) -> None:
    """Raise `ValueError` unless weights are floating, one per row, and not negative."""
    if sample_weight is None:
        return
    _check_floating("sample_weight", sample_weight)
    if sample_weight.shape != (rows,):
        raise ValueError(
            f"`sample_weight` must have shape ({rows},), one weight per row of `x`, "
            f"got {sample_weight.shape}"
        )
    check_penalty("sample_weight", sample_weight)


def check_completion(
    x: jax.Array,
    mask: jax.Array,
    sample_weight: jax.Array | None = None,
    init: jax.Array | None = None,
) -> None:
    """Raise `ValueError` unless the arrays of a matrix completion fit together.

    `x` must be (n, m) with n, m >= 1, `mask` and `init` of its shape, and `sample_weight` (n,)
    without negative entries and not all zero.
    """
    check_matrix(x)
    for name, array in (("mask", mask), ("init", init)):
        if array is not None and array.shape != x.shape:
            raise ValueError(f"`{name}` must have the shape of `x`, {x.shape}, got {array.shape}")
    check_sample_weight(sample_weight, x.shape[0])
    weights = None if sample_weight is None else concrete(sample_weight)
    if weights is not None and not np.any(weights):
        raise ValueError("`sample_weight` is zero for every row: nothing is left to fit")


def regression_arrays(
    x: Numbers, y: Numbers, sample_weight: Numbers | None, *, targets: bool = False
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """The arrays of a weighted regression in one floating type, checked by `check_regression`.

    **Arguments:** `x`: (n, p); `y`: (n,), or (n, t) too where `targets`; `sample_weight`: (n,).

    **Raises:** `ValueError` for arrays that do not fit together, non-numeric input, and weights
    known to be negative.
    """
    if sample_weight is not None:
        check_penalty("sample_weight", sample_weight)
    x, y, sample_weight = as_floats(x=x, y=y, sample_weight=sample_weight)
    assert x is not None and y is not None
    check_regression(x, y, sample_weight, targets=targets)
    return x, y, sample_weight


def batch_arrays(
    x: Numbers, y: Numbers, sample_weight: Numbers | None
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """The arrays of a batch of weighted regressions in one floating type.

    **Arguments:** `x`: (b, n, p), or (n, p) for all; `y`: (b, n); `sample_weight`: (b, n), or (n,)
    for all.

    **Raises:** `ValueError` as [`regression_arrays`][], and for batches of different lengths.
    """
    if sample_weight is not None:
        check_penalty("sample_weight", sample_weight)
    x, y, sample_weight = as_floats(x=x, y=y, sample_weight=sample_weight)
    assert x is not None and y is not None
    if x.ndim not in (2, 3):
        raise ValueError(f"`x` must have shape (b, n, p), or (n, p) for all, got {x.shape}")
    rows, columns = x.shape[-2:]
    if 0 in (rows, columns):
        raise ValueError(f"`x` must have at least one row and one column, got shape {x.shape}")
    if y.ndim != 2 or y.shape[1] != rows:
        raise ValueError(f"`y` must have shape (b, {rows}), one row per problem, got {y.shape}")
    if x.ndim == 3 and len(x) != len(y):
        raise ValueError(f"`x` has {len(x)} problems but `y` has {len(y)}")
    allowed = ((rows,), (len(y), rows))
    if sample_weight is not None and sample_weight.shape not in allowed:
        raise ValueError(
            f"`sample_weight` must have shape {allowed[0]} or {allowed[1]}, one weight per row, "
            f"got {sample_weight.shape}"
        )
    return x, y, sample_weight


def number(name: str, value: Numbers, dtype) -> jax.Array:
    """A scalar or an array of hyperparameters in the type of the data. **Raises:** `ValueError`."""
    return as_float(name, value).astype(dtype)


def check_regression(
    x: jax.Array, y: jax.Array, sample_weight: jax.Array | None, *, targets: bool = False
) -> None:
    """Raise `ValueError` unless the arrays of a weighted regression fit together.

    `x` must be (n, p) with n, p >= 1 and of a floating type, `y` (n,), or (n, t) too where
    `targets`, and `sample_weight` (n,) without negative entries.
    """
    check_matrix(x)
    _check_floating("y", y)
    if y.ndim not in ((1, 2) if targets else (1,)):
        allowed = "(n,) or (n, t)" if targets else "(n,)"
        raise ValueError(f"`y` must have shape {allowed}, got {y.shape}")
    if y.shape[0] != x.shape[0]:
        raise ValueError(
            f"`y` has {y.shape[0]} rows but `x` has {x.shape[0]}; rows are respondents in both"
        )
    check_sample_weight(sample_weight, x.shape[0])
