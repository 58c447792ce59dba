"""Intervals for people's answers: brute force, what they may depend on, coverage, and refusals."""

import dataclasses
import functools

import numpy as np
import pytest
from kinds_of_twins import QUESTIONS, SCALE, twins_of_kind
from same_bits import same

from syndigits_jax import load, save
from syndigits_jax.datasets import simulate_panel
from syndigits_jax.estimation import estimate_questions
from syndigits_jax.estimation.difficulty import (
    expected_residuals,
    nested_scales,
    stack_weights,
)
from syndigits_jax.estimation.person_intervals import (
    PersonIntervals,
    Scores,
    fewest_units,
    judge,
    known_scores,
)
from syndigits_jax.estimation.predictive import PLACES, scale_points, tail_levels, truth_levels
from syndigits_jax.estimation.questions import nested, prepare
from syndigits_jax.panel import Panel
from syndigits_jax.schema import Scale

BLOCKS = [f"survey {j // 3}" for j in range(QUESTIONS)]
PANEL = twins_of_kind("informative", 0, missing=0.1)
NEW = PANEL.questions[-2:]


@functools.cache
def estimated():
    return estimate_questions(PANEL, NEW, blocks=BLOCKS, intervals=[0.8, 0.9])


def test_points_are_the_options_or_evenly_spaced():
    np.testing.assert_allclose(scale_points(0.5, 5.0, 0.5), np.arange(1, 11) / 2)
    assert len(scale_points(0.0, 1.0, 1.0)) == 2
    for many in (
        scale_points(0.0, 100.0, 1.0),
        scale_points(1.0, 7.0, np.nan),
        scale_points(0.0, 1.0, 0.3),
    ):
        assert len(many) == 41
    assert scale_points(0.0, 100.0, 1.0)[-1] == 100


def test_tail_levels_of_two_options_are_their_probabilities():
    place = np.arange(PLACES)[None, :]
    (table,) = tail_levels(place, np.array([0.4]), np.array([2]), np.ones(PLACES))
    share = np.linspace(0, 1, PLACES)
    np.testing.assert_allclose(table, np.stack([1 - share, share], 1), atol=1e-3)


def test_wider_distributions_have_heavier_tails():
    place = np.full((2, 50), 50)
    narrow, wide = tail_levels(place, np.array([0.1, 0.3]), np.array([11, 11]), np.ones(50))
    assert np.all(wide[50, [0, 1, 9, 10]] > narrow[50, [0, 1, 9, 10]])
    # The largest of the two tails and the point between them add up to one and the smaller.
    for table in (narrow, wide):
        assert np.all(np.diff(table[50, :6]) > 0) and np.all(np.diff(table[50, 5:]) < 0)
        np.testing.assert_allclose(table[50], table[50][::-1], atol=1e-3)


def test_an_interval_holds_an_answer_if_it_reaches_its_level():
    rng = np.random.default_rng(0)
    points = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    rise = np.sort(rng.random((PLACES, 3)), axis=1)
    table = np.concatenate([rise, np.sort(rng.random((PLACES, 2)), axis=1)[:, ::-1]], 1)
    table[:, 3:] *= table[:, 2:3]
    place = rng.integers(0, PLACES, 300)
    truth = np.concatenate(
        [rng.integers(1, 6, 100), rng.uniform(1, 5, 180), np.linspace(5.5, 9, 20)]
    )
    truth[:10] = np.nan
    level = truth_levels(truth, place, points, table)
    for least in (0.05, 0.2, 0.5):
        held = table[place] > least
        lower = np.where(held, points, np.inf).min(1)
        upper = np.where(held, points, -np.inf).max(1)
        inside = (lower <= truth) & (truth <= upper)
        np.testing.assert_array_equal(inside[10:], level[10:] > least)
    assert np.isnan(level[:10]).all() and np.all(level[280:] == -1)


def random_scores(unit):
    """Scores of six questions with three options, whose people count unequally."""
    rng = np.random.default_rng(1)
    k, n = len(unit), 30
    points = tuple(np.array([0.0, 1.0, 2.0]) for _ in range(k))
    place = rng.integers(0, PLACES, (k, n))
    p = rng.dirichlet([1, 1, 1], (k, PLACES))
    at_most = np.cumsum(p, axis=2)
    tables = tuple(np.minimum(at_most, 1 - at_most + p))
    truth = rng.integers(0, 3, (k, n)).astype(float)
    truth[rng.random((k, n)) < 0.2] = np.nan
    score = np.stack([truth_levels(*one) for one in zip(truth, place, points, tables, strict=True)])
    weight = rng.integers(0, 3, n) * np.ones((k, n)) * ~np.isnan(truth)
    sizes = np.bincount(unit)[unit]
    mass = weight / weight.sum(1, keepdims=True) / sizes[:, None]
    return Scores(truth, score, place, points, tables, mass, np.arange(k), unit, np.arange(k))


@pytest.mark.parametrize("unit", [[0, 1, 2, 3, 4, 5], [0, 0, 1, 2, 2, 2]])
@pytest.mark.parametrize("level", [0.5, 0.7, 0.95])
def test_known_questions_are_judged_as_brute_force_does(unit, level):
    """Each cell's set by its definition, one point at a time."""
    unit, alpha = np.array(unit), 1 - level
    scores = random_scores(unit)
    found = judge(scores, level)
    others_of = [np.flatnonzero(unit != one) for one in unit]
    for j in range(len(unit)):
        inside, width = 0.0, 0.0
        share = scores.mass[j] / scores.mass[j].sum()
        for i in np.flatnonzero(share > 0):
            held = []
            for at, point in enumerate(scores.points[j]):
                mine = scores.tables[j][scores.place[j, i], at]
                chance = 1.0
                for other in others_of[j]:
                    below = (scores.score[other] <= mine) & (scores.mass[other] > 0)
                    chance += scores.mass[other][below].sum()
                if chance / len(np.unique(unit)) > alpha + 1e-6 or mine > alpha / 2:
                    held.append(point)
            inside += share[i] * (min(held) <= scores.truth[j, i] <= max(held))
            width += share[i] * (max(held) - min(held)) / 2
        np.testing.assert_allclose([found.coverage[j], found.width[j]], [inside, width], atol=1e-9)
    missed = 1 - found.coverage
    assert np.all(found.score >= found.width + 2 / alpha * missed / 2 - 1e-9)  # one step at least
    whole = len(np.unique(unit)) - 1 < fewest_units(level)
    assert not whole or np.allclose(found.width, 1)


def test_how_many_units_a_level_needs():
    assert [fewest_units(level) for level in (0.5, 0.8, 0.9, 0.95)] == [1, 4, 9, 19]
    found = PersonIntervals((np.full((3, 2), 1 / 9, np.float32),) * 2, np.array([8, 9]))
    assert found.whole(0.9).tolist() == [True, False]
    with pytest.raises(ValueError, match="`level`"):
        fewest_units(1.0)


def with_noise(panel, questions):
    other = SCALE.nearest(np.random.default_rng(9).uniform(1, 7, panel.human.shape))
    chosen = np.isin(np.arange(panel.m), questions)[None, :] & panel.human_mask
    return panel.replace(human=np.where(chosen, other, panel.human))


@functools.cache
def parts(noisy=()):
    """Expected errors, and scores of the known questions; folds are those of whole blocks."""
    problem = prepare(with_noise(PANEL, list(noisy)), np.zeros(0, np.int64), BLOCKS, None)
    run = nested(problem, "new survey")
    scales = nested_scales(problem, run, problem.levels(problem.known))
    residual = expected_residuals(problem, run, scales, stack_weights(run))
    return run, residual, known_scores(problem, run, residual)


def test_what_a_fold_is_judged_by_has_not_seen_its_answers():
    """Bit for bit: expected errors, predictions and tail levels of all points."""
    run, residual, scores = parts()
    inside = np.flatnonzero(run.moments.fold == 2)
    _, other, changed = parts(tuple(inside))
    np.testing.assert_array_equal(residual[2], other[2])
    assert np.all(residual[[0, 1, 3]] != other[[0, 1, 3]])
    for j in range(QUESTIONS):
        same = np.array_equal(scores.tables[j], changed.tables[j])
        assert same == (j in inside)
        assert j not in inside or np.array_equal(scores.place[j], changed.place[j])


def test_expected_errors_are_those_of_predictions():
    """In units of the range, and on average over questions, they are the errors that are made."""
    run, residual, scores = parts()
    made = np.sqrt(np.nanmean(((scores.truth - run.prediction) / 6) ** 2, axis=1))
    expected = residual[scores.fold, scores.question]
    assert np.sqrt(np.mean((np.log(expected) - np.log(made)) ** 2)) < 0.2
    assert abs(np.mean(np.log(expected) - np.log(made))) < 0.08


def test_intervals_do_not_depend_on_answers_to_their_question():
    before = estimated()
    noisy = with_noise(PANEL, [QUESTIONS - 2, QUESTIONS - 1])
    after = estimate_questions(noisy, NEW, blocks=BLOCKS, intervals=[0.8, 0.9])
    assert before.people is not None and after.people is not None
    for one, other in zip(before.people.reach, after.people.reach, strict=True):
        np.testing.assert_array_equal(one, other)
    assert repr(before.judged) == repr(after.judged)
    assert np.any(before.prediction != after.prediction)  # which known answers do correct


def test_intervals_of_an_estimate():
    found = estimated()
    narrow, wide = found.intervals(0.5), found.intervals(0.9)
    assert narrow.lower.shape == found.prediction.shape
    assert np.all(wide.lower <= narrow.lower) and np.all(narrow.upper <= wide.upper)
    assert np.all(wide.lower >= 1) and np.all(wide.upper <= 7)
    assert set(np.unique(wide.lower)) <= set(range(1, 8))
    assert np.mean(wide.upper - wide.lower) < 5
    everything = found.intervals(0.97)  # 32 units would be needed, there are 22
    assert np.all(everything.lower == 1) and np.all(everything.upper == 7)
    judged = {one.level: one for one in found.judged["known battery"]}
    assert set(judged) == {0.8, 0.9} and judged[0.9].enough and judged[0.9].useful
    assert judged[0.9].means()["coverage"] > judged[0.8].means()["coverage"] > 0.8
    assert judged[0.9].means()["width"] < 0.7


def test_of_a_new_survey_blocks_count():
    """Seven known blocks: intervals at 80%, the whole scale at 90%."""
    bare = PANEL.with_missing(human=np.isin(BLOCKS, BLOCKS[-1:]) & np.ones((PANEL.n, 1), bool))
    found = estimate_questions(bare, blocks=BLOCKS, intervals=[0.8, 0.9])
    assert found.setting == ("new survey",) * 3 and found.people is not None
    assert found.people.units.tolist() == [7] * 3
    assert not found.people.whole(0.8).any() and found.people.whole(0.9).all()
    interval = found.intervals(0.9)
    assert np.all(interval.lower == 1) and np.all(interval.upper == 7)
    assert np.mean(found.intervals(0.8).half_width) < 2.8
    low, high = (judged.enough for judged in found.judged["new survey"])
    assert low and not high


def test_coverage_of_new_questions_on_simulated_panels():
    """Of four new questions on each of seven small panels; a miss by 2.5 standard errors fails."""
    scale, inside, known = Scale(1, 5, 1), [], 16
    for key in range(7):
        panel, _ = simulate_panel(
            50,
            known + 4,
            2,
            key=key,
            noise=0.6,
            twin_noise=0.4,
            question_spread=0.5,
            bias_spread=0.3,
        )
        human, twin = scale.nearest(3 + panel.human), scale.nearest(3 + panel.twin)
        panel = Panel.from_arrays(human, twin, scale=scale)
        new = np.arange(panel.m) >= known
        bare = panel.with_missing(human=new & np.ones((panel.n, 1), bool))
        interval = estimate_questions(bare, intervals=[0.8]).intervals(0.8)
        truth = human[:, known:]
        inside.append(np.mean((interval.lower <= truth) & (truth <= interval.upper)))
        width = np.mean(2 * np.asarray(interval.half_width)) / 4
        assert width < 0.9
    error = np.std(inside, ddof=1) / np.sqrt(len(inside))
    assert error < 0.04 and np.mean(inside) > 0.8 - 2.5 * error


def test_estimates_are_saved_with_what_intervals_and_draws_are_made_of(tmp_path):
    save(tmp_path / "e", estimated())
    assert same(load(tmp_path / "e"), estimated())


def test_a_range_of_one_point_bounds_nothing():
    found = dataclasses.replace(estimated(), low=np.array([1.0, 3.0]), high=np.array([7.0, 3.0]))
    interval = found.intervals(0.9)
    assert np.isfinite(interval.lower[:, 0]).all() and np.all(interval.upper[:, 1] == np.inf)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"intervals": [1.0]}, "`intervals` must lie strictly between 0 and 1"),
        ({"intervals": [0.9], "expect": False}, "`intervals` need the nested hold-out"),
    ],
)
def test_bad_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        estimate_questions(PANEL, NEW, **change)


def test_intervals_that_were_not_asked_for():
    with pytest.raises(ValueError, match="were not asked for"):
        dataclasses.replace(estimated(), people=None).intervals(0.9)
    with pytest.raises(ValueError, match="`level` must lie"):
        estimated().intervals(0.0)
