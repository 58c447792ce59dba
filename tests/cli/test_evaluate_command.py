"""`syndigits evaluate`: its files, what it says, resumption after a kill, and bad input."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from killed_writes import kill_forks
from typer.testing import CliRunner

from syndigits_jax.cli.app import app
from syndigits_jax.cli.exits import BAD_INPUT
from syndigits_jax.datasets import simulate_panel
from syndigits_jax.schema import Scale
from syndigits_jax.workflows.evaluate.evidence import CONTROL, SURVEY, hold_outs
from syndigits_jax.workflows.evaluate.inputs import read_inputs
from syndigits_jax.workflows.evaluate.run import evaluate_panel

runner = CliRunner()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The tables of 40 people and 8 questions in four blocks."""
    out = tmp_path_factory.mktemp("tables")
    panel = simulate_panel(40, 8, 2, key=0, noise=0.4, scale=Scale(1, 5, 1))[0]
    human, twin = panel.to_frames()
    human.to_csv(out / "human.csv")
    twin.to_csv(out / "twin.csv")
    people = {"weight": np.linspace(0.5, 2, 40), "sex": ["f", "m"] * 20}
    pd.DataFrame(people, index=human.index).to_csv(out / "people.csv")
    rows = {"identifier": panel.questions, "low": 1, "high": 5, "step": 1}
    pd.DataFrame(rows | {"survey": list("aabbccdd")}).to_csv(out / "questions.csv", index=False)
    return out


def arguments(folder, out, *more):
    given = ["evaluate"]
    for name in ("human", "twin", "people", "questions"):
        given += [f"--{name}", str(folder / f"{name}.csv")]
    given += ["--weights", "weight", "--groups", "sex", "--blocks", "survey", "--out", str(out)]
    return [*given, *map(str, more)]


def files(out):
    return {
        str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """A run that nothing interrupts: its folder and what it printed."""
    out = tmp_path_factory.mktemp("whole") / "out"
    result = runner.invoke(app, arguments(folder, out))
    assert result.exit_code == 0, result.output
    return out, result.output


def test_the_report_is_written_and_its_first_sentences_are_printed(whole):
    out, said = whole
    report = json.loads((out / "results.json").read_text())
    names = set(files(out))
    assert {"report.html", "report.md", "results.json"} <= names
    assert sum(name.startswith("units/") for name in names) == 4
    assert report["facts"]["people"] == 40 and report["facts"]["blocks of questions"] == 4
    assert report["facts"]["survey weights"] == "design effect 1.13: 40 people count as 36"
    assert report["sections"][-1]["name"] == "limits"
    printed = " ".join(said.split())
    for name in report["summary"]:
        assert " ".join(report["claims"][name]["text"].split()) in printed
    assert f"written: {out / 'report.html'}" in said
    assert "holding out known questions: " in said  # with the time left, if it takes a while


def test_python_gives_the_same_report_and_computes_no_finished_hold_out(
    folder, whole, tmp_path, monkeypatch
):
    out, _ = whole
    shutil.copytree(out / "units", tmp_path / "units")
    for name in ("hold_out_quality", "hold_out_learned_control"):
        monkeypatch.setattr(f"syndigits_jax.workflows.evaluate.evidence.{name}", None)
    inputs = read_inputs(
        folder / "human.csv", folder / "twin.csv", people=folder / "people.csv",
        questions=folder / "questions.csv", weights="weight", groups=["sex"], blocks="survey",
    )  # fmt: skip
    steps = []
    evaluate_panel(inputs, out=tmp_path, on_progress=steps.append)
    assert files(tmp_path) == files(out)
    done = [one.done for one in steps]
    assert done == sorted(done) and done[-1] == steps[-1].total
    assert {one.label for one in steps} == {"analysing", "writing"}
    found = {one.name: one.key for one in hold_outs(inputs)}
    assert {f"{key}.npz" for key in found.values()} == {
        path.name for path in (out / "units").iterdir()
    }
    assert SURVEY in found


def test_killed_at_random_moments_and_run_again_it_writes_the_same(folder, whole, tmp_path):
    """Killed in a hold-out, so that one is lost; what was finished is not computed again."""
    out = tmp_path / "out"
    code = (
        "import sys\n"
        "import jax\n"
        "jax.config.update('jax_numpy_dtype_promotion', 'strict')\n"
        "jax.config.update('jax_numpy_rank_promotion', 'raise')\n"
        "from syndigits_jax.cli.render import console\n"
        "console.SECONDS_BETWEEN_LINES = -1\n"
        "from syndigits_jax.cli import main\n"
        f"sys.argv = {['syndigits', *arguments(folder, out)]!r}\n"
        "main()\n"
    )
    programs = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "programs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    moments, finished = random.Random(0), []
    for during, longest in ((CONTROL, 20), (SURVEY, 5)):
        child = subprocess.Popen(
            [sys.executable, "-c", code],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | programs,
        )
        assert child.stderr is not None
        while f"holding out {during}: " not in child.stderr.readline():
            assert child.poll() is None
        for _ in range(moments.randint(0, longest)):
            child.stderr.readline()
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        child.stderr.close()
        finished.append(len(list((out / "units").glob("*.npz"))))
    assert 0 < finished[0] < finished[1] < 4, finished
    last = runner.invoke(app, arguments(folder, out))  # where all is compiled
    assert last.exit_code == 0, last.output
    assert files(out) == files(whole[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_while_it_writes_and_run_again_it_writes_the_same(folder, whole, tmp_path):
    out, wanted = tmp_path / "out", files(whole[0])
    shutil.copytree(whole[0], out)

    def run():
        result = runner.invoke(app, arguments(folder, out), catch_exceptions=False)
        assert result.exit_code == 0, result.output

    written = {name: wanted[name] for name in wanted if not name.startswith("units")}
    kill_forks(run, out, written, {1: len(written)})
    run()
    assert files(out) == wanted  # what was half written is gone too


def test_all_problems_are_printed_a_line_each(folder, tmp_path):
    out = tmp_path / "out"
    more = ["--groups", "sexx", "--arms", "arm", "--retest", folder / "people.csv"]
    result = runner.invoke(app, arguments(folder, out, *more, "--json"))
    assert result.exit_code == BAD_INPUT and not out.exists()
    head, *lines = result.stderr.splitlines()
    assert head == "error: 3 problems:"
    starts = ("- --groups: no column 'sexx'", "- --arms: no column 'arm'", "- --retest: the table")
    for line, start in zip(lines, starts, strict=True):
        assert line.startswith(start), line
    assert "did you mean 'sex'?" in lines[0]
    assert json.loads(result.stdout)["status"] == "bad input"


def test_bad_values_and_absent_files_are_among_them(folder, tmp_path):
    out = tmp_path / "out"
    out.write_text("of something else")
    (tmp_path / "again.csv").write_bytes("id,q\nzoë,1\n".encode("latin-1"))
    given = ["evaluate", "--human", folder / "human.csv", "--twin", folder / "twin.csv"]
    given += ["--people", tmp_path / "none.csv", "--questions", tmp_path / "none.json"]
    given += ["--retest", tmp_path / "again.csv", "--weights", "weight", "--intervals", "95"]
    result = runner.invoke(app, [*map(str, given), "--out", str(out)])
    assert result.exit_code == BAD_INPUT
    head, *lines = result.stderr.splitlines()
    starts = (
        "- --intervals must be a share between 0 and 1, got 95",
        f"- --out: {out} is not a folder",
        f"- no such file: {tmp_path / 'none.csv'}",
        f"- {tmp_path / 'again.csv'}: cannot be read as a table (line 2 is not UTF-8",
        f"- no such file: {tmp_path / 'none.json'}",
        "- --weights: no column 'weight'",
    )
    assert head == f"error: {len(starts)} problems:"
    for line, start in zip(lines, starts, strict=True):
        assert line.startswith(start), line
    assert out.read_text() == "of something else"
    with pytest.raises(FileNotFoundError):  # alone it is what it is
        read_inputs(folder / "none.csv", folder / "twin.csv")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda out: out.write_text("x"), "is not a folder"),
        (lambda out: (out.mkdir(), (out / "results.json").write_text("{}")), "choose another"),
    ],
)
def test_a_folder_of_something_else_is_refused(folder, tmp_path, make, words):
    make(tmp_path / "out")
    result = runner.invoke(app, arguments(folder, tmp_path / "out"))
    assert result.exit_code == BAD_INPUT and words in result.stderr
    result = runner.invoke(app, arguments(folder, tmp_path / "new", "--intervals", "95"))
    assert result.exit_code == BAD_INPUT and "--intervals must be a share" in result.stderr
