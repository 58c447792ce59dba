"""Level and spread of new questions: against brute force, and within what a range allows."""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from syndigits_jax.estimation.levels import (
    FEWEST_FOR_LEVELS,
    PENALTIES,
    fit_levels,
    question_ranges,
    question_table,
    ridge_over_questions,
)

PEOPLE, QUESTIONS = 40, 16
levels_of = jax.jit(fit_levels)
line_of = jax.jit(ridge_over_questions)


def survey(seed: int = 0, *, shift: float = 0.5, low: float = 1.0, width: float = 4.0):
    """Answers from `low` to `low + width` whose twins are lower by `shift`, and their ranges."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(0.3, 0.6, QUESTIONS) * width + low
    twin = np.clip(rng.normal(centre, 0.1 * width, (PEOPLE, QUESTIONS)), low, low + width)
    human = np.clip(rng.normal(centre + shift, 0.2 * width, twin.shape), low, low + width)
    return human, twin, np.full(QUESTIONS, low), np.full(QUESTIONS, low + width)


def table_of(human, twin, low, high, **options):
    return question_table(human, twin, low, high, np.ones(PEOPLE), **options)


def known_but(*left_out: int):
    known = np.ones(QUESTIONS, bool)
    known[list(left_out)] = False
    return jnp.asarray(known)


def test_leave_one_out_errors_are_those_of_brute_force():
    rng = np.random.default_rng(0)
    features = np.column_stack([np.ones(QUESTIONS), rng.normal(size=(QUESTIONS, 3))])
    truth = features @ rng.normal(size=4) + 0.5 * rng.normal(size=QUESTIONS)
    penalised = np.array([0.0, 1.0, 1.0, 3.0])
    used = np.arange(QUESTIONS) < QUESTIONS - 3
    squares, residuals = [], []
    for penalty in PENALTIES:
        errors = []
        for i in np.flatnonzero(used):
            rest = used & (np.arange(QUESTIONS) != i)
            x, y = features[rest], truth[rest]
            coef = np.linalg.solve(x.T @ x + np.diag(penalty * penalised + 1e-6), x.T @ y)
            errors.append(truth[i] - features[i] @ coef)
        squares.append(np.mean(np.square(errors)))
        residuals.append(np.sort(np.abs(errors)))
    best = int(np.argmin(squares))
    given = [jnp.asarray(a, jnp.result_type(float)) for a in (features, truth, used, penalised)]
    line = line_of(*given)
    assert 0 < best < len(PENALTIES) - 1  # the choice is one
    np.testing.assert_allclose(line.penalty, PENALTIES[best], rtol=1e-6)
    np.testing.assert_allclose(line.error, np.sqrt(squares[best]), rtol=1e-3)
    np.testing.assert_allclose(line.errors[: used.sum()], residuals[best], atol=1e-3)
    assert np.all(np.isinf(line.errors[used.sum() :]))


def test_a_deviation_that_all_questions_share_is_predicted():
    human, twin, low, high = survey(shift=0.8)
    table = table_of(human, twin, low, high)
    new = (3, 7, 11)
    found = levels_of(table, known_but(*new))
    errors = np.asarray(found.mean)[list(new)] - human.mean(0)[list(new)]
    twin_errors = (twin - human).mean(0)[list(new)]
    assert np.abs(errors).max() < 0.5 * np.abs(twin_errors).min()
    spreads = np.asarray(found.sd)[list(new)] / human.std(0)[list(new)]
    assert np.all((spreads > 0.7) & (spreads < 1.4))


@hypothesis.given(
    st.integers(0, 10**6), st.floats(-3, 3), st.sampled_from([0.01, 1.0, 100.0]), st.integers(0, 16)
)
def test_levels_stay_within_what_the_range_allows(seed, shift, width, count):
    human, twin, low, high = survey(seed, shift=shift * width / 4, low=-2.0, width=width)
    known = np.random.default_rng(seed).permutation(QUESTIONS) < count
    found = levels_of(table_of(human, twin, low, high), jnp.asarray(known))
    mean, sd = np.asarray(found.mean, np.float64), np.asarray(found.sd, np.float64)
    slack = 1e-5 * width
    assert np.all(mean >= low - slack) and np.all(mean <= high + slack)
    room = np.clip((mean - low) * (high - mean), 0, None)
    assert np.all(sd >= 0) and np.all(sd <= np.sqrt(room) + 2e-3 * width)


@pytest.mark.parametrize("count", [0, 1, FEWEST_FOR_LEVELS - 1, FEWEST_FOR_LEVELS])
def test_with_few_known_questions_the_level_is_the_twins(count):
    human, twin, low, high = survey()
    found = levels_of(table_of(human, twin, low, high), jnp.asarray(np.arange(QUESTIONS) < count))
    close = np.isclose(np.asarray(found.mean), twin.mean(0), atol=1e-4)
    if count >= FEWEST_FOR_LEVELS:
        assert not close.any()
        return
    assert close.all()
    spread = human.std(0)[:count].mean() if count else twin.std(0)
    np.testing.assert_allclose(found.sd, np.broadcast_to(spread, QUESTIONS), rtol=1e-4)


def test_questions_that_are_not_known_are_not_read():
    human, twin, low, high = survey()
    table = table_of(human, twin, low, high)
    before = levels_of(table, known_but(2, 5))
    human[:, [2, 5]] = human[::-1, [5, 2]] ** 2
    after = levels_of(table_of(human, twin, low, high), known_but(2, 5))
    np.testing.assert_array_equal(np.asarray(before.mean), np.asarray(after.mean))
    np.testing.assert_array_equal(np.asarray(before.sd), np.asarray(after.sd))
    with_them = levels_of(table_of(human, twin, low, high), known_but(2))
    assert not np.array_equal(np.asarray(before.mean), np.asarray(with_them.mean))


def test_levels_are_in_the_units_of_the_question():
    human, twin, low, high = survey()
    sizes = 2.0 ** np.arange(-4, QUESTIONS - 4)
    plain = levels_of(table_of(human, twin, low, high), known_but(0))
    scaled = [values * sizes + 3 for values in (human, twin, low, high)]
    moved = levels_of(table_of(*scaled), known_but(0))
    np.testing.assert_allclose(moved.mean, np.asarray(plain.mean) * sizes + 3, rtol=1e-4)
    np.testing.assert_allclose(moved.sd, np.asarray(plain.sd) * sizes, rtol=1e-3)


def test_a_question_with_few_answers_teaches_nothing():
    human, twin, low, high = survey()
    human[4:, 6] = np.nan
    table = table_of(human, twin, low, high)
    assert not table.answered[6] and np.sum(table.answered) == QUESTIONS - 1
    assert table.human_mean[6] == 0


def test_blocks_have_a_level_of_their_own():
    human, twin, low, high = survey(shift=0.0)
    blocks = ["above"] * 8 + ["below"] * 8
    human = np.clip(human + np.where(np.arange(QUESTIONS) < 8, 0.7, -0.7), 1, 5)
    new = [2, 12]
    errors = {}
    for name, labels in (("without", None), ("with", blocks)):
        table = table_of(human, twin, low, high, blocks=labels)
        found = levels_of(table, known_but(*new))
        errors[name] = np.abs(np.asarray(found.mean)[new] - human.mean(0)[new]).max()
    assert errors["with"] < 0.5 * errors["without"]


def test_a_range_never_comes_from_the_questions_own_human_answers():
    human, twin, low, high = survey()
    low[3:6] = high[3:6] = np.nan
    known = np.ones(QUESTIONS, bool)
    before = question_ranges(low, high, human, twin, known)
    human[:, 4] = 1000.0
    after = question_ranges(low, high, human, twin, known)
    for one, other in zip(before, after, strict=True):
        assert one[4] == other[4]
    declared = np.delete(np.arange(QUESTIONS), [3, 4, 5])
    np.testing.assert_array_equal(after[0][declared], low[declared])


def test_an_open_range_is_the_shortest_of_a_known_question_that_holds_its_twins():
    twin = np.array([[2.0, 1, 1, 0], [4.0, 5, 9, 1]])
    human = np.array([[np.nan, 2, 1, 0], [np.nan, 5, 10, 1]])
    open_ = np.full(4, np.nan)
    known = np.array([False, True, True, True])
    low, high = question_ranges(open_, open_, human, twin, known)
    assert (low[0], high[0]) == (1, 5)
    known[1] = False
    low, high = question_ranges(open_, open_, human, twin, known)
    assert (low[0], high[0]) == (1, 10)
    assert (low[2], high[2]) == (1, 9)  # no other question holds its twins: their own span
