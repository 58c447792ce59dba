"""Effective numbers of people and twins, by plain loops and for populations of clones."""

import numpy as np
import pytest

from syndigits_jax.fidelity import effective_numbers

N, M = 24, 15


def by_hand(values, scale, rate, weight):
    """The inverse of the mean likeness, pair by pair."""
    total = share = 0.0
    for i in range(len(values)):
        for j in range(len(values)):
            there = ~np.isnan(values[i] + values[j])
            d2 = np.mean(((values[i] - values[j]) / scale)[there] ** 2)
            likeness = 1.0 if i == j else np.exp(-rate * d2)
            share += weight[i] * weight[j] * likeness
            total += weight[i] * weight[j]
    return total / share


def test_numbers_are_those_by_hand():
    rng = np.random.default_rng(0)
    human, weight = rng.normal(size=(N, M)) * np.arange(1, M + 1), rng.uniform(1, 2, N)
    twin = 0.5 * human + rng.normal(size=(N, M))
    human[2, 3] = twin[2, 3] = np.nan
    found = effective_numbers(human, twin, sample_weight=weight)
    scale = np.array([
        np.sqrt(np.cov(x[~np.isnan(x)], aweights=weight[~np.isnan(x)], ddof=0)) for x in human.T
    ])  # fmt: skip
    pairs, sizes = [], []
    for i in range(N):
        for j in range(N):
            if i != j:
                there = ~np.isnan(human[i] + human[j])
                pairs.append(np.mean(((human[i] - human[j]) / scale)[there] ** 2))
                sizes.append(weight[i] * weight[j])
    rate = np.log(100) / np.average(pairs, weights=sizes)
    for value, answers in ((found.people, human), (found.twins, twin)):
        np.testing.assert_allclose(value, by_hand(answers, scale, rate, weight), rtol=1e-3)
    np.testing.assert_allclose(found.ratio, found.twins / found.people, rtol=1e-6)
    assert found.lower < found.ratio < found.upper


def test_clones_are_counted_once():
    """Twins of k kinds, far from each other, amount to k."""
    rng = np.random.default_rng(1)
    human = rng.normal(size=(N, M))
    for kinds in (1, 3):
        twin = np.repeat(10 * rng.normal(size=(kinds, M)), N // kinds, axis=0)
        found = effective_numbers(human, twin)
        np.testing.assert_allclose(found.twins, kinds, rtol=1e-3)
        assert found.upper < 1


def test_bad_input_is_refused():
    answers = np.ones((5, 3))
    with pytest.raises(ValueError, match="answer alike"):
        effective_numbers(answers, answers)
    with pytest.raises(ValueError, match="at least three people"):
        effective_numbers(answers[:2], answers[:2])
    with pytest.raises(ValueError, match="must have the shape of `human`"):
        effective_numbers(answers, answers[:3])
