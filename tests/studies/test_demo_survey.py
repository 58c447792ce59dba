"""The simulated survey of the example: its faults are those that it says, its files whole."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from syndigits_jax.datasets import read_questions, read_table
from syndigits_jax.studies.demo.survey import AGES, FRAMED, simulate_survey, write_survey

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "evaluate"


def correlation(survey, who):
    """Mean over questions of the correlation of people and twins."""
    human, twin = survey.human[who], survey.twin[who]
    return np.mean([human[name].corr(twin[name]) for name in human])


def test_twins_of_the_old_know_nothing_of_their_person():
    survey = simulate_survey(2000, key=1)
    for age in AGES:
        found = correlation(survey, survey.people["age"] == age)
        assert abs(found) < 0.05 if age == "65 and over" else found > 0.2, age


def test_arms_move_people_twice_as_far_as_twins():
    survey = simulate_survey(4000, key=2)
    month = survey.people["frame"] == "price of a month"
    for table, effect in ((survey.human, -0.5), (survey.twin, -0.25)):
        moved = table[month].mean() - table[~month].mean()
        framed = moved.index.isin(FRAMED)
        # Answers at the end of the scale cannot move, which takes a little of the effect.
        assert moved[framed].to_numpy() == pytest.approx(effect, abs=0.13)
        assert moved[~framed].to_numpy() == pytest.approx(0, abs=0.13)


def test_answers_are_on_the_scale_and_weights_positive():
    survey = simulate_survey(100)
    assert set(np.unique(survey.twin)) <= {1, 2, 3, 4, 5}
    assert survey.human.isna().to_numpy().any() and survey.human.notna().any(axis=1).all()
    assert (survey.people["weight"] > 0).all()
    blocks = [question.block for question in survey.questions]
    assert [blocks.count(name) for name in dict.fromkeys(blocks)] == [7] * 4


def test_files_are_read_back(tmp_path):
    survey = simulate_survey(40)
    paths = write_survey(survey, tmp_path)
    for name in ("human", "twin", "people"):
        found = read_table(paths[name], numeric=False)
        wanted = getattr(survey, name)
        pd.testing.assert_frame_equal(found, wanted, check_dtype=False, check_index_type=False,
                                      check_column_type=False)  # fmt: skip
    assert read_questions(paths["questions"]) == survey.questions


def test_the_example_is_of_this_survey(tmp_path):
    for name, path in write_survey(simulate_survey(), tmp_path).items():
        assert path.read_bytes() == (EXAMPLE / path.name).read_bytes(), name
