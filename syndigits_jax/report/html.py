"""A report as one page that needs nothing else: no network, no other file."""

import base64
import hashlib
import importlib.resources
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from ..results.format import UNDEFINED
from ..results.records import versions
from .cells import legible, shown, shown_fact, shown_interval
from .contents import Cell, Claim, Column, Contents, Figure, Section, Table, file_name
from .figures import inline_svg

_WHOLE = 20  # rows of the longest table that is shown whole
_FIRST = 15  # rows of a longer one that are shown at once, as page.css has it
_SORTABLE = 6  # rows from which a table can be sorted
_WIDE = 6  # columns that a printed page has room for without breaking numbers
_SHORT = 18  # characters of a text that stays on one line
_LONG = 60  # characters of a text that needs a wide column
_NARROW = 3.4  # inches: the width of a phone's screen, in which a figure is drawn again


def to_html(report: Contents) -> str:
    """The report as one HTML page, readable on a phone, on a desktop and in print.

    Figures are inside it, as drawings. It loads nothing, and its policy forbids that it does.

    **Raises:** `ValueError` if names are repeated.

    **Example:**

        >>> from syndigits_jax.report import Claim, Report, to_html
        >>> claim = Claim("quality.correlation", "They correlate at .42 (95% interval .37 to .47).")
        >>> page = to_html(Report("Twins & people", {"people": 760}, (claim,), ()))
        >>> print("<h1>Twins &amp; people</h1>" in page)
        True
    """
    report.check()
    style, script = (_packaged(name) for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'"
    )
    places = [(file_name(part.name), part.title) for part in report.sections]
    places = [("tables", "The tables"), *places, *([("notes", "Notes")] if report.notes else [])]
    lines = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(report.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>",
        '<a class="skip" href="#summary">To the summary</a>',
        f'<header id="summary">\n<h1>{_text(report.title)}</h1>\n<div class="lead">',
        *_sentences(report.summary),
        f"</div>\n{_how(report.summary)}</header>",
        '<nav aria-label="Contents">\n<h2>Contents</h2>\n<ol>',
        *(f'<li><a href="#section-{name}">{_text(title)}</a></li>' for name, title in places),
        "</ol>\n</nav>\n<main>",
        *_facts(report),
        *(line for part in report.sections for line in _section(part)),
    ]
    if report.notes:
        lines += ['<section id="section-notes">\n<h2>Notes</h2>', *_notes(report.notes)]
        lines.append("</section>")
    made = ", ".join(f"{name} {version}" for name, version in versions().items())
    lines += [
        "</main>\n<footer>",
        "<p>Every number of this report stands in full precision in <code>results.json</code>, "
        "under the names shown, beside the call that computes it.</p>",
        f"<p>Computed with {_text(made)}.</p>\n</footer>\n<script>{script}</script>",
        "</body>\n</html>\n",
    ]
    return "\n".join(line for line in lines if line)


def framed(report: Contents) -> str:
    """The page in a frame, for a notebook, whose style it then leaves alone."""
    frame = "width:100%;height:40rem;border:1px solid #8888"
    title = _text(report.title)
    return f'<iframe title="{title}" style="{frame}" srcdoc="{escape(to_html(report))}"></iframe>'


def _packaged(name: str) -> str:
    return (importlib.resources.files("syndigits_jax.report") / name).read_text(encoding="utf-8")


def _text(text: str) -> str:
    return escape(legible(text))


def _section(part: Section) -> Iterable[str]:
    yield f'<section id="section-{file_name(part.name)}">\n<h2>{_text(part.title)}</h2>'
    if part.claims:
        yield from ('<div class="claims">', *_sentences(part.claims), "</div>", _how(part.claims))
    for figure in part.figures:
        yield from _figure(figure)
    for table in part.tables:
        yield from _table(table)
    yield from _notes(part.notes)
    yield "</section>"


def _sentences(claims: Sequence[Claim]) -> list[str]:
    return [f"<p>{_text(claim.text)}</p>" for claim in claims]


def _how(claims: Sequence[Claim]) -> str:
    """The numbers of sentences and the calls that compute them, out of the way."""
    lines = []
    for claim in claims:
        if not (claim.values or claim.source):
            continue
        numbers = [f"{_text(name)} {_precise(value)}" for name, value in claim.values.items()]
        if claim.level is not None:
            numbers.append(f"level {claim.level:g}")
        lines.append(
            f"<dt><code>{_text(claim.name)}</code>: {', '.join(numbers) or 'no numbers'}</dt>"
        )
        if claim.source:
            lines.append(f"<dd><code>{_text(claim.source)}</code></dd>")
    if not lines:
        return ""
    return _folded("\n".join(["<dl>", *lines, "</dl>"]))


def _folded(inside: str) -> str:
    return f'<details class="how"><summary>How this was computed</summary>\n{inside}\n</details>'


def _precise(value: float | int) -> str:
    """Four significant digits: what a sentence rounds further."""
    return UNDEFINED if not math.isfinite(value) else f"{value:.4g}"


def _facts(report: Contents) -> list[str]:
    rows = (
        f'<tr><th scope="row">{_text(name)}</th><td>{_text(shown_fact(value))}</td></tr>'
        for name, value in report.facts.items()
    )
    return [
        '<section id="section-tables">\n<h2>The tables</h2>\n<table class="facts"><tbody>',
        *rows,
        "</tbody></table>\n</section>",
    ]


def _notes(notes: Sequence[str]) -> list[str]:
    if not notes:
        return []
    return ['<ul class="notes">', *(f"<li>{_text(note)}</li>" for note in notes), "</ul>"]


def _table(table: Table) -> Iterable[str]:
    title = f"table-{file_name(table.name)}"
    about = {"sortable": len(table.rows) >= _SORTABLE, "wide": len(table.columns) > _WIDE}
    kind = " ".join(name for name, true in about.items() if true)
    yield f'<div class="table">\n<h3 id="{title}">{_text(table.title)}</h3>'
    yield f'<div class="scroll" role="region" tabindex="0" aria-labelledby="{title}">'
    yield f'<table class="{kind}" aria-labelledby="{title}">\n<thead><tr>'
    kinds = {column.name: _kind(column, table) for column in table.columns}
    for column in table.columns:
        yield f'<th scope="col" class="{kinds[column.name]}">{_text(column.title)}</th>'
    yield "</tr></thead>"
    for part, rows in table.parts():
        yield "<tbody>"
        if part:
            # In a head of its own, so that the rows below can be sorted and counted.
            yield (
                f'<tr class="part"><th colspan="{len(table.columns)}" scope="rowgroup">'
                f"{_text(part)}</th></tr></tbody>\n<tbody>"
            )
        for row in rows:
            cells = (_cell(c, row, kinds[c.name], i == 0) for i, c in enumerate(table.columns))
            yield f"<tr>{''.join(cells)}</tr>"
        yield "</tbody>"
    yield "</table>\n</div>"
    rest = sum(max(len(rows) - _FIRST, 0) for _, rows in table.parts())
    if len(table.rows) > _WHOLE and rest:
        more = f'<span class="more">Show {rest} more rows</span>'
        of = " of each part" if table.part else ""
        fewer = f'<span class="fewer">Show the first {_FIRST} rows{of} only</span>'
        yield f'<details class="rest"><summary>{more}{fewer}</summary></details>'
    if not table.rows:
        yield '<p class="note">No rows.</p>'
    if table.note:
        yield f'<p class="note">{_text(table.note)}</p>'
    yield _source(table.name, table.source)
    yield "</div>"


def _kind(column: Column, table: Table) -> str:
    """The class of a column's cells: a number, a text, or a text that needs room."""
    if column.kind != "text":
        return "n"
    longest = max((len(str(row.get(column.name))) for row in table.rows), default=0)
    return "t long" if longest > _LONG else "t short" if longest <= _SHORT else "t"


def _cell(column: Column, row: Mapping[str, Cell], kind: str, first: bool) -> str:
    cell = row.get(column.name)
    text = _text(shown(cell, column))
    interval = shown_interval(row, column)
    if interval:
        text += f' <span class="ci">{interval}</span>'
    if kind == "n":
        number = cell if isinstance(cell, float | int) and math.isfinite(cell) else None
        return f'<td class="n" data-v="{"" if number is None else repr(float(number))}">{text}</td>'
    if first:
        return f'<th scope="row" class="{kind}">{text}</th>'
    return f'<td class="{kind}">{text}</td>'


def _figure(figure: Figure) -> Iterable[str]:
    name = file_name(figure.name)
    yield f'<figure id="figure-{name}">\n<h3>{_text(figure.title)}</h3>'
    yield f'<div class="plot" role="img" aria-label="{_text(figure.alt)}">'
    yield _classed(inline_svg(figure, f"{name}-wide-"), "wide")
    if figure.size[0] > 1.2 * _NARROW:
        yield _classed(inline_svg(figure, f"{name}-narrow-", _NARROW), "narrow")
    yield f"</div>\n<figcaption>{_text(figure.caption)}</figcaption>\n</figure>"


def _classed(svg: str, name: str) -> str:
    return svg.replace("<svg ", f'<svg class="{name}" ', 1)


def _source(name: str, source: str) -> str:
    if not source:
        return ""
    return _folded(f"<p><code>{_text(name)}</code>: <code>{_text(source)}</code></p>")
