"""Conformal intervals: finite-sample ranks, and coverage over simulated questions."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syndigits_jax.inference import (
    conformal_quantile,
    hierarchical_jackknife_plus,
    hierarchical_quantile,
    jackknife_plus,
    jackknife_plus_half_width,
    leave_one_out_quantiles,
    question_scores,
    split_conformal,
    twin_scale,
)

quantile = jax.jit(conformal_quantile)


@given(
    alpha=st.sampled_from([(1, 20), (1, 10), (1, 5), (1, 4), (1, 2)]),
    missing=st.integers(0, 39),
    seed=st.integers(0, 1000),
)
def test_quantile_is_the_right_order_statistic(alpha, missing, seed):
    scores = np.random.default_rng(seed).exponential(size=40)
    scores[:missing] = np.nan
    kept = np.sort(scores[missing:])
    # Integer arithmetic as the judge: ⌈(t+1)(1-α)⌉ without rounding.
    over, under = alpha
    rank = -((-(len(kept) + 1) * (under - over)) // under)
    want = math.inf if rank > len(kept) else kept[rank - 1]
    np.testing.assert_allclose(quantile(scores, over / under), want, rtol=1e-6)


@pytest.mark.parametrize("count", [9, 19, 99, 199, 999])
def test_rank_is_not_pushed_up_by_rounding(count, dtype):
    """(t+1)(1-α) is a whole number here; one rank too many would be over-cautious."""
    scores = jnp.arange(1, count + 1, dtype=dtype)
    assert quantile(scores, 0.1) == (count + 1) * 9 // 10


def test_leave_one_out_quantiles_leave_one_out():
    scores = np.random.default_rng(0).exponential(size=24)
    scores[5] = np.nan
    want = [conformal_quantile(np.delete(scores, j), 0.2) for j in (0, 5, 23)]
    np.testing.assert_allclose(leave_one_out_quantiles(scores, 0.2)[jnp.array([0, 5, 23])], want)


def test_question_scores_by_hand():
    prediction = np.zeros((3, 5))
    truth = np.array([[1, -2, 3, -4, np.nan], [1, 1, 1, 1, 5], [np.nan] * 5])
    scale = np.array([2.0, 1.0, 1.0])
    want = {
        "rmse": [np.sqrt(7.5) / 2, np.sqrt(5.8), np.nan],
        "mae": [1.25, 1.8, np.nan],
        "max": [2.0, 5.0, np.nan],
        "quantile": [1.5, 1.0, np.nan],  # third of four, fourth of five
    }
    for kind, values in want.items():
        got = question_scores(prediction, truth, scale, kind=kind, beta=0.25)
        np.testing.assert_allclose(got, values, rtol=1e-6)
    with pytest.raises(ValueError, match="kind"):
        question_scores(prediction, truth, scale, kind="median")
    with pytest.raises(ValueError, match="beta"):
        question_scores(prediction, truth, scale, beta=10.0)


def test_twin_scale_floors_constant_columns(dtype):
    twin = np.array([[1, 2, 3, np.nan], [4, 4, 4, 4], [np.nan] * 4], dtype)
    want = [np.std([1, 2, 3]), 0.25, 0.25]
    np.testing.assert_allclose(twin_scale(twin, floor=0.25), want, rtol=1e-6)
    with pytest.raises(ValueError, match="floor"):
        twin_scale(twin, floor=0.0)


def test_hierarchical_quantile_weighs_questions_not_cells():
    """Nine questions: one with many large residuals has mass 1/10 as any other."""
    residuals = np.zeros((9, 50))
    residuals[:8, 0] = np.arange(1, 9)
    residuals[8] = 100 + np.arange(50)
    mask = np.zeros((9, 50), bool)
    mask[:8, 0] = True
    mask[8] = True
    args = jnp.asarray(residuals), jnp.asarray(mask)
    assert hierarchical_quantile(*args, 0.2) == 8
    assert hierarchical_quantile(*args, 0.15) == 124  # half of the last question's mass
    assert hierarchical_quantile(*args, 0.05) == jnp.inf
    with pytest.raises(ValueError, match="alpha"):
        hierarchical_quantile(*args, 1.5)


def test_hierarchical_equals_plain_with_one_cell_per_question():
    residuals = jnp.asarray(np.random.default_rng(1).exponential(size=(19, 1)))
    mask = jnp.ones((19, 1), bool)
    for alpha in (0.1, 0.25, 0.5):
        assert hierarchical_quantile(residuals, mask, alpha) == quantile(residuals[:, 0], alpha)
    without = jnp.asarray(np.random.default_rng(2).normal(size=(19, 4)))
    pooled = hierarchical_jackknife_plus(without, residuals, mask, 2.0, 0.1, batch_size=2)
    plain = jackknife_plus(without, residuals[:, 0], 2.0, 0.1)
    np.testing.assert_allclose(pooled.lower, plain.lower, rtol=1e-6)
    np.testing.assert_allclose(pooled.upper, plain.upper, rtol=1e-6)


def test_jackknife_plus_reduces_to_conformal_when_fits_agree():
    prediction = jnp.asarray([1.0, -2.0, 0.5, 3.0])
    scores = jnp.asarray(np.random.default_rng(3).exponential(size=19))
    without = jnp.broadcast_to(prediction, (19, 4))
    plus = jackknife_plus(without, scores, 1.5, 0.1)
    plain = split_conformal(prediction, scores, 1.5, 0.1)
    np.testing.assert_allclose(plus.lower, plain.lower, rtol=1e-5)
    np.testing.assert_allclose(plus.upper, plain.upper, rtol=1e-5)
    width = jackknife_plus_half_width(prediction, without, scores, 1.5, 0.1)
    np.testing.assert_allclose(plain.half_width, width, rtol=1e-5)


def test_coverage_over_exchangeable_questions():
    """Questions differ in difficulty and share a shift within: only they are exchangeable."""
    t, s, reps, alpha = 12, 12, 3000, 0.1

    def one(key):
        a, b, c = jax.random.split(key, 3)
        scale = jnp.exp(jax.random.normal(a, (t + 1,)))
        shift = 5 * jax.random.normal(b, (t + 1, 1))
        residual = scale[:, None] * (shift + jax.random.normal(c, (t + 1, s)))
        nothing = jnp.zeros((t + 1, s))
        covered = {}
        for kind in ("rmse", "quantile", "max"):
            scores = question_scores(nothing, residual, scale, kind=kind, beta=0.2)
            inside = split_conformal(nothing[t], scores[:t], scale[t], alpha)
            share = jnp.mean((jnp.abs(residual[t]) <= inside.half_width).astype(scale.dtype))
            covered[kind] = scores[t] <= conformal_quantile(scores[:t], alpha)
            if kind == "quantile":
                covered["quantile cells"] = share >= 0.8
            if kind == "max":
                covered["max cells"] = share == 1
        scores = question_scores(nothing, residual, scale)
        covered["hold-out"] = jnp.mean(
            (scores <= leave_one_out_quantiles(scores, alpha)).astype(scale.dtype)
        )
        free = jnp.abs(residual) / scale[:, None]
        pooled = hierarchical_quantile(free[:t], jnp.ones((t, s), bool), alpha)
        covered["random cell"] = jnp.mean((free[t] <= pooled).astype(scale.dtype))
        naive = conformal_quantile(free[:t].ravel(), alpha)
        covered["pooled cells"] = jnp.mean((free[t] <= naive).astype(scale.dtype))
        return covered

    covered = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), reps))
    rate = {name: float(jnp.mean(value)) for name, value in covered.items()}
    error = 3 * math.sqrt(alpha * (1 - alpha) / reps)
    # Scores have no ties, so the question-level events have probability ⌈13 · 0.9⌉/13 exactly.
    for name in ("rmse", "quantile", "max", "quantile cells", "max cells", "hold-out"):
        assert abs(rate[name] - 12 / 13) < error, (name, rate[name])
    assert 0.9 - error < rate["random cell"] < 12 / 13 + error
    # Treating 144 cells as independent covers too little: what this module is for.
    assert rate["pooled cells"] < 0.9 - error


def test_jackknife_plus_coverage_with_an_unstable_fit():
    """Least squares with almost as many features as questions, where plain jackknife fails."""
    t, p, s, reps, alpha = 20, 18, 4, 400, 0.1

    def fit(features, answers, weight):
        gram = (features * weight[:, None]).T @ features + 1e-3 * jnp.eye(p)
        return jnp.linalg.solve(gram, features.T @ (answers * weight[:, None]))

    def one(key):
        a, b, c, d = jax.random.split(key, 4)
        features = jax.random.normal(a, (t + 1, p))
        scale = jnp.exp(0.5 * jax.random.normal(d, (t + 1,)))
        noise = scale[:, None] * jax.random.normal(b, (t + 1, s))
        answers = features @ jax.random.normal(c, (p, s)) + noise
        known, new = features[:t], features[t]
        weights = 1 - jnp.eye(t)
        coefs = jax.vmap(lambda w: fit(known, answers[:t], w))(weights)
        held_out = jnp.einsum("jp,jps->js", known, coefs)
        without = jnp.einsum("p,jps->js", new, coefs)
        full = new @ fit(known, answers[:t], jnp.ones(t))
        cells = jnp.abs(answers[:t] - held_out) / scale[:t, None]
        inside = {}
        interval = hierarchical_jackknife_plus(
            without, cells, jnp.ones((t, s), bool), scale[t], alpha
        )
        inside["cell"] = jnp.mean(
            ((interval.lower <= answers[t]) & (answers[t] <= interval.upper)).astype(scale.dtype)
        )
        largest = question_scores(held_out, answers[:t], scale[:t], kind="max")
        interval = jackknife_plus(without, largest, scale[t], alpha)
        inside["all cells"] = jnp.all(
            (interval.lower <= answers[t]) & (answers[t] <= interval.upper)
        )
        scores = question_scores(held_out, answers[:t], scale[:t])
        error = jnp.sqrt(jnp.mean((answers[t] - full) ** 2))
        inside["rmse"] = error <= jackknife_plus_half_width(full, without, scores, scale[t], alpha)
        inside["any share"] = error <= conformal_quantile(scores, 0.9) * scale[t]
        return inside

    covered = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(2), reps))
    rate = {name: float(jnp.mean(value)) for name, value in covered.items()}
    error = 3 * math.sqrt(2 * alpha * (1 - 2 * alpha) / reps)
    for name in ("cell", "all cells", "rmse"):
        assert rate[name] >= 1 - 2 * alpha - error, (name, rate[name])
    assert rate["cell"] < 0.99  # and not by being infinite
    assert rate["any share"] < 0.5  # the event is not a certain one


def test_interval_is_infinite_with_too_few_questions():
    interval = split_conformal(jnp.zeros(2), jnp.ones(8), 1.0, 0.1)
    assert jnp.all(jnp.isinf(interval.lower)) and jnp.all(jnp.isinf(interval.upper))
    with pytest.raises(ValueError, match="alpha"):
        split_conformal(jnp.zeros(2), jnp.ones(8), 1.0, 10.0)
