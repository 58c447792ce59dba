"""The command line with a real engine: killed while it asks, run again, and what follows it."""

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from syndigits_jax.cli.app import app
from syndigits_jax.cli.commands import respond as _respond
from syndigits_jax.datasets import write_questions
from syndigits_jax.respond.store.responses import ResponseStore
from syndigits_jax.schema import Option, Question
from syndigits_jax.workflows.pipeline import run as _pipeline

LABELS = ["never", "rarely", "often", "always"]
ASKED, TOLD = ["a0", "a1", "a2", "a3"], ["b0", "b1"]  # no human answered a3
PEOPLE, ORDERS = 5, 24
TOTAL = PEOPLE * len(ASKED) * ORDERS
# Batches so small that the store has some answers long before it has all.
CONFIG = """
out = "OUT"
[questions]
file = "q.json"
block = ["A"]
[[personas]]
kind = "survey"
human = "human.csv"
questions = "q.json"
[engine]
kind = "vllm"
model = "${SYNDIGITS_VLLM_TINY}"
dtype = "float32"
max_model_len = 1024
kv_cache_gib = 0.0625
threads = 1
batch_size = 1
[respond]
template = "survey"
readout = "probabilities"
orders = 24
[calibrate]
human = "human.csv"
"""


@pytest.fixture(scope="module")
def small_survey(tmp_path_factory, tiny):
    """Five people; what they said to block B tells who they are, block A is asked."""
    folder = tmp_path_factory.mktemp("survey")
    options = tuple(Option(k + 1, label) for k, label in enumerate(LABELS))
    questions = [Question(q, f"{q}?", options, block=q[0].upper()) for q in (*ASKED, *TOLD)]
    write_questions(folder / "q.json", questions)
    answers = np.random.default_rng(0).integers(1, 5, size=(PEOPLE, len(ASKED + TOLD)))
    frame = pd.DataFrame(answers, [f"p{i}" for i in range(PEOPLE)], ASKED + TOLD)
    frame.drop(columns="a3").rename_axis("id").to_csv(folder / "human.csv")
    for name in ("killed", "whole"):
        (folder / f"{name}.toml").write_text(CONFIG.replace("OUT", name))
    return folder


def committed(store):
    """How many responses a store has that another process writes, or 0 before there is one."""
    try:
        with closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as opened:
            return opened.execute("SELECT COUNT(*) FROM responses").fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def children(process):
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in listed.read_text().split()]


def running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until(what, seconds=120):
    for _ in range(100 * seconds):
        if what():
            return
        time.sleep(0.01)
    raise TimeoutError(what)


def responses(store):
    """Probabilities and the session they came in, by persona, question and order shown."""
    query = """SELECT personas.identifier, questions.identifier, shown, session, probabilities
        FROM responses JOIN personas ON personas.id = persona JOIN questions
        ON questions.id = question"""
    with ResponseStore(store, read_only=True) as opened:
        rows = list(opened.rows(query))
    return {tuple(key): (session, np.frombuffer(p, "<f4")) for *key, session, p in rows}


@pytest.fixture(scope="module")
def killed(small_survey, tiny, users_environment):
    """A pipeline's store when it was killed and when it had run again; what that said."""
    command = [sys.executable, "-m", "syndigits_jax.cli", "pipeline", "killed.toml"]
    environment = users_environment | {"SYNDIGITS_VLLM_TINY": tiny, "OMP_NUM_THREADS": "1"}
    store = small_survey / "killed" / "responses.sqlite"
    with (small_survey / "log.txt").open("w+") as log:
        asking = subprocess.Popen(
            command, cwd=small_survey, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            wait_until(lambda: committed(store) >= 10 or asking.poll() is not None)
            log.seek(0)
            assert asking.poll() is None, log.read()
            engines = children(asking)
        finally:
            asking.kill()
            asking.wait()
    # The engine goes with who asks it.
    assert engines
    wait_until(lambda: not any(map(running, engines)), 30)
    before = responses(store)
    again = subprocess.run(
        command, cwd=small_survey, env=environment, capture_output=True, text=True, timeout=180
    )
    return before, again, responses(store)


def test_what_a_kill_left_is_kept_and_only_the_rest_asked(small_survey, killed):
    before, again, after = killed
    assert again.returncode == 0, again.stdout + again.stderr
    assert 10 <= len(before) < TOTAL and len(after) == TOTAL
    assert f"{TOTAL - len(before)} asked in" in again.stdout
    assert f"; {len(before)} were there already" in again.stdout
    for key, (session, shares) in before.items():
        assert session == after[key][0] == 1
        np.testing.assert_array_equal(after[key][1], shares)
    assert all(session == 2 for key, (session, _) in after.items() if key not in before)
    report = (small_survey / "killed/report.md").read_text()
    assert (
        f"{PEOPLE} personas, {len(ASKED)} questions" in report
        and "(evaluation/report.html)" in report
    )


class Kept:
    """An engine that others use after the command that closes it."""

    def __init__(self, engine):
        self.model, self.identity, self.stream = engine.model, engine.identity, engine.stream

    def close(self):
        pass


@pytest.fixture
def command(small_survey, killed, offline, tiny, monkeypatch):
    """The command line in this process, with an engine that is started once."""
    for module in (_pipeline, _respond):
        monkeypatch.setattr(module, "build_engine", lambda *a, **b: Kept(offline))
    monkeypatch.setenv("SYNDIGITS_VLLM_TINY", os.fspath(tiny))
    monkeypatch.chdir(small_survey)

    def run(*words):
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == 0, (result.output, result.exception)
        return result

    return run


def test_values_are_those_of_a_run_that_nothing_interrupted(small_survey, killed, command):
    command("pipeline", "whole.toml")
    whole = responses(small_survey / "whole/responses.sqlite")
    _, _, found = killed
    assert found.keys() == whole.keys()
    for key, (_, shares) in whole.items():
        np.testing.assert_allclose(found[key][1], shares, atol=1e-3)
    # Else the comparison would pass whatever was asked.
    assert np.ptp([shares for _, shares in whole.values()], axis=0).max() > 0.01
    one, other = (
        pd.read_csv(small_survey / name / "answers.csv", index_col="persona")
        for name in ("killed", "whole")
    )
    pd.testing.assert_frame_equal(one, other, atol=5e-3)


def test_respond_then_panel_then_calibrate(small_survey, killed, command):
    told = command(
        *("respond", "--personas", "killed/personas.json", "--questions", "q.json", "--block", "A"),
        *("--template", "survey", "--readout", "choice", "--store", "choices.sqlite"),
        *("--engine", "vllm", "--model", "tiny"),
    )
    cells = PEOPLE * len(ASKED)
    assert f"{cells} of {cells} responses" in told.output
    command("panel", "choices.sqlite", "--out", "twin.csv")
    twin = pd.read_csv("twin.csv", index_col="persona")
    assert list(twin.columns) == ASKED and np.isin(twin.to_numpy(), [1, 2, 3, 4]).all()
    pd.read_csv("human.csv", index_col="id").drop(columns=TOLD).to_csv("people.csv")
    command(
        *("calibrate", "--human", "people.csv", "--twin", "twin.csv", "--method", "ridge"),
        *("--out", "predicted.csv"),
    )
    predicted = pd.read_csv("predicted.csv", index_col=0)
    assert list(predicted.columns) == ["a3"] and np.isfinite(predicted["a3"].to_numpy()).all()
    assert list(predicted.index) == list(twin.index)
