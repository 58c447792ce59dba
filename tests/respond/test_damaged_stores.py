"""Stores, templates and marginals that went wrong: read, or refused by name."""

import json
import sqlite3

import numpy as np
import pytest
from damaged_files import DEEP, changed, damage, read_or_refuse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stub_engines import StubEngine, plain_template, some_personas, some_questions

from syndigits_jax.respond import StoreError, read_marginals
from syndigits_jax.respond.asking.collect import collect
from syndigits_jax.respond.contents import persona_json, question_json, settings_json
from syndigits_jax.respond.prompts.templates import read_template
from syndigits_jax.respond.requests import Decoding
from syndigits_jax.respond.store.export import read_frame, read_records, read_tensor
from syndigits_jax.respond.store.tallies import tally

once = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
DECODING = Decoding(readout="probabilities")
TEMPLATE = '''name = "mine"
version = "1"
source = "Written for a test."
answer_with = "value"
[decoding]
temperature = 0.0
max_tokens = 8
[scale]
low = 1
high = 5
step = 1
[[messages]]
role = "user"
content = """You are {persona}. {question} Réponds {option_range}."""
'''
MARGINALS = '[age]\n"18 to 39" = 0.4\n"40 or older" = 0.6\n[sex]\nf = 0.5\nm = 0.5\n'


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "r.db"
    collect(StubEngine(), plain_template(), some_personas(3), some_questions(2), DECODING, path)
    return path.read_bytes()


def everything(path):
    return read_frame(path), read_tensor(path), read_records(path), tally(path)


@settings(once, max_examples=40)
@given(harm=damage())
def test_a_damaged_store_is_read_or_refused_by_name(whole, tmp_path, harm):
    path = tmp_path / "r.db"
    path.write_bytes(harm(whole))
    read_or_refuse(everything, path, also=[StoreError])
    assert [one.name for one in tmp_path.iterdir()] == ["r.db"]


DOCUMENTS = {
    ("runs", "settings"): settings_json(DECODING),
    ("personas", "content"): persona_json(some_personas(1)[0]),
    ("questions", "content"): question_json(some_questions(1)[0]),
    ("answers", "answers"): json.dumps([[1.0, "1"], [2.0, "2"]]),
}
NUMBERS = (
    "value", "probabilities", "outside", "status", "time", "prompt_tokens", "persona", "question",
)  # fmt: skip
CELLS = st.one_of(
    *(
        st.tuples(st.just(where), changed(json.loads(text)).map(json.dumps))
        for where, text in DOCUMENTS.items()
    ),
    st.tuples(st.sampled_from([*DOCUMENTS]), st.sampled_from(["", "[1", DEEP])),
    st.tuples(
        st.sampled_from([("responses", name) for name in NUMBERS] + [("grids", "id")]),
        st.sampled_from([None, "x", b"\xff", b"", -1, 2**62, 1e308, "é"]),
    ),
)


@settings(once, max_examples=60)
@given(cell=CELLS)
def test_a_store_with_any_cell_is_read_or_refused_by_name(whole, tmp_path, cell):
    path = tmp_path / "r.db"
    path.write_bytes(whole)
    (table, column), value = cell
    database = sqlite3.connect(path)
    try:
        database.execute(f"UPDATE OR IGNORE {table} SET {column} = ?", (value,))
        database.commit()
    except sqlite3.IntegrityError:  # a column that is never null
        database.rollback()
    finally:
        database.close()
    read_or_refuse(everything, path, also=[StoreError])


@once
@given(harm=damage(text=True))
def test_a_damaged_template_is_read_or_refused_by_name(tmp_path, harm):
    path = tmp_path / "t.toml"
    path.write_bytes(harm(TEMPLATE.encode()))
    read_or_refuse(read_template, path)


@once
@given(harm=damage(text=True))
def test_damaged_marginals_are_read_or_refused_by_name(tmp_path, harm):
    path = tmp_path / "m.toml"
    path.write_bytes(harm(MARGINALS.encode()))
    read_or_refuse(read_marginals, path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("temperature = 0.0", "temperature = 1" + "0" * 400, "`temperature`"),
        ("temperature = 0.0", "temperature = 1" + "0" * 5000, "not a TOML file"),
        ("temperature = 0.0", "temperature = nan", "`temperature`"),
        ("high = 5", "high = 1" + "0" * 400, "`high`"),
        ("high = 5", "high = " + DEEP, "not a TOML file"),
        ("version", "\0", "line 2"),
        ("Réponds", "R\ud800", "not a TOML file in UTF-8"),
    ],
)
def test_a_template_with_odd_values_says_which(tmp_path, old, new, words):
    path = tmp_path / "t.toml"
    path.write_bytes(TEMPLATE.replace(old, new, 1).encode("utf-8", "surrogatepass"))
    with pytest.raises(ValueError, match=r"t\.toml") as caught:
        read_template(path)
    assert words in str(caught.value)


@pytest.mark.parametrize("share", ["1" + "0" * 400, "nan", "inf", "-0.1", DEEP])
def test_shares_of_any_size_are_refused(tmp_path, share):
    path = tmp_path / "m.toml"
    path.write_text(f"[age]\nyoung = {share}\n")
    with pytest.raises(ValueError, match=r"m\.toml: .*(share of age|not a TOML file)"):
        read_marginals(path)


def test_the_store_is_whole_without_damage(whole, tmp_path):
    """The probe of the tests above: nothing is refused that nothing has happened to."""
    path = tmp_path / "r.db"
    path.write_bytes(whole)
    frame, table, records, counted = everything(path)
    assert frame.shape == (3, 2) and len(records) == 6
    assert counted.responses == {"answered": 6} and np.asarray(table.tensor.mask).all()
