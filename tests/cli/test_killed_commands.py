"""Commands that die while they write: no half of a file, and the same bytes when run again."""

import json

import numpy as np
import pandas as pd
import pytest
from killed_writes import contents, dying, kill_at_each_write, killed
from published_layout import write_published
from typer.testing import CliRunner

from syndigits_jax.cli.app import app
from syndigits_jax.datasets import simulate_distributions, simulate_panel
from syndigits_jax.results.checkpoints import Checkpoints
from syndigits_jax.schema import Scale
from syndigits_jax.workflows import calibrate, distributions, estimate, personas, target
from syndigits_jax.workflows.fidelity import probes

runner = CliRunner()


def run(*arguments):
    result = runner.invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, (result.output, result.exception)
    return result


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    human, twin = simulate_panel(40, 10, 2, key=0, noise=0.4, scale=Scale(1, 5, 1))[0].to_frames()
    asked = human.columns[0]
    twin.to_csv(folder / "twin.csv")
    human.iloc[:, :-1].to_csv(folder / "human.csv")
    human.loc[np.arange(40) % 3 > 0, asked] = np.nan
    human.to_csv(folder / "few.csv")
    data, _ = simulate_distributions(30, 8, 4, key=0, sample=300)
    names = list(data.questions)
    counts = pd.DataFrame(data.counts[:6].astype(int), names[:6], list(data.options))
    counts.to_csv(folder / "counts.csv")
    pd.DataFrame(data.choices.astype(int) + 1, list(data.twins), names).to_csv(folder / "said.csv")
    ratings = [(f"u{u}", f"f{j}", 1 + (u + j) % 5, j) for u in range(4) for j in range(8)]
    columns = ["user", "item", "rating", "time"]
    pd.DataFrame(ratings, columns=columns).to_csv(folder / "r.csv", index=False)
    films = pd.DataFrame({"item": [f"f{j}" for j in range(8)], "title": "Film"})
    films.to_csv(folder / "i.csv", index=False)
    np.save(folder / "e.npy", np.random.default_rng(0).normal(size=(8, 3)))
    return folder, asked


def commands(folder, asked, out):
    """By command: its options, the function that computes, and the files in the order in which
    they take their places."""
    people = "--human", folder / "human.csv", "--twin", folder / "twin.csv"
    few = "--human", folder / "few.csv", "--twin", folder / "twin.csv"
    counts = "--human", folder / "counts.csv", "--twin", folder / "said.csv"
    films = "--ratings", folder / "r.csv", "--items", folder / "i.csv"
    to = "--out", out / "p.csv", "--report", out / "r.csv"
    vectors = "--embeddings", folder / "e.npy"
    return {
        "calibrate": (
            ("calibrate", *people, *to, "--shares", out / "s.csv", "--intervals", "0.9"),
            (estimate, "estimate_files"),
            ["p.upper.csv", "p.lower.csv", "s.csv", "r.csv", "p.csv"],
        ),
        "one method": (
            ("calibrate", *people, *to, "--method", "ridge"),
            (calibrate, "calibrate_files"), ["r.csv", "p.csv"],
        ),
        "distribution": (
            ("calibrate-distribution", *counts, *to, "--no-blend"),
            (distributions, "calibrate_distribution_files"), ["r.csv", "p.csv"],
        ),
        "estimate": (
            ("estimate", *few, "--target", asked, "--out", out / "p.csv"),
            (target, "estimate_target_files"), ["p.csv"],
        ),
        "probes": (
            ("probes", *films, *vectors, "--count", 5, "--out", out / "p.json"),
            (probes, "select_probes"), ["p.json"],
        ),
        "personas": (
            ("personas", "history", *films, "--shown", 3, "--out", out / "p.json"),
            (personas.KINDS, "history"), ["p.json"],
        ),
    }  # fmt: skip


COMMANDS = ["calibrate", "one method", "distribution", "estimate", "probes", "personas"]


@pytest.mark.parametrize("name", COMMANDS)
def test_files_are_those_of_one_run_whenever_it_dies(tables, tmp_path, monkeypatch, name):
    """What is computed is kept, so that a run is reading and writing; the last computes again."""
    folder, asked = tables
    out = tmp_path / "out"
    out.mkdir()
    arguments, (module, function), names = commands(folder, asked, out)[name]
    within = isinstance(module, dict)
    compute = module[function] if within else getattr(module, function)
    kept = []

    def once(*args, **options):
        if not kept:
            kept.append(compute(*args, **options))
        return kept[0]

    with monkeypatch.context() as patch:
        (patch.setitem if within else patch.setattr)(module, function, once)
        whole = kill_at_each_write(lambda: run(*arguments), out, names)
    run(*arguments)  # whatever is computed, is computed again
    assert len(kept) == 1 and contents(out) == whole


def without_seconds(content):
    document = json.loads(content)
    return [{k: v for k, v in one.items() if k != "seconds"} for one in document["records"]]


def test_a_study_killed_at_any_write_computes_only_what_was_lost(tmp_path, monkeypatch):
    data = write_published(tmp_path / "data", users=12, questions=6)

    def reproduce(out):
        return run("reproduce", "table2", "--data", data, "--out", out, "--method", "ridge")

    with dying() as written:
        reproduce(tmp_path / "whole")
    whole = contents(tmp_path / "whole")
    units = [path for path in written if "/units/" in path]
    assert 1 <= len(units) < len(written) == len(whole)
    saved, save = [], Checkpoints.save

    def counted(self, key, arrays):
        saved.append(key)
        save(self, key, arrays)

    monkeypatch.setattr(Checkpoints, "save", counted)
    for at in sorted({1, len(units), len(units) + 1, len(written)}):
        out = tmp_path / f"killed-{at}"
        assert killed(lambda: reproduce(out), at)  # noqa: B023
        assert set(contents(out)) < set(whole)
        saved.clear()
        reproduce(out)
        assert len(saved) == max(0, len(units) - (at - 1))
        found = contents(out)
        assert set(found) == set(whole)
        assert without_seconds(found["results.json"]) == without_seconds(whole["results.json"])
