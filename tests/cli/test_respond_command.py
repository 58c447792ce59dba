"""`syndigits respond`, `templates` and `panel`: options to requests, a store to tables."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from syndigits_jax.cli.app import app
from syndigits_jax.cli.commands import respond as commands
from syndigits_jax.cli.options import build_engine
from syndigits_jax.cli.render import asking as printed
from syndigits_jax.respond.asking.collect import CollectionProgress
from syndigits_jax.respond.prompts.templates import find_template, list_templates
from syndigits_jax.respond.requests import Completion, EngineDied, EngineIdentity, Failure
from syndigits_jax.respond.store.responses import ResponseStore

runner = CliRunner()
PEOPLE, QUESTIONS = ("ann", "bob", "cid"), ("Q1", "Q2")


class Scripted:
    """Answers by the length of the chat; fails or dies at given requests."""

    identity = EngineIdentity("scripted", "stub", "1")

    def __init__(self, fails=(), dies_at=None):
        self.fails, self.dies_at, self.requests, self.closed = fails, dies_at, [], False

    def stream(self, requests):
        for position, request in enumerate(requests):
            if position == self.dies_at:
                raise EngineDied("the stub is gone")
            self.requests.append(request)
            if position in self.fails:
                yield position, Failure("HTTP 500")
                continue
            number = len(request.messages[-1].content) % max(1, len(request.answers))
            text = request.answers[number] if request.answers else "2"
            logs = tuple(-1.5 - (i != number) for i in range(len(request.answers)))
            yield position, Completion(text, logs, "stop", 10, 1, 5)

    def close(self):
        self.closed = True


@pytest.fixture
def files(tmp_path):
    texts = [f"A person called {name}." for name in PEOPLE]
    pd.DataFrame({"id": PEOPLE, "text": texts}).to_csv(tmp_path / "p.csv", index=False)
    options = ["Very safe", "Somewhat safe", "Not safe"]
    (tmp_path / "q.json").write_text(
        json.dumps([{"identifier": q, "text": f"{q}?", "options": options} for q in QUESTIONS])
    )
    return tmp_path


@pytest.fixture
def engine(monkeypatch):
    """The engine that the command builds, and how it was asked to."""
    made = Scripted()

    def build(*arguments, **options):
        made.built = (arguments, options)
        return made

    monkeypatch.setattr(commands, "build_engine", build)
    return made


def respond(folder, *options):
    given = ["--personas", folder / "p.csv", "--questions", folder / "q.json"]
    if "--template" not in options:
        given += ["--template", "survey"]
    return runner.invoke(app, ["respond", *map(str, [*given, *options])])


def panel(*arguments):
    return runner.invoke(app, ["panel", *map(str, arguments)])


def failed_in_a_line(result, *words, code=2):
    assert result.exit_code == code, (result.output, result.exception)
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and result.stderr.strip().splitlines()[-1] == errors[0]
    for word in words:
        assert word in errors[0], errors[0]


# --- respond ----------------------------------------------------------------------------------


def test_from_files_to_a_store_and_again_for_nothing(files, engine):
    out = files / "new" / "r.db"
    asked = respond(files, "--store", out, "--engine", "vllm", "--model", "m",
                    "--readout", "probabilities", "--engine-option", "threads=2")  # fmt: skip
    assert asked.exit_code == 0, asked.output
    assert engine.built[0][:2] == ("vllm", "m") and engine.built[1]["options"] == ["threads=2"]
    assert "6 asked" in asked.stdout and "6 answered" in asked.stdout
    assert "60 prompt tokens, 30 of them cached; 6 completion tokens" in asked.stdout
    assert "6 of 6 responses" in asked.stderr and "6 of 6 responses are in" in asked.stdout
    outside = 1 - (np.exp(-1.5) + 2 * np.exp(-2.5))
    assert f"anything but an answer: {outside:.3f}" in asked.stdout
    assert engine.closed and len(engine.requests) == 6
    assert "A person called ann." in engine.requests[0].messages[-1].content
    again = respond(files, "--store", out, "--engine", "vllm", "--model", "m",
                    "--readout", "probabilities")  # fmt: skip
    assert again.exit_code == 0 and "0 asked" in again.stdout
    assert "6 were there already" in again.stdout and len(engine.requests) == 6
    assert sorted(os.listdir(files)) == ["new", "p.csv", "q.json"]


def test_the_templates_defaults_hold_until_overridden(files, engine):
    out = files / "r.db"
    assert respond(files, "--store", out).exit_code == 0
    (template,) = (t for t in list_templates() if t.name == "survey")
    defaults = template.settings()
    assert {r.readout for r in engine.requests} == {defaults.readout}
    assert {r.max_tokens for r in engine.requests} == {defaults.max_tokens}
    engine.requests.clear()
    options = ["--readout", "sample", "--temperature", "0.5", "--top-p", "0.9", "--draws", "2",
               "--orders", "2", "--seed", "3", "--ask", "Q2", "--limit", "5"]  # fmt: skip
    sampled = respond(files, "--store", out, *options)
    assert sampled.exit_code == 0, sampled.output
    assert "7 are missing" in sampled.stdout
    assert len(engine.requests) == 5
    assert {(r.readout, r.temperature, r.top_p) for r in engine.requests} == {("sample", 0.5, 0.9)}
    assert all("Q2?" in r.messages[-1].content for r in engine.requests)


def test_failures_are_told_and_the_exit_code_says_so(files, engine):
    engine.fails = (1, 4)
    out = files / "r.db"
    told = respond(files, "--store", out, "--readout", "choice")
    assert told.exit_code == 1
    assert "failed 2 times: HTTP 500" in told.stdout
    assert "2 are missing: the same command asks only these" in told.stderr
    engine.fails = ()
    assert respond(files, "--store", out, "--readout", "choice").exit_code == 0
    with ResponseStore(out, read_only=True) as store:
        assert store.count() == 6


def test_a_dead_engine_is_one_line_and_what_came_is_kept(files, engine):
    engine.dies_at = 4
    died = respond(files, "--store", files / "r.db")
    failed_in_a_line(died, "the stub is gone; 4 of 6 answers are in", "only the rest", code=3)
    assert engine.closed


def test_ctrl_c_keeps_what_came(files, engine, monkeypatch):
    def interrupted(requests):
        yield 0, Completion("1", (-1.0,) * 3) if next(requests) else None
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "stream", interrupted)
    stopped = respond(files, "--store", files / "r.db")
    assert stopped.exit_code == 130
    assert "run the same command again" in stopped.stderr and engine.closed
    with ResponseStore(files / "r.db", read_only=True) as store:
        assert store.count() == 1


def test_a_dry_run_needs_no_engine_and_writes_nothing(files, monkeypatch):
    monkeypatch.delattr(commands, "build_engine")
    shown = respond(files, "--dry-run", "--input-price", "1000000", "--output-price", "0")
    assert shown.exit_code == 0, shown.output
    assert "A person called ann." in shown.stdout and "2 = Somewhat safe" in shown.stdout
    assert "6 requests" in shown.stdout and "estimated at 4 characters per token" in shown.stdout
    assert "as in the prompt before" in shown.stdout and "cost: " in shown.stdout
    assert sorted(os.listdir(files)) == ["p.csv", "q.json"]


def test_items_are_rated(files, engine):
    pd.DataFrame({"id": ["1", "2"], "title": ["Heat {age}", "Alien"]}).to_csv(
        files / "films.csv", index=False
    )
    rated = runner.invoke(
        app,
        ["respond", "--personas", str(files / "p.csv"), "--questions", str(files / "films.csv"),
         "--scale", "purchase", "--template", "fidelity-rating", "--readout", "choice",
         "--store", str(files / "r.db")],
    )  # fmt: skip
    assert rated.exit_code == 0, rated.output
    assert "Title: Heat {age}." in engine.requests[0].messages[-1].content
    written = panel(files / "r.db", "--ratings", files / "ratings.csv")
    assert written.exit_code == 0, written.output
    ratings = pd.read_csv(files / "ratings.csv")
    assert list(ratings.columns) == ["persona", "item", "rating"] and len(ratings) == 6


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--store", "r.db", "--template", "surveys"], ["--template", "'survey'"]),
        (["--store", "r.db", "--readout", "logits"], ["--readout", "logits"]),
        (["--store", "r.db", "--ask", "Q9"], ["--ask", "'Q9'"]),
        (["--store", "r.db", "--limit", "0"], ["--limit"]),
        (["--store", "r.db", "--personas", "none.csv"], ["none.csv"]),
        (["--store", "r.db", "--readout", "sample", "--temperature", "0"], ["--temperature"]),
        (["--store", "p.csv"], ["p.csv", "not a response store"]),
        ([], ["--store is missing"]),
    ],
)
def test_bad_options_are_one_line(files, engine, monkeypatch, options, words):
    monkeypatch.chdir(files)
    before = (files / "p.csv").read_bytes()
    failed_in_a_line(respond(files, *options), *words)
    assert not engine.requests and (files / "p.csv").read_bytes() == before
    assert sorted(os.listdir(files)) == ["p.csv", "q.json"]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((None, "m"), {}, "`engine` must be one of vllm, openai, got None"),
        (("gguf", "m"), {}, "got 'gguf'"),
        (("vllm", None), {}, "`model` is missing"),
        (("openai", "m"), {}, "`url` is missing"),
        (("vllm", "m", ["http://x/v1"]), {}, "`url` is for the engine openai"),
        (("vllm", "m"), {"concurrency": 3}, "`concurrency` is for"),
        (("openai", "m", ["http://x/v1"]), {"options": ["nonsense=1"]}, "no such setting"),
        (("openai", "m", ["http://x/v1"]), {"options": ["retries"]}, "expected NAME=VALUE"),
        (("openai", "m", ["http://x/v1"]), {"options": ["retries=1", "retries=2"]}, "twice"),
        (("openai", "m", ["http://x/v1"]), {"options": ["retries=-1"]}, "`retries`"),
    ],
)
def test_bad_engine_options(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        build_engine(*arguments, **options)


def test_engine_options_reach_the_engine(monkeypatch):
    from syndigits_jax.respond.engines import vllm_engine as vllm_engine

    class Recorded:
        def __init__(self, model, *, timeout=1.0, dtype="auto", engine_arguments=None):
            self.given = (model, timeout, dtype, engine_arguments)

    monkeypatch.setattr(vllm_engine, "VLLMEngine", Recorded)
    options = ["dtype=bfloat16", "enforce-eager=true", "block_size=32"]
    engine = build_engine("vllm", "m", timeout=9.0, options=options)
    assert engine.given == ("m", 9.0, "bfloat16", {"enforce_eager": True, "block_size": 32})


def test_templates_are_listed():
    listed = runner.invoke(app, ["templates"])
    assert listed.exit_code == 0, listed.output
    for template in list_templates():
        assert f"{template.name} {template.version} ({template.hash[:8]})" in listed.stdout
    assert "slots: " in listed.stdout


@pytest.mark.parametrize("template", list_templates(), ids=lambda template: template.name)
def test_a_template_that_is_printed_can_be_used(template, tmp_path):
    printed = runner.invoke(app, ["templates", f"{template.name}@{template.version}"])
    assert printed.exit_code == 0, printed.output
    copy = tmp_path / "mine.toml"
    copy.write_text(printed.stdout, encoding="utf-8")
    assert find_template(copy) == template
    said = runner.invoke(app, ["templates", template.name, "--json"])
    assert json.loads(said.stdout)["template"] == printed.stdout


def test_an_unknown_template_is_not_printed():
    result = runner.invoke(app, ["templates", "surveys"])
    assert result.exit_code == 2 and "survey" in result.stderr


# --- panel ------------------------------------------------------------------------------------


@pytest.fixture
def store(files, engine):
    out = files / "r.db"
    assert respond(files, "--store", out, "--readout", "probabilities").exit_code == 0
    return out


def test_panel_tells_what_there_is(store):
    told = panel(store)
    assert told.exit_code == 0, told.output
    assert "scripted" in told.stdout and "probabilities" in told.stdout


def test_panel_writes_tables_that_agree(store, files):
    written = panel(store, "--out", files / "t.csv", "--tensor", files / "t.npz",
                    "--records", files / "t.parquet")  # fmt: skip
    assert written.exit_code == 0, written.output
    assert "3 personas x 2 questions, 0.0% missing" in written.stdout
    table = pd.read_csv(files / "t.csv", index_col=0)
    assert tuple(table.index) == PEOPLE and tuple(table.columns) == QUESTIONS
    with np.load(files / "t.npz") as tensor:
        values = (tensor["probabilities"] * tensor["values"][None]).sum(-1)
    np.testing.assert_allclose(values, table, rtol=1e-5)
    records = pd.read_parquet(files / "t.parquet")
    np.testing.assert_allclose(records["value"].to_numpy().reshape(3, 2), table, rtol=1e-5)


def test_panel_is_aligned_with_people(store, files):
    human = pd.DataFrame({"Q2": [1, 2], "Q1": [3, 3]}, index=pd.Index(["bob", "ann"], name="id"))
    human.to_csv(files / "human.csv")
    aligned = panel(store, "--human", files / "human.csv", "--out", files / "t.csv")
    assert aligned.exit_code == 0, aligned.output
    assert "1 respondents without any" in aligned.stdout
    table = pd.read_csv(files / "t.csv", index_col=0)
    assert list(table.index) == ["bob", "ann", "cid"] and list(table.columns) == ["Q2", "Q1"]


def test_panel_refuses(store, files, engine):
    failed_in_a_line(panel(files / "none.db"), "none.db")
    failed_in_a_line(panel(store, "--out", files / "t.txt"), "t.txt", "unknown table format")
    failed_in_a_line(panel(store, "--tensor", files / "t.npy"), ".npz")
    failed_in_a_line(panel(store, "--human", files / "p.csv"), "--human", "--out")
    failed_in_a_line(panel(store, "--out", files / "t.csv", "--run", "7"), "--run", "1: survey")
    assert respond(files, "--store", store, "--readout", "choice").exit_code == 0
    failed_in_a_line(panel(store, "--out", files / "t.csv"), "2 runs, choose one")
    assert panel(store, "--out", files / "t.csv", "--run", "choice").exit_code == 0


# --- what is printed --------------------------------------------------------------------------


def test_panel_refuses_to_write_two_things_to_one_file(store, files):
    names = {"--out": "a.csv", "--records": "a.csv", "--ratings": "b/../a.csv"}
    (files / "b").mkdir()
    for first in names:
        for second in set(names) - {first}:
            paths = [first, files / names[first], second, files / names[second]]
            failed_in_a_line(panel(store, *paths), "a.csv", "too; give each a file of its own")
    assert not (files / "a.csv").exists()


def test_progress_in_words():
    progress = CollectionProgress(50, 200, 10, 3, 4000, 500, 1000, 10.0)
    assert printed.said(progress) == "5.0/s, 30 s left, 4.5 k tokens (25% cached), 3 failed"
    assert printed.said(CollectionProgress(0, 5, 0, 0, 0, 0, 0, 0.0)) == "waiting for the engine"
    assert [printed.duration(s) for s in (0.2, 59, 61, 7300, float("inf"))] == [
        "0 s", "59 s", "1 min 1 s", "2 h 1 min", "unknown time"
    ]  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs POSIX signals")
def test_sigint_from_outside_ends_the_command_well(files, users_environment):
    """The command as a process of its own, its engine a server that never answers."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        # Where the tests run in the background they ignore the signal, and so would their children.
        program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        program += "from syndigits_jax.cli import main; main()"
        command = [sys.executable, "-c", program, "respond", "--personas", "p.csv",
                   "--questions", "q.json", "--template", "survey", "--engine", "openai",
                   "--url", url, "--model", "m", "--store", "r.db"]  # fmt: skip
        process = subprocess.Popen(
            command, cwd=files, env=users_environment, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        silent.accept()[0].close()  # the first request, or the first look at the server
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "run the same command again" in errors.splitlines()[-1]
