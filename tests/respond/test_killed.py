"""`kill -9` at random moments, and two processes at once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from syndigits_jax.respond.store.responses import ResponseStore

pytestmark = pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
EVERYTHING_BUT_WHEN = (
    "SELECT runs.*, personas.hash, personas.content, questions.hash, questions.content, shown, "
    "draw, text, value, status, probabilities, outside, finish_reason, prompt_tokens, "
    "completion_tokens, cached_tokens, engine, engine_version, package_version FROM responses "
    "JOIN runs ON runs.id = responses.run JOIN personas ON personas.id = persona "
    "JOIN questions ON questions.id = question JOIN sessions ON sessions.id = session "
    "ORDER BY persona, question, shown, draw"
)


@pytest.fixture(scope="module")
def found(tmp_path_factory, users_environment):
    folder = tmp_path_factory.mktemp("killed")
    script = Path(__file__).parents[1] / "helpers" / "killed_collector.py"
    run = subprocess.run(
        [sys.executable, script, folder], capture_output=True, text=True, check=False,
        env=users_environment, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return folder, json.loads(run.stdout)


def rows(path):
    with ResponseStore(path, read_only=True) as store:
        return list(store.rows(EVERYTHING_BUT_WHEN))


def test_killed_twenty_times_it_holds_what_an_uninterrupted_run_holds(found):
    folder, told = found
    assert len(told["kills"]) == 20
    assert sum(at_work for at_work, _, _ in told["kills"]) >= 15  # not a run that was over anyway
    assert {sound for _, _, sound in told["kills"]} == {"ok"}
    counts = [count for _, count, _ in told["kills"]]
    assert counts == sorted(counts)  # nothing that was committed is lost
    already, asked, missing = told["last"]
    assert (already, missing) == (counts[-1], 0)  # and none of it is asked again
    assert already + asked == told["planned"] and already > 0
    whole = rows(folder / "whole.db")
    assert len(whole) == told["planned"]
    assert rows(folder / "killed.db") == whole


def test_a_second_process_is_refused_until_the_first_is_gone(found):
    _, told = found
    held = told["held"]
    assert f"process {held['child']} is writing it" in held["refusal"]
    assert held["seen"] == held["after"] == told["planned"]


def test_nothing_is_left_beside_the_stores(found):
    _, told = found
    assert [name for name in told["files"] if not name.startswith("copy")] == [
        "killed.db", "whole.db"
    ]  # fmt: skip
