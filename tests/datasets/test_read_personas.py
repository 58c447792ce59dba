"""Reading and writing personas: round trips in every format, and errors that name the entry."""

import gzip
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syndigits_jax.datasets import read_personas, write_personas
from syndigits_jax.schema import Persona

ANY = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
# Control characters are no text; a table may change line ends.
PLAIN = st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.just("\n"), max_size=20)
NAMES = PLAIN.filter(str.strip)


def people(text, attributes, answers):
    persona = st.builds(
        Persona,
        identifier=NAMES,
        text=text,
        attributes=attributes,
        answers=answers,
    )
    return st.lists(persona, min_size=1, max_size=4, unique_by=lambda p: p.identifier)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
@given(
    personas=people(
        ANY, st.dictionaries(ANY, ANY, max_size=3), st.dictionaries(ANY, ANY, max_size=3)
    )
)
def test_json_comes_back_as_written(tmp_path, suffix, personas):
    path = tmp_path / f"p{suffix}"
    write_personas(path, personas)
    assert read_personas(path) == tuple(personas)
    assert list(tmp_path.iterdir()) == [path]


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
@given(
    personas=people(
        PLAIN,
        st.dictionaries(st.sampled_from(["age", "a,b", "é", '"q"']), NAMES, max_size=3),
        st.just({}),
    )
)
def test_tables_come_back_as_written(tmp_path, suffix, personas):
    path = tmp_path / f"p{suffix}"
    write_personas(path, personas)
    assert read_personas(path) == tuple(personas)


def test_texts_by_identifier(tmp_path):
    path = tmp_path / "personas.json"
    path.write_text(json.dumps({"pid_574": "A {braced} person.", "pid_2": {"text": "b"}}))
    assert read_personas(path) == (Persona("pid_574", "A {braced} person."), Persona("pid_2", "b"))


def test_a_compressed_table_with_attributes(tmp_path):
    path = tmp_path / "p.csv.gz"
    with gzip.open(path, "wt") as out:
        out.write("TWIN_ID,age,text,job\n007,30-49,NA,\n8,,x,nurse\n")
    assert read_personas(path) == (
        Persona("007", "NA", {"age": "30-49"}),
        Persona("8", "x", {"job": "nurse"}),
    )


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("p.json", "3", ["list of personas"]),
        ("p.json", "{}", ["no personas"]),
        ("p.json", '{"a": null}', ["persona 'a'", "`text`"]),
        ("p.json", '[{"text": "x"}]', ["persona 1", "no `identifier`"]),
        ("p.json", '[{"identifier": "a", "name": "x"}]', ["persona 1", "'name'"]),
        ("p.json", '[{"identifier": "a"}, {"identifier": "a"}]', ["duplicate"]),
        ("p.json", '[{"identifier": "a", "attributes": {"age": [1]}}]', ["persona 1", "age"]),
        ("p.json", '["x"]', ["persona 1", "object"]),
        ("p.jsonl", '{"identifier": "a"}\n{"identifier"', ["line 2", "not JSON"]),
        ("p.jsonl", '{"identifier": "a"}\n\n{"identifier": ""}\n', ["line 3", "empty"]),
        ("p.jsonl", "", ["no personas"]),
        ("p.json", '{"\\ud83d": "x"}', ["persona '\\ud83d'", "`identifier`", "half a character"]),
        ("p.json", '{"a": "x", "b": "y \\ud83d"}', ["persona 'b'", "`text`", "position 2"]),
        ("p.jsonl", '{"identifier": "a"}\n{"identifier": "\\udc00"}', ["line 2", "`identifier`"]),
        ("p.json", '[{"identifier": "a", "attributes": {"b": "\\ud83d"}}]', ["persona 1", "'b'"]),
        ("p.json", '[{"identifier": "a", "answers": {"\\ud83d": "b"}}]', ["persona 1", "a name"]),
        ("p.csv", "id\na\n", ["identifiers only"]),
        ("p.csv", "id,text\na,x\na,y\n", ["duplicate"]),
        ("p.txt", "x", ["unknown format"]),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ValueError) as caught:
        read_personas(path)
    for word in (name, *words):
        assert word in str(caught.value)


def test_whole_emoji_are_text(tmp_path):
    (tmp_path / "p.json").write_text('{"\\ud83d\\ude00": "x \\ud83d\\ude00"}')
    assert read_personas(tmp_path / "p.json") == (Persona("\U0001f600", "x \U0001f600"),)


def test_not_text_and_not_there(tmp_path):
    for name in ("p.json", "p.jsonl", "p.csv"):
        with pytest.raises(FileNotFoundError, match=name):
            read_personas(tmp_path / name)
        (tmp_path / name).write_bytes(b'{"identifier": "\xff"}\n')
        with pytest.raises(ValueError, match=name):
            read_personas(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "personas", "words"),
    [
        ("p.txt", [Persona("a")], "unknown format"),
        ("p.json", [Persona("a"), Persona("a")], "duplicate"),
        ("p.csv", [Persona("a", answers={"q": "x"})], "'a' has `answers`"),
        ("p.csv", [Persona("a", attributes={"text": "x"})], "'text' cannot be a column"),
        ("p.csv", [Persona("a", attributes={"age": ""})], "'age'.*is empty"),
    ],
)
def test_what_cannot_be_written_leaves_the_old_file(tmp_path, name, personas, words):
    path = tmp_path / name
    path.write_text("old")
    with pytest.raises(ValueError, match=words):
        write_personas(path, personas)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
