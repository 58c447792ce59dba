"""What is written to a table is what is read from it; files of the wrong kind say what they are."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syndigits_jax.datasets import load_panel, read_table
from syndigits_jax.datasets.tables import write_table

SUFFIXES = (".csv", ".tsv", ".parquet")
LEAST = 5e-324
FLOATS = [0.1 + 0.2, 1e-310, LEAST, -0.0, 1e22, 1e300, 12345678.0, 1 / 3, 2.0**53, 123456.7890123]
NAMES = ["001", "1", "1.0", "1e5", "NA", "nan", "null", " a ", 'q"u', "a,b", "a\tb", "a\nb", "a\rb"]
NAMES += [
    "\ufeffbom",
    "é",
    "e\u0301",
    "\xa0",
    "0x1",
    "1_000",
    "'",
    '"',
    "None",
    "-",
    "日本",
    "TRUE",
]
NAMES += ["\u200b", "#", "a;b"]


def name_lists(size: int):
    # Half a character (a lone surrogate) is no text that a file can hold.
    names = st.sampled_from(NAMES) | st.text(
        st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6
    )
    return st.lists(names.filter(str.strip), min_size=size, max_size=size, unique=True)


def same_floats(found, expected):
    """Equal to the last bit: -0.0 is not 0.0."""
    found, expected = (np.asarray(x, np.float64) for x in (found, expected))
    np.testing.assert_array_equal(found, expected)
    signs = [np.signbit(x) & ~np.isnan(x) for x in (found, expected)]
    np.testing.assert_array_equal(*signs)


def write(path, text: str, encoding: str = "utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


# --- written and read -----------------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    users=name_lists(4),
    questions=name_lists(3),
    floats=st.lists(
        st.floats(allow_nan=True, allow_infinity=False) | st.sampled_from(FLOATS),
        min_size=4,
        max_size=4,
    ),
    integers=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=4, max_size=4),
    gaps=st.lists(st.none() | st.integers(-(2**53), 2**53), min_size=4, max_size=4),
)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_table_is_read_as_it_was_written(
    tmp_path, suffix, users, questions, floats, integers, gaps
):
    gaps = pd.array(gaps, dtype="Int64")
    columns = dict(zip(questions, (np.array(floats), np.array(integers), gaps)))
    index = pd.Index(users, name="who", dtype=object)
    path = tmp_path / f"t{suffix}"
    write_table(path, pd.DataFrame(columns, index=index))
    read = read_table(path)
    assert list(read.index) == users and list(read.columns) == questions
    same_floats(read[questions[0]], floats)
    assert [int(x) for x in read[questions[1]]] == integers
    expected = [None if pd.isna(x) else int(x) for x in gaps]
    assert [None if pd.isna(x) else int(x) for x in read[questions[2]]] == expected


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_numbers_keep_all_their_digits(tmp_path, suffix):
    frame = pd.DataFrame(
        {
            "whole": [12345678.0, np.nan, 3.0],
            "odd": [0.1 + 0.2, 1e-310, -0.0],
            "large": [2**53 + 1, -(2**63), 7],
            "gappy": pd.array([2**53 + 1, None, 7], dtype="Int64"),
            "unsigned": np.array([2**64 - 1, 0, 1], np.uint64),
            "single": np.array([0.1, 16777216.0, 1 / 3], np.float32),
        },
        index=pd.Index(["001", "NA", "1.0"], name="who", dtype=object),
    )
    write_table(tmp_path / f"t{suffix}", frame)
    read = read_table(tmp_path / f"t{suffix}")
    assert list(read.index) == ["001", "NA", "1.0"]
    same_floats(read["whole"], frame["whole"])
    same_floats(read["odd"], frame["odd"])
    assert read["large"].tolist() == [2**53 + 1, -(2**63), 7]
    assert read["gappy"][0::2].tolist() == [2**53 + 1, 7] and pd.isna(read["gappy"].iloc[1])
    mixed = pd.DataFrame({"q1": [0.5, 2**53 + 1], "q2": [1, 2]}, index=["a", "b"], dtype=object)
    write_table(tmp_path / f"m{suffix}", mixed)
    assert list(map(str, read_table(tmp_path / f"m{suffix}")["q1"])) == ["0.5", str(2**53 + 1)]
    assert read["unsigned"].tolist() == [2**64 - 1, 0, 1]
    np.testing.assert_array_equal(read["single"].to_numpy(np.float32), frame["single"])


def test_a_text_file_holds_what_a_person_would_write(tmp_path):
    frame = pd.DataFrame(
        {"q1": [12345678.0, 1.0], "q2": [0.5, np.nan], "q3": np.array([0.1, 2.0], np.float32)},
        index=pd.Index(["007", "8"], name="who"),
    )
    write_table(tmp_path / "t.csv", frame)
    assert (tmp_path / "t.csv").read_text() == "who,q1,q2,q3\n007,12345678,0.5,0.1\n8,1,,2\n"


@pytest.mark.parametrize("cell", ["0.30000000000000004", "1e-310", "9007199254740993", "5e-324"])
def test_text_becomes_the_nearest_number(tmp_path, cell):
    path = write(tmp_path / "t.csv", f"who,q1,q2\na,{cell},1\nb,0.5,2\n")
    same_floats(read_table(path)["q1"].astype(float), [float(cell), 0.5])


# --- rows and files of the wrong kind -------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("who,q1,q2\na,1,2\nb,1\nc,3,4\n", ["line 3", "'b'", "2 cells", "3 columns"]),
        ("who,q1,q2\na,1,2\nb,1,2,3\n", ["line 3", "'b'", "4 cells", "3 columns"]),
        ('who,q1,q2\n"a\nb",1,2\nc,1\n', ["line 4", "'c'"]),
        ("who,q1,q2\na,1\nb,1\nc,1\nd,1\ne,1\n", ["5 rows", "line 2", "line 3"]),
        ("who,q1,q2\na,1,5,\nb,2,5,\n", ["line 2", "separator at the end"]),
        ("who,q1,q2\na,1,5,2\nb,2,5,3\n", ["line 2", "decimal comma"]),
        ("who;q1;q2\na;1;2\nb;2;3\n", ["needs a header", "';'"]),
        ("who;q1;q2\na;1,5;2\nb;2,5;3\n", ["';'"]),
        ("who\tq1\tq2\na\t1\t2\n", ["tab", ".tsv"]),
        ('who,q1\na,"1\nb,2\n', ["quot", "line 2"]),
        ("<!DOCTYPE html><html><body>", ["web page"]),
    ],
)
def test_malformed_rows_are_named(tmp_path, text, words):
    with pytest.raises(ValueError, match=r"bad\.csv: ") as caught:
        read_table(write(tmp_path / "bad.csv", text))
    for word in words:
        assert word in str(caught.value), str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.csv", "who,q1\na,1\n".encode("utf-16"), ["UTF-16"]),
        ("t.csv", "who,q1\na,1\n".encode("utf-16-le"), ["UTF-16"]),
        ("t.csv", "who,q1\na,1\nJosé,2\n".encode("latin-1"), ["line 3", "Latin-1", "UTF-8"]),
        ("t.csv", b"PK\x03\x04" + bytes(40), ["Excel"]),
        ("t.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(40), ["Excel"]),
        ("t.csv", b"PAR1" + bytes(40), ["Parquet"]),
        ("t.csv", b"\x1f\x8b\x08" + bytes(40), ["gz"]),
        ("t.parquet", b"who,q1\na,1\n", ["cannot be read"]),
    ],
)
def test_files_of_another_kind_say_which(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot be read") as caught:
        read_table(tmp_path / name)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_decimal_commas_are_recognised(tmp_path):
    twin = write(tmp_path / "twin.csv", "who,q1,q2\na,1,2\nb,1,2\n")
    human = write(tmp_path / "human.csv", 'who,q1,q2\na,"1,5",2\nb,"2,5",2\n')
    with pytest.raises(ValueError, match="decimal comma"):
        load_panel(human, twin)
    with pytest.raises(ValueError, match="decimal comma"):
        read_table(write(tmp_path / "t.tsv", "who\tq1\na\t1,5\nb\t2,25\n"))


def test_levels_of_labels_are_refused(tmp_path):
    levels = pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])
    pd.DataFrame({"q1": [1, 2], "q2": [2, 3]}, index=levels).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="hierarchical labels"):
        load_panel(tmp_path / "t.parquet", tmp_path / "t.parquet")


QUALTRICS = (
    "StartDate,ResponseId,Q1\n"
    "Start Date,Response ID,How do you do?\n"
    '"{""ImportId"":""startDate""}","{""ImportId"":""_recordId""}","{""ImportId"":""QID1""}"\n'
    "2025-06-12,R_1,3\n"
)


def test_qualtrics_headers_are_recognised(tmp_path):
    path = write(tmp_path / "q.csv", QUALTRICS)
    lines = QUALTRICS.splitlines(keepends=True)
    for kept in (lines, [lines[0], lines[2], lines[3]]):
        write(path, "".join(kept))
        for key in (None, "ResponseId"):
            table = read_table(path, key)
            assert (table.index.tolist(), table["Q1"].tolist()) == (["R_1"], [3])
    write(path, "".join([lines[0], lines[1], lines[3]]))
    with pytest.raises(ValueError, match=r"q\.csv: the first row .*Qualtrics"):
        read_table(path)
