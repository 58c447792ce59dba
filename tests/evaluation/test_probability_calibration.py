"""Calibration of probabilities against SciPy's optimiser, known maps, and its own promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from scipy.special import expit, log_softmax, logit

from syndigits_jax.evaluation import (
    fit_probability_calibration,
    log_score,
    nested_probability_calibration,
)
from syndigits_jax.evaluation.probability_calibration import Scaling
from syndigits_jax.solvers import Status

T, N, K = 6, 40, 3
FLOOR, PENALTY = 1e-3, 1.0
KINDS = ["temperature", "vector", "ordinal"]


def drawn(seed: int, power: float = 2.0, people: int = N):
    """Answers from true probabilities, and forecasts that are too sure of themselves."""
    rng = np.random.default_rng(seed)
    true = rng.dirichlet(np.full(K, 1.0), (T, people))
    y = (rng.uniform(size=(T, people, 1)) > np.cumsum(true, axis=-1)).sum(axis=-1).clip(0, K - 1)
    sure = true**power
    return sure / sure.sum(axis=-1, keepdims=True), y.astype(float), true


def mapped(kind, free, p):
    """The calibrated probabilities, by SciPy's functions."""
    p = (1 - FLOOR) * p + FLOOR / K
    if kind == "temperature":
        return np.exp(log_softmax((1 + free[0]) * np.log(p), axis=-1))
    if kind == "vector":
        return np.exp(log_softmax((1 + free[:K]) * np.log(p) + free[K:], axis=-1))
    cumulative = np.cumsum(p, axis=-1)[..., :-1]
    cut = expit((1 + free[0]) * logit(cumulative) - free[1])
    ends = np.zeros((*cut.shape[:-1], 1))
    return np.diff(np.concatenate([ends, cut, ends + 1], axis=-1), axis=-1)


def free_numbers(scaling: Scaling):
    slope, shift = (np.atleast_1d(np.asarray(x, float)) for x in (scaling.slope, scaling.shift))
    return np.concatenate([slope - 1, [] if scaling.kind == "temperature" else shift])


@pytest.mark.parametrize("kind", KINDS)
def test_fits_are_scipys(kind):
    p, y, _ = drawn(0)
    weight = np.random.default_rng(1).uniform(0.5, 2, N)
    chosen = y.astype(int)

    def objective(free):
        with np.errstate(invalid="ignore", divide="ignore"):
            given = np.take_along_axis(mapped(kind, free, p), chosen[..., None], -1)[..., 0]
            loss = -np.average(np.log(given), weights=np.broadcast_to(weight, y.shape))
        return loss + PENALTY / (2 * y.size) * np.sum(free**2)

    size = {"temperature": 1, "vector": 2 * K, "ordinal": 2}[kind]
    method = "Nelder-Mead" if size < 3 else "BFGS"
    best = scipy.optimize.minimize(objective, np.zeros(size), method=method)
    found = fit_probability_calibration(kind, p, y, sample_weight=weight)
    assert Status(int(found.status)) == Status.CONVERGED
    free = free_numbers(found.value)
    assert objective(free) <= best.fun + 1e-6
    np.testing.assert_allclose(free, best.x, atol=5e-3)
    np.testing.assert_allclose(found.value(p), mapped(kind, free, p), atol=1e-5)


def test_forecasts_that_are_too_sure_get_their_temperature():
    p, y, true = drawn(2, power=2.0, people=2000)
    scaling = fit_probability_calibration("temperature", p, y).value
    np.testing.assert_allclose(scaling.slope, 0.5, atol=0.05)
    assert log_score(scaling(p), y).mean() < log_score(p, y).mean() - 0.02
    np.testing.assert_allclose(scaling(p), true, atol=0.04)


def test_a_shift_along_the_scale_is_found_and_undone():
    _, y, true = drawn(3, power=1.0, people=2000)
    lower = mapped("ordinal", np.array([0.0, -1.0]), true)  # answers too low by one logit
    scaling = fit_probability_calibration("ordinal", lower, y).value
    np.testing.assert_allclose([scaling.slope, scaling.shift], [1, 1], atol=0.08)
    tilted = true * np.array([3.0, 1.0, 1.0])
    tilted /= tilted.sum(axis=-1, keepdims=True)
    preferred = fit_probability_calibration("vector", tilted, y).value
    np.testing.assert_allclose(preferred.slope, 1, atol=0.1)
    np.testing.assert_allclose(preferred.shift[0] - preferred.shift[1:], -np.log(3), atol=0.15)


@pytest.mark.parametrize("kind", KINDS)
def test_masked_answers_and_the_unit_of_weights_do_not_matter(kind):
    p, y, _ = drawn(4)
    kept = np.arange(N) % 4 > 0
    unknown = np.where(kept, y, np.nan)
    weight = np.random.default_rng(5).uniform(0.5, 2, N)
    first = fit_probability_calibration(kind, p, unknown, sample_weight=weight).value
    noise = np.where(kept, y, 0.0)
    second = fit_probability_calibration(
        kind, p, noise, mask=np.broadcast_to(kept, y.shape), sample_weight=1000 * weight
    ).value
    np.testing.assert_allclose(first.slope, second.slope, rtol=2e-4)
    np.testing.assert_allclose(first.shift, second.shift, atol=2e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_group_is_calibrated_without_its_answers_bit_for_bit(kind):
    p, y, _ = drawn(6)
    groups = ["a", "a", "b", "b", "c", "c"]
    before = nested_probability_calibration(kind, p, y, groups)
    assert before.status.shape == (3,) and (before.status == 0).all()
    changed = y.copy()
    changed[2:4] = np.random.default_rng(7).integers(0, K, (2, N))
    after = nested_probability_calibration(kind, p, changed, groups)
    np.testing.assert_array_equal(before.value[2:4], after.value[2:4])
    assert not np.array_equal(before.value[:2], after.value[:2])
    alone = fit_probability_calibration(kind, p[2:], y[2:]).value(p[:2])
    np.testing.assert_allclose(before.value[:2], alone, atol=1e-4)


def test_forecasts_without_the_group_are_what_its_calibration_learns_from():
    p, y, true = drawn(8)
    groups = np.repeat([0, 1], T // 2)
    without = np.stack([true, p])  # of group 0: calibrated; of group 1: too sure
    found = nested_probability_calibration("temperature", p, y, groups, without=without).value
    first = fit_probability_calibration("temperature", true[3:], y[3:]).value(p[:3])
    np.testing.assert_allclose(found[:3], first, atol=1e-4)
    same = nested_probability_calibration("temperature", p, y, groups).value
    np.testing.assert_array_equal(found[3:], same[3:])


def test_missing_forecasts_stay_missing_and_everything_compiles():
    p, y, _ = drawn(9)
    p[0, :5] = np.nan

    @jax.jit
    def calibrated(p, y):
        return fit_probability_calibration("ordinal", p, y).value(p)

    got = calibrated(jnp.asarray(p), jnp.asarray(y))
    assert np.isnan(got[0, :5]).all() and not np.isnan(got[0, 5:]).any()
    np.testing.assert_allclose(np.sum(got[1:], axis=-1), 1, rtol=1e-5)


P, Y, _ = drawn(10)
ONE = np.broadcast_to([0.2, 0.3, 0.5], P.shape)


@pytest.mark.parametrize(
    ("kind", "p", "y", "options", "message"),
    [
        ("platt", P, Y, {}, "`kind` must be 'temperature', 'vector' or 'ordinal'"),
        ("vector", P, 0 * Y, {}, "`answers` are all option 0"),
        ("vector", ONE, Y, {}, "the same for everybody and every question"),
        ("vector", P, Y * np.nan, {}, "no answer with a forecast is left"),
        ("vector", P, Y, {"penalty": -1.0}, "`penalty` must not be negative"),
        ("vector", P, Y, {"floor": 2.0}, "`floor` must lie between 0 and 1"),
        ("vector", P, Y, {"max_steps": 0}, "`max_steps` must be at least 1"),
        ("vector", 2 * P, Y, {}, "does not sum to 1"),
    ],
)
def test_bad_input_is_refused(kind, p, y, options, message):
    with pytest.raises(ValueError, match=message):
        fit_probability_calibration(kind, p, y, **options)


def test_bad_groups_and_other_options_are_refused():
    with pytest.raises(ValueError, match="got 2 for shape"):
        nested_probability_calibration("vector", P, Y, ["a", "b"])
    with pytest.raises(ValueError, match="at least two are needed"):
        nested_probability_calibration("vector", P, Y, ["a"] * T)
    with pytest.raises(ValueError, match="`without` must have shape"):
        nested_probability_calibration("vector", P, Y, list("aabbcc"), without=P)
    scaling = fit_probability_calibration("vector", P, Y).value
    with pytest.raises(ValueError, match="have 2 options, the calibration 3"):
        scaling([0.5, 0.5])
