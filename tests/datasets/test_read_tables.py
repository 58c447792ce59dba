"""Reading users' tables: round trips, identifiers as text, and errors that name the file."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from syndigits_jax.datasets import load_panel, read_table


def write(path, text: str, encoding: str = "utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=hnp.arrays(float, (3, 2), elements=st.floats(-1e9, 1e9) | st.just(np.nan)),
    questions=st.lists(
        st.text("abé 01,\"'._", min_size=1, max_size=5).filter(str.strip),
        min_size=2,
        max_size=2,
        unique=True,
    ),
    users=st.lists(st.integers(0, 10**12).map(str), min_size=3, max_size=3, unique=True),
    order=st.permutations(range(3)),
)
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".tsv", ".parquet"])
def test_round_trip(tmp_path, suffix, values, questions, users, order):
    index = pd.Index(["0" + user for user in users], name="who")
    human = pd.DataFrame(values, index, questions)
    twin = pd.DataFrame(np.arange(6.0).reshape(3, 2), index, questions)
    human.iloc[0] = 1.5
    paths = tmp_path / f"human{suffix}", tmp_path / f"twin{suffix}"
    for path, frame in zip(paths, (human, twin.iloc[list(order), ::-1])):
        if suffix == ".parquet":
            frame.to_parquet(path)
        else:
            frame.to_csv(path, sep="\t" if suffix == ".tsv" else ",")
    panel = load_panel(*paths)
    assert panel.users == tuple(index) and panel.questions == tuple(questions)
    np.testing.assert_allclose(panel.human, human.to_numpy(), rtol=1e-15)
    np.testing.assert_array_equal(panel.twin, twin.to_numpy())


def test_identifier_columns(tmp_path):
    path = write(tmp_path / "t.csv", "q1,who,q2\n1,007,2\n,008,4\n")
    frame = read_table(path, id_column="who")
    assert list(frame.index) == ["007", "008"] and list(frame.columns) == ["q1", "q2"]
    with pytest.raises(ValueError, match=r"t\.csv: no column 'id'"):
        read_table(path, id_column="id")
    frame.reset_index().to_parquet(tmp_path / "t.parquet")
    assert list(read_table(tmp_path / "t.parquet").index) == ["007", "008"]
    assert list(read_table(tmp_path / "t.parquet", "who").columns) == ["q1", "q2"]
    with pytest.raises(ValueError, match=r"t\.parquet: no column 'id'"):
        read_table(tmp_path / "t.parquet", "id")


def test_spreadsheet_exports(tmp_path):
    text = '\ufeffwho,"q, one",q2\r\na,1,NA\r\nb,,4\r\n'
    frame = read_table(write(tmp_path / "t.csv", text))
    assert frame.index.name == "who" and list(frame.columns) == ["q, one", "q2"]
    np.testing.assert_array_equal(frame.to_numpy(), [[1.0, np.nan], [np.nan, 4.0]])
    called_na = read_table(write(tmp_path / "n.csv", "who,q1\nNA,NA\nnull,2\n"))
    assert list(called_na.index) == ["NA", "null"] and np.isnan(called_na.loc["NA", "q1"])
    unnamed = read_table(write(tmp_path / "u.csv", ",q1,q2\na,1,2\n"))
    assert list(unnamed.columns) == ["q1", "q2"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "needs a header"),
        ("who;q1;q2\na;1;2\n", "needs a header .* separated by ','"),
        ("who,q1,q1\na,1,2\n", "duplicate identifiers 'q1'"),
        ("who,q1,\na,1,2\n", "identifier at position 1 is missing"),
        ("who,q1\na,1,2,3\nb,1,2,3\n", "more cells than the header"),
        ("who,q1,q2\na,1,2\nb,1,2,3,4\n", "cannot be read"),
    ],
)
def test_malformed_tables(tmp_path, text, match):
    with pytest.raises(ValueError, match=rf"bad\.csv: .*{match}"):
        read_table(write(tmp_path / "bad.csv", text))


def test_unreadable_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file: .*none\.csv"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_table(tmp_path)
    with pytest.raises(ValueError, match=r"x\.xlsx: unknown table format"):
        read_table(write(tmp_path / "x.xlsx", "who,q1"))
    with pytest.raises(ValueError, match=r"l\.csv: cannot be read"):
        read_table(write(tmp_path / "l.csv", "who,q1é\na,1\n", "latin-1"))
    with pytest.raises(ValueError, match=r"p\.parquet: cannot be read"):
        read_table(write(tmp_path / "p.parquet", "who,q1\na,1\n"))
    with pytest.raises(ValueError, match=r"z\.csv\.gz: cannot be read"):
        read_table(write(tmp_path / "z.csv.gz", "who,q1\na,1\n"))


def test_a_bad_cell_of_a_file_is_named(tmp_path):
    twin = write(tmp_path / "twin.csv", "who,q1,q2\na,1,2\nb,1,2\n")
    human = write(tmp_path / "human.csv", "who,q1,q2\na,1,2\nb,refused,2\n")
    with pytest.raises(ValueError, match="`human`: 'refused' at row 'b', column 'q1'"):
        load_panel(human, twin)
    human = write(tmp_path / "human.csv", "who,q1,q2\na,1,2\nb,inf,2\n")
    with pytest.raises(ValueError, match=r"`human`: 1 infinite .* row 'b', column 'q1'"):
        load_panel(human, twin)
    human = write(tmp_path / "human.csv", "who,q1,q2\na,1,2\n,1,2\n")
    with pytest.raises(ValueError, match=r"`human \(rows\)`: the identifier at position 1"):
        load_panel(human, twin)


def test_load_panel_passes_its_options_on(tmp_path):
    human = write(tmp_path / "human.csv", "who,q1,q2\na,1,2\nb,1,2\nc,1,2\n")
    twin = write(tmp_path / "twin.csv", "who,q3,q2,q1\nb,3,2,1\na,4,2,1\nd,4,2,1\n")
    with pytest.raises(ValueError, match="`twin` lacks 1 of the 3 respondents"):
        load_panel(human, twin, new_questions=True, new_users=True)
    panel = load_panel(
        human,
        twin,
        join="inner",
        new_questions=True,
        new_users=True,
        name="mine",
        scale=(1, 5, 1),
        controls={"again": twin},
    )
    assert panel.users == ("a", "b", "d") and panel.questions == ("q1", "q2", "q3")
    assert panel.new_users == ("d",) and panel.new_questions == ("q3",)
    assert panel.name == "mine" and panel.scale == (1.0, 5.0)
    np.testing.assert_array_equal(panel.controls["again"], panel.twin)


def test_pandas_is_imported_only_when_needed():
    code = (
        "import sys, syndigits_jax, syndigits_jax.datasets as d, syndigits_jax.panel;"
        "d.sample_panel(); assert 'pandas' not in sys.modules;"
        "sys.modules['pandas'] = None; d.read_table(sys.argv[1])"
    )
    done = subprocess.run([sys.executable, "-c", code, __file__], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().endswith('pip install "syndigits-jax[study]"')
