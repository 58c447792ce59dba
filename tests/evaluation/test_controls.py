"""The trivial predictors, by hand. That they ignore the target is held in `test_holdout`."""

import numpy as np
import pytest
from small_panels import METHODS, small_panel

from syndigits_jax.evaluation import leave_one_question_out
from syndigits_jax.evaluation.controls import controls


def by_hand(values, target):
    """Means of each person's other answers."""
    others = np.delete(values, target, axis=1)
    count = (~np.isnan(others)).sum(axis=1)
    return np.where(count > 0, np.nansum(others, axis=1) / np.maximum(count, 1), np.nan)


def panel_with_odd_answers():
    """Question 4 is answered alike by everyone, person 7 answered question 2 only."""
    panel = small_panel()
    human = panel.human.copy()
    human[~np.isnan(human[:, 4]), 4] = 0.1
    human[7] = np.nan
    human[7, 2] = 1.0
    return panel.replace(human=human)


def test_the_z_scored_user_mean():
    panel, targets = panel_with_odd_answers(), np.array([6, 2, 4])
    standing = np.full(panel.human.shape, np.nan)
    for k in range(panel.m):
        seen = panel.human_mask[:, k]
        answers = panel.human[seen, k]
        standing[seen, k] = 0 if k == 4 else (answers - answers.mean()) / answers.std()
    found = controls(panel, targets, "question")["ZScoredUserMean"]
    for row, j in zip(found, targets, strict=True):
        twin = panel.twin[:, j]
        expected = np.nanmean(twin) + np.nanstd(twin) * by_hand(standing, j)
        np.testing.assert_allclose(row, expected, rtol=1e-9)
    assert np.isnan(found[1, 7]) and np.isfinite(found[0, 7])


def test_units_of_other_questions_do_not_matter():
    panel, targets = panel_with_odd_answers(), np.array([3, 0])
    size, shift = np.linspace(0.1, 50, panel.m), np.linspace(-9, 9, panel.m)
    size[targets], shift[targets] = 1, 0
    changed = panel.replace(human=panel.human * size + shift)
    before, after = (controls(p, targets, "question") for p in (panel, changed))
    np.testing.assert_allclose(after["ZScoredUserMean"], before["ZScoredUserMean"], rtol=1e-9)
    assert np.nanmax(np.abs(after["UserMean"] - before["UserMean"])) > 1


@pytest.mark.parametrize("direction", ["question", "user"])
def test_means_do_not_depend_on_which_other_targets_are_asked_for(direction):
    panel = panel_with_odd_answers()
    everyone = np.arange(panel.m if direction == "question" else panel.n)
    whole = controls(panel, everyone, direction)
    human = panel.human if direction == "question" else panel.human.T
    name = "UserMean" if direction == "question" else "ItemMean"
    for target in everyone:
        np.testing.assert_allclose(whole[name][target], by_hand(human, target), rtol=1e-9)
    for some in (everyone[[7, 2, 9]], everyone[:1], everyone[-1:]):
        part = controls(panel, some, direction)
        assert part.keys() == whole.keys()
        for control, values in part.items():
            np.testing.assert_array_equal(values, whole[control][some], err_msg=control)


@pytest.mark.parametrize("name", ["Baseline", "UserMean", "ZScoredUserMean", "ItemMean"])
def test_a_method_cannot_have_the_name_of_a_control(name):
    with pytest.raises(ValueError, match=f"'{name}' is the name of a control"):
        leave_one_question_out({name: METHODS["Ridge"]}, small_panel())
