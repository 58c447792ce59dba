"""Versions of one question as one outcome, on small panels and on the public data."""

import numpy as np
import pytest

from syndigits_jax import Panel
from syndigits_jax.datasets import TWIN_2K_500_EXPERIMENTS, load_twin_2k_500, merge_versions

NAN = np.nan
HUMAN = np.array([[1, NAN, 3], [NAN, 2, 4], [5, NAN, 5], [NAN, NAN, 1.0]])
TWIN = np.array([[2, NAN, 3], [NAN, 1, 4], [4, NAN, 5], [NAN, 3, 2.0]])
PAIR = {"programme": {"gain": "q0", "loss": "q1"}}


def panel(human=HUMAN, twin=TWIN, **scale):
    questions = [f"q{j}" for j in range(human.shape[1])]
    return Panel.from_arrays(human, twin, questions=questions, **({"scale": (1, 5, 1)} | scale))


def test_versions_become_one_question_and_an_arm():
    given = panel().with_blocks(["a", "a", "b"])
    found = merge_versions(given, PAIR)
    assert found.panel.questions == ("q2", "programme")
    assert found.arms == {"programme": ("gain", "loss", "gain", "loss")}  # the last one's twin's
    np.testing.assert_array_equal(found.panel.human[:, 1], [1, 2, 5, NAN])
    np.testing.assert_array_equal(found.panel.twin[:, 1], [2, 1, 4, 3])
    np.testing.assert_array_equal(found.panel.human[:, 0], HUMAN[:, 2])
    assert found.panel.blocks == ("b", "a") and found.panel.scale == (1, 5)


def test_people_who_answered_no_version_have_no_arm():
    twin = TWIN.copy()
    twin[3, :2] = NAN
    assert merge_versions(panel(twin=twin), PAIR).arms["programme"][3] == ""


def test_versions_without_options_have_the_widest_range():
    scale = {"q0": (0.0, 5.0), "q1": (1.0, 9.0), "q2": (0.0, 9.0)}
    found = merge_versions(panel(scale=scale), PAIR).panel
    assert (found.low[1], found.high[1]) == (0, 9)


SEVERAL = np.where(np.isnan(HUMAN), 1.0, HUMAN)
OTHER = TWIN[:, [1, 0, 2]]


@pytest.mark.parametrize(
    ("given", "outcomes", "message"),
    [
        (panel(), {"p": {"a": "q0", "b": "q9"}}, "no question 'q9'"),
        (panel(), {"p": {"a": "q0"}}, "at least two versions"),
        (panel(), {"p": {"a": "q0", "b": "q0"}}, "version of several"),
        (panel(), {"q2": {"a": "q0", "b": "q1"}}, "a question 'q2' already"),
        (panel(SEVERAL, SEVERAL), PAIR, "4 people answered several versions"),
        (panel(twin=OTHER), PAIR, "3 twins answered another version"),
        (panel(scale={"q0": (1, 5, 1), "q1": (1, 6, 1), "q2": (1, 5, 1)}), PAIR, "their options"),
    ],
)
def test_bad_input_is_refused(given, outcomes, message):
    with pytest.raises(ValueError, match=message):
        merge_versions(given, outcomes)


def test_everybody_saw_one_version_of_each_experiment_of_twin_2k_500(data_dir):
    given = load_twin_2k_500(data_dir)
    found = merge_versions(given, TWIN_2K_500_EXPERIMENTS)
    columns = sum(len(one) for one in TWIN_2K_500_EXPERIMENTS.values())
    assert found.panel.m == given.m - columns + len(TWIN_2K_500_EXPERIMENTS)
    for name, versions in TWIN_2K_500_EXPERIMENTS.items():
        arms = np.array(found.arms[name])
        merged = found.panel.human[:, found.panel.questions.index(name)]
        for arm, column in versions.items():
            answers = given.human[:, given.questions.index(column)]
            np.testing.assert_array_equal(merged[arms == arm], answers[arms == arm])
            # Random halves or thirds of 2,058 people.
            share = np.mean(arms == arm)
            assert abs(share - 1 / len(versions)) < 0.04
