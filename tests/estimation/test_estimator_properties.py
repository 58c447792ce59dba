"""What must not matter to the estimator: order, units, how people are counted, precision."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kinds_of_twins import QUESTIONS, USERS, twins_of_kind

from syndigits_jax.estimation import (
    AUTO,
    estimate_new_users_and_questions,
    estimate_questions,
    estimate_users,
    hold_out_questions,
    hold_out_users,
)
from syndigits_jax.estimation.components import Components, WeightedPanel, truth_moments
from syndigits_jax.estimation.grouping import random_folds
from syndigits_jax.estimation.people import effective_weight
from syndigits_jax.estimation.stack import fold_moments
from syndigits_jax.estimation.weights import FIXED_WEIGHTS
from syndigits_jax.panel import Responses

X64 = bool(jax.config.read("jax_enable_x64"))
BLOCKS = tuple(f"survey {j // 3}" for j in range(QUESTIONS))
PANEL = twins_of_kind("informative", 0, missing=0.1)
# Solvers stop at a tolerance, so that the order of sums shows a little, on a scale of width 6.
CLOSE = 0.02


@functools.cache
def of_questions():
    return hold_out_questions(PANEL, setting="new survey", blocks=BLOCKS)


def test_the_order_of_people_does_not_matter():
    order = np.random.default_rng(0).permutation(USERS)
    moved = hold_out_questions(PANEL.take(order), setting="new survey", blocks=BLOCKS)
    one, other = of_questions().predictions[AUTO][:, order], moved.predictions[AUTO]
    np.testing.assert_allclose(one, other, atol=CLOSE)
    assert np.abs(one - of_questions().predictions[AUTO]).max() > 1


def test_the_order_of_questions_does_not_matter():
    """Folds are whole blocks here, which go by their names; random folds go by position."""
    order = np.random.default_rng(1).permutation(QUESTIONS)
    blocks = [BLOCKS[j] for j in order]
    moved = hold_out_questions(PANEL.take(None, order), setting="new survey", blocks=blocks)
    one, other = of_questions().predictions[AUTO][order], moved.predictions[AUTO]
    np.testing.assert_allclose(one, other, atol=CLOSE)


@pytest.mark.parametrize("size", [2.0, 0.5])
def test_the_unit_of_a_question_is_that_of_its_predictions(size):
    """Human and twin answers and the declared range change together, the kind of scale not."""
    scale = np.where(np.arange(QUESTIONS) % 2 == 0, size, 1.0)
    shift = np.where(np.arange(QUESTIONS) % 2 == 0, -3.0, 0.0)
    fields = {name: getattr(PANEL, name) * scale + shift for name in ("human", "twin")}
    fields |= {name: getattr(PANEL, name) * scale + shift for name in ("low", "high")}
    moved = PANEL.replace(**fields, step=PANEL.step * scale)
    after = hold_out_questions(moved, setting="new survey", blocks=BLOCKS).predictions[AUTO]
    expected = of_questions().predictions[AUTO] * scale[:, None] + shift[:, None]
    np.testing.assert_allclose(after, expected, atol=CLOSE)


def weighted():
    """40 people of weight 2, 40 of weight 1 and 40 of weight 0: and the same, person by person."""
    weight = np.repeat([2.0, 1.0, 0.0], USERS // 3)
    rows = np.concatenate([np.arange(40), np.arange(80)])
    return weight, PANEL.replace(human=PANEL.human[rows], twin=PANEL.twin[rows])


def test_weights_count_people_for_new_questions():
    weight, repeated = weighted()
    one = hold_out_questions(PANEL, setting="new survey", blocks=BLOCKS, sample_weight=weight)
    other = hold_out_questions(repeated, setting="new survey", blocks=BLOCKS)
    # The level is the same; shrinkage knows 72 people of unequal weight here, and 120 there.
    means = one.predictions[AUTO] @ weight / weight.sum(), other.predictions[AUTO].mean(axis=1)
    np.testing.assert_allclose(*means, atol=1e-3)
    differences = one.predictions[AUTO][:, :80] - other.predictions[AUTO][:, 40:]
    changes = of_questions().predictions[AUTO] - one.predictions[AUTO]
    assert rms(differences) < 0.05 < 0.15 < rms(changes)


def rms(values):
    return np.sqrt(np.mean(values**2))


def test_the_unit_of_weights_does_not_matter():
    """To questions without answers and with some, their means, and to users."""
    weight, _ = weighted()
    cells = np.zeros((USERS, QUESTIONS), bool)
    cells[:, -1] = cells[50:, -2] = True
    panel = PANEL.with_missing(human=cells)
    names = PANEL.questions[-2:]
    one, other = (
        estimate_questions(panel, names, blocks=BLOCKS, sample_weight=w)
        for w in (weight, 1000 * weight)
    )
    for name in ("prediction", "mean", "sd", "known_answers"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-6)
    half = one.mean_interval.half_width, other.mean_interval.half_width
    np.testing.assert_allclose(*half, rtol=1e-4)
    assert repr(one.expected) == repr(other.expected)
    users = [
        estimate_users(PANEL, PANEL.users[:3], sample_weight=w) for w in (weight, 1e-6 * weight)
    ]
    np.testing.assert_allclose(users[0].prediction, users[1].prediction, rtol=1e-6)
    both = [
        estimate_new_users_and_questions(PANEL, PANEL.users[:3], names, sample_weight=w)
        for w in (weight, 1e-6 * weight)
    ]
    np.testing.assert_allclose(*both, rtol=1e-6)


def test_equal_weights_are_none():
    users = [hold_out_users(PANEL, sample_weight=weight) for weight in (None, np.full(USERS, 0.3))]
    np.testing.assert_array_equal(users[0].predictions[AUTO], users[1].predictions[AUTO])


def test_weights_are_in_units_of_people():
    np.testing.assert_array_equal(effective_weight(np.full(7, 0.3)), np.ones(7))
    np.testing.assert_array_equal(effective_weight(np.zeros(3)), np.zeros(3))
    weight = np.array([2.0, 1.0, 1.0, 0.0])
    for unit in (1.0, 1e-200, 1e200):
        found = effective_weight(unit * weight)
        np.testing.assert_allclose(found, weight * 4 / 6, rtol=1e-12)
        assert found.sum() == pytest.approx(16 / 6)


def test_a_question_counts_by_the_effective_number_of_its_answers():
    weight = np.ones(USERS)
    weight[:5] = 3.0
    mask = np.zeros((USERS, 3), bool)
    mask[:10, 0] = mask[5:15, 1] = mask[:, 2] = True
    values = np.where(mask, np.arange(USERS)[:, None] % 4, 0.0)
    dtype = PANEL.arrays().human.dtype
    zeros = jnp.zeros((3, 6, USERS), dtype)
    found = Components(zeros, zeros[:, 0, 0], jnp.zeros(3, jnp.int32))
    truth = Responses(jnp.asarray(values, dtype), jnp.asarray(mask))
    size = truth_moments(found, truth, jnp.asarray(weight, dtype)).size
    people = np.array([20**2 / 50, 10, 130**2 / (9 * 5 + 115)])
    np.testing.assert_allclose(size, people / (people + 20), rtol=1e-5)


def test_people_of_no_weight_do_not_matter():
    weight, _ = weighted()
    other = PANEL.replace(human=np.where(weight[:, None] > 0, PANEL.human, 8 - PANEL.human))
    found = [
        hold_out_questions(panel, setting="new survey", blocks=BLOCKS, sample_weight=weight)
        for panel in (PANEL, other)
    ]
    one, two = (held.predictions[AUTO][:, :80] for held in found)
    np.testing.assert_array_equal(one, two)
    users = [hold_out_users(panel, sample_weight=weight) for panel in (PANEL, other)]
    assert [len(held.targets) for held in users] == [80, 80]
    np.testing.assert_array_equal(users[0].predictions[AUTO], users[1].predictions[AUTO])


def test_the_unit_and_the_order_of_questions_do_not_matter_for_users():
    before = hold_out_users(PANEL).predictions[AUTO]
    order = np.random.default_rng(2).permutation(QUESTIONS)
    moved = PANEL.take(None, order)
    fields = {name: 4 * getattr(moved, name) - 1 for name in ("human", "twin", "low", "high")} | {
        "step": 4 * moved.step
    }
    after = hold_out_users(moved.replace(**fields)).predictions[AUTO]
    np.testing.assert_allclose(after, 4 * before[:, order] - 1, atol=1e-2)


@pytest.mark.skipif(not X64, reason="compares with float64, which JAX_ENABLE_X64 allows")
def test_float32_finds_what_float64_finds():
    fold = random_folds(QUESTIONS, 8, 0)
    found = []
    for dtype in (jnp.float32, jnp.float64):
        arrays = PANEL.arrays(dtype)
        responses = WeightedPanel(arrays.human, arrays.twin, jnp.ones(USERS, dtype))
        moments = fold_moments(responses, np.arange(QUESTIONS), fold)
        assert moments.values.dtype == dtype
        assert moments.status.max() == moments.imputation_status.max() == 0
        found.append((moments.values, moments.weights(FIXED_WEIGHTS)[0]))
    np.testing.assert_allclose(found[0][0], found[1][0], atol=5e-3)
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-2)
