"""`syndigits calibrate` without a method: the estimate, its tables, and what it says of itself."""

import json

import numpy as np
import pandas as pd
import pytest
from helpers.kinds_of_twins import twins_of_kind
from typer.testing import CliRunner

from syndigits_jax.calibration import Ridge, calibrate_question
from syndigits_jax.cli.app import app
from syndigits_jax.cli.render.calibration import promise
from syndigits_jax.estimation import estimate_questions
from syndigits_jax.estimation.person_intervals import Judged

runner = CliRunner()
NEW = ["question_3", "question_9"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tables of 120 people and their twins, who alone answered two of the 24 questions."""
    out = tmp_path_factory.mktemp("tables")
    human, twin = twins_of_kind("informative", 0).to_frames()
    human.index.name = "respondent"
    human.drop(columns=NEW).to_csv(out / "human.csv")
    twin.to_csv(out / "twin.csv")
    people = human.index[:100]
    human.loc[people].to_csv(out / "some.csv")
    return out


def run(folder, *options):
    paths = "--human", folder / "human.csv", "--twin", folder / "twin.csv"
    return runner.invoke(app, [*map(str, ("calibrate", *paths, *options))])


def test_predictions_means_and_shares_are_those_of_the_estimate(folder, tmp_path):
    out, report, shares = (tmp_path / name for name in ("out.csv", "report.csv", "shares.csv"))
    tables = "--out", out, "--report", report, "--shares", shares
    result = run(folder, *tables, "--intervals", 0.8)
    assert result.exit_code == 0, result.output
    panel = twins_of_kind("informative", 0)
    hidden = np.isin(panel.questions, NEW)[None, :] & np.ones((panel.n, 1), bool)
    bare = panel.with_missing(human=hidden).replace(
        low=np.full(panel.m, np.nan), high=np.full(panel.m, np.nan), step=np.full(panel.m, np.nan)
    )
    expected = estimate_questions(bare, intervals=[0.8])
    predictions = pd.read_csv(out, index_col=0)
    assert list(predictions.columns) == NEW and list(predictions.index) == list(panel.users)
    np.testing.assert_allclose(predictions, expected.prediction, rtol=1e-3)
    for end in ("lower", "upper"):
        table = pd.read_csv(tmp_path / f"out.{end}.csv", index_col=0)
        assert table.index.name == predictions.index.name == "respondent"
        assert table.index.equals(predictions.index) and table.columns.equals(predictions.columns)
        # On rounded tables a prediction may be on the other side of a boundary between options.
        equal = table.to_numpy() == np.asarray(getattr(expected.intervals(0.8), end))
        assert equal.mean() > 0.99
    means = pd.read_csv(report, index_col=0)
    np.testing.assert_allclose(means["mean"], expected.mean, rtol=1e-3)
    assert (means["mean_low"] < means["mean"]).all() and (means["mean"] < means["mean_high"]).all()
    assert list(means["status"]) == list(means["imputation"]) == ["converged"] * 2
    table = pd.read_csv(shares)
    for name in NEW:
        one = table[table["question"] == name]
        np.testing.assert_array_equal(one["option"], expected.options(name))
        np.testing.assert_allclose(one["share"], expected.shares(name), atol=1e-3)
        assert abs(one["share"].sum() - 1) < 1e-6
        assert abs((one["option"] * one["share"]).sum() - means.loc[name, "mean"]) < 1e-3
    said = " ".join(result.output.split())
    for words in ("known battery (2 of 2)", "weights (learnt from known questions)",
                  "expected correlation", "raw twins", "best control",
                  "80% intervals for answers, on the 22 known questions", "the whole scale has 1",
                  "out.lower.csv and out.upper.csv"):  # fmt: skip
        assert words in said


def test_one_object_for_scripts(folder, tmp_path):
    result = run(folder, "--out", tmp_path / "out.csv", "--method", "auto", "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 0 and told["status"] == "done"
    assert [row["question"] for row in told["targets"]] == NEW
    assert told["learnt"] == {"known battery": True}
    expected = told["expected"]["known battery"]
    assert expected["count"] == 22 and expected["correlation"] > expected["controls"]["UserMean"]


def test_questions_of_a_new_survey_are_told_apart(folder, tmp_path):
    names = [f"question_{j}" for j in range(24)]
    block = ["new" if name in NEW[:1] else f"battery {j % 4}" for j, name in enumerate(names)]
    questions = [
        {"identifier": name, "text": name, "block": one, "scale": [1, 7, 1]}
        for name, one in zip(names, block, strict=True)
    ]
    (tmp_path / "questions.json").write_text(json.dumps(questions))
    given = "--out", tmp_path / "o.csv", "--questions", tmp_path / "questions.json"
    result = run(folder, *given, "--intervals", 0.9, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    (of_blocks,), (of_questions,) = (told["intervals"][name] for name in told["intervals"])
    assert of_blocks["units"] == 4 and of_blocks["width"] == pytest.approx(1)
    assert of_questions["units"] == 22 and of_questions["width"] < 0.7
    upper = pd.read_csv(tmp_path / "o.upper.csv", index_col=0)
    assert (upper[NEW[0]] == 7).all() and (upper[NEW[1]] < 7).any()
    assert [row["setting"] for row in told["targets"]] == ["new survey", "known battery"]
    assert set(told["expected"]) == {"new survey", "known battery"}
    options = {row["option"] for row in told["shares"]}
    assert options == set(range(1, 8))


@pytest.mark.parametrize(
    "units, score, setting, words",
    [
        (5, 1.0, "new survey", "the whole scale: they need 9 known blocks, there are 5"),
        (9, 1.0, "known battery", "too few known questions to judge them"),
        (12, 1.1, "known battery", "no useful interval"),
        (12, 0.8, "known battery", "90% intervals for answers, on the 12 known questions: 92% of"),
        (12, 0.8, "new survey", "on average over blocks like the known ones, not for any one"),
    ],
)
def test_what_is_said_of_intervals(units, score, setting, words):
    values = np.linspace(0.86, 0.98, units)
    judged = Judged(0.9, values, values, values * 0 + score, np.arange(units), np.arange(units))
    assert words in " ".join(promise(judged, setting))


def test_new_people_are_estimated_from_their_twins(folder, tmp_path):
    paths = "--human", folder / "some.csv", "--twin", folder / "twin.csv"
    given = "calibrate", *paths, "--new-users", "--out", tmp_path / "out.csv", "--json"
    result = runner.invoke(app, [*map(str, given)])
    assert result.exit_code == 0, result.output
    predictions = pd.read_csv(tmp_path / "out.csv", index_col=0)
    assert predictions.shape == (20, 24) and predictions.notna().all(axis=None)
    assert json.loads(result.stdout)["learnt"] == {"new users": True}


@pytest.mark.parametrize(
    "options, words",
    [
        (["--penalty", "3"], "--penalty is of a calibrator"),
        (["--threshold", "0.5"], "--threshold is of a calibrator"),
        (["--method", "ridge", "--batteries"], "--batteries is for"),
        (["--method", "ridge", "--shares", "s.csv"], "--shares is for"),
        (["--new-users", "--shares", "s.csv"], "--shares is for new questions"),
        (["--method", "ridge", "--intervals", "0.9"], "--intervals is for"),
        (["--new-users", "--intervals", "0.9"], "--intervals is for new questions"),
        (["--intervals", "1"], "--intervals must be a share between 0 and 1"),
        (["--intervals", "0.9", "--report", "out.upper.csv"], "is that of"),
        (["--method", "magic"], "magic"),
    ],
)
def test_options_of_the_other_kind_are_refused(folder, tmp_path, options, words):
    options = [tmp_path / one if one == "out.upper.csv" else one for one in options]
    result = run(folder, "--out", tmp_path / "out.csv", *options)
    assert result.exit_code == 2 and words in " ".join(result.output.replace("`", "").split())
    assert not (tmp_path / "out.csv").exists()


def test_a_threshold_is_chosen_by_the_known_questions(folder, tmp_path):
    given = "--method", "ridge", "--penalty", "20", "--threshold", "auto"
    result = run(folder, "--out", tmp_path / "out.csv", *given, "--json")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["targets"]
    assert [row["question"] for row in rows] == NEW
    assert len({row["threshold"] for row in rows}) == 1
    said = run(folder, "--out", tmp_path / "out.csv", *given).output
    assert "threshold chosen by the known questions:" in said and "(for 2 of 2)" in said
    bad = run(folder, "--out", tmp_path / "o.csv", "--method", "ridge", "--threshold", "many")
    assert bad.exit_code == 2 and "must be a number or auto" in " ".join(bad.output.split())


def test_a_code_for_a_missing_answer_is_noted(folder, tmp_path):
    human = pd.read_csv(folder / "human.csv", index_col=0)
    human.iloc[3, 0] = 999
    human.to_csv(tmp_path / "human.csv")
    given = ("calibrate", "--human", tmp_path / "human.csv", "--twin", folder / "twin.csv",
             "--out", tmp_path / "out.csv", "--method", "ridge")  # fmt: skip
    result = runner.invoke(app, [*map(str, given)])
    said = " ".join(result.output.split())
    assert result.exit_code == 0 and "note: --human: 999 is far from all other answers" in said
    assert '(--missing "999")' in said
    declared = runner.invoke(app, [*map(str, (*given, "--missing", "999"))])
    assert declared.exit_code == 0 and "note:" not in declared.output


def test_draws_are_written_for_every_respondent_and_draw(folder, tmp_path):
    out, means = tmp_path / "draws.csv", tmp_path / "means.csv"
    options = "--seed", 3, "--json"
    told = json.loads(run(folder, "--draws", 40, "--out", out, *options).stdout)
    assert told["status"] == "done" and told["draws"] == 40
    assert told["joint"] == {"known battery": False}  # too few pairs of 22 known questions
    assert run(folder, "--out", means, *options).exit_code == 0
    draws, expected = pd.read_csv(out, index_col=0), pd.read_csv(means, index_col=0)
    assert draws.index.name == "respondent"
    assert list(draws.columns) == ["draw", *NEW] and draws.index.name == expected.index.name
    assert list(draws["draw"].unique()) == list(range(1, 41))
    for _, one in draws.groupby("draw"):
        assert list(one.index) == list(expected.index)
    assert set(np.unique(draws[NEW])) <= set(np.arange(1.0, 8.0))
    # They fit the predictions: the same mean, with people's spread.
    np.testing.assert_allclose(draws[NEW].mean(), expected.mean(), atol=0.06)
    assert (draws[NEW].std() > 1.2 * expected.std()).all()
    again = tmp_path / "again.csv"
    run(folder, "--draws", 5, "--out", again, *options)
    pd.testing.assert_frame_equal(pd.read_csv(again, index_col=0), draws.query("draw <= 5"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--draws", "0"], "--draws must be at least 1"),
        (["--draws", "3", "--new-users"], "--draws is for new questions"),
        (["--draws", "3", "--method", "ridge"], "--draws is for `--method auto`"),
        (["--draws", "3", "--report", "{out}"], "is that of --out too"),
    ],
)
def test_draws_that_cannot_be_made_are_refused_before_any_work(folder, tmp_path, options, words):
    out = tmp_path / "draws.csv"
    result = run(folder, "--out", out, *[option.format(out=out) for option in options])
    assert result.exit_code == 2 and not out.exists()
    assert words in " ".join(result.output.split())


def test_draws_without_a_known_range_are_refused(folder, tmp_path):
    """All twins say 50, which no other question's answers go up to."""
    twin = pd.read_csv(folder / "twin.csv", index_col=0)
    twin[NEW[0]] = 50
    twin.to_csv(tmp_path / "twin.csv")
    paths = "--human", folder / "human.csv", "--twin", tmp_path / "twin.csv"
    options = "--out", tmp_path / "draws.csv", "--draws", 2
    result = runner.invoke(app, [*map(str, ("calibrate", *paths, *options))])
    assert result.exit_code == 2 and not (tmp_path / "draws.csv").exists()
    assert "its twins all answer alike" in " ".join(result.output.split())


def test_survey_weights_reach_the_estimate(folder, tmp_path):
    panel = twins_of_kind("informative", 0)
    weight = np.linspace(0.2, 2, panel.n)
    human = pd.read_csv(folder / "human.csv", index_col=0)
    human.assign(size=1000 * weight).to_csv(tmp_path / "human.csv")
    given = "calibrate", "--human", tmp_path / "human.csv", "--twin", folder / "twin.csv"
    given = *given, "--weights", "size", "--out", tmp_path / "out.csv"
    result = runner.invoke(app, [*map(str, (*given, "--report", tmp_path / "report.csv"))])
    assert result.exit_code == 0, result.output
    effective = weight.sum() ** 2 / (weight**2).sum()
    said = f"design effect {panel.n / effective:.2f}: {panel.n} people count as {effective:.0f}"
    assert f"survey weights: {said}" in result.stdout
    hidden = np.isin(panel.questions, NEW)[None, :] & np.ones((panel.n, 1), bool)
    unknown = np.full(panel.m, np.nan)
    bare = panel.with_missing(human=hidden).replace(low=unknown, high=unknown, step=unknown)
    expected = estimate_questions(bare, sample_weight=weight)
    predictions = pd.read_csv(tmp_path / "out.csv", index_col=0)
    np.testing.assert_allclose(predictions, expected.prediction, rtol=1e-3)
    means = pd.read_csv(tmp_path / "report.csv", index_col=0)["mean"]
    np.testing.assert_allclose(means, expected.mean, rtol=1e-3)
    plain = estimate_questions(bare).mean
    assert np.abs(plain - expected.mean).max() > 0.01  # else nothing is tested

    result = runner.invoke(app, [*map(str, (*given, "--method", "ridge", "--json"))])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    np.testing.assert_allclose(told["design_effect"], panel.n / effective)
    at = [panel.questions.index(name) for name in NEW]
    order = [*np.delete(np.arange(panel.m), at), *at]
    donors, size = np.delete(panel.human, at, axis=1), weight / weight.sum() * effective
    fit = calibrate_question(Ridge(), donors, panel.twin[:, order], sample_weight=size)
    predictions = pd.read_csv(tmp_path / "out.csv", index_col=0)
    np.testing.assert_allclose(predictions, fit.prediction, rtol=1e-3)

    human.assign(size=np.where(np.arange(panel.n) < 2, np.nan, 1)).to_csv(tmp_path / "human.csv")
    result = runner.invoke(app, [*map(str, given)])
    assert result.exit_code == 2
    assert f"--weights: 2 of {panel.n} people have no weight" in result.stderr
