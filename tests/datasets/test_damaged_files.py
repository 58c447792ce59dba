"""Tables, questions, personas and survey files that went wrong: read, or refused by name."""

import gzip
import io
import json
import os

import pandas as pd
import pytest
from damaged_files import DEEP, changed, damage, read_or_refuse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qualtrics_files import block, matrix, mc, other, place, write_export, write_qsf

from syndigits_jax.datasets import (
    load_panel,
    read_items,
    read_personas,
    read_qualtrics,
    read_questions,
    read_table,
    read_twin_2k_500_questions,
)
from syndigits_jax.datasets.rating_files import read_columns
from syndigits_jax.panel import Panel

once = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
few = settings(once, max_examples=8)

HUMAN = 'id,q1,q2,"q, 3"\nanna,4,2,5\nben,1,,"3"\nzoë,2,1.5,NA\n007,5,5,1\n'
QUESTIONS = (
    "identifier,text,options,low,high,step,kind,refusal,reverse_coded,block\n"
    'q1,"Is it, so?",1=Yes|2=No|9=None,,,,,9,true,x\nq2,How much?,,0,100,5,interval,,,y\n'
)
PERSONAS = "identifier,text,age\np1,A teacher.,45\np2,An élève.,12\n"
ITEMS = "item,title,genre\nf1,Alien (1979),Horror|Sci-Fi\nf2,Up,\"['Drama', 'Comedy']\"\n"
RATINGS = "user,item,rating,time\nu1,f1,4.5,1\nu2,f2,3,2\nu1,f2,1,3\n"
REVIEWS = "".join(
    json.dumps({"user_id": f"u{i}", "parent_asin": "b", "rating": 4.0, "title": "Gut"}) + "\n"
    for i in range(3)
)
OWN = [
    {"identifier": "q1", "text": "So?", "options": [{"value": 1, "label": "Yes"}, {"value": 2}],
     "refusal": 9, "reverse_coded": True, "block": "x", "item": {"title": "Up"}},
    {"identifier": "q2", "options": ["No", "Yes"], "scale": {"low": 0, "high": 9, "step": 1}},
]  # fmt: skip
TWIN_2K = {
    "Q1": {"text": "So?", "row": "", "options": ["a", "b"], "range": [1, 2], "block": "x"},
    "Q2": {"text": "How?", "row": "much", "options": None, "range": [0, 100], "block": None},
}
OPINIONQA = {"Q1": {"question": "So? ['a', 'b']", "choices": ["a", "b", "Refused"],
                    "choice_to_numeric": {"a": 1, "b": 2, "Refused": 3}}}  # fmt: skip
PEOPLE = [{"identifier": "p1", "text": "A teacher.", "attributes": {"age": "45"},
           "answers": {"q1": "Yes."}}, {"identifier": "p2"}]  # fmt: skip


def parquet(text):
    out = io.BytesIO()
    pd.read_csv(io.StringIO(text)).to_parquet(out, index=False)
    return out.getvalue()


def write(path, content):
    path.write_bytes(content)
    return path


TEXTS = {
    "human.csv": (HUMAN, read_table),
    "human.tsv": (HUMAN.replace(",", "\t"), read_table),
    "questions.csv": (QUESTIONS, read_questions),
    "personas.csv": (PERSONAS, read_personas),
    "items.csv": (ITEMS, read_items),
    "ratings.csv": (RATINGS, read_columns),
    "reviews.jsonl": (REVIEWS, read_columns),
    "people.jsonl": ("\n".join(map(json.dumps, PEOPLE)), read_personas),
    "own.json": (json.dumps(OWN), read_questions),
    "people.json": (json.dumps(PEOPLE), read_personas),
}
BYTES = {
    "human.csv.gz": (gzip.compress(HUMAN.encode(), mtime=0), read_table),
    "reviews.jsonl.gz": (gzip.compress(REVIEWS.encode(), mtime=0), read_columns),
    "human.parquet": (parquet(HUMAN), read_table),
    "questions.parquet": (parquet(QUESTIONS), read_questions),
    "ratings.parquet": (parquet(RATINGS), read_columns),
}


@once
@pytest.mark.parametrize("name", TEXTS)
@given(harm=damage(text=True))
def test_damaged_text_is_read_or_refused_by_name(tmp_path, name, harm):
    content, reader = TEXTS[name]
    read_or_refuse(reader, write(tmp_path / name, harm(content.encode())))


@once
@pytest.mark.parametrize("name", BYTES)
@given(harm=damage())
def test_damaged_bytes_are_read_or_refused_by_name(tmp_path, name, harm):
    content, reader = BYTES[name]
    read_or_refuse(reader, write(tmp_path / name, harm(content)))


@once
@pytest.mark.parametrize(
    ("document", "reader"),
    [(OWN, read_questions), (TWIN_2K, read_questions), (OPINIONQA, read_questions),
     (PEOPLE, read_personas), (TWIN_2K, read_twin_2k_500_questions)],
)  # fmt: skip
@given(data=st.data())
def test_any_value_anywhere_in_a_document_is_read_or_refused_by_name(
    tmp_path, document, reader, data
):
    text = json.dumps(data.draw(changed(document)))
    read_or_refuse(reader, write(tmp_path / "d.json", text.encode()))


@once
@given(rows=st.lists(st.lists(st.sampled_from(
    ["", "1", "2.5", "x", "NA", "1e999", "inf", "9" * 400, "1_0", "0x1", "½", "=1+1", "TRUE", "\0"]
), min_size=3, max_size=3), min_size=1, max_size=4))  # fmt: skip
def test_a_column_of_mixed_cells_is_numbers_or_refused_by_cell(tmp_path, rows):
    lines = [["id", "q1", "q2", "q3"], *([f"p{i}", *row] for i, row in enumerate(rows))]
    path = write(tmp_path / "t.csv", "\n".join(map(",".join, lines)).encode())
    odd = {"x", "1e999", "inf", "9" * 400, "1_0", "0x1", "½", "=1+1", "\0"}
    found = read_or_refuse(read_table, path)
    if found is not None:
        assert not odd & {cell for row in rows for cell in row}
        return
    with pytest.raises(ValueError, match=r"column 'q\d'"):
        read_table(path)


QSF = [
    mc("QID1", "car", ["Yes", "No"], RecodeValues={"1": "1", "2": "0"}),
    mc("QID2", "apps", ["X", "Y"], "MAVR", Validation={"Settings": {"ForceResponse": "ON"}}),
    matrix("QID3", "life", {"1": "Work", "4": "Home"}, ["bad", "good"]),
    other("QID4", "feel", "Slider", "HSLIDER", Choices={"1": {"Display": "Warm"}},
          Configuration={"CSSliderMin": 0, "CSSliderMax": 10}),
    other("QID5", "hours", "TE", "SL", Validation={"Settings": {
        "ContentType": "ValidNumber", "ValidNumber": {"Min": "0", "Max": "168"}}}),
    other("QID6", "two", "SBS", "SBSMatrix", Choices={"1": {"Display": "Tea"}},
          AdditionalQuestions={"1": {"QuestionText": "Liked", "Selector": "Likert",
                                     "SubSelector": "SingleAnswer",
                                     "Answers": {"1": {"Display": "no"}}}}),
]  # fmt: skip
LOOP = {"Looping": "Question", "LoopingOptions": {"Locator": "q://QID2/", "Static": {"1": ["a"]}}}
EXPORT = [("ResponseId", "Response ID", "_recordId"), ("Status", "Status", "status"),
          ("car", "A car?", "QID1"), ("feel_1", "Warm?", "QID4_1")]  # fmt: skip


@pytest.fixture
def qsf(tmp_path):
    blocks = [block("main", "QID1", "QID2", "QID3"), block("late", "QID4", "QID5", "QID6", **LOOP)]
    return write_qsf(tmp_path / "s.qsf", blocks, QSF, ["main", "late"])


@once
@given(data=st.data())
def test_a_questionnaire_of_any_content_is_read_or_refused_by_name(qsf, data):
    document = json.loads(qsf.read_text())
    path = qsf.with_name("t.qsf")
    text = json.dumps(data.draw(changed(document)))
    read_or_refuse(read_qualtrics, write(path, text.encode()))


@once
@given(harm=damage(text=True))
def test_a_damaged_questionnaire_is_read_or_refused_by_name(qsf, harm):
    read_or_refuse(read_qualtrics, write(qsf.with_name("t.qsf"), harm(qsf.read_bytes())))


@once
@pytest.mark.parametrize("name", ["e.csv", "e.csv.gz"])
@given(harm=damage(text=True), harm_bytes=damage(), told=st.booleans())
def test_a_damaged_export_is_read_or_refused_by_name(qsf, name, harm, harm_bytes, told):
    rows = [[f"R_{i}", "0", str(i % 2), str(i)] for i in range(5)]
    whole = write_export(qsf.with_name("whole.csv"), EXPORT, rows).read_bytes()
    zipped = name.endswith(".gz")
    content = harm_bytes(gzip.compress(whole, mtime=0)) if zipped else harm(whole)
    path = write(qsf.with_name(name), content)
    read_or_refuse(lambda at: read_qualtrics(qsf if told else None, at), path)
    read_or_refuse(read_table, path)


@few
@pytest.mark.parametrize("name", ["s.sav", "s.zsav", "s.dta", "s.por"])
@given(harm=damage())
def test_damaged_labelled_files_are_read_or_refused_by_name(tmp_path, name, harm):
    pyreadstat = pytest.importorskip("pyreadstat")
    whole = tmp_path / f"whole-{name}"
    table = pd.DataFrame({"who": ["ann", "bob", "eve"], "car": [1.0, 2.0, 1.0]})
    writers = {
        "sav": pyreadstat.write_sav,
        "dta": pyreadstat.write_dta,
        "por": pyreadstat.write_por,
    }
    if name.endswith("zsav"):
        pyreadstat.write_sav(table, whole, compress=True)
    else:
        writers[name[2:]](table, whole)
    path = write(tmp_path / name, harm(whole.read_bytes()))
    read_or_refuse(read_table, path)
    read_or_refuse(read_questions, path)


def refused(reader, path, *words):
    with pytest.raises(ValueError) as caught:
        reader(path)
    said = str(caught.value)
    assert type(caught.value).__module__.split(".")[0] in ("builtins", "syndigits_jax")
    for word in (path.name, *words):
        assert word in said, said


@pytest.mark.parametrize(
    ("name", "content", "reader", "words"),
    [
        ("t.csv", HUMAN.encode("latin-1"), read_table, ["line 4 is not UTF-8 (byte 0xeb)"]),
        ("t.csv", HUMAN.encode("utf-16"), read_table, ["in UTF-16", "save it as UTF-8"]),
        ("t.csv", HUMAN.encode("utf-16-le"), read_table, ["in UTF-16"]),
        ("t.csv", b"id,q1,q2\na,1,2,3\nb,1\n", read_table, ["line 2 ('a') has 4 cells", "line 3"]),
        ("t.csv", b"id,q1\na," + b"9" * 5000, read_table, ["row 'a', column 'q1'"]),
        ("t.csv", b"id,q1\na," + b"9" * 400 + b"\nb,1.5\n", read_table, ["row 'a', column 'q1'"]),
        ("t.csv", b"id,q1,q2\na,1,\0\n", read_table, ["'\\x00' at row 'a', column 'q2'"]),
        ("t.csv", b"id,,q2\na,1,2\n", read_table, ["identifier at position 0 is missing"]),
        ("t.csv.gz", gzip.compress(HUMAN.encode(), mtime=0)[:-9], read_table, ["cannot be read"]),
        ("r.csv", b"user,item,rating,rating\nu,f,1,2\n", read_columns, ["two columns", "'rating'"]),
        ("r.jsonl", b'{"user_id": "u"}\n{"user_id": \n', read_columns, ["line 2 is not JSON"]),
        ("r.jsonl", b"[1, 2]\n", read_columns, ["line 1 is no object", "[1, 2]"]),
        ("r.jsonl", DEEP.encode(), read_columns, ["line 1 is not JSON"]),
        ("q.json", b'{"Q1": {"text": "", "row": "", "options": [], "range": [], "block": ""}}',
         read_questions, ["question Q1"]),
        ("q.json", b'[{"identifier": "a"}, {"identifier": "b", "scale": [1, 1e300, 1e-300]}]',
         read_questions, ["question 2", "too many steps"]),
        ("q.json", b'[{"identifier": "a", "scale": [0, 1' + b"0" * 400 + b"]}]", read_questions,
         ["question 1", "`high`"]),
        ("q.json", b'[{"identifier": "a", "refusal": 1' + b"0" * 5000 + b"}]", read_questions,
         ["cannot be read as JSON"]),
        ("s.qsf", b'{"SurveyElements": [{"a": 1' + b"0" * 5000 + b"}]}", read_questions, ["JSON"]),
        ("s.qsf", DEEP.encode(), read_questions, ["JSON"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(tmp_path, name, content, reader, words):
    refused(reader, write(tmp_path / name, content), *words)


def test_a_cell_that_only_looks_like_a_list_is_text(tmp_path):
    path = write(tmp_path / "i.csv", b'item,genre\nf1,"[{[1]: 2}]"\n')
    assert read_items(path) == {"f1": {"genre": "[{[1]: 2}]"}}


def test_links_that_lead_in_a_circle_are_no_file(tmp_path):
    for name in ("t.csv", "q.json", "p.jsonl", "s.qsf", "s.sav"):
        loop = tmp_path / name
        os.symlink(loop, loop)
        for reader in (read_table, read_questions, read_personas):
            with pytest.raises((FileNotFoundError, ValueError), match=name):
                reader(loop)


def test_an_export_whose_status_is_no_number_of_bits(tmp_path):
    rows = [["R_1", "inf", "1", "3"], ["R_2", "0", "0", "4"]]
    path = write_export(tmp_path / "e.csv", EXPORT, rows)
    assert read_or_refuse(read_table, path) is not None
    odd = path.read_text().replace(place("QID4_1").replace('"', '""'), "{" + "[" * 50_000)
    assert read_or_refuse(read_table, write(path, odd.encode())) is not None


def test_cells_that_hold_more_than_numbers(tmp_path):
    """Of Parquet: lists, mappings, dates, bytes, and names that are no text."""
    frame = pd.DataFrame({"id": ["a", "b"], 3: [1, 2], "l": [[1], [2, 3]], "d": [{"x": 1}, None]})
    frame.columns = frame.columns.map(str)
    frame["when"] = pd.to_datetime(["2026-01-01", None])
    frame["raw"] = [b"\xff", b""]
    path = tmp_path / "t.parquet"
    frame.to_parquet(path, index=False)
    refused(read_table, path, "column 'l' holds lists", "column 'd'", "'when' holds dates")
    for reader in (read_questions, read_personas, read_items, read_columns):
        read_or_refuse(reader, path)
    frame[["id", "3"]].to_parquet(path, index=False)
    assert read_table(path)["3"].tolist() == [1, 2]


def test_text_of_parquet_that_is_no_utf_8_is_found_where_it_is_read(tmp_path):
    """Arrow looks at the bytes of a text when somebody asks for it, which may be much later."""
    path = tmp_path / "q.parquet"
    frame = pd.DataFrame({"identifier": ["q1"], "text": ["How much?"]})
    frame.to_parquet(path, index=False, compression=None)
    path.write_bytes(path.read_bytes().replace(b"much", b"mu\xffh"))
    for reader in (read_table, read_questions, read_columns):
        refused(reader, path, "cannot be read as a table")


def test_damage_of_either_table_is_named(tmp_path):
    human = write(tmp_path / "human.csv", HUMAN.encode())
    twin = write(tmp_path / "twin.csv", HUMAN.encode()[:31])
    refused(lambda path: load_panel(human, path), twin, "line 3")
    assert isinstance(load_panel(human, human), Panel)
