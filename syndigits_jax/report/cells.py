"""The cells of tables: as text for people, and as rows of a file."""

import unicodedata
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..results.format import UNDEFINED, fixed, percent, whole
from .contents import Cell, Column, Table

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_UNUSABLE = ("Cc", "Cs", "Cn")
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def legible(text: str) -> str:
    """`text` without what no writer may pass on: controls, and turns of the writing direction.

    Line breaks and tabs become spaces.
    """
    kept = (
        " " if c in "\n\r\t" else "\ufffd" if unicodedata.category(c) in _UNUSABLE else c
        for c in text
        if c not in _TURNING
    )
    return "".join(kept)


def shown(cell: Cell, column: Column) -> str:
    """A cell as text, rounded as its column says."""
    if cell is None or cell != cell:
        return UNDEFINED
    if isinstance(cell, str):
        return cell
    if column.kind == "share":
        return percent(float(cell), max(column.digits - 2, 0))
    if column.kind == "count":
        return whole(cell)
    if column.kind == "text":
        return f"{cell:g}"
    return fixed(float(cell), column.digits)


def shown_interval(row: Mapping[str, Cell], column: Column) -> str:
    """The interval behind a number, such as `[0.37, 0.47]`; empty without one."""
    if not (column.low and column.high):
        return ""
    ends = [shown(row.get(name), column) for name in (column.low, column.high)]
    return "" if UNDEFINED in ends else f"[{ends[0]}, {ends[1]}]"


def shown_fact(value: Cell) -> str:
    """A fact at the head of a report."""
    if isinstance(value, str):
        return value
    is_count = value is not None and float(value).is_integer()
    return whole(value) if is_count else fixed(None if value is None else float(value))


def file_columns(table: Table) -> list[str]:
    """All columns of a table's file: those shown with their ends, then further cells of rows."""
    names = [name for c in table.columns for name in (c.name, c.low, c.high) if name]
    return list(dict.fromkeys([*names, *(name for row in table.rows for name in row)]))


def no_formula(cell: Cell) -> Cell:
    """A text that a spreadsheet would take for a formula, with an apostrophe before it.

    So OWASP advises against CSV injection (https://owasp.org/www-community/attacks/CSV_Injection):
    the name of a question or group is the user's, or whoever's answered the survey. Numbers, also
    in text, stay.
    """
    if not isinstance(cell, str) or not cell.startswith(_FORMULA):
        return cell
    try:
        return cell if np.isfinite(float(cell)) else f"'{cell}"
    except ValueError:
        return f"'{cell}"


def plain(value: Any) -> Any:
    """Nested data of Python's own numbers, texts, lists and dictionaries."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return plain(np.asarray(value).tolist())
