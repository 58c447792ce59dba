"""Simultaneous intervals and shrinkage, judged by SciPy and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

from syndigits_jax.inference import Resampled, shrink, simultaneous_intervals

KEY = jax.random.key(0)


def test_the_critical_value_is_that_of_the_largest_of_independent_normals():
    scale = jnp.asarray([0.001, 1.0, 50.0, 3.0, 7.0])
    draws = jax.random.normal(KEY, (20_000, 5)) * scale[None] + 8
    found = simultaneous_intervals(jnp.zeros(5), draws, level=0.9)
    want = stats.norm.ppf((1 + 0.9 ** (1 / 5)) / 2)
    np.testing.assert_allclose(found.critical, want, rtol=0.02)
    np.testing.assert_allclose(found.standard_error, scale, rtol=0.03)
    np.testing.assert_allclose(found.upper, found.critical * found.standard_error, rtol=1e-4)


def test_estimates_that_move_together_need_no_more_than_one():
    draws = jnp.tile(jax.random.normal(KEY, (20_000, 1)), (1, 6))
    found = simultaneous_intervals(jnp.zeros(6), draws)
    np.testing.assert_allclose(found.critical, 1.96, rtol=0.03)
    few = simultaneous_intervals(jnp.zeros(6), draws, df=4)
    np.testing.assert_allclose(few.critical / found.critical, stats.t.ppf(0.975, 4) / 1.96, 1e-3)


def test_what_cannot_be_told_takes_no_part():
    draws = jax.random.normal(KEY, (500, 4)).at[:, 1].set(0.3).at[0, 2].set(jnp.nan)
    value = jnp.asarray([0.0, 0.3, 1.0, jnp.nan])
    found = simultaneous_intervals(value, draws)
    alone = simultaneous_intervals(value[jnp.asarray([0, 2])], draws[:, jnp.asarray([0, 2])])
    np.testing.assert_allclose(found.critical, alone.critical)
    assert found.lower[1] == found.upper[1] == value[1] and found.standard_error[1] == 0
    assert jnp.isnan(found.lower[3]) and jnp.isfinite(found.lower[2])


def test_contrasts_take_their_draws_along():
    draws = jax.random.normal(KEY, (300, 2, 3))
    found = Resampled(draws[0], draws).contrast(lambda v: v[0] - v[1])
    np.testing.assert_allclose(found.draws, np.asarray(draws)[:, 0] - np.asarray(draws)[:, 1])
    want = np.std(np.asarray(found.draws), axis=0, ddof=1)
    np.testing.assert_allclose(found.intervals().standard_error, want, rtol=1e-5)


def paule_mandel(y, error):
    def excess(tau2):
        weight = 1 / (error**2 + tau2)
        return np.sum(weight * (y - np.average(y, weights=weight)) ** 2) - len(y) + 1

    return optimize.brentq(excess, 0, 100) if excess(0) > 0 else 0.0


@pytest.mark.parametrize("seed", range(4))
def test_the_between_variance_solves_paule_and_mandels_equation(seed, dtype):
    rng = np.random.default_rng(seed)
    error = rng.uniform(0.2, 1.0, 12)
    y = 3 + rng.normal(size=12) * (0, 0.2, 1, 2)[seed] + rng.normal(size=12) * error
    tau2 = paule_mandel(y, error)
    found = shrink(jnp.asarray(y, dtype), jnp.asarray(error, dtype))
    np.testing.assert_allclose(found.between_variance, tau2, rtol=2e-4, atol=1e-6)
    weight = 1 / (error**2 + tau2)
    centre = np.average(y, weights=weight)
    want = centre + tau2 / (tau2 + error**2) * (y - centre)
    np.testing.assert_allclose(found.value, want, rtol=2e-4)


def test_shrunk_estimates_are_closer_to_the_truth():
    rng = np.random.default_rng(5)
    truth = 0.1 * rng.normal(size=400)
    error = rng.uniform(0.05, 0.4, 400)
    raw = truth + error * rng.normal(size=400)
    found = shrink(raw, error, centre=0.0)
    assert np.mean((found.value - truth) ** 2) < 0.3 * np.mean((raw - truth) ** 2)
    np.testing.assert_allclose(found.between_variance, 0.01, rtol=0.5)
    assert found.centre == 0


def test_shrinkage_at_its_limits():
    alike = shrink([0.2, 0.2, 0.2], [0.1, 0.2, 0.3])
    np.testing.assert_allclose(alike.value, 0.2, rtol=1e-6)
    assert alike.between_variance == 0
    exact = shrink([0.1, 0.9, jnp.nan], [0.0, 0.0, 1.0])
    np.testing.assert_allclose(exact.value[:2], [0.1, 0.9], rtol=1e-6)
    assert jnp.isnan(exact.value[2])
    np.testing.assert_allclose(shrink([0.7], [0.3]).value, [0.7], rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simultaneous_intervals([1.0, 2], [[1.0], [2.0]]), r"`draws` must be \(r"),
        (lambda: simultaneous_intervals([1.0], [[1.0]]), "at least 2"),
        (lambda: simultaneous_intervals([1.0], [[1.0], [2.0]], level=1.0), "`level`"),
        (lambda: simultaneous_intervals([1.0], [[1.0], [2.0]], df=0.5), "`df`"),
        (lambda: shrink([1.0, 2.0], [1.0]), "`estimates` and `errors`"),
        (lambda: shrink([1.0, 2.0], [1.0, -1.0]), "must not be negative"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
