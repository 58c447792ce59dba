"""Commands read each file once; a prompt is rendered to check it and to send it, and no more."""

import collections

import numpy as np
import pandas as pd
import pytest
from counted import Counted
from stub_engines import StubEngine
from typer.testing import CliRunner

from syndigits_jax.cli.app import app
from syndigits_jax.cli.commands import personas as personas_command
from syndigits_jax.cli.commands import respond as respond_command
from syndigits_jax.datasets import write_personas, write_questions
from syndigits_jax.schema import Option, Persona, Question
from syndigits_jax.workflows.pipeline import run as pipeline_run

PEOPLE = [f"p{i}" for i in range(12)]
ASKED, TOLD = [f"a{j}" for j in range(4)], ["b0", "b1"]
PIPELINE = """
out = "out"
[questions]
file = "q.json"
block = ["A"]
[[personas]]
kind = "survey"
human = "human.csv"
questions = "q.json"
missing = "refused"
[engine]
kind = "vllm"
model = "none"
[respond]
template = "survey.toml"
readout = "probabilities"
[calibrate]
human = "human.csv"
missing = "refused"
"""
FIDELITY = """
out = "out"
[questions]
file = "probes.json"
[[personas]]
kind = "grounded"
ratings = "r.csv"
items = "i.csv"
ask_questions = "probes.json"
people = 2
fewest = 1
[[personas]]
kind = "history"
ratings = "r.csv"
items = "i.csv"
as_text = true
[engine]
kind = "vllm"
model = "none"
[respond]
template = "fidelity-rating"
readout = "choice"
[fidelity]
ratings = "r.csv"
items = "i.csv"
embeddings = "e.npy"
"""


@pytest.fixture
def files(tmp_path):
    options = tuple(Option(k, str(k)) for k in range(1, 5))
    questions = [Question(q, f"How much {q}?", options, block=q[0].upper()) for q in ASKED + TOLD]
    write_questions(tmp_path / "q.json", questions)
    write_personas(tmp_path / "p.json", [Persona(name, f"I am {name}.") for name in PEOPLE])
    rng = np.random.default_rng(0)
    answers = pd.DataFrame(rng.integers(1, 5, (12, 6)), PEOPLE, ASKED + TOLD).rename_axis("id")
    answers.to_csv(tmp_path / "twin.csv")
    human = answers.astype(object)
    human.iloc[3, 0] = "refused"
    human.to_csv(tmp_path / "human.csv")
    human.drop(columns="a3").to_csv(tmp_path / "known.csv")
    ratings = [(f"u{u}", f"f{j}", rng.integers(1, 6), j) for u in range(4) for j in range(8)]
    columns = ["user", "item", "rating", "time"]
    pd.DataFrame(ratings, columns=columns).to_csv(tmp_path / "r.csv", index=False)
    items = pd.DataFrame({"item": [f"f{j}" for j in range(8)], "title": "Film"})
    items.to_csv(tmp_path / "i.csv", index=False)
    stars = tuple(Option(k, str(k)) for k in range(1, 6))
    film = [Question(f"f{j}", "Buy?", stars, item={"title": "Film"}) for j in (1, 2)]
    write_questions(tmp_path / "probes.json", film)
    np.save(tmp_path / "e.npy", rng.normal(size=(8, 3)))
    (tmp_path / "survey.toml").write_text(
        'name = "own"\nversion = "1"\nsource = "A test."\nanswer_with = "value"\n'
        '[[messages]]\nrole = "user"\ncontent = "{persona} {question} {options}"\n'
    )
    return tmp_path


@pytest.fixture
def engine(monkeypatch):
    made = StubEngine()
    for module in (respond_command, personas_command, pipeline_run):
        monkeypatch.setattr(module, "build_engine", lambda *a, **b: made)
    return made


@pytest.fixture
def counted(files, engine, monkeypatch):
    return Counted(monkeypatch, files)


def run(folder, *words):
    given = [str(folder / word) if "." in str(word) else str(word) for word in words]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, (result.output, result.exception)


def sent_and_checked(asked, people, questions):
    """How often each prompt is rendered: once to send it, and before anything is sent all of the
    first persona and the first of each."""
    times = collections.Counter({(p, q): 1 for p in people for q in questions})
    times.update({(people[0], q): 1 for q in questions})
    times.update({(p, questions[0]): 1 for p in people[1:]})
    assert asked == len(people) * len(questions)
    return times


def test_respond_and_panel(files, engine, counted):
    given = [
        "respond",
        "--personas",
        "p.json",
        "--questions",
        "q.json",
        "--template",
        "survey.toml",
    ]
    run(files, *given, "--block", "A", "--store", "r.db", "--engine", "vllm", "--model", "m")
    assert counted.parsed == {"p.json": 1, "q.json": 1, "survey.toml": 1}
    assert counted.plans == 1
    assert counted.rendered == sent_and_checked(len(engine.asked), PEOPLE, ASKED)
    counted.parsed.clear()
    run(files, "panel", "r.db", "--out", "t.csv", "--human", "human.csv", "--missing", "refused",
        "--join", "inner")  # fmt: skip
    assert counted.parsed == {"human.csv": 1}


def test_a_dry_run(files, counted):
    run(files, "respond", "--personas", "p.json", "--questions", "q.json", "--template",
        "survey.toml", "--block", "A", "--dry-run")  # fmt: skip
    assert counted.parsed == {"p.json": 1, "q.json": 1, "survey.toml": 1}
    assert counted.rendered == sent_and_checked(len(PEOPLE) * len(ASKED), PEOPLE, ASKED)


@pytest.mark.parametrize(
    ("words", "parsed"),
    [
        (["survey", "--human", "twin.csv", "--questions", "q.json", "--ask", "a0"],
         ["twin.csv", "q.json"]),
        (["demographics", "--table", "twin.csv", "--column", "b0", "--questions", "q.json"],
         ["twin.csv", "q.json"]),
        (["history", "--ratings", "r.csv", "--items", "i.csv", "--ask-questions", "probes.json"],
         ["r.csv", "i.csv", "probes.json"]),
        (["grounded", "--ratings", "r.csv", "--items", "i.csv", "--ask-questions", "probes.json",
          "--ask", "f3", "--people", "2", "--fewest", "1", "--engine", "vllm", "--model", "m"],
         ["r.csv", "i.csv", "probes.json"]),
        (["rewritten", "--personas", "p.json", "--engine", "vllm", "--model", "m"], ["p.json"]),
    ],
)  # fmt: skip
def test_personas(files, counted, words, parsed):
    run(files, "personas", *words, "--out", "new.json")
    assert counted.parsed == dict.fromkeys(parsed, 1)
    assert counted.plans == ("--engine" in words)


def test_calibrate(files, counted):
    run(files, "calibrate", "--human", "known.csv", "--twin", "twin.csv", "--method", "ridge",
        "--missing", "refused", "--out", "o.csv")  # fmt: skip
    assert counted.parsed == {"known.csv": 1, "twin.csv": 1}


def test_a_pipeline(files, engine, counted):
    (files / "c.toml").write_text(PIPELINE)
    run(files, "pipeline", "c.toml")
    assert counted.parsed == {"q.json": 1, "human.csv": 1, "survey.toml": 1}
    assert counted.plans == 1
    assert counted.rendered == sent_and_checked(len(engine.asked), PEOPLE, ASKED)


def test_a_pipeline_of_written_personas(files, engine, counted):
    (files / "c.toml").write_text(FIDELITY)
    run(files, "pipeline", "c.toml", "--dry-run")
    # Items are read as what is shown of them, and as what is measured.
    once = {"probes.json": 1, "r.csv": 1, "e.npy": 1}
    assert {name: counted.parsed[name] for name in once} == once and counted.parsed["i.csv"] == 2
    # One that writes, one that asks what is written, one that asks the others.
    assert counted.plans == 3
