"""How tables of published and our own numbers are written in Markdown."""

import json
import math
from collections.abc import Collection, Iterable, Sequence

from benchmarks.report import RESULTS

CONTROLS = ("Baseline", "InContext", "UserMean", "ZScoredUserMean", "ItemMean")


def records_of(table: str) -> list[dict]:
    """The records of a published table."""
    return json.loads((RESULTS / "tables" / f"{table}.json").read_text())["records"]


def cell(records: Iterable[dict], key: str = "mean", **wanted: str) -> str:
    """One number as printed, or a dash."""
    for record in records:
        if all(record[name] == value for name, value in wanted.items()):
            value = record[key]
            return "–" if value is None else f"{value:.3f}"
    return "–"


def methods_of(records: Iterable[dict]) -> list[str]:
    """All methods of the records, controls first."""
    found = dict.fromkeys(record["method"] for record in records)
    return [c for c in CONTROLS if c in found] + [m for m in found if m not in CONTROLS]


def row(cells: Iterable[str]) -> str:
    """A row of a table."""
    return "| " + " | ".join(cells) + " |"


def head(cells: Sequence[str], words: Collection[str] = ()) -> list[str]:
    """The two lines of a table's head: one column of names, then numbers; `words`: other columns
    that are aligned to the left."""
    sides = ("|---" if cell in words else "|--:" for cell in cells[1:])
    return [row(cells), "|---" + "".join(sides) + "|"]


def number(value: float | None, digits: int = 2) -> str:
    """So many decimals, no minus before a zero; a dash where there is no number."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{round(value, digits) + 0.0:.{digits}f}"
