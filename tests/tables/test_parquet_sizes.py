"""Parquet files of some bytes that say or hold far more are refused before memory is taken."""

import pandas as pd
import pytest
from parquet_files import (
    DICTIONARY,
    DOUBLE,
    FIXED,
    OPTIONAL,
    REPEATED,
    levels,
    page,
    run,
    texts,
    write_parquet,
)

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402

from syndigits_jax.datasets import read_table  # noqa: E402
from syndigits_jax.tables import compressed, parquet  # noqa: E402

BILLIONS = 2_000_000_000
LONG = b"x" * 10_000
WORD = page(texts(b"hello"), 1, dictionary=True)


def repeated(count, text, codec=None):
    """A text that is stored once, and the page that repeats it."""
    return {
        "pages": page(run(count, 0), count, DICTIONARY, codec),
        "dictionary": page(texts(text), 1, codec=codec, dictionary=True),
        "codec": codec,
    }


def one_list(count, text):
    """One row: a list of so many times the same text."""
    inside = levels((1, 0), (count - 1, 1)) + levels((count, 1))
    return {
        "pages": page(inside + run(count, 0), count, DICTIONARY),
        "dictionary": page(texts(text), 1, dictionary=True),
        "repetition": REPEATED,
    }


MANY = "its contents take more than"
EXPANDING = {
    "rows that are not there": ({"pages": page(texts(b"a"), 1), "rows": BILLIONS}, MANY),
    "rows that its parts have not": (
        {"pages": page(texts(b"a"), 1), "rows": 1, "says_rows": BILLIONS}, "its parts say 1:"),
    "rows without columns": ({"pages": b"", "rows": 9, "columns": 0}, "but it has no columns"),
    "one number": (
        {"pages": page(run(10**9, 0), 10**9, DICTIONARY), "rows": 10**9, "kind": DOUBLE,
         "dictionary": page(bytes(8), 1, dictionary=True)}, MANY),
    "one short text": (dict(repeated(10**9, b"a"), rows=10**9), MANY),
    "one long text": (dict(repeated(20, LONG), rows=20), MANY),
    "a list of one long text": (dict(one_list(20, LONG), rows=1, values=20), MANY),
    "empty lists": (
        {"pages": page(levels((10**9, 0)) * 2, 10**9), "rows": 10**9,
         "repetition": REPEATED}, MANY),
    "wide cells, all missing": (
        {"pages": page(levels((20, 0)), 20), "rows": 20, "kind": FIXED, "width": len(LONG),
         "repetition": OPTIONAL}, MANY),
    "the same bytes as many columns": (
        {"pages": page(texts(*[bytes(50)] * 20), 20, codec="zstd"), "rows": 20, "codec": "zstd",
         "columns": 90}, "its columns together are larger than the file"),
}  # fmt: skip


@pytest.fixture
def low(monkeypatch):
    """Bounds that files of a test's size exceed."""
    monkeypatch.setattr(compressed, "FACTOR", 10)
    monkeypatch.setattr(compressed, "ARRAYS", 1 << 16)


@pytest.mark.parametrize("kind", EXPANDING)
def test_a_small_file_takes_no_memory(low, tmp_path, monkeypatch, kind):
    options, words = EXPANDING[kind]
    path = write_parquet(tmp_path / "t.parquet", **options)
    assert path.stat().st_size < 11_000
    monkeypatch.setattr(pd, "read_parquet", lambda *_: pytest.fail("expanded"))
    before = pa.total_allocated_bytes()
    with pytest.raises(ValueError, match=r"t\.parquet") as caught:
        read_table(path)
    assert words in str(caught.value) and len(str(caught.value)) < 400, caught.value
    assert pa.total_allocated_bytes() - before < 1 << 20


def test_a_file_written_byte_by_byte_is_read_where_it_is_true(tmp_path):
    """So what the others have wrong is nothing but what they say."""
    path = write_parquet(tmp_path / "t.parquet", page(run(2, 0), 2, DICTIONARY), 2, dictionary=WORD)
    parquet.refuse_expanding_parquet(path)
    assert pq.read_table(path)["q0"].to_pylist() == ["hello"] * 2


TEXTS = [None if i % 5 == 0 else f"answer {i % 90} " + "x" * (i % 40) for i in range(900)]
TABLE = {
    "number": [float(i) for i in range(900)],
    "text": TEXTS,
    "list": [[one, one] if one else None for one in TEXTS],
    "struct": [{"a": one, "b": i} for i, one in enumerate(TEXTS)],
    "fixed": [b"abcd"] * 900,
}


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("encoding", ["dictionary", "PLAIN", "DELTA_BYTE_ARRAY",
                                      "DELTA_LENGTH_BYTE_ARRAY"])  # fmt: skip
def test_what_arrow_writes_is_read(tmp_path, version, encoding):
    path, leaves = tmp_path / "t.parquet", ("text", "list.list.element", "struct.a")
    options = {} if encoding == "dictionary" else {
        "use_dictionary": False, "column_encoding": dict.fromkeys(leaves, encoding)}  # fmt: skip
    table = pa.table(TABLE | {"fixed": pa.array(TABLE["fixed"], pa.binary(4))})
    pq.write_table(table, path, data_page_version=version, data_page_size=500,
                   write_batch_size=64, row_group_size=600, **options)  # fmt: skip
    parquet.refuse_expanding_parquet(path)


def test_texts_that_repeat_are_counted_as_they_are_in_any_nesting(low, tmp_path, monkeypatch):
    """A bound between what the cells take, and the most that they could."""
    long = "y" * 5000
    cells = [long, *["a"] * 99]
    table = pa.table({"t": cells, "l": [[one] for one in cells],
                      "s": [{"a": one} for one in cells]})  # fmt: skip
    pq.write_table(table, tmp_path / "t.parquet")
    monkeypatch.setattr(compressed, "ARRAYS", 150_000)
    parquet.refuse_expanding_parquet(tmp_path / "t.parquet")
    for name in table.column_names:
        one = table.take([0] * 100).select([name])
        pq.write_table(one, tmp_path / "u.parquet")
        with pytest.raises(compressed.ExpansionError):
            parquet.refuse_expanding_parquet(tmp_path / "u.parquet")
