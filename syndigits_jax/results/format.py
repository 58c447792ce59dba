"""Numbers as text for people: rounded for display, never for data files."""

import html
import math
from collections.abc import Sequence

UNDEFINED = "-"
_WIDTH = 80  # of a terminal


def fixed(value: float | None, digits: int = 3, *, undefined: str = UNDEFINED) -> str:
    """`digits` decimals, no minus before a zero; `undefined` where the value is not finite.

    **Example:**

        >>> from syndigits_jax.results.format import fixed
        >>> print(fixed(0.12345), fixed(-0.0001), fixed(float("nan")))
        0.123 0.000 -
    """
    if value is None or not math.isfinite(value):
        return undefined
    return f"{round(float(value), digits) + 0.0:.{digits}f}"


def with_error(mean: float | None, se: float | None, digits: int = 3) -> str:
    """`0.512 ± 0.005`; the mean alone where the standard error is not finite.

    **Example:**

        >>> from syndigits_jax.results.format import with_error
        >>> print(with_error(0.512, 0.0049), with_error(0.512, float("nan")))
        0.512 ± 0.005 0.512
    """
    text = fixed(mean, digits)
    if text == UNDEFINED or se is None or not math.isfinite(se):
        return text
    return f"{text} ± {fixed(se, digits)}"


def percent(share: float | None, digits: int = 0, *, undefined: str = UNDEFINED) -> str:
    """A share as percent: `42%`.

    **Example:**

        >>> from syndigits_jax.results.format import percent
        >>> print(percent(0.4249), percent(0.4249, 1), percent(float("nan")))
        42% 42.5% -
    """
    if share is None or not math.isfinite(share):
        return undefined
    return f"{fixed(100 * share, digits)}%"


def whole(count: float | int | None, *, undefined: str = UNDEFINED) -> str:
    """A count, with commas from 10,000 on.

    **Example:**

        >>> from syndigits_jax.results.format import whole
        >>> print(whole(1234), whole(12345), whole(None))
        1234 12,345 -
    """
    if count is None or not math.isfinite(count):
        return undefined
    rounded = round(count)
    return f"{rounded:,}" if abs(rounded) >= 10_000 else f"{rounded}"


def scientific(value: float | None, *, undefined: str = UNDEFINED) -> str:
    """Three decimals, or scientific notation with two for values below 0.01.

    **Example:**

        >>> from syndigits_jax.results.format import scientific
        >>> print(scientific(0.25), scientific(0.00025))
        0.250 2.50e-04
    """
    if value is None or not math.isfinite(value):
        return undefined
    return f"{value:.2e}" if value and abs(value) < 0.01 else fixed(value)


def as_published(value: float) -> str:
    """As the SYN-DIGITS paper prints divergences: 0.188, 23.54, 28558.

    **Example:**

        >>> from syndigits_jax.results.format import as_published
        >>> print(as_published(0.1884), as_published(23.541), as_published(28558.2))
        0.188 23.54 28558
    """
    return fixed(value, 0 if value >= 1000 else 2 if value >= 10 else 3, undefined=f"{value}")


def short(count: float | int) -> str:
    """`950`, `12.3 k`, `4.5 M`.

    **Example:**

        >>> from syndigits_jax.results.format import short
        >>> print(short(950), short(12300), short(4500000))
        950 12.3 k 4.5 M
    """
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return f"{count:.0f}"


def duration(seconds: float | int) -> str:
    """`42 s`, `3 min 20 s`, `5 h 12 min`.

    **Example:**

        >>> from syndigits_jax.results.format import duration
        >>> print(duration(42), "|", duration(200), "|", duration(18720))
        42 s | 3 min 20 s | 5 h 12 min
    """
    if not math.isfinite(seconds):
        return "unknown time"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def text_table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A small table for terminals: the first column from the left, the others from the right.

    **Arguments:** as of [`html_table`][]. The first column is cut where the table would be wider
    than 80 characters.

    **Example:**

        >>> from syndigits_jax.results.format import text_table
        >>> print(text_table("Panel", ["", "n"], [("users", 3), ("questions", 12)]))
        Panel
                    n
        users       3
        questions  12
    """
    cells = [[str(cell) for cell in row] for row in ([head] if any(head) else []) + [*rows]]
    others = [max(map(len, column)) + 2 for column in zip(*(row[1:] for row in cells), strict=True)]
    cells = [[_cut(row[0], max(_WIDTH - sum(others), 12)), *row[1:]] for row in cells]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in cells
    ]
    return "\n".join([title, *lines])


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def html_table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A small table for notebooks; what is in it is escaped.

    **Arguments:** `title`: above it; `head`: names of the columns, none if empty; `rows`: cells.

    **Example:**

        >>> from syndigits_jax.results.format import html_table
        >>> print(html_table("Panel", [], [("users", 3)]))
        <table><caption>Panel</caption><tr><td>users</td><td>3</td></tr></table>
    """

    def line(cells: Sequence[object], tag: str) -> str:
        return "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells)

    lines = [f"<tr>{line(head, 'th')}</tr>"] if head else []
    lines += [f"<tr>{line(row, 'td')}</tr>" for row in rows]
    return f"<table><caption>{html.escape(title)}</caption>{''.join(lines)}</table>"
