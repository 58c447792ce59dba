"""Parquet files of some bytes that say or hold far more are refused before memory is taken."""

import mmap
import struct

import pandas as pd
import pytest
from damaged_files import damage, read_or_refuse
from hypothesis import HealthCheck, given, settings
from parquet_files import (
    DELTA,
    DICTIONARY,
    DOUBLE,
    FIXED,
    LENGTHS,
    OPTIONAL,
    PLAIN,
    REPEATED,
    TEXT,
    levels,
    page,
    run,
    texts,
    varint,
    write_parquet,
)

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402

from syndigits_jax.datasets import read_table  # noqa: E402
from syndigits_jax.tables import compressed, parquet  # noqa: E402
from syndigits_jax.tables.parquet_pages import pages_of  # noqa: E402

BILLIONS = 2_000_000_000
LONG = b"x" * 10_000
WORD = page(texts(b"hello"), 1, dictionary=True)


def differences(count):
    """So many differences of zero, packed in one block."""
    return b"".join(map(varint, (-(-count // 128) * 128, 1, count, 0, 0))) + b"\0"


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
    "one long text, said to be plain": (
        dict(repeated(20, LONG, "zstd"), rows=20, encodings=(PLAIN,)), MANY),
    "a list of one long text": (dict(one_list(20, LONG), rows=1, values=20), MANY),
    "a list that is said to be short": (dict(one_list(10**9, b"a"), rows=1, values=1), MANY),
    "empty lists": (
        {"pages": page(levels((10**9, 0)) * 2, 10**9), "rows": 10**9,
         "repetition": REPEATED}, MANY),
    "wide cells, all missing": (
        {"pages": page(levels((20, 0)), 20), "rows": 20, "kind": FIXED, "width": len(LONG),
         "repetition": OPTIONAL}, MANY),
    "a page larger than the description says": (
        {"pages": page(texts(*[bytes(10_000)] * 20), 20, codec="zstd"), "rows": 20, "codec": "zstd",
         "uncompressed": 9}, MANY),
    "a page that says that it is large": (
        {"pages": page(texts(b"a"), 1, codec="zstd", size=2**31 - 1), "rows": 1, "codec": "zstd",
         "uncompressed": 9}, MANY),
    "entries that the dictionary has not": (
        {"pages": page(run(9, 0), 9, DICTIONARY), "rows": 9,
         "dictionary": page(texts(b"a"), BILLIONS, dictionary=True)}, MANY),
    "the same bytes as many columns": (
        {"pages": page(texts(*[bytes(50)] * 20), 20, codec="zstd"), "rows": 20, "codec": "zstd",
         "columns": 90}, "its columns together are larger than the file"),
    "lengths of texts that are not there": (
        {"pages": page(differences(BILLIONS), 9, LENGTHS), "rows": 9}, "more lengths than values"),
    "beginnings of texts that are not there": (
        {"pages": page(differences(9) + differences(BILLIONS), 9, DELTA, "zstd"), "rows": 9,
         "codec": "zstd"}, "more lengths than values"),
    "lists of texts with one beginning": (
        {"pages": page(levels((1, 0), (99, 1)) + levels((100, 1)) + bytes(1000), 100, PLAIN)
         + page(levels((2, 1)) * 2 + differences(2) * 2, 2, DELTA), "rows": 1, "values": 102,
         "repetition": REPEATED}, "share their beginnings"),
    "no page where one should be": ({"pages": b"\xff" * 40, "rows": 1}, "cannot be followed"),
    "a page before the file": (
        {"pages": page(texts(b"a"), 1), "rows": 1, "place": -9}, "parts that it does not have"),
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


@pytest.mark.parametrize("kind", ["one word", "plain texts", "lengths", "beginnings"])
def test_files_written_byte_by_byte_are_read_where_they_are_true(tmp_path, kind):
    """So what the others have wrong is nothing but what they say."""
    cells = [b"ab", b"abc"]
    head = b"\x80\1\4\2"  # blocks of 128 in 4 parts, and 2 numbers
    options = {
        "one word": {"pages": page(run(2, 0), 2, DICTIONARY), "dictionary": WORD},
        "plain texts": {"pages": page(texts(*cells), 2, codec="zstd"), "codec": "zstd"},
        "lengths": {"pages": page(head + b"\4\2\0\0\0\0ababc", 2, LENGTHS)},  # 2, and 1 more
        "beginnings": {"pages": page(head + b"\0\4\0\0\0\0" + head + b"\4\1\0\0\0\0abc", 2, DELTA)},
    }[kind]  # 0 and 2 shared; 2 and 1 of its own
    path = write_parquet(tmp_path / "t.parquet", rows=2, encodings=(PLAIN,), **options)
    parquet.refuse_expanding_parquet(path)
    found = pq.read_table(path)["q0"].to_pylist()
    assert found == (["hello"] * 2 if kind == "one word" else [one.decode() for one in cells])


TEXTS = [None if i % 5 == 0 else f"answer {i % 90} " + "x" * (i % 40) for i in range(900)]
TABLE = {
    "number": [float(i) for i in range(900)],
    "text": TEXTS,
    "list": [[one, one] if one else None for one in TEXTS],
    "struct": [{"a": one, "b": i} for i, one in enumerate(TEXTS)],
    "fixed": [b"abcd"] * 900,
}


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "zstd", "brotli", "lz4"])
@pytest.mark.parametrize("encoding", ["dictionary", "PLAIN", "DELTA_BYTE_ARRAY",
                                      "DELTA_LENGTH_BYTE_ARRAY"])  # fmt: skip
def test_pages_are_followed_as_arrow_wrote_them(tmp_path, version, codec, encoding):
    path, leaves = tmp_path / "t.parquet", ("text", "list.list.element", "struct.a")
    options = {} if encoding == "dictionary" else {
        "use_dictionary": False, "column_encoding": dict.fromkeys(leaves, encoding)}  # fmt: skip
    table = pa.table(TABLE | {"fixed": pa.array(TABLE["fixed"], pa.binary(4))})
    pq.write_table(table, path, compression=codec, data_page_version=version, data_page_size=500,
                   write_batch_size=64, row_group_size=600, write_page_checksum=True,
                   **options)  # fmt: skip
    with pq.ParquetFile(path) as file:
        described, schema = file.metadata, file.schema
    with path.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        for i in range(described.num_row_groups):
            for j in range(described.num_columns):
                column, kind = described.row_group(i).column(j), schema.column(j)
                steps = (kind.max_repetition_level > 0) + (kind.max_definition_level > 0)
                pages = pages_of(whole, column, steps, 1 << 30)
                assert pages.values == column.num_values
                heads = column.total_uncompressed_size - pages.size  # their headers
                assert bool(pages.dictionary) == column.has_dictionary_page or kind.name == "number"
                assert pages.dictionary or 0 < heads < column.total_uncompressed_size
                assert pages.prefixes == ("DELTA_BYTE_ARRAY" in column.encodings)
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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("encoding", [DICTIONARY, DELTA])
@given(harm=damage())
def test_damaged_pages_are_read_or_refused_by_name(tmp_path, encoding, harm):
    pages = page(run(9, 0), 9, DICTIONARY, "gzip") if encoding == DICTIONARY else page(
        differences(9) * 2, 9, DELTA, "gzip")  # fmt: skip
    options = {"dictionary": page(texts(b"a"), 1, codec="gzip", dictionary=True)}
    path = write_parquet(tmp_path / "t.parquet", pages, 9, kind=TEXT, codec="gzip",
                         **(options if encoding == DICTIONARY else {}))  # fmt: skip
    content = path.read_bytes()
    size = struct.unpack("<I", content[-8:-4])[0]
    path.write_bytes(harm(content[: -8 - size])[: len(content) - 8 - size].ljust(
        len(content) - 8 - size, b"\0") + content[-8 - size :])  # fmt: skip
    read_or_refuse(read_table, path)
