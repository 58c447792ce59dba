"""The cells of tables: as text for people, and as rows of a file."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..results.format import UNDEFINED, fixed, percent, whole
from .contents import Cell, Column, Table


def shown(cell: Cell, column: Column) -> str:
    """A cell as text, rounded as its column says."""
    if cell is None or cell != cell:
        return UNDEFINED
    if isinstance(cell, str):
        return cell
    if column.kind == "share":
        return percent(cell, max(column.digits - 2, 0))
    if column.kind == "count":
        return whole(cell)
    if column.kind == "text":
        return f"{cell:g}"
    return fixed(cell, column.digits)


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
    return whole(value) if is_count else fixed(value)


def file_columns(table: Table) -> list[str]:
    """All columns of a table's file: those shown with their ends, then further cells of rows."""
    names = [name for c in table.columns for name in (c.name, c.low, c.high) if name]
    return list(dict.fromkeys([*names, *(name for row in table.rows for name in row)]))


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
