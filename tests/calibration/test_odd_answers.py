"""What a few odd answers, weights of zero and mislabelled frames must not do."""

import jax
import numpy as np
import pytest
from small_panels import METHODS, as_new_question, as_new_user, small_panel

from syndigits_jax.calibration import (
    ElasticNet,
    HardImpute,
    Ridge,
    Settings,
    SyntheticPrior,
    calibrate_question,
    calibrate_user,
    choose_penalty,
    few_shot_curve,
    tune_penalty,
)
from syndigits_jax.calibration._inputs import _check_labels


@pytest.mark.parametrize("method", [Ridge(10.0), ElasticNet(0.05, 0.5)])
def test_one_odd_answer_of_a_new_users_twin_changes_little(method):
    """All other twins answer the first question nearly alike."""
    human, twin, _ = as_new_user(small_panel(1, missing=0.0), 5)
    twin[:, 0] = 5
    twin[3, 0] = 4.9
    odd = twin.copy()
    odd[-1, 0] = 1

    def moved(settings):
        runs = [calibrate_user(method, human, t, settings=settings) for t in (twin, odd)]
        return np.abs(runs[0].prediction - runs[1].prediction)[0, 1:].max()

    assert moved(Settings()) < 0.5 * moved(Settings(outlier_limit=float("inf")))


@pytest.mark.parametrize("method", [Ridge(10.0), ElasticNet(0.05, 0.5)])
def test_a_question_that_all_other_twins_answer_alike_takes_no_part(method):
    human, twin, _ = as_new_user(small_panel(1), 5)
    twin[:, 0] = 5
    odd = twin.copy()
    odd[-1, 0] = 1
    usual, other = (calibrate_user(method, human, t).prediction for t in (twin, odd))
    np.testing.assert_allclose(usual, other, atol=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_the_training_error_counts_users_by_their_weight(name):
    human, twin, _ = as_new_question(small_panel(2), 4)
    weight = np.r_[np.zeros(6), np.ones(len(human) - 6)]
    wild = twin.copy()
    wild[:6] *= -5
    calm = calibrate_question(METHODS[name], human, twin, sample_weight=weight)
    other = calibrate_question(METHODS[name], human, wild, sample_weight=weight)
    np.testing.assert_allclose(other.training_mse, calm.training_mse, rtol=0.05, atol=1e-3)


def test_a_target_that_only_weightless_twins_answered_is_refused():
    human, twin, _ = as_new_question(small_panel(3), 2)
    weight = np.r_[np.zeros(6), np.ones(len(human) - 6)]
    twin[6:, -1] = np.nan
    with pytest.raises(ValueError, match="users of positive weight for new question"):
        calibrate_question(Ridge(1.0), human, twin, sample_weight=weight)


def test_synthetic_prior_carries_no_gradient():
    human, twin, _ = as_new_question(small_panel(3), 2)

    def total(human):
        return calibrate_question(SyntheticPrior(2), human, twin).prediction.sum()

    gradient = jax.grad(total)(np.nan_to_num(human).astype(np.float32))
    assert np.isfinite(gradient).all()


def test_frames_with_other_labels_are_refused():
    pandas = pytest.importorskip("pandas")
    human, twin, _ = as_new_question(small_panel(4), 2)
    questions = [f"q{j}" for j in range(twin.shape[1])]
    frame = pandas.DataFrame(human, columns=questions[:-1])
    twins = pandas.DataFrame(twin, columns=questions)
    # The tests' type checker lets no frame through to `calibrate_question` itself.
    _check_labels(frame, twins, 0)
    with pytest.raises(ValueError, match="columns are labelled otherwise"):
        _check_labels(frame, twins[questions[::-1]], 0)
    with pytest.raises(ValueError, match="index are labelled otherwise"):
        _check_labels(frame.set_index(frame.index + 1), twins, 0)
    _check_labels(frame[:10], twins[questions[:-1]], 1)


def test_choosing_penalties_allows_what_calibrating_allows():
    human, twin, _ = as_new_question(small_panel(5), 2)
    twin[:, 1] = np.nan  # a known question that no twin answered
    assert np.isfinite(choose_penalty(Ridge(), human, twin, np.array([1.0, 10.0])).error).all()
    with pytest.raises(ValueError, match="l1_ratio is bounded"):
        tune_penalty(ElasticNet(), human, twin, field="l1_ratio")


def test_unsigned_counts_are_compared_as_numbers():
    counts = np.array([5, 2], np.uint8)
    with pytest.raises(ValueError, match="ks must increase"):
        few_shot_curve(HardImpute(2), small_panel(0), counts, jax.random.key(0))
