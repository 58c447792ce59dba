"""Metrics of draws, against SciPy, pandas and sums over pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.stats import wasserstein_distance

from syndigits_jax.evaluation.draw_metrics import (
    correlation_distance,
    correlation_matrix,
    energy_score,
    wasserstein_from_draws,
)
from syndigits_jax.evaluation.metrics import crps_from_draws

RNG = np.random.default_rng(0)
DRAWS = RNG.normal(size=(7, 30, 4)).round(1)
TRUTH = RNG.normal(0.4, 1.3, size=(30, 4)).round(1)
MASK = RNG.random((30, 4)) < 0.7
MASK[3] = False


def test_wasserstein_is_scipys(dtype):
    for j in range(4):
        truth = jnp.asarray(np.where(MASK[:, j], TRUTH[:, j], np.nan), dtype)
        found = wasserstein_from_draws(jnp.asarray(DRAWS[:, :, j], dtype), truth, MASK[:, j])
        expected = wasserstein_distance(DRAWS[:, MASK[:, j], j].ravel(), TRUTH[MASK[:, j], j])
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert np.isnan(wasserstein_from_draws(DRAWS[:, :, 0], TRUTH[:, 0], np.zeros(30, bool)))


@pytest.mark.parametrize("fair", [True, False])
def test_the_energy_score_is_its_definition(fair):
    scores = []
    for i in np.flatnonzero(MASK.any(axis=1)):
        x, y = DRAWS[:, i, MASK[i]], TRUTH[i, MASK[i]]
        far = np.mean([np.linalg.norm(one - y) for one in x])
        pairs = sum(np.linalg.norm(a - b) for a in x for b in x)
        scores.append(far - pairs / (2 * (7 * 6 if fair else 49)))
    found = jax.jit(lambda *args: energy_score(*args, fair=fair))(
        *map(jnp.asarray, (DRAWS, np.where(MASK, TRUTH, np.nan), MASK))
    )
    np.testing.assert_allclose(found, np.mean(scores), rtol=1e-4)


def test_of_one_question_it_is_the_crps():
    one = DRAWS[:, :, :1], TRUTH[:, :1], MASK[:, :1]
    expected = crps_from_draws(DRAWS[:, :, 0], TRUTH[:, 0], MASK[:, 0])
    np.testing.assert_allclose(energy_score(*one), expected, rtol=1e-5)


def test_draws_that_go_together_as_people_do_score_better():
    """The same answers to every question, but of different draws: only the joint score differs."""
    rng = np.random.default_rng(1)
    common = rng.normal(size=(41, 400, 1))
    both = np.broadcast_to(common, (41, 400, 4)) + 0.1 * rng.normal(size=(41, 400, 4))
    draws, truth = both[1:], both[0]
    apart = np.stack([np.roll(draws[:, :, j], j, axis=0) for j in range(4)], axis=2)
    mask = np.ones(truth.shape, bool)
    assert energy_score(draws, truth, mask) < energy_score(apart, truth, mask) - 0.02
    for j in range(4):
        scores = [crps_from_draws(d[:, :, j], truth[:, j], mask[:, j]) for d in (draws, apart)]
        np.testing.assert_allclose(*scores, rtol=1e-5)


def test_correlations_are_those_of_pandas_over_pairs(dtype):
    answers = np.where(MASK, TRUTH, np.nan)
    found = correlation_matrix(jnp.asarray(answers, dtype), MASK)
    expected = pd.DataFrame(answers).corr().to_numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    other = np.where(MASK, DRAWS[0], np.nan)
    upper = np.triu_indices(4, 1)
    gap = (pd.DataFrame(other).corr().to_numpy() - expected)[upper]
    distance = correlation_distance(jnp.asarray(other, dtype), jnp.asarray(answers, dtype), MASK)
    np.testing.assert_allclose(distance, np.sqrt(np.mean(gap**2)), rtol=1e-4)


def test_answers_that_do_not_vary_have_no_correlation():
    """Means that are the same for all count as uncorrelated; a constant truth is left out."""
    constant = TRUTH.copy()
    constant[:, 0] = 0.1
    everyone = np.ones(TRUTH.shape, bool)
    matrix = np.asarray(correlation_matrix(constant, everyone))
    assert np.isnan(matrix[0]).all() and not np.isnan(matrix[1:, 1:]).any()
    real = pd.DataFrame(TRUTH).corr().to_numpy()
    distance = correlation_distance(constant, TRUTH, everyone)
    np.testing.assert_allclose(distance, np.sqrt(np.mean(real[0, 1:] ** 2) / 2), rtol=1e-4)
    np.testing.assert_allclose(correlation_distance(TRUTH, constant, everyone), 0, atol=1e-6)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="`truth` and `mask`"):
        wasserstein_from_draws(DRAWS[:, :, 0], TRUTH[:5, 0], MASK[:5, 0])
    with pytest.raises(ValueError, match="fair score"):
        energy_score(DRAWS[:1], TRUTH, MASK)
    with pytest.raises(ValueError, match="`truth`"):
        correlation_distance(TRUTH, TRUTH[:, :3], MASK[:, :3])
    with pytest.raises(ValueError, match="`mask`"):
        correlation_matrix(TRUTH, MASK[:, :2])
