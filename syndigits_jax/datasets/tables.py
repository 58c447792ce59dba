"""Users' own tables: CSV and Parquet files with one row per respondent, one column per question."""

import csv
import gzip
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from .._frames import import_pandas, read_parquet
from .._responses import identifiers
from ..panel import Panel
from ..schema import ScaleLike

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_PARQUET = (".parquet", ".pq")


def read_table(path: str | PathLike[str], id_column: str | None = None) -> Any:
    """A response table as a pandas data frame: respondents in the index, questions in the columns.

    **Arguments:**

    - `path`: a `.csv` or `.tsv` file (UTF-8, possibly `.gz`) or a `.parquet` file.
    - `id_column`: the column of respondent identifiers; by default the index that a Parquet file
      stores, or else the first column. Identifiers are read as text, so leading zeros survive
      and a respondent may be called NA.

    **Raises:** `FileNotFoundError` if there is no such file; `ValueError` naming the file if it is
    empty or has no rows, is of another format, not readable, has no column `id_column`, or repeats
    or omits column names; `ImportError` without pandas (and, for Parquet, pyarrow).
    """
    pd = import_pandas()
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    suffixes = [s.lower() for s in path.suffixes if s.lower() != ".gz"]
    suffix = suffixes[-1] if suffixes else ""
    try:
        frame = None
        if suffix in _SEPARATORS:
            frame = _read_text(pd, path, _SEPARATORS[suffix], id_column)
        elif suffix in _PARQUET:
            frame = _read_parquet(pd, path, id_column)
        if frame is not None:
            if not len(frame):
                raise _TableError(f"{path}: has column names, but no rows")
            return frame
    except (ValueError, OSError) as error:  # UnicodeDecodeError and pandas' and Arrow's own
        if isinstance(error, _TableError):
            raise
        raise _TableError(f"{path}: cannot be read as a table ({error})") from error
    raise ValueError(f"{path}: unknown table format; expected .csv, .tsv (also .gz) or .parquet")


def load_panel(
    human: str | PathLike[str],
    twin: str | PathLike[str],
    *,
    id_column: str | None = None,
    join: str = "error",
    new_questions: bool = False,
    new_users: bool = False,
    name: str = "",
    scale: ScaleLike | Mapping[Any, ScaleLike] | None = None,
    controls: Mapping[str, str | PathLike[str]] | None = None,
) -> Panel:
    """A panel from two response tables, aligned by respondent and question identifiers.

    **Arguments:** paths as in [`read_table`][]; the others as in `Panel.from_frames`.

    **Raises:** `FileNotFoundError`, `ValueError`, `ImportError` as these two do.
    """
    return Panel.from_frames(
        read_table(human, id_column),
        read_table(twin, id_column),
        join=join,
        new_questions=new_questions,
        new_users=new_users,
        name=name,
        scale=scale,
        controls={key: read_table(path, id_column) for key, path in (controls or {}).items()},
    )


class _TableError(ValueError):
    """A `ValueError` whose message already names the file."""


def _read_text(pd: Any, path: Path, separator: str, id_column: str | None) -> Any:
    header = _header(path, separator)
    key = header[0] if id_column is None else id_column
    if key not in header:
        raise _TableError(f"{path}: no column {key!r} (`id_column`)")
    position = header.index(key)
    # pandas renames repeated columns silently (Q1, Q1.1), hence our own look at the header.
    questions = _named(path, [name for j, name in enumerate(header) if j != position])
    frame = pd.read_csv(
        path, sep=separator, encoding="utf-8-sig", dtype={position: str}, low_memory=False
    )
    if len(frame.columns) != len(header) or not isinstance(frame.index, pd.RangeIndex):
        raise _TableError(f"{path}: rows have more cells than the header has columns")
    # Read again as they stand: a respondent may be called NA.
    text = {"sep": separator, "encoding": "utf-8-sig", "dtype": str, "keep_default_na": False}
    names = pd.read_csv(path, usecols=[position], **text).iloc[:, 0]
    names = names.where(names != "", None)
    index = pd.Index(names, name=key or None, dtype=object)
    frame = frame.drop(columns=frame.columns[position])
    frame.columns = pd.Index(questions, dtype=object)
    return frame.set_axis(index, axis=0)


def _header(path: Path, separator: str) -> list[str]:
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file, delimiter=separator), [])
    if len(header) < 2:
        raise _TableError(
            f"{path}: needs a header with an identifier and at least one question, separated by "
            f"{separator!r}; got {header}"
        )
    return header


def _read_parquet(pd: Any, path: Path, id_column: str | None) -> Any:
    frame = read_parquet(pd, path)
    stored = not isinstance(frame.index, pd.RangeIndex)
    if id_column is not None and id_column != frame.index.name:
        if id_column not in frame.columns:
            raise _TableError(f"{path}: no column {id_column!r} (`id_column`)")
        frame = frame.set_index(id_column)
    elif not stored:
        frame = frame.set_index(frame.columns[0])
    _named(path, list(frame.columns))
    return frame


def _named(path: Path, questions: list[Any]) -> list[str]:
    try:
        return list(identifiers(questions, "columns"))
    except ValueError as error:
        raise _TableError(f"{path}: {error}") from None
