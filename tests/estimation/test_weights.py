"""Weights of the components: against SciPy, finite differences, and what their names promise."""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import strategies as st

from syndigits_jax.estimation.weights import (
    FOLDS,
    STRENGTHS,
    learnt_weights,
    non_negative_least_squares,
    pooled_weights,
)

PARTS, PEOPLE, QUESTIONS = 6, 60, 24
PRIOR = np.array([0.3, 0.2, 0.2, 0.1, 0.1, 0.1])
TRUE = np.array([0.6, 0.0, 0.3, 0.0, 0.1, 0.0])
solve = jax.jit(non_negative_least_squares)


def least_squares(seed: int, size: int = PARTS, dtype=jnp.float32):
    """A (3 size, size) system and its normal equations, the solution of both signs."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3 * size, size)) + rng.normal(size=(3 * size, 1))
    y = x @ rng.normal(size=size) + 0.3 * rng.normal(size=3 * size)
    return x, y, jnp.asarray(x.T @ x, dtype), jnp.asarray(x.T @ y, dtype)


def moments(seed: int = 0, weights=TRUE, *, noise: float = 0.5, questions: int = QUESTIONS):
    """Products of components of questions with each other and with an answer made of them."""
    rng = np.random.default_rng(seed)
    parts = rng.normal(size=(questions, len(weights), PEOPLE)) + rng.normal(
        size=(questions, 1, PEOPLE)
    )
    truth = np.einsum("c,kcn->kn", weights, parts) + noise * rng.normal(size=(questions, PEOPLE))
    gram = np.einsum("kcn,kdn->kcd", parts, parts) / PEOPLE
    cross = np.einsum("kcn,kn->kc", parts, truth) / PEOPLE
    return gram, cross, np.ones(questions)


def as_arrays(*values, dtype=jnp.float32):
    return tuple(jnp.asarray(value, dtype) for value in values)


@hypothesis.given(st.integers(0, 10**6))
def test_non_negative_least_squares_is_that_of_scipy(seed):
    dtype = jnp.result_type(float)
    x, y, gram, cross = least_squares(seed, dtype=dtype)
    expected, _ = scipy.optimize.nnls(x, y)
    found = np.asarray(solve(gram, cross))
    assert found.dtype == dtype and np.all(found >= 0)
    tolerance = 2e-3 if dtype == jnp.float32 else 1e-9
    np.testing.assert_allclose(found, expected, atol=tolerance)


def test_its_gradient_is_that_of_finite_differences(dtype):
    _, _, gram, cross = least_squares(3, dtype=dtype)
    found = np.asarray(solve(gram, cross))
    assert 0 < np.sum(found > 0) < PARTS  # some weights are held at 0
    direction = jnp.asarray(np.random.default_rng(0).normal(size=PARTS), dtype)

    @jax.jit
    def total(c):
        return jnp.sum(solve(gram, c) * jnp.arange(1, PARTS + 1, dtype=dtype))

    slope = float(jax.grad(total)(cross) @ direction)
    step = 0.05 if dtype == jnp.float32 else 1e-5
    difference = (total(cross + step * direction) - total(cross - step * direction)) / (2 * step)
    np.testing.assert_allclose(slope, float(difference), rtol=2e-2)


def test_under_vmap_every_problem_has_its_own_support(dtype):
    systems = [least_squares(seed, dtype=dtype)[2:] for seed in range(4)]
    grams, crosses = (jnp.stack(part) for part in zip(*systems, strict=True))
    found = np.asarray(jax.jit(jax.vmap(non_negative_least_squares))(grams, crosses))
    alone = np.stack([np.asarray(solve(gram, cross)) for gram, cross in systems])
    np.testing.assert_allclose(found, alone, atol=1e-4)
    assert len({tuple(row > 0) for row in found}) > 1


def test_too_many_variables_are_refused():
    with pytest.raises(ValueError, match="`cross` must have at most 10"):
        non_negative_least_squares(jnp.eye(11), jnp.ones(11))


def test_pooled_weights_find_the_weights_behind_the_answers():
    gram, cross, size = as_arrays(*moments(noise=0.1))
    (prior,) = as_arrays(PRIOR)
    found = np.asarray(jax.jit(pooled_weights)(gram, cross, size, prior, 0.01))
    np.testing.assert_allclose(found, TRUE, atol=0.02)


def test_pooled_weights_are_the_minimum_of_the_stated_objective():
    """By SciPy's bounded minimiser of the objective in the docstring, question by question."""
    gram, cross, size = moments(1)
    size = np.linspace(0.2, 1, QUESTIONS)
    square = np.einsum("k,kcc->c", size, gram) / size.sum()

    def objective(w):
        fit = np.einsum("c,kcd,d->k", w, gram, w) - 2 * cross @ w
        return size @ fit + 3.0 * square @ (w - PRIOR) ** 2

    best = scipy.optimize.minimize(objective, PRIOR, bounds=[(0, None)] * PARTS, tol=1e-12)
    found = jax.jit(pooled_weights)(*as_arrays(gram, cross, size, PRIOR), 3.0)
    np.testing.assert_allclose(np.asarray(found), best.x, atol=2e-3)


def test_a_useless_component_changes_the_others_little():
    gram, cross, size = moments(2)
    rng = np.random.default_rng(5)
    wide, longer = np.zeros((QUESTIONS, 7, 7)), np.zeros((QUESTIONS, 7))
    wide[:, :PARTS, :PARTS], longer[:, :PARTS] = gram, cross
    # Means over people of products with noise of unit variance.
    wide[:, PARTS, PARTS] = 1
    wide[:, PARTS, :PARTS] = wide[:, :PARTS, PARTS] = rng.normal(size=(QUESTIONS, PARTS)) / np.sqrt(
        PEOPLE
    )
    longer[:, PARTS] = rng.normal(size=QUESTIONS) / np.sqrt(PEOPLE)
    before = jax.jit(pooled_weights)(*as_arrays(gram, cross, size, PRIOR), 1.0)
    after = jax.jit(pooled_weights)(*as_arrays(wide, longer, size, np.append(PRIOR, 0)), 1.0)
    assert float(after[-1]) < 0.05
    np.testing.assert_allclose(np.asarray(after[:-1]), np.asarray(before), atol=0.03)


def test_questions_of_no_weight_are_not_read():
    gram, cross, size = moments(3)
    size[:4] = 0
    (prior,) = as_arrays(PRIOR)
    fit = jax.jit(pooled_weights)
    before = np.asarray(fit(*as_arrays(gram, cross, size), prior, 1.0))
    gram[:4], cross[:4] = np.nan, np.inf
    np.testing.assert_array_equal(
        np.asarray(fit(*as_arrays(gram, cross, size), prior, 1.0)), before
    )


def learnt(gram, cross, size, dtype=jnp.float32):
    fold = jnp.asarray(np.arange(len(size)) % FOLDS)
    return learnt_weights(
        *as_arrays(gram, cross, size, dtype=dtype), fold, jnp.asarray(PRIOR, dtype)
    )


def test_weights_are_learnt_where_folds_agree_and_drawn_to_the_prior_where_they_do_not():
    agreed, strength = learnt(*moments(4, noise=0.3))
    assert float(strength) < 100
    assert np.abs(np.asarray(agreed) - TRUE).max() < np.abs(PRIOR - TRUE).max() / 3
    # Every fold has weights of its own, of which the prior is the mean.
    parts = [moments(10 + f, 2 * PRIOR * (np.arange(PARTS) % 2 == f % 2)) for f in range(FOLDS)]
    gram, cross = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    fold = jnp.asarray(np.repeat(np.arange(FOLDS), QUESTIONS))
    drawn, strength = learnt_weights(
        *as_arrays(gram, cross, np.ones(len(gram))), fold, *as_arrays(PRIOR)
    )
    assert float(strength) == STRENGTHS[-1]
    np.testing.assert_allclose(np.asarray(drawn), PRIOR, atol=0.06)


def test_the_left_out_fold_of_no_weight_is_not_read():
    gram, cross, size = moments(6)
    size[np.arange(QUESTIONS) % FOLDS == 3] = 0
    before, _ = learnt(gram, cross, size)
    gram[size == 0], cross[size == 0] = 1e6, -1e6
    after, _ = learnt(gram, cross, size)
    np.testing.assert_array_equal(np.asarray(before), np.asarray(after))


def test_both_precisions_learn_the_same(dtype):
    weights, strength = learnt(*moments(7), dtype)
    single, same = learnt(*moments(7))
    assert weights.dtype == dtype and float(strength) == float(same)
    np.testing.assert_allclose(np.asarray(weights), np.asarray(single), atol=1e-3)


def test_weights_that_do_not_help_are_nothing_where_that_is_asked_for():
    gram, cross, size = moments(4, noise=0.3)
    fold, prior = jnp.asarray(np.arange(QUESTIONS) % FOLDS), jnp.asarray(PRIOR, jnp.float32)
    plain, _ = learnt(gram, cross, size)
    helpful, _ = learnt_weights(*as_arrays(gram, cross, size), fold, prior, or_nothing=True)
    np.testing.assert_array_equal(np.asarray(helpful), np.asarray(plain))
    misleading = as_arrays(gram, -0.01 * np.abs(cross), size)
    drawn, _ = learnt_weights(*misleading, fold, prior)
    nothing, _ = learnt_weights(*misleading, fold, prior, or_nothing=True)
    assert np.any(np.asarray(drawn) > 0) and not np.any(np.asarray(nothing))
