"""Some people's answers to a target correct its estimate; they are nowhere else."""

import numpy as np
from helpers.kinds_of_twins import twins_of_kind

from syndigits_jax.estimation import estimate_questions

PANEL = twins_of_kind("biased", 0)
TARGET = 5
TRUTH = PANEL.human[:, TARGET]


def estimated(known: int, change=0.0):
    """The target's estimate with the answers of its first `known` people, moved by `change`."""
    human = PANEL.human.copy()
    human[known:, TARGET] = np.nan
    human[:known, TARGET] = np.clip(human[:known, TARGET] + change, 1, 7)
    return estimate_questions(PANEL.replace(human=human), [PANEL.questions[TARGET]])


def test_answers_narrow_the_interval_and_bring_the_mean_nearer():
    without, few, many = (estimated(known) for known in (0, 10, 110))
    assert [one.known_answers.item() for one in (without, few, many)] == [0, 10, 110]
    widths = [float(one.mean_interval.half_width[0]) for one in (without, few, many)]
    # Few answers that are far off may widen it: the level is then worse than thought.
    assert min(widths[:2]) > widths[2] > 0
    assert abs(many.mean[0] - TRUTH.mean()) < abs(without.mean[0] - TRUTH.mean()) + 1e-9
    assert abs(many.mean[0] - TRUTH.mean()) < 0.15


def test_people_who_answered_help_to_predict_the_others():
    rest = slice(90, None)
    correlations = [
        np.corrcoef(estimated(known).prediction[rest, 0], TRUTH[rest])[0, 1] for known in (0, 90)
    ]
    assert correlations[1] > correlations[0] - 0.02


def test_other_answers_give_another_estimate_and_the_same_weights():
    plain, moved = estimated(60), estimated(60, change=1.0)
    assert moved.mean[0] > plain.mean[0] + 0.2
    assert plain.weights == moved.weights and plain.expected == moved.expected


def test_the_mean_of_people_who_all_answered_is_their_mean():
    """However far it is from what was predicted."""
    answers = np.clip(PANEL.twin[:, TARGET] - 3, 1, 7)
    human = PANEL.human.copy()
    human[:, TARGET] = answers
    found = estimate_questions(PANEL.replace(human=human), [PANEL.questions[TARGET]])
    assert found.mean[0] == answers.mean()
    assert float(found.mean_interval.half_width[0]) == 0


def test_answers_far_from_the_prediction_are_believed():
    human = PANEL.human.copy()
    human[:, TARGET] = 1 + (np.arange(PANEL.n) % 2)
    human[20:, TARGET] = np.nan
    found = estimate_questions(PANEL.replace(human=human), [PANEL.questions[TARGET]])
    lower, upper = (float(end[0]) for end in (found.mean_interval.lower, found.mean_interval.upper))
    assert lower < 1.5 < upper


def test_a_range_of_one_point_bounds_no_mean():
    twin = PANEL.twin.copy()
    twin[:, TARGET] = 9
    nothing = np.full(PANEL.m, np.nan)
    human = PANEL.human.copy()
    human[:, TARGET] = np.nan
    panel = PANEL.replace(human=human, twin=twin, low=nothing, high=nothing, step=nothing)
    found = estimate_questions(panel)
    assert found.mean_interval.lower[0] == -np.inf and found.mean_interval.upper[0] == np.inf
