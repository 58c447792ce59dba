"""Expectation maximisation against scikit-learn from the same start, and recovery."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from populations import rotation, users
from sklearn.mixture import GaussianMixture as Judge

from syndigits_jax.fidelity.gaussian_mixture import fit_gaussian_mixture
from syndigits_jax.solvers import Status, raise_on_failure

KEY = jax.random.key(0)
STATIC = ("components", "covariance")
FIT = jax.jit(fit_gaussian_mixture, static_argnames=STATIC)


def clusters(seed: int, n: int = 600):
    """Three elongated clusters in 4 dimensions of unequal scale, and which point is of which."""
    rng = np.random.default_rng(seed)
    label = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    centres = rng.normal(size=(3, 4)) * 4
    factors = rng.normal(size=(3, 4, 4)) / 2
    x = centres[label] + np.einsum("nij,nj->ni", factors[label], rng.normal(size=(n, 4)))
    return x * np.array([1, 10, 0.1, 3]) + 5, label


def judge(x, label, kind: str, scale) -> Judge:
    """scikit-learn's fit, on data divided by `scale`, from the moments of the same clusters."""
    x = x / scale
    parts = [x[label == j] for j in range(3)]
    covariances = [np.cov(part.T, ddof=0) for part in parts]
    if kind == "diag":
        precisions = np.array([1 / np.diag(c) for c in covariances])
    else:
        precisions = np.array([np.linalg.inv(c) for c in covariances])
    return Judge(
        3,
        covariance_type=kind,
        reg_covar=1e-9,
        tol=1e-8,
        max_iter=2000,
        weights_init=np.array([len(part) for part in parts]) / len(x),
        means_init=np.array([part.mean(axis=0) for part in parts]),
        precisions_init=precisions,
    ).fit(x)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_agrees_with_scikit_learn(covariance, dtype):
    x, label = clusters(1)
    scale = x.std(axis=0)
    noisy = np.where(np.random.default_rng(2).random(len(x)) < 0.3, 0, label)  # a poor start
    theirs = judge(x, noisy, {"full": "full", "diagonal": "diag"}[covariance], scale)
    single = dtype == np.float32
    found = FIT(
        KEY,
        jnp.asarray(x, dtype),
        3,
        covariance=covariance,
        init=jnp.asarray(noisy),
        tol=1e-7 if single else 1e-9,
        max_steps=2000,
        regularisation=1e-9,
    )
    mixture, rtol = found.value, 2e-2 if single else 1e-3
    np.testing.assert_allclose(mixture.weights, theirs.weights_, rtol=rtol)
    np.testing.assert_allclose(np.asarray(mixture.means) / scale, theirs.means_, atol=rtol)
    covariances = np.asarray(mixture.covariances) / np.outer(scale, scale)[None]
    expected = theirs.covariances_
    if covariance == "diagonal":
        assert np.abs(covariances * (1 - np.eye(4))).max() == 0
        covariances = np.diagonal(covariances, axis1=1, axis2=2)
    np.testing.assert_allclose(covariances, expected, atol=rtol)


def test_finds_planted_clusters_from_its_own_start():
    x, label = clusters(5, 1500)
    mixture = raise_on_failure(FIT(KEY, jnp.asarray(x, jnp.float32), 3)).value
    order = np.argsort(np.asarray(mixture.weights))[::-1]
    np.testing.assert_allclose(
        np.asarray(mixture.weights)[order], np.bincount(label) / 1500, atol=0.02
    )
    truth = np.array([x[label == j].mean(axis=0) for j in range(3)])
    error = (np.asarray(mixture.means)[order] - truth) / x.std(axis=0)
    assert np.abs(error).max() < 0.05


@settings(max_examples=4)
@given(seed=st.integers(0, 1000))
def test_full_covariances_turn_and_stretch_with_the_data(seed):
    x, label = clusters(seed, 300)
    change = rotation(seed, 4) @ np.diag([1.0, 3, 0.2, 1])
    fits = [
        FIT(KEY, jnp.asarray(data, jnp.float32), 3, init=jnp.asarray(label)).value
        for data in (x, x @ change)
    ]
    spread = (x @ change).std(axis=0)
    moved = np.asarray(fits[0].means) @ change
    np.testing.assert_allclose(np.asarray(fits[1].means) / spread, moved / spread, atol=0.02)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_samples_have_the_moments_of_the_data(covariance):
    """EM matches mean and, with full covariances, covariance of the whole sample exactly."""
    x, _ = clusters(7, 800)
    mixture = FIT(KEY, jnp.asarray(x, jnp.float32), 5, covariance=covariance).value
    drawn = np.asarray(mixture.sample(KEY, 60_000))
    np.testing.assert_allclose(drawn.mean(axis=0), x.mean(axis=0), atol=0.03 * x.std(axis=0).max())
    np.testing.assert_allclose(drawn.std(axis=0), x.std(axis=0), rtol=0.03)
    if covariance == "full":
        np.testing.assert_allclose(np.corrcoef(drawn.T), np.corrcoef(x.T), atol=0.03)


def test_stays_in_the_space_of_the_users():
    """Users of 4 prototypes span 3 of 16 dimensions: so does a sample, to rounding."""
    x = users(0, 500)
    solution = FIT(KEY, x, 8)
    assert int(solution.status) == Status.CONVERGED
    drawn = np.asarray(solution.value.sample(KEY, 500))
    basis = np.linalg.svd(np.asarray(x) - np.asarray(x).mean(axis=0))[2]
    off = (drawn - np.asarray(x).mean(axis=0)) @ basis[3:].T
    assert np.abs(off).max() < 1e-5 < 0.1 < np.abs(drawn).max()


def test_more_components_than_clusters_and_identical_users():
    same = FIT(KEY, jnp.ones((20, 3), jnp.float32), 4)
    np.testing.assert_allclose(same.value.sample(KEY, 10), 1, atol=1e-5)
    two = jnp.repeat(jnp.eye(2, dtype=jnp.float32), 20, axis=0)
    drawn = np.asarray(FIT(KEY, two, 4).value.sample(KEY, 50))
    assert np.abs(np.minimum(np.abs(drawn - [1, 0]), np.abs(drawn - [0, 1])).max()) < 0.02


def test_batch_and_bad_input():
    x = users(0, 200).reshape(2, 100, 16)
    batch = jax.vmap(lambda k, x: fit_gaussian_mixture(k, x, 3).value.weights)(
        jax.random.split(KEY, 2), x
    )
    np.testing.assert_allclose(jnp.sum(batch, axis=1), 1, rtol=1e-5)
    for settings_, match in (
        ({"components": 101}, "`x` has 100 rows; at least 101"),
        ({"covariance": "tied"}, "`covariance` must be"),
        ({"regularisation": 0.0}, "`regularisation`"),
        ({"init": jnp.zeros(3, jnp.int32)}, "`init` must have shape"),
        ({"init": jnp.arange(100)}, "`init` must be whole numbers from 0 to 2"),
        ({"components": 0}, "`components`"),
        ({"max_steps": 0}, "`max_steps`"),
    ):
        arguments = {"components": 3} | settings_
        with pytest.raises(ValueError, match=match):
            fit_gaussian_mixture(KEY, x[0], **arguments)
    with pytest.raises(ValueError, match="NaN"):
        fit_gaussian_mixture(KEY, x[0].at[0, 0].set(jnp.nan), 3)


def test_a_mixture_has_no_certificate_and_reports_its_last_growth():
    solution = FIT(KEY, users(0, 80), 2, tol=1e-2)
    assert jnp.isnan(solution.optimality)
    assert float(solution.change) < 1e-2


def test_settings_compile_nothing_anew():
    x = users(0, 80)
    first = {"tol": 1e-3, "max_steps": 3, "regularisation": 1e-6}
    want = FIT(KEY, x, 2, **first).value
    compiled = FIT._cache_size()
    for name, value in {"tol": 10.0, "max_steps": 1, "regularisation": 0.1}.items():
        found = FIT(KEY, x, 2, **{**first, name: value}).value
        assert not np.array_equal(found.z_factors, want.z_factors)
    assert FIT._cache_size() == compiled
