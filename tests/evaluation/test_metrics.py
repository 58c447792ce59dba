"""Metrics against scipy, scikit-learn and closed forms."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from syndigits_jax.evaluation import metrics
from syndigits_jax.evaluation.metrics import (
    METRICS,
    accuracy,
    crps_from_draws,
    interval_coverage,
    interval_score,
    metric_function,
    pearson,
    percent_delta,
    residual_pearson,
    score_targets,
    wasserstein,
)

SIZE = 40
JUDGES = {
    "pearson": lambda p, t: scipy.stats.pearsonr(p, t).statistic,
    "spearman": lambda p, t: scipy.stats.spearmanr(p, t).statistic,
    "mse": lambda p, t: sklearn.metrics.mean_squared_error(t, p),
    "mae": lambda p, t: sklearn.metrics.mean_absolute_error(t, p),
    "r2": lambda p, t: sklearn.metrics.r2_score(t, p),
    "accuracy": lambda p, t: 1 - np.abs(p - t).mean() / 4.5,
    "wasserstein": scipy.stats.wasserstein_distance,
    "sd_ratio": lambda p, t: np.std(p) / np.std(t),
}
COMPILED = {name: jax.jit(metric_function(name, scale=(0.5, 5.0))) for name in METRICS}


def example(seed: int, observed: float = 0.7):
    """Half-star ratings with ties, and predictions of them."""
    rng = np.random.default_rng(seed)
    truth = np.round(2 * np.clip(3 + rng.normal(size=SIZE), 0.5, 5)) / 2
    prediction = 0.5 * truth + rng.normal(size=SIZE) + 1
    mask = rng.random(SIZE) < observed
    mask[:3] = True
    truth[:2] = [1.0, 4.0]
    return prediction, truth, mask


@pytest.mark.parametrize("name", sorted(METRICS))
@given(seed=st.integers(0, 10_000), observed=st.sampled_from([0.1, 0.7, 1.0]))
def test_metric_agrees_with_independent_judge(name, seed, observed):
    prediction, truth, mask = example(seed, observed)
    want = JUDGES[name](prediction[mask], truth[mask])
    # What is masked out must not matter, not even NaN.
    prediction[~mask], truth[~mask] = np.nan, np.nan
    got = COMPILED[name](jnp.asarray(prediction), jnp.asarray(truth), jnp.asarray(mask))
    np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_nothing_observed_is_nan_and_nonfinite_prediction_is_nan(name, dtype):
    prediction, truth, mask = (jnp.asarray(part) for part in example(0))
    prediction, truth = prediction.astype(dtype), truth.astype(dtype)
    metric = COMPILED[name]
    assert metric(prediction, truth, mask).dtype == dtype
    assert jnp.isnan(metric(prediction, truth, jnp.zeros(SIZE, bool)))
    assert jnp.isnan(metric(prediction.at[0].set(jnp.nan), truth, mask))
    assert jnp.isfinite(metric(prediction, truth, mask))


@pytest.mark.parametrize("name", sorted(set(METRICS) - {"spearman"}))  # ranks have no gradient
def test_gradient_is_finite_with_missing_entries(name, dtype):
    prediction, truth, mask = (jnp.asarray(part) for part in example(1))
    prediction, truth = prediction.astype(dtype), jnp.where(mask, truth.astype(dtype), jnp.nan)
    slope = jax.jit(jax.grad(COMPILED[name]))
    gradient = slope(prediction, truth, mask)
    assert jnp.all(jnp.isfinite(gradient))
    assert jnp.all(jnp.where(mask, 0, gradient) == 0)
    assert jnp.any(gradient != 0)
    # A constant prediction is where a naive standard deviation has no derivative.
    flat = slope(jnp.full(SIZE, 3, dtype), truth, mask)
    assert jnp.all(jnp.isfinite(flat))


def test_pearson_degenerate_rules(dtype):
    pearson = COMPILED["pearson"]
    strict = jax.jit(partial(metrics.pearson, min_sd=1e-3))
    zero = jax.jit(partial(metrics.pearson, min_sd=0.0))
    x = jnp.linspace(0, 1, 6, dtype=dtype)
    every = jnp.ones(6, bool)
    one = every & (jnp.arange(6) < 1)
    assert pearson(x, x, every) == pytest.approx(1, abs=1e-6)
    assert pearson(x, -x, every) == pytest.approx(-1, abs=1e-6)
    assert pearson(x, x, one) == 0
    # Population SD of `x` is 0.3416; the threshold compares with "at most".
    small = x / 40
    assert pearson(small, x, every) == 0
    assert pearson(x, small, every) == 0
    assert strict(small, x, every) == pytest.approx(1, abs=1e-5)
    assert pearson(x / 30, x, every) == pytest.approx(1, abs=1e-5)
    # 3.7 has no exact binary form: its rounding must not pass for variation.
    constant = jnp.full(6, 3.7, dtype)
    assert zero(constant, x, every) == 0
    assert COMPILED["spearman"](constant, x, every) == 0
    ratio = COMPILED["sd_ratio"]
    assert ratio(x, x, every) == 1 and ratio(constant, x, every) == 0
    assert jnp.isnan(ratio(x, constant, every))
    assert jnp.isnan(COMPILED["r2"](x, constant, every))


@given(seed=st.integers(0, 10_000), shift=st.floats(-3, 3), factor=st.floats(0.5, 3))
def test_correlations_ignore_affine_changes(seed, shift, factor):
    prediction, truth, mask = (jnp.asarray(part) for part in example(seed))
    for name in ("pearson", "spearman"):
        changed = COMPILED[name](factor * prediction + shift, truth, mask)
        np.testing.assert_allclose(changed, COMPILED[name](prediction, truth, mask), atol=1e-4)


def test_residual_pearson_removes_the_reference():
    rng = np.random.default_rng(0)
    item = rng.normal(size=60) * 3
    personal, noise = rng.normal(size=(2, 60))
    reference = item.copy()
    reference[5] = np.nan
    args = [jnp.asarray(a) for a in (item + noise, item + personal, np.ones(60, bool), reference)]
    keep = ~np.isnan(reference)
    want = scipy.stats.pearsonr(noise[keep], personal[keep]).statistic
    np.testing.assert_allclose(residual_pearson(*args), want, atol=1e-5)
    assert pearson(*args[:3]) > 0.8


def test_accuracy_uses_the_scale_not_the_data():
    x, every = jnp.asarray([2.0, 3.0]), jnp.ones(2, bool)
    assert accuracy(x, x + 1, every, low=0.0, high=10.0) == pytest.approx(0.9)
    with pytest.raises(ValueError, match="above low"):
        accuracy(x, x, every, low=5.0, high=1.0)
    with pytest.raises(ValueError, match="scale"):
        metric_function("accuracy")
    with pytest.raises(ValueError, match="none of accuracy"):
        metric_function("rmsd")
    assert metric_function(pearson) is pearson


def pairwise_crps(draws, truth, fair):
    size = len(draws)
    pairs = np.abs(draws[:, None] - draws[None, :]).sum() / 2
    denominator = size * (size - 1) if fair else size**2
    return np.abs(draws - truth).mean() - pairs / denominator


@pytest.mark.parametrize("fair", [True, False])
def test_crps_equals_the_sum_over_pairs(fair, dtype):
    rng = np.random.default_rng(3)
    draws, truth = rng.normal(size=(9, 5)) + 100, rng.normal(size=5) + 100
    mask = np.array([True, True, False, True, False])
    columns = [pairwise_crps(draws[:, i], truth[i], fair) for i in range(5)]
    truth[~mask] = np.nan
    got = crps_from_draws(
        jnp.asarray(draws, dtype), jnp.asarray(truth, dtype), jnp.asarray(mask), fair=fair
    )
    np.testing.assert_allclose(got, np.mean(np.array(columns)[mask]), atol=2e-4)


def test_fair_crps_is_unbiased_for_the_normal_closed_form():
    """Small ensembles average to the closed form; the plain estimator is too high."""
    rng = np.random.default_rng(0)
    ensembles, truth = rng.normal(size=(3, 40_000)), np.full(40_000, 0.7)
    z, phi, cdf = 0.7, scipy.stats.norm.pdf(0.7), scipy.stats.norm.cdf(0.7)
    closed = z * (2 * cdf - 1) + 2 * phi - 1 / np.sqrt(np.pi)
    args = jnp.asarray(ensembles), jnp.asarray(truth), jnp.ones(40_000, bool)
    assert crps_from_draws(*args) == pytest.approx(closed, abs=0.01)
    assert crps_from_draws(*args, fair=False) > closed + 0.1
    with pytest.raises(ValueError, match="two draws"):
        crps_from_draws(args[0][:1], *args[1:])


def test_interval_coverage_and_score():
    lower, upper = jnp.zeros(4), jnp.ones(4)
    truth = jnp.asarray([0.5, 1.5, -1.0, jnp.nan])
    mask = jnp.asarray([True, True, True, False])
    assert interval_coverage(lower, upper, truth, mask) == pytest.approx(1 / 3)
    # Widths 1, 1, 1; distances outside 0, 0.5, 1; 2/α = 20.
    score = interval_score(lower, upper, truth, mask, alpha=0.1)
    assert score == pytest.approx((3 + 20 * 1.5) / 3)


def test_wasserstein_ignores_who_gave_which_answer():
    prediction, truth, _ = (jnp.asarray(part) for part in example(5))
    every = jnp.ones(SIZE, bool)
    assert wasserstein(truth[::-1], truth, every) == 0
    assert wasserstein(prediction + 1, prediction, every) == pytest.approx(1, abs=1e-5)


def test_score_targets_is_the_metric_of_each_row():
    prediction = np.stack([example(seed)[0] for seed in range(3)])
    truth = np.stack([np.where(example(s)[2], example(s)[1], np.nan) for s in range(3)])
    truth[2] = np.nan
    got = score_targets("pearson", prediction, truth)
    keep = [~np.isnan(row) for row in truth]
    want = [JUDGES["pearson"](prediction[i][keep[i]], truth[i][keep[i]]) for i in range(2)]
    np.testing.assert_allclose(got[:2], want, atol=1e-5)
    assert jnp.isnan(got[2])
    assert score_targets("accuracy", prediction, truth, scale=(0.5, 5.0)).shape == (3,)


def test_summary_skips_nan(dtype):
    summarize = jax.jit(metrics.summarize)
    scores = np.array([0.2, np.nan, 0.5, 0.9, -0.1], dtype)
    kept = scores[~np.isnan(scores)]
    summary = summarize(scores)
    assert summary.mean == pytest.approx(kept.mean(), abs=1e-6)
    assert summary.se == pytest.approx(scipy.stats.sem(kept), abs=1e-6)
    assert int(summary.count) == 4
    want = np.tanh(np.arctanh(kept.astype(float)).mean())
    assert summary.fisher_z_mean == pytest.approx(want, abs=1e-5)
    empty = summarize(np.full(5, np.nan, dtype))
    assert jnp.isnan(empty.mean) and jnp.isnan(empty.se) and int(empty.count) == 0
    assert jnp.isnan(summarize(np.where(np.arange(5) < 1, scores, scores[1])).se)
    assert jnp.isnan(summarize(np.array([0.5, 1.5, 0.0], dtype)).fisher_z_mean)
    assert jnp.isfinite(summarize(np.array([1.0, 0.0, np.nan], dtype)).fisher_z_mean)


def test_percent_delta():
    assert percent_delta(0.524, 0.349) == pytest.approx(50.1, abs=0.1)
    assert percent_delta(0.1, -0.2) == pytest.approx(150, abs=1e-3)
    assert jnp.isnan(percent_delta(0.1, 0.0))
