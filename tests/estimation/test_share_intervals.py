"""Intervals of shares hold as often as they say, from known questions alone."""

import functools

import numpy as np
import pytest
from scipy.stats import binom

from syndigits_jax.datasets import simulate_panel
from syndigits_jax.estimation import estimate_questions
from syndigits_jax.estimation.share_intervals import KnownShares, chosen_options, share_scale
from syndigits_jax.panel import Panel
from syndigits_jax.schema import Scale

PEOPLE, KNOWN, NEW, SEEDS = 100, 26, 6, 12
SCALE = Scale(1, 5, 1)


@functools.cache
def simulated(seed) -> Panel:
    """26 questions and 6 more like them, which twins answer too high, by question."""
    panel, _ = simulate_panel(
        PEOPLE, KNOWN + NEW, 3, fidelity=0.7, twin_noise=0.6, noise=0.8, bias=0.4, bias_spread=0.4,
        question_spread=0.7, scale=SCALE, key=seed,
    )  # fmt: skip
    return panel


def hidden(panel, asked=0):
    """The panel in which only the first `asked` people have answered the new questions."""
    cells = (np.arange(PEOPLE)[:, None] >= asked) & (np.arange(panel.m) >= KNOWN)[None, :]
    return panel.with_missing(human=cells)


@functools.cache
def estimated(seed, asked=0):
    panel = hidden(simulated(seed), asked)
    return estimate_questions(panel, panel.questions[KNOWN:])


def true_shares(panel, name):
    answers = panel.human[:, panel.questions.index(name)]
    return np.array([np.mean(answers == option) for option in range(1, 6)])


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_intervals_of_new_questions_hold_the_true_shares_as_often_as_they_say(level):
    """One option of every question at a time, which makes the questions of a panel alike at most.

    A level of 80% over 26 known questions may cover up to 1/27 more.
    """
    rng = np.random.default_rng(0)
    inside, widths, covered = [], [], np.zeros((SEEDS, NEW))
    for seed in range(SEEDS):
        found, panel = estimated(seed), simulated(seed)
        for name in found.questions:
            ends, truth = found.shares_interval(name, level), true_shares(panel, name)
            option = rng.integers(5)
            inside.append(ends.lower[option] <= truth[option] <= ends.upper[option])
            widths.append((ends.upper - ends.lower).mean())
            held = (ends.lower <= truth) & (truth <= ends.upper)
            covered[seed, found.questions.index(name)] = held.mean()
    # Over all options, with a standard error over the independent panels.
    by_panel = covered.mean(axis=1)
    error = by_panel.std(ddof=1) / np.sqrt(SEEDS)
    assert level - 3 * error < by_panel.mean() < level + 1 / (KNOWN + 1) + 3 * error
    count = len(inside)
    assert binom.ppf(1e-3, count, level) <= sum(inside)
    assert sum(inside) <= binom.ppf(1 - 1e-3, count, level + 1 / (KNOWN + 1))
    # They say something: the shares of five options are between 0 and 1.
    assert np.mean(widths) < (0.25 if level == 0.8 else 0.35)


def test_ends_enclose_the_shares_within_0_and_1_and_widen_with_the_level():
    found = estimated(0)
    name = found.questions[0]
    shares, narrow, wide = (
        found.shares(name), found.shares_interval(name, 0.5), found.shares_interval(name, 0.9)
    )  # fmt: skip
    assert np.all((wide.lower >= 0) & (wide.lower <= narrow.lower) & (narrow.lower <= shares))
    assert np.all((shares <= narrow.upper) & (narrow.upper <= wide.upper) & (wide.upper <= 1))
    same = found.shares_interval(name)
    np.testing.assert_array_equal(same.lower, wide.lower)
    with pytest.raises(ValueError, match="`level`"):
        found.shares_interval(name, 1.0)


def test_answers_stand_for_themselves_and_narrow_the_interval():
    panel = simulated(0)
    name = panel.questions[KNOWN]
    widths = []
    for asked in (0, 60, PEOPLE):
        found = estimated(0, asked)
        ends = found.shares_interval(name)
        widths.append(float((ends.upper - ends.lower).mean()))
        options = found.options(name)
        at = found.questions.index(name)
        assert found.shares(name) @ options == pytest.approx(found.mean[at], abs=5e-3)
    assert widths[0] > widths[1] > widths[2] == 0
    np.testing.assert_allclose(estimated(0, PEOPLE).shares(name), true_shares(panel, name))


def test_too_few_known_questions_or_no_hold_out_say_nothing():
    panel = hidden(simulated(0)).take(None, slice(KNOWN - 5, KNOWN + 1))
    name = panel.questions[-1]
    for found in (estimate_questions(panel), estimate_questions(panel, expect=False)):
        ends = found.shares_interval(name)
        np.testing.assert_array_equal(ends.lower, 0)
        np.testing.assert_array_equal(ends.upper, 1)


def known_shares(**changes) -> KnownShares:
    """Four questions of which everyone gave one answer, which was predicted for three of them."""
    answers = np.full((4, 10), 2.0)
    prediction = answers.copy()
    prediction[3] = 3.0
    ones = np.ones(4)
    fields = {
        "prediction": prediction, "sd": 1e-3 * ones, "low": ones, "high": 5 * ones, "step": ones,
        "answers": answers, "declared": ones > 0, "kind": ("ordinal",) * 4, "group": np.arange(4),
        "weight": np.ones(10),
    }  # fmt: skip
    return KnownShares(**(fields | changes))


def test_margins_are_quantiles_of_errors_in_their_units():
    largest = 1 / share_scale(np.array([1.0]))[0]  # a share of 1 where there is nobody
    assert known_shares().margin("ordinal", 0.5) < 0.05
    # 4 of 5 parts are known questions, of which one has two of five options wrong.
    assert known_shares().margin("ordinal", 0.25) == pytest.approx(largest, rel=0.02)
    assert known_shares().margin("ordinal", 0.19) == np.inf
    assert known_shares().margin("two options", 0.5) == np.inf


def test_questions_without_options_or_answers_and_blocks():
    few = known_shares().answers.copy()
    few[1, 4:] = np.nan
    for changes in ({"step": np.array([1, np.nan, 1, 1])}, {"answers": few}):
        fewer = known_shares(**changes)
        assert fewer._scores[1] == [] and len(fewer._scores[0]) == 5
    # Three questions known, then, of which a quarter is at infinity: two blocks leave a third.
    blocks = known_shares(group=np.array([0, 0, 1, 1]))
    assert blocks.margin("ordinal", 0.34) < np.inf == blocks.margin("ordinal", 0.32)


def test_answers_are_counted_at_the_nearest_option():
    found = chosen_options(np.array([1.0, 2.4, np.nan, 9.0]), 1.0, 1.0, 3)
    assert found.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]]


def test_truth_of_new_questions_moves_no_interval():
    panel = simulated(0)
    noise = panel.human.copy()
    noise[:, KNOWN:] = np.random.default_rng(3).integers(1, 6, noise[:, KNOWN:].shape)
    name = panel.questions[KNOWN]
    one, other = (
        estimated(0),
        estimate_questions(hidden(panel.replace(human=noise)), panel.questions[KNOWN:]),
    )
    np.testing.assert_array_equal(
        one.shares_interval(name).upper, other.shares_interval(name).upper
    )
