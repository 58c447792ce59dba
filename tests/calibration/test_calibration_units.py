"""Answers in other units or with another origin: predictions change with them, the rest stays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from engine import DIRECTIONS, calibrate, data, known
from small_panels import METHODS, small_panel

from syndigits_jax.calibration import Imputation, Preparation, Ridge, Settings
from syndigits_jax.estimation import question_intervals
from syndigits_jax.estimation.draws import draw_answers, evaluate_draws
from syndigits_jax.evaluation import choose_penalty, leave_one_question_out
from syndigits_jax.evaluation.adaptive import local_uncertainty_rule, uncertainty_rule
from syndigits_jax.evaluation.metrics import (
    METRICS,
    accuracy,
    crps_from_draws,
    interval_coverage,
    interval_score,
)

SETTINGS = Settings(imputation=Imputation(rank=2))
UNITS = [1e-9, 1e-5, 1e-2, 1e3, 1e6, 1e9]
few_units = pytest.mark.parametrize("unit", [1e-9, 1e-3, 1e9])
ORIGINS = [-7.0, 300.0]
# Iterations that stop on a tolerance, and training, magnify the rounding of the data.
CLOSE = {"NeuralNet": 2e-2} | dict.fromkeys(list(METHODS)[6:], 5e-3)


def same(name, result, usual, unit, origin=0.0):
    tolerance = CLOSE.get(name, 1e-3)
    expected = origin + unit * np.asarray(usual.prediction, float)
    spread = unit * float(np.std(usual.prediction))
    np.testing.assert_allclose(result.prediction, expected, rtol=0, atol=tolerance * spread)
    np.testing.assert_allclose(result.training_mse, usual.training_mse, rtol=10 * tolerance)
    np.testing.assert_array_equal(result.status, usual.status)
    np.testing.assert_array_equal(result.twins_alike, usual.twins_alike)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", METHODS)
def test_calibration_follows_the_unit_and_the_origin(name, direction):
    human, twin = data(missing=0.0)
    usual = calibrate(direction, name, human, twin)
    for unit in UNITS:
        same(name, calibrate(direction, name, unit * human, unit * twin), usual, unit)
    for origin in ORIGINS:
        result = calibrate(direction, name, human + origin, twin + origin)
        same(name, result, usual, 1.0, origin)


@pytest.mark.parametrize("name", ["Ridge", "SoftImpute"])
def test_a_floor_has_the_unit_of_the_answers(name):
    """Spreads here are from 0.5 to 2: some donors are below the floor, some above."""
    human, twin = data(missing=0.0)
    usual = calibrate(
        "question", name, human, twin, settings=Settings(preparation=Preparation(min_std=1.0))
    )
    free = calibrate("question", name, human, twin)
    assert np.abs(np.asarray(usual.prediction) - np.asarray(free.prediction)).max() > 1e-3
    settings = Settings(preparation=Preparation(min_std=1e-4))
    result = calibrate("question", name, 1e-4 * human, 1e-4 * twin, settings=settings)
    same(name, result, usual, 1e-4)


@few_units
def test_penalties_are_chosen_whatever_the_unit(unit):
    human, twin = data(missing=0.0)
    human = known("question", human)
    for judge in ("twins", "questions"):
        usual = choose_penalty(Ridge(), human, twin, [0.1, 10.0], judge=judge, settings=SETTINGS)
        other = choose_penalty(
            Ridge(), unit * human, unit * twin, [0.1, 10.0], judge=judge, settings=SETTINGS
        )
        np.testing.assert_allclose(other.error, usual.error, rtol=1e-3)
        np.testing.assert_allclose(other.se, usual.se, rtol=1e-2)


@few_units
def test_intervals_follow_the_unit(unit):
    human, twin = data(missing=0.0)
    human = known("question", human)
    options = {"alpha": 0.25, "settings": SETTINGS}
    _, usual = question_intervals(Ridge(5.0), human, twin, **options)
    _, other = question_intervals(Ridge(5.0), unit * human, unit * twin, **options)
    for ends in ("lower", "upper"):
        expected = unit * np.asarray(getattr(usual, ends), float)
        spread = np.std(expected)
        np.testing.assert_allclose(getattr(other, ends), expected, rtol=0, atol=2e-3 * spread)
    _, moved = question_intervals(Ridge(5.0), human + 100, twin + 100, **options)
    np.testing.assert_allclose(moved.upper, 100 + np.asarray(usual.upper), atol=1e-2)


@few_units
def test_draws_follow_the_unit(unit):
    panel = small_panel(missing=0.0)
    panels = [panel, panel.replace(human=unit * panel.human, twin=unit * panel.twin)]
    key, drawn, scored = jax.random.key(0), [], []
    for one in panels:
        holdout = leave_one_question_out(Ridge(5.0), one, settings=SETTINGS, workers=1)
        prediction = holdout.predictions["Ridge"][0]
        drawn.append(
            draw_answers(prediction, one.twin[:, 0], holdout, "Ridge", key=key, num_draws=50)
        )
        scored.append(evaluate_draws(holdout, "Ridge", key=key, num_draws=20))
    usual, other = (np.sort(np.asarray(draws, float).ravel()) for draws in drawn)
    # A person on the edge of a window may get another residual: the population stays.
    np.testing.assert_allclose(other, unit * usual, rtol=0, atol=0.2 * unit * np.std(usual))
    assert np.mean(np.abs(other - unit * usual)) < 1e-2 * unit * np.std(usual)
    for name in ("Draws", "Point", "Twins"):
        np.testing.assert_allclose(
            scored[1].crps[name], unit * scored[0].crps[name], rtol=2e-2, atol=0
        )
        np.testing.assert_allclose(scored[1].sd_ratio[name], scored[0].sd_ratio[name], rtol=2e-2)


# --- metrics and rules ---------------------------------------------------------------------------

DEGREES = {
    "pearson": 0, "spearman": 0, "mse": 2, "mae": 1, "r2": 0, "wasserstein": 1, "sd_ratio": 0,
}  # fmt: skip
RNG = np.random.default_rng(0)
TRUTH, PREDICTION, MASK = RNG.normal(size=20), RNG.normal(size=20), np.arange(20) % 4 > 0
UPPER = PREDICTION + 1


@jax.jit
def scores(unit, origin):
    prediction, truth, upper = (
        unit * (jnp.asarray(a, unit.dtype) + origin) for a in (PREDICTION, TRUTH, UPPER)
    )
    found = {}
    for name in DEGREES:
        # The one number in the answers' unit that the published rule for constants has.
        floor = {"min_sd": 0.0} if name in ("pearson", "spearman") else {}
        found[name] = METRICS[name](prediction, truth, MASK, **floor)
    ends = {"low": unit * (origin - 3), "high": unit * (origin + 3)}
    found["accuracy"] = accuracy(prediction, truth, MASK, **ends)
    found["coverage"] = interval_coverage(prediction, upper, truth, MASK)
    found["interval_score"] = interval_score(prediction, upper, truth, MASK, alpha=0.1)
    found["crps"] = crps_from_draws(jnp.stack([prediction, upper]), truth, MASK)
    return found


@pytest.mark.parametrize("unit", UNITS)
def test_metrics_have_their_degree(unit):
    degrees = DEGREES | {"accuracy": 0, "coverage": 0, "interval_score": 1, "crps": 1}
    usual = scores(jnp.asarray(1.0), jnp.asarray(0.0))
    scaled = scores(jnp.asarray(unit), jnp.asarray(0.0))
    moved = scores(jnp.asarray(1.0), jnp.asarray(100.0))
    for name, degree in degrees.items():
        assert float(scaled[name]) == pytest.approx(unit**degree * float(usual[name]), rel=1e-4)
        assert float(moved[name]) == pytest.approx(float(usual[name]), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("unit", UNITS)
def test_rules_on_errors_do_not_depend_on_their_unit(unit):
    calibrated, baseline, difficulty = RNG.exponential(size=(3, 15))
    usual = local_uncertainty_rule(calibrated, baseline, difficulty)
    other = local_uncertainty_rule(unit * calibrated, unit * baseline, difficulty)
    np.testing.assert_allclose(other.calibrated_bound, unit * usual.calibrated_bound, rtol=1e-4)
    np.testing.assert_array_equal(other.transferred, usual.transferred)
    plain = uncertainty_rule(calibrated, baseline, difficulty, difficulty + 1)
    scaled = uncertainty_rule(unit * calibrated, unit * baseline, difficulty, difficulty + 1)
    np.testing.assert_array_equal(scaled.transferred, plain.transferred)
