"""Errors of levels against SciPy's paired t test and Holm's procedure by hand."""

import numpy as np
import pytest
import scipy.stats

from syndigits_jax.evaluation import level_errors

T, N = 9, 50


def holm(p, alpha):
    """Which hypotheses Holm's procedure rejects."""
    out = np.zeros(len(p), bool)
    for i, j in enumerate(np.argsort(p)):
        if p[j] > alpha / (len(p) - i):
            break
        out[j] = True
    return out


def test_errors_are_those_of_paired_t_tests():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(T, N))
    shift = np.array([0, 0, 0, 0.2, 0.35, 0.45, 0.5, 0.6, 1])[:, None]
    prediction = truth + shift + rng.normal(size=(T, N))
    truth[2, :12] = np.nan
    found = level_errors(prediction, truth, level=0.9)
    p, intervals = [], []
    for x, y in zip(prediction, truth, strict=True):
        there = ~np.isnan(y)
        test = scipy.stats.ttest_rel(x[there], y[there])
        p.append(test.pvalue)
        intervals.append(test.confidence_interval(1 - 0.1 / T))
        np.testing.assert_allclose(np.mean((x - y)[there]), found.error[len(p) - 1], atol=1e-5)
    np.testing.assert_allclose(np.stack([found.lower, found.upper], 1), intervals, atol=1e-4)
    want = holm(np.array(p), 0.1)
    assert 2 < want.sum() < T and (np.asarray(found.beyond) == want).all()


def test_a_family_is_wrong_at_most_at_its_level():
    rng, panels = np.random.default_rng(1), 200
    wrong = 0
    for _ in range(panels):
        people = rng.normal(size=N)  # errors of all questions go together
        truth = rng.integers(1, 6, (T, N)) + 0.5 * people
        prediction = rng.integers(1, 6, (T, N)) + 0.5 * rng.permutation(people)
        wrong += bool(np.any(level_errors(prediction, truth, level=0.9).beyond))
    assert wrong <= scipy.stats.binom.ppf(0.999, panels, 0.1)


def test_what_says_nothing():
    """Too few people, and differences that do not vary."""
    truth = np.full((2, 12), 3.0)
    truth[1, 5:] = np.nan
    found = level_errors(truth + 1, truth)
    assert not np.any(found.beyond)
    assert np.isnan(found.error[1]) and abs(found.error[0] - 1) < 1e-5
    with pytest.raises(ValueError, match="must have the shape of `truth`"):
        level_errors(truth, truth[:1])
