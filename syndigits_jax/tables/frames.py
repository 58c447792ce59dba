"""The boundary of data frames: any kind of them comes in, and the kind that is asked for goes out.

pandas, polars, Arrow and what else narwhals knows or offers Arrow's stream protocol. Behind it
are NumPy's columns and, where files are read and written, pandas data frames.
"""

import dataclasses
import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..solvers.boundary import is_missing, listed
from .compressed import ExpansionError
from .parquet import refuse_expanding_parquet

Table = Any
"""A table: the path of a file, or a data frame of pandas, polars or Arrow."""

BACKENDS = ("pandas", "polars", "pyarrow")
"""Kinds of data frames that results can be had in."""


def import_pandas() -> Any:
    """The pandas module. **Raises:** `ImportError` that says how to install it."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            'tables need pandas, which is not installed: pip install "syndigits-jax[study]"'
        ) from error
    return pandas


def read_parquet(pd: Any, path: Path) -> Any:
    """A Parquet file as a data frame.

    **Raises:** `ImportError` that says what to install; `OSError` if it cannot be opened;
    `ValueError`, which does not name the file, if it cannot be read.
    """
    try:
        refuse_expanding_parquet(path)
        frame = pd.read_parquet(path)
        for j, kind in enumerate(frame.dtypes):
            if pd.api.types.is_string_dtype(kind):  # whose bytes Arrow looks at late
                frame.iloc[:, j].to_numpy(dtype=object)
        if pd.api.types.is_string_dtype(frame.index.dtype):
            frame.index.to_numpy(dtype=object)
        return frame
    except ImportError as error:
        raise ImportError(
            'Parquet files need pyarrow, which is not installed: pip install "syndigits-jax[study]"'
        ) from error
    except (ExpansionError, OSError):
        raise
    except Exception as error:  # Arrow's own classes have nothing else in common
        raise ValueError(f"{type(error).__name__}: {error}") from error


def is_frame(values: Any) -> bool:
    """Whether `values` is a data frame of any kind (nothing is imported to find out)."""
    if _is_pandas(values):
        return True
    names = ("columns", "column_names", "to_native")
    return hasattr(values, "__arrow_c_stream__") and any(hasattr(values, name) for name in names)


@dataclass(frozen=True, eq=False)
class OpenFrame:
    """The rows and columns of a data frame.

    - `labels`: (n,) identifiers of the rows, as the frame has them; `key`: what they are called,
      `None` where they have no name; `place`: what messages call them.
    - `names`: (m,) of the columns.
    - `cells`: by column, (n,): numbers and dates as NumPy has them, NaN where missing; all else
      as objects, `None` where missing.
    - `kinds`: (m,) types of the columns, for messages.
    """

    labels: Sequence[Any]
    key: Any
    place: str
    names: Sequence[Any]
    cells: Sequence[np.ndarray]
    kinds: Sequence[str]


def open_frame(frame: Any, argument: str, id_column: str | None = None) -> OpenFrame:
    """Open a data frame of any kind whose rows have identifiers.

    **Arguments:** `frame`: the frame; `argument`: its name in messages; `id_column`: the column of
    identifiers. By default they are the index, or in frames that have no index the first column,
    which must then hold text or whole numbers.

    **Raises:** `ValueError` naming `argument` for anything but a data frame, no column `id_column`,
    or labels that identify nothing: a default index, default column names, hierarchical labels, a
    first column of another type.
    """
    if not is_frame(frame):
        lazy = "; it is lazy: collect it first" if hasattr(frame, "collect") else ""
        raise ValueError(
            f"`{argument}` must be a data frame (pandas, polars, Arrow), got "
            f"{type(frame).__name__}{lazy}"
        )
    if _is_pandas(frame):
        frame = _labelled(frame, argument, id_column)
        columns = [frame.iloc[:, j] for j in range(frame.shape[1])]
        return OpenFrame(
            frame.index.tolist(), frame.index.name, "rows", list(frame.columns),
            [pandas_cells(column) for column in columns], [str(one.dtype) for one in columns],
        )  # fmt: skip
    columns = _series(frame)
    names = [series.name for series in columns]
    if not names:
        raise ValueError(f"`{argument}` has no columns")
    if id_column is not None and id_column not in names:
        raise ValueError(f"`{argument}` has no column {id_column!r} (`id_column`)")
    at = 0 if id_column is None else names.index(id_column)
    key = columns.pop(at)
    if id_column is None and not _identifies(key.dtype):
        raise ValueError(
            f"`{argument}` has no index, and its first column {key.name!r} holds {key.dtype}, "
            "which identifies nobody: name the column of identifiers by `id_column`"
        )
    return OpenFrame(
        key.to_list(), key.name, f"column {key.name!r}", [one.name for one in columns],
        [_series_cells(one) for one in columns], [str(one.dtype) for one in columns],
    )  # fmt: skip


def as_pandas(frame: Any, argument: str, id_column: str | None = None) -> Any:
    """A data frame of any kind as a pandas one, with the identifiers of its rows in the index.

    **Arguments** and **raises:** as [`open_frame`][]; `ImportError` without pandas.
    """
    pd = import_pandas()
    if is_frame(frame) and _is_pandas(frame):
        return _labelled(frame, argument, id_column)
    found = open_frame(frame, argument, id_column)
    index = pd.Index(list(found.labels), name=found.key, dtype=object)
    return _pandas_frame(pd, found.names, found.cells, index)


def as_pandas_columns(frame: Any) -> Any:
    """A data frame of any kind as a pandas one with a plain index: identifiers are a column."""
    if _is_pandas(frame):
        return frame if _is_default(frame.index) else frame.reset_index()
    columns = _series(frame)
    names, cells = [one.name for one in columns], [_series_cells(one) for one in columns]
    return _pandas_frame(import_pandas(), names, cells, None)


def indexed(frame: Any) -> Any:
    """A data frame as a pandas one to be written; of other kinds the first column is the index."""
    if _is_pandas(frame):
        return frame
    frame = as_pandas_columns(frame)
    return frame.set_index(frame.columns[0])


def frame_rows(frame: Any) -> tuple[list[Any], list[list[Any]]]:
    """(column names, cells by column as Python's own values); an index is the first columns."""
    if _is_pandas(frame):
        frame = as_pandas_columns(frame)
        return list(frame.columns), [frame.iloc[:, j].tolist() for j in range(frame.shape[1])]
    columns = _series(frame)
    return [one.name for one in columns], [one.to_list() for one in columns]


def column_names(frame: Any) -> list[str]:
    """Names of the columns of a data frame of any kind."""
    names = frame.column_names if hasattr(frame, "column_names") else frame.columns
    return [str(name) for name in names]


def new_frame(
    columns: Mapping[str, Any], backend: str, labels: Iterable[Any] | None = None, key: str = "user"
) -> Any:
    """A data frame of the kind `backend`.

    **Arguments:** `columns`: by name; NaN is missing (null in frames that have it). `backend`: one
    of [`BACKENDS`][]. `labels`: identifiers of the rows: the index of a pandas frame, the first
    column of others; `key`: what they are called.

    **Raises:** `ValueError` for an unknown `backend`, or a column called like that of the labels;
    `ImportError` where it is not installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f"`backend` must be one of {BACKENDS}, got {backend!r}")
    if backend == "pandas":
        pd = import_pandas()
        index = None if labels is None else pd.Index(list(labels), name=key)
        return pd.DataFrame(dict(columns), index=index)
    if labels is not None:
        if key in columns:
            raise ValueError(f"`backend`: a column is called {key!r}, as is that of identifiers")
        columns = {key: list(labels), **columns}
    try:
        importlib.import_module(backend)
    except ImportError as error:
        raise ImportError(
            f"`backend`: {backend} is not installed: pip install {backend}"
        ) from error
    import narwhals.stable.v2 as nw

    given = {name: _plain(values) for name, values in columns.items()}
    frame = nw.from_dict(given, backend=backend)
    missing = [name for name, kind in frame.schema.items() if kind.is_float()]
    known = [nw.when(~nw.col(name).is_nan()).then(nw.col(name)).alias(name) for name in missing]
    return frame.with_columns(*known).to_native()


def as_backend(frame: Any, backend: str, key: str = "user") -> Any:
    """A pandas data frame as another kind; `key`: the name of an index that has none.

    **Raises:** as [`new_frame`][].
    """
    if backend == "pandas":
        return frame
    columns = {str(name): frame.iloc[:, j] for j, name in enumerate(frame.columns)}
    labels = None if _is_default(frame.index) else frame.index
    return new_frame(columns, backend, labels, str(frame.index.name or key))


def with_backend(result: Any, backend: str) -> Any:
    """A dataclass with its pandas data frames as another kind. **Raises:** as [`new_frame`][]."""
    if backend == "pandas":
        return result
    fields = {one.name: getattr(result, one.name) for one in dataclasses.fields(result)}
    changed = {name: as_backend(v, backend) for name, v in fields.items() if _is_pandas(v)}
    return dataclasses.replace(result, **changed)


def backend_of(table: Any) -> str:
    """The kind in which results for a table are had: its own, and pandas for a file."""
    if not is_frame(table) or _is_pandas(table):
        return "pandas"
    table = table.to_native() if hasattr(table, "to_native") else table
    return "polars" if type(table).__module__.split(".")[0] == "polars" else "pyarrow"


def place_of(table: Any, argument: str) -> Path:
    """What messages call a table: its path, or where it is a data frame the argument's name."""
    return Path(f"`{argument}`") if is_frame(table) else Path(table)


def long_frame(
    users: Sequence[str], questions: Sequence[str], columns: Mapping[str, Any], backend: str
) -> Any:
    """A row per user and question, users one after the other.

    **Arguments:** `users`, `questions`: identifiers, n and m; `columns`: by name, (n, m) cells, or
    (m,) of the questions; `backend`: as in
    [`new_frame`][].

    **Raises:** `ValueError` as [`new_frame`][].
    """
    n, m = len(users), len(questions)

    def cells(values: Any) -> np.ndarray:
        values = np.asarray(values)
        return values.reshape(-1) if values.ndim == 2 else np.tile(values, n)

    found = {
        "user": np.repeat(np.array(users, object), m),
        "question": np.tile(np.array(questions, object), n),
    }
    return new_frame(found | {name: cells(values) for name, values in columns.items()}, backend)


def _is_pandas(values: Any) -> bool:
    return all(hasattr(values, name) for name in ("iloc", "columns", "index"))


def _is_default(labels: Any) -> bool:
    return type(labels).__name__ == "RangeIndex" and labels.name is None


def _labelled(frame: Any, argument: str, id_column: str | None) -> Any:
    """A pandas data frame with identifiers in the index. **Raises:** as [`open_frame`][]."""
    if id_column is not None and id_column != frame.index.name:
        if id_column not in frame.columns:
            raise ValueError(f"`{argument}` has no column {id_column!r} (`id_column`)")
        frame = frame.set_index(id_column)
    # Default labels (0, 1, ...) are positions: matching them would be matching by position.
    if _is_default(frame.index):
        raise ValueError(f"`{argument}` has a default index: set its index to the identifiers")
    if _is_default(frame.columns):
        raise ValueError(f"`{argument}` has default column names: name them by the identifiers")
    if getattr(frame.columns, "nlevels", 1) > 1 or getattr(frame.index, "nlevels", 1) > 1:
        raise ValueError(f"`{argument}` has hierarchical labels; flatten them first")
    return frame


def pandas_cells(column: Any) -> np.ndarray:
    """The cells of a pandas column as [`OpenFrame`][] has them."""
    if getattr(column.dtype, "kind", "O") in "biuf":
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    return column.to_numpy()


def _pandas_frame(pd: Any, names: Sequence[Any], cells: Sequence[np.ndarray], index: Any) -> Any:
    frame = pd.DataFrame(dict(enumerate(cells)), index=index)
    return frame.set_axis(pd.Index(list(names), dtype=object), axis=1)


def _series(frame: Any) -> list[Any]:
    """The columns of a data frame that is not one of pandas, as narwhals has them."""
    import narwhals.stable.v2 as nw

    frame = frame.to_native() if hasattr(frame, "to_native") else frame
    try:
        opened = nw.from_native(frame, eager_only=True)
    except TypeError:  # a record batch, a relation of a database
        import pyarrow

        opened = nw.from_native(pyarrow.table(frame), eager_only=True)
    return list(opened.iter_columns())


def _series_cells(series: Any) -> np.ndarray:
    import narwhals.stable.v2 as nw

    kind = series.dtype
    if (kind.is_numeric() and kind != nw.Decimal) or kind in (nw.Date, nw.Datetime):
        return series.to_numpy()
    # As Python has them: Arrow makes another category of a missing one in NumPy.
    return np.fromiter(series.to_list(), object, len(series))


def _identifies(kind: Any) -> bool:
    import narwhals.stable.v2 as nw

    return kind.is_integer() or kind in (nw.String, nw.Categorical, nw.Enum)


def _plain(values: Any) -> Any:
    """A column as narwhals takes it: an array of numbers, or a list with `None` where missing."""
    array = np.asarray(values)
    if array.dtype.kind in "biufM":
        return array
    return [None if is_missing(cell) else cell for cell in listed(values)]
