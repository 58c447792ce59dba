"""Simulated surveys have the missing blocks, the factors and the twins that they claim."""

from typing import Any

import jax
import numpy as np
import pytest

from syndigits_jax.datasets import simulate_block_panel
from syndigits_jax.schema import Scale

SMALL: dict[str, Any] = {"n": 400, "m": 40, "surveys": 8}


def by_survey(blocks):
    names = list(dict.fromkeys(blocks))
    return np.array([names.index(block) for block in blocks])


def test_by_default_it_is_the_large_panel():
    panel, blocks, _ = simulate_block_panel(key=0)
    assert (panel.n, panel.m, len(set(blocks))) == (1784, 163, 19)
    assert np.mean(~panel.human_mask) == pytest.approx(0.55, abs=0.01)
    assert np.mean(~panel.twin_mask) == pytest.approx(0.55, abs=0.02)
    assert panel.scale == (1.0, 5.0) and panel.steps == 1.0


@pytest.mark.parametrize("missing, unlike", [(0.0, 0.0), (0.5, 0.03), (0.95, 0.1)])
def test_whole_blocks_are_missing_and_masks_are_nearly_alike(missing, unlike):
    panel, blocks, truth = simulate_block_panel(key=1, **SMALL, missing=missing, unlike=unlike)
    survey = by_survey(blocks)
    np.testing.assert_array_equal(panel.human_mask, truth.human_answered[:, survey])
    np.testing.assert_array_equal(panel.twin_mask, truth.twin_answered[:, survey])
    # Everyone answers one of eight, at least.
    expected = 1 - missing if missing < 0.9 else 0.125
    assert truth.human_answered.mean() == pytest.approx(expected, abs=0.03)
    assert truth.human_answered.any(axis=1).all() and (truth.human_answered.sum(axis=0) > 1).all()
    differ = np.mean(truth.human_answered != truth.twin_answered)
    assert differ == pytest.approx(unlike, abs=0.02)
    assert np.bincount(survey).min() >= 2 and len(set(np.bincount(survey))) > 1


def test_answers_are_the_truth_where_they_are_not_missing():
    panel, _, truth = simulate_block_panel(key=2, **SMALL)
    for mask, answers, complete in (
        (panel.human_mask, panel.human, truth.human_complete),
        (panel.twin_mask, panel.twin, truth.twin_complete),
    ):
        np.testing.assert_array_equal(answers[mask], complete[mask])


@pytest.mark.parametrize("own", [0.0, 0.7])
def test_surveys_share_factors_and_have_their_own(own):
    _, blocks, truth = simulate_block_panel(key=3, **{**SMALL, "n": 3000}, own=own, rank=2)
    survey = by_survey(blocks)
    deviation = truth.human - truth.question_means
    assert np.std(deviation) == pytest.approx(0.8, rel=0.03)
    square = np.corrcoef(deviation.T) ** 2
    same = survey[:, None] == survey[None, :]
    off = ~np.eye(len(survey), dtype=bool)
    within, between = square[same & off].mean(), square[~same].mean()
    if own:
        assert within > 0.4 > 0.1 > between
    else:
        assert within == pytest.approx(between, abs=0.1)
        assert np.linalg.matrix_rank(deviation) == 2


def test_twins_know_their_people_as_well_as_set_and_answer_higher():
    for fidelity in (0.0, 0.7, 1.0):
        _, _, truth = simulate_block_panel(
            key=4, **{**SMALL, "n": 3000}, fidelity=fidelity, bias=0.4
        )
        one = truth.human - truth.question_means
        other = truth.twin - truth.twin_question_means
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] == pytest.approx(fidelity, abs=0.03)
        shift = truth.twin_question_means - truth.question_means
        assert shift.mean() == pytest.approx(0.4, abs=0.2) and shift.std() > 0.2


def test_seeds_and_keys_decide_everything():
    one, two, three = (simulate_block_panel(key=seed, **SMALL)[0] for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.human, two.human)
    assert not np.array_equal(one.human_mask, three.human_mask)
    panel, _, _ = simulate_block_panel(key=jax.random.key(0), **SMALL, scale=None)
    assert np.any(panel.human[panel.human_mask] % 1 != 0)
    coarse, _, _ = simulate_block_panel(key=5, **SMALL, scale=Scale(0, 1, 1))
    assert set(np.unique(coarse.human[coarse.human_mask])) == {0.0, 1.0}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"n": 1}, "`n` must be at least 2"),
        ({"rank": 0}, "`rank`"),
        ({"surveys": 1}, "`surveys` must be at least 2"),
        ({"surveys": 30}, "`surveys`"),
        ({"missing": 1.0}, "`missing` must be below 1"),
        ({"missing": -0.1}, r"`missing` must be in \[0, 1\]"),
        ({"unlike": 2.0}, "`unlike`"),
        ({"fidelity": -1.0}, "`fidelity`"),
        ({"own": 1.1}, "`own`"),
        ({"noise": -1.0}, "`noise` must not be negative"),
    ],
)
def test_settings_out_of_range(change, message):
    with pytest.raises(ValueError, match=message):
        simulate_block_panel(key=0, **(SMALL | change))
