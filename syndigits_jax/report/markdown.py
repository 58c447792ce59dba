"""A report as Markdown, with its figures as images beside it."""

import re
from collections.abc import Iterable, Mapping

from .cells import legible, shown, shown_fact, shown_interval
from .contents import Cell, Contents, Section, Table, file_name

_SPECIAL = re.compile(r"([\\`*_\[\]{}|~#$<>])")


def to_markdown(report: Contents, images: str | None = "figures") -> str:
    """The report as Markdown.

    **Arguments:** `report`; `images`: the folder of the figures' PNG files, relative to the
    Markdown's own; `None` to leave the images out and keep their captions.

    **Raises:** `ValueError` if names are repeated.

    **Example:**

        >>> from syndigits_jax.report import Claim, Report, to_markdown
        >>> claim = Claim("quality.correlation", "They correlate at .42 (95% interval .37 to .47).")
        >>> print(to_markdown(Report("Twins", {"people": 760}, (claim,), ())).splitlines()[2])
        **They correlate at .42 (95% interval .37 to .47).**
    """
    report.check()
    lines = [f"# {_text(report.title)}", ""]
    for claim in report.summary:
        lines += [f"**{_text(claim.text)}**", ""]
    lines += ["| | |", "|:--|:--|"]
    lines += [f"| {_text(k)} | {_text(shown_fact(v))} |" for k, v in report.facts.items()]
    lines.append("")
    for part in report.sections:
        lines += _section(part, images)
    if report.notes:
        lines += ["## Notes", "", *(f"- {_text(note)}" for note in report.notes), ""]
    called = {claim.name: claim.source for claim in report.claims().values()}
    called |= {table.name: table.source for table in report.tables().values()}
    if any(called.values()):
        lines += ["## How it was computed", ""]
        lines += [f"- {_code(name)}: {_code(call)}" for name, call in called.items() if call]
        lines.append("")
    return "\n".join(lines)


def _section(part: Section, images: str | None) -> Iterable[str]:
    yield from (f"## {_text(part.title)}", "")
    for claim in part.claims:
        yield from (_text(claim.text), "")
    for figure in part.figures:
        yield from (f"### {_text(figure.title)}", "")
        if images is not None:
            yield from (f"![{_text(figure.alt)}]({images}/{file_name(figure.name)}.png)", "")
        yield from (_text(figure.caption), "")
    for table in part.tables:
        yield from (f"### {_text(table.title)}", "", *_table(table), "")
        if table.note:
            yield from (_text(table.note), "")
    if part.notes:
        yield from (*(f"- {_text(note)}" for note in part.notes), "")


def _table(table: Table) -> list[str]:
    ends = [":--" if column.kind == "text" else "--:" for column in table.columns]
    lines = [_row(column.title for column in table.columns), f"|{'|'.join(ends)}|"]
    for part, rows in table.parts():
        if part:
            lines.append(_row([part, *("" for _ in table.columns[1:])]))
        lines += _rows(table, rows)
    return lines


def _rows(table: Table, rows: Iterable[Mapping[str, Cell]]) -> list[str]:
    lines = []
    for row in rows:
        both = ((shown(row.get(c.name), c), shown_interval(row, c)) for c in table.columns)
        lines.append(_row(" ".join(text for text in cell if text) for cell in both))
    return lines


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(_text, cells))} |"


def _text(text: str) -> str:
    """On one line, with the characters escaped that Markdown or HTML inside it would read."""
    line = " ".join(legible(text).split())
    line = _SPECIAL.sub(r"\\\1", line.replace("&", "&amp;"))
    # What would begin a list, at the start of a line.
    return re.sub(r"^([-+]|\d+[.)])(?=\s|$)", lambda m: f"{m[0][:-1]}\\{m[0][-1]}", line)


def _code(text: str) -> str:
    text = " ".join(text.split())
    marks = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{marks}{text}{marks}" if len(marks) == 1 else f"{marks} {text} {marks}"
