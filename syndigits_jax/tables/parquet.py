"""Parquet files: how much they would hold in memory, found before it is taken."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .compressed import ExpansionError, most_expanded, refuse_expanded

_NUMBER = 8  # bytes of a cell in memory
_OBJECT = 100  # of a text, a date or a list, beside what it holds
_BATCH = 1 << 16  # rows that are expanded at a time
_DICTIONARY = ("RLE_DICTIONARY", "PLAIN_DICTIONARY")
_NUMBERS = ("NONE", "INT", "TIMESTAMP")  # logical types that become arrays of numbers


def refuse_expanding_parquet(path: Path) -> None:
    """**Raises:** [`ExpansionError`][] for a Parquet file that would hold too much, or whose
    description contradicts itself; what Arrow raises for what is none; `ImportError` without
    pyarrow.

    Numbers and sizes are those of the file's description. A long text that many cells repeat is
    stored once: such columns are expanded, some rows at a time, if they may be too large.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        described, schema = file.metadata, file.schema
        groups = [described.row_group(i) for i in range(described.num_row_groups)]
        columns = [schema.column(j) for j in range(len(schema))]
    _refuse_contradictions(path, described, groups)
    size = _OBJECT * described.num_rows  # identifiers
    refuse_expanded(path, size)
    most = most_expanded(path)
    for i, group in enumerate(groups):
        for j, kind in enumerate(columns):
            column = group.column(j)
            stored, count = column.total_uncompressed_size, column.num_values
            size += stored + count * _cell(kind)
            refuse_expanded(path, size)
            if kind.physical_type != "BYTE_ARRAY" or stored * count <= most:
                continue
            parts = ()
            if "DELTA_BYTE_ARRAY" in column.encodings:
                parts = _in_parts(pq, path, i, column, most // max(1, stored), kind)
            elif column.has_dictionary_page or any(e in _DICTIONARY for e in column.encodings):
                parts = _texts(pq, path, i, column)
            for part in parts:
                size += part
                refuse_expanded(path, size)


def _refuse_contradictions(path: Path, described: Any, groups: list[Any]) -> None:
    rows = sum(group.num_rows for group in groups)
    if described.num_rows != rows or any(group.num_rows < 0 for group in groups):
        raise ExpansionError(
            f"it says that it has {described.num_rows:,} rows, but its parts say {rows:,}: damaged?"
        )
    if rows and not described.num_columns:
        raise ExpansionError(f"it says that it has {rows:,} rows, but it has no columns: damaged?")
    sizes = [
        group.column(j).total_compressed_size for group in groups for j in range(group.num_columns)
    ]
    if sum(sizes) > path.stat().st_size or min(sizes, default=0) < 0:
        raise ExpansionError(
            "its columns together are larger than the file: made to fill the memory, or damaged?"
        )


def _cell(kind: Any) -> int:
    """Bytes of a cell in memory."""
    width = kind.length if kind.physical_type == "FIXED_LEN_BYTE_ARRAY" else 0
    numbers = not kind.physical_type.endswith("BYTE_ARRAY") and not kind.max_repetition_level
    number = numbers and kind.logical_type.type in _NUMBERS and kind.path == kind.name
    return _NUMBER if number else _OBJECT + max(0, width)


def _texts(pq: Any, path: Path, group: int, column: Any) -> Iterator[int]:
    """The bytes of the texts of a column with a dictionary, batch by batch: its texts are not
    repeated for it."""
    import pyarrow.compute

    compute: Any = pyarrow.compute  # whose functions are made when it is imported
    name = column.path_in_schema
    with pq.ParquetFile(path, read_dictionary=[name]) as file:
        for batch in file.iter_batches(_BATCH, row_groups=[group], columns=[name]):
            cells = _leaf(batch, name)
            if hasattr(cells, "dictionary"):
                lengths = compute.binary_length(cells.dictionary)
                yield compute.sum(compute.take(lengths, cells.indices)).as_py() or 0
            else:
                yield cells.nbytes


def _leaf(batch: Any, name: str) -> Any:
    """The innermost cells of the only column of a batch."""
    import pyarrow

    cells = batch.column(0)
    several = batch.num_columns != 1
    while not several and not hasattr(cells, "dictionary"):
        if pyarrow.types.is_struct(cells.type):
            several = cells.type.num_fields != 1
            cells = cells.field(0)
        elif hasattr(cells, "flatten"):
            cells = cells.flatten()
        else:
            break
    if several:
        raise ExpansionError(f"several columns are called {name!r}")
    return cells


def _in_parts(pq: Any, path: Path, group: int, column: Any, rows: int, kind: Any) -> Iterator[int]:
    """The bytes of the texts of a column, so many rows at a time."""
    if kind.max_repetition_level:  # a row may have any number of texts
        raise ExpansionError(
            f"column {column.path_in_schema!r} holds lists of texts that share their beginnings "
            "(DELTA_BYTE_ARRAY), which may take any amount of memory; save it in another encoding"
        )
    name = column.path_in_schema
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(
            max(1, min(rows, _BATCH)), row_groups=[group], columns=[name]
        ):
            yield _leaf(batch, name).nbytes
