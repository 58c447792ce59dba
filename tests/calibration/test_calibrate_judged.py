"""The engine against scikit-learn, SciPy, NumPy and its own hold-out evaluation."""

import numpy as np
import pytest
from engine import (
    DIRECTIONS,
    NEW,
    SETTINGS,
    by_target,
    calibrate,
    complete_donors,
    data,
    new,
    user_weights,
)
from judges import (
    by_completion,
    by_intervention,
    by_regression,
    fitters,
    learned,
    regression_problems,
)
from small_panels import METHODS, QUESTIONS, REGRESSIONS, USERS

from syndigits_jax.evaluation import leave_one_question_out, leave_one_user_out
from syndigits_jax.panel import Panel

both_ways = pytest.mark.parametrize("direction", DIRECTIONS)


def test_a_question_held_out_is_a_new_question():
    human, twin = data()
    weight = user_weights("question")
    methods = {name: METHODS[name] for name in ("Ridge", "HardImpute")}
    panel = Panel.from_arrays(human[:, :-1], twin[:, :-1])
    held_out = leave_one_question_out(
        methods, panel, targets=[QUESTIONS - NEW], settings=SETTINGS, sample_weight=weight
    )
    for name in methods:
        result = calibrate("question", name, human, twin, weight=weight)
        expected = held_out.predictions[name][0]
        np.testing.assert_allclose(result.prediction[:, 0], expected, atol=2e-4, err_msg=name)
        expected = held_out.training_mse[name][0]
        np.testing.assert_allclose(result.training_mse[0], expected, atol=1e-4, err_msg=name)


def test_a_user_held_out_is_a_new_user():
    """Regressions: each held out by itself. Completions: the two new users as one block."""
    human, twin = data()
    weight = user_weights("user")
    held_out = leave_one_user_out(
        METHODS["Ridge"],
        Panel.from_arrays(human[:-1], twin[:-1]),
        targets=[USERS - NEW],
        settings=SETTINGS.change(new_users={"blocks": 0}),
        sample_weight=np.append(weight, 1.0),
    )
    result = calibrate("user", "Ridge", human, twin, weight=weight)
    expected = held_out.predictions["Ridge"][0]
    np.testing.assert_allclose(result.prediction[0], expected, atol=2e-4)

    block = [USERS // NEW - 1, USERS - 1]
    order = np.insert(np.arange(USERS - NEW), block[0], USERS - NEW)
    order = np.append(order, USERS - 1)
    held_out = leave_one_user_out(
        METHODS["SoftImpute"],
        Panel.from_arrays(human[order], twin[order]),
        targets=block,
        settings=SETTINGS.change(new_users={"blocks": USERS // NEW}),
    )
    result = calibrate("user", "SoftImpute", human, twin)
    expected = held_out.predictions["SoftImpute"]
    np.testing.assert_allclose(result.prediction, expected, atol=2e-4)


# --- independent judges --------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize(
    "name", ["Ridge", "Lasso", "ElasticNet", "SyntheticControl", "SyntheticIntervention"]
)
def test_regressions_agree_with_scikit_learn_and_scipy(direction, name):
    human, twin = complete_donors(direction, seed=1)
    weight = user_weights(direction)
    result = calibrate(direction, name, human, twin, weight=weight)
    predictions = by_target(direction, result.prediction)
    for k, problem in enumerate(regression_problems(direction, human, twin, weight)):
        if name == "SyntheticIntervention":
            fit = by_intervention(METHODS[name], problem, weight if direction == "question" else 1)
        else:
            fit = fitters(METHODS)[name]
        expected, error = by_regression(problem, fit)
        np.testing.assert_allclose(predictions[k], expected, atol=5e-3)
        np.testing.assert_allclose(result.training_mse[k], error, atol=1e-3)


@both_ways
def test_completions_agree_with_numpy(direction):
    human, twin = data(seed=2)
    for name, (expected, error) in by_completion(direction, human, twin, METHODS).items():
        result = calibrate(direction, name, human, twin)
        predictions = by_target(direction, result.prediction)
        np.testing.assert_allclose(predictions, expected, atol=5e-3, err_msg=name)
        np.testing.assert_allclose(result.training_mse, error, atol=2e-3, err_msg=name)


@both_ways
@pytest.mark.parametrize("name", REGRESSIONS)
def test_training_error_is_that_of_predicting_the_twins(direction, name):
    """With the twins for humans, predictions are the fit to the twins."""
    _, twin = complete_donors(direction, seed=3)
    weight = user_weights(direction)
    result = calibrate(direction, name, twin, twin, weight=weight)
    predictions = by_target(direction, result.prediction)
    for k, problem in enumerate(regression_problems(direction, twin, twin, weight)):
        error = (by_target(direction, new(direction, twin))[k] - predictions[k]) / problem.scale
        seen = ~np.isnan(error)
        expected = np.average(error[seen] ** 2, weights=problem.weight[seen])
        np.testing.assert_allclose(result.training_mse[k], expected, rtol=1e-3)


@both_ways
def test_known_answers_are_used_as_documented(direction):
    human, twin = complete_donors(direction, seed=4)
    weight = user_weights(direction)
    observed = new(direction, human).copy()
    observed[np.random.default_rng(0).random(observed.shape) < 0.5] = np.nan
    zero_shot = by_target(
        direction, calibrate(direction, "Ridge", human, twin, weight=weight).prediction
    )
    result = calibrate(direction, "Ridge", human, twin, weight=weight, observed=observed)
    predictions = by_target(direction, result.prediction)
    answers = by_target(direction, observed)
    for k, problem in enumerate(regression_problems(direction, human, twin, weight)):
        expected = learned(problem, zero_shot[k], answers[k], SETTINGS)
        np.testing.assert_allclose(predictions[k], expected, atol=1e-3)
