"""`syndigits probes`: which items are asked, written as questions."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from syndigits_jax.cli.app import app
from syndigits_jax.datasets import read_questions

M = 30


@pytest.fixture
def files(tmp_path):
    """Item k is rated by k users, so that its rank is its number backwards; the first by none."""
    rows = [(f"u{u}", f"f{k:02d}", 3, u) for k in range(M) for u in range(k)]
    frame = pd.DataFrame(rows, columns=["user", "item", "rating", "time"])
    frame.to_csv(tmp_path / "r.csv", index=False)
    items = pd.DataFrame({"item": [f"f{k:02d}" for k in range(M)]})
    items.assign(title="Film {x} " + items["item"]).to_csv(tmp_path / "i.csv", index=False)
    np.save(tmp_path / "e.npy", np.random.default_rng(0).normal(size=(M, 4)))
    return tmp_path


def probes(folder, *options, out="probes.json"):
    given = ["--ratings", folder / "r.csv", "--items", folder / "i.csv", "--out", folder / out]
    given += ["--embeddings", folder / "e.npy", *options]
    return CliRunner().invoke(app, ["probes", *map(str, given)])


def test_shares_of_bands_and_questions_that_can_be_read(files):
    result = probes(files, "--count", 10, "--scale", "stars")
    assert result.exit_code == 0, (result.output, result.exception)
    questions = read_questions(files / "probes.json")
    ranks = [M - 1 - int(q.identifier[1:]) for q in questions]
    # 29 rated items: the first 20%, the next 40%, the last 40%, a tenth as many probes of each.
    assert len(set(ranks)) == 10 and max(ranks) < M - 1
    edges = np.round(np.array([0.2, 0.6]) * (M - 1)).astype(int)
    assert np.bincount(np.digitize(ranks, edges)).tolist() == [2, 4, 4]
    assert questions[0].options[0].value == 0.5
    assert questions[0].item["title"] == f"Film {{x}} {questions[0].identifier}"
    counts = [int(q.identifier[1:]) for q in questions]
    assert f"10 of 29 rated items, with {min(counts)} to {max(counts)} ratings" in result.output
    assert probes(files, "--count", 10, out="again.json").exit_code == 0
    again = read_questions(files / "again.json")
    assert [q.identifier for q in again] == [q.identifier for q in questions]
    assert [option.value for option in again[0].options] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("options", "out", "words"),
    [
        (["--count", "0"], "p.json", "--count must be at least 1"),
        (["--count", "40"], "p.json", "too few"),
        ([], "p.csv", ".json"),
        (["--count", "10", "--scale", "words"], "p.json", "--scale"),
        (["--embeddings", "none.npy"], "p.json", "none.npy"),
        (["--ratings", "none.csv"], "p.json", "none.csv"),
    ],
)
def test_bad_options_are_one_line(files, options, out, words):
    result = probes(files, *options, out=out)
    assert result.exit_code == 2, (result.output, result.exception)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert words in line
    assert not (files / out).exists()
