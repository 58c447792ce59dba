"""Commands that die while they write: no half of a file, and the same bytes when run again."""

import json
import os

import numpy as np
import pandas as pd
import pytest
from killed_writes import contents, dying, killed, left_over
from published_layout import write_published
from typer.testing import CliRunner

from syndigits_jax.cli.app import app
from syndigits_jax.datasets import simulate_distributions, simulate_panel
from syndigits_jax.results.checkpoints import Checkpoints
from syndigits_jax.schema import Scale
from syndigits_jax.workflows import calibrate, distributions, estimate, target

runner = CliRunner()
OLD = b"of an earlier run\n"


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
    return folder, asked


def commands(folder, asked, out):
    """By command: its options, the function that computes, and the files, of which the first is
    the last to be written."""
    people = "--human", folder / "human.csv", "--twin", folder / "twin.csv"
    few = "--human", folder / "few.csv", "--twin", folder / "twin.csv"
    counts = "--human", folder / "counts.csv", "--twin", folder / "said.csv"
    places = {
        name: out / name for name in ("p.csv", "r.csv", "s.csv", "p.lower.csv", "p.upper.csv")
    }
    to = "--out", places["p.csv"], "--report", places["r.csv"]
    return {
        "calibrate": (
            ("calibrate", *people, *to, "--shares", places["s.csv"], "--intervals", "0.9"),
            (estimate, "estimate_files"), list(places),
        ),
        "one method": (
            ("calibrate", *people, *to, "--method", "ridge"),
            (calibrate, "calibrate_files"), ["p.csv", "r.csv"],
        ),
        "distribution": (
            ("calibrate-distribution", *counts, *to, "--no-blend"),
            (distributions, "calibrate_distribution_files"), ["p.csv", "r.csv"],
        ),
        "estimate": (
            ("estimate", *few, "--target", asked, "--out", places["p.csv"]),
            (target, "estimate_target_files"), ["p.csv"],
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["calibrate", "one method", "distribution", "estimate"])
def test_tables_are_those_of_one_run_whenever_it_dies(tables, tmp_path, monkeypatch, name):
    """What is computed is kept, so that a run is reading and writing; the last computes again."""
    folder, asked = tables
    out = tmp_path / "out"
    out.mkdir()
    arguments, (module, function), names = commands(folder, asked, out)[name]
    compute = getattr(module, function)
    kept = []

    def once(*args, **options):
        if not kept:
            kept.append(compute(*args, **options))
        return kept[0]

    with monkeypatch.context() as patch:
        patch.setattr(module, function, once)
        run(*arguments)
        whole = contents(out)
        assert sorted(whole) == sorted(names)
        for at in range(1, len(names) + 1):
            for path in whole:
                (out / path).write_bytes(OLD)
            before = len(left_over(out))
            assert killed(lambda: run(*arguments), at)
            found = contents(out)
            new = [path for path in names if found[path] == whole[path]]
            assert [found[path] for path in names if path not in new] == [OLD] * (
                len(names) - len(new)
            )
            # All are whole before the first takes its place, and the predictions come last.
            assert len(new) == at - 1 and len(left_over(out)) - before == len(names) - len(new)
            assert names[0] not in new
            run(*arguments)
            assert contents(out) == whole
        for path in left_over(out):
            os.utime(path, (0, 0))
    run(*arguments)  # whatever is computed, is computed again
    assert contents(out) == whole and not left_over(out)


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
