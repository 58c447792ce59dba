"""Derivatives of every method with respect to the twins, against finite differences."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_panels import METHODS, as_new_question, small_panel

from syndigits_jax.calibration import (
    Fitting,
    Imputation,
    NeuralNet,
    Settings,
    SyntheticIntervention,
    calibrate_question,
)

X64 = bool(jax.config.read("jax_enable_x64"))
needs_float64 = pytest.mark.skipif(not X64, reason="finite differences need float64")
SETTINGS = Settings(
    imputation=Imputation(rank=2, tol=1e-12, max_steps=100_000),
    fitting=Fitting(regression_tol=1e-12, completion_tol=1e-12, als_tol=1e-12),
)


def slopes(method, *, missing=0.1, weight=None, step=1e-5):
    """(finite difference, forward, reverse) of a probe of the prediction, along one direction."""
    human, twin, _ = as_new_question(small_panel(3, missing=missing), 2)
    rng = np.random.default_rng(1)
    # Missing answers have no derivative.
    direction = jnp.asarray(np.where(np.isnan(twin), 0, rng.normal(size=twin.shape)))
    probe = jnp.asarray(rng.normal(size=human.shape[0]))
    human, twin = jnp.asarray(human), jnp.asarray(twin)

    @jax.jit
    def value(twin):
        result = calibrate_question(method, human, twin, sample_weight=weight, settings=SETTINGS)
        return probe @ result.prediction[:, 0]

    @jax.jit
    def derivatives(twin):
        _, along = jax.linearize(value, twin)
        (gradient,) = jax.linear_transpose(along, twin)(jnp.ones(()))
        return along(direction), jnp.vdot(gradient, direction)

    difference = (value(twin + step * direction) - value(twin - step * direction)) / (2 * step)
    return difference, *derivatives(twin)


@needs_float64
@pytest.mark.parametrize("name", METHODS)
def test_gradients_agree_with_finite_differences_or_are_zero_as_documented(name):
    # Synthetic control stops at a gap of 1e-6, which over a short step is more than the slope.
    step = 1e-3 if name == "SyntheticControl" else 1e-5
    difference, forward, reverse = slopes(METHODS[name], step=step)
    assert abs(difference) > 1e-3
    if name == "SyntheticPrior":
        assert forward == reverse == 0
        assert "Carries no gradient" in (METHODS[name].__doc__ or "")
        return
    np.testing.assert_allclose(forward, difference, rtol=1e-4)
    np.testing.assert_allclose(reverse, difference, rtol=1e-4)


@needs_float64
@pytest.mark.parametrize("rank", [1, 5, 9])
def test_singular_directions_turn_with_the_twins(rank):
    weight = jnp.asarray(np.random.default_rng(2).uniform(0, 2, 24)).at[3].set(0)
    method = SyntheticIntervention(rank, 2.0)
    difference, forward, reverse = slopes(method, missing=0.0, weight=weight)
    np.testing.assert_allclose([forward, reverse], [difference] * 2, rtol=1e-5)


@needs_float64
def test_a_subspace_without_a_gap_has_no_gradient_rather_than_a_wrong_one():
    human, twin, _ = as_new_question(small_panel(3, missing=0.0), 2)
    # All directions of the donors are equally strong: the leading two are anyone's choice.
    donors = np.random.default_rng(0).normal(size=(24, 9))
    donors = np.linalg.qr(np.c_[np.ones(24), donors])[0][:, 1:]

    def value(twin):
        method = SyntheticIntervention(2, 2.0)
        return calibrate_question(method, human, twin, settings=SETTINGS).prediction.sum()

    gradient = jax.grad(value)(jnp.asarray(np.c_[donors, twin[:, -1]]))
    assert np.isnan(gradient[:, :-1]).any()


@needs_float64
def test_a_network_is_differentiated_with_and_without_early_stopping():
    early = NeuralNet(hidden=(4,), epochs=60, learning_rate=0.3, patience=4)
    human, twin, _ = as_new_question(small_panel(3), 2)
    steps = int(calibrate_question(early, human, twin, settings=SETTINGS).steps[0])
    assert steps < 60
    for method in (early, dataclasses.replace(early, patience=None, epochs=20)):
        difference, forward, reverse = slopes(method, step=1e-6)
        np.testing.assert_allclose([forward, reverse], [difference] * 2, rtol=1e-4)
