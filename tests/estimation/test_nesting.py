"""Nothing that is chosen or fitted for a target has seen its human answers: bit for bit.

The human answers of what is left out together are replaced by noise, and its estimates must not
change at all, while those of other targets must: else nothing would have been tested.
"""

import functools

import numpy as np
import pytest
from kinds_of_twins import QUESTIONS, SCALE, USERS, twins_of_kind

from syndigits_jax.estimation import (
    AUTO,
    estimate_new_users_and_questions,
    estimate_questions,
    estimate_users,
    hold_out_questions,
    hold_out_users,
)
from syndigits_jax.estimation.components import COMPONENTS, components, donors, truth_moments
from syndigits_jax.estimation.grouping import block_folds, random_folds
from syndigits_jax.estimation.user_components import user_components, user_moments
from syndigits_jax.estimation.weights import FOLDS, learnt_weights

BLOCKS = [f"survey {j // 3}" for j in range(QUESTIONS)]
PROGRAMS = (components, donors, truth_moments, learnt_weights, user_components, user_moments)
PANEL = twins_of_kind("informative", 0, missing=0.1)


def compiled():
    return [program._cache_size() for program in PROGRAMS]


def with_noise(panel, cells):
    """Other answers where `cells` is true, from 1 to 7 at random; gaps stay."""
    rng = np.random.default_rng(9)
    other = SCALE.nearest(rng.uniform(1, 7, panel.human.shape))
    return panel.replace(human=np.where(cells & panel.human_mask, other, panel.human))


def cells(*, users=(), questions=()):
    chosen = np.zeros((USERS, QUESTIONS), bool)
    chosen[list(users), :] = True
    chosen[:, list(questions)] = True
    return chosen


@functools.cache
def of_questions(setting):
    return hold_out_questions(PANEL, setting=setting, blocks=BLOCKS)


def fold_of(setting):
    if setting == "new survey":
        return block_folds(BLOCKS, FOLDS)
    return random_folds(QUESTIONS, FOLDS, 0)


@pytest.mark.parametrize("setting", ["known battery", "new survey"])
def test_a_question_does_not_depend_on_the_human_answers_of_its_fold(setting):
    before, fold = of_questions(setting), fold_of(setting)
    size = compiled()
    for left_out in (1, 4):
        inside = fold == left_out
        after = hold_out_questions(
            with_noise(PANEL, cells(questions=np.flatnonzero(inside))),
            setting=setting,
            blocks=BLOCKS,
        )
        for name in (AUTO, *COMPONENTS):
            one, other = before.predictions[name], after.predictions[name]
            np.testing.assert_array_equal(one[inside], other[inside])
            same = np.all(one[~inside] == other[~inside], axis=1)
            # The twin's answer has the level of the other questions, which has changed.
            assert not same.any(), name
    assert compiled() == size


def test_a_user_does_not_depend_on_the_human_answers_of_its_fold():
    before, fold = hold_out_users(PANEL), random_folds(USERS, FOLDS, 0)
    size = compiled()
    inside = fold == 3
    after = hold_out_users(with_noise(PANEL, cells(users=np.flatnonzero(inside))))
    one, other = before.predictions[AUTO], after.predictions[AUTO]
    np.testing.assert_array_equal(one[inside], other[inside])
    assert not np.all(one[~inside] == other[~inside], axis=1).any()
    assert compiled() == size


def test_human_answers_to_a_question_choose_nothing_for_it():
    """They correct its prediction at the end, and enter nothing before that."""
    target, other = PANEL.questions[5], PANEL.questions[6]
    noisy = with_noise(PANEL, cells(questions=[5]))
    before = estimate_questions(PANEL, [target], blocks=BLOCKS)
    size = compiled()
    after = estimate_questions(noisy, [target], blocks=BLOCKS)
    for name in ("sd", "low", "high", "status", "imputation_status"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    assert before.weights == after.weights and before.expected == after.expected
    assert np.any(before.prediction != after.prediction)
    one, two = (estimate_questions(panel, [other], blocks=BLOCKS) for panel in (PANEL, noisy))
    assert np.all(one.prediction != two.prediction)
    assert np.all(np.asarray(one.mean_interval.upper) != np.asarray(two.mean_interval.upper))
    assert compiled() == size


def test_estimates_of_a_user_do_not_depend_on_human_answers_of_theirs():
    target, other = PANEL.users[7], PANEL.users[8]
    noisy = with_noise(PANEL, cells(users=[7]))
    before, after = (estimate_users(panel, [target]) for panel in (PANEL, noisy))
    np.testing.assert_array_equal(before.prediction, after.prediction)
    # As text, in which what is not known (NaN) equals itself.
    assert before.weights == after.weights and repr(before.expected) == repr(after.expected)
    one, two = (estimate_users(panel, [other], expect=False) for panel in (PANEL, noisy))
    assert np.mean(one.prediction != two.prediction) > 0.5


def test_estimates_of_a_new_user_and_question_depend_on_human_answers_of_neither():
    users, questions = PANEL.users[7:9], PANEL.questions[5:7]
    before = estimate_new_users_and_questions(PANEL, users, questions)
    for noisy in (
        with_noise(PANEL, cells(users=[7, 8], questions=[5, 6])),
        PANEL.with_missing(human=cells(users=[7, 8], questions=[5, 6])),
    ):
        after = estimate_new_users_and_questions(noisy, users, questions)
        np.testing.assert_array_equal(before, after)
    for changed in (cells(users=[20]), cells(questions=[10])):
        other = estimate_new_users_and_questions(with_noise(PANEL, changed), users, questions)
        assert np.all(before != other)
