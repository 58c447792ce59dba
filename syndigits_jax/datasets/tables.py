"""Users' own tables: CSV and Parquet files with one row per respondent, one column per question."""

import zlib
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from ..panel import Panel
from ..schema import ScaleLike
from ..tables.cells import MissingCodes, refuse_unusable
from ..tables.frames import import_pandas, read_parquet
from ..tables.responses import identifier, identifiers
from .columns import parse_column
from .delimited import SEPARATORS, looks_separated, read_delimited, refuse_qualtrics
from .text_tables import PARQUET, suffix_of


def read_table(
    path: str | PathLike[str],
    id_column: str | None = None,
    *,
    missing: str | Iterable[Any] | MissingCodes = (),
    numeric: bool = True,
) -> Any:
    """A response table as a pandas data frame: respondents in the index, questions in the columns.

    Numbers keep all their digits, and whole numbers stay whole.

    **Arguments:**

    - `path`: a `.csv` or `.tsv` file (UTF-8, possibly `.gz`) or a `.parquet` file.
    - `id_column`: the column of respondent identifiers; by default the index that a Parquet file
      stores, or else the first column. Identifiers are text, so leading zeros survive and a
      respondent may be called NA.
    - `missing`: further codes of a missing answer, beside empty cells, NA and the like: texts
      (whatever their case) and numbers (-99 is -99.0 too), or these in one text, separated by
      commas. Codes that no cell holds cause a warning.
    - `numeric`: refuse columns that hold anything but numbers. If false, they are kept unchanged,
      for the caller to drop.

    **Raises:** `FileNotFoundError` if there is no such file; `ValueError` naming the file if it is
    empty or has no rows, is of another format, not readable, has no column `id_column`, repeats or
    omits column names, has rows longer or shorter than its header, the extra headers of Qualtrics,
    or cells that are not numbers (all are listed); `ImportError` without pandas (and, for
    Parquet, pyarrow).

    **Example:**

        >>> import tempfile
        >>> from pathlib import Path
        >>> import pandas as pd
        >>> from syndigits_jax.datasets import read_table
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "human.csv"
        ...     pd.DataFrame({"id": ["007", "008"], "q1": [1, 2]}).to_csv(path, index=False)
        ...     table = read_table(path)
        >>> print(table.index.tolist(), table["q1"].tolist())
        ['007', '008'] [1, 2]
    """
    codes = MissingCodes.of(missing)
    pd = import_pandas()
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    suffix = suffix_of(path)
    try:
        if suffix in SEPARATORS:
            frame = _read_text(pd, path, SEPARATORS[suffix], id_column, codes)
        elif suffix in PARQUET:
            frame = _read_parquet(pd, path, id_column, codes)
        else:
            raise _TableError(
                f"{path}: unknown table format; expected .csv, .tsv (also .gz) or .parquet"
            )
    except (ValueError, OSError, EOFError, zlib.error) as error:  # Arrow's own among them
        if isinstance(error, _TableError):
            raise
        raise _TableError(f"{path}: cannot be read as a table ({error})") from error
    if not len(frame):
        raise _TableError(f"{path}: has column names, but no rows")
    if numeric:
        refuse_unusable(frame, str(path))
    if codes is not missing:  # else there is more to read
        codes.warn_unmet(str(path))
    return frame


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
    missing: str | Iterable[Any] = (),
) -> Panel:
    """A panel from two response tables, aligned by respondent and question identifiers.

    **Arguments:**

    - `human`, `twin`: paths of the two tables, as in [`read_table`][].
    - `id_column`, `missing`: as in [`read_table`][], for all tables.
    - `join`, `new_questions`, `new_users`: what to do with respondents and questions that only one
      table has; as in `Panel.from_frames`.
    - `name`: of the panel.
    - `scale`: the answer scale of all questions, or by question; as in `Panel.from_arrays`.
    - `controls`: paths of tables with further predictions of `human`, by name.

    **Raises:** `FileNotFoundError`, `ValueError`, `ImportError` as these two do.

    **Example:**

        >>> import tempfile
        >>> from pathlib import Path
        >>> import pandas as pd
        >>> from syndigits_jax.datasets import load_panel
        >>> human = pd.DataFrame({"q1": [1, 5], "q2": [2, 4]}, index=["ann", "bob"])
        >>> twin = pd.DataFrame({"q2": [5, 1], "q1": [3, 1]}, index=["bob", "ann"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     paths = Path(folder) / "human.csv", Path(folder) / "twin.csv"
        ...     human.to_csv(paths[0])
        ...     twin.to_csv(paths[1])
        ...     panel = load_panel(*paths)
        >>> print(panel.users, panel.twin.tolist())
        ('ann', 'bob') [[1.0, 1.0], [3.0, 5.0]]
    """
    return Panel.from_frames(
        read_table(human, id_column, numeric=False),
        read_table(twin, id_column, numeric=False),
        join=join,
        new_questions=new_questions,
        new_users=new_users,
        name=name,
        scale=scale,
        controls={
            key: read_table(path, id_column, numeric=False)
            for key, path in (controls or {}).items()
        },
        missing=missing,
    )


class _TableError(ValueError):
    """A `ValueError` whose message already names the file."""


def _read_text(
    pd: Any, path: Path, separator: str, id_column: str | None, codes: MissingCodes
) -> Any:
    header, rows = read_delimited(path, separator, id_column)
    if len(header) < 2:
        raise _TableError(
            f"{path}: needs a header with an identifier and at least one question, separated by "
            f"{separator!r}; got {header}{looks_separated(path, separator)}"
        )
    try:
        refuse_qualtrics(header, rows)
    except ValueError as error:
        raise _TableError(f"{path}: {error}") from None
    key = header[0] if id_column is None else id_column
    if key not in header:
        raise _TableError(f"{path}: no column {key!r} (`id_column`)")
    position = header.index(key)
    questions = _named(path, [name for j, name in enumerate(header) if j != position])
    columns = list(zip(*rows)) or [()] * len(header)
    names = [cell or None for cell in columns.pop(position)]
    index = pd.Index(names, name=key or None, dtype=object)
    cells = {
        j: parse_column(pd, codes.blanked(column) if codes else column)
        for j, column in enumerate(columns)
    }
    frame = pd.DataFrame(cells, index=index)
    return frame.set_axis(pd.Index(questions, dtype=object), axis=1)


def _read_parquet(pd: Any, path: Path, id_column: str | None, codes: MissingCodes) -> Any:
    frame = read_parquet(pd, path)
    stored = not isinstance(frame.index, pd.RangeIndex)
    if id_column is not None and id_column != frame.index.name:
        if id_column not in frame.columns:
            raise _TableError(f"{path}: no column {id_column!r} (`id_column`)")
        frame = frame.set_index(id_column)
    elif not stored:
        frame = frame.set_index(frame.columns[0])
    _named(path, list(frame.columns))
    if frame.index.nlevels == 1:
        names = [identifier(name) for name in frame.index]
        frame.index = pd.Index(names, name=frame.index.name, dtype=object)
    return codes.masked(frame) if codes else frame


def _named(path: Path, questions: list[Any]) -> list[str]:
    try:
        return list(identifiers(questions, "columns"))
    except ValueError as error:
        raise _TableError(f"{path}: {error}") from None
