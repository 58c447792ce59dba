"""Records and results files: layout, null for NaN, whole or not at all."""

import dataclasses
import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import syndigits_jax
from syndigits_jax.results import records as module
from syndigits_jax.results.files import remove_partial, replacing, write_text
from syndigits_jax.results.records import (
    Record,
    commit,
    read_results,
    run_description,
    write_results,
)


def record(method="Ridge", mean=0.5, **changes):
    base = Record(
        "table2", "movielens", "zero-shot", "question", method, "reference", "pearson", mean,
        0.005, 250, 0.511, 0.005, 1.5,
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def test_results_file_has_the_published_layout(tmp_path):
    path = tmp_path / "new" / "results.json"
    assert write_results(path, [record()]) == 1
    document = json.loads(path.read_text())
    assert set(document) == {"machine", "versions", "commit", "date", "records"}
    assert document["records"] == [
        {
            "table": "table2",
            "dataset": "movielens",
            "construction": "zero-shot",
            "direction": "question",
            "method": "Ridge",
            "setting": "reference",
            "metric": "pearson",
            "mean": 0.5,
            "se": 0.005,
            "count": 250,
            "paper_mean": 0.511,
            "paper_se": 0.005,
            "seconds": 1.5,
        }
    ]
    assert {"cpu", "cores", "memory_gib", "device", "device_kind"} <= set(document["machine"])
    assert {"python", "jax", "numpy", "syndigits_jax"} <= set(document["versions"])


def test_nan_and_infinity_become_null_and_read_back(tmp_path):
    path = tmp_path / "results.json"
    write_results(path, [record(mean=float("nan"), se=float("inf"))])
    assert "NaN" not in path.read_text() and "Infinity" not in path.read_text()
    _, [read] = read_results(path)
    assert read.mean is None and read.se is None


def test_merge_replaces_what_is_recomputed_and_keeps_the_rest(tmp_path):
    path = tmp_path / "results.json"
    write_results(path, [record(mean=0.1), record("Lasso", 0.2)])
    assert write_results(path, [record(mean=0.3), record("Ridge", 0.4, table="table4")]) == 3
    _, found = read_results(path)
    values = [(r.table, r.method, r.mean) for r in found]
    assert values == [("table2", "Ridge", 0.3), ("table2", "Lasso", 0.2), ("table4", "Ridge", 0.4)]


def test_records_of_another_machine_are_set_aside(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    write_results(path, [record(mean=0.1), record("Lasso", 0.2)])
    monkeypatch.setattr(module, "machine", lambda: {"cpu": "another"})
    assert write_results(path, [record(mean=0.3)]) == 1
    _, found = read_results(path)
    assert [r.mean for r in found] == [0.3]
    _, previous = read_results(tmp_path / "results.previous.json")
    assert [r.mean for r in previous] == [0.1, 0.2]


def test_two_records_of_one_key_are_refused(tmp_path):
    with pytest.raises(ValueError, match="records: two of them"):
        write_results(tmp_path / "results.json", [record(), record(mean=0.7)])
    assert not list(tmp_path.iterdir())


def test_records_of_another_commit_are_set_aside_and_those_of_another_day_stay(
    tmp_path, monkeypatch
):
    path = tmp_path / "results.json"
    write_results(path, [record(mean=0.1), record("Lasso", 0.2)])
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"date": "2020-02-02"}))
    assert write_results(path, [record(mean=0.3)]) == 2
    monkeypatch.setattr(module, "commit", lambda: {"hash": "0" * 40, "changed": False})
    assert write_results(path, [record(mean=0.4)]) == 1
    header, previous = read_results(tmp_path / "results.previous.json")
    assert [r.mean for r in previous] == [0.3, 0.2] and header["commit"] == document["commit"]


def test_files_from_before_commits_were_named_are_read(tmp_path):
    path = tmp_path / "results.json"
    write_results(path, [record(mean=0.1)])
    document = json.loads(path.read_text())
    path.write_text(json.dumps({k: document[k] for k in ("machine", "versions", "records")}))
    header, [read] = read_results(path)
    assert header["commit"] is None and read.mean == 0.1


# --- what every file of results says of its run -----------------------------------------------


def git(folder, *arguments):
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    return subprocess.run(
        ["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with a package in it."""
    package = tmp_path / "syndigits_jax"
    for source in (package / "__init__.py", tmp_path / "benchmarks/speed.py"):
        source.parent.mkdir()
        source.write_text("")
    (tmp_path / "benchmarks/results.json").write_text("{}")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "x")
    monkeypatch.setattr(syndigits_jax, "__file__", str(package / "__init__.py"))
    return tmp_path


@pytest.mark.parametrize("name", ["syndigits_jax/__init__.py", "benchmarks/speed.py"])
@pytest.mark.parametrize("new", [False, True])
def test_the_commit_and_whether_the_source_differs_from_it(checkout, name, new):
    head = git(checkout, "rev-parse", "HEAD").strip()
    (checkout / "benchmarks/results.json").write_text("[]")  # what is written is no source
    (checkout / "notes.txt").write_text("")
    assert commit() == {"hash": head, "changed": False}
    source = checkout / name
    (source.with_name("new.py") if new else source).write_text("x = 1")
    assert commit() == {"hash": head, "changed": True}


def test_no_commit_outside_a_checkout(checkout, monkeypatch):
    package = checkout / "venv/syndigits_jax"  # installed, within a checkout of something else
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(syndigits_jax, "__file__", str(package / "__init__.py"))
    assert commit() is None
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(checkout))  # no Git
    assert commit() is None


def _by_fidelity(path):
    from syndigits_jax.workflows.fidelity.records import write_fidelity_results

    write_fidelity_results(path, [], counts={}, settings=record())


def _by_reproduction(path):
    from syndigits_jax.studies.persona_fidelity.reproduction import write_fidelity_study

    write_fidelity_study(path, [])


def _by_pipeline(path):
    from syndigits_jax.respond.store.responses import Run
    from syndigits_jax.respond.store.tallies import Tally
    from syndigits_jax.workflows.pipeline.records import write_pipeline_results

    run = Run(1, "t", "1", "h", "m", {"readout": "text"})
    write_pipeline_results(path, Tally(run, (), 1, 1, {}, 0.0, 0, 0, 0, 0.0))


def _by_benchmarks(path):
    from benchmarks.report import write_report

    write_report(path, figure=1)


WRITERS = {
    "results/records.py": lambda path: write_results(path, [record()]),
    "workflows/fidelity/records.py": _by_fidelity,
    "studies/persona_fidelity/reproduction.py": _by_reproduction,
    "workflows/pipeline/records.py": _by_pipeline,
    "benchmarks/report.py": _by_benchmarks,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_writer_says_what_it_ran_on(tmp_path, checkout, name):
    path = tmp_path / "results.json"
    WRITERS[name](path)
    document = json.loads(path.read_text())
    assert {k: document[k] for k in ("machine", "versions", "commit", "date")} == run_description()
    assert document["commit"]["hash"] == git(checkout, "rev-parse", "HEAD").strip()
    assert datetime.date.fromisoformat(document["date"])
    versions, machine = document["versions"], document["machine"]
    assert versions["syndigits_jax"] == syndigits_jax.__version__
    assert versions["jax"] == jax.__version__ and versions["numpy"] == np.__version__
    assert versions["python"] and versions["precision"] in ("float32", "float64")
    assert machine["device"] == jax.devices()[0].platform and machine["system"]


def test_there_are_no_other_writers():
    """Of JSON files of results: in `datasets` are those of personas and questions."""
    root = Path(module.__file__).parents[2]
    sources = {
        str(source.relative_to(root)).removeprefix("syndigits_jax/"): source.read_text("utf-8")
        for folder in ("syndigits_jax", "benchmarks")
        for source in (root / folder).rglob("*.py")
    }
    found = {name for name, text in sources.items() if "write_document(" in text}
    # The rows that this one joins into a table keep what they ran on. A report is the same bytes
    # whenever and wherever it is made.
    others = {"benchmarks/join_tables.py", "report/write.py"}
    assert found - others == set(WRITERS)
    own = {
        name for name, text in sources.items() if "write_text(" in text and "json.dumps(" in text
    }
    inputs = {"datasets/personas.py", "datasets/questions.py", "datasets/surveys/qualtrics.py"}
    # What a measured process tells the one that started it.
    told = {"benchmarks/compile_times.py", "benchmarks/suite/used.py"}
    assert own - inputs - told == {"results/records.py"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"records": [{"x": 1}]}'])
def test_a_foreign_file_is_not_overwritten(tmp_path, text):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="is not a results file"):
        write_results(path, [record()])
    assert path.read_text() == text


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path, error):
    path = tmp_path / "table.csv"
    write_text(path, "old")
    with pytest.raises(error), replacing(path) as temporary:
        assert temporary.suffix == ".csv" and temporary.parent == tmp_path
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_of_a_process_that_has_ended_goes_at_once(tmp_path):
    """Whichever file is written there next; one of this process stays, and one of elsewhere."""
    with replacing(tmp_path / "other" / "a.csv") as temporary:
        ours = temporary.name
    place, mine = ours.removeprefix(".partial-").split("-")[:2]
    assert mine == str(os.getpid())
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    ended = f".partial-{place}-{child.pid}-x.csv"
    stay = [ours, f".partial-00000000-{child.pid}-x.csv", f".partial-{place}-{'9' * 30}-x.csv"]
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in (ended, *stay):
        (folder / name).write_text("half")
    write_text(folder / "b.txt", "whole")
    assert {path.name for path in folder.iterdir()} == {"b.txt", *stay}


def test_stale_partial_files_go_but_fresh_ones_stay(tmp_path):
    stale, fresh = tmp_path / ".partial-a.npz", tmp_path / ".partial-b.npz"
    stale.write_text("x")
    fresh.write_text("y")
    os.utime(stale, (0, 0))
    remove_partial(tmp_path)
    assert list(tmp_path.iterdir()) == [fresh]
