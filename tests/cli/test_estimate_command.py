"""`syndigits estimate`: the workflow's numbers, what it says of them, and bad input."""

import json

import numpy as np
import pandas as pd
import pytest
from helpers.kinds_of_twins import twins_of_kind
from typer.testing import CliRunner

from syndigits_jax.cli.app import app
from syndigits_jax.estimation import estimate_questions
from syndigits_jax.inference import Basis, ppi_difference, ppi_mean, ppi_share
from syndigits_jax.workflows.target import CALIBRATED, OTHERS, RAW, estimate_target

runner = CliRunner()
TARGET = "question_5"
ASKED = np.arange(120) % 4 == 0
WEIGHT = np.random.default_rng(0).gamma(2.0, size=120).round(3)


@pytest.fixture(scope="module")
def panel():
    """120 people, of whom every fourth was asked the target."""
    full = twins_of_kind("informative", 0)
    hidden = np.zeros((full.n, full.m), bool)
    hidden[~ASKED, full.questions.index(TARGET)] = True
    bare = full.with_missing(human=hidden)
    unknown = np.full(full.m, np.nan)
    return bare.replace(low=unknown, high=unknown, step=unknown)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, panel):
    out = tmp_path_factory.mktemp("tables")
    human, twin = panel.to_frames()
    human["sex"] = np.where(np.arange(panel.n) // 4 % 2, "m", "f")
    human["region"] = np.arange(panel.n) % 5
    human["alone"] = np.where(np.arange(panel.n) == 0, "x", "y")
    plain = human.drop(columns=["sex", "region", "alone"])
    plain.to_csv(out / "plain.csv")
    bad = {"lost": np.where(np.arange(panel.n) == 7, np.nan, WEIGHT), "none": 0 * WEIGHT,
           "text": np.where(np.arange(panel.n) == 7, "heavy", WEIGHT.astype(str)),
           "minus": np.where(np.arange(panel.n) == 7, -1.0, WEIGHT)}  # fmt: skip
    for name, column in {"weight": WEIGHT, **bad}.items():
        plain.assign(**{name: column}).to_csv(out / f"{name}.csv")
    twin.assign(weight=WEIGHT).to_csv(out / "weighted_twin.csv")
    human.drop(columns=["region", "alone"]).to_csv(out / "human.csv")
    human.drop(columns=["sex", "alone"]).to_csv(out / "regions.csv")
    human.drop(columns=["sex", "region"]).to_csv(out / "one.csv")
    human[[TARGET]].to_csv(out / "only.csv")
    twin.to_csv(out / "twin.csv")
    return out


def run(folder, *options, human="plain.csv", twin="twin.csv"):
    paths = "--human", folder / human, "--twin", folder / twin
    return runner.invoke(app, [*map(str, ("estimate", *paths, "--target", TARGET, *options))])


@pytest.fixture(scope="module")
def proxies(panel):
    at = panel.questions.index(TARGET)
    hidden = np.zeros((panel.n, panel.m), bool)
    hidden[:, at] = True
    found = estimate_questions(panel.with_missing(human=hidden), [TARGET], expect=False)
    return panel.human[:, at], panel.twin[:, at], found


def test_the_mean_is_that_of_the_estimator(folder, tmp_path, proxies):
    truth, twin, found = proxies
    out = tmp_path / "out.csv"
    result = run(folder, "--out", out, "--intervals", 0.9)
    assert result.exit_code == 0, result.output
    table = pd.read_csv(out, index_col=0)
    assert list(table.index) == ["people alone", RAW, CALIBRATED, OTHERS]
    for name, proxy in ((RAW, twin), (CALIBRATED, found.prediction[:, 0])):
        one = ppi_mean(truth, proxy, level=0.9)
        row = table.loc[name]
        expected = [one.value, one.lower, one.upper, one.worth]
        np.testing.assert_allclose(row[["value", "lower", "upper", "worth"]].astype(float),
                                   expected, rtol=2e-3)  # fmt: skip
    alone = table.loc["people alone"]
    np.testing.assert_allclose(alone["value"], np.nanmean(truth), rtol=1e-5)
    said = " ".join(result.output.split())
    worth = round(table.loc[CALIBRATED, "worth"])
    for words in ("30 of 120 people were asked", "90% interval",
                  f"the twins were worth {worth} more people", "other answers"):  # fmt: skip
        assert words in said, said


def test_no_answer_of_the_people_asked_moves_the_proxies(panel, proxies):
    """The calibrated twins have not seen the target's answers: other answers, same predictions."""
    truth, _, found = proxies
    at = panel.questions.index(TARGET)
    human = np.array(panel.human)
    human[ASKED, at] = np.where(truth[ASKED] > 3, 1, 7)
    moved = estimate_target(panel.replace(human=human), TARGET)
    expected = ppi_mean(human[:, at], found.prediction[:, 0])
    for name in ("value", "lower", "upper"):
        np.testing.assert_array_equal(
            getattr(moved.estimates[CALIBRATED], name), getattr(expected, name)
        )


def test_shares_and_differences(folder, proxies, panel):
    truth, _, found = proxies
    answer = float(np.bincount(truth[ASKED].astype(int)).argmax())
    result = run(folder, "--what", "share", "--answer", answer, "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 0 and told["chosen"] == CALIBRATED
    rows = {row["proxies"]: row for row in told["estimates"]}
    chosen = np.isclose(found.options(TARGET), answer)
    proxy = found.option_probabilities(TARGET)[:, chosen].sum(axis=1)
    yes = np.where(np.isnan(truth), np.nan, truth == answer)
    expected = ppi_share(yes, proxy)
    np.testing.assert_allclose(rows[CALIBRATED]["lower"], expected.lower, rtol=2e-3)
    assert 0 <= rows[CALIBRATED]["lower"] <= rows[CALIBRATED]["value"] <= 1

    result = run(folder, "--what", "difference", "--group", "sex", "--json", human="human.csv")
    told = json.loads(result.stdout)
    assert result.exit_code == 0 and told["groups"] == ["f", "m"]
    rows = {row["proxies"]: row for row in told["estimates"]}
    expected = ppi_difference(truth, found.prediction[:, 0], np.arange(panel.n) // 4 % 2)
    np.testing.assert_allclose(rows[CALIBRATED]["value"], expected.value, atol=2e-3)
    np.testing.assert_allclose(rows[CALIBRATED]["upper"], expected.upper, atol=2e-3)


def test_without_other_questions_the_twins_are_raw(folder):
    result = run(folder, "--json", human="only.csv")
    told = json.loads(result.stdout)
    assert result.exit_code == 0 and told["chosen"] == RAW
    assert set(told["unavailable"]) == {CALIBRATED, OTHERS}


def test_twins_that_do_not_help_are_said(panel):
    twin = np.array(panel.twin)
    twin[:, panel.questions.index(TARGET)] = 3.0
    found = estimate_target(panel.replace(twin=twin), TARGET)
    assert Basis(int(found.estimates[RAW].basis)) == Basis.PEOPLE
    assert found.chosen == CALIBRATED


def test_survey_weights_count_in_calibration_and_estimate(folder, panel):
    """A column of either table; in any unit. The design effect is that of Kish."""
    at = panel.questions.index(TARGET)
    truth, hidden = panel.human[:, at], np.zeros((panel.n, panel.m), bool)
    hidden[:, at] = True
    bare = panel.with_missing(human=hidden)
    found = estimate_questions(bare, [TARGET], expect=False, sample_weight=WEIGHT)
    expected = ppi_mean(truth, found.prediction[:, 0], sample_weight=WEIGHT)
    raw = ppi_mean(truth, panel.twin[:, at], sample_weight=WEIGHT)
    effect = ASKED.sum() * np.sum(WEIGHT[ASKED] ** 2) / np.sum(WEIGHT[ASKED]) ** 2
    for names in ({"human": "weight.csv"}, {"twin": "weighted_twin.csv"}):
        result = run(folder, "--weights", "weight", "--json", **names)
        assert result.exit_code == 0, result.stderr
        told = json.loads(result.stdout)
        assert told["weights"] == "weight"
        np.testing.assert_allclose(told["design_effect"], effect, rtol=1e-6)
        rows = {row["proxies"]: row for row in told["estimates"]}
        mean = np.average(truth[ASKED], weights=WEIGHT[ASKED])
        np.testing.assert_allclose(rows["people alone"]["value"], mean, rtol=1e-5)
        for name, one in ((CALIBRATED, expected), (RAW, raw)):
            np.testing.assert_allclose(rows[name]["lower"], one.lower, rtol=1e-3)
    result = run(folder, "--weights", "weight", human="weight.csv")
    assert f"design effect {effect:.2f}" in result.stdout
    doubled = estimate_target(panel, TARGET, sample_weight=2 * WEIGHT)
    for name, one in doubled.estimates.items():
        np.testing.assert_allclose(one.upper, rows[name]["upper"], rtol=1e-3)


def test_the_regression_on_other_answers_has_the_weights(panel):
    """People of weight 0 are as if they were not in the tables: also for what is learnt."""
    weight = np.where(np.arange(panel.n) < 90, WEIGHT, 0)
    found = estimate_target(panel, TARGET, sample_weight=weight)
    few = panel.take(users=slice(0, 90))
    expected = estimate_target(few, TARGET, sample_weight=WEIGHT[:90])
    for name in (RAW, OTHERS):
        for end in ("value", "lower", "upper"):
            theirs = getattr(expected.estimates[name], end)
            np.testing.assert_allclose(getattr(found.estimates[name], end), theirs, rtol=1e-3)
    assert found.design_effect == expected.design_effect


@pytest.mark.parametrize(
    ("options", "human", "words"),
    [
        (("--what", "share"), "plain.csv", "--answer: name the answer"),
        (("--answer", 3), "plain.csv", "--answer is for a share"),
        (("--what", "share", "--answer", 99), "plain.csv", "--answer: nobody gave 99"),
        (("--what", "difference"), "plain.csv", "--group and the difference go together"),
        (("--group", "sex"), "human.csv", "--group and the difference go together"),
        (("--what", "difference", "--group", "no"), "plain.csv", "--group: no column 'no'"),
        (
            ("--what", "difference", "--group", "region"),
            "regions.csv",
            "--group must have labels of two kinds, got 5",
        ),
        (("--what", "difference", "--group", "alone"), "one.csv", "--group: 1 people of 'x'"),
        (("--weights", "no"), "plain.csv", "--weights: no column 'no'"),
        (("--weights", TARGET), "plain.csv", f"--weights: '{TARGET}' is the target"),
        (("--weights", "lost"), "lost.csv", "--weights: 1 of 120 people have no weight"),
        (
            ("--weights", "text"),
            "text.csv",
            "weights are no numbers, the first 'heavy' of 'user_7'",
        ),
        (("--weights", "minus"), "minus.csv", "people have a negative weight ('user_7')"),
        (("--weights", "none"), "none.csv", "--weights: 0 people have a weight above 0"),
        (("--intervals", 95), "plain.csv", "--intervals must be a share between 0 and 1"),
        (("--target", "question_99"), "plain.csv", "--target: 'question_99' is no question"),
    ],
)
def test_bad_input_is_one_line(folder, options, human, words):
    result = run(folder, *options, human=human)
    assert result.exit_code == 2, result.output
    assert words in result.stderr.strip().splitlines()[-1], result.stderr
