"""New questions and new users by all ten methods: results, options, and use under `jit`."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from engine import (
    CALIBRATE,
    COMPILER,
    DIRECTIONS,
    NEW,
    SETTINGS,
    by_target,
    calibrate,
    compiled,
    data,
    known,
    new,
)
from small_panels import COMPLETIONS, METHODS, QUESTIONS, USERS

from syndigits_jax.calibration import Ridge, Settings, SoftImpute, calibrate_question
from syndigits_jax.solvers import Solution, Status, raise_on_failure

every_method = pytest.mark.parametrize("name", METHODS)
# Two steps of imputation are enough where nothing is missing, and too few elsewhere.
REFERENCE = Settings.reference().change(imputation={"max_steps": 2})
both_ways = pytest.mark.parametrize("direction", DIRECTIONS)


def directly(method, human, twin, **options):
    """Two new questions, without the tests' own `jit`."""
    human = known("question", human)
    return calibrate_question(method, human, twin, settings=SETTINGS, **options)


# --- what comes back -----------------------------------------------------------------------------


@both_ways
@every_method
def test_shapes_and_statuses(direction, name):
    result = calibrate(direction, name, *data())
    assert result.prediction.shape == (
        (USERS, NEW) if direction == "question" else (NEW, QUESTIONS)
    )
    for field in ("training_mse", "transferred", "status", "steps", "optimality"):
        assert getattr(result, field).shape == (NEW,)
    assert set(np.asarray(result.status).tolist()) <= {Status.CONVERGED, Status.FIXED_STEPS}
    assert result.prediction.dtype == result.training_mse.dtype == jnp.result_type(float)
    assert result.status.dtype == result.steps.dtype == jnp.int32
    assert np.all(np.isfinite(result.prediction))
    assert np.all(result.training_mse > 0) and np.all(result.training_mse < 3)
    assert np.all(result.steps >= 0) and not np.any(result.optimality < 0)
    if name == "NeuralNet":  # training has no certificate
        assert np.all(np.isnan(result.optimality))
    assert np.all(result.transferred)


@both_ways
def test_the_result_is_a_solution(direction):
    result = calibrate(direction, "HardImpute", *data())
    assert isinstance(result, Solution) and result.value is result.prediction
    assert np.all(result.change > 0) and np.all(np.isnan(result.optimality))
    assert raise_on_failure(result) is result
    failed = dataclasses.replace(result, status=result.status.at[1].set(int(Status.MAX_STEPS)))
    with pytest.raises(RuntimeError, match="HardImpute: 1 of 2 problems reached `max_steps`"):
        raise_on_failure(failed, name="HardImpute")


@both_ways
def test_an_unfinished_imputation_is_not_the_regressions_fault(direction):
    result = calibrate(direction, "Ridge", *data(), settings=REFERENCE)
    np.testing.assert_array_equal(result.imputation_status, Status.MAX_STEPS)
    np.testing.assert_array_equal(result.status, Status.CONVERGED)
    assert np.all(np.isfinite(result.prediction))
    none = calibrate(direction, "SoftImpute", *data(), settings=REFERENCE)
    np.testing.assert_array_equal(none.imputation_status, Status.CONVERGED)


@both_ways
@every_method
def test_targets_do_not_see_each_other(direction, name):
    """Bit for bit as one at a time, except for the completions of new users."""
    human, twin = data()

    def predict(targets):
        other = twin.copy()
        new(direction, other)[...] = targets.T if direction == "question" else targets
        return by_target(direction, calibrate(direction, name, human, other).prediction)

    a, b = by_target(direction, new(direction, twin))
    first = predict(np.stack([a, b]))
    swapped = predict(np.stack([b, a]))
    replaced = predict(np.stack([3 + np.random.default_rng(0).normal(size=len(a)), b]))
    if direction == "user" and name in COMPLETIONS:
        # One matrix with all new users: their order does not matter, their twins do.
        np.testing.assert_allclose(swapped, first[::-1], atol=1e-3)
        assert np.abs(replaced[1] - first[1]).max() > 0.01
    else:
        np.testing.assert_array_equal(swapped, first[::-1])
        np.testing.assert_array_equal(replaced[1], first[1])
    assert np.abs(replaced[0] - first[0]).max() > 0.1


# --- options -------------------------------------------------------------------------------------


@both_ways
@every_method
def test_beyond_the_threshold_the_twins_answer_stands(direction, name):
    human, twin = data(seed=1)
    new(direction, twin)[[0, -1], [0, -1]] = np.nan
    always = calibrate(direction, name, human, twin)
    error = np.asarray(always.training_mse)
    result = calibrate(direction, name, human, twin, threshold=error.mean())
    np.testing.assert_array_equal(result.transferred, error == error.min())
    np.testing.assert_array_equal(result.training_mse, error)
    reverted, kept = error.argmax(), error.argmin()
    calibrated = by_target(direction, always.prediction)
    predictions = by_target(direction, result.prediction)
    np.testing.assert_array_equal(predictions[kept], calibrated[kept])
    twins = by_target(direction, new(direction, twin))[reverted]
    missing = np.isnan(twins)
    assert missing.any()
    np.testing.assert_array_equal(predictions[reverted, missing], calibrated[reverted, missing])
    np.testing.assert_allclose(predictions[reverted, ~missing], twins[~missing], rtol=1e-6)


def test_a_threshold_for_each_target():
    human, twin = data()

    def transferred(threshold):
        return directly(Counting(2.0), human, twin, threshold=threshold).transferred

    np.testing.assert_array_equal(transferred(np.array([np.inf, -1.0])), [True, False])
    np.testing.assert_array_equal(transferred(-1.0), [False, False])
    np.testing.assert_array_equal(transferred(None), [True, True])


@both_ways
@every_method
def test_known_answers_move_the_prediction_their_way(direction, name):
    human, twin = data()
    zero_shot = np.asarray(calibrate(direction, name, human, twin).prediction)
    observed = np.full(zero_shot.shape, np.nan)
    by_target(direction, observed)[0, ::2] = by_target(direction, zero_shot)[0, ::2] + 2
    moved = np.asarray(calibrate(direction, name, human, twin, observed=observed).prediction)
    change = by_target(direction, moved - zero_shot)
    assert change[0, 1::2].mean() > 0.5
    np.testing.assert_array_equal(change[1], 0)  # nothing is known of the other target


def test_default_settings_ignore_the_unit_and_the_published_ones_do_not():
    """The published floor on standard deviations switches scaling off for small answers."""
    human, twin = data(missing=0.0)
    for settings, same in ((SETTINGS, True), (REFERENCE, False)):
        natural = calibrate("question", "Ridge", human, twin, settings=settings).prediction
        small = calibrate("question", "Ridge", 0.1 * human, 0.1 * twin, settings=settings)
        assert np.allclose(10 * small.prediction, natural, atol=1e-3) == same


def test_new_users_have_the_level_of_humans_and_in_the_paper_of_twins():
    human, twin = data(missing=0.0)
    for settings, shift in ((SETTINGS, 5.0), (REFERENCE, 0.0)):
        before = calibrate("user", "Ridge", human, twin, settings=settings).prediction
        after = calibrate("user", "Ridge", human + 5, twin, settings=settings).prediction
        np.testing.assert_allclose(after - before, shift, atol=1e-3)


# --- as a program --------------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("name", [k for k, m in METHODS.items() if jax.tree.leaves(m)])
def test_one_program_serves_all_penalties(direction, name):
    human, twin = data()
    before = calibrate(direction, name, human, twin).prediction
    size = compiled._cache_size()
    stronger = jax.tree.map(lambda leaf: 1.5 * leaf, METHODS[name])
    after = calibrate(direction, stronger, human, twin).prediction
    assert compiled._cache_size() == size
    assert np.any(after != before)


TRACES = []


class Counting(Ridge):
    """A method of a user's own that counts how often it is traced."""

    def fit(self, problem, settings):
        TRACES.append(1)
        return super().fit(problem, settings)


def test_outside_jit_too_one_trace_serves_all_penalties():
    human, twin = data()
    before = len(TRACES)
    for penalty in (1, 2.0, jnp.asarray(3.0, float)):
        result = directly(Counting(penalty), human, twin)
        expected = calibrate("question", Ridge(penalty), human, twin)
        np.testing.assert_allclose(result.prediction, expected.prediction, atol=1e-4)
    assert len(TRACES) <= before + 1


@pytest.mark.parametrize(
    ("direction", "make"), [("user", Ridge), ("question", lambda p: SoftImpute(3, p))]
)
def test_a_batch_of_penalties_and_panels_is_a_loop(direction, make):
    penalties = jnp.asarray([0.1, 1.0, 10.0], float)
    panels = [data(seed) for seed in range(3)]
    humans = jnp.stack([jnp.asarray(known(direction, human), float) for human, _ in panels])
    twins = jnp.stack([jnp.asarray(twin, float) for _, twin in panels])

    def one(penalty, human, twin):
        return CALIBRATE[direction](make(penalty), human, twin, settings=SETTINGS)

    batch = jax.jit(jax.vmap(one), compiler_options=COMPILER)(penalties, humans, twins)
    for i, panel in enumerate(panels):
        alone = calibrate(direction, make(penalties[i]), *panel)
        np.testing.assert_allclose(batch.prediction[i], alone.prediction, atol=1e-4)
        np.testing.assert_array_equal(batch.status[i], alone.status)


def test_arrays_that_a_program_closes_over():
    """Only the penalty is traced: the checks of the data meet values inside `jit`."""
    human, twin = (jnp.asarray(x, float) for x in data())

    weight = jnp.ones(USERS, human.dtype)

    def predict(penalty):
        return directly(Ridge(penalty), human, twin, sample_weight=weight)

    assert jax.eval_shape(predict, 2.0).prediction.shape == (USERS, NEW)
