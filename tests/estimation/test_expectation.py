"""What to expect of an estimate: every number over the same known targets."""

import numpy as np
import pytest
from kinds_of_twins import twins_of_kind

from syndigits_jax.estimation import estimate_questions
from syndigits_jax.estimation.results import expectation

NAN = float("nan")


def expected(correlations, controls, errors=(NAN,) * 4, twin_errors=(NAN,) * 4, groups=range(4)):
    return expectation(
        np.array(correlations, float),
        np.array(errors, float),
        np.array(twin_errors, float),
        np.array(groups),
        {name: np.array(scores, float) for name, scores in controls.items()},
    )


def test_a_control_without_a_prediction_scores_0_like_a_constant_one():
    found = expected(
        [0.5, 0.3, 0.1, NAN],
        {"partial": [0.6, NAN, 0.3, 0.9], "constant": [0.6, 0.0, 0.3, NAN], "none": [NAN] * 4},
    )
    assert (found.count, found.groups) == (3, 3)
    assert found.correlation == pytest.approx(0.3)
    assert found.controls == pytest.approx({"partial": 0.3, "constant": 0.3, "none": 0.0})
    assert found.best_control in ("partial", "constant")


def test_errors_of_the_estimate_and_of_the_twins_are_over_the_same_targets():
    found = expected([0.1] * 4, {}, errors=[0.1, -0.3, 0.5, NAN], twin_errors=[0.2, NAN, -0.4, 0.6])
    assert found.error == pytest.approx(np.sqrt((0.1**2 + 0.5**2) / 2))
    assert found.twin_error == pytest.approx(np.sqrt((0.2**2 + 0.4**2) / 2))


def test_without_a_target_to_judge_nothing_is_known():
    found = expected([NAN] * 4, {"any": [0.2, NAN, 0.1, 0.4]})
    assert (found.count, found.groups) == (0, 0)
    assert np.isnan([found.correlation, found.correlation_error, found.error]).all()
    assert np.isnan(found.controls["any"])


def test_a_question_that_a_control_does_not_predict_counts_against_it_alone():
    panel = twins_of_kind("informative", 0)
    in_context = panel.human.copy()
    in_context[:, :6] = np.nan
    human = np.where(np.arange(panel.m) == panel.m - 1, np.nan, panel.human)
    panel = panel.replace(human=human, controls={"InContext": in_context})
    found = estimate_questions(panel).expected["known battery"]
    # It is the truth where it predicts: 17 correlations of 1 among 23 targets.
    assert found.count == 23
    assert found.controls["InContext"] == pytest.approx(17 / 23, abs=1e-5)
