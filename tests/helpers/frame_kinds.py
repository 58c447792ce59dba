"""The same pandas data frame as other kinds of frames, and arrays by DLPack alone."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

pl = pytest.importorskip("polars")


class Stream:
    """A table of which nothing is known but Arrow's protocol."""

    def __init__(self, table):
        self.table, self.columns = table, table.column_names

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


class Tensor:
    """An array of which nothing is known but DLPack's protocol."""

    def __init__(self, array):
        self.array = np.array(array)

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class Elsewhere(Tensor):
    """A tensor that cannot be had here."""

    def __dlpack__(self, **options):
        raise BufferError("on another device")


def arrow(frame: pd.DataFrame):
    """The frame as an Arrow table, its index the first column."""
    return pa.Table.from_pandas(frame.reset_index(), preserve_index=False)


def polars(frame: pd.DataFrame):
    """The frame of polars, its index the first column."""
    return pl.from_arrow(arrow(frame))


KINDS = {
    "pandas": lambda frame: frame,
    "polars": polars,
    "pyarrow": arrow,
    "record batch": lambda frame: arrow(frame).combine_chunks().to_batches()[0],
    "stream": lambda frame: Stream(arrow(frame)),
}
OTHERS = [kind for kind in KINDS if kind != "pandas"]
