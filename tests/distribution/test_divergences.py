"""Divergences against formulas, SciPy, finite differences and their known inequalities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import rel_entr

from syndigits_jax.distribution import (
    cdf_l1,
    cdf_l2,
    chi_square,
    hellinger,
    kolmogorov_smirnov,
    kullback_leibler,
    total_variation,
)

ALL = {
    "tv": total_variation,
    "chi2": chi_square,
    "kl": kullback_leibler,
    "hellinger": hellinger,
    "ks": kolmogorov_smirnov,
    "cdf_l1": cdf_l1,
    "cdf_l2": cdf_l2,
}
K = 6


def pairs(seed: int, dtype=jnp.float32, zeros: bool = False):
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.full(K, 0.7), 2)
    if zeros:
        p = np.where(rng.random(K) < 0.3, 0, p) + np.eye(K)[rng.integers(K)] * 0.1
        p = p / p.sum()
    return jnp.asarray(p, dtype), jnp.asarray(0.98 * q + 0.02 / K, dtype)


@pytest.mark.parametrize("name", ALL)
@given(seed=st.integers(0, 10_000), zeros=st.booleans())
def test_non_negative_and_zero_at_equality(name, seed, zeros):
    p, q = pairs(seed, zeros=zeros)
    value = float(ALL[name](p, q))
    assert value >= -1e-6
    assert np.isfinite(value)
    assert abs(float(ALL[name](q, q))) < 1e-6


@given(seed=st.integers(0, 10_000), zeros=st.booleans())
def test_known_inequalities(seed, zeros):
    p, q = pairs(seed, zeros=zeros)
    d = {name: float(function(p, q)) for name, function in ALL.items()}
    slack = 1e-5
    assert d["tv"] <= np.sqrt(d["kl"] / 2) + slack  # Pinsker
    assert d["kl"] <= np.log1p(d["chi2"]) + slack
    assert d["hellinger"] <= d["tv"] + slack <= np.sqrt(2 * d["hellinger"]) + 2 * slack
    assert d["ks"] <= d["tv"] + slack
    assert d["cdf_l2"] <= d["ks"] * d["cdf_l1"] + slack
    assert d["cdf_l1"] <= (K - 1) * d["ks"] + slack
    assert 4 * d["tv"] ** 2 <= d["chi2"] + slack


def test_independent_judges(dtype):
    p, q = (np.asarray(x, float) for x in pairs(3, zeros=True))
    p, q = p / p.sum(), q / q.sum()
    x, y = jnp.asarray(p, dtype), jnp.asarray(q, dtype)
    rtol = 1e-5 if dtype == np.float32 else 1e-12
    grid = np.arange(K)
    close = {"rtol": rtol, "atol": rtol}
    np.testing.assert_allclose(kullback_leibler(x, y), rel_entr(p, q).sum(), **close)
    np.testing.assert_allclose(cdf_l1(x, y), stats.wasserstein_distance(grid, grid, p, q), **close)
    energy = stats.energy_distance(grid, grid, p, q)
    np.testing.assert_allclose(cdf_l2(x, y), energy**2 / 2, **close)
    values = np.array([0.0, 1, 1.5, 4, 5, 9])
    expected = stats.wasserstein_distance(values, values, p, q)
    np.testing.assert_allclose(cdf_l1(x, y, values=jnp.asarray(values, dtype)), expected, **close)
    np.testing.assert_allclose(hellinger(x, y), ((np.sqrt(p) - np.sqrt(q)) ** 2).sum() / 2, **close)
    np.testing.assert_allclose(chi_square(x, y), ((p - q) ** 2 / q).sum(), **close)


@pytest.mark.parametrize("name", ALL)
def test_a_missing_option_is_as_if_it_were_not_there(name):
    p, q = pairs(5)
    here = jnp.asarray([True, True, True, True, False, False])
    short_p, short_q = p[:4] / p[:4].sum(), q[:4] / q[:4].sum()
    padded = [jnp.concatenate([x, jnp.asarray([0.3, 0.2], x.dtype)]) for x in (short_p, short_q)]
    np.testing.assert_allclose(
        ALL[name](*padded, options=here), ALL[name](short_p, short_q), rtol=1e-5, atol=1e-6
    )


def test_zeros_and_clipping():
    p, q = jnp.asarray([0.5, 0.5, 0.0]), jnp.asarray([1.0, 0.0, 0.0])
    assert np.isinf(chi_square(p, q)) and np.isinf(kullback_leibler(p, q))
    assert float(chi_square(p, q, clip=1e-6)) == pytest.approx(0.25 + 0.25e6 - 1)
    expected = 0.5 * np.log(0.5) + 0.5 * np.log(0.5e6) + 1e-6 * np.log(1)
    assert float(kullback_leibler(p, q, clip=1e-6)) == pytest.approx(expected, rel=1e-5)
    assert float(hellinger(p, q)) == pytest.approx(1 - np.sqrt(0.5))


@pytest.mark.parametrize("name", ALL)
def test_gradients_are_those_of_finite_differences(name):
    if not jax.config.read("jax_enable_x64"):
        pytest.skip("finite differences need float64")
    p, q = pairs(11, jnp.float64, zeros=True)
    direction = np.random.default_rng(0).normal(size=K)
    direction = jnp.asarray(direction - direction.mean())
    step = 1e-6
    ahead, behind = (ALL[name](p, q + s * direction) for s in (step, -step))
    slope = jnp.dot(jax.grad(lambda q: ALL[name](p, q))(q), direction)
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * step), rtol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_gradients_are_finite_where_both_are_zero(name):
    p, q = jnp.asarray([0.4, 0.6, 0.0, 0.0]), jnp.asarray([0.5, 0.3, 0.2, 0.0])
    assert np.isfinite(jax.grad(lambda q: ALL[name](p, q))(q)).all()
    assert np.isfinite(jax.grad(lambda p: ALL[name](p, q))(p)[:2]).all()


def test_batches():
    p, q = jnp.stack([pairs(i)[0] for i in range(4)]), pairs(9)[1]
    for function in ALL.values():
        assert function(p, q[None]).shape == (4,)
        np.testing.assert_allclose(function(p, q[None])[2], function(p[2], q), rtol=1e-5)
