"""Expected quality of questions: out of fold, and as true as it says on simulated people."""

import numpy as np
import pytest
from kinds_of_twins import twins_of_kind

from syndigits_jax.estimation import hold_out_quality
from syndigits_jax.estimation.expected_quality import FEATURES, OUTCOMES


@pytest.fixture(scope="module")
def found():
    panel = twins_of_kind("informative")
    human = panel.human.copy()
    human[:, -2:] = np.nan  # two questions that nobody has answered
    panel = panel.replace(human=human)
    held, _, quality = hold_out_quality(panel, level=0.8)
    return panel, held, quality


def test_every_question_has_an_expectation(found):
    panel, held, quality = found
    assert quality.questions == (*held.target_ids, *panel.questions[-2:])
    assert quality.known.sum() == panel.m - 2 and (quality.fold[-2:] == -1).all()
    assert quality.features.shape == (panel.m, len(FEATURES))
    for name in OUTCOMES:
        low, middle, high = quality.lower[name], quality.expected[name], quality.upper[name]
        assert (low <= middle).all() and (middle <= high).all() and np.isfinite(high).all()


def test_noise_for_a_folds_answers_moves_none_of_its_expectations(found):
    panel, _, quality = found
    fold = quality.fold[0]
    inside = np.flatnonzero(quality.fold == fold)
    human = panel.human.copy()
    human[:, inside] = np.random.default_rng(5).integers(1, 8, (panel.n, len(inside)))
    *_, other = hold_out_quality(panel.replace(human=human), level=0.8)
    moved = False
    for name in OUTCOMES:
        for before, after in (
            (quality.expected, other.expected), (quality.lower, other.lower),
            (quality.upper, other.upper),
        ):  # fmt: skip
            np.testing.assert_array_equal(before[name][inside], after[name][inside])
            moved |= bool(np.any(before[name] != after[name]))
    assert moved  # but of the others


def test_too_few_questions_say_nothing():
    panel = twins_of_kind("informative").take(questions=slice(0, 8))
    *_, quality = hold_out_quality(panel)
    assert np.isnan(quality.expected["raw error"]).all()
    assert np.isinf(quality.upper["raw error"]).all()
    with pytest.raises(ValueError, match="`level` must lie"):
        hold_out_quality(panel, level=1.0)
