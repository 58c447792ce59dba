"""Correlations between questions: against NumPy, and populations whose truth is known."""

import jax
import numpy as np
import pytest
import scipy.stats

from syndigits_jax.evaluation import joint_structure

N, M = 80, 6


def factor_answers(rng, loading):
    return loading * rng.normal(size=(N, 1)) + np.sqrt(1 - loading**2) * rng.normal(size=(N, M))


def test_the_whole_is_that_of_numpy():
    """Many people: bias and noise are small, and plain correlations are the truth."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(N, 1))
    human = np.repeat(common, M, 1) + 0.7 * rng.normal(size=(N, M))
    twin = np.repeat(common, M, 1) + 1.5 * rng.normal(size=(N, M))
    many = np.tile(human, (60, 1)), np.tile(twin, (60, 1))
    found = joint_structure(*many)
    r, s = (np.corrcoef(a.T) for a in (human, twin))
    upper = np.triu_indices(M, 1)
    np.testing.assert_allclose(
        found.difference.estimate, np.sqrt(np.mean((r - s)[upper] ** 2)), atol=3e-3
    )
    np.testing.assert_allclose(found.size.estimate, np.sqrt(np.mean(r[upper] ** 2)), atol=3e-3)
    for one, matrix in ((found.people_factor, r), (found.twin_factor, s)):
        np.testing.assert_allclose(one.estimate, np.linalg.eigvalsh(matrix)[-1] / M, atol=3e-3)
    assert found.pairs == M * (M - 1) // 2
    weighted = joint_structure(*many, sample_weight=np.full(60 * N, 7.0))
    np.testing.assert_allclose(weighted.difference, found.difference, rtol=1e-3)


def test_noise_of_sampling_is_no_difference():
    """Twins of the same structure, and of another: intervals hold the truth as often as said."""
    rng, panels = np.random.default_rng(1), 40
    wrong, squares = np.zeros(4), []
    for _ in range(panels):
        human, same, other = (factor_answers(rng, x) for x in (0.6, 0.6, 0.9))
        found = joint_structure(human, same, level=0.9)
        wrong[0] += found.difference.lower > 0
        wrong[1] += found.factor_gap.lower > 0 or found.factor_gap.upper < 0
        found = joint_structure(human, other, level=0.9)
        truth = 0.9**2 - 0.6**2
        wrong[2] += found.difference.lower > truth
        wrong[3] += found.difference.upper < truth
        squares.append(found.difference.estimate**2)
    limit = scipy.stats.binom.ppf(0.999, panels, [0.05, 0.1, 0.05, 0.05])
    assert (wrong <= limit).all()
    np.testing.assert_allclose(np.mean(squares), truth**2, atol=0.02)


def test_bad_input_is_refused():
    answers = np.asarray(jax.random.normal(jax.random.key(0), (20, 3)))
    with pytest.raises(ValueError, match="must have the shape of `human`"):
        joint_structure(answers, answers[:, :2])
    with pytest.raises(ValueError, match="5 people are too few"):
        joint_structure(answers[:5], answers[:5])
    with pytest.raises(ValueError, match="no two questions vary"):
        joint_structure(answers, np.ones_like(answers))
