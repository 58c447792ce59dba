"""Adaptive transfer against plain loops over targets and thresholds."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from syndigits_jax.evaluation.adaptive import (
    THRESHOLDS,
    adapt,
    adaptive_curve,
    adaptive_transfer,
    best_threshold,
    constant_rows,
    leave_one_out_threshold,
    local_uncertainty_rule,
    transfer_decision,
    uncertainty_rule,
)
from syndigits_jax.evaluation.metrics import score_targets
from syndigits_jax.inference import conformal_quantile

T = 18
curve_of = jax.jit(adaptive_curve)
choose = jax.jit(leave_one_out_threshold, static_argnames=("on_constant", "maximize"))
local_rule = jax.jit(local_uncertainty_rule)


def scores(seed: int):
    """Calibration helps where the training error is below about 0.4, and hurts above."""
    rng = np.random.default_rng(seed)
    error = rng.uniform(size=T)
    baseline = rng.normal(0.2, 0.1, size=T)
    calibrated = baseline + 0.4 - error + rng.normal(0, 0.1, size=T)
    calibrated[3] = baseline[3] = np.nan
    error[7] = np.nan
    return calibrated, baseline, error


def rule(calibrated, baseline, error, tau):
    return np.where(np.nan_to_num(error, nan=np.inf) <= tau, calibrated, baseline)


@given(seed=st.integers(0, 10_000))
def test_curve_is_the_mean_of_the_rule(seed):
    parts = scores(seed)
    got = curve_of(*parts)
    np.testing.assert_allclose(got.tau, THRESHOLDS, atol=1e-6)
    for g in (0, 16, 40, 100):
        picked = rule(*parts, THRESHOLDS[g])
        kept = picked[~np.isnan(picked)]
        np.testing.assert_allclose(got.summary.mean[g], kept.mean(), atol=1e-5)
        se = kept.std(ddof=1) / np.sqrt(len(kept))
        np.testing.assert_allclose(got.summary.se[g], se, atol=1e-5)
        transferred = (parts[2] <= THRESHOLDS[g]) & ~np.isnan(picked)
        np.testing.assert_allclose(got.share[g], transferred.sum() / (T - 1), atol=1e-6)
    # All defined errors are below 1: the curve ends at "always", bar the undefined one.
    best = best_threshold(got)
    assert got.summary.mean[jnp.argmax(got.tau == best)] == jnp.max(got.summary.mean)


@given(seed=st.integers(0, 10_000), maximize=st.booleans())
def test_threshold_is_chosen_on_the_other_targets(seed, maximize):
    parts = scores(seed)
    got = choose(*parts, maximize=maximize)
    for j in range(T):
        others = [np.delete(part, j) for part in parts]
        means = np.array([np.nanmean(rule(*others, tau)) for tau in THRESHOLDS])
        means = means if maximize else -means
        want = THRESHOLDS[np.flatnonzero(means >= means.max() - 1e-9)[0]]
        np.testing.assert_allclose(got.tau[j], want, atol=1e-6)
        picked = rule(*(part[j] for part in parts), want)
        np.testing.assert_allclose(got.scores[j], picked, atol=1e-6)
    np.testing.assert_allclose(got.summary.mean, np.nanmean(got.scores), atol=1e-5)


@given(seed=st.integers(0, 10_000), target=st.integers(0, T - 1))
def test_choice_ignores_the_targets_own_scores(seed, target):
    calibrated, baseline, error = scores(seed)
    before = choose(calibrated, baseline, error)
    after = choose(calibrated + 5 * (np.arange(T) == target), baseline, error)
    np.testing.assert_allclose(before.tau[target], after.tau[target], atol=1e-6)
    assert before.transferred[target] == after.transferred[target]


def test_best_on_the_curve_is_optimistic():
    """Under pure noise the best point looks like a gain; the choice on other targets shows none."""
    rng = np.random.default_rng(0)
    best, honest = [], []
    for _ in range(40):
        calibrated, baseline = rng.normal(0, 0.2, size=(2, T))
        error = rng.uniform(size=T)
        best.append(float(jnp.max(curve_of(calibrated, baseline, error).summary.mean)))
        honest.append(float(choose(calibrated, baseline, error).summary.mean))
    # Means of 18 scores: standard error 0.047 each, 0.0075 over the 40 repeats.
    assert np.mean(best) > 0.02
    assert abs(np.mean(honest)) < 0.02


def test_adapt_takes_scores_or_predictions():
    decision = jnp.asarray([True, False])
    a, b = np.ones((2, 3)), np.zeros((2, 3))
    np.testing.assert_array_equal(adapt(decision, a, b), [[1, 1, 1], [0, 0, 0]])
    np.testing.assert_array_equal(adapt(decision, a[:, 0], b[:, 0]), [1, 0])


def test_constant_twins():
    twin = np.array([[3, 3, np.nan], [3, 4, 3], [np.nan] * 3, [2, 2, 2]])
    constant = constant_rows(twin)
    np.testing.assert_array_equal(constant, [True, False, True, True])
    error = np.array([0.0, 0.5, 0.0, 0.0])
    decide = lambda how: transfer_decision(error, 0.1, constant=constant, on_constant=how)  # noqa: E731
    np.testing.assert_array_equal(decide("rule"), [True, False, True, True])
    np.testing.assert_array_equal(decide("baseline"), [False] * 4)
    np.testing.assert_array_equal(decide("calibrated"), [True, False, True, True])
    ones, zeros = np.ones(4), np.zeros(4)
    curves = {
        how: adaptive_curve(ones, zeros, error, (0.1, 1.0), constant=constant, on_constant=how)
        for how in ("rule", "baseline", "calibrated", "exclude")
    }
    means = {how: curve.summary.mean.tolist() for how, curve in curves.items()}
    assert means["rule"] == means["calibrated"] == [0.75, 1.0]
    assert means["baseline"] == [0.0, 0.25]
    assert means["exclude"] == [0.0, 1.0]
    assert curves["exclude"].summary.count.tolist() == [1, 1]
    with pytest.raises(ValueError, match="on_constant"):
        decide("never")
    with pytest.raises(ValueError, match="constant: needed"):
        transfer_decision(error, 0.1, on_constant="exclude")


def test_uncertainty_rule_compares_bounds_from_the_other_targets():
    rng = np.random.default_rng(1)
    scale = rng.uniform(0.2, 2, size=T)
    calibrated, baseline = scale * rng.exponential(size=T), rng.exponential(size=T)
    ones = np.ones(T)
    got = jax.jit(uncertainty_rule)(calibrated, baseline, scale, ones, 0.3)
    for j in range(T):
        ratio = np.delete(calibrated / scale, j)
        bound = scale[j] * float(conformal_quantile(ratio, 0.3))
        np.testing.assert_allclose(got.calibrated_bound[j], bound, rtol=1e-5)
        other = float(conformal_quantile(np.delete(baseline, j), 0.3))
        np.testing.assert_allclose(got.baseline_bound[j], other, rtol=1e-5)
        assert bool(got.transferred[j]) == (bound < other)
    assert 0 < jnp.sum(got.transferred) < T


def test_local_rule_by_loops():
    calibrated, baseline, difficulty = scores(2)
    calibrated, baseline = np.abs(calibrated), np.abs(baseline)
    difficulty = np.nan_to_num(difficulty, nan=2.0)
    got = local_rule(calibrated, baseline, difficulty, 0.25)
    rank = scipy.stats.rankdata(difficulty) / T

    def scale(error, target, left_out):
        others = [k for k in range(T) if k not in left_out and not np.isnan(error[k])]
        weight = np.exp(-(((rank[others] - rank[target]) / 0.1) ** 2) / 2)
        return weight @ error[others] / weight.sum()

    for error, bounds in ((calibrated, got.calibrated_bound), (baseline, got.baseline_bound)):
        for j in (0, 3, 7, 17):
            ratios = [error[k] / scale(error, k, (j, k)) for k in range(T) if k != j]
            want = scale(error, j, (j,)) * float(conformal_quantile(np.array(ratios), 0.25))
            np.testing.assert_allclose(bounds[j], want, rtol=1e-4)
    np.testing.assert_array_equal(got.transferred, got.calibrated_bound < got.baseline_bound)
    with pytest.raises(ValueError, match="bandwidth"):
        local_uncertainty_rule(calibrated, baseline, difficulty, bandwidth=0.0)


@given(seed=st.integers(0, 10_000), target=st.integers(0, T - 1))
def test_local_bounds_ignore_the_targets_own_errors(seed, target):
    rng = np.random.default_rng(seed)
    calibrated, baseline, difficulty = rng.exponential(size=(3, T))
    before = local_rule(calibrated, baseline, difficulty)
    after = local_rule(calibrated + 3 * (np.arange(T) == target), baseline, difficulty)
    np.testing.assert_allclose(
        before.calibrated_bound[target], after.calibrated_bound[target], rtol=1e-4
    )
    others = np.arange(T) != target
    assert jnp.any(before.calibrated_bound[others] != after.calibrated_bound[others])


def holdout(seed: int = 0):
    """Half of the questions are linked to the others, and calibrated well; the rest is noise."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(T, 120))
    linked = np.arange(T) < T // 2
    noise = rng.normal(size=(2, T, 120))
    calibrated = np.where(linked[:, None], truth + 0.5 * noise[0], noise[0])
    twin = 0.5 * truth + noise[1]
    twin[-1] = calibrated[-1] = 3.0
    truth[0, :5] = np.nan
    predictions = {"Ridge": calibrated, "Baseline": twin}
    error = np.where(linked, 0.1, 0.8) + 0.05 * rng.random(T)
    error[-1] = 0.0
    return SimpleNamespace(
        predictions=predictions,
        training_mse={"Ridge": error},
        scores=lambda metric, name: np.asarray(score_targets(metric, predictions[name], truth)),
    )


def test_adaptive_transfer_on_a_hold_out():
    data = holdout()
    got = adaptive_transfer(data, "Ridge")
    assert got.constant.tolist() == [False] * (T - 1) + [True]
    np.testing.assert_allclose(got.always.mean, np.mean(data.scores("pearson", "Ridge")), atol=1e-5)
    ends = jnp.maximum(got.never.mean, got.always.mean)
    for choice in (got.threshold, got.uncertainty):
        assert choice.summary.mean > ends + 0.05
        # The hardest linked and the easiest unlinked question have each other for neighbours.
        wrong = jnp.sum(choice.transferred[:-1] != (jnp.arange(T - 1) < T // 2))
        assert wrong <= 1
    # Constant twins: transferred by the rule, for a score of 0 either way.
    assert got.threshold.transferred[-1] and got.threshold.scores[-1] == 0
    without = adaptive_transfer(data, "Ridge", on_constant="exclude")
    assert int(without.threshold.summary.count) == int(without.uncertainty.summary.count) == T - 1
    assert without.threshold.summary.mean > got.threshold.summary.mean
    never = adaptive_transfer(data, "Ridge", on_constant="baseline")
    assert not never.threshold.transferred[-1] and not never.uncertainty.transferred[-1]
    with pytest.raises(ValueError, match="Lasso"):
        adaptive_transfer(data, "Lasso")
    with pytest.raises(ValueError, match="alpha"):
        adaptive_transfer(data, "Ridge", alpha=1.0)
