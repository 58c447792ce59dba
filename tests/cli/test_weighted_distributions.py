"""`syndigits calibrate-distribution --weights`: people counted by their survey weights."""

import numpy as np
import pandas as pd
from typer.testing import CliRunner

from syndigits_jax.cli.app import app
from syndigits_jax.datasets import simulate_distributions

runner = CliRunner()
KNOWN = 10
EFFECTIVE = "survey weights: design effect 1.12: 60 people count as 53"


def run(folder, human, out, *options):
    """Predict from a table of people's answers, or of their counts."""
    paths = "--human", folder / human, "--twin", folder / "answers.csv", "--out", folder / out
    return runner.invoke(
        app, [*map(str, ("calibrate-distribution", *paths, "--no-blend", *options))]
    )


def test_a_weight_of_two_counts_a_person_twice(tmp_path):
    data, _ = simulate_distributions(40, 13, 4, key=0, sample=500)
    twins = pd.DataFrame(data.choices.astype(int) + 1, list(data.twins), list(data.questions))
    twins.to_csv(tmp_path / "answers.csv")
    rng, names = np.random.default_rng(0), list(data.questions[:KNOWN])
    people = pd.DataFrame(rng.integers(1, 5, (60, KNOWN)), columns=names).astype(float)
    people.iloc[:9, 2] = np.nan
    people.index = pd.Index([f"p{i}" for i in range(60)], name="person")
    weight = np.where(np.arange(60) % 3 == 0, 2, 1)
    people.assign(size=1000 * weight).to_csv(tmp_path / "people.csv")
    twice = people.loc[np.repeat(people.index, weight)]
    counts = pd.DataFrame({name: twice[name].value_counts().astype(int) for name in names}).T
    counts.rename(columns=lambda value: f"{value:g}").to_csv(tmp_path / "counts.csv")

    assert run(tmp_path, "counts.csv", "plain.csv").exit_code == 0
    given = "--weights", "size", "--report", tmp_path / "report.csv"
    result = run(tmp_path, "people.csv", "weighted.csv", *given)
    assert result.exit_code == 0, result.output
    assert EFFECTIVE in result.stdout
    ours, expected = (
        pd.read_csv(tmp_path / name, index_col=0) for name in ("weighted.csv", "plain.csv")
    )
    assert set(ours.index) == set(data.questions[KNOWN:])
    np.testing.assert_allclose(ours.loc[expected.index, expected.columns], expected, atol=1e-5)
    effective = pd.read_csv(tmp_path / "report.csv", index_col=0)["human_answers"]
    np.testing.assert_allclose(effective.drop(names[2]), weight.sum() ** 2 / (weight**2).sum())
    there = weight[9:]
    np.testing.assert_allclose(effective[names[2]], there.sum() ** 2 / (there**2).sum())

    people.assign(size=-1).to_csv(tmp_path / "people.csv")
    result = run(tmp_path, "people.csv", "weighted.csv", "--weights", "size")
    assert result.exit_code == 2
    assert "--weights: 60 of 60 people have a negative weight" in result.stderr
