"""Ceilings: simulations of known reliability, closed forms, and refusals."""

import jax
import numpy as np
import pandas as pd
import pytest
import scipy.stats

from syndigits_jax import Panel
from syndigits_jax.evaluation import (
    attenuation_corrected,
    mean_reliability,
    repeatability,
    share_of_ceiling,
    split_half,
)
from syndigits_jax.evaluation.repeatability import spearman_brown

KEY = jax.random.key(0)


def twice(seed: int, people: int, reliabilities):
    """True values and two answers of each person, of known reliability per question."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(people, len(reliabilities)))
    noise = np.sqrt(1 / np.asarray(reliabilities) - 1)
    first, second = (true + noise * rng.normal(size=true.shape) for _ in range(2))
    return true, first, second


def test_retest_finds_the_reliability_and_corrects_for_it():
    reliabilities = [0.3, 0.6, 0.9]
    true, first, second = twice(0, 20_000, reliabilities)
    found = repeatability.retest_reliability(first, second)
    np.testing.assert_allclose(found.reliability, reliabilities, atol=0.02)
    seen = [np.corrcoef(true[:, j], first[:, j])[0, 1] for j in range(3)]
    np.testing.assert_allclose(seen, np.sqrt(reliabilities), atol=0.02)
    np.testing.assert_allclose(attenuation_corrected(seen, found.reliability), 1, atol=0.03)


def test_only_people_who_answered_twice_count_with_their_weights():
    _, first, second = twice(1, 60, [0.5, 0.7])
    first, second = np.round(first), np.round(second)
    second[:20, 0], first[50:, 1] = np.nan, np.nan
    times = np.arange(60) % 3 + 1
    found = repeatability.retest_reliability(first, second, sample_weight=times.astype(float))
    for j in range(2):
        both = ~np.isnan(first[:, j] + second[:, j])
        x, y = (np.repeat(a[both, j], times[both]) for a in (first, second))
        np.testing.assert_allclose(
            found.reliability[j], scipy.stats.pearsonr(x, y).statistic, rtol=1e-4
        )
        np.testing.assert_allclose(found.agreement[j], np.mean(x == y), rtol=1e-5)
        np.testing.assert_allclose(found.difference[j], np.mean(np.abs(x - y)), rtol=1e-5)
        assert found.count[j] == both.sum()


def test_too_few_or_equal_answers_have_no_reliability():
    nan = np.nan
    first = np.array([[1, 1, nan, 2], [2, 2, 1, 2], [nan, 3, 2, 2], [nan, 1, nan, 2]])
    second = np.array([[1, 1, 1, 1], [2, 3, 1, 2], [3, 3, nan, 3], [nan, 2, 2, 1.0]])
    found = repeatability.retest_reliability(first, second)
    assert np.isnan(found.reliability[np.array([0, 2, 3])]).all()
    assert not np.isnan(found.reliability[1])
    np.testing.assert_array_equal(found.count, [2, 4, 1, 4])


def test_a_second_table_is_aligned_by_identifier():
    panel = Panel.from_arrays(np.eye(3), np.eye(3), ["ann", "bob", "cat"], ["q1", "q2", "q3"])
    frame = pd.DataFrame({"q3": [5, 6], "q1": [7, 8]}, index=["cat", "ann"])
    got = repeatability.retest_answers(panel, frame)
    np.testing.assert_array_equal(got, [[8, np.nan, 6], [np.nan] * 3, [7, np.nan, 5]])
    with pytest.raises(ValueError, match="no person in common with the panel: it has 'dan'"):
        repeatability.retest_answers(panel, pd.DataFrame({"q1": [1]}, index=["dan"]))
    with pytest.raises(ValueError, match="no question in common"):
        repeatability.retest_answers(panel, pd.DataFrame({"x": [1]}, index=["ann"]))


def test_split_halves_find_the_reliability_of_means():
    """Means of n answers with variance σ² about true means of variance τ²: τ² / (τ² + σ²/n)."""
    rng = np.random.default_rng(2)
    people, questions, tau, sigma = 40, 400, 0.3, 1.5
    answers = tau * rng.normal(size=questions) + sigma * rng.normal(size=(people, questions))
    found = split_half(answers, key=KEY, repeats=20)
    want = tau**2 / (tau**2 + sigma**2 / people)
    np.testing.assert_allclose(found.reliability, want, atol=0.05)
    half = sigma * np.sqrt(4 / people)  # standard deviation of the difference of two halves
    np.testing.assert_allclose(found.distance, half * np.sqrt(2 / np.pi), rtol=0.06)


def test_split_halves_of_shares_and_of_missing_answers():
    rng = np.random.default_rng(3)
    true = rng.dirichlet(np.full(3, 20.0), 60)
    answers = (rng.uniform(size=(200, 60, 1)) > np.cumsum(true, axis=1)).sum(axis=-1).astype(float)
    found = split_half(answers, key=KEY, of="shares", size=3, repeats=20)
    seen = np.stack([(answers == k).mean(axis=0) for k in range(3)], axis=1)
    want = np.corrcoef(true.ravel(), seen.ravel())[0, 1] ** 2
    np.testing.assert_allclose(found.reliability, want, atol=0.05)
    answers[:, :5] = np.nan
    answers[rng.uniform(size=answers.shape) < 0.3] = np.nan
    weighted = split_half(
        answers, key=KEY, of="shares", size=3, sample_weight=np.ones(200), repeats=20
    )
    assert 0 < weighted.reliability < found.reliability


def test_spearman_and_brown():
    np.testing.assert_allclose(spearman_brown([0.0, 0.5, 1.0]), [0, 2 / 3, 1], rtol=1e-6)
    np.testing.assert_allclose(spearman_brown(0.5, 4), 0.8, rtol=1e-6)


def test_the_share_of_a_ceiling_and_its_interval():
    rng = np.random.default_rng(4)
    top = rng.uniform(0.5, 0.9, 300)
    scores = 0.6 * top + 0.1 * rng.normal(size=300)
    found = share_of_ceiling(scores, top, key=KEY, replicates=400)
    np.testing.assert_allclose(found.estimate, scores.sum() / top.sum(), rtol=1e-5)
    residual = scores - found.estimate * top  # the delta method
    want = np.std(residual, ddof=1) / np.sqrt(300) / top.mean()
    np.testing.assert_allclose(found.standard_error, want, rtol=0.15)
    assert found.lower < 0.6 < found.upper
    blocks = np.repeat(np.arange(30), 10)
    shared = scores + 0.1 * rng.normal(size=30)[blocks]
    one = share_of_ceiling(shared, top, key=KEY, replicates=400)
    all_at_once = share_of_ceiling(shared, top, key=KEY, groups=blocks.tolist(), replicates=400)
    assert all_at_once.standard_error > 1.5 * one.standard_error
    gaps = np.where(np.arange(300) < 10, np.nan, scores)
    left = share_of_ceiling(gaps, top, key=KEY, replicates=400)
    np.testing.assert_allclose(left.estimate, scores[10:].sum() / top[10:].sum(), rtol=1e-5)


def test_no_reliability_no_correction():
    assert np.isnan(attenuation_corrected([0.3, 0.3], [0.0, -0.1])).all()
    np.testing.assert_allclose(attenuation_corrected(0.3, 0.5, 0.5), 0.6, rtol=1e-6)


ANSWERS = [[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: repeatability.retest_reliability(ANSWERS, [[0.0, 1.0]]), "must have the shape of"),
        (
            lambda: repeatability.retest_reliability(ANSWERS, np.full((3, 2), np.nan)),
            "nobody answered a question in both tables",
        ),
        (
            lambda: repeatability.retest_reliability(ANSWERS, ANSWERS, sample_weight=[1.0, 1.0]),
            "`sample_weight` must have shape",
        ),
        (
            lambda: repeatability.retest_reliability(ANSWERS, ANSWERS, sample_weight=[0.0, 0, 0]),
            "nor zero for everybody",
        ),
        (lambda: split_half([[1.0, 2.0]], key=KEY), "at least two of each"),
        (lambda: split_half(np.ones((3, 2)), key=KEY), "`answers` are all 1"),
        (lambda: split_half(np.full((3, 2), np.nan), key=KEY), "all are missing"),
        (lambda: split_half(ANSWERS, key=KEY, of="medians"), "'means' or 'shares'"),
        (lambda: split_half(ANSWERS, key=KEY, of="shares"), "`size`, the number of options"),
        (lambda: split_half([[1, 2], [2, 1]], key=KEY, of="shares", size=2), "must be positions"),
        (lambda: split_half(ANSWERS, key=KEY, repeats=0), "`repeats` must be at least 1"),
        (lambda: share_of_ceiling([0.1], [0.1, 0.2], key=KEY), "the shape of `scores`"),
        (lambda: share_of_ceiling([0.1], [0.0], key=KEY), "a positive ceiling"),
        (lambda: share_of_ceiling([0.1], [0.2], key=KEY, groups=[]), "`groups` must name 1"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_reliability_of_means_in_closed_form():
    """As random halves say, and the analysis of variance."""
    rng = np.random.default_rng(5)
    answers = rng.normal(size=12) + 3 * rng.normal(size=(60, 12))
    found = mean_reliability(answers, key=jax.random.key(0), replicates=300)
    between = answers.mean(0).var(ddof=1)
    want = 1 - np.mean(answers.var(axis=0, ddof=1) / 60) / between
    np.testing.assert_allclose(found.estimate, want, atol=1e-4)
    halves = split_half(answers, key=jax.random.key(1), repeats=400).reliability
    np.testing.assert_allclose(found.estimate, halves, atol=0.05)
    assert found.lower < found.estimate < found.upper
    doubled = np.repeat(answers, np.arange(60) % 2 + 1, axis=0)
    weighted = mean_reliability(answers, key=jax.random.key(0), replicates=2,
                                sample_weight=np.arange(60) % 2 + 1.0)  # fmt: skip
    assert abs(float(weighted.estimate) - mean_reliability(
        doubled, key=jax.random.key(0), replicates=2).estimate) < 0.1  # fmt: skip
    with pytest.raises(ValueError, match="people x questions"):
        mean_reliability(answers[0], key=jax.random.key(0))
