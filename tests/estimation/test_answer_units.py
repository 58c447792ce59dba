"""Answers in any unit and from any origin are estimated as the plain ones are."""

import functools

import numpy as np
import pytest
from kinds_of_twins import QUESTIONS, USERS, twins_of_kind

from syndigits_jax.estimation import (
    AUTO,
    estimate_new_users_and_questions,
    estimate_questions,
    estimate_users,
    hold_out_learned_control,
    hold_out_probabilities,
    hold_out_questions,
)
from syndigits_jax.estimation.units import answer_units
from syndigits_jax.panel import Panel

NEW = [QUESTIONS - 2, QUESTIONS - 1]
UNITS = [(1e12, 1.0), (0.0, 1e-8), (0.0, 1e8), (0.0, 1e-30)]
CLOSE = 2e-3


def panel(origin=0.0, unit=1.0, scale=None):
    """Nobody answered the last question, and half the people the one before; `scale`: declared."""
    plain = twins_of_kind("informative", 0, missing=0.1)
    hidden = np.zeros((USERS, QUESTIONS), bool)
    hidden[:, -1] = hidden[USERS // 2 :, -2] = True
    human = np.where(hidden, np.nan, plain.human)
    human, twin = origin + unit * human, origin + unit * plain.twin
    ends = None if scale is None else (origin + unit, origin + 7 * unit, unit)
    return Panel.from_arrays(human, twin, scale=ends)


def estimated(origin=0.0, unit=1.0, scale=None):
    given = panel(origin, unit, scale)
    return estimate_questions(given, [given.questions[j] for j in NEW], intervals=[0.8])


@functools.cache
def plain():
    return estimated()


@pytest.mark.parametrize("origin, unit", UNITS)
def test_estimates_follow_the_unit_and_the_origin(origin, unit):
    one, other = plain(), estimated(origin, unit)
    for name in ("prediction", "mean", "low", "high"):
        found = (getattr(other, name) - origin) / unit
        np.testing.assert_allclose(found, getattr(one, name), atol=CLOSE)
    for end in ("lower", "upper"):
        found = (getattr(other.mean_interval, end) - origin) / unit
        np.testing.assert_allclose(found, getattr(one.mean_interval, end), atol=CLOSE)
    np.testing.assert_allclose(other.sd / unit, one.sd, atol=CLOSE)
    np.testing.assert_allclose(other.step / unit, one.step)
    name = one.questions[-1]
    np.testing.assert_allclose(other.shares(name), one.shares(name), atol=CLOSE)
    for end in ("lower", "upper"):
        ends = [getattr(found.intervals(0.8), end) for found in (one, other)]
        np.testing.assert_allclose((ends[1] - origin) / unit, ends[0], atol=CLOSE)
    drawn = np.round((other.draws(2) - origin) / unit, 3) == np.round(one.draws(2), 3)
    assert drawn.mean() > 0.99  # a draw may fall on the other side of a boundary
    here, there = one.expected["known battery"], other.expected["known battery"]
    assert there.correlation == pytest.approx(here.correlation, abs=CLOSE)
    assert there.error == pytest.approx(here.error, abs=CLOSE)
    assert there.controls == pytest.approx(dict(here.controls), abs=CLOSE)


def test_new_users_follow_the_unit_and_the_origin():
    one, other, third = (estimate_users(panel(*by), ["user_3"]) for by in [(), *UNITS[:2]])
    np.testing.assert_allclose(other.prediction - 1e12, one.prediction, atol=CLOSE)
    np.testing.assert_allclose(third.prediction / 1e-8, one.prediction, atol=CLOSE)
    for moved in (other, third):
        found = moved.expected["new users"].correlation
        assert found == pytest.approx(one.expected["new users"].correlation, abs=CLOSE)
    names = ["user_3"], ["question_23"]
    both = [estimate_new_users_and_questions(panel(*by), *names) for by in [(), *UNITS[:2]]]
    np.testing.assert_allclose(both[1] - 1e12, both[0], atol=CLOSE)
    np.testing.assert_allclose(both[2] / 1e-8, both[0], atol=CLOSE)


def test_a_declared_range_follows_too():
    one, other = estimated(scale=True), estimated(1e12, 1.0, scale=True)
    np.testing.assert_array_equal(other.low - 1e12, one.low)
    np.testing.assert_allclose(other.prediction - 1e12, one.prediction, atol=CLOSE)


def test_ordinary_answers_stay_as_they_are():
    given = panel()
    assert answer_units(given).panel(given) is given
    held = hold_out_questions(panel(1e12))
    np.testing.assert_array_equal(held.truth, panel(1e12).human[:, :-1].T)
    usual = hold_out_questions(given).scores("pearson", AUTO)
    np.testing.assert_allclose(held.scores("pearson", AUTO), usual, atol=CLOSE)
    tiny = hold_out_questions(panel(0.0, 1e-8)).scores("pearson", AUTO)
    np.testing.assert_allclose(tiny, usual, atol=CLOSE)


def test_probabilities_and_learned_controls_of_known_questions_too():
    origin, unit = 0.0, 1e8
    one, other = panel(scale=True), panel(origin, unit, scale=True)
    found = [hold_out_probabilities(given) for given in (one, other)]
    np.testing.assert_allclose(found[1].probabilities, found[0].probabilities, atol=CLOSE)
    np.testing.assert_allclose((found[1].mean - origin) / unit, found[0].mean, atol=CLOSE)
    np.testing.assert_allclose((found[1].options[0] - origin) / unit, found[0].options[0])
    found = [
        hold_out_learned_control(given).predictions["LearnedControl"] for given in (one, other)
    ]
    np.testing.assert_allclose((found[1] - origin) / unit, found[0], atol=CLOSE)
