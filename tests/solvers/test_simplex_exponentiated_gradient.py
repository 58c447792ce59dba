"""The paper's fixed-step exponentiated gradient, against a plain NumPy loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from syndigits_jax.solvers.exponentiated_gradient import (
    exponentiated_gradient,
    exponentiated_gradient_from_gram,
)
from syndigits_jax.solvers.linear_model import gram_statistics
from syndigits_jax.solvers.simplex_least_squares import simplex_least_squares
from syndigits_jax.solvers.solution import Status

TALL, WIDE = (30, 8), (10, 14)
SHAPES = pytest.mark.parametrize("shape", [TALL, WIDE], ids=["tall", "wide"])


def problem(seed, shape):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    return x, 0.7 * x[:, 0] + 0.3 * x[:, 1] + 0.3 * rng.normal(size=shape[0])


def plain_loop(x, y, penalty, steps=3000, step_size=0.01):
    """The published algorithm, written out; also says whether the step size ever shrank."""
    w = np.full(x.shape[1], 1 / x.shape[1])
    squares, best, stalled, eta = np.zeros_like(w), np.inf, 0, step_size
    for _ in range(steps):
        residual = x @ w - y
        value = residual @ residual + penalty * w @ w
        if value < best:
            best, stalled = value, 0
        else:
            stalled += 1
            if stalled >= 10:
                eta, stalled = max(0.9 * eta, 0.01 * step_size), 0
        gradient = 2 * x.T @ residual + 2 * penalty * w
        squares += gradient**2
        w = np.maximum(w * np.exp(-eta * gradient / (1 + np.sqrt(squares))), 1e-18)
        w /= w.sum()
    return w, eta < step_size


@jax.jit
def run(x, y, penalty, support):
    return exponentiated_gradient(x, y, penalty, support=support)


def solve(x, y, penalty, dtype=jnp.float32, support=None):
    support = np.ones(x.shape[1], bool) if support is None else support
    x, y, penalty = (jnp.asarray(a, dtype) for a in (x, y, penalty))
    return run(x, y, penalty, jnp.asarray(support))


@SHAPES
def test_follows_the_published_loop(shape, dtype):
    x, y = problem(0, shape)
    for penalty in (1e-6, 2.0):
        solution = solve(x, y, penalty, dtype)
        expected, _ = plain_loop(x, y, penalty)
        assert solution.value.dtype == dtype
        atol = 2e-5 if dtype == jnp.float32 else 1e-10
        np.testing.assert_allclose(solution.value, expected, atol=atol)
        assert int(solution.status) == Status.FIXED_STEPS and int(solution.steps) == 3000
        assert np.ptp(expected) > 0.05  # it does move


def test_step_size_shrinks_where_the_objective_stops_falling(dtype):
    """A huge step size overshoots, and the schedule has to cut it."""
    x, y = problem(1, TALL)
    expected, shrank = plain_loop(x, y, 0.0, steps=200, step_size=5.0)
    assert shrank
    x, y = (jnp.asarray(a, dtype) for a in (x, y))
    solution = jax.jit(lambda x, y: exponentiated_gradient(x, y, 0.0, steps=200, step_size=5.0))(
        x, y
    )
    atol = 1e-3 if dtype == jnp.float32 else 1e-9
    np.testing.assert_allclose(solution.value, expected, atol=atol)


@SHAPES
def test_its_certificate_says_how_far_from_the_minimum_it_is(shape):
    x, y = problem(2, shape)
    solution = solve(x, y, 0.5)
    exact = simplex_least_squares(*(jnp.asarray(a, jnp.float32) for a in (x, y)), 0.5)

    def objective(w):
        w = np.asarray(w, float)
        return np.sum((x @ w - y) ** 2) + 0.5 * np.sum(w**2)

    uniform = np.full(shape[1], 1 / shape[1])
    assert objective(exact.value) < objective(solution.value) < objective(uniform)
    vertices = np.mean([objective(e) for e in np.eye(shape[1])])
    scale = np.sqrt(objective(uniform) * vertices)
    excess = (objective(solution.value) - objective(exact.value)) / scale
    assert 1e-4 < excess <= float(solution.optimality)


@SHAPES
def test_columns_off_the_support_cannot_matter(shape):
    x, y = problem(3, shape)
    support = np.arange(shape[1]) != 2
    first = solve(x, y, 0.1, support=support)
    second = solve(np.where(support, x, np.nan), y, 0.1, support=support)
    np.testing.assert_array_equal(first.value, second.value)
    assert float(first.value[2]) == 0
    expected, _ = plain_loop(x[:, support], y, 0.1)
    np.testing.assert_allclose(first.value[support], expected, atol=2e-5)


def test_weights_of_rows_and_gram_form():
    x, y = problem(4, TALL)
    rows = np.r_[np.arange(30), np.arange(10)]
    expected, _ = plain_loop(x[rows], y[rows], 1.0)
    x, y = (jnp.asarray(a, jnp.float32) for a in (x, y))
    weight = jnp.asarray(np.bincount(rows), jnp.float32)
    stats = gram_statistics(x, y, weight, fit_intercept=False)
    solution = jax.jit(exponentiated_gradient_from_gram)(stats, 1.0)
    np.testing.assert_allclose(solution.value, expected, atol=2e-5)
    # The same with more donors than rows.
    rows = np.r_[np.arange(5), 0]
    expected, _ = plain_loop(np.asarray(x)[rows], np.asarray(y)[rows], 1.0, steps=300)
    solution = exponentiated_gradient(
        x[:5], y[:5], 1.0, sample_weight=jnp.asarray(np.bincount(rows), jnp.float32), steps=300
    )
    np.testing.assert_allclose(solution.value, expected, atol=2e-5)


@SHAPES
def test_vmap_equals_a_loop_and_a_bad_member_harms_nobody(shape):
    x, y = problem(5, shape)
    targets = jnp.asarray(np.stack([y, y[::-1], y * np.nan]), jnp.float32)
    every = jnp.ones(shape[1], bool)
    x = jnp.asarray(x, jnp.float32)
    batch = jax.vmap(lambda y: run(x, y, jnp.float32(0.1), every))(targets)
    assert [int(s) for s in batch.status] == [Status.FIXED_STEPS] * 2 + [Status.NONFINITE]
    for i in range(2):
        np.testing.assert_allclose(batch.value[i], solve(x, targets[i], 0.1).value, atol=1e-5)
    empty = solve(x, y, 0.1, support=np.zeros(shape[1], bool))
    assert int(empty.status) == Status.NONFINITE


def test_gradients_pass_through_the_steps(dtype):
    x, y = (jnp.asarray(a, dtype) for a in problem(6, TALL))
    short = jax.jit(lambda lam: exponentiated_gradient(x, y, lam, steps=30, step_size=0.3).value[0])
    penalty, h = jnp.asarray(5.0, dtype), 0.2
    reverse = jax.jit(jax.grad(short))(penalty)
    difference = (short(penalty + h) - short(penalty - h)) / (2 * h)
    np.testing.assert_allclose(reverse, difference, rtol=2e-2)
    np.testing.assert_allclose(jax.jit(jax.jacfwd(short))(penalty), reverse, rtol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": jnp.ones(4)}, "`y` has 4 rows"),
        ({"penalty": -1.0}, "`penalty` must not be negative"),
        ({"support": jnp.ones(3, bool)}, "`support`"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {"x": jnp.ones((5, 2)), "y": jnp.ones(5)} | change
    with pytest.raises(ValueError, match=message):
        exponentiated_gradient(**arguments)
