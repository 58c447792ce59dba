"""A report in a terminal: 80 columns of plain text."""

import textwrap
import unicodedata
from collections.abc import Sequence

from .cells import legible, shown, shown_fact, shown_interval
from .contents import Contents, Table

_WIDTH = 80
_ROWS = 8  # more are in the files


def to_text(report: Contents) -> str:
    """Sentences and the first rows of tables, in 80 columns; figures by their captions' titles.

    **Example:**

        >>> from syndigits_jax.report import Report, to_text
        >>> print(to_text(Report("Twins", {"people": 200}, summary=(), sections=())))
        Twins
        =====
        <BLANKLINE>
          people: 200
        <BLANKLINE>
    """
    lines = [*_wrapped(report.title), "=" * min(_cells(report.title), _WIDTH), ""]
    for claim in report.summary:
        lines += [*_wrapped(claim.text), ""]
    for name, value in report.facts.items():
        lines += _wrapped(f"{name}: {shown_fact(value)}", "  ")
    for part in report.sections:
        lines += ["", *_wrapped(part.title), "-" * min(_cells(part.title), _WIDTH)]
        for claim in part.claims:
            lines += _wrapped(claim.text)
        for table in part.tables:
            lines += ["", *_table(table)]
        if part.figures:
            lines += ["", *_wrapped("Figures: " + "; ".join(f.title for f in part.figures))]
        for note in part.notes:
            lines += _wrapped(f"- {note}", "", "  ")
    for note in report.notes:
        lines += ["", *_wrapped(note)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _table(table: Table) -> list[str]:
    lines = _wrapped(table.title)
    if not table.rows:
        return [*lines, "  (no rows)"]
    columns = []
    for column in table.columns:
        texts = [column.title]
        part = ""
        for row in table.rows[:_ROWS]:
            if table.part and (now := str(row.get(table.part, ""))) != part:
                part = now
                texts.append(part.upper() if column is table.columns[0] else "")
            both = (shown(row.get(column.name), column), shown_interval(row, column))
            texts.append(" ".join(text for text in both if text))
        most = 30 if column.kind == "text" else _WIDTH - 34
        columns.append([_cut(text, most) for text in texts])
    first, rest = columns[0], columns[1:]
    room = _WIDTH - 2 - _broad(first)
    while rest or first:  # columns that do not fit follow below, beside the first again
        some: list[list[str]] = []
        left = room
        while rest and (left := left - 2 - _broad(rest[0])) >= 0:
            some.append(rest.pop(0))
        lines += ["  " + "  ".join(cells).rstrip() for cells in zip(*map(_padded, (first, *some)))]
        if not rest:
            break
        lines.append("")
    more = len(table.rows) - _ROWS
    return lines + ([f"  ... and {more} more"] if more > 0 else [])


def _broad(texts: Sequence[str]) -> int:
    return max(map(_cells, texts))


def _padded(texts: Sequence[str]) -> list[str]:
    broad = _broad(texts)
    return [text + " " * (broad - _cells(text)) for text in texts]


def _cells(text: str) -> int:
    """Columns of a terminal: East Asian characters take two, marks on letters none."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.category(c) in ("Mn", "Me", "Cf") for c in text)


def _cut(text: str, most: int) -> str:
    text = _line(text)
    if _cells(text) <= most:
        return text
    while _cells(text) > most - 1:
        text = text[:-1]
    return text + "…"


def _line(text: str) -> str:
    """On one line, without characters that steer a terminal."""
    return " ".join(legible(text).split())


def _wrapped(text: str, first: str = "", later: str | None = None) -> list[str]:
    later = first + "  " if later is None and first else later or ""
    # East Asian characters are counted twice, so that lines of them fit.
    width = _WIDTH if _cells(text) <= len(text) else _WIDTH // 2
    return textwrap.wrap(_line(text), width, initial_indent=first, subsequent_indent=later)
