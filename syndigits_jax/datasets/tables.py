"""Users' own tables: CSV and Parquet files with one row per respondent, one column per question."""

import csv
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from ..panel import Panel
from ..results.files import replacing, together
from ..schema import ScaleLike
from ..tables.cells import MissingCodes, refuse_unusable
from ..tables.frames import as_pandas, import_pandas, indexed, is_frame, read_parquet
from ..tables.responses import identifier, identifiers
from .columns import as_parquet_frame, as_text_frame, parse_column
from .delimited import SEPARATORS, looks_separated, read_delimited, refuse_qualtrics
from .surveys.files import is_survey, read_answers
from .text_tables import PARQUET, TableError, open_table, suffix_of


def read_table(
    path: str | PathLike[str] | Any,
    id_column: str | None = None,
    *,
    missing: str | Iterable[Any] | MissingCodes = (),
    numeric: bool = True,
    questions: str | PathLike[str] | Any | None = None,
    argument: str = "path",
) -> Any:
    """A response table as a pandas data frame: respondents in the index, questions in the columns.

    Numbers keep all their digits, and whole numbers stay whole.

    **Arguments:**

    - `path`: a `.csv` or `.tsv` file (UTF-8, possibly `.gz`) or a `.parquet` file; an export of
      Qualtrics with its three header rows, as [`read_qualtrics`][] reads it; or an SPSS or Stata
      file, as [`read_spss`][] and [`read_stata`][] do. A warning says what these leave out. Or a
      data frame of pandas, polars or Arrow, which is not changed.
    - `id_column`: the column of respondent identifiers; by default the index that a Parquet file
      stores, or else the first column (in an export of Qualtrics, the response identifier). Of a
      pandas data frame it is the index, of others the first column, of text or whole numbers.
      Identifiers are text, so leading zeros survive and a respondent may be called NA.
    - `missing`: further codes of a missing answer, beside empty cells, NA and the like: texts
      (whatever their case) and numbers (-99 is -99.0 too), or these in one text, separated by
      commas. Codes that no cell holds cause a warning.
    - `numeric`: refuse columns that hold anything but numbers. If false, they are kept unchanged,
      for the caller to drop.
    - `questions`: where `path` is an export of Qualtrics, its questionnaire (`.qsf`), which has the
      codes of texts; other files of questions change nothing.
    - `argument`: what messages call a data frame.

    **Raises:** `FileNotFoundError` if there is no such file; `ValueError` naming the file if it is
    empty or has no rows, is of another format, not readable, has no column `id_column`, repeats or
    omits column names, has rows longer or shorter than its header, the texts but not the import
    identifiers of Qualtrics under it, or cells that are not numbers (all are listed); `ImportError`
    without pandas (and, for Parquet, pyarrow; for SPSS and Stata, pyreadstat).

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
    import_pandas()  # its absence is said first
    if is_frame(path):
        return _given(path, argument, id_column, codes, numeric, codes is not missing)
    if not isinstance(path, str | PathLike):
        raise ValueError(
            f"`{argument}` must be the path of a table or a data frame, got {type(path).__name__}; "
            "arrays have no identifiers: see `Panel.from_arrays`"
        )
    path = Path(path)

    def text(path: Path) -> Any:
        return _read_text(path, SEPARATORS[suffix_of(path)], id_column, codes)

    def parquet(path: Path) -> Any:
        return _read_parquet(path, id_column, codes)

    if is_survey(path):
        answers = read_answers(path, id_column, None if is_frame(questions) else questions)
        frame = codes.masked(answers) if codes else answers
    else:
        frame = open_table(path, dict.fromkeys(SEPARATORS, text) | dict.fromkeys(PARQUET, parquet))
    if numeric:
        refuse_unusable(frame, str(path))
    if codes is not missing:  # else there is more to read
        codes.warn_unmet(str(path))
    return frame


def load_panel(
    human: str | PathLike[str] | Any,
    twin: str | PathLike[str] | Any,
    *,
    id_column: str | None = None,
    join: str = "error",
    new_questions: bool = False,
    new_users: bool = False,
    name: str = "",
    scale: ScaleLike | Mapping[Any, ScaleLike] | None = None,
    controls: Mapping[str, str | PathLike[str] | Any] | None = None,
    missing: str | Iterable[Any] = (),
    questions: str | PathLike[str] | None = None,
) -> Panel:
    """A panel from two response tables, aligned by respondent and question identifiers.

    **Arguments:**

    - `human`, `twin`: paths of the two tables, or data frames, as in [`read_table`][].
    - `id_column`, `missing`, `questions`: as in [`read_table`][], for all tables.
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
        read_table(human, id_column, numeric=False, questions=questions, argument="human"),
        read_table(twin, id_column, numeric=False, questions=questions, argument="twin"),
        join=join,
        new_questions=new_questions,
        new_users=new_users,
        name=name,
        scale=scale,
        controls={
            key: read_table(
                path, id_column, numeric=False, questions=questions, argument=f"controls[{key!r}]"
            )
            for key, path in (controls or {}).items()
        },
        missing=missing,
    )


def write_table(path: str | PathLike[str], frame: Any) -> None:
    """Write a data frame with its index as `.csv`, `.tsv` or `.parquet`, replacing the whole file.

    Of a frame of polars or Arrow the first column stands for an index. [`read_table`][] restores
    the same content: numbers have enough digits to be exact in their precision, integers have no
    decimal point, identifiers are unchanged. So an identifier that begins with "=" is a formula
    where a spreadsheet opens the file; the tables of a report, which are for reading only, have an
    apostrophe before it.

    **Raises:** `ValueError` for another suffix.
    """
    write_tables({path: frame})


def write_tables(frames: Mapping[Any, Any]) -> None:
    """Write several tables as [`write_table`][] does, all of them or none.

    They take their places when the last is whole, the first of them last.

    **Raises:** `ValueError` for another suffix, before anything is written.
    """
    for path in frames:
        check_table_path(path)
    with together():
        for path, frame in reversed(list(frames.items())):
            with replacing(path) as temporary:
                _write(temporary, frame)


def _write(temporary: Path, frame: Any) -> None:
    frame = indexed(frame)
    suffix = temporary.suffix.lower()
    if suffix in SEPARATORS:
        text = as_text_frame(frame)
        labels = [str(frame.index.name or ""), *map(str, text.columns), *text.index]
        # Python does not quote carriage returns, and readers drop an unquoted byte-order mark.
        quoted = labels[0].startswith("\ufeff") or any("\r" in label for label in labels)
        quoted = quoted or any("\r" in cell for column in text for cell in text[column])
        quoting = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
        form = {"sep": SEPARATORS[suffix], "quoting": quoting, "lineterminator": "\n"}
        text.to_csv(temporary, **form)
    else:
        as_parquet_frame(frame).to_parquet(temporary)


def check_table_path(path: str | PathLike[str]) -> None:
    """Check, before any work is done, that a table can be written to a path.

    **Raises:** `ValueError` for an unknown suffix or a folder.
    """
    path = Path(path)
    if path.suffix.lower() not in (*SEPARATORS, ".parquet"):
        raise ValueError(f"{path}: unknown table format; expected .csv, .tsv or .parquet")
    if path.is_dir():
        raise ValueError(f"{path}: is a folder")


def _given(
    frame: Any, argument: str, id_column: str | None, codes: MissingCodes, numeric: bool, last: bool
) -> Any:
    """A data frame as [`read_table`][] returns it; `last`: whether no other table has the codes."""
    pd = import_pandas()
    frame = as_pandas(frame, argument, id_column)
    users = identifiers(frame.index, f"{argument} (rows)")
    questions = identifiers(frame.columns, f"{argument} (columns)")
    frame = frame.set_axis(pd.Index(questions, dtype=object), axis=1)
    frame = frame.set_axis(pd.Index(users, name=frame.index.name, dtype=object))
    frame = codes.masked(frame) if codes else frame
    if numeric:
        refuse_unusable(frame, f"`{argument}`")
    if last:
        codes.warn_unmet(f"`{argument}`")
    return frame


def _read_text(path: Path, separator: str, id_column: str | None, codes: MissingCodes) -> Any:
    pd = import_pandas()
    header, rows = read_delimited(path, separator, id_column)
    if len(header) < 2:
        raise TableError(
            f"{path}: needs a header with an identifier and at least one question, separated by "
            f"{separator!r}; got {header}{looks_separated(path, separator)}"
        )
    try:
        refuse_qualtrics(header, rows)
    except ValueError as error:
        raise TableError(f"{path}: {error}") from None
    key = header[0] if id_column is None else id_column
    if key not in header:
        raise TableError(f"{path}: no column {key!r} (`id_column`)")
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


def _read_parquet(path: Path, id_column: str | None, codes: MissingCodes) -> Any:
    pd = import_pandas()
    frame = read_parquet(pd, path)
    stored = not isinstance(frame.index, pd.RangeIndex)
    if id_column is not None and id_column != frame.index.name:
        if id_column not in frame.columns:
            raise TableError(f"{path}: no column {id_column!r} (`id_column`)")
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
        raise TableError(f"{path}: {error}") from None
