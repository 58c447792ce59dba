"""Scales, questions, personas: what they derive and what they refuse."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syndigits_jax.schema import Option, Persona, Question, Scale, answer_ranges


def test_values_of_a_half_star_scale():
    scale = Scale(0.5, 5.0, 0.5)
    assert scale.values == (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0)
    assert scale.width == 4.5


@given(
    low=st.integers(-5, 5),
    count=st.integers(1, 12),
    step=st.sampled_from([0.1, 0.25, 0.5, 1.0, 3.0]),
    answers=st.lists(st.floats(-100, 100), min_size=1, max_size=8),
)
def test_nearest_is_the_closest_admissible_answer(low, count, step, answers):
    scale = Scale(float(low), low + count * step, step)
    found = scale.nearest(np.array(answers))
    values = np.array(scale.values)
    distances = np.abs(np.array(answers)[:, None] - values[None, :])
    np.testing.assert_allclose(np.abs(np.array(answers) - found), distances.min(axis=1), atol=1e-9)
    assert np.abs(found[:, None] - values[None, :]).min(axis=1).max() < 1e-9


def test_nearest_keeps_missing_and_clips_continuous():
    found = Scale(0.0, 1.0).nearest(np.array([[np.nan, 2.0, 0.3]]))
    np.testing.assert_array_equal(found, [[np.nan, 1.0, 0.3]])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((5.0, 1.0), "`low` must be below"),
        ((1.0, 1.0), "`low` must be below"),
        ((float("nan"), 1.0), "`low` must be finite"),
        ((0.0, float("inf")), "`high` must be finite"),
        ((1.0, 5.0, 0.0), "`step` must be positive"),
        ((1.0, 5.0, -1.0), "`step` must be positive"),
        ((1.0, 5.0, 0.7), "do not lead from"),
        ((1.0, 5.0, 8.0), "do not lead from"),
        ((1.0, 5.0, 1.0, "ratio"), "`kind` must be one of"),
    ],
)
def test_impossible_scales(arguments, match):
    with pytest.raises(ValueError, match=match):
        Scale(*arguments)


def test_a_continuous_scale_has_no_values():
    with pytest.raises(ValueError, match="continuous"):
        _ = Scale(0.0, 1.0).values


def test_question_derives_its_scale_from_options_without_the_refusal():
    options = [Option(float(i), f"answer {i}") for i in (1, 2, 3, 4)] + [Option(99.0, "Refused")]
    question = Question("Q1", "How safe?", tuple(options), refusal=99.0)
    assert question.scale == Scale(1.0, 4.0, 1.0)
    uneven = Question("Q2", options=(Option(1.0, "a"), Option(2.0, "b"), Option(5.0, "c")))
    assert uneven.scale == Scale(1.0, 5.0)
    assert Question("Q3").scale is None
    given = Question("Q4", options=tuple(options), scale=Scale(0.0, 100.0))
    assert given.scale == Scale(0.0, 100.0)


def test_bad_questions_and_personas():
    with pytest.raises(ValueError, match="`identifier` is empty"):
        Question("")
    with pytest.raises(ValueError, match="repeat a value"):
        Question("Q", options=(Option(1.0, "a"), Option(1.0, "b")))
    with pytest.raises(ValueError, match="'never' must be finite"):
        Option(float("nan"), "never")
    with pytest.raises(ValueError, match="`identifier` is empty"):
        Persona("")


def test_plain_data_pickles():
    persona = Persona("p1", "A person.", {"age": "30"})
    question = Question("Q", item={"title": "Heat"})
    assert pickle.loads(pickle.dumps((persona, question))) == (persona, question)


def test_answer_ranges():
    low, high, step = answer_ranges({"b": (1, 7, 1), "a": Scale(0.0, 1.0)}, ("a", "b", "c"))
    np.testing.assert_array_equal(low, [0.0, 1.0, np.nan])
    np.testing.assert_array_equal(high, [1.0, 7.0, np.nan])
    np.testing.assert_array_equal(step, [np.nan, 1.0, np.nan])
    with pytest.raises(ValueError, match=r"`scale`: not in the panel: 'z'"):
        answer_ranges({"z": (1, 5)}, ("a", "b"))
    with pytest.raises(ValueError, match=r"\(low, high\[, step\]\)"):
        answer_ranges((1.0,), ("a", "b"))
