"""Qualtrics' questionnaires and exports: types of questions, codes, loops, responses, errors."""

import json

import numpy as np
import pandas as pd
import pytest
from qualtrics_files import block, matrix, mc, other, write_export, write_qsf

from syndigits_jax import Panel
from syndigits_jax.datasets import read_qualtrics, read_questions, read_table
from syndigits_jax.schema import Option, Scale
from syndigits_jax.tables.cells import TableWarning

AGREE = ["No", "Rather&nbsp;no", "<b>Yes</b>, a lot"]
FORCED = {"Validation": {"Settings": {"ForceResponse": "ON"}}}
NUMBER = {"ContentType": "ValidNumber", "ValidNumber": {"Min": "0", "Max": "168"}}


def questions():
    """One question of every kind, in two blocks, and one in the trash."""
    return [
        mc("QID1", "car", AGREE, text="Do you <i>drive</i>,<br>${e://Field/name}?",
           RecodeValues={"1": "3", "2": "2", "3": 1}),
        mc("QID2", "apps", {"2": "X, Y", "5": "Z", "7": "None"}, "MAVR",
           RecodeValues={"2": "12", "5": "15", "7": "17"}, AnalyzeChoices={"7": "No"}, **FORCED),
        matrix("QID3", "life", {"1": "Work", "4": "Home"}, ["bad", "good"],
               ChoiceDataExportTags={"1": "life_w", "4": "life_h"}, RecodeValues={"2": "5"}),
        matrix("QID4", "grid", {"1": "Mon", "2": "Tue"}, ["am", "pm"], "MultipleAnswer"),
        other("QID5", "feel", "Slider", "HSLIDER", Choices={"1": {"Display": "Warm"}},
              Configuration={"CSSliderMin": 0, "CSSliderMax": 10, "NumDecimals": "0"}),
        other("QID6", "cut", "CS", "VRTL", Choices={"1": {"Display": "A"}, "2": {"Display": "B"}},
              Validation={"Settings": {"ChoiceTotal": "100"}}),
        other("QID7", "rank", "RO", "DND", Choices={"1": {"Display": "A"}, "2": {"Display": "B"}}),
        other("QID8", "hours", "TE", "SL", Validation={"Settings": NUMBER}),
        other("QID9", "why", "TE", "ML"),
        other("QID10", "hello", "DB", "TB"),
        other("QID11", "page", "Timing", "PageTimer"),
        other("QID12", "map", "HotSpot", "OnOff"),
        other("QID13", "new", "Sorcery"),
        mc("QID14", "car", ["old"]),
        other("QID15", "two", "SBS", "SBSMatrix", Choices={"1": {"Display": "Tea"}},
              AdditionalQuestions={"1": {
                  "QuestionText": "Liked", "Selector": "Likert", "SubSelector": "SingleAnswer",
                  "Answers": {"1": {"Display": "no"}, "2": {"Display": "yes"}},
                  "AnswerOrder": ["1", "2"]}}),
    ]  # fmt: skip


NAMES = [
    "car", "apps_12", "apps_15", "life_life_w", "life_life_h", "grid_1_1", "grid_1_2", "grid_2_1",
    "grid_2_2", "feel_1", "cut_1", "cut_2", "rank_1", "rank_2", "hours", "two#1_1",
]  # fmt: skip
PLACES = [
    "QID1", "QID2|2", "QID2|5", "QID3_1", "QID3_4", "QID4_1|1", "QID4_1|2", "QID4_2_1", "QID4_2_2",
    "QID5_1", "QID6_1", "QID6_2", "QID7_1", "QID7_2", "QID8_TEXT", "QID15#1_1",
]  # fmt: skip
BESIDE = [
    ("ResponseId", "_recordId"), ("Status", "status"), ("Finished", "finished"), ("who", "who"),
    ("why", "QID9_TEXT"), ("page_First Click", "QID11_FIRST_CLICK"), ("apps_DO_2", "QID2_DO|2"),
    ("apps_5_TEXT", "QID2_5_TEXT"), ("gone_1", "QID99"), ("apps_9", "QID2|9"),
]  # fmt: skip
COLUMNS = [(name, f"{name}?", where) for name, where in [*BESIDE, *zip(NAMES, PLACES)]]
FIRST = ["2", "1", "", "5", "1", "1", "", "", "", "7", "60", "40", "1", "2", "8.5", "2"]
CODED = [2, 1, 0, 5, 1, 1, 0, 0, 0, 7, 60, 40, 1, 2, 8.5, 2]


def row(answers, who="a", status="0", finished="1"):
    """A response with nothing beside the answers."""
    return [f"R_{who}", status, finished, who, "", "", "", "", "", "", *answers]


@pytest.fixture
def qsf(tmp_path):
    of = [f"QID{i}" for i in range(1, 16) if i != 14]
    blocks = [block("Trash", "QID14", kind="Trash"), block("late", *of[8:]), block("main", *of[:8])]
    return write_qsf(tmp_path / "s.qsf", blocks, questions(), ["main", "late"])


def test_kinds_of_questions_become_columns_with_codes(qsf):
    survey = read_qualtrics(qsf)
    by_name = {question.identifier: question for question in survey.questions}
    assert list(by_name) == NAMES
    car = by_name["car"]
    assert car.text == "Do you drive,\n[name]?"
    assert car.options == (Option(3, "No"), Option(2, "Rather no"), Option(1, "Yes, a lot"))
    assert car.block == "main" and by_name["two#1_1"].block == "late"
    assert by_name["apps_15"].text == "About apps? - Z"
    assert by_name["apps_15"].options == (Option(1, "Selected"), Option(0, "Not selected"))
    assert by_name["life_life_w"].text == "About life? Work"
    assert by_name["life_life_w"].options == (Option(1, "bad"), Option(5, "good"))
    assert by_name["feel_1"].scale == Scale(0, 10, 1, "interval")
    assert by_name["cut_2"].scale == Scale(0, 100, None, "interval")
    assert by_name["rank_1"].scale == Scale(1, 2, 1)
    assert by_name["hours"].scale == Scale(0, 168, None, "interval")
    assert by_name["two#1_1"].text == "About two? Liked Tea"
    assert survey.left_out == {
        "car": "it is in the survey's trash",
        "why": "it is answered in words",
        "hello": "it shows a text and asks nothing",
        "page": "it is the time spent on a page",
        "map": "it is answered by clicks on an image",
        "new": "its type, Sorcery, is none that is read",
    }
    assert "Left out, as it is answered in words: why." in survey.report
    assert any("differ by person" in said and "car" in said for said in survey.report)


@pytest.mark.parametrize("name", ["r.csv", "r.tsv"])
def test_answers_are_codes_and_the_rest_is_said(tmp_path, qsf, name):
    rows = [row(FIRST), row(["1", "", "", *[""] * 13], "b")]
    encoding = "utf-16" if name == "r.tsv" else "utf-8-sig"
    survey = read_qualtrics(qsf, write_export(tmp_path / name, COLUMNS, rows, encoding))
    assert list(survey.answers.columns) == NAMES == [q.identifier for q in survey.questions]
    assert survey.answers.index.tolist() == ["R_a", "R_b"]
    assert survey.answers.loc["R_a"].tolist() == CODED
    # All had to answer the second question, and its "None" has no column; others were not shown.
    assert survey.answers.loc["R_b", ["car", "apps_12", "apps_15"]].tolist() == [1, 0, 0]
    assert survey.answers.loc["R_b"].drop(["car", "apps_12", "apps_15"]).isna().all()
    assert survey.left_out["why"] == "it is answered in words"
    assert survey.left_out["apps_5_TEXT"] == "it is answered in words"
    assert survey.left_out["page_First Click"] == "it is the time spent on a page"
    assert survey.left_out["apps_DO_2"] == "it is the order of what was shown"
    assert survey.left_out["gone_1"] == "the questionnaire has no such question"
    assert survey.left_out["apps_9"] == "the questionnaire has no such choice"
    assert survey.left_out["who"] == "it is embedded data"


def test_texts_of_choices_give_the_same_codes_as_numbers(tmp_path):
    """Also labels that look like codes of other options, and choices with commas in one cell."""
    labels = ["1 - left", "2", "3 - right"]
    asked = [
        mc("QID1", "side", labels, RecodeValues={"1": "3", "2": "2", "3": "1"}),
        mc("QID2", "turn", ["2", "1"], VariableNaming={"1": "two", "2": "one"}),
        mc("QID3", "apps", ["X, Y", "X", "Z"], "MACOL"),
    ]
    qsf = write_qsf(tmp_path / "s.qsf", [block("b", "QID1", "QID2", "QID3")], asked)
    columns = [("ResponseId", "", "_recordId"), ("side", "", "QID1"), ("turn", "", "QID2"),
               ("apps", "", "QID3")]  # fmt: skip
    words = [["a", "1 - LEFT", "2", "X, Y,Z"], ["b", "2", "1", "X"], ["c", "3 - right", "1", ""]]
    codes = [["a", "3", "1", "1,3"], ["b", "2", "2", "2"], ["c", "1", "2", ""]]
    of_words = read_qualtrics(qsf, write_export(tmp_path / "w.csv", columns, words))
    of_codes = read_qualtrics(qsf, write_export(tmp_path / "c.csv", columns, codes))
    pd.testing.assert_frame_equal(of_words.answers, of_codes.answers)
    nan = np.nan
    expected = [[3, 1, 1, 0, 1], [2, 2, 0, 1, 0], [1, 2, nan, nan, nan]]
    np.testing.assert_array_equal(of_words.answers.to_numpy(), expected)


def test_odd_cells_are_missing_and_said(tmp_path, qsf):
    odd = [*FIRST]
    odd[0], odd[9], odd[14], odd[2] = "9", "11", "-99", "-99"
    rows = [row(FIRST), row(odd, "b"), row(["2", *["-99"] * 15], "c")]
    survey = read_qualtrics(qsf, write_export(tmp_path / "r.csv", COLUMNS, rows))
    assert survey.answers.loc["R_b", ["car", "feel_1", "hours"]].isna().all()
    assert survey.answers.loc["R_b", ["apps_12", "apps_15"]].tolist() == [1, 0]
    assert survey.answers.loc["R_c", ["apps_12", "grid_2_2"]].tolist() == [0, 0]
    told = " ".join(survey.report)
    assert "car: 1 answer is no option of the question ('9')" in told
    assert "feel_1: 1 answer is no number of the question's range ('11')" in told
    assert "hours" not in told


def test_only_real_responses_count_each_person_once(tmp_path, qsf):
    rows = [
        row(FIRST, "a"),
        row(FIRST, "b", status="Survey Preview"),
        row(FIRST, "c", status="8"),
        row(FIRST, "d", finished="False"),
        row([""] * 16, "e"),
        row(["1", *FIRST[1:]], "a"),
        row(FIRST, "", finished="True"),
        row(FIRST, "f"),
    ]
    path = write_export(tmp_path / "r.csv", COLUMNS, rows)
    survey = read_qualtrics(qsf, path, id_column="who")
    assert survey.answers.index.tolist() == ["a", "f"]
    assert survey.answers["car"].tolist() == [2, 2]
    told = " ".join(survey.report)
    for words in (
        "4 responses are left out: 1 of previews and tests, 1 of spam, 1 not finished, 1 empty.",
        "1 response is left out without a 'who'.",
        "1 response is left out as further ones of the same 'who'.",
    ):
        assert words in told, told
    kept = read_qualtrics(qsf, path, id_column="who", unfinished=True)
    assert kept.answers.index.tolist() == ["a", "d", "f"]
    with pytest.raises(ValueError, match="what identifies people"):
        read_qualtrics(qsf, path, id_column="Status")


def test_loops_and_shared_names_are_told_apart(tmp_path):
    """Two questions of one name in a loop of two runs, and a loop whose runs only answers tell."""
    text = "How is ${lm://Field/1}?"
    asked = [
        mc("QID1", "Q", ["X", "Y"], "MAVR", text=text),
        mc("QID2", "Q", ["X", "Y"], "MAVR", text=text),
        mc("QID3", "R", ["X", "Y"], text=text),
        mc("QID4", "S", ["X", "Y"], text=text),
    ]
    static = {"Static": {"1": {"1": "Tea"}, "3": {"1": "Rum"}}}
    chosen = {"Locator": "q://QID3/ChoiceGroup/SelectedChoices"}
    blocks = [
        block("loop", "QID1", "QID2", Looping="Static", LoopingOptions=static),
        block("one", "QID3", Looping="Question", LoopingOptions={}),
        block("two", "QID4", Looping="Question", LoopingOptions=chosen),
    ]
    qsf = write_qsf(tmp_path / "s.qsf", blocks, asked)
    alone = read_qualtrics(qsf)
    names = [f"{loop}_Q_{c}_{qid}" for loop in (1, 3) for qid in ("QID1", "QID2") for c in (1, 2)]
    assert [q.identifier for q in alone.questions] == [*names, "1_S", "2_S"]
    assert alone.questions[4].text == "How is Rum? - X" and alone.questions[-1].text == "How is Y?"
    assert alone.left_out["R"] == "it is in a loop whose runs only the answers tell"
    columns = [("ResponseId", "", "_recordId"), ("7_R", "", "7_QID3"), ("1_Q_1", "", "1_QID1|1"),
               ("1_Q_1", "", "1_QID2|1"), ("1_Q_2", "", "1_QID2|2")]  # fmt: skip
    answers = [["a", "1", "1", "", "1"], ["b", "2", "", "1", ""]]
    path = write_export(tmp_path / "r.csv", columns, answers)
    survey = read_qualtrics(qsf, path)
    assert survey.answers["7_R"].tolist() == [1, 2]
    np.testing.assert_array_equal(survey.answers["1_Q_1_QID1"], [1, np.nan])
    assert survey.answers["1_Q_1_QID2"].tolist() == [0, 1]
    assert "1_Q_2_QID1" not in survey.answers
    assert read_qualtrics(csv=path).answers["1_Q_1_QID2"].tolist() == [0, 1]


def test_carried_choices_rest_on_the_question_they_come_from(tmp_path):
    asked = [
        mc("QID1", "a", {"1": "Cat", "4": "Dog"}, "MAVR"),
        mc("QID2", "b", {}, DynamicChoices={"Locator": "q://QID1/ChoiceGroup/SelectedChoices"}),
    ]
    survey = read_qualtrics(write_qsf(tmp_path / "s.qsf", [block("b", "QID1", "QID2")], asked))
    assert survey.questions[-1].options == (Option(1, "Cat"), Option(4, "Dog"))


def test_odd_ways_of_writing_a_questionnaire_are_read(tmp_path):
    """Empty objects are lists in them, orders may be objects, and codes words or empty."""
    asked = [
        mc("QID1", "a", ["Yes", "No", "None"], RecodeValues={"1": "5", "2": "", "3": "NA"},
           VariableNaming=[], Validation=[], Configuration=[], AnalyzeChoices=[]),
        mc("QID2", "b", ["Yes", "No"]) | {"ChoiceOrder": {"0": "2", "1": "1"}, "RecodeValues": []},
        mc("QID3", "c", ["Yes", "No"], RecodeValues={"1": "y", "2": "n"}),
        other("QID4", "d", "MC", "SAVR", Choices=[]),
        other("QID5", "e", "SBS", AdditionalQuestions=[]),
        mc("QID6", "f", ["Yes"], "MAVR"),
    ]  # fmt: skip
    blocks = [block("b", *[q["QuestionID"] for q in asked])]
    blocks[0]["Options"] = []
    qsf = write_qsf(tmp_path / "s.qsf", blocks, asked)
    survey = read_qualtrics(qsf)
    a, b, c, f = survey.questions
    assert a.options == (Option(5, "Yes"), Option(2, "No"))
    assert b.options == (Option(2, "No"), Option(1, "Yes"))
    assert c.options == (Option(1, "Yes"), Option(2, "No"))
    assert (f.identifier, f.text) == ("f_1", "About f? - Yes")
    assert survey.left_out == dict.fromkeys("de", "it has no choices")
    columns = [("ResponseId", "", "_recordId"), ("a", "", "QID1"), ("c", "", "QID3")]
    path = write_export(tmp_path / "r.csv", columns, [["x", "NA", "n"], ["y", "5", "y"]])
    found = read_qualtrics(qsf, path)
    np.testing.assert_array_equal(found.answers.to_numpy(), [[np.nan, 2], [5, 1]])
    assert any("'NA'" in said for said in found.report)


def test_an_export_alone_has_numbers_and_no_options(tmp_path):
    rows = [row(FIRST), row(["1", "", "1", "1", *FIRST[4:]], "b")]
    path = write_export(tmp_path / "r.csv", COLUMNS, rows)
    survey = read_qualtrics(csv=path)
    assert survey.answers[["car", "life_life_w"]].to_numpy().tolist() == [[2, 5], [1, 1]]
    assert survey.answers[["apps_12", "apps_15"]].to_numpy().tolist() == [[1, 0], [0, 1]]
    assert all(not q.options for q in survey.questions if q.identifier == "car")
    assert [q.identifier for q in read_questions(path)] == list(survey.answers.columns)
    words = write_export(tmp_path / "w.csv", COLUMNS, [row(["Rather no", *FIRST[1:]])])
    told = read_qualtrics(csv=words)
    assert "questionnaire" in told.left_out["car"] and "car" not in told.answers


def test_readers_of_tables_and_questions_take_these_files(tmp_path, qsf):
    rows = [row(FIRST), row(FIRST, "b")]
    path = write_export(tmp_path / "r.csv", COLUMNS, rows)
    with pytest.warns(TableWarning, match=r"r\.csv: \d+ left out \('who', .*embedded data"):
        table = read_table(path, "ResponseId", questions=qsf, missing="8.5")
    assert table.loc["R_b"].drop("hours").tolist() == [c for c in CODED if c != 8.5]
    assert table["hours"].isna().all()
    with pytest.warns(TableWarning, match=r"s\.qsf: .*answered in words"):
        asked = read_questions(qsf)
    assert [q.identifier for q in asked] == NAMES
    scale = {q.identifier: q.scale for q in asked if q.scale}
    panel = Panel.from_frames(table, table.fillna(1.0), scale=scale)
    assert (panel.n, panel.m) == (2, 16)
    with pytest.raises(ValueError, match="questionnaire, without answers"):
        read_table(qsf)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"SurveyElements": [{"Element": "SQ"', "cut off in a download"),
        (b'{"SurveyElements": {"a": 1}}', "no questionnaire of Qualtrics"),
        (b"[1]", "no questionnaire of Qualtrics"),
        (b'{"SurveyElements": []}', "no questions"),
        (b"PK\x03\x04 and so on", "unzip it"),
        ('{"SurveyElements": "é"}'.encode("latin-1"), "not UTF-8"),
        (b"hello", "cannot be read as JSON"),
    ],
)
def test_files_that_are_no_questionnaires_say_what_they_are(tmp_path, content, words):
    (tmp_path / "s.qsf").write_bytes(content)
    with pytest.raises(ValueError, match=rf"s\.qsf: .*{words}"):
        read_questions(tmp_path / "s.qsf")


def test_exports_that_cannot_be_used_say_why(tmp_path, qsf):
    other_survey = [("ResponseId", "", "_recordId"), ("Q1", "", "QID71")]
    path = write_export(tmp_path / "r.csv", other_survey, [["a", "1"]])
    with pytest.raises(ValueError, match=r"another survey.*QID71"):
        read_qualtrics(qsf, path)
    (tmp_path / "r.zip").write_bytes(b"PK\x03\x04")
    for read in (lambda p: read_qualtrics(qsf, p), read_table):
        with pytest.raises(ValueError, match="unzip it"):
            read(tmp_path / "r.zip")
    path.write_text("who,car\na,1\n")
    with pytest.raises(ValueError, match="no row of import identifiers"):
        read_qualtrics(qsf, path)
    path = write_export(path, COLUMNS, [row(FIRST)], "latin-1")
    path.write_bytes(path.read_bytes() + "é".encode("latin-1"))
    with pytest.raises(ValueError, match="Latin-1"):
        read_qualtrics(qsf, path)
    nameless = [("x", "", "x"), ("y", "", "y"), ("car", "", "QID1")]
    path = write_export(path, nameless, [["1", "2", "1"], ["3", "4", "2"]])
    with pytest.raises(ValueError, match=r"which column identifies people.*'x', 'y'"):
        read_qualtrics(qsf, path)
    path = write_export(path, COLUMNS, [row([""] * 16)])
    with pytest.raises(ValueError, match=r"no response that counts.*1 empty"):
        read_qualtrics(qsf, path)
    with pytest.raises(FileNotFoundError):
        read_qualtrics(qsf, tmp_path / "none.csv")
    with pytest.raises(ValueError, match="`qsf`"):
        read_qualtrics()


@pytest.mark.data
@pytest.mark.parametrize(
    ("study", "people", "count"),
    [
        ("consumer_minimalism", 200, 16),
        ("preference_redistribution", 1198, 28),
        ("recommendation_algorithms", 598, 125),
    ],
)
def test_published_surveys_are_read_whole(data_dir, study, people, count):
    """Judged by the cells of the export, column by column."""
    folder = data_dir / "mega-study-qualtrics" / study
    survey = read_qualtrics(folder / "survey.qsf", folder / "response.csv")
    assert survey.answers.shape == (people, count)
    assert survey.answers.index.name == "TWIN_ID"
    assert [q.identifier for q in read_qualtrics(folder / "survey.qsf").questions] == [
        q.identifier for q in survey.questions
    ]
    raw = pd.read_csv(folder / "response.csv", header=None, dtype=str, keep_default_na=False)
    ids = [json.loads(c)["ImportId"] if c.startswith("{") else c for c in raw.iloc[2]]
    where = dict(zip(raw.iloc[0], raw.iloc[3:].T.to_numpy()))
    single = [n for n, i in zip(raw.iloc[0], ids) if "QID" in i and raw.iloc[0].eq(n).sum() == 1]
    checked = 0
    for question in survey.questions:
        name, values = question.identifier, survey.answers[question.identifier].to_numpy()
        assert set(values[~np.isnan(values)]) <= {o.value for o in question.options} or (
            not question.options and question.scale
        )
        if name in single:
            cells = where[name]
            if question.options and question.options[0].label == "Selected":
                np.testing.assert_array_equal(values == 1, cells == "1")
            else:
                np.testing.assert_array_equal(values, [float(c) if c else np.nan for c in cells])
            checked += 1
    assert checked >= count / 2
