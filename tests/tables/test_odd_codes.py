"""Codes for missing answers that nobody declared are said, and ordinary answers are not."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syndigits_jax.tables.cells import TableWarning
from syndigits_jax.tables.odd_answers import odd_answers, warn_of_odd_answers

LIKERT = [1, 2, 3, 3, 4, 4, 5, 5]
AGES = [18, 22, 25, 31, 40, 47, 52, 63, 70, 88]


def found(values):
    return [one.values for one in odd_answers(np.array(values, float)[:, None], ["q"])]


@pytest.mark.parametrize(
    "values, odd",
    [
        ([*LIKERT, 999], [(999,)]),
        ([*LIKERT, 99], [(99,)]),
        ([*LIKERT, 98, 99, 99], [(98, 99)]),
        ([*LIKERT, -99], [(-99,)]),
        ([*LIKERT, -1], [(-1,)]),
        ([*LIKERT, -2, -1], [(-2, -1)]),
        ([*LIKERT, -99, 999], [(999,), (-99,)]),
        ([*LIKERT, -999, 99], [(-999,), (99,)]),
        ([0, 1, 1, 0, 1, 99], [(99,)]),
        ([3, 3, 3, 3, 88], [(88,)]),
        ([*AGES, 999], [(999,)]),
        ([*AGES, -9], [(-9,)]),
        # No customary code, but far from everything.
        ([*LIKERT, 555], [(555,)]),
    ],
)
def test_codes_are_found(values, odd):
    assert found(values) == odd


@pytest.mark.parametrize(
    "values",
    [
        LIKERT,
        [*LIKERT, 7],
        [*LIKERT, 9],  # a ten-point scale that few use to the end
        [*AGES, 99],
        [0, 1, 2, 3, -1],  # a scale that goes on below 0
        [-3, -2, -1, 0, 1, 2, 3],
        [-1, 1, 1, 1, -1, -1, 1],
        [3, 3, 3, 3],
        [3, 3, 3, 4],
        [0, 0, 0, 0, 0, 100, 100],  # a slider
        [1e4, 2e4, 3e4, 4e4, 5e4, 1.5e5],
        [1.0],
        [],
    ],
)
def test_ordinary_answers_are_left_alone(values):
    assert found(values) == []


@given(st.lists(st.integers(1, 7), min_size=8, max_size=40), st.sampled_from([99, 999, -99, -8888]))
def test_a_few_codes_among_whole_scales_are_always_found(answers, code):
    assert found([*answers, code]) == [(code,)]
    assert found(answers) == []


def test_one_warning_names_the_questions_and_the_way_out():
    answers = np.array(LIKERT, float)[:, None].repeat(3, axis=1)
    answers[0, :2] = 999
    with pytest.warns(TableWarning) as said:
        warn_of_odd_answers(answers, ["q1", "q2", "q3"], "human")
    (one,) = said
    for words in ("999", "`human`", "'q1', 'q2'", "2 times", "missing='999'", "(2 to 5 for 'q1')"):
        assert words in str(one.message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_odd_answers(answers[1:], ["q1", "q2", "q3"], "human")
