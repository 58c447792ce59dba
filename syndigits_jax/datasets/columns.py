"""Conversion of text columns to numbers, and of numbers to text, without loss of digits."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..solvers.boundary import is_missing

MISSING_TEXTS = frozenset(
    ("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
     "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null")
)  # fmt: skip
"""Texts that stand for a missing answer in a text file: the same as in pandas."""
_INTEGER = re.compile(r"[+-]?[0-9]{1,308}")  # longer ones are infinite, as in any other column
_FLAGS = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}
_DIGITS = frozenset("0123456789+- ")
_EXACT = 2**53  # up to here every integer is a float64


def parse_column(pd: Any, cells: Sequence[str]) -> Any:
    """A column of numbers, or of unchanged text if a cell is neither a number nor missing.

    Whole numbers stay whole: int64, uint64 or Python integers if all cells are whole, and `Int64`,
    `UInt64` or Python integers if some are missing and float64 could not hold the others.
    """
    plain = _plain(cells)
    if plain is not None:
        return plain
    known = [cell for cell in map(str.strip, cells) if cell not in MISSING_TEXTS]
    gaps = len(known) < len(cells)
    if not known:
        return np.full(len(cells), np.nan)
    if all(map(_INTEGER.fullmatch, known)):
        return _integers(pd, cells, gaps)
    if all(cell in _FLAGS for cell in known):
        flags = [_FLAGS.get(cell.strip(), np.nan) for cell in cells]
        return np.array(flags, object if gaps else bool)
    try:
        numbers = [
            float(c) if (c := cell.strip()) not in MISSING_TEXTS else np.nan for cell in cells
        ]
    except ValueError:
        numbers = None
    if numbers is None or any("_" in cell for cell in known):
        return np.array([None if c.strip() in MISSING_TEXTS else c for c in cells], object)
    values = np.array(numbers)
    if (np.abs(values) >= _EXACT).any():
        whole = {cell: int(cell) for cell in known if _INTEGER.fullmatch(cell)}
        if any(int(float(value)) != value for value in whole.values()):
            mixed = [whole.get(cell.strip(), number) for cell, number in zip(cells, numbers)]
            return np.array(mixed, object)
    return values


def number_text(value: Any) -> str:
    """A cell as the shortest text that gives the same number, of the same type; "" if missing.

    Whole numbers below 2**53 are written without a decimal point, except for -0.0.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, np.floating):
        if np.isnan(value):
            return ""
        # NumPy's text of a number in single precision is the shortest in single precision.
        return _whole(str(value), float(value))
    if isinstance(value, float):
        return "" if value != value else _whole(repr(value), value)
    return "" if is_missing(value) else str(value)


def as_text_frame(frame: Any) -> Any:
    """A pandas data frame as text, cells as [`number_text`][] has them."""
    columns = {j: [number_text(cell) for cell in _cells(frame.iloc[:, j])] for j in _range(frame)}
    index = [str(name) for name in frame.index]
    text = type(frame)(columns, index=index, dtype=object)
    text.columns = [str(name) for name in frame.columns]
    return text.rename_axis(index=frame.index.name)


def as_parquet_frame(frame: Any) -> Any:
    """A pandas data frame that Parquet can store: text for names and for too large integers."""
    out = frame.set_axis([str(name) for name in frame.columns], axis=1)
    for j in _range(out):
        column = out.iloc[:, j]
        cells = [cell for cell in column if not (np.isscalar(cell) and is_missing(cell))]
        if column.dtype != object or not any(isinstance(cell, int) for cell in cells):
            continue
        if not all(isinstance(c, int) and -(2**63) <= c < 2**63 for c in cells):
            text = [None if is_missing(cell) else number_text(cell) for cell in column]
            out.isetitem(j, np.array(text, object))
    return out


def _range(frame: Any) -> range:
    return range(frame.shape[1])


def _cells(column: Any) -> list[Any]:
    # `tolist` would turn numbers of single precision into Python floats.
    if getattr(column.dtype, "kind", "") == "f":
        own = getattr(column.dtype, "numpy_dtype", column.dtype)
        return list(column.to_numpy(dtype=own, na_value=np.nan))
    return column.tolist()


def shortest(values: Any) -> np.ndarray:
    """Numbers of single precision as float64 with the same shortest text: 0.1, not 0.10000000149.

    Digits beyond single precision carry no information. Wider numbers are not changed.
    """
    array = np.asarray(values)
    if array.dtype.itemsize >= 8:
        return array.astype(np.float64)
    return np.array([float(str(x)) for x in array.ravel()], np.float64).reshape(array.shape)


def _plain(cells: Sequence[str]) -> np.ndarray | None:
    """The common case, without inspecting each cell: numbers that float64 or int64 hold."""
    try:
        values = np.array(list(map(float, cells)))
    except ValueError:
        return None
    text = "".join(cells)
    if "_" in text or not len(values) or (np.abs(values) >= _EXACT).any():
        return None
    if set(text) <= _DIGITS:
        return np.array(list(map(int, cells)), np.int64)
    return values


def _whole(text: str, value: float) -> str:
    if abs(value) >= _EXACT or not value.is_integer() or text.startswith("-0"):
        return text
    return str(int(value))


def _integers(pd: Any, cells: Sequence[str], gaps: bool) -> Any:
    values = [int(c) if (c := cell.strip()) not in MISSING_TEXTS else None for cell in cells]
    known = [value for value in values if value is not None]
    low, high = min(known), max(known)
    if gaps and max(-low, high) <= _EXACT:
        return np.array([np.nan if value is None else float(value) for value in values])
    for name, least, most in (("int64", -(2**63), 2**63 - 1), ("uint64", 0, 2**64 - 1)):
        if least <= low and high <= most:
            if not gaps:
                return np.array(known, name)
            return pd.array(values, dtype=name.replace("i", "I", 1).replace("uI", "UI"))
    return np.array(values, object)
