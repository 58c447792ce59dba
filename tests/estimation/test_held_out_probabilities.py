"""Probabilities of known questions: what they are made of, and that they saw no answer."""

import numpy as np
import pytest

from syndigits_jax import Panel
from syndigits_jax.datasets import simulate_panel
from syndigits_jax.estimation import (
    hold_out_probabilities,
    hold_out_quality,
    hold_out_questions,
)
from syndigits_jax.evaluation import log_score, marginal_of_others, nested_probability_calibration
from syndigits_jax.schema import Scale

N, M = 60, 12


@pytest.fixture(scope="module")
def panel() -> Panel:
    found, _ = simulate_panel(
        N, M, 2, key=0, noise=0.5, twin_noise=0.4, fidelity=0.9, scale=Scale(1, 5, 1)
    )
    scales = {name: Scale(1, 5, 1) for name in found.questions}
    scales[found.questions[3]] = Scale(1, 9, 1)
    scales[found.questions[4]] = Scale(1, 100, 1)  # not listed
    return found.with_scale(scales)


@pytest.fixture(scope="module")
def held(panel):
    return hold_out_probabilities(panel, without_folds=True)


def test_probabilities_have_the_estimates_means(panel, held):
    assert held.questions == tuple(q for j, q in enumerate(panel.questions) if j != 4)
    assert held.probabilities.shape == (M - 1, N, 9)
    np.testing.assert_array_equal(held.sizes, [9 if j == 3 else 5 for j in range(M - 1)])
    auto = hold_out_questions(panel)
    at = [panel.questions.index(name) for name in held.questions]
    np.testing.assert_array_equal(held.mean, auto.predictions["Auto"][at])
    for i, values in enumerate(held.options):
        p = held.probabilities[i]
        np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_array_equal(p[:, len(values) :], 0)
        np.testing.assert_allclose(p[:, : len(values)] @ values, held.mean[i], atol=0.02)
        np.testing.assert_array_equal(values[held.answers[i].astype(int)], panel.human[:, at[i]])


def test_both_hold_outs_come_from_the_same_fits(panel, held):
    both, found, _ = hold_out_quality(panel)
    auto = hold_out_questions(panel)
    assert found is not None and found.questions == held.questions
    for name, values in auto.predictions.items():
        np.testing.assert_array_equal(both.predictions[name], values)
    for name in ("probabilities", "answers", "fold", "mean", "sd"):
        np.testing.assert_array_equal(getattr(found, name), getattr(held, name))
    bare = panel.replace(step=np.full(panel.m, np.nan))
    assert hold_out_quality(bare)[1] is None


def test_they_tell_people_apart(held):
    at = held.sizes == 5
    p, y = held.probabilities[at][:, :, :5], held.answers[at]
    assert log_score(p, y).mean() < log_score(marginal_of_others(y, 5), y).mean()


def test_other_forecasts_take_the_same_layout(held):
    even = held.distributed(lambda _, values: np.full((N, len(values)), 1 / len(values)))
    np.testing.assert_allclose(even.sum(axis=2), 1)
    assert even.shape == held.probabilities.shape
    mean = held.mean.copy()
    mean[0, 3] = np.nan
    again = held.spread(mean, held.sd)
    assert np.isnan(again[0, 3]).all()
    np.testing.assert_allclose(again[1:], held.probabilities[1:], atol=1e-6)
    gap = held.distributed(
        lambda _, values: np.where(np.isnan(mean[0]), np.nan, 1 / len(values))[:, None]
    )
    assert np.isnan(gap[:, 3]).all() and not np.isnan(gap[:, 4]).any()


def test_no_answer_of_a_fold_reaches_its_calibrated_forecasts(panel, held):
    mine = held.fold == held.fold[0]
    at = [panel.questions.index(name) for name in np.array(held.questions)[mine]]
    human = panel.human.copy()
    human[:, at] = panel.low[at] + panel.high[at] - human[:, at]
    other = hold_out_probabilities(panel.replace(human=human), without_folds=True)
    group = list(np.unique(held.fold)).index(held.fold[0])
    np.testing.assert_array_equal(held.without[group], other.without[group])
    assert not np.array_equal(held.without[group - 1], other.without[group - 1])
    before, after = (
        nested_probability_calibration(
            "vector", each.probabilities, each.answers, each.fold, without=each.without
        ).value
        for each in (held, other)
    )
    np.testing.assert_array_equal(before[mine], after[mine])
    assert not np.array_equal(before[~mine], after[~mine])


def test_without_its_fold_a_question_is_forecast_as_held_out(held):
    for found, fold in zip(held.without, np.unique(held.fold), strict=True):
        own = held.fold == fold
        np.testing.assert_allclose(found[own], held.probabilities[own], atol=1e-6)
        assert not np.array_equal(found[~own], held.probabilities[~own])


def test_bad_input_is_refused(panel):
    with pytest.raises(ValueError, match="no known question has a known range and step"):
        hold_out_probabilities(Panel.from_arrays(panel.human, panel.twin))
    with pytest.raises(ValueError, match="at least two blocks"):
        hold_out_probabilities(panel, setting="new survey")
    half = panel.replace(human=np.where(np.arange(N)[:, None] == 2, 1.5, panel.human))
    with pytest.raises(ValueError, match=r"the answer 1\.5 is none of the options"):
        hold_out_probabilities(half)
