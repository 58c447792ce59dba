"""Rank selection on matrices of known rank; cumulative variance against NumPy and PCA."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from syndigits_jax.diagnostics.rank_selection import (
    cumulative_variance,
    hide_entries,
    scaled_columns,
    select_rank,
    svd_diagnostics,
)
from syndigits_jax.solvers import Status

KEY = jax.random.key(0)


choose = jax.jit(select_rank, static_argnames=("candidates", "repeats"))


def low_rank(seed: int, rank: int, shape=(40, 24), noise=0.05):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1]))
    return x + noise * rng.normal(size=shape), rng.random(shape) < 0.9


@given(seed=st.integers(0, 1000), share=st.sampled_from([0.1, 0.2, 0.5]))
def test_hidden_entries_are_an_exact_share_of_the_observed(seed, share):
    mask = jnp.asarray(np.random.default_rng(seed).random((20, 10)) < 0.7)
    hidden = hide_entries(jax.random.key(seed), mask, share)
    assert int(jnp.sum(hidden)) == int(np.floor(share * int(jnp.sum(mask)) + 1e-6))
    assert not jnp.any(hidden & ~mask)
    assert jnp.any(hidden != hide_entries(jax.random.key(seed + 1), mask, share))


@pytest.mark.parametrize("rank", [1, 3])
def test_selects_the_true_rank(rank):
    x, mask = low_rank(rank, rank)
    got = choose(KEY, jnp.asarray(x), jnp.asarray(mask), (1, 3, 5), repeats=2)
    assert int(got.rank) == rank
    assert got.errors.shape == (2, 3)
    mean = jnp.mean(got.errors, axis=0)
    best = [1, 3, 5].index(rank)
    assert mean[best] < 0.2
    assert jnp.all(jnp.delete(mean, best) > mean[best])


def test_error_is_that_of_the_hidden_entries():
    """A column that no other column informs is imputed by the mean of what is left of it."""
    x = np.zeros((30, 8))
    x[:, 0] = np.arange(30) - 14.5
    mask = np.ones_like(x, bool)
    got = select_rank(KEY, jnp.asarray(x), jnp.asarray(mask), (1,), share=0.2)
    hidden = np.asarray(hide_entries(jax.random.split(KEY, 1)[0], jnp.asarray(mask), 0.2))[:, 0]
    start = x[~hidden, 0].mean()
    want = np.linalg.norm(x[hidden, 0] - start) / np.linalg.norm(x[hidden, 0])
    np.testing.assert_allclose(got.errors[0, 0], want, rtol=1e-4)


def test_scaled_columns_match_standard_scaler_and_keep_small_columns(dtype):
    x, mask = low_rank(2, 3)
    x = 5 + x * 3
    x[:, 4] = 0.1 * x[:, 4]
    x[:, 5] = 2.0
    mask[:, 6] = False
    holes = np.where(mask, x, np.nan)
    got = scaled_columns(jnp.asarray(np.nan_to_num(holes), dtype), jnp.asarray(mask))
    keep = [0, 1, 2, 3, 7]
    want = StandardScaler().fit_transform(holes[:, keep])
    np.testing.assert_allclose(got[:, jnp.array(keep)], np.nan_to_num(want), atol=1e-4)
    assert np.nanstd(holes[:, 4]) < 1
    centred = np.nan_to_num(holes[:, 4] - np.nanmean(holes[:, 4]))
    np.testing.assert_allclose(got[:, 4], centred, atol=1e-4)
    np.testing.assert_allclose(got[:, 5:7], 0, atol=1e-6)


def test_cumulative_variance_is_that_of_principal_components(dtype):
    x = 3 + low_rank(3, 4)[0]
    want = np.cumsum(PCA().fit(x).explained_variance_ratio_)
    got = cumulative_variance(jnp.asarray(x, dtype))
    assert got.shape == (24,) and got.dtype == dtype
    np.testing.assert_allclose(got, want, atol=1e-4)
    assert jnp.all(cumulative_variance(jnp.full((5, 3), 2.0)) == 1)


def test_svd_diagnostics_impute_each_side():
    diagnose = jax.jit(svd_diagnostics, static_argnames=("rank", "scale"))
    x, mask = low_rank(4, 2, noise=0.0)
    human, twin = diagnose(np.where(mask, x, np.nan), x, rank=3)
    np.testing.assert_allclose(twin, cumulative_variance(jnp.asarray(x)), atol=1e-4)
    assert human[2] > 0.99 and human[0] < 0.95
    # One question on a scale of thousands is all the variance, unless columns are scaled.
    x[:, 0] *= 1000
    stretched, _ = diagnose(x, x, rank=3)
    scaled, _ = diagnose(x, x, rank=3, scale=True)
    assert stretched[0] > 0.999 and scaled[0] < 0.95


@pytest.mark.parametrize(
    "change", [{"candidates": ()}, {"candidates": (1, 9)}, {"candidates": (0,)}, {"share": 1.0}]
)
def test_bad_input(change):
    x = jnp.ones((10, 8))
    with pytest.raises(ValueError, match=next(iter(change))):
        select_rank(KEY, x, x > 0, **({"candidates": (1,)} | change))


def test_another_tolerance_or_step_cap_compiles_nothing():
    x, mask = (jnp.asarray(a) for a in low_rank(0, 2))
    traces = []

    @jax.jit
    def errors(tol, max_steps):
        traces.append(1)
        found = select_rank(KEY, x, mask, (1, 2), tol=tol, max_steps=max_steps)
        return found.errors, found.status

    (_, free), (_, capped) = errors(1e-3, 500), errors(1e-6, 1)
    assert len(traces) == 1
    assert not np.any(free) and np.all(capped == Status.MAX_STEPS)
