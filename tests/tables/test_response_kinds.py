"""What counts as a response: one rule for arrays, frames and files, and all faults at once."""

import datetime
import re
import warnings
from decimal import Decimal
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syndigits_jax.datasets import load_distributions, load_panel, read_table
from syndigits_jax.panel import Panel
from syndigits_jax.respond.personas.histories import history_personas
from syndigits_jax.tables.cells import MissingCodes, TableWarning

NAN = np.nan
NAMES, QUESTIONS = ["ann", "bob", "cyd"], ["q1", "q2", "q3"]
NUMBERS = np.array([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0], [3.0, 5.0, 5.0]])


def wide(values, **options):
    return pd.Series(values, index=NAMES, **options)


def frame(**columns) -> pd.DataFrame:
    out = pd.DataFrame(NUMBERS, index=NAMES, columns=QUESTIONS)
    for name, values in columns.items():
        out[name] = wide(values, dtype=object) if isinstance(values, list) else values
    return out


# --- kinds that are no numbers --------------------------------------------------------------------

DATES = pd.Series(pd.to_datetime(["2025-01-01", "2025-01-02", None]), index=NAMES)
NANOSECONDS = DATES.astype("datetime64[ns]")
SPANS = wide(np.array([1, 2, 3], "timedelta64[ns]"))
COLUMNS = {
    "datetime64[ns]": (NANOSECONDS, "dates"),
    "datetime64[us]": (DATES.astype("datetime64[us]"), "dates"),
    "with time zone": (DATES.dt.tz_localize("UTC"), "dates"),
    "timedelta64[ns]": (SPANS, "durations"),
    "timedelta64[s]": (wide(np.array([496, 2, 3], "timedelta64[s]")), "durations"),
    "period": (wide(pd.period_range("2025-01", periods=3, freq="M")), "periods"),
    "interval": (wide(pd.interval_range(0, 3)), "intervals"),
    "dates": (wide([datetime.date(2025, 1, 1)] * 3, dtype=object), "dates"),
    "times": (wide([datetime.time(1, 2)] * 3, dtype=object), "times of day"),
    "spans": (wide([datetime.timedelta(1)] * 3, dtype=object), "durations"),
    "bytes": (wide([b"1", b"2", None], dtype=object), "bytes"),
    "lists": (wide([[1.0], [2.0], None], dtype=object), "lists"),
    "arrays": (wide([np.ones(1), np.ones(1), None], dtype=object), "lists"),
    "mappings": (wide([{"a": 1}] * 3, dtype=object), "mappings"),
    "complex": (wide(np.array([1j, 2, 3])), "complex"),
    "categories of text": (wide(["lo", "hi", "lo"], dtype="category"), "'lo' at row 'ann'"),
    "categories of dates": (NANOSECONDS.astype("category"), "dates"),
    "durations of Arrow": (SPANS.astype("duration[ns][pyarrow]"), "durations"),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_kinds_that_are_no_numbers_are_refused_by_column(name):
    column, kind = COLUMNS[name]
    good, bad = frame(), frame(q2=column)
    for argument, human, twin in (("human", bad, good), ("twin", good, bad)):
        with pytest.raises(ValueError, match=f"`{argument}`: .*column 'q2'") as caught:
            Panel.from_frames(human, twin)
        assert kind in str(caught.value)


@pytest.mark.parametrize("name", ["datetime64[ns]", "timedelta64[ns]", "with time zone", "bytes"])
def test_such_columns_of_files_are_refused_too(tmp_path, name):
    column, kind = COLUMNS[name]
    frame(q2=column).rename_axis("who").to_parquet(tmp_path / "human.parquet")
    frame().rename_axis("who").to_parquet(tmp_path / "twin.parquet")
    with pytest.raises(ValueError, match=rf"human\.parquet: .*column 'q2'.*{kind}"):
        read_table(tmp_path / "human.parquet")
    with pytest.raises(ValueError, match=f"`human`: .*column 'q2'.*{kind}"):
        load_panel(tmp_path / "human.parquet", tmp_path / "twin.parquet")
    assert list(read_table(tmp_path / "human.parquet", numeric=False).columns) == QUESTIONS


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (NUMBERS.astype("timedelta64[ns]"), "durations"),
        (NUMBERS.astype(int).astype("datetime64[D]"), "dates"),
        (np.ma.masked_array(NUMBERS.astype("timedelta64[ns]"), NUMBERS > 4), "durations"),
        (NUMBERS + 1j, "real numbers"),
        (NUMBERS.astype("S3"), "must hold numbers"),
        ([[1, 2, 3], [1, 2, datetime.date(2025, 1, 1)], [1, 2, 3]], "row 'user_1'"),
        ([[1, 2, 3], [1, 2], [1, 2, 3]], "rows differ in length"),
    ],
)
def test_arrays_of_other_kinds_are_refused(values, match):
    with pytest.raises(ValueError, match=f"`human`.*{match}"):
        Panel.from_arrays(values, NUMBERS)


# --- kinds that are -------------------------------------------------------------------------------

GAP = np.array([[False, True, False], [False] * 3, [False] * 3])
MASKED = np.ma.masked_array(np.array([[1, 9, 3], [2, 3, 4], [3, 5, 5]]), GAP)
WITH_GAP = np.where(GAP, NAN, NUMBERS)


@pytest.mark.parametrize(
    "values",
    [
        WITH_GAP.astype(np.float16),
        WITH_GAP.astype(">f8"),
        WITH_GAP.astype(">f4"),
        WITH_GAP.astype(np.longdouble),
        jnp.asarray(WITH_GAP, jnp.bfloat16),
        MASKED,
        MASKED.astype(">i4"),
        MASKED.astype(np.uint8),
        np.ma.masked_array(NUMBERS.astype(str), GAP),
        WITH_GAP.astype(object),
        [[1, pd.NA, 3], [2, 3, 4], [3, 5, 5]],
        [[Decimal(1), None, Fraction(3)], [2, "3", " 4 "], [3, 5, np.float16(5)]],
        [["1", "", "3.0"], ["2", "3", "4"], ["3", "5", "5e0"]],
    ],
    ids=lambda values: str(getattr(values, "dtype", "list")),
)
def test_arrays_and_frames_agree_on_what_is_a_number(values):
    panel = Panel.from_arrays(values, NUMBERS)
    np.testing.assert_array_equal(panel.human, WITH_GAP)
    assert panel.human.dtype == np.float64
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.getdata(values).astype(object)
        values[GAP] = None
    columns = np.array(values, object).T
    human = pd.DataFrame({q: list(c) for q, c in zip(QUESTIONS, columns)}, index=NAMES)
    np.testing.assert_array_equal(Panel.from_frames(human, frame()).human, WITH_GAP)


def test_ranges_are_numbers_like_any_other():
    panel = Panel.from_arrays(NUMBERS, NUMBERS)
    low = np.array([0, 1, 2], np.float16)
    np.testing.assert_array_equal(panel.replace(low=low, high=["9", 8, 7]).high, [9.0, 8.0, 7.0])
    with pytest.raises(ValueError, match=r"`low`.*durations"):
        panel.replace(low=np.array([1, 2, 3], "timedelta64[s]"), high=low + 10)


# --- all at once ----------------------------------------------------------------------------------


def test_all_faults_of_a_table_are_listed_at_once(tmp_path):
    text = (
        "who,start,q1,q2,q3,q4\n"
        "ann,2025-01-01,1,refused,3,1\n"
        "bob,2025-01-02,n/s,2,3,inf\n"
        "cyd,2025-01-03,2,refused,3,1\n"
    )
    (tmp_path / "human.csv").write_text(text)
    frame().rename_axis("who").to_csv(tmp_path / "twin.csv")
    calls = {
        r"human\.csv: ": lambda: read_table(tmp_path / "human.csv"),
        "`human`: ": lambda: load_panel(tmp_path / "human.csv", tmp_path / "twin.csv"),
    }
    for start, call in calls.items():
        with pytest.raises(ValueError, match=start) as caught:
            call()
        said = str(caught.value)
        for word in (
            "7 cells in 4 columns",
            "column 'start' all 3 ('2025-01-01' at row 'ann'",
            "column 'q1' 1 of 3 ('n/s' at row 'bob')",
            "column 'q2' 2 of 3 ('refused' at row 'ann', 'refused' at row 'cyd')",
            "column 'q4' 1 of 3 (inf at row 'bob')",
        ):
            assert word in said, said
        assert "leave out columns that are no questions (such as 'start')" in said
        assert said.endswith("missing='n/s,refused'")


def test_the_end_of_a_long_list_still_says_what_to_do():
    human = pd.DataFrame(np.ones((9, 30)), [f"person {i}" for i in range(9)])
    human.columns = [f"question number {j}" for j in range(30)]
    twin = human.copy()
    human = human.astype(object)
    human.iloc[2:5] = "would rather not say"
    with pytest.raises(ValueError, match="90 cells in 30 columns") as caught:
        Panel.from_frames(human, twin)
    said = str(caught.value)
    assert said.endswith("missing='would rather not say'") and len(said) < 700
    assert "more columns ('question number" in said


def test_what_might_stand_for_missing_is_suggested():
    human = frame(q1=["refused", 1, 2], q3=[1, "don't know, sorry", "refused"])
    with pytest.raises(ValueError, match="missing=") as caught:
        Panel.from_frames(human, frame())
    suggested = re.search(r"missing=(.*)$", str(caught.value))
    assert suggested is not None
    panel = Panel.from_frames(human, frame(), missing=eval(suggested[1]))
    np.testing.assert_array_equal(panel.human, [[NAN, 2, 1], [1, 3, NAN], [2, 5, NAN]])
    with pytest.raises(ValueError, match=r"outside the question's range.*missing='5'"):
        Panel.from_frames(frame(), frame(), scale=(1, 4))


@given(n=st.integers(2, 60), m=st.integers(2, 60))
def test_the_list_is_bounded(n, m):
    cells = np.array([[f"text {i} {'x' * 200} {j}" for j in range(m)] for i in range(n)], object)
    users = ["u" * 90 + str(i) for i in range(n)]
    with pytest.raises(ValueError, match=f"{n * m} cells in {m} columns are not numbers") as caught:
        Panel.from_arrays(cells, np.ones((n, m)), users=users)
    assert len(str(caught.value)) < 700


# --- codes for missing ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "missing", ["refused, N/S ,-99", ["REFUSED", "n/s", -99], ("refused", "n/s", "-99.0")]
)
def test_codes_become_missing(tmp_path, missing):
    human = frame(q1=["Refused", -99, 2], q2=[-99.0, 1, 2], q3=[1, " n/s ", "-99"])
    twin = frame()
    twin.iloc[0, 0] = -99
    expected = [[NAN, NAN, 1], [NAN, 1, NAN], [2, 2, NAN]]
    panel = Panel.from_frames(human, twin, missing=missing)
    np.testing.assert_array_equal(panel.human, expected)
    assert np.isnan(panel.twin[0, 0])
    panel = Panel.from_arrays(human.to_numpy(), twin.to_numpy(), missing=missing)
    np.testing.assert_array_equal(panel.human, expected)
    paths = tmp_path / "human.csv", tmp_path / "twin.csv"
    for path, table in zip(paths, (human, twin)):
        table.rename_axis("who").to_csv(path)
    np.testing.assert_array_equal(load_panel(*paths, missing=missing).human, expected)
    read = read_table(paths[0], missing=missing)
    np.testing.assert_array_equal(read.to_numpy(float), expected)
    twin.rename_axis("who").to_parquet(tmp_path / "twin.parquet")
    with pytest.warns(TableWarning, match="'(?i:refused)', '(?i:n/s)'"):
        read = read_table(tmp_path / "twin.parquet", missing=missing)
    np.testing.assert_array_equal(read.to_numpy(float), panel.twin)


def test_codes_that_were_never_met_are_said():
    human = frame(q1=["refused", 1, 2])
    with pytest.warns(TableWarning, match="`missing`: no cell of .* is 'refuse', '-98'"):
        Panel.from_frames(human, frame(), missing="refused,refuse,-98")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Panel.from_frames(human, frame(q2=[1, -98, 2]), missing="refused,-98,n/a")
    with pytest.raises(ValueError, match="`missing` must hold texts and numbers"):
        Panel.from_frames(frame(), frame(), missing=[[1]])


def test_codes_leave_large_integers_and_flags_alone():
    table = pd.DataFrame({"big": [2**53 + 1, -99, 7], "flag": [True, False, True]}, index=NAMES)
    masked = MissingCodes.of([-99, 1]).masked(table)
    assert masked["big"].iloc[0] == 2**53 + 1 and pd.isna(masked["big"].iloc[1])
    assert masked["flag"].tolist() == [True, False, True]


def test_codes_of_distributions_are_the_twins_alone(tmp_path):
    (tmp_path / "t.csv").write_text("q,1,2\nA,2,3\nB,4,9\n")
    (tmp_path / "w.csv").write_text("who,A,B,C\na,1,refused,2\nb,2,1,1\nc,9,2,2\n")
    data = load_distributions(tmp_path / "t.csv", tmp_path / "w.csv", missing="refused,9")
    assert np.isnan(data.choices[0, 1]) and np.isnan(data.choices[2, 0])
    np.testing.assert_array_equal(data.counts[:2], [[2, 3], [4, 9]])
    (tmp_path / "w.csv").write_text("who,a,B ,C\na,1,2,2\nb,2,1,1\n")
    with pytest.raises(ValueError, match=r"only in case .'A' against 'a'.*surrounding spaces"):
        load_distributions(tmp_path / "t.csv", tmp_path / "w.csv")


def test_ratings_in_frames_follow_the_same_rule():
    with pytest.raises(ValueError, match=r"`ratings`: .*'q2' holds durations"):
        history_personas(frame(q2=SPANS), {})
