"""From a server's JSON to the store, the panel and a file, and back in: nothing is changed.

Values, and all that is made of them (frames, panels, tables), are float64. Probabilities are
float32 where they are stored, and a tensor is float32 as JAX is, unless another `dtype` is asked
for.
"""

import itertools
import json
import math
import re
import struct
import unicodedata
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from stub_chat_server import StubServer, chat_answer, top_logprobs
from stub_engines import StubEngine

from syndigits_jax import Panel
from syndigits_jax.cli.render.store import write_tables
from syndigits_jax.datasets import load_panel, read_table
from syndigits_jax.datasets.tables import write_table
from syndigits_jax.respond import OpenAIEngine
from syndigits_jax.respond.asking.collect import collect
from syndigits_jax.respond.prompts.templates import Template
from syndigits_jax.respond.requests import Completion, Decoding, Message
from syndigits_jax.respond.store.export import read_frame, read_records, read_tensor, to_panel
from syndigits_jax.respond.store.responses import ResponseStore
from syndigits_jax.schema import Option, Persona, Question, Scale

SUFFIXES = (".csv", ".tsv", ".parquet")
folders = itertools.count()

# Names that files like to change.
NAMES = (
    "007", "1634", "1.0", "1e5", "-0", "NA", "nan", "None", "TRUE", "2024-01-02", "\u00e9",
    "e\u0301", "\ufb01", "a,b", "a;b", 'he said "so"', "'", "a\tb", "a\nb", "a\rb", "a\r\nb", " a",
    "a ", "\u00a0a", "#a", "\ufeffa", "=1+1", "\U0001f469\u200d\U0001f52c", "\u0661", "a\x0b", "\\",
)  # fmt: skip
text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
names = st.one_of(st.sampled_from(NAMES), text).filter(lambda name: name.strip() != "")
several = st.lists(names, min_size=2, max_size=3, unique=True)
LARGEST = 4e307  # a range from one end to the other is still a number
numbers = st.one_of(
    st.floats(-LARGEST, LARGEST),
    st.integers(-(2**53), 2**53).map(float),
    st.sampled_from([0.1, 1 / 3, 2 / 3, 1e-300, 5e-324, 4e307, 0.1 + 0.2, 2.0**53, -1e-7]),
)


def template(answer_with):
    content = "{persona}\n{question}\n{options}\nAnswer {option_range}."
    return Template("plain", "1", "For tests.", (Message("user", content),), answer_with)


def people_called(called):
    return [Persona(name, f"<person {i}>") for i, name in enumerate(called)]


def cell_of(said):
    """Who is asked what, by the text of the prompt."""
    return tuple(int(re.search(rf"<{what} (\d+)>", said)[1]) for what in ("person", "question"))


def read_back(folder, path, called, asked, expected, human):
    """All the ways out of the store, and in again."""
    frame = read_frame(path)
    assert (list(frame.index), list(frame.columns)) == (called, asked)
    np.testing.assert_array_equal(frame.to_numpy(), expected)
    table = pd.DataFrame(human, index=pd.Index(called, name="user"), columns=asked)
    for panel in (to_panel(path, table), to_panel(path, _written(folder, "human.csv", table))):
        _same_panel(panel, called, asked, expected, human)
    for suffix in SUFFIXES:
        out = folder / f"twin{suffix}"
        write_tables(
            path, out, run=None, human=None, join="error", tensor=None, ratings=None,
            records=None, everything=False,
        )  # fmt: skip
        again = read_table(out)
        assert (list(again.index), list(again.columns)) == (called, asked)
        np.testing.assert_array_equal(again.to_numpy(float), expected)
        people = _written(folder, f"people{suffix}", table)
        _same_panel(load_panel(people, out), called, asked, expected, human)


def _written(folder, name, table):
    write_table(folder / name, table)
    return folder / name


def _same_panel(panel, called, asked, expected, human):
    assert isinstance(panel, Panel)
    assert (list(panel.users), list(panel.questions)) == (called, asked)
    np.testing.assert_array_equal(panel.twin, expected)
    np.testing.assert_array_equal(panel.human, human)
    assert panel.twin.dtype == panel.human.dtype == np.float64


@pytest.fixture(scope="module")
def somewhere(tmp_path_factory):
    return tmp_path_factory.mktemp("exact")


@pytest.fixture(scope="module")
def served():
    """A server whose behaviour a test sets, and an engine that asks it."""

    class Behaviour:
        def __call__(self, body, number):
            return self.answer(body["messages"][0]["content"])

    behave = Behaviour()
    with StubServer(behave) as server, OpenAIEngine([server.url], timeout=20.0) as engine:
        yield behave, engine


@settings(max_examples=10)
@given(
    called=several,
    asked=several,
    values=st.lists(numbers, min_size=2, max_size=4, unique=True),
    choices=st.lists(st.integers(0, 3), min_size=9, max_size=9),
    human=st.lists(numbers, min_size=9, max_size=9),
    draws=st.integers(1, 3),
)
@example(list(NAMES[:3]), list(NAMES[10:12]), [0.1, 1 / 3], [0] * 9, [0.7] * 9, 3)
@example(list(NAMES[12:22]), list(NAMES[:2]), [4e307, -4e307], [0, 1] * 10, [1e-300] * 20, 3)
@example(list(NAMES[22:]), list(NAMES[5:7]), [5e-324, 2.0**53], [1] * 20, [-0.1] * 20, 1)
def test_chosen_numbers_and_names(somewhere, served, called, asked, values, choices, human, draws):
    behave, engine = served
    folder = somewhere / str(next(folders))
    path = folder / "r.db"
    options = tuple(Option(value, f"answer {k}") for k, value in enumerate(values))
    questions = [
        Question(name, f"<question {j}>", options, scale=Scale(-LARGEST, LARGEST))
        for j, name in enumerate(asked)
    ]
    shape = (len(called), len(asked))
    chosen = np.resize(np.array(choices) % len(values), shape)
    expected, truth = np.array(values)[chosen], np.resize(np.array(human), shape)

    def answer(said):
        return chat_answer(options[chosen[cell_of(said)]].label)

    behave.answer = answer
    decoding = Decoding("sample", temperature=1.0, draws=draws)
    report = collect(engine, template("label"), people_called(called), questions, decoding, path)
    assert report.answered == expected.size * draws, report
    read_back(folder, path, called, asked, expected, truth)
    records = read_records(path)
    assert set(records["persona"]) == set(called) and set(records["question"]) == set(asked)
    largest = float(np.finfo(np.float32).max)
    if max(map(abs, values)) > largest:
        with pytest.raises(ValueError, match="which float32 cannot hold; give a wider `dtype`"):
            read_tensor(path, dtype=np.float32)
        return
    table = read_tensor(path, dtype=np.float32)
    assert (list(table.personas), list(table.questions)) == (called, asked)
    rounded = np.tile(np.float32(values), (len(asked), 1))
    np.testing.assert_array_equal(table.tensor.values, rounded)
    np.testing.assert_array_equal(table.tensor.probabilities, np.eye(len(values))[chosen])
    assert not np.any(table.tensor.refused) and not np.any(table.tensor.outside)
    if any(name.endswith("\0") for name in (*called, *asked)):
        with pytest.raises(ValueError, match="a null character at the end of"):
            table.save(folder / "tensor.npz")
        return
    table.save(folder / "tensor.npz")
    with np.load(folder / "tensor.npz") as stored:
        assert (stored["personas"].tolist(), stored["questions"].tolist()) == (called, asked)
        np.testing.assert_array_equal(stored["values"], rounded)


@settings(max_examples=10)
@given(
    values=st.lists(st.integers(-(10**6), 10**6), min_size=2, max_size=5, unique=True),
    weights=st.lists(st.floats(1e-6, 1.0), min_size=5, max_size=5),
    inside=st.floats(1e-3, 1.0),
)
def test_probabilities(somewhere, values, weights, inside):
    folder = somewhere / str(next(folders))
    path = folder / "r.db"
    total = math.fsum(weights[: len(values)])
    shares = [weight / total for weight in weights[: len(values)]]
    logs = tuple(min(0.0, math.log(share * inside)) for share in shares)
    engine = StubEngine(answer=lambda request: Completion("x", logs))
    options = tuple(Option(v, f"answer {v}") for v in values)
    called, asked = ["p", "q"], ["a", "b"]
    questions = [Question(name, name, options, scale=Scale(-1e6, 1e6)) for name in asked]
    collect(engine, template("value"), people_called(called), questions, Decoding(), path)
    with ResponseStore(path, read_only=True) as store:
        rows = set(store.rows("SELECT value, probabilities, outside FROM responses"))
    ((value, blob, outside),) = rows  # the same in all four cells
    kept = struct.unpack(f"<{len(values)}f", blob)
    exact = [Fraction(math.exp(log)) for log in logs]
    ratios = [one / sum(exact) for one in exact]
    np.testing.assert_allclose(kept, np.float32([float(one) for one in ratios]), rtol=2e-7)
    mean = sum(one * v for one, v in zip(ratios, values))
    assert value == pytest.approx(float(mean), rel=1e-12, abs=1e-12 * max(map(abs, values)))
    assert outside == pytest.approx(1 - inside, abs=1e-12)
    # From the store on, to the last digit.
    read_back(folder, path, called, asked, np.full((2, 2), value), np.full((2, 2), 1 / 3))
    tensor = read_tensor(path, dtype=np.float32).tensor
    whole = np.float64(kept) / np.float64(kept).sum()
    np.testing.assert_array_equal(tensor.probabilities[0, 0], np.float32(whole))
    np.testing.assert_array_equal(tensor.values[0], np.float32(values))
    assert tensor.outside[0, 0] == np.float32(outside)
    assert read_records(path)["probabilities"].tolist() == [list(kept)] * 4


@settings(max_examples=10)
@given(
    st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=2, max_size=2),
    st.integers(-(10**12), 10**12),
)
def test_numbers_in_words(somewhere, served, said, whole):
    """A number in an answer of text, with all its digits."""
    behave, engine = served
    folder = somewhere / str(next(folders))
    path = folder / "r.db"
    spoken = [np.format_float_positional(number, trim="-") for number in said] + [str(whole)]
    questions = [Question(name, "<question 0>", scale=Scale(-1e13, 1e13)) for name in ("q", "r")]
    behave.answer = lambda prompt: chat_answer(spoken[cell_of(prompt)[0]])
    called = ["a", "b", "c"]
    decoding = Decoding("text", temperature=0.0)
    collect(engine, template("value"), people_called(called), questions, decoding, path)
    expected = np.array([[*said, float(whole)]] * 2).T
    read_back(folder, path, called, ["q", "r"], expected, expected)


@pytest.mark.parametrize("escaped", [True, False])
def test_names_that_look_alike_stay_apart(tmp_path, escaped):
    """Composed and decomposed letters are two people, in JSON of either way of writing."""
    called = ["\u00e9", unicodedata.normalize("NFD", "\u00e9"), "1", "01", "1.0", "A", "a"]
    source = tmp_path / "personas.json"
    people = [{"identifier": name, "text": f"<person {i}>"} for i, name in enumerate(called)]
    source.write_text(json.dumps(people, ensure_ascii=escaped), encoding="utf-8")
    from syndigits_jax.datasets import read_personas

    options = tuple(Option(k + 0.1, f"answer {k}") for k in range(len(called)))
    questions = [Question(name, "<question 0>", options) for name in ("q", "r")]

    def answer(request):
        return Completion(options[cell_of(request.messages[0].content)[0]].label)

    path = tmp_path / "r.db"
    personas = read_personas(source)
    decoding = Decoding("choice")
    collect(StubEngine(answer=answer), template("label"), personas, questions, decoding, path)
    expected = np.array([[k + 0.1] * 2 for k in range(len(called))])
    read_back(tmp_path, path, called, ["q", "r"], expected, expected)


def test_probabilities_of_a_servers_json(tmp_path, served):
    """Its logarithms are read to the last digit."""
    behave, engine = served
    shares = {"1": 0.1, "2": 1 / 3, "3": 0.25}
    behave.answer = lambda prompt: chat_answer("1", logprobs=top_logprobs(shares))
    question = Question("q", "<question 0>", tuple(Option(k, f"answer {k}") for k in (1, 2, 3)))
    path = tmp_path / "r.db"
    people = people_called(["p"])
    report = collect(engine, template("value"), people, [question], Decoding(), path)
    assert report.answered == 1, report
    logs = [float(np.log(share)) for share in shares.values()]
    relative = [math.exp(log - max(logs)) for log in logs]
    with ResponseStore(path, read_only=True) as store:
        ((blob,),) = store.rows("SELECT probabilities FROM responses")
    assert blob == struct.pack("<3f", *(one / sum(relative) for one in relative))
