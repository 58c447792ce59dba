"""Tables in files: one way to open them all, and those of text, whose cells are unchanged.

[`open_table`][] is what every reader of a table goes through; the readers differ in what they make
of cells: text here, numbers in `tables`, and whatever public rating files hold in `rating_files`.
"""

import csv
import json
import tomllib
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from ..results.files import replacing
from ..solvers.boundary import is_missing
from ..tables.frames import as_pandas_columns, frame_rows, import_pandas, is_frame, read_parquet
from ..tables.responses import identifiers
from .delimited import SEPARATORS, read_delimited

PARQUET = (".parquet", ".pq")
TABLES = (*SEPARATORS, *PARQUET)


def suffix_of(path: Path) -> str:
    """The suffix that determines the format, in lower case, without `.gz`."""
    suffixes = [s.lower() for s in path.suffixes if s.lower() != ".gz"]
    return suffixes[-1] if suffixes else ""


class TableError(ValueError):
    """A `ValueError` whose message names the file."""


def open_table(path: str | PathLike[str], readers: Mapping[str, Callable[[Path], Any]]) -> Any:
    """What the reader for a file's format returns.

    **Arguments:** `path`: the file, possibly `.gz`; `readers`: by suffix, such as `.csv`. They
    return something whose length is the number of rows, or a pair that ends in such.

    **Raises:** `FileNotFoundError`; [`TableError`][] if the file is of another format, cannot be
    read, or has no rows; `ImportError` without pandas or pyarrow.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    suffix = suffix_of(path)
    if suffix == ".zip":
        raise TableError(f"{path}: is a zip archive: unzip it, and give the table in it")
    if suffix not in readers:
        *text, last = (one for one in readers if one not in (".pq", ".json"))
        raise TableError(
            f"{path}: unknown table format; expected {', '.join(text)} (also .gz) or {last}"
        )
    try:
        content = readers[suffix](path)
    except TableError:
        raise
    except (ValueError, OSError, EOFError, zlib.error, RecursionError, OverflowError) as error:
        raise TableError(f"{path}: cannot be read as a table ({error})") from error
    if not len(content[-1] if isinstance(content, tuple) else content):
        raise TableError(f"{path}: has column names, but no rows")
    return content


def parquet_columns(path: Path) -> Any:
    """A Parquet file as a data frame; an index that it stores is the first columns."""
    pd = import_pandas()
    return as_pandas_columns(read_parquet(pd, path))


def read_rows(path: str | PathLike[str] | Any) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """(column names, rows) of a `.csv` or `.tsv` (UTF-8, also `.gz`) or `.parquet` file, or of a
    data frame.

    All cells are text, exactly as written; missing ones are "".

    **Raises:** `FileNotFoundError`; `ValueError` naming the file if it cannot be read, has no rows,
    repeats a column or has a row of another length than its header; `ImportError` for Parquet
    without pandas and pyarrow.
    """
    return _frame_text(path) if is_frame(path) else open_table(path, _TEXT)


def write_rows(
    path: str | PathLike[str], header: Sequence[str], rows: Iterable[Sequence[str]]
) -> None:
    """Write a table of text, or nothing at all. **Raises:** `ValueError` for another suffix."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in SEPARATORS:
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out, delimiter=SEPARATORS[suffix], quoting=csv.QUOTE_ALL)
            writer.writerow(header)
            writer.writerows(rows)
    elif suffix in PARQUET:
        frame = import_pandas().DataFrame(list(rows), columns=list(header), dtype=object)
        with replacing(path) as temporary:
            frame.to_parquet(temporary, index=False)
    else:
        raise ValueError(f"{path}: unknown table format; expected .csv, .tsv or .parquet")


def read_json(path: Path) -> Any:
    """The JSON document in a file. **Raises:** `FileNotFoundError`; `ValueError` naming the file,
    also for repeated names."""
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        return parse_json(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: cannot be read as JSON ({error})") from error


def parse_toml(content: bytes) -> dict[str, Any]:
    """A TOML document. **Raises:** `ValueError`, with the line where there is one."""
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not a TOML file in UTF-8 ({error})") from None


def parse_json(text: str) -> Any:
    """A JSON document. **Raises:** `ValueError`, also for repeated names and NaN or Infinity."""
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)


def entry_text(entry: Mapping[str, Any], key: str) -> str:
    """The text at `key`, "" where there is none. **Raises:** `ValueError` naming the key."""
    return as_text(entry.get(key, ""), f"`{key}`")


def as_text(value: Any, what: str) -> str:
    """Text, or a number as text. **Raises:** `ValueError` naming `what`, also for lone surrogates
    (half a character), which JSON can hold but UTF-8 cannot."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            half = ascii(value[error.start])
            raise ValueError(
                f"{what} has half a character ({half} at position {error.start}): cut off in the "
                "middle of an emoji?"
            ) from None
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return as_cell(value)
    raise ValueError(f"{what} must be text, got {value!r:.80}")


def text_mapping(value: Any, what: str) -> dict[str, str]:
    """Names and texts. **Raises:** `ValueError` naming `what`."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} must be an object of names and texts, got {value!r:.80}")
    return {
        as_text(str(name), f"a name in {what}"): as_text(text, f"{what} {name!r}")
        for name, text in value.items()
    }


def known_keys(entry: Any, known: Iterable[str]) -> Mapping[str, Any]:
    """`entry`, if it is an object with none but `known` keys. **Raises:** `ValueError`."""
    if not isinstance(entry, Mapping):
        raise ValueError(f"expected an object, got {entry!r:.80}")
    unknown = [key for key in entry if key not in set(known)]
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}; known are {', '.join(known)}")
    return entry


def unique(path: Path, names: Sequence[Any]) -> tuple[str, ...]:
    """`names` as identifiers. **Raises:** `ValueError` naming the file, as `identifiers` does."""
    try:
        return identifiers(names, "identifier")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _delimited(path: Path) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    header, cells = read_delimited(path, SEPARATORS[suffix_of(path)])
    return _columns(header), [tuple(row) for row in cells]


def _parquet(path: Path) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    return _frame_text(parquet_columns(path))


def _frame_text(frame: Any) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    names, columns = frame_rows(frame)
    cells = [[as_cell(value) for value in column] for column in columns]
    return _columns([str(name) for name in names]), list(zip(*cells, strict=True))


_TEXT = dict.fromkeys(SEPARATORS, _delimited) | dict.fromkeys(PARQUET, _parquet)


def _columns(header: Sequence[str]) -> tuple[str, ...]:
    if not header:
        raise ValueError("it is empty")
    names = tuple(name.strip() for name in header)
    repeated = [name for i, name in enumerate(names) if name in names[:i]]
    if repeated:
        raise ValueError(f"two columns are called {repeated[0]!r}")
    return names


def as_cell(value: Any) -> str:
    """A cell as text: "" for a missing one, whole numbers without a decimal point."""
    if is_missing(value):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"{repeated!r} is given twice")
    return out


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
