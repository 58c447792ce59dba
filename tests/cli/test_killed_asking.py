"""Commands that ask a model and die: what was answered is kept, and nothing half-written is left.

Kills of a collection without a command are in tests/respond/test_killed.py.
"""

import os
import random
import time

import pytest
from killed_writes import contents, kill_at_each_write, kill_fork
from stub_engines import StubEngine, some_personas, some_questions
from typer.testing import CliRunner

from syndigits_jax.cli.app import app
from syndigits_jax.cli.commands import personas as writing
from syndigits_jax.cli.commands import respond as asking
from syndigits_jax.datasets import write_personas, write_questions
from syndigits_jax.respond.store import responses as store_module
from syndigits_jax.respond.store.responses import ResponseStore

PEOPLE, QUESTIONS = 60, 5
ANSWERS = "SELECT persona, question, shown, draw, text, value, status FROM responses ORDER BY 1, 2"


def run(*arguments):
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, (result.output, result.exception)


@pytest.fixture
def folder(tmp_path):
    write_personas(tmp_path / "people.json", some_personas(PEOPLE))
    write_questions(tmp_path / "questions.json", some_questions(QUESTIONS))
    (tmp_path / "out").mkdir()
    return tmp_path


@pytest.fixture
def engine(monkeypatch):
    """What the commands ask; it gives a sign at each answer, where one is wanted."""
    made = StubEngine()
    honest = made.answer
    made.sign = None

    def answer(request):
        if made.sign is not None:
            made.sign()
        return honest(request)

    made.answer = answer
    for command in (asking, writing):
        monkeypatch.setattr(command, "build_engine", lambda *a, **b: made)
    return made


def commands(folder):
    """By command: its options without a store, and how many answers it asks for."""
    people = "--personas", folder / "people.json"
    questions = "--questions", folder / "questions.json", "--template", "survey"
    model = "--engine", "vllm", "--model", "m"
    return {
        "respond": (("respond", *people, *questions, *model), PEOPLE * QUESTIONS),
        "personas": (
            ("personas", "rewritten", *people, *model, "--out", folder / "out/p.json"), PEOPLE,
        ),
    }  # fmt: skip


def answers(path):
    with ResponseStore(path, read_only=True) as store:
        return list(store.rows(ANSWERS))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("name", ["respond", "personas"])
def test_killed_at_random_moments_it_asks_only_what_is_missing(folder, engine, monkeypatch, name):
    arguments, planned = commands(folder)[name]
    run(*arguments, "--store", folder / "whole.db")
    assert len(engine.asked) == planned
    engine.asked.clear()
    wanted, out = answers(folder / "whole.db"), folder / "out"
    written = contents(out)
    for path in written:
        (out / path).unlink()
    monkeypatch.setattr(store_module, "_SECONDS_BETWEEN_COMMITS", (1e-4, 1e-3))
    engine.seconds, moments, at_work, kept = 5e-4, random.Random(0), [], [0]

    def asked(sign):
        def until_killed():
            sign()
            if len(engine.asked) == signs + 3:  # not over before it is killed, on a busy machine
                time.sleep(60)

        engine.sign = until_killed
        run(*arguments, "--store", out / "store.db")

    for _ in range(4):
        signs = moments.randint(1, (planned - kept[-1]) // 3)
        at_work.append(kill_fork(asked, signs, moments.uniform(0, 2e-3)))
        kept.append(len(answers(out / "store.db")))
        assert "p.json" not in contents(out)
    assert kept == sorted(kept) and sum(at_work) == 4 and 0 < kept[-1] < planned, kept
    engine.seconds = 0.0
    run(*arguments, "--store", out / "store.db")
    assert len(engine.asked) == planned - kept[-1]
    assert answers(out / "store.db") == wanted
    found = contents(out)
    assert {path: found[path] for path in written} == written
    assert sorted(os.listdir(out)) == sorted([*written, "store.db"])


def test_texts_and_tables_are_those_of_one_run_whenever_it_dies(folder, engine):
    (asks, _), (writes, planned) = commands(folder).values()
    out = folder / "out"
    kill_at_each_write(lambda: run(*writes, "--store", folder / "texts.db"), out, ["p.json"])
    assert len(engine.asked) == planned  # texts that were stored are not asked for again
    (out / "p.json").unlink()
    run(*asks, "--store", folder / "answers.db")
    names = {"tensor": "t.npz", "records": "a.csv", "ratings": "r.csv", "out": "p.csv"}
    options = [part for name, file in names.items() for part in (f"--{name}", out / file)]
    kill_at_each_write(
        lambda: run("panel", folder / "answers.db", *options), out, list(names.values())
    )
