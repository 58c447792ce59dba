"""MMD against a direct double sum; the permutation test against its definition and under H0."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from populations import cloud, rotation, shrunken, users
from scipy import stats
from scipy.spatial.distance import cdist, pdist

from syndigits_jax.fidelity.mmd import median_distance, mmd2_unbiased, mmd_permutation_test

jitted = jax.jit(mmd2_unbiased, static_argnames="block")
test = jax.jit(mmd_permutation_test, static_argnames=("permutations", "block"))
test.__test__ = False  # type: ignore[attr-defined]  # not for pytest to collect


def direct(x, y, sigma) -> float:
    """The definition, pair by pair, in double precision."""
    x, y = np.asarray(x, float), np.asarray(y, float)

    def total(a, b, skip):
        kernel = np.exp(-(cdist(a, b) ** 2) / (2 * sigma**2))
        return kernel.sum() - (np.trace(kernel) if skip else 0)

    n, m = len(x), len(y)
    within = total(x, x, True) / (n * (n - 1)) + total(y, y, True) / (m * (m - 1))
    return within - 2 * total(x, y, False) / (n * m)


@pytest.mark.parametrize(("n", "size", "d"), [(60, 40, 5), (30, 90, 20), (2, 3, 1)])
@pytest.mark.parametrize("block", [500, 1 << 22])
def test_agrees_with_the_double_sum(n, size, d, block, dtype):
    x, y = cloud(0, n, d, dtype), cloud(1, size, d, dtype, shift=0.2)
    sigma = np.median(pdist(np.concatenate([x, y]).astype(float)))
    atol = 2e-6 if dtype == np.float32 else 1e-14
    for width in (sigma, 0.7):
        given_width = None if width == sigma else width
        found = jitted(x, y, given_width, block=block)
        np.testing.assert_allclose(found, direct(x, y, width), atol=atol)


def test_median_distance(dtype):
    x = cloud(3, 301, 4, dtype)
    exact = np.median(pdist(np.asarray(x, float)))
    np.testing.assert_allclose(median_distance(x), exact, rtol=1e-5)
    for key in (None, jax.random.key(1)):
        np.testing.assert_allclose(median_distance(x, max_points=150, key=key), exact, rtol=0.05)
    rows = np.linspace(0, 300, 20).round().astype(int)
    np.testing.assert_allclose(
        median_distance(x, max_points=20), np.median(pdist(np.asarray(x)[rows])), rtol=1e-5
    )


def test_points_for_the_median_are_drawn_without_replacement():
    """Two of three points: one of the three distances, never that of a point to itself."""
    x = cloud(3, 3, 4)
    exact = pdist(np.asarray(x, float))
    for seed in range(12):
        found = float(median_distance(x, max_points=2, key=jax.random.key(seed)))
        assert np.abs(exact / found - 1).min() < 1e-5


def test_permutation_statistics_are_those_of_relabelled_samples():
    """The p-value recomputed by shuffling rows and summing the kernel afresh."""
    x, y = cloud(0, 25, 3), cloud(1, 15, 3, shift=0.4)
    key = jax.random.key(7)
    found = mmd_permutation_test(key, x, y, permutations=99, block=300)
    sigma = float(median_distance(jnp.concatenate([x, y])))
    observed = direct(x, y, sigma)
    np.testing.assert_allclose(found.statistic, observed, atol=1e-6)
    z = np.concatenate([x, y])
    label = jnp.arange(40) < 25
    count = 0
    for k in jax.random.split(key, 99):
        chosen = np.asarray(jax.random.permutation(k, label.astype(jnp.float32))) > 0
        count += direct(z[chosen], z[~chosen], sigma) >= observed
    assert float(found.p_value) == pytest.approx((1 + count) / 100)


def test_p_values_are_uniform_under_the_null():
    """200 pairs of samples of one population, with ties in the p-values broken at random."""
    size = 30
    x = users(0, 200 * size).reshape(200, size, -1)
    y = users(1, 200 * size).reshape(200, size, -1)
    keys = jax.random.split(jax.random.key(0), 200)
    p = jax.lax.map(lambda a: test(*a, permutations=99).p_value, (keys, x, y))
    continuous = np.asarray(p) - np.random.default_rng(0).uniform(0, 0.01, 200)
    assert stats.kstest(continuous, "uniform").pvalue > 0.01
    assert np.mean(np.asarray(p) <= 0.05) <= 0.1


def test_p_value_sees_a_collapse_and_has_a_floor():
    x, y = users(0, 100), users(1, 100)
    result = test(jax.random.key(0), x, shrunken(y))
    assert float(result.p_value) == pytest.approx(1 / 501)  # the paper's .002
    assert float(result.statistic) > 0.1


@settings(max_examples=6)
@given(seed=st.integers(0, 1000))
def test_properties(seed):
    x, y = cloud(seed, 30, 4), cloud(seed + 1, 20, 4, shift=0.5)
    value = float(jitted(x, y))
    assert float(jitted(y, x)) == pytest.approx(value, abs=1e-6)
    order = np.random.default_rng(seed).permutation(30)
    assert float(jitted(x[order], y)) == pytest.approx(value, abs=1e-6)
    turn = jnp.asarray(rotation(seed, 4), x.dtype)
    assert float(jitted(x @ turn + 5, y @ turn + 5)) == pytest.approx(value, abs=1e-5)
    assert float(jitted(2 * x, 2 * y)) == pytest.approx(value, abs=1e-6)
    # Identical sets: the mean over other points is below the mean with oneself.
    assert -2 / 30 < float(jitted(x, x)) < 0


def test_identical_sets_have_a_known_floor():
    x = cloud(0, 40, 4)
    kernel = np.exp(-(cdist(x, x) ** 2) / 2)
    off = (kernel.sum() - 40) / (40 * 39)
    np.testing.assert_allclose(jitted(x, x, 1.0), -2 * (1 - off) / 40, atol=1e-6)


def test_coincident_points_and_batches():
    one = jnp.ones((10, 3), jnp.float32)
    assert float(mmd2_unbiased(one, one)) == pytest.approx(0, abs=1e-6)  # σ = 0
    x, y = cloud(0, 60, 4).reshape(3, 20, 4), cloud(1, 45, 4).reshape(3, 15, 4)
    batch = jax.vmap(mmd2_unbiased)(x, y.at[2, 0, 0].set(jnp.nan))
    np.testing.assert_allclose(batch[:2], [jitted(x[i], y[i]) for i in (0, 1)], atol=1e-6)
    assert jnp.isnan(batch[2])
    key = jax.random.key(0)
    broken = test(key, x[0].at[0, 0].set(jnp.nan), y[0], permutations=9)
    assert jnp.isnan(broken.p_value)
    gradient = jax.grad(lambda x: jitted(x, y[0], 1.0))(x[0])
    assert np.isfinite(gradient).all()
    assert np.any(gradient != 0)


def test_bad_input():
    x = cloud(0, 10, 3)
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="`y` has 1 rows; at least 2"):
        mmd2_unbiased(x, x[:1])
    with pytest.raises(ValueError, match="`sigma` must be positive"):
        mmd2_unbiased(x, x, 0.0)
    with pytest.raises(ValueError, match="`sigma` must be one number"):
        mmd2_unbiased(x, x, jnp.ones(3))
    with pytest.raises(ValueError, match="`permutations`"):
        mmd_permutation_test(key, x, x, permutations=0)
    with pytest.raises(ValueError, match="`max_points`"):
        median_distance(x, max_points=1)
    with pytest.raises(ValueError, match="NaN"):
        mmd_permutation_test(key, x.at[0, 0].set(jnp.nan), x)
