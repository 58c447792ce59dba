"""Strict reading of delimited text files, with explanations of what is wrong with them."""

import contextlib
import csv
import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..tables.compressed import opened_bytes

SEPARATORS = {".csv": ",", ".tsv": "\t"}
_NAMES = {",": "','", ";": "';'", "\t": "a tab", "|": "'|'"}
_LONGEST_CELL = 2**31 - 1
_SHOWN = 3
IMPORT_ID = ('{"ImportId"', "{'ImportId'")
"""How the cells of Qualtrics' third header row start."""
# What Qualtrics writes below the names of its own columns.
_QUALTRICS = {
    "StartDate": "Start Date",
    "EndDate": "End Date",
    "RecordedDate": "Recorded Date",
    "ResponseId": "Response ID",
    "IPAddress": "IP Address",
}
_UTF_16 = "in UTF-16; save it as UTF-8 (in Excel: CSV UTF-8)"
_KINDS = {
    b"PK\x03\x04": "an Excel workbook or another zip archive; export it as CSV (UTF-8)",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; export it as CSV (UTF-8)",
    b"PAR1": "a Parquet file; name it .parquet",
    b"\x1f\x8b": "compressed with gzip; let its name end in .gz",
    b"\xff\xfe": _UTF_16,
    b"\xfe\xff": _UTF_16,
}


def read_delimited(
    path: Path, separator: str, key: str | None = None, *, utf_16: bool = False
) -> tuple[list[str], list[list[str]]]:
    """(header, rows) of a text file in UTF-8, possibly `.gz`; cells are not changed.

    Empty lines are skipped. **Arguments:** `path`, `separator`: the file, and what stands between
    its cells; `key`: the column that identifies rows in messages, by
    default the first; `utf_16`: read UTF-16 with a byte-order mark too.

    **Raises:** `ValueError`, which does not name the file, for files of another kind or encoding,
    quotes that are not closed, and rows that are shorter or longer than the header, with their
    lines; `OSError` if it cannot be opened.
    """
    _refuse_other_kinds(path, utf_16)
    rows: list[list[str]] = []
    return _checked(path, separator, key, rows.append, strict=True), rows


def refuse_ragged(path: Path, separator: str) -> None:
    """**Raises:** `ValueError` as [`read_delimited`][] does, except for stray quotes."""
    _refuse_other_kinds(path)
    _checked(path, separator, None, lambda row: None, strict=False)


def refuse_repeated(path: Path, separator: str) -> None:
    """**Raises:** `ValueError` for a header that has a name twice."""
    with opened_text(path) as file, contextlib.suppress(csv.Error):
        header = next(csv.reader(file, delimiter=separator), [])
        repeated = [name for i, name in enumerate(header) if name.strip() and name in header[:i]]
        if repeated:
            raise ValueError(f"two columns are called {repeated[0]!r}")


def refuse_qualtrics(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """**Raises:** `ValueError` for the texts that Qualtrics puts under the names.

    With its import ids below them the table is read as its export, and does not come here.
    """
    cells = [cell.strip() for cell in rows[0]] if rows else header
    if any(_QUALTRICS.get(name.strip()) == cell for name, cell in zip(header, cells, strict=True)):
        raise ValueError(
            "the first row under the header looks like Qualtrics' question texts; delete it, and "
            "keep only the identifier and the columns of numeric answers"
        )


def looks_separated(path: Path, separator: str) -> str:
    """A hint if another separator would split the first lines into equally many columns."""
    with opened_text(path) as file:
        lines = [line for line, _ in zip(file, range(20))]
    for other, name in _NAMES.items():
        if other == separator:
            continue
        try:
            found = [len(row) for row in csv.reader(lines, delimiter=other, strict=True) if row]
        except csv.Error:
            continue
        if found and found[0] > 1 and len(set(found)) == 1:
            advice = "name it .tsv" if other == "\t" else f"save it with {_NAMES[separator]}"
            if other == ",":
                advice = "name it .csv"
            return f"; it looks separated by {name}: {advice}"
    return ""


def opened_text(path: Path):
    """A text file, possibly `.gz`, in UTF-8, or in UTF-16 with a byte-order mark."""
    with opened_bytes(path) as file:
        wide = file.read(2) in (b"\xff\xfe", b"\xfe\xff")
    encoding = "utf-16" if wide else "utf-8-sig"
    return io.TextIOWrapper(opened_bytes(path), encoding=encoding, newline="")


def _checked(
    path: Path, separator: str, key: str | None, keep: Callable[[list[str]], Any], *, strict: bool
) -> list[str]:
    """The header; its rows go to `keep`, unless one of them has another length."""
    before = csv.field_size_limit(_LONGEST_CELL)  # by default less than a long persona
    try:
        lines = _rows(path, separator, strict)
        header = next(lines, (1, []))[1]
        ragged: list[tuple[int, list[str]]] = []
        for line, row in lines:
            if len(row) == len(header):
                keep(row)
            else:
                ragged.append((line, row))
    except UnicodeDecodeError:
        raise ValueError(_bad_encoding(path)) from None
    finally:
        csv.field_size_limit(before)
    if ragged:
        position = header.index(key) if key in header else 0
        more = all(len(row) > len(header) for _, row in ragged)
        raise ValueError(
            _ragged(ragged, header, position) + _hint(path, separator, ragged, more=more)
        )
    return header


def _rows(path: Path, separator: str, strict: bool) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not empty, each with the line it starts in."""
    with opened_text(path) as file:
        reader = csv.reader(file, delimiter=separator, strict=strict)
        while True:
            line = reader.line_num + 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise ValueError(
                    f'{error} in the row that starts in line {line}; a quote (") that is never '
                    "closed, or one inside a text that is not doubled?"
                ) from None
            if row and (len(row) > 1 or row[0].strip()):
                yield line, row


def _ragged(ragged: Sequence[tuple[int, list[str]]], header: Sequence[str], position: int) -> str:
    def named(line: int, row: Sequence[str]) -> str:
        who = f" ({row[position]!r:.40})" if position < len(row) else ""
        return f"line {line}{who} has {len(row)} cell{'' if len(row) == 1 else 's'}"

    shown = ", ".join(named(*one) for one in ragged[:_SHOWN])
    more = ", ..." if len(ragged) > _SHOWN else ""
    sizes = {len(row) > len(header) for _, row in ragged}
    kind = "other numbers of" if len(sizes) > 1 else "more" if sizes.pop() else "fewer"
    rows = "1 row has" if len(ragged) == 1 else f"{len(ragged)} rows have"
    return f"{rows} {kind} cells than the header ({len(header)} columns): {shown}{more}"


def _hint(
    path: Path, separator: str, ragged: Sequence[tuple[int, list[str]]], *, more: bool
) -> str:
    other = looks_separated(path, separator)
    if other:
        return other
    rows = [row for _, row in ragged]
    if more and all(not row[-1].strip() for row in rows):
        return "; a separator at the end of each row?"
    if separator == "," and more and all(_maybe_decimals(row) for row in rows):
        return "; a decimal comma (1,5 for 1.5)?"
    return ""


def _maybe_decimals(row: Sequence[str]) -> bool:
    numbers = [cell.strip().lstrip("+-").isdigit() for cell in row]
    return any(first and second for first, second in itertools.pairwise(numbers))


def _refuse_other_kinds(path: Path, utf_16: bool = False) -> None:
    zipped = path.suffix.lower() == ".gz"
    with opened_bytes(path) as file:
        start = file.read(1024)
    if utf_16 and start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return
    for magic, kind in _KINDS.items():
        if start.startswith(magic) and not (zipped and kind.startswith("compressed")):
            raise ValueError(f"it is {kind}")
    if start[1::2].count(0) > len(start) / 4 or start[0::2].count(0) > len(start) / 4:
        raise ValueError(f"it is {_UTF_16}")
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ValueError("it is a web page or XML, not a table")


def _bad_encoding(path: Path) -> str:
    """A message that names the first line that is not UTF-8."""
    with opened_bytes(path) as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return (
                    f"line {number} is not UTF-8 (byte 0x{line[error.start]:02x}): Latin-1 or "
                    "Windows-1252? Save it as UTF-8 (in Excel: CSV UTF-8)"
                )
    return "it is not UTF-8"
