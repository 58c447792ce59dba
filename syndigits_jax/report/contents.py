"""What a report is made of: plain data, which the writers turn into files.

Every number that a report shows stands in one of these, beside the Python call that computes it.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Number = float | int
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
Cell = Number | str | None
"""A cell of a table; `None`, or NaN, where there is nothing to say."""


@dataclass(frozen=True)
class Claim:
    """A sentence, and what it rests on.

    - `name`: key in `results.json`, unique in the report, such as `"quality.auto_correlation"`.
    - `text`: the sentence, with its numbers and interval, as plain text.
    - `values`: the numbers, in full precision; by convention `estimate`, `lower` and `upper`.
    - `level`: probability of the interval; `None` without one.
    - `finding`: what the sentence asserts beyond its numbers, in words that do not depend on them,
      such as `"twins add"`; empty where it asserts nothing, because nothing could be told. Only
      findings can be wrong: simulations count how often.
    - `source`: the Python call that computes it.
    """

    name: str
    text: str
    values: Mapping[str, Number] = field(default_factory=dict)
    level: float | None = None
    finding: str = ""
    source: str = ""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    - `name`: key in files; `title`: its head, in a few words.
    - `kind`: `"text"`, `"number"` (with `digits` decimals), `"share"` (0 to 1, shown as percent) or
      `"count"`.
    - `low`, `high`: names of the columns of an interval that is shown behind the number, in
      brackets; these are written to files but not shown on their own.
    """

    name: str
    title: str
    kind: Literal["text", "number", "share", "count"] = "number"
    digits: int = 2
    low: str = ""
    high: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells by column name.

    - `name`: key in `results.json`, and the name of the CSV file.
    - `columns`: those shown, in order; rows may have further cells, which only files have.
    - `note`: sentences below it: what the columns mean, in which unit.
    - `source`: the Python call that computes it.
    - `part`: name of a cell that neighbouring rows share, such as a measure, which is not a column:
      it stands once above them.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Cell], ...]
    note: str = ""
    source: str = ""
    part: str = ""

    def parts(self) -> list[tuple[str, list[Mapping[str, Cell]]]]:
        """The rows by their part, in order; all of them under "" without parts."""
        found: list[tuple[str, list[Mapping[str, Cell]]]] = []
        for row in self.rows:
            title = str(row.get(self.part, "")) if self.part else ""
            if not found or found[-1][0] != title:
                found.append((title, []))
            found[-1][1].append(row)
        return found


@dataclass(frozen=True)
class Figure:
    """A figure.

    - `name`: of its files.
    - `draw`: draws on an `Axes` that it is given, in the colours of `syndigits_jax.plots.style`.
    - `caption`: what is shown, and what every bar and band means.
    - `alt`: what one would tell a person who cannot see it.
    - `size`: in inches, of the page's width at most 7.
    - `data`: the numbers drawn, for `results.json`; empty if a table of the section has them.
    """

    name: str
    title: str
    draw: Callable[[Any], Any]
    caption: str
    alt: str
    size: tuple[float, float] = (6.4, 3.6)
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """A part of a report; `notes`: what was left out and why, and remarks, a sentence each."""

    name: str
    title: str
    claims: tuple[Claim, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contents:
    """All of a report: `facts` are shown at its head, by label; `summary` are the first sentences.

    A claim of the summary may be one of a section, or one of its own.
    """

    title: str
    facts: Mapping[str, Cell]
    summary: tuple[Claim, ...]
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()

    def claims(self) -> dict[str, Claim]:
        """All claims by name: of the summary, then of the sections."""
        return _by_name("claims", self.summary, *(part.claims for part in self.sections))

    def tables(self) -> dict[str, Table]:
        """All tables by name."""
        return _by_name("tables", *(part.tables for part in self.sections))

    def figures(self) -> dict[str, Figure]:
        """All figures by name."""
        return _by_name("figures", *(part.figures for part in self.sections))

    def check(self) -> None:
        """Check that names are unique and columns exist.

        **Raises:** `ValueError` for two different parts of one name, or for a column that no row
        has.
        """
        _by_name("sections", self.sections)
        self.claims()
        self.figures()
        for table in self.tables().values():
            known = {name for row in table.rows for name in row}
            used = [n for c in table.columns for n in (c.name, c.low, c.high) if n]
            used += [table.part] if table.part else []
            absent = [name for name in used if name not in known]
            if absent and table.rows:
                raise ValueError(f"table {table.name!r}: no row has a cell {absent[0]!r}")


def file_name(name: str) -> str:
    """The name of a part in files and anchors: itself, if it is plain enough.

    Other characters, such as those of a user's column, are replaced, and a digest tells what is
    then alike apart.
    """
    if _PLAIN.fullmatch(name):
        return name
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:60].strip("-.") or "part"
    return f"{kept}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"


def _by_name(what: str, *groups: tuple[Any, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in (part for group in groups for part in group):
        if part.name in found and found[part.name] is not part and found[part.name] != part:
            raise ValueError(f"{what}: two different ones are called {part.name!r}")
        found[part.name] = part
    return found
