"""SPSS and Stata files: labels, codes of missing answers, sets of several answers, errors."""

import datetime

import numpy as np
import pandas as pd
import pytest

from syndigits_jax import Panel
from syndigits_jax.datasets import read_questions, read_spss, read_stata, read_table
from syndigits_jax.schema import Option, Scale
from syndigits_jax.tables.cells import TableWarning

pyreadstat = pytest.importorskip("pyreadstat")
NAN = np.nan
TABLE = pd.DataFrame(
    {
        "who": ["a", "b", "c", "d"],
        "car": [1.0, 2.0, 9.0, NAN],
        "mood": [1.0, 3.0, 5.0, 8.0],
        "age": [20.0, 31.5, 44.0, 99.0],
        "kids": [0.0, 2.0, 3.0, 97.0],
        "apps_1": [1.0, NAN, 1.0, NAN],
        "apps_2": [NAN, 1.0, 1.0, NAN],
        "note": ["", "x", "", "y"],
    }
)
LABELS = {
    "car": {1: "Yes", 2: "No", 9: "Refused"},
    "mood": {1: "bad", 5: "good", 8: "Unsure", 9: "Refused"},
    "kids": {0: "none", 1: "one"},
    "apps_1": {1: "Facebook"},
    "apps_2": {1: "TikTok"},
}
TEXTS = {"car": "Do you own a car?", "apps_1": "Which?", "apps_2": "Which?"}
CODED = [
    [1, 1, 20, 0, 1, 0], [2, 3, 31.5, 2, 0, 1], [NAN, 5, 44, 3, 1, 1], [NAN, NAN, NAN, 97, NAN, NAN]
]  # fmt: skip


def write_sav(path, table=TABLE, **more):
    dates = {"day": [datetime.date(2026, 1, d) for d in (1, 2, 3, 4)]}
    given = {
        "column_labels": TEXTS, "variable_value_labels": LABELS,
        "missing_ranges": {"car": [9], "mood": [{"lo": 8, "hi": 9}], "age": [99]},
        "variable_measure": {"car": "nominal", "mood": "ordinal", "age": "scale"},
    }  # fmt: skip
    pyreadstat.write_sav(table.assign(**dates), path, **(given | more))
    return path


@pytest.mark.parametrize("name", ["s.sav", "s.zsav"])
def test_spss_files_have_their_labels(tmp_path, name):
    path = write_sav(tmp_path / name, compress=name == "s.zsav")
    survey = read_spss(path)
    assert survey.answers.index.tolist() == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(survey.answers.to_numpy(), CODED)
    by_name = {question.identifier: question for question in survey.questions}
    car, mood = by_name["car"], by_name["mood"]
    assert car.text == "Do you own a car?" and car.refusal == 9
    assert car.options == (Option(1, "Yes"), Option(2, "No"), Option(9, "Refused"))
    assert car.scale == Scale(1, 2, 1, "nominal")
    # The labels name the ends of a scale; 8 and 9 are missing.
    assert mood.options == tuple(map(Option, range(1, 6), ["bad", "2", "3", "4", "good"]))
    assert (mood.refusal, mood.scale) == (None, Scale(1, 5, 1, "ordinal"))
    assert by_name["age"].options == by_name["kids"].options == ()
    assert by_name["apps_2"].text == "Which? - TikTok"
    assert by_name["apps_2"].options == (Option(1, "Selected"), Option(0, "Not selected"))
    assert survey.left_out == {"note": "it is text", "day": "it is a date or time"}
    told = " ".join(survey.report)
    for words in ("car: 1 answer is a user-missing code (9).", "age: 1 answer", "kids: its labels"):
        assert words in told


def test_stata_files_have_their_labels(tmp_path):
    path = tmp_path / "s.dta"
    table = TABLE.assign(car=[1.0, 2.0, "b", NAN])
    pyreadstat.write_dta(
        table, path, column_labels=TEXTS, variable_value_labels=LABELS,
        missing_user_values={"car": ["b"]},
    )  # fmt: skip
    survey = read_stata(path)
    np.testing.assert_array_equal(survey.answers["car"], [1, 2, NAN, NAN])
    assert survey.questions[0].text == "Do you own a car?"
    assert survey.questions[0].options[1] == Option(2, "No")
    np.testing.assert_array_equal(survey.answers[["apps_1", "apps_2"]], np.array(CODED)[:, 4:])


def test_readers_of_tables_and_questions_take_these_files(tmp_path):
    path = write_sav(tmp_path / "s.sav")
    with pytest.warns(TableWarning, match=r"s\.sav: 2 left out \('note', 'day'\): it is text"):
        table = read_table(path, missing="97")
    assert table["kids"].isna().tolist() == [False, False, False, True]
    with pytest.warns(TableWarning, match="it is text"):
        asked = read_questions(path)
    assert [q.identifier for q in asked] == list(table.columns)
    scale = {q.identifier: q.scale for q in asked if q.scale}
    assert Panel.from_frames(table, table.fillna(1.0), scale=scale).m == 6


def test_people_are_told_apart_by_the_variable_given(tmp_path):
    path = write_sav(tmp_path / "s.sav", TABLE.assign(who=["a", "a", "b", ""]))
    survey = read_spss(path)
    assert survey.answers is None and len(survey.questions) == 6
    assert "No variable identifies people" in survey.report[-1]
    assert read_spss(path, id_column="age").answers.index.tolist() == ["20", "31.5", "44", "99"]
    for column, words in (("who", "has gaps|repeats"), ("car", "gaps"), ("x", "no variable")):
        with pytest.raises(ValueError, match=words):
            read_spss(path, id_column=column)
    with pytest.raises(ValueError, match="no variable identifies people"):
        read_table(path)


def test_files_that_cannot_be_read_say_why(tmp_path):
    path = write_sav(tmp_path / "s.sav")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"s\.sav: cannot be read as \.sav .*is it whole"):
        read_spss(path)
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match="unzip it"):
        read_spss(path)
    with pytest.raises(ValueError, match=r"expected a file \.dta"):
        read_stata(path)
    with pytest.raises(FileNotFoundError):
        read_spss(tmp_path / "none.sav")
    words = TABLE[["who", "note"]]
    pyreadstat.write_sav(words, path)
    with pytest.raises(ValueError, match="no numeric variable"):
        read_spss(path)
