"""Simulated studies: the law that the docstrings promise, by large samples."""

import numpy as np
import pytest

from syndigits_jax.datasets import TWIN_KINDS, simulate_answers, simulate_questions
from syndigits_jax.datasets.known_twins import EVERY

PEOPLE, QUESTIONS = 8000, 24


@pytest.fixture(scope="module")
def drawn():
    out = {}
    for kind in TWIN_KINDS:
        questions = simulate_questions(kind, QUESTIONS, key=3)
        out[kind] = questions, simulate_answers(questions, PEOPLE, key=4)
    return out


def correlations(answers, people=slice(None)):
    pairs = zip(answers.human[people].T, answers.twin[people].T, strict=True)
    return np.array([np.corrcoef(x, y)[0, 1] for x, y in pairs])


def errors(answers, people=slice(None)):
    """Errors of the mean in standard errors."""
    gap = answers.twin[people] - answers.human[people]
    return gap.mean(axis=0) / (gap.std(axis=0) / np.sqrt(len(gap)))


def test_good_twins_have_the_law_of_people_and_know_them(drawn):
    _, answers = drawn["good"]
    assert np.abs(errors(answers)).max() < 4
    np.testing.assert_allclose(answers.twin.std(axis=0), answers.human.std(axis=0), rtol=0.05)
    human, twin = (np.corrcoef(values.T) for values in (answers.human, answers.twin))
    assert np.abs(human - twin).max() < 0.08
    assert correlations(answers).min() > 0.1


def test_collapsed_twins_vary_less(drawn):
    _, answers = drawn["collapsed"]
    assert (answers.twin.std(axis=0) < 0.7 * answers.human.std(axis=0)).all()


def test_half_of_the_questions_of_biased_twins_have_none(drawn):
    questions, answers = drawn["biased"]
    biased = questions.twin_mean != questions.mean
    assert biased.sum() == QUESTIONS // 2
    assert np.abs(errors(answers)[~biased]).max() < 4 < np.median(np.abs(errors(answers)[biased]))


def test_useless_twins_know_neither_people_nor_questions(drawn):
    questions, answers = drawn["useless"]
    assert np.abs(correlations(answers)).max() < 4 / np.sqrt(PEOPLE)
    assert abs(np.corrcoef(questions.mean, questions.twin_mean)[0, 1]) < 0.5
    assert not questions.twin_effect.any()


def test_group_biased_twins_are_good_for_the_first_group_only(drawn):
    _, answers = drawn["group-biased"]
    first, second = ~answers.second, answers.second
    assert np.abs(errors(answers, first)).max() < 4 < errors(answers, second).min()
    assert (correlations(answers, first) > correlations(answers, second) + 0.05).all()


def test_arms_have_effects_on_every_third_question_which_good_twins_share(drawn):
    questions, answers = drawn["good"]
    some = np.arange(QUESTIONS) % EVERY == 0
    np.testing.assert_array_equal(questions.effect != 0, some)
    for values in (answers.human, answers.twin):
        effect = values[answers.treated].mean(axis=0) - values[~answers.treated].mean(axis=0)
        assert (np.sign(effect[some]) == np.sign(questions.effect[some])).all()
        assert np.abs(effect[~some]).max() < 0.12 < np.abs(effect[some]).min()
    assert answers.treated.sum() == PEOPLE // 2
    assert set(answers.groups) == {"north", "south"} and set(answers.arms) == {"control", "treated"}


def test_the_same_key_gives_the_same_and_an_unknown_kind_is_refused():
    one, two = (simulate_answers(simulate_questions("good", 5, key=1), 9, key=2) for _ in range(2))
    np.testing.assert_array_equal(one.human, two.human)
    with pytest.raises(ValueError, match="`kind` must be one of"):
        simulate_questions("bad", 5, key=0)
