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
    assert widths[0] > widths[1] > widths[2] > 0
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
