"""Reading questions: catalogues, a user's own files, films; round trips and errors."""

import json

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syndigits_jax.datasets import (
    PURCHASE_OPTIONS,
    STAR_OPTIONS,
    film_questions,
    read_questions,
    write_questions,
)
from syndigits_jax.schema import Option, Question, Scale

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
NUMBER = st.integers(-50, 50) | st.integers(-50, 50).map(lambda i: i / 7)
SCALES = st.builds(
    lambda low, steps, step, kind: Scale(low, low + steps * step, step, kind),
    st.integers(-9, 9), st.integers(1, 9), st.sampled_from([0.5, 1.0, 3.0]),
    st.sampled_from(["ordinal", "interval", "nominal"]),
)  # fmt: skip
# Made into questions in the test: the run-time type checks draw random numbers of their own.
FIELDS = st.fixed_dictionaries(
    {
        "identifier": TEXT.filter(str.strip),
        "text": TEXT,
        "options": st.lists(st.tuples(NUMBER, TEXT), max_size=4, unique_by=lambda o: o[0]),
        "scale": st.none() | SCALES,
        "refusal": st.none() | NUMBER.map(float),
        "reverse_coded": st.booleans(),
        "block": TEXT,
        "item": st.dictionaries(TEXT, TEXT, max_size=3),
    }
)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=st.lists(FIELDS, min_size=1, max_size=4, unique_by=lambda q: q["identifier"]))
def test_questions_come_back_as_they_were_written(tmp_path, fields):
    questions = [
        Question(**entry | {"options": tuple(Option(*pair) for pair in entry["options"])})
        for entry in fields
    ]
    path = tmp_path / "q.json"
    write_questions(path, questions)
    assert read_questions(path) == tuple(questions)
    assert [p.name for p in tmp_path.iterdir()] == ["q.json"]


def test_own_json_needs_little(tmp_path):
    path = tmp_path / "q.json"
    entries = [
        {"identifier": 7, "text": "Yes?", "options": ["Yes", "No"], "scale": [1, 2, 1]},
        {"identifier": "b", "options": [{"value": 9, "label": "Refused"}, {"value": 2}]},
    ]
    path.write_text(json.dumps(entries))
    first, second = read_questions(path)
    assert first == Question("7", "Yes?", (Option(1, "Yes"), Option(2, "No")))
    assert second.options == (Option(9, "Refused"), Option(2, "2"))


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".parquet"])
def test_tables(tmp_path, suffix):
    columns = "identifier text options low high step refusal reverse_coded block title"
    rows = [
        ["q1", 'Is "a, b" so?', "1=Yes|2=No|9=Don't = x", "", "", "", "9", "true", "x", "A | {b}"],
        ["002", "How much?", "", "0", "100", "5", "", "", "", ""],
        ["q3", "NA", "Never|x=1|Often", "", "", "", "", "no", "", ""],
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=columns.split())
    path = tmp_path / f"q{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    first, second, third = read_questions(path)
    assert first.options == (Option(1, "Yes"), Option(2, "No"), Option(9, "Don't = x"))
    assert first.refusal == 9 and first.scale == Scale(1, 2, 1)
    assert first.reverse_coded and first.block == "x" and first.item == {"title": "A | {b}"}
    assert second == Question("002", "How much?", scale=Scale(0, 100, 5))
    labels = [(o.value, o.label) for o in third.options]
    assert labels == [(1, "Never"), (2, "x=1"), (3, "Often")]
    assert third.text == "NA" and not third.item


def test_tables_say_the_kind_of_scale_and_may_call_the_text_question(tmp_path):
    path = tmp_path / "q.csv"
    path.write_text(
        "identifier,question,options,low,high,kind\n"
        "a,Which?,Red|Green|Blue,,,nominal\nb,How much?,,0,10,Interval\nc,How?,Bad|Good,,,\n"
    )
    which, much, how = read_questions(path)
    assert which.text == "Which?" and which.scale == Scale(1, 3, 1, "nominal")
    assert much == Question("b", "How much?", scale=Scale(0, 10, kind="interval"))
    assert how.scale == Scale(1, 2, 1, "ordinal") and not how.item
    path.write_text("identifier,text,question\na,Why?,because\n")
    assert read_questions(path) == (Question("a", "Why?", item={"question": "because"}),)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('[{"identifier": "a"}, {"identifier": "a"}]', ["duplicate identifiers", "'a'"]),
        ('[{"identifier": "a"}, {"text": "b"}]', ["question 2", "no `identifier`"]),
        ('[{"identifier": "a", "label": 1}]', ["question 1", "unknown key 'label'"]),
        ('[{"identifier": "a", "options": ["x", {"value": 1}]}]', ["question 1", "`options`"]),
        ('[{"identifier": "a", "options": [{"value": 1}, {"value": 1}]}]', ["repeat a value"]),
        ('[{"identifier": "a", "refusal": "none"}]', ["`refusal`", "'none'"]),
        ('[{"identifier": "a", "reverse_coded": 1}]', ["`reverse_coded`"]),
        ('[{"identifier": "a", "scale": {"low": 1}}]', ["`low` and `high`"]),
        ('[{"identifier": "a", "scale": {"low": 1, "high": NaN}}]', ["NaN"]),
        ('[{"identifier": " "}]', ["question 1", "empty"]),
        ('[{"identifier": "a", "item": ["x"]}]', ["`item`"]),
        ('[{"identifier": "a\\ud800"}]', ["question 1", "`identifier`", "'\\ud800'"]),
        ('[{"identifier": "a"}, {"identifier": "b", "text": "\\udc00"}]', ["question 2", "`text`"]),
        ('[{"identifier": "a", "options": ["\\ud83d"]}]', ["question 1", "a label", "half a"]),
        ('[{"identifier": "a", "item": {"\\ud83d": "x"}}]', ["question 1", "a name in `item`"]),
        ('{"\\ud83d": {"question": "?", "choices": ["x"]}}', ["question \\ud83d", "half a"]),
        ('{"a": {"question": "\\ud83d", "choices": ["x"]}}', ["question a", "half a"]),
        ("[]", ["no questions"]),
        ('{"a": {"x": 1}}', ["Twin-2K-500", "OpinionQA"]),
        ('{"a": {"question": "?", "choices": 3}}', ["question a"]),
        ('{"a": {"question": "?", "choices": ["x"], "choice_to_numeric": {"y": 1}}}', ["'x'"]),
        ('{"a": 1, "a": 2}', ["'a' is given twice"]),
        ("[1", ["cannot be read as JSON"]),
        ("[" * 100_000, ["cannot be read as JSON"]),
    ],
)
def test_bad_json_is_refused_by_name(tmp_path, content, words):
    path = tmp_path / "q.json"
    path.write_text(content)
    with pytest.raises(ValueError) as caught:
        read_questions(path)
    for word in ("q.json", *words):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("id,text\n1,a\n", ["no column 'identifier'"]),
        ("identifier,text\n1,a\n1,b\n", ["duplicate"]),
        ("identifier,text\n,a\n", ["position 0 is missing"]),
        ("identifier,options\nq,1=Yes|No\n", ["question q", "some of"]),
        ("identifier,options\nq,Yes||No\n", ["question q", "empty option"]),
        ("identifier,low\nq,1\n", ["question q", "together"]),
        ("identifier,low,high\nq,1,x\n", ["question q", "`high`"]),
        ("identifier,low,high\nq,2,1\n", ["question q", "below"]),
        ("identifier,low,high,kind\nq,1,2,movie\n", ["question q", "`kind`", "'movie'"]),
        ("identifier,text,kind\nq,a,nominal\n", ["question q", "`kind` needs a scale"]),
        ("identifier,reverse_coded\nq,maybe\n", ["question q", "maybe"]),
        ("identifier,text,text\nq,a,b\n", ["two columns", "'text'"]),
        ("identifier,text\nq\nr,a\n", ["line 2", "1 cell"]),
        ("identifier,text\nq,a,b\nr,a,b\n", ["line 2", "3 cells"]),
        ("identifier,text\n", ["no rows"]),
        ("", ["empty"]),
    ],
)
def test_bad_tables_are_refused_by_name(tmp_path, content, words):
    path = tmp_path / "q.csv"
    path.write_text(content)
    with pytest.raises(ValueError) as caught:
        read_questions(path)
    for word in ("q.csv", *words):
        assert word in str(caught.value)


def test_refused_before_anything_is_written(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        read_questions(tmp_path / "none.json")
    (tmp_path / "q.txt").write_text("x")
    with pytest.raises(ValueError, match="unknown format"):
        read_questions(tmp_path / "q.txt")
    before = sorted(tmp_path.iterdir())
    for path, questions, words in (
        ("q.csv", [Question("a")], "json"),
        ("q.json", [Question("a"), Question("a")], "duplicate"),
        ("q.json", [Question("a", refusal=float("nan"))], "JSON|float"),
    ):
        with pytest.raises(ValueError, match=words):
            write_questions(tmp_path / path, questions)
    assert sorted(tmp_path.iterdir()) == before


def test_own_items_become_questions(tmp_path):
    path = tmp_path / "items.csv"
    title = 'Braces {persona} "and" <|im_start|>'
    pd.DataFrame(
        {"asin": ["007", "B"], "title": [title, "b"], "main_category": ["Toys", ""]}
    ).to_csv(path, index=False)
    first, second = film_questions(path, answers="purchase")
    assert first.identifier == "007" and first.options == PURCHASE_OPTIONS
    assert first.item == {"title": title, "category": "Toys"} and first.text.endswith(title)
    assert second.item == {"title": "b"}
    (only,) = film_questions(path, answers=Scale(0, 10), wording="Rate it:", only=["B"])
    assert only == Question("B", "Rate it: b", scale=Scale(0, 10), item={"title": "b"})
    frame = pd.DataFrame({"title": ["x"]}, index=pd.Index(["i"], name="item"))
    assert film_questions(frame)[0].identifier == "i"


@pytest.mark.parametrize(
    ("content", "arguments", "words"),
    [
        ("item,title\na,x\n", {"answers": "likes"}, "`answers`"),
        ("item,title\na,x\n", {"answers": ()}, "`answers`"),
        ("item,title\na,x\n", {"only": ["b"]}, "`only`.*'b'"),
        ("item\na\n", {}, "identifiers only"),
        ("item,title\na,x\na,y\n", {}, "duplicate"),
    ],
)
def test_bad_items(tmp_path, content, arguments, words):
    path = tmp_path / "items.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=words):
        film_questions(path, **arguments)


def test_a_movielens_release(tmp_path):
    (tmp_path / "movies.csv").write_text(
        "movieId,title,genres\n1,Toy (1995),Animation|Comedy\n2,None,(no genres listed)\n"
    )
    tags = "".join(f"{u},1,common,0\n" for u in range(3)) + "1,1,Rare,0\n1,9,x,0\n"
    (tmp_path / "tags.csv").write_text("userId,movieId,tag,timestamp\n" + tags)
    first, second = film_questions(tmp_path)
    assert first.item == {
        "title": "Toy (1995)",
        "genre": "Animation, Comedy",
        "tags": "common, rare",
    }
    assert second.item == {"title": "None"} and second.options == STAR_OPTIONS
    assert first.scale == Scale(0.5, 5, 0.5) and first.block == ""
    assert film_questions(tmp_path / "movies.csv") == (first, second)


@pytest.mark.data
def test_the_public_catalogues(data_dir):
    twin = read_questions(data_dir / "twin-2k-500" / "questions.json")
    assert len(twin) == 123 and twin[0].options[0] == Option(1, "Strongly oppose")
    folder = data_dir / "syn-digits" / "OpinionQA" / "distribution_calibration"
    opinions = read_questions(folder / "Qs_likert_scale_5_choices.json")
    assert len(opinions) == 489
    assert all(len(q.options) == 5 and q.refusal == 5 for q in opinions)
    assert all(q.scale == Scale(1, 4, 1) for q in opinions)
    assert opinions[0].identifier == "SAFECRIME_W26"
    assert opinions[0].text.endswith("Would you say it is")
    assert not any("Refused" in q.text for q in opinions)
    films = film_questions(data_dir / "movielens" / "ml-latest-small")
    assert len(films) == 9742 and films[0].item["tags"] == "pixar, fun"
    folder = data_dir / "syn-digits" / "MovieLens-20M" / "distribution_calibration"
    published = film_questions(folder / "top_movies_df.csv")
    assert len(published) == 500 and set(published[0].item) == {"title", "genre", "tags"}
    assert published[0].item["tags"].startswith("toys, computer animation, ")
