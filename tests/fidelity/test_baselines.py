"""The synthetic populations: their moments, their supports, and errors for bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from populations import prototypes, users
from scipy import stats

from syndigits_jax.fidelity.baselines import (
    dirichlet_interpolation,
    moment_matched_noise,
    prototype_perturbation,
    random_mixture,
    real_bootstrap,
)

KEY = jax.random.key(3)
REAL = users(0, 300)
P = jnp.asarray(prototypes(), jnp.float32)
# Barycentric coordinates of points in the hull of the prototypes, one equation for their sum.
SYSTEM = np.vstack([prototypes().T, np.ones(4)])


def barycentric(points) -> np.ndarray:
    right = np.vstack([np.asarray(points, float).T, np.ones(len(points))])
    solution, *_ = np.linalg.lstsq(SYSTEM, right, rcond=None)
    np.testing.assert_allclose(SYSTEM @ solution, right, atol=1e-5)  # none is off their plane
    return solution.T


def test_noise_has_the_moments_of_the_coordinates_and_no_others():
    noise = np.asarray(moment_matched_noise(KEY, REAL, 40_000))
    real = np.asarray(REAL)
    np.testing.assert_allclose(noise.mean(axis=0), real.mean(axis=0), atol=0.005)
    np.testing.assert_allclose(noise.std(axis=0), real.std(axis=0), rtol=0.02)
    correlation = np.corrcoef(noise.T) - np.eye(16)
    assert np.abs(correlation).max() < 0.03 < np.abs(np.corrcoef(real.T) - np.eye(16)).max()


def test_noise_has_the_sd_of_few_users():
    """Of three, where ddof = 0 and ddof = 1 are a fifth apart."""
    noise = np.asarray(moment_matched_noise(KEY, REAL[:3], 40_000))
    np.testing.assert_allclose(noise.std(axis=0), np.asarray(REAL[:3]).std(axis=0), rtol=0.02)


def test_bootstrap_draws_users():
    drawn = np.asarray(real_bootstrap(KEY, REAL, 1000))
    rows = {tuple(row) for row in np.asarray(REAL).tolist()}
    assert all(tuple(row) in rows for row in drawn.tolist())
    once = np.asarray(real_bootstrap(KEY, REAL, 300, replace=False))
    np.testing.assert_array_equal(np.sort(once, axis=0), np.sort(np.asarray(REAL), axis=0))


def test_random_mixtures_are_softmax_of_normal_logits():
    weights = barycentric(random_mixture(KEY, P, 4000))
    assert weights.min() > -1e-5
    logits = np.log(np.maximum(weights, 1e-12))
    contrast = (logits[:, 0] - logits[:, 1]) / np.sqrt(2)
    assert stats.kstest(contrast, "norm").pvalue > 0.001
    cold = barycentric(random_mixture(KEY, P, 100, temperature=0.01))
    assert np.median(cold.max(axis=1)) > 0.999


def test_dirichlet_mixes_different_users_uniformly():
    """Users at the corners of a simplex: the weights can be read off."""
    corners = jnp.eye(8, dtype=jnp.float32)
    drawn = np.asarray(dirichlet_interpolation(KEY, corners, 6000))
    np.testing.assert_allclose(drawn.sum(axis=1), 1, atol=1e-5)
    assert ((drawn > 0).sum(axis=1) == 3).all()
    np.testing.assert_allclose((drawn > 0).mean(axis=0), 3 / 8, atol=0.03)
    weights = drawn[drawn > 0]  # each Beta(1, 2) on its own
    assert stats.kstest(weights[::3], stats.beta(1, 2).cdf).pvalue > 0.001
    everybody = dirichlet_interpolation(KEY, corners[:3], 50)
    assert (np.asarray(everybody)[:, :3] > 0).all()


def test_prototype_perturbation():
    exact = barycentric(prototype_perturbation(KEY, P, 3000, sigma=0.0))
    assert stats.kstest(exact[:, 2], stats.beta(1, 3).cdf).pvalue > 0.001
    noisy = prototype_perturbation(KEY, P, 3000)
    residual = np.asarray(noisy - prototype_perturbation(KEY, P, 3000, sigma=0.0))
    np.testing.assert_allclose(residual.std(axis=0), 0.01, rtol=0.08)


@pytest.mark.parametrize("beta", [0.3, 5.0])
def test_concentration_is_that_of_the_dirichlet(beta):
    """A weight of three is Beta(β, 2β), one of four Beta(β, 3β)."""
    weights = np.asarray(dirichlet_interpolation(KEY, jnp.eye(3), 3000, concentration=beta))
    assert stats.kstest(weights[:, 0], stats.beta(beta, 2 * beta).cdf).pvalue > 0.001
    made = prototype_perturbation(KEY, jnp.eye(4), 3000, sigma=0.0, concentration=beta)
    assert stats.kstest(np.asarray(made)[:, 0], stats.beta(beta, 3 * beta).cdf).pvalue > 0.001


def test_shapes_and_keys():
    key, count = jax.random.key(8), 7
    for sample in (
        lambda k: moment_matched_noise(k, REAL, count),
        lambda k: real_bootstrap(k, REAL, count),
        lambda k: random_mixture(k, P, count),
        lambda k: dirichlet_interpolation(k, REAL, count),
        lambda k: prototype_perturbation(k, P, count),
    ):
        drawn = sample(key)
        assert drawn.shape == (count, 16)
        assert np.isfinite(drawn).all()
        np.testing.assert_array_equal(drawn, sample(key))
        assert np.any(drawn != sample(jax.random.key(9)))


def test_bad_input():
    for wrong, match in (
        (lambda: real_bootstrap(KEY, REAL, 301, replace=False), "`real` has 300 rows; at least 30"),
        (lambda: real_bootstrap(KEY, REAL, 0), "`count`"),
        (lambda: dirichlet_interpolation(KEY, REAL[:2], 5), "`real` has 2 rows; at least 3"),
        (lambda: dirichlet_interpolation(KEY, REAL, 5, concentration=0.0), "`concentration`"),
        (lambda: prototype_perturbation(KEY, P, 5, sigma=-1.0), "`sigma`"),
        (lambda: random_mixture(KEY, P, 5, temperature=0.0), "`temperature`"),
        (lambda: moment_matched_noise(KEY, REAL.at[0, 0].set(jnp.nan), 5), "`real`: 1 rows have"),
    ):
        with pytest.raises(ValueError, match=match):
            wrong()
