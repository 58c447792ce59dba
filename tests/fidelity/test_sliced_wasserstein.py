"""Sliced Wasserstein against POT and SciPy, closed forms, and its properties."""

import jax
import jax.numpy as jnp
import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from populations import cloud, rotation
from scipy import stats

from syndigits_jax.fidelity.sliced_wasserstein import (
    random_directions,
    sliced_wasserstein,
    wasserstein_1d,
)

KEY = jax.random.key(0)
jitted = jax.jit(sliced_wasserstein, static_argnames=("projections", "block"))


@pytest.mark.parametrize(("n", "size", "d"), [(80, 80, 6), (60, 45, 30), (7, 50, 1), (40, 4200, 3)])
@pytest.mark.parametrize("block", [1000, 1 << 22])
def test_agrees_with_pot(n, size, d, block, dtype):
    x, y = cloud(0, n, d, dtype), 0.8 * cloud(1, size, d, dtype) + 0.1
    directions = np.asarray(random_directions(KEY, d, 200, dtype), float)
    expected = ot.sliced_wasserstein_distance(
        np.asarray(x, float), np.asarray(y, float), projections=directions.T, p=1
    )
    rtol = 1e-5 if dtype == np.float32 else 1e-12
    found = jitted(KEY, x, y, projections=200, block=block)
    np.testing.assert_allclose(found, expected, rtol=rtol)
    given_them = jitted(KEY, x, y, directions=directions)
    np.testing.assert_allclose(given_them, expected, rtol=rtol)


@pytest.mark.parametrize(("n", "size"), [(9, 9), (9, 6), (5, 31), (1, 4), (1, 1), (64, 65)])
def test_one_dimension(n, size, dtype):
    rng = np.random.default_rng(n)
    u, v = rng.normal(size=n).round(1), rng.normal(size=size).round(1) + 0.3  # with ties
    found = wasserstein_1d(jnp.asarray(u, dtype), jnp.asarray(v, dtype))
    np.testing.assert_allclose(found, stats.wasserstein_distance(u, v), rtol=1e-5)
    doubled = wasserstein_1d(jnp.repeat(jnp.asarray(u, dtype), 2), jnp.asarray(v, dtype))
    np.testing.assert_allclose(doubled, found, rtol=1e-5)


@pytest.mark.parametrize(("d", "law"), [(2, stats.arcsine(-1, 2)), (3, stats.uniform(-1, 2))])
def test_directions_are_uniform_on_the_sphere(d, law):
    """Their coordinates have a known law: in three dimensions the uniform, by Archimedes."""
    found = np.asarray(random_directions(KEY, d, 20_000), float)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    for axis in range(d):
        assert stats.kstest(found[:, axis], law.cdf).pvalue > 1e-3


def test_a_shift_in_high_dimension():
    """E |⟨δ, θ⟩| = |δ| √(2 / πd) (1 + O(1/d)) for random directions."""
    x = cloud(0, 50, 100)
    shift = jnp.full((1, 100), 0.1, jnp.float32)
    expected = np.sqrt(2 / (np.pi * 100))
    found = jitted(KEY, x, x + shift, projections=5000)
    np.testing.assert_allclose(found, expected, rtol=0.04)


@settings(max_examples=6)
@given(seed=st.integers(0, 1000))
def test_properties(seed):
    x, y = cloud(seed, 40, 4), cloud(seed + 1, 30, 4, shift=0.4)
    value = float(jitted(KEY, x, y))
    assert float(jitted(KEY, y, x)) == pytest.approx(value, rel=1e-5)
    assert float(jitted(KEY, x, x)) == 0
    order = np.random.default_rng(seed).permutation(40)
    assert float(jitted(KEY, x[order], y)) == pytest.approx(value, rel=1e-5)
    assert float(jitted(KEY, x + 3, y + 3)) == pytest.approx(value, rel=1e-4)
    assert float(jitted(KEY, 2 * x, 2 * y)) == pytest.approx(2 * value, rel=1e-5)
    # Rotation changes the directions only: equal in expectation, exact with turned directions.
    turn = jnp.asarray(rotation(seed, 4), x.dtype)
    directions = random_directions(KEY, 4, 500)
    turned = jitted(KEY, x @ turn, y @ turn, directions=directions @ turn)
    assert float(turned) == pytest.approx(value, rel=1e-4)
    assert float(jitted(KEY, x @ turn, y @ turn)) == pytest.approx(value, rel=0.1)


def test_batches_gradient_and_bad_input():
    x, y = cloud(0, 60, 4).reshape(3, 20, 4), cloud(1, 45, 4).reshape(3, 15, 4)
    batch = jax.vmap(lambda x, y: sliced_wasserstein(KEY, x, y))(x, y.at[2, 0, 0].set(jnp.nan))
    np.testing.assert_allclose(batch[:2], [jitted(KEY, x[i], y[i]) for i in (0, 1)], rtol=1e-5)
    assert jnp.isnan(batch[2])
    assert np.isfinite(jax.grad(lambda x: jitted(KEY, x, y[0]))(x[0])).all()
    with pytest.raises(ValueError, match="`projections`"):
        sliced_wasserstein(KEY, x[0], y[0], projections=0)
    with pytest.raises(ValueError, match="`directions` must be"):
        sliced_wasserstein(KEY, x[0], y[0], directions=jnp.ones((5, 3)))
    with pytest.raises(ValueError, match="NaN"):
        sliced_wasserstein(KEY, x[0].at[0, 0].set(jnp.nan), y[0])
