"""Penalties by gradient: slopes against finite differences, descents against a fine grid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from new_surveys import new_survey, split
from small_panels import small_panel

from syndigits_jax.calibration import (
    ElasticNet,
    Fitting,
    NeuralNet,
    Ridge,
    Settings,
    SoftImpute,
    SyntheticControl,
)
from syndigits_jax.evaluation import choose_penalty, tune_penalty

X64 = bool(jax.config.read("jax_enable_x64"))


@pytest.mark.parametrize(
    "method, judge",
    [
        (Ridge(), "twins"),
        (Ridge(), "questions"),
        (ElasticNet(), "twins"),
        (SyntheticControl(), "twins"),
    ],
    ids=["Ridge", "Ridge, questions", "ElasticNet", "SyntheticControl"],
)
def test_slopes_agree_with_finite_differences(method, judge):
    human, twin = split(small_panel())
    settings = Settings(fitting=Fitting(regression_tol=1e-13 if X64 else 1e-7))

    @jax.jit
    @jax.value_and_grad
    def error(log_penalty):
        grid = jnp.exp(log_penalty)[None]
        choice = choose_penalty(method, human, twin, grid, judge=judge, settings=settings)
        return choice.error[0]

    at = jnp.asarray(-1.5 if isinstance(method, ElasticNet) else 1.5)
    h = 1e-4 if X64 else 0.01
    slope = (error(at + h)[0] - error(at - h)[0]) / (2 * h)
    assert abs(slope) > 5e-4
    np.testing.assert_allclose(error(at)[1], slope, rtol=1e-4 if X64 else 0.05)


@pytest.mark.parametrize(
    "method, field, low, high",
    [
        (Ridge(1.0), "penalty", 0.1, 1e4),
        (Ridge(2e3), "penalty", 0.1, 1e4),
        (ElasticNet(0.01, 0.5), "alpha", 1e-3, 1.0),
        (ElasticNet(1.0, 0.5), "alpha", 1e-3, 1.0),
    ],
    ids=["Ridge from below", "Ridge from above", "ElasticNet from below", "ElasticNet from above"],
)
def test_a_penalty_descends_to_its_grid_optimum(method, field, low, high):
    """From either side to the minimum of a fine grid, on a way that ends lower than it began."""
    human, twin, _ = new_survey()
    settings = Settings(fitting=Fitting(regression_tol=1e-9))
    candidates = np.geomspace(low, high, 401)
    grid = choose_penalty(method, human, twin, candidates, settings=settings)
    tuned = tune_penalty(method, human, twin, settings=settings)
    target = float(getattr(grid.best, field))
    assert low < target < high
    assert float(getattr(tuned.best, field)) == pytest.approx(target, rel=0.05)
    assert float(np.min(tuned.error)) < float(np.min(grid.error)) * (1 + 1e-4)
    way = tuned.penalties[field]
    assert way[0] == pytest.approx(float(getattr(method, field)), rel=1e-5)
    assert abs(np.log(way[-1] / target)) < 0.05 < abs(np.log(way[0] / target))
    assert tuned.converged.all() and len(way) == len(tuned.error) == 61


@pytest.mark.parametrize(
    "method, options, message",
    [
        (SoftImpute(2), {}, "not SoftImpute"),
        (NeuralNet(), {"field": "weight_decay"}, "not NeuralNet"),
        (Ridge(0.0), {}, "penalty: the descent starts at a positive value"),
        (Ridge(), {"field": "alpha"}, "no array called 'alpha'"),
        (Ridge(), {"steps": 0}, "`steps` must be at least 1"),
    ],
)
def test_bad_descents_are_named(method, options, message):
    human, twin = split(small_panel())
    with pytest.raises(ValueError, match=message):
        tune_penalty(method, human, twin, **options)
