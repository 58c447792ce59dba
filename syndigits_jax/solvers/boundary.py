"""The boundary of the numerics: whatever users hold becomes a JAX array, or a clear error.

Every public function that takes numbers converts them here, so that lists, data frames, masked,
half-precision, integer and big-endian arrays mean the same in every subpackage.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

Numbers = Any
"""Anything that holds numbers: scalars, nested lists, arrays of NumPy, JAX and whatever speaks
DLPack, data frames and columns of pandas, polars and Arrow."""


def as_float(name: str, values: Numbers) -> Float[Array, "..."]:
    """`values` as a floating array of at least single precision.

    Takes nested lists, NumPy arrays (also masked, of any byte order), JAX arrays, traced or not,
    tensors that speak DLPack, data frames and columns of pandas, polars and Arrow, of numbers,
    booleans or numeric text. Missing cells (`None`, null, `pandas.NA`, masked, empty text) become
    NaN. Integers and booleans become JAX's default
    floating type, half precision becomes float32, as no factorisation exists for it.

    **Raises:** `ValueError` naming `name` for complex numbers, dates, durations, text or objects
    that are no number, rows of unequal length, and finite numbers that the floating type cannot
    hold.
    """
    values = _from_dlpack(name, values)
    array = values if isinstance(values, jax.Array) else _from_host(name, values)
    if array.dtype in (np.float32, np.float64):
        return array
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise ValueError(f"`{name}` must hold real numbers, got complex ones")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        if array.dtype != bool and not jnp.issubdtype(array.dtype, jnp.integer):
            raise ValueError(f"`{name}` must hold numbers, got {array.dtype}")
        return array.astype(jnp.result_type(float))
    return array.astype(jnp.float32) if array.dtype.itemsize < 4 else array


def as_floats(**named: Numbers) -> tuple[Any, ...]:
    """[`as_float`][] of each argument, all in the widest of their types; `None` stays `None`.

    A Python number takes the type of the others, as in JAX.
    """
    arrays = {name: None if v is None else as_float(name, v) for name, v in named.items()}
    found = {name: array.dtype for name, array in arrays.items() if array is not None}
    typed = {name for name in found if not isinstance(named[name], int | float)}
    types = [found[name] for name in typed or found]
    widest = max(types, key=lambda dtype: dtype.itemsize) if types else None
    return tuple(
        array if array is None or array.dtype == widest else array.astype(widest)
        for array in arrays.values()
    )


def as_mask(name: str, values: Any) -> Bool[Array, "..."]:
    """`values` as a boolean array. **Raises:** `ValueError` naming `name` for any other type."""
    values = _from_dlpack(name, values)
    if isinstance(values, jax.Array):
        array = values
    else:
        given = host_array(name, values)
        if given.dtype == object and all(isinstance(cell, bool | np.bool_) for cell in given.flat):
            given = given.astype(bool)
        if given.dtype != bool:
            raise ValueError(
                f"`{name}` must be boolean, got {given.dtype}; convert it with `.astype(bool)`"
            )
        array = jnp.asarray(given)
    if array.dtype != bool:
        raise ValueError(
            f"`{name}` must be boolean, got {array.dtype}; convert it with `.astype(bool)`"
        )
    return array


def concrete(values: Any) -> np.ndarray | None:
    """The values as NumPy, or `None` while they are being traced."""
    if isinstance(values, Tracer):
        return None
    try:
        return np.asarray(values)
    except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError):
        return None


def host_array(name: str, values: Any) -> np.ndarray:
    """`values` as a NumPy array in native byte order, cells unchanged; masked cells are NaN.

    **Raises:** `ValueError` naming `name` for rows of unequal length, and for masked arrays of
    kinds that are not numeric.
    """
    if isinstance(values, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(values)
        array = np.ma.getdata(values)
        refuse_no_numbers(name, array.dtype)  # before dates with NaN become numbers
        if mask.any():
            array = np.where(mask, np.nan, array.astype(_floating(array.dtype)))
    elif hasattr(values, "to_pylist"):
        array = _from_arrow(values)
    elif hasattr(values, "to_numpy"):  # pandas, polars: `pandas.NA` needs objects
        array = np.asarray(values.to_numpy())
    else:
        values = _from_dlpack(name, values)
        try:
            array = np.asarray(values)
        except (ValueError, TypeError) as error:  # NumPy's "inhomogeneous shape"
            reason = "its rows differ in length" if isinstance(error, ValueError) else error
            raise ValueError(f"`{name}`: {reason}") from None
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array


def listed(values: Any) -> list[Any]:
    """The cells of a column or sequence of any kind as Python's own values."""
    for convert in ("to_pylist", "to_list", "tolist"):
        if hasattr(values, convert):
            return list(getattr(values, convert)())
    return list(values)


def host_floats(name: str, values: Numbers) -> np.ndarray:
    """`values` in double precision on the host, NaN where missing, whatever JAX's precision.

    Takes what [`as_float`][] takes. **Raises:** `ValueError` as there.
    """
    array = host_array(name, np.asarray(values) if isinstance(values, jax.Array) else values)
    refuse_no_numbers(name, array.dtype)
    return (_cells(name, array) if array.dtype.kind in "OU" else array).astype(np.float64)


def refuse_no_numbers(name: str, dtype: np.dtype) -> None:
    """Refuse types that are not numeric. **Raises:** `ValueError` naming `name`."""
    if dtype.kind in "mM":
        kind = "durations" if dtype.kind == "m" else "dates"
        raise ValueError(f"`{name}` must hold numbers, got {kind} ({dtype})")
    if dtype.kind == "c":
        raise ValueError(f"`{name}` must hold real numbers, got complex ones")
    if dtype.kind == "S" or (dtype.kind == "V" and dtype.names is not None):
        raise ValueError(f"`{name}` must hold numbers, got {dtype}")


def cell_number(cell: Any) -> float:
    """One cell as a number, NaN if it is missing. **Raises:** `ValueError` or `TypeError`."""
    if is_missing(cell):
        return math.nan
    if isinstance(cell, str):
        text = cell.strip()
        if "_" in text:  # float("1_000") is 1000, but a response is not written like that
            raise ValueError
        return float(text) if text else math.nan
    if isinstance(cell, bytes | np.datetime64 | np.timedelta64 | complex | np.complexfloating):
        raise ValueError
    if getattr(cell, "ndim", 0):  # NumPy takes an array of one number for that number
        raise ValueError
    return float(cell)


def is_missing(cell: Any) -> bool:
    """Whether a cell holds nothing: `None`, NaN, `pandas.NA`, `NaT`, NumPy's `masked`."""
    # Those of pandas are recognised by name: this module must not import pandas.
    if cell is None or type(cell).__name__ in ("NAType", "NaTType", "MaskedConstant"):
        return True
    return isinstance(cell, float) and math.isnan(cell)


def _from_dlpack(name: str, values: Any) -> Any:
    """A tensor of another library without a copy where that is possible; all else unchanged."""
    if isinstance(values, np.ndarray | np.generic | jax.Array) or hasattr(values, "to_numpy"):
        return values
    if not hasattr(values, "__dlpack__"):
        return values
    try:
        return np.from_dlpack(values)
    except (BufferError, RuntimeError, TypeError, ValueError):  # of a device, or of a type of JAX
        try:
            return jnp.from_dlpack(values)
        except Exception as error:
            raise ValueError(
                f"`{name}`: the {type(values).__name__} cannot be had by DLPack ({error})"
            ) from None


def _from_arrow(values: Any) -> np.ndarray:
    """A column, or a table, of Arrow."""
    if hasattr(values, "columns"):
        columns = [_from_arrow(column) for column in values.columns]
        return np.stack(columns, axis=1) if columns else np.empty((values.num_rows, 0))
    if "dictionary" in str(values.type):  # NumPy would get another category of a missing one
        return np.fromiter(values.to_pylist(), object, len(values))
    return np.asarray(values.to_numpy(zero_copy_only=False))


def _from_host(name: str, values: Any) -> Array:
    array = host_array(name, values)
    refuse_no_numbers(name, array.dtype)
    if array.dtype.kind in "OU":
        array = _cells(name, array)
    default = np.dtype(jnp.result_type(float))
    if array.dtype.kind in "biu" or array.dtype.itemsize > default.itemsize:
        wide = array
        with np.errstate(over="ignore"):
            array = wide.astype(default)
        lost = np.isinf(array) & np.isfinite(wide)
        if lost.any():
            raise ValueError(
                f"`{name}` holds {wide[lost].flat[0]:.3g}, more than {default.name} can; divide "
                "the data by a constant"
            )
    return jnp.asarray(array)


def _cells(name: str, array: np.ndarray) -> Float[np.ndarray, "..."]:
    out = np.empty(array.shape)
    for place, cell in zip(np.ndindex(array.shape), array.ravel().tolist(), strict=True):
        try:
            out[place] = cell_number(cell)
        except (TypeError, ValueError):
            where = f" at {list(place)}" if place else ""
            raise ValueError(f"`{name}`: {cell!r:.80}{where} is not a number") from None
    return out


def _floating(dtype: np.dtype) -> np.dtype:
    if dtype.kind == "U":
        return np.dtype(object)
    return dtype if dtype.kind in "fcO" else np.dtype(np.float64)
