"""The files of a report."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..datasets.tables import write_table
from ..results.files import replacing, together, write_text
from ..results.records import RESULTS, write_document
from .cells import file_columns, no_formula
from .contents import Contents, Table, file_name
from .figures import FIGURE_FORMATS, figure_files
from .html import to_html
from .markdown import to_markdown
from .record import to_json

FORMATS = ("html", "markdown", "csv", "json", *FIGURE_FORMATS)
"""What `write_report` writes unless told otherwise."""


def write_report(
    report: Contents,
    folder: str | Path,
    *,
    formats: Sequence[str] = FORMATS,
    figure_width: float | int | None = None,
    font_size: float | int | None = None,
) -> list[Path]:
    """Write a report: `report.html`, `report.md`, `results.json`, `tables/NAME.csv` and
    `figures/NAME.png`, `.svg` and `.pdf`.

    All of them are whole before the first takes its place, and `results.json` comes last. Equal
    numbers give equal files. In the `.csv` files a text that a
    spreadsheet would take for a formula (=, +, - or @ first) has an apostrophe before it.

    **Arguments:** `report`; `folder`: made if absent; `formats`: which of [`FORMATS`][].
    `figure_width`: of the files of figures, in inches, and `font_size` of their texts, in points,
    as a paper needs them: 3.3 and 8 for a column. The page has its own.

    **Returns:** the files written, `results.json` last.

    **Raises:** `ValueError` for an unknown format, a width or size that is not positive, or if
    names are repeated;
    `OSError` naming a file that cannot be written.

    **Example:**

        >>> import tempfile
        >>> from syndigits_jax.report import Claim, Report, write_report
        >>> claim = Claim("quality.correlation", "They correlate at .42 (95% interval .37 to .47).")
        >>> report = Report("Twins", {"people": 760}, (claim,), ())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     print([path.name for path in write_report(report, folder)])
        ['report.html', 'report.md', 'results.json']
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise ValueError(f"formats: {unknown[0]!r} is none of {', '.join(FORMATS)}")
    check_figure_sizes(figure_width, font_size)
    report.check()
    folder = Path(folder)
    drawn = [name for name in FIGURE_FORMATS if name in formats]
    writers: dict[Path, Callable[[Path], Any]] = {}
    for name, figure in report.figures().items():
        for kind, content in figure_files(figure, drawn, figure_width, font_size).items():
            writers[folder / "figures" / f"{file_name(name)}.{kind}"] = _bytes(content)
    if "csv" in formats:
        for name, table in report.tables().items():
            writers[folder / "tables" / f"{file_name(name)}.csv"] = _table(table)
    if "html" in formats:
        writers[folder / "report.html"] = _text(to_html(report))
    if "markdown" in formats:
        images = "figures" if "png" in formats else None
        writers[folder / "report.md"] = _text(to_markdown(report, images))
    if "json" in formats:
        document = to_json(report)
        writers[folder / RESULTS] = lambda path: write_document(path, document, {})
    with together():
        for path, write in writers.items():
            write(path)
    return list(writers)


def check_figure_sizes(
    figure_width: float | int | None = None, font_size: float | int | None = None
) -> None:
    """Check the sizes of figures before any work. **Raises:** `ValueError` naming the argument."""
    for name, size, unit in (
        ("figure_width", figure_width, "inches"), ("font_size", font_size, "points"),
    ):  # fmt: skip
        if size is not None and not 0 < size < float("inf"):
            raise ValueError(f"`{name}` must be a positive number of {unit}, got {size}")


def _bytes(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with replacing(path) as temporary:
            temporary.write_bytes(content)

    return write


def _text(text: str) -> Callable[[Path], None]:
    return lambda path: write_text(path, text)


def _table(table: Table) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        import pandas as pd

        names = file_columns(table)
        columns = {name: [no_formula(row.get(name)) for row in table.rows] for name in names}
        frame = pd.DataFrame(columns, columns=names, dtype=object)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_table(path, frame.set_index(names[0]))

    return write
