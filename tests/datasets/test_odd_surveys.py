"""Rare ways of writing a questionnaire or an export, and those that are none: read, or said."""

import types

import numpy as np
import pandas as pd
import pytest
from qualtrics_files import block, matrix, mc, other, write_export, write_qsf

from syndigits_jax.datasets import read_qualtrics, read_questions
from syndigits_jax.datasets.surveys.labelled import _declared, _variable, _within
from syndigits_jax.datasets.surveys.markup import filled, plain
from syndigits_jax.datasets.surveys.survey import distinct
from syndigits_jax.schema import Option, Scale


def read(tmp_path, *asked, columns=None, rows=(), **options):
    """A survey of these questions in one block, with an export of answers where there is one."""
    inside = [q["QuestionID"] for q in asked]
    qsf = write_qsf(tmp_path / "s.qsf", [block("b", *inside, **options)], asked)
    if columns is None:
        return read_qualtrics(qsf)
    columns = [("ResponseId", "", "_recordId"), *columns]
    return read_qualtrics(qsf, write_export(tmp_path / "r.csv", columns, rows))


def steps(low, high, step=None):
    return Scale(low, high, step, "interval")


def slider(name, selector="HSLIDER", **configuration):
    return other("QID1", name, "Slider", selector, Choices={"1": {"Display": "Warm"}},
                 Configuration=configuration)  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "scale"),
    [
        (slider("stars", "STAR"), steps(0, 5, 1)),
        (slider("stars", "STAR", StarCount=4, StarType="half"), steps(0, 4, 0.5)),
        (slider("snaps", SnapToGrid="true", GridLines=4), steps(0, 100, 25)),
        (slider("thirds", SnapToGrid="true", GridLines=3, CSSliderMax=9), steps(0, 9, 3)),
        (slider("loose", CSSliderMax="7.5"), steps(0, 7.5)),  # no steps of 1 lead there
        (slider("fine", NumDecimals="2", CSSliderMax=10), steps(0, 10)),
        (slider("upside down", CSSliderMin=5, CSSliderMax=5), None),
        (slider("words", CSSliderMin="low"), None),
    ],
)
def test_sliders_have_the_range_that_is_shown(tmp_path, asked, scale):
    (question,) = read(tmp_path, asked).questions
    assert question.scale == scale


def test_matrices_of_texts_pairs_and_carried_rows(tmp_path):
    carried = {"Locator": "q://QID2/ChoiceGroup/SelectedChoices"}
    survey = read(
        tmp_path,
        matrix("QID1", "words", ["A"], ["x"], selector="TE"),
        mc("QID2", "apps", {"1": "Chat", "4": "Maps"}, "MAVR"),
        matrix("QID3", "ends", {"1": "Cold : Warm"}, ["1", "2"], selector="Bipolar"),
        matrix("QID4", "use", {}, ["rarely", "often"], DynamicChoices=carried),
        matrix("QID5", "lost", {}, ["no", "yes"], DynamicChoices={"Locator": "q://QID99/x"}),
        matrix("QID6", "list", ["A"], ["no", "yes"]) | {"Choices": [{"Display": "First"}],
                                                         "ChoiceOrder": []},
    )  # fmt: skip
    text = {question.identifier: question.text for question in survey.questions}
    assert text["ends_1"] == "About ends? Cold to Warm"
    assert text["use_x1"] == "About use? Chat" and text["use_x4"] == "About use? Maps"
    assert text["list_1"] == "About list? First"
    assert survey.left_out == {"words": "it is answered in words", "lost": "it has no choices"}


def test_parts_of_a_side_by_side_question_that_have_no_numbers_are_passed_over(tmp_path):
    liked = {"QuestionText": "Liked", "Selector": "Likert", "SubSelector": "SingleAnswer",
             "Answers": {"1": {"Display": "no"}, "2": {"Display": "yes"}}}  # fmt: skip
    survey = read(
        tmp_path,
        other("QID1", "two", "SBS", "SBSMatrix", Choices={"1": {"Display": "Tea"}},
              AdditionalQuestions=[None, {"Selector": "TE", "QuestionText": "Why"}, liked]),
    )  # fmt: skip
    (question,) = survey.questions
    assert question.identifier == "two#3_1" and question.text == "About two? Liked Tea"
    assert question.options == (Option(1, "no"), Option(2, "yes"))


def test_loops_over_a_list_and_loops_that_only_the_export_tells(tmp_path):
    listed = {"Static": [{"1": "Tea"}, ["Rum"]]}
    asked = mc("QID1", "drink", ["No", "Yes"], text="Do you like ${lm://Field/1}?")
    survey = read(tmp_path, asked, Looping="Static", LoopingOptions=listed)
    assert [(q.identifier, q.text) for q in survey.questions] == [
        ("1_drink", "Do you like Tea?"), ("2_drink", "Do you like Rum?")
    ]  # fmt: skip
    columns = [("3_drink", "", "3_QID1"), ("3_why", "", "3_QID2"), ("3_gone", "", "3_QID9")]
    survey = read(
        tmp_path, asked, other("QID2", "why", "DB", "TB"), columns=columns,
        rows=[["a", "2", "x", "1"]], Looping="Question", LoopingOptions={},
    )  # fmt: skip
    assert survey.answers["3_drink"].tolist() == [2]
    assert survey.left_out["3_why"] == "it shows a text and asks nothing"
    assert survey.left_out["3_gone"] == "the questionnaire has no such question"


def test_all_answers_in_one_cell_are_told_apart_or_said_to_be_odd(tmp_path):
    """Numbers, or labels of which one holds a comma; a question that was seen without an answer."""
    asked = mc("QID1", "apps", {"1": "Chat, plain", "2": "Chat", "3": "Maps"}, "MAVR")
    cells = ["1,3", "Chat, plain, Maps", "Chat", "-99", "Maps and more", "Maps,nothing", ""]
    survey = read(
        tmp_path, asked, mc("QID2", "car", ["No", "Yes"]),
        columns=[("apps", "", "QID1"), ("car", "", "QID2")],
        rows=[[str(i), cell, "1"] for i, cell in enumerate(cells)],
    )  # fmt: skip
    nan = np.nan
    np.testing.assert_array_equal(
        survey.answers.drop(columns="car").to_numpy(),
        [[1, 0, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0], [nan] * 3, [nan] * 3, [nan] * 3],
    )
    assert "apps: 2 cells are no list of its choices ('Maps and more')" in str(survey.report)


@pytest.mark.parametrize("broken", [{"Choices": 5}, {"Configuration": "wide"}, {"Choices": None}])
def test_questions_that_qualtrics_does_not_write_are_named(tmp_path, broken):
    asked = slider("warm") | broken
    qsf = write_qsf(tmp_path / "s.qsf", [block("b", "QID1")], [asked])
    if broken["Choices" if "Choices" in broken else "Configuration"] is None:
        assert read_qualtrics(qsf).left_out == {"warm": "it has no choices"}
        return
    with pytest.raises(ValueError, match=r"s\.qsf: question QID1 \(warm\) is not as Qualtrics"):
        read_questions(qsf)


def test_columns_of_an_export_that_is_given_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"r\.csv: no column 'who' \(`id_column`\)"):
        write_export(tmp_path / "r.csv", [("ResponseId", "", "_recordId"), ("a", "", "QID1")],
                     [["x", "1"]])  # fmt: skip
        read_qualtrics(csv=tmp_path / "r.csv", id_column="who")


def test_a_survey_shows_itself_shortly(tmp_path):
    survey = read(tmp_path, mc("QID1", "car", ["No", "Yes"]), other("QID2", "why", "TE", "ML"))
    assert repr(survey) == "Survey(1 questions, no answers, 1 left out; see .report)"
    columns = [("car", "", "QID1")]
    answered = read(tmp_path, mc("QID1", "car", ["No", "Yes"]), columns=columns, rows=[["a", "1"]])
    assert repr(answered) == "Survey(1 questions, 1 people, 0 left out; see .report)"


def test_names_stay_apart_whatever_they_were():
    assert distinct(["a", "a", "a_1", "b"], ["1", "1", "2", "1"]) == ["a", "a_2", "a_1", "b"]


def test_markup_is_read_as_it_is_seen():
    table = "<table><tr><td>Tea</td><td>Rum</td></tr></table>"
    assert plain(table) == "Tea Rum"
    assert plain("<style>p {color: red}</style><p>Do</p><script>go()</script>you?") == "Do you?"
    tags = {"QID3": "car"}
    for piped, words in (
        ("q://QID3/ChoiceGroup/SelectedChoices", "[car]"),
        ("q://QID9/ChoiceTextEntryValue", "[QID9]"),
        ("e://Field/name", "[name]"),
        ("date://CurrentDate/DS?format=short", "[DS]"),
        ("rand://int/1:5", "[1:5]"),
        ("lm://Field/2", "[Field-2]"),
    ):
        assert filled(f"Of ${{{piped}}}?", {"1": "Tea"}, tags) == f"Of {words}?"


# --- SPSS and Stata -------------------------------------------------------------------------------


def test_dates_words_in_ranges_and_declared_sets():
    meta = types.SimpleNamespace(
        mr_sets={
            "apps": {"is_dichotomy": True, "variable_list": ["a1", "a2"]},
            "lone": {"is_dichotomy": True, "variable_list": ["a1"]},
            "codes": {"is_dichotomy": False, "variable_list": ["a1", "a2"]},
            "gone": {"is_dichotomy": True, "variable_list": ["a1", "a9"]},
        }
    )
    fields = "readstat_variable_types missing_ranges column_names_to_labels variable_measure"
    read_as_spss = types.SimpleNamespace(**{name: {} for name in fields.split()})
    column = _variable(pd.Series([1.0, 0.0]), "a", read_as_spss, {})
    assert _declared(meta, dict.fromkeys(["a1", "a2"], column)) == (("a1", "a2"),)
    day = pd.Series(pd.to_datetime(["2026-01-01", "2026-01-02"]))
    assert _variable(day, "day", meta, {}) == "it is a date"
    ranges = [{"lo": "a", "hi": "z"}, {"lo": 8, "hi": 9}, 5]
    assert [_within(x, ranges) for x in (8.5, 5.0, 7.0)] == [True, True, False]


def test_a_labelled_file_without_people_is_refused(tmp_path):
    pyreadstat = pytest.importorskip("pyreadstat")
    from syndigits_jax.datasets import read_spss

    pyreadstat.write_sav(pd.DataFrame({"car": np.zeros(0)}), tmp_path / "s.sav")
    with pytest.raises(ValueError, match=r"s\.sav: has variables, but no people"):
        read_spss(tmp_path / "s.sav")
