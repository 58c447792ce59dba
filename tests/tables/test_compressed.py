"""Small files that would fill the memory are refused by name; honest ones are read."""

import functools
import gzip
import struct
import zipfile

import numpy as np
import pandas as pd
import pytest

from syndigits_jax import saving
from syndigits_jax.datasets import read_personas, read_qualtrics, read_questions, read_table
from syndigits_jax.datasets.rating_files import read_columns
from syndigits_jax.preferences._store import read_arrays
from syndigits_jax.results.checkpoints import Checkpoints
from syndigits_jax.results.objects import SavedFileError
from syndigits_jax.tables import compressed
from syndigits_jax.workflows.fidelity.files import read_embeddings

BOUND = 1 << 16
ROWS = 4 * BOUND


@pytest.fixture
def low(monkeypatch):
    """Bounds that files of a test's size exceed."""
    monkeypatch.setattr(compressed, "FACTOR", 20)
    monkeypatch.setattr(compressed, "TEXT", BOUND)
    monkeypatch.setattr(compressed, "ARRAYS", BOUND)


def refused(read, path, error=ValueError):
    with pytest.raises(error) as caught:
        read(path)
    assert str(path) in str(caught.value) and " times what it takes" in str(caught.value), (
        caught.value
    )
    assert type(caught.value).__module__.split(".")[0] in ("builtins", "syndigits_jax")


def zipped(path, text):
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    return path


TABLE = "id,q1\n" + "a,1\n" * ROWS
EXPORT = 'ResponseId,q\nResponse ID,A?\n"{""ImportId"":""_recordId""}","{""ImportId"":""QID1""}"\n'
READERS = {
    "t.csv.gz": (read_table, TABLE),
    "q.csv.gz": (read_questions, "identifier,text\n" + "a,b\n" * ROWS),
    "p.csv.gz": (read_personas, "identifier,text\n" + "a,b\n" * ROWS),
    "r.csv.gz": (read_columns, TABLE),
    "one line.csv.gz": (read_table, "id,q1\na," + "1" * 4 * ROWS),
    "no utf-8.csv.gz": (read_table, TABLE),
    "r.jsonl.gz": (read_columns, '{"user_id": "u"}\n' * ROWS),
    "e.csv.gz": (functools.partial(read_qualtrics, None), EXPORT + "R_1,1\n" * ROWS),
}


@pytest.mark.parametrize("name", READERS)
def test_a_text_is_expanded_as_far_as_is_allowed(low, tmp_path, monkeypatch, name):
    reader, text = READERS[name]
    path = zipped(tmp_path / name, text)
    if "utf" in name:
        path.write_bytes(gzip.compress(b"\xff,1\n" + text.encode(), mtime=0))

    class Kept(gzip.GzipFile):
        most = 0

        def readinto(self, buffer):
            count = super().readinto(buffer)
            Kept.most = max(Kept.most, self.tell())
            return count

    monkeypatch.setattr(compressed.gzip, "open", Kept)
    if "utf" in name:
        with pytest.raises(ValueError, match="no utf-8"):
            reader(path)
    else:
        refused(reader, path)
    assert Kept.most <= compressed.most_expanded(path, text=True) + (
        1 << 18
    )  # as much is read at a time


def test_the_real_bound_ends_a_real_bomb(tmp_path):
    """A hundred kilobytes that are a line of a hundred megabytes."""
    path = zipped(tmp_path / "r.jsonl.gz", "{" + " " * (compressed.TEXT * 3 // 2))
    assert path.stat().st_size < 200_000
    refused(read_columns, path)


def npz(path, **arrays):
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return path


ARCHIVES = {
    "encoder.npz": (read_arrays, ValueError),
    "embeddings.npz": (lambda path: read_embeddings(path, ROWS), ValueError),
    "object.zip": (saving.load, SavedFileError),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_is_refused_before_it_is_expanded(low, tmp_path, monkeypatch, name):
    reader, error = ARCHIVES[name]
    path = tmp_path / name
    if name == "object.zip":
        saving.save(path, np.zeros((ROWS, 4)))
    else:
        npz(path, embeddings=np.zeros((ROWS, 4)))
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda *_: pytest.fail("expanded"))
    refused(reader, path, error)


def test_a_finished_unit_that_would_fill_the_memory_is_computed_again(low, tmp_path):
    npz(tmp_path / "a.npz", x=np.zeros(ROWS))
    arrays, stored = Checkpoints(tmp_path).get("a", lambda: {"x": np.arange(3)})
    assert not stored and arrays["x"].tolist() == [0, 1, 2]
    assert Checkpoints(tmp_path).load("a")["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_ways_of_compression_without_a_bound_are_refused(tmp_path, kind):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", kind) as out, out.open("x.npy", "w") as file:
        np.lib.format.write_array(file, np.zeros(3))
    with pytest.raises(ValueError, match=r"a\.npz.*another way"):
        read_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize("says", [0, 200])
def test_no_more_is_expanded_than_the_archive_says(tmp_path, says):
    path = npz(tmp_path / "a.npz", x=np.zeros(ROWS))
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02") + 24  # the size in the list of contents
    content[at : at + 4] = struct.pack("<I", says)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz: is damaged"):
        read_arrays(path)
    with compressed.Archive(path) as stored, pytest.raises((ValueError, zipfile.BadZipFile)):
        assert len(stored.content("x.npy")) <= says  # and its check sum is another
        stored.array("x.npy")


def parquet(path, **columns):
    options = columns.pop("options", {})
    pd.DataFrame(columns).to_parquet(path, index=False, **options)
    return path


DELTA = {"use_dictionary": False, "column_encoding": {"q": "DELTA_BYTE_ARRAY"}}
LONG = "x" * 1000
REPEATED = {
    "numbers": ([1.0] * ROWS, {}),
    "texts": ([LONG] * (ROWS // 32), {}),
    "beginnings of texts": ([LONG] * (ROWS // 32), DELTA),
    "texts in lists": ([[LONG, LONG]] * (ROWS // 64), {}),
    "lists": ([[1] * 100] * (ROWS // 8), {}),
}


@pytest.mark.parametrize("kind", REPEATED)
@pytest.mark.parametrize("reader", [read_table, read_columns, read_questions])
def test_a_parquet_file_is_judged_by_what_it_would_hold(low, tmp_path, monkeypatch, kind, reader):
    cells, options = REPEATED[kind]
    path = parquet(tmp_path / "t.parquet", q=cells, options=options)
    monkeypatch.setattr(pd, "read_parquet", lambda *_: pytest.fail("expanded"))
    refused(reader, path)


def test_honest_files_are_read_however_large(low, tmp_path, monkeypatch):
    """Well above the bound: numbers, choices and the texts of people."""
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(20_000, 4))
    found = read_arrays(npz(tmp_path / "a.npz", x=numbers, y=np.ones(100_000, bool)))
    np.testing.assert_array_equal(found["x"], numbers)
    saving.save(tmp_path / "o.zip", numbers)
    np.testing.assert_array_equal(saving.load(tmp_path / "o.zip"), numbers)
    users = [f"u{i}" for i in range(20_000)]
    choice = rng.integers(1, 4, len(users))
    words = np.array(["never", "now and then", "always"])[choice - 1]
    table = read_table(zipped(tmp_path / "t.csv.gz", "id,q\n" + "".join(
        f"{user},{one}\n" for user, one in zip(users, choice, strict=True))))  # fmt: skip
    np.testing.assert_array_equal(table["q"], choice)
    said = ["word " * 5] * len(users)
    monkeypatch.setattr(compressed, "FACTOR", 100)  # each text counts with its object
    path = parquet(tmp_path / "t.parquet", user=users, q=choice, text=words, said=said)
    frame = read_columns(path)
    assert frame["text"].tolist() == words.tolist() and frame["said"].tolist() == said


def test_spss_files_are_read_in_parts_where_they_may_be_too_large(low, tmp_path):
    pyreadstat = pytest.importorskip("pyreadstat")
    path, users = tmp_path / "s.zsav", [f"u{i}" for i in range(2000)]

    def write(**columns):
        pyreadstat.write_sav(pd.DataFrame({"who": users} | columns), path, compress=True)
        return path

    refused(read_table, write(**{f"q{j}": 1.0 for j in range(200)}))
    refused(read_questions, write(**{f"q{j}": 1.0 for j in range(200)}))
    refused(read_table, write(q=1.0, said="x" * 2000))
    rng = np.random.default_rng(0)
    said = ["x" * 2000, *[""] * 1999]  # wide, and empty but for one
    columns = {f"q{j}": rng.integers(1, 8, 2000).astype(float) for j in range(9)}
    with pytest.warns(UserWarning, match="said"):
        table = read_table(write(**columns, said=said))
    np.testing.assert_array_equal(table["q8"], columns["q8"])
