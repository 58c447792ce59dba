"""Twins' answers: coding, missing answers, dropped options and the two products."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_ensembles import OPTIONS, QUESTIONS, TWINS, rows_of, small_problem

from syndigits_jax.distribution import Answers, fit_ensemble
from syndigits_jax.distribution import answers as answers_module
from syndigits_jax.distribution import design as design_module
from syndigits_jax.distribution.design import BlockedDesign, DenseDesign, make_design


def test_products_are_those_of_the_dense_matrix(monkeypatch, dtype):
    _, choices = small_problem(2, missing=0.2)
    answers = Answers.from_choices(choices, OPTIONS)
    monkeypatch.setattr(answers_module, "_BLOCK_ENTRIES", 7 * QUESTIONS)
    rng = np.random.default_rng(0)
    weights = jnp.asarray(rng.dirichlet(np.ones(TWINS)), dtype)
    gradient = jnp.asarray(rng.normal(size=(QUESTIONS, OPTIONS)), dtype)
    rows = rows_of(answers)[:TWINS]
    rtol = 1e-5
    np.testing.assert_allclose(answers.mix(weights), np.tensordot(weights, rows, 1), rtol=rtol)
    expected = np.tensordot(rows, gradient, 2)
    np.testing.assert_allclose(answers.score(gradient), expected, rtol=rtol, atol=1e-5)
    soft = Answers.from_probabilities(rows)
    np.testing.assert_allclose(soft.mix(weights), answers.mix(weights), rtol=rtol)
    np.testing.assert_allclose(soft.score(gradient), answers.score(gradient), rtol=1e-4, atol=1e-5)


def test_missing_answers_count_as_the_others_mean():
    choices = np.array([[0, 1], [0, np.nan], [2, 1], [np.nan, 0]])
    answers = Answers.from_choices(choices, 3)
    np.testing.assert_allclose(answers.fallback, [[2 / 3, 0, 1 / 3], [1 / 3, 2 / 3, 0]], rtol=1e-6)
    np.testing.assert_allclose(rows_of(answers)[1, 1], answers.fallback[1], rtol=1e-6)
    gone = Answers.from_choices(np.full((3, 1), np.nan), 4)
    np.testing.assert_allclose(gone.fallback, 0.25)


def test_memory_is_a_byte_an_answer():
    answers = Answers.from_choices(np.zeros((300, 20)), 5)
    assert answers.codes.dtype == jnp.int8
    assert Answers.from_choices(np.zeros((3, 2)), 200).codes.dtype == jnp.int16


def test_a_dropped_option_is_a_missing_answer():
    choices = np.array([[0, 1], [2, 2], [1, 0]])
    answers = Answers.from_choices(choices, 3)
    keep = np.array([True, True, False])
    less = answers.restricted(keep)
    np.testing.assert_array_equal(less.codes, [[0, 1], [-1, -1], [1, 0]])
    np.testing.assert_allclose(less.fallback, [[0.5, 0.5, 0], [0.5, 0.5, 0]])
    soft = Answers.from_probabilities(rows_of(answers)[:3]).restricted(keep)
    np.testing.assert_allclose(soft.dense(), less.dense())
    targets = np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])
    fit = fit_ensemble(targets, answers, "tv", options=keep)
    q = fit.predict(answers, options=keep)
    np.testing.assert_allclose(q[:, 2], 0, atol=1e-7)
    np.testing.assert_allclose(q.sum(1), 1, rtol=1e-5)
    assert float(fit.divergence) < 0.01


def test_blocked_and_dense_designs_agree(monkeypatch):
    targets, choices = small_problem(1, missing=0.1)
    answers = Answers.from_choices(choices, OPTIONS)
    dense = fit_ensemble(targets, answers, "kl")
    assert isinstance(make_design(answers, jnp.ones((QUESTIONS, OPTIONS), bool)), DenseDesign)
    monkeypatch.setattr(design_module, "_DENSE_BYTES", 0)
    assert isinstance(make_design(answers, jnp.ones((QUESTIONS, OPTIONS), bool)), BlockedDesign)
    blocked = fit_ensemble(targets, answers, "kl")
    assert float(blocked.objective) == pytest.approx(float(dense.objective), rel=1e-4)
    np.testing.assert_allclose(blocked.predict(answers), dense.predict(answers), atol=5e-3)


def test_transposition_and_batches():
    _, choices = small_problem(3)
    answers = Answers.from_choices(choices, OPTIONS)
    design = BlockedDesign(answers, jnp.zeros((QUESTIONS, OPTIONS, OPTIONS)))
    dense = make_design(answers, jnp.ones((QUESTIONS, OPTIONS), bool))
    rng = np.random.default_rng(0)
    w = jnp.asarray(rng.random((3, TWINS + OPTIONS))).at[:, TWINS:].set(0)
    pull = jnp.asarray(rng.normal(size=(QUESTIONS, OPTIONS)))

    def gradients(design):
        return jax.vmap(jax.grad(lambda w: jnp.vdot(design.mix(w), pull)))(w)[:, :TWINS]

    np.testing.assert_allclose(gradients(design), gradients(dense), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(jax.vmap(design.mix)(w), jax.vmap(dense.mix)(w), rtol=1e-5)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (np.array([[0, 5]]), "must lie in"),
        (np.array([[0.5, 1]]), "ordinal values"),
        (np.array([["a", "b"]]), "not a number"),
        (np.zeros((0, 3)), "twins x questions"),
        (np.zeros(3), "twins x questions"),
        (np.array([[np.inf, 0]]), "must lie in|fractions"),
    ],
)
def test_bad_choices_are_named(choices, message):
    with pytest.raises(ValueError, match=message):
        Answers.from_choices(choices, 3)


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        (np.full((2, 3, 4), 0.5), "sum to 1"),
        (np.full((2, 3), 0.5), "twins x questions x options"),
        (np.array([[[1.5, -0.5]]]), "not negative"),
        (np.array([[[np.nan, 1.0]]]), "NaN for some options"),
    ],
)
def test_bad_probabilities_are_named(probabilities, message):
    with pytest.raises(ValueError, match=message):
        Answers.from_probabilities(probabilities)
