"""Standard errors, bootstrap and permutation tests against scipy and enumeration."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from compilations import compilations

from syndigits_jax.inference import (
    bootstrap,
    nan_mean,
    permutation_p_value,
    permutation_test,
    sign_flip_test,
    standard_error,
)

KEY = jax.random.key(0)


def test_standard_error_skips_nan(dtype):
    values = np.random.default_rng(0).normal(size=30).astype(dtype) + 5
    values[[3, 7]] = np.nan
    want = scipy.stats.sem(values, nan_policy="omit")
    np.testing.assert_allclose(standard_error(values), want, rtol=1e-5)
    np.testing.assert_allclose(nan_mean(values), np.nanmean(values), rtol=1e-6)
    assert jnp.isnan(nan_mean(np.full(30, np.nan, dtype)))
    assert jnp.isnan(standard_error(np.where(np.arange(30) == 0, values, np.nan).astype(dtype)))


def test_bootstrap_agrees_with_scipy():
    values = np.random.default_rng(1).exponential(size=80)
    got = jax.jit(lambda key, x: bootstrap(key, nan_mean, x, replicates=4000))(KEY, values)
    want = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(0)
    )
    spread = want.standard_error
    assert got.estimate == pytest.approx(values.mean(), abs=1e-5)
    # Monte Carlo error of an end of the interval: about 3% of the standard error.
    assert abs(got.standard_error - spread) < 0.05 * spread
    assert abs(got.lower - want.confidence_interval.low) < 0.15 * spread
    assert abs(got.upper - want.confidence_interval.high) < 0.15 * spread


def test_bootstrap_draws_rows_of_a_pytree_together():
    a = np.random.default_rng(2).normal(size=50)
    data = {"a": a, "b": a - 1}
    paired = bootstrap(KEY, lambda d: nan_mean(d["a"] - d["b"]), data, replicates=64, batch_size=16)
    assert paired.standard_error < 1e-6
    assert paired.lower == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": {"a": np.ones(3), "b": np.ones(4)}}, "data"),
        ({"data": np.float32(1)}, "data"),
        ({"replicates": 1}, "replicates"),
        ({"level": 95.0}, "level"),
    ],
)
def test_bootstrap_bad_input(change, message):
    arguments = {"data": np.ones(3), "replicates": 8, "level": 0.9} | change
    data = arguments.pop("data")
    with pytest.raises(ValueError, match=message):
        bootstrap(KEY, nan_mean, data, **arguments)


def test_permutation_p_value_counts_ties_and_itself():
    permuted = jnp.asarray([0.0, 1.0, 2.0, 3.0])
    assert permutation_p_value(jnp.asarray(2.0), permuted) == pytest.approx(3 / 5)
    less = permutation_p_value(jnp.asarray(2.0), permuted, alternative="less")
    assert less == pytest.approx(4 / 5)
    both = permutation_p_value(jnp.asarray(9.0), permuted, alternative="two-sided")
    assert both == pytest.approx(2 / 5)
    # A tie up to rounding is a tie.
    assert permutation_p_value(
        3 * (1 + 2 * jnp.finfo(permuted.dtype).eps) + 0 * permuted[0], permuted
    ) == pytest.approx(2 / 5)
    with pytest.raises(ValueError, match="alternative"):
        permutation_p_value(jnp.asarray(0.0), permuted, alternative="bigger")


def test_sign_flip_agrees_with_all_sign_patterns():
    differences = np.array([0.9, 0.4, -0.2, 0.7, 0.3, 0.5, np.nan, -0.1])
    kept = differences[~np.isnan(differences)]
    flips = np.array(list(itertools.product([-1, 1], repeat=len(kept)))) @ kept
    want = np.mean(flips >= kept.sum() - 1e-9)
    got = jax.jit(lambda key, d: sign_flip_test(key, d, replicates=4000, alternative="greater"))(
        KEY, differences
    )
    assert got.statistic == pytest.approx(kept.mean(), abs=1e-6)
    assert got.p_value == pytest.approx(want, abs=0.015)


def test_permutation_test_is_uniform_under_the_null_and_small_off_it():
    def one(key, signal):
        a, b, c = jax.random.split(key, 3)
        x = jax.random.normal(a, (12,))
        y = signal * x + jax.random.normal(b, (12,))
        return permutation_test(c, lambda x, y: jnp.sum(x * y), x, y, replicates=99).p_value

    p = jax.jit(jax.vmap(one, in_axes=(0, None)))
    null = p(jax.random.split(KEY, 500), 0.0)
    # Exact level: P(p <= 0.1) = 0.1; three standard errors are 0.04.
    assert abs(jnp.mean(null <= 0.1) - 0.1) < 0.04
    assert jnp.min(null) >= 0.01
    assert jnp.mean(p(jax.random.split(KEY, 500), 2.0) <= 0.05) > 0.9


def test_statistics_of_modules_are_compiled_once():
    key, values = jax.random.key(0), jnp.arange(6.0)
    others = values + 1

    def calls(data):
        bootstrap(key, nan_mean, data, replicates=10)
        permutation_test(key, jnp.dot, data, data, replicates=10)
        sign_flip_test(key, data, replicates=10)

    calls(values)
    with compilations() as compiled:
        calls(others)
    assert not compiled


def test_what_a_local_statistic_reads_may_change():
    factor = 1.0

    def scaled(values):
        return factor * jnp.mean(values)

    key, values = jax.random.key(0), jnp.arange(1.0, 7.0)
    once = bootstrap(key, scaled, values, replicates=10)
    factor = 2.0
    twice = bootstrap(key, scaled, values, replicates=10)
    np.testing.assert_allclose(twice.lower, 2 * once.lower, rtol=1e-6)
