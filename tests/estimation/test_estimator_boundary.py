"""Few questions, odd panels, bad arguments, and programs that are compiled once."""

from typing import Any

import numpy as np
import pytest
from kinds_of_twins import QUESTIONS, USERS, twins_of_kind

from syndigits_jax.estimation import (
    AUTO,
    blocks_from_names,
    estimate_new_users_and_questions,
    estimate_questions,
    estimate_users,
    hold_out_questions,
    hold_out_users,
)
from syndigits_jax.estimation.components import COMPONENTS, components, donors, truth_moments
from syndigits_jax.estimation.grouping import block_folds, random_folds
from syndigits_jax.estimation.user_components import USER_COMPONENTS
from syndigits_jax.estimation.weights import (
    FIXED_WEIGHTS,
    SURVEY_WEIGHTS,
    USER_FIXED_WEIGHTS,
    learnt_weights,
)

PANEL = twins_of_kind("informative", 0, missing=0.1)
TARGET = PANEL.questions[-1]
FIXED = dict(zip(COMPONENTS, np.float32(FIXED_WEIGHTS).astype(float), strict=True))


def with_known(count: int, panel=PANEL):
    """Human answers to the first `count` questions only."""
    return panel.with_missing(
        human=np.broadcast_to(np.arange(QUESTIONS) >= count, panel.human.shape)
    )


@pytest.mark.parametrize("count", [2, 5, 10, 19])
def test_with_few_known_questions_weights_are_fixed_and_it_says_so(count):
    found = estimate_questions(with_known(count), [TARGET])
    assert found.learnt == {"known battery": False}
    assert found.weights["known battery"] == pytest.approx(FIXED, abs=1e-6)
    assert found.expected["known battery"].count == count
    assert np.all(np.isfinite(found.prediction))
    assert found.prediction.min() >= 1 and found.prediction.max() <= 7
    ends = found.mean_interval
    lower, upper = float(ends.lower[0]), float(ends.upper[0])
    assert lower < found.mean[0] < upper
    if count < 9:  # nine questions and one new one are the least for an interval that misses 10%
        assert (lower, upper) == (1.0, 7.0)
    else:
        assert upper - lower < 6


def test_without_the_nested_hold_out_means_have_no_finite_interval_but_the_range():
    found = estimate_questions(with_known(19), [TARGET], expect=False)
    assert (float(found.mean_interval.lower[0]), float(found.mean_interval.upper[0])) == (1, 7)
    assert found.expected == {}


def test_a_wider_miss_narrows_the_interval_and_nothing_else():
    panel = with_known(19)
    wide, narrow = (estimate_questions(panel, [TARGET], alpha=alpha) for alpha in (0.1, 0.5))
    np.testing.assert_array_equal(wide.prediction, narrow.prediction)
    assert float(narrow.mean_interval.half_width[0]) < float(wide.mean_interval.half_width[0])
    assert (wide.level, narrow.level) == (0.9, 0.5)


def test_a_new_survey_beside_a_single_known_one_has_the_fixed_weights():
    panel = with_known(19)
    blocks = ["known"] * 19 + ["new"] * (QUESTIONS - 19)
    found = estimate_questions(panel, [TARGET], blocks=blocks, expect=False)
    assert found.setting == ("new survey",) and found.learnt == {"new survey": False}
    np.testing.assert_allclose(
        list(found.weights["new survey"].values()), SURVEY_WEIGHTS, atol=1e-6
    )
    nested = estimate_questions(panel, [TARGET], blocks=blocks)
    assert np.all(np.isfinite(nested.prediction))
    assert (float(nested.mean_interval.lower[0]), float(nested.mean_interval.upper[0])) == (1, 7)


def test_settings_go_by_the_blocks_of_the_targets():
    blocks = ["a"] * 12 + ["b"] * 7 + ["b", "b", "c", "c", "c"]
    targets = [PANEL.questions[j] for j in (19, 22)]
    found = estimate_questions(with_known(19), targets, blocks=blocks, expect=False)
    assert found.setting == ("known battery", "new survey")
    assert set(found.weights) == set(found.learnt) == {"known battery", "new survey"}


def test_a_question_without_a_block_is_a_block_of_its_own():
    blocks = ["a"] * 19 + ["a", None, None, float("nan"), " "]
    targets = [PANEL.questions[j] for j in (19, 20, 23)]
    found = estimate_questions(with_known(19), targets, blocks=blocks, expect=False)
    assert found.setting == ("known battery", "new survey", "new survey")
    known = ["a"] * 10 + [None] * 9 + ["a"] * 5
    folds = hold_out_questions(with_known(19), blocks=known, setting="new survey")
    assert len(np.unique(folds.predictions[AUTO], axis=0)) == 19


def test_blocks_that_are_all_none_are_no_blocks():
    without, nothing = (
        estimate_questions(with_known(19), [TARGET], blocks=blocks, expect=False)
        for blocks in (None, [None] * QUESTIONS)
    )
    assert nothing.setting == without.setting == ("known battery",)
    np.testing.assert_array_equal(nothing.prediction, without.prediction)
    with pytest.raises(ValueError, match="`blocks` must name at least two blocks"):
        hold_out_questions(PANEL, blocks=[None] * QUESTIONS, setting="new survey")


def test_few_known_users_have_the_fixed_weights():
    panel = PANEL.with_missing(
        human=np.broadcast_to(np.arange(USERS)[:, None] >= 12, PANEL.human.shape)
    )
    found = estimate_users(panel)
    assert len(found.users) == USERS - 12 and found.learnt == {"new users": False}
    expected = dict(zip(USER_COMPONENTS, USER_FIXED_WEIGHTS, strict=True))
    assert found.weights["new users"] == pytest.approx(expected, abs=1e-6)
    assert np.all(np.isfinite(found.prediction))
    assert np.all(np.isinf(found.mean_interval.upper))


def test_options_and_shares_of_an_estimate():
    found = estimate_questions(with_known(19), [TARGET], expect=False)
    np.testing.assert_array_equal(found.options(TARGET), np.arange(1, 8))
    p = found.option_probabilities(TARGET)
    assert p.shape == (USERS, 7)
    np.testing.assert_allclose(p @ np.arange(1, 8), found.prediction[:, 0], atol=5e-3)
    np.testing.assert_allclose(found.shares(TARGET).sum(), 1, atol=1e-5)
    with pytest.raises(ValueError, match="`question`: 'other' is not among"):
        found.options("other")


def test_a_question_without_a_step_has_no_options():
    panel = with_known(19)
    twin = panel.twin.copy()
    twin[0, -1] = 3.3
    panel = panel.replace(twin=twin, step=np.where(np.arange(QUESTIONS) < 23, 1, np.nan))
    found = estimate_questions(panel, [TARGET], expect=False)
    with pytest.raises(ValueError, match="no known step"):
        found.shares(TARGET)
    fine = panel.replace(step=np.full(QUESTIONS, 0.01))
    with pytest.raises(ValueError, match="601 options, too many"):
        estimate_questions(fine, [TARGET], expect=False).options(TARGET)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"alpha": 0.0}, "`alpha` must lie strictly between 0 and 1"),
    ({"alpha": 1.0}, "`alpha`"),
    ({"targets": ["nobody asked"]}, "`targets`: the panel has no question 'nobody asked'"),
    ({"targets": []}, "`targets`"),
    ({"blocks": "a" * QUESTIONS}, "`blocks` must hold one block per question"),
    ({"blocks": ["a"]}, "`blocks` must name the block of each of the 24 questions, got 1"),
    ({"sample_weight": -np.ones(USERS)}, "`sample_weight` must be finite and not negative"),
    ({"sample_weight": np.zeros(USERS)}, "`sample_weight` is zero for every user"),
    ({"sample_weight": np.ones(3)}, "`sample_weight` must have shape"),
    ({"workers": 0}, "`workers` must be at least 1"),
]


@pytest.mark.parametrize("change, message", BAD)
def test_bad_arguments_for_questions(change, message):
    with pytest.raises(ValueError, match=message):
        estimate_questions(**({"panel": PANEL, "targets": [TARGET]} | change))


@pytest.mark.parametrize(
    "estimate, kind",
    [(estimate_questions, "question"), (estimate_users, "user")],
)
def test_panels_without_targets_or_known_ones_are_refused(estimate, kind):
    with pytest.raises(ValueError, match=f"`targets`: every {kind} of the panel has human answers"):
        estimate(PANEL)
    cells = np.ones((USERS, QUESTIONS), bool)
    if kind == "question":
        cells[:, 0] = False
    else:
        cells[0] = False
    with pytest.raises(ValueError, match=r"`human`: 1 other .* at least two are needed"):
        estimate(PANEL.with_missing(human=cells))


def test_answers_whose_squares_overflow_are_refused():
    panel = PANEL.replace(
        twin=PANEL.twin * 1e200, low=np.full(QUESTIONS, np.nan), high=np.full(QUESTIONS, np.nan)
    )
    for call in (hold_out_questions, hold_out_users):
        with pytest.raises(ValueError, match="twin"):
            call(panel)


@pytest.mark.parametrize(
    "users, questions, message",
    [
        (["user_1"], None, "`targets`: every question"),
        (None, [TARGET], "`targets`: every user"),
        (["user_1"], ["other"], "has no question 'other'"),
        (["nobody"], [TARGET], "has no user 'nobody'"),
    ],
)
def test_bad_arguments_for_new_users_and_questions(users, questions, message):
    with pytest.raises(ValueError, match=message):
        estimate_new_users_and_questions(PANEL, users, questions)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"setting": "new survey"}, "`blocks` must name at least two blocks"),
        ({"setting": "new survey", "blocks": ["a"] * QUESTIONS}, "at least two blocks"),
    ],
)
def test_bad_arguments_for_a_hold_out(options, message):
    with pytest.raises(ValueError, match=message):
        hold_out_questions(PANEL, **options)


def test_nothing_is_compiled_again_for_another_target_or_panel_of_a_shape():
    programs = (components, donors, truth_moments, learnt_weights)
    panel = with_known(19)
    estimate_questions(panel, [PANEL.questions[20]])
    hold_out_questions(PANEL)
    before = [program._cache_size() for program in programs]
    estimate_questions(panel, [PANEL.questions[22]], key=1)
    other = twins_of_kind("biased", 1, missing=0.1)
    estimate_questions(with_known(19, other), [other.questions[21]])
    hold_out_questions(other, key=2)
    assert [program._cache_size() for program in programs] == before


@pytest.mark.parametrize("of", [estimate_questions, estimate_users, hold_out_users])
def test_progress_starts_before_anything_is_compiled_and_ends_with_all(of):
    panel = PANEL if of is hold_out_users else with_known(19)
    if of is estimate_users:
        panel = PANEL.with_missing(human=np.arange(USERS)[:, None] >= 100 + np.zeros(QUESTIONS))
    seen: list[tuple[int, int]] = []
    of(panel, on_fit=lambda done, total: seen.append((done, total)))
    total = 10 + 45  # folds, and pairs of them
    assert seen[0] == (0, total) and seen[-1] == (total, total)
    assert [done for done, _ in seen if done] == list(range(1, total + 1))


def test_random_folds_have_sizes_that_differ_by_one_at_most():
    for count in (1, 5, 23):
        sizes = np.bincount(random_folds(count, 10, 0))
        assert len(sizes) == min(count, 10) and sizes.max() - sizes.min() <= 1
    assert not np.array_equal(random_folds(23, 10, 0), random_folds(23, 10, 1))


def test_blocks_stay_whole_and_folds_are_about_even():
    blocks = list("aaaaabbbbccdde")
    fold = block_folds(blocks, 3)
    for name in set(blocks):
        assert len({f for f, block in zip(fold, blocks, strict=True) if block == name}) == 1
    assert np.bincount(fold).tolist() == [5, 5, 4]


def test_blocks_of_numbered_names():
    names = ["Q5_1", "Q5_2", "Q5 3", "1_Q7", "2_Q7", "age", "Q5"]
    assert blocks_from_names(names) == ("Q5", "Q5", "Q5", "Q7", "Q7", "age", "Q5")


@pytest.mark.parametrize(
    "names, blocks",
    [
        # The number of an item is set apart: other numbers count questions.
        ("Q5_1 Q5_2 Q6 Q7 Q8a Q8b", "Q5 Q5 Q6 Q7 Q8a Q8b"),
        ("1_Q7 2_Q7 Q165 Q178", "Q7 Q7 Q165 Q178"),
        # Letters tell items apart: numbers count questions.
        ("Q5a Q5b Q6a Q7 age", "Q5 Q5 Q6 Q7 age"),
        # Only numbers.
        ("item1 item2 mood1 mood2 age", "item item mood mood age"),
        ("q1 q2 q10", "q1 q2 q10"),
        ("q1 q2 q10 age", "q q q age"),
        ("q_1 item1 item2", "q_1 item item"),
        ("bfi2x1 bfi2x2 age", "bfi2x bfi2x age"),
        # Nothing in common, or no name at all.
        ("q1 item2 age", "q1 item2 age"),
        ("1 2 3", "1 2 3"),
        ("2010 2011", "2010 2011"),
    ],
)
def test_names_without_a_separator_are_batteries_where_nothing_else_is(names, blocks):
    assert blocks_from_names(names.split()) == tuple(blocks.split())


def test_every_prediction_of_a_hold_out_is_there():
    held = hold_out_questions(PANEL)
    assert {AUTO, *COMPONENTS, "Baseline", "UserMean", "ZScoredUserMean"} == set(held.predictions)
    assert held.status[AUTO].max() == held.imputation_status[AUTO].max() == 0
