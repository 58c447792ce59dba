"""Verdicts on twins: right where the truth is constructed, and never beyond the evidence."""

import numpy as np
import pytest

from syndigits_jax.calibration import ElasticNet, Ridge
from syndigits_jax.evaluation import leave_one_question_out
from syndigits_jax.panel import Panel
from syndigits_jax.workflows import twin_quality as own_holdout
from syndigits_jax.workflows.pipeline.report import calibration_section
from syndigits_jax.workflows.twin_quality import MeanInterval, judge_twins

N, M = 60, 8
METHODS = {"Ridge": Ridge()}


def people(seed, n=N, m=M):
    """Answers with one common factor, high on every other question and low on the rest."""
    rng = np.random.default_rng(seed)
    signs = np.where(np.arange(m) % 2, 1.0, -1.0)
    return 3 + rng.normal(size=(n, 1)) * signs + 0.7 * rng.normal(size=(n, m))


def judged(twin, human, methods=METHODS):
    return judge_twins(Panel.from_arrays(human, twin), methods)


def test_twins_that_know_their_people_and_the_numbers_of_the_table():
    human = people(0)
    twin = human + np.random.default_rng(1).normal(size=human.shape)
    quality = judged(twin, human, {"Ridge": Ridge(), "ElasticNet": ElasticNet()})
    assert quality.twins.low > 0.4 and "more than chance would give" in quality.verdict[0]
    assert quality.alike == () and 1.1 < quality.spread < 1.8
    panel = Panel.from_arrays(human, twin)
    again = leave_one_question_out({"Ridge": Ridge(), "ElasticNet": ElasticNet()}, panel)
    for metric, key in (("pearson", "correlation"), ("mse", "mse")):
        expected = {row["method"]: row["mean"] for row in again.summary(metric)}
        assert {row["method"]: row[key] for row in quality.rows} == expected
    assert [row["method"] for row in quality.rows] == [
        "Baseline",
        "UserMean",
        "ZScoredUserMean",
        "Ridge",
        "ElasticNet",
    ]
    means = {row["method"]: row["correlation"] for row in quality.rows}
    assert quality.best == max(("Ridge", "ElasticNet"), key=means.__getitem__)
    assert quality.twins.mean == pytest.approx(means["Baseline"], abs=1e-6)


def test_people_are_left_out_one_by_one():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 12, 4))
    x[2, 1] = y[5, 1] = y[6, 3] = np.nan
    x[1:, 2] = 4.0  # without the first nothing differs
    found = own_holdout._without_each(x, y)
    for j in range(4):
        for i in range(12):
            kept = ~np.isnan(x[:, j]) & ~np.isnan(y[:, j]) & (np.arange(12) != i)
            constant = np.ptp(x[kept, j]) == 0
            expected = 0.0 if constant else np.corrcoef(x[kept, j], y[kept, j])[0, 1]
            assert found[i, j] == pytest.approx(expected, abs=1e-9), (i, j)


def test_students_t_is_near_enough():
    # 97.5% quantiles as tables print them.
    for freedom, quantile in ((2, 4.303), (3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042)):
        assert own_holdout._student(freedom) == pytest.approx(quantile, rel=0.04)


def test_random_twins_cannot_be_told_from_chance():
    """Nor where each twin answers high or low throughout, and the people too: what questions have
    in common by chance is no evidence, though their standard error alone would call it that."""
    rng = np.random.default_rng(4)
    called, naive = 0, 0
    for _ in range(40):
        human = 3 + rng.normal(size=(30, 1)) + 0.3 * rng.normal(size=(30, 12))
        twin = 3 + rng.normal(size=(30, 1)) + 0.3 * rng.normal(size=(30, 12))
        scores = [np.corrcoef(a, b)[0, 1] for a, b in zip(twin.T, human.T)]
        without = own_holdout._without_each(twin, human)
        found = own_holdout._Scores(np.array(scores), without).interval()
        called += found.low > 0 or found.high < 0
        naive += abs(np.mean(scores)) > 2 * np.std(scores, ddof=1) / np.sqrt(12)
    assert called <= 5 and naive >= 20
    quality = judged(rng.normal(size=(N, M)), people(5))
    assert "cannot be told from chance" in quality.verdict[0]


def test_the_wrong_way_round_is_less_than_chance():
    human = people(6)
    assert "less than chance would give" in judged(6 - human, human).verdict[0]


def test_twins_that_answer_alike_are_counted():
    human = people(7)
    twin = human + np.random.default_rng(7).normal(size=human.shape)
    twin[:, [1, 4]] = 3.0
    quality = judged(twin, human)
    assert quality.alike == ("question_1", "question_4")
    assert any(f"To 2 of {M} questions all twins" in text for text in quality.verdict)
    everything = judged(np.full((N, M), 2.0), human)
    assert everything.spread == 0 and len(everything.alike) == M
    assert "cannot be told from chance" in everything.verdict[0]


def test_a_question_that_one_twin_answered_is_alike_and_one_that_none_did_is_left_out():
    human = people(16)
    twin = human + np.random.default_rng(16).normal(size=human.shape)
    twin[1:, 2] = np.nan
    human[twin[:, 5] > np.median(twin[:, 5]), 5] = np.nan
    twin[~np.isnan(human[:, 5]), 5] = np.nan  # no one in common
    quality = judged(twin, human)
    assert quality.alike == ("question_2",)
    assert {row["method"]: row["count"] for row in quality.rows} == {
        "Baseline": M - 1, "UserMean": M, "ZScoredUserMean": M, "Ridge": M,
    }  # fmt: skip
    text = "\n".join(calibration_section(quality))
    assert "Questions left out because too few answers overlap: the twins as they are 1." in text


def test_less_is_said_of_a_fit_to_noise_and_nothing_where_nothing_is_known():
    rng = np.random.default_rng(8)
    level = 3 + rng.normal(size=(N, 1)) + 0.3 * rng.normal(size=(N, M))
    worse = judged(rng.normal(size=(N, M)), level)
    assert worse.gain.high < 0 and "less than the better of people's mean" in worse.verdict[-1]
    noise = judged(rng.normal(size=(N, M)), rng.normal(size=(N, M)))
    assert noise.gain.low <= 0 <= noise.gain.high
    assert "cannot be told from" in noise.verdict[-1] and "95% interval" in noise.verdict[-1]


def test_more_is_said_where_calibration_adds():
    rng = np.random.default_rng(11)
    factors, loads = rng.normal(size=(120, 2)), rng.normal(size=(2, 10)) * 1.5
    human = 3 + factors @ loads + 0.4 * rng.normal(size=(120, 10))
    # Twins know which questions belong together, of their person next to nothing.
    twin = 3 + rng.normal(size=(120, 2)) @ loads + 0.2 * rng.normal(size=(120, 10))
    quality = judged(twin, human, {"Ridge": Ridge(), "ElasticNet": ElasticNet()})
    assert quality.gain.low > 0 and " more than " in quality.verdict[-1]
    assert "the one of 2 methods that is best on the others" in quality.verdict[-1]
    assert quality.gain.mean == pytest.approx(quality.calibrated.mean - quality.plain.mean)


def test_the_best_is_chosen_without_the_question_that_judges_it():
    """Methods that know nothing, each lucky somewhere: the best by its mean looks better than 0,
    the choice by the other questions does not."""
    rng = np.random.default_rng(12)
    maxima, chosen = [], []
    for _ in range(300):
        scores = rng.normal(size=(5, 6))
        candidates = [own_holdout._Scores(row, np.tile(row, (3, 1))) for row in scores]
        found, choice = own_holdout._chosen(candidates)
        for j in range(6):
            others = np.delete(scores, j, axis=1).mean(axis=1)
            assert choice[j] == np.argmax(others) and found.whole[j] == scores[choice[j], j]
        np.testing.assert_array_equal(found.without, np.tile(found.whole, (3, 1)))
        maxima.append(scores.mean(axis=1).max())
        chosen.append(found.whole.mean())
    assert np.mean(maxima) > 0.4 and abs(np.mean(chosen)) < 0.12


def test_missing_answers_and_questions_without_any():
    human, rng = people(13), np.random.default_rng(13)
    twin = human + rng.normal(size=human.shape)
    human[rng.random(human.shape) < 0.2] = np.nan
    twin[rng.random(human.shape) < 0.1] = np.nan
    human[:, 3] = np.nan
    quality = judged(twin, human)
    assert quality.holdout.panel.m == M - 1 and quality.twins.low > 0
    assert all(np.isfinite(row["correlation"]) for row in quality.rows)


def test_too_few_questions_are_refused():
    human = people(14, m=4)
    human[:, 2:] = np.nan
    with pytest.raises(ValueError, match=r"2 questions have human answers.*at least 3"):
        judged(people(15, m=4), human)


def test_an_interval_is_told_in_words():
    assert str(MeanInterval(0.1, -0.05, 0.25)) == "95% interval -0.050 to 0.250"
