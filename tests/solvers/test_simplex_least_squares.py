"""Least squares over the simplex, against non-negative least squares and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.test_util import check_grads
from scipy.optimize import nnls

from syndigits_jax.solvers.linear_model import gram_statistics
from syndigits_jax.solvers.simplex_least_squares import (
    simplex_least_squares,
    simplex_least_squares_from_gram,
)
from syndigits_jax.solvers.solution import Status

X64 = bool(jax.config.read("jax_enable_x64"))
TALL, WIDE = (40, 9), (12, 25)
SHAPES = pytest.mark.parametrize("shape", [TALL, WIDE], ids=["tall", "wide"])


@jax.jit
def _solve(x, y, penalty, weight, support, tol, init):
    return simplex_least_squares(
        x, y, penalty, sample_weight=weight, support=support, tol=tol, init=init
    )


def solve(x, y, penalty=0.0, *, weight=None, support=None, tol=1e-6, init=None, dtype=None):
    """The solver compiled once per shape and type: every argument is an array."""
    p = x.shape[1]
    weight = np.ones(len(y)) if weight is None else weight
    support = np.ones(p, bool) if support is None else support
    init = np.full(p, 1 / p) if init is None else init
    cast = lambda a: jnp.asarray(a, dtype or jnp.float32)  # noqa: E731
    numbers = cast(penalty), cast(weight), jnp.asarray(support), cast(tol), cast(init)
    return _solve(cast(x), cast(y), *numbers)


def problem(seed: int, shape, noise=0.5):
    """Donors, a target near a mixture of three of them, and sample weights, in float64."""
    rng = np.random.default_rng(seed)
    n, p = shape
    x = rng.normal(size=shape) + rng.normal(size=(n, 1))
    mixture = np.zeros(p)
    mixture[:3] = rng.dirichlet(np.ones(3))
    return x, x @ mixture + noise * rng.normal(size=n), rng.uniform(0.2, 2, size=n)


def by_nnls(x, y, penalty, weight=None) -> np.ndarray:
    """The exact minimiser: on the cone the form is homogeneous, so normalising NNLS is enough."""
    weight = np.ones(len(y)) if weight is None else weight
    p = x.shape[1]
    rows = [np.sqrt(weight)[:, None] * (x - y[:, None]), np.sqrt(penalty) * np.eye(p)]
    w, _ = nnls(np.vstack([*rows, np.ones((1, p))]), np.r_[np.zeros(len(y) + p), 1.0])
    return w / w.sum()


def objective(x, y, penalty, w, weight=None):
    weight = np.ones(len(y)) if weight is None else weight
    w = np.asarray(w, float)
    return np.sum(weight * (x @ w - y) ** 2) + penalty * np.sum(w**2)


def cast(dtype, *arrays):
    return tuple(jnp.asarray(a, dtype) for a in arrays)


@SHAPES
@given(seed=st.integers(0, 10_000), penalty=st.sampled_from([0.0, 0.1, 10.0]))
def test_reaches_the_minimum_and_certifies_it(shape, seed, penalty):
    x, y, weight = problem(seed, shape)
    solution = solve(x, y, penalty, weight=weight)
    w = np.asarray(solution.value)
    assert (w >= 0).all()
    np.testing.assert_allclose(w.sum(), 1, atol=1e-6)
    assert 0 <= solution.optimality <= 1e-6
    assert int(solution.status) == Status.CONVERGED
    best = objective(x, y, penalty, by_nnls(x, y, penalty, weight), weight)
    assert objective(x, y, penalty, w, weight) <= best + 1e-5 * objective(
        x, y, penalty, np.full(len(w), 1 / len(w)), weight
    )


@SHAPES
def test_weights_agree_with_nnls(shape, dtype):
    x, y, weight = problem(1, shape)
    for penalty in (0.5, 20.0):
        tol = 1e-6 if dtype == jnp.float32 else 1e-13
        solution = solve(x, y, penalty, weight=weight, tol=tol, dtype=dtype)
        assert solution.value.dtype == dtype
        expected = by_nnls(x, y, penalty, weight)
        assert 0 < np.sum(expected == 0) < len(expected)
        atol = 1e-3 if dtype == jnp.float32 else 1e-7
        np.testing.assert_allclose(solution.value, expected, atol=atol)


def test_correlated_columns_of_a_larger_problem(dtype):
    """A factor model with nearly collinear donors, the shape of an imputed panel."""
    rng = np.random.default_rng(3)
    loadings = np.abs(rng.normal(size=(5, 60)))
    x = rng.normal(size=(200, 5)) @ loadings + 0.05 * rng.normal(size=(200, 60))
    y = x[:, :20].mean(1) + 0.02 * rng.normal(size=200)
    solution = solve(x, y, 1e-8, dtype=dtype)
    assert int(solution.status) == Status.CONVERGED
    scale = objective(x, y, 1e-8, np.full(60, 1 / 60))
    best = objective(x, y, 1e-8, by_nnls(x, y, 1e-8))
    assert objective(x, y, 1e-8, solution.value) - best <= 1e-3 * best + 1e-6 * scale


def test_recovers_the_mixture_of_an_exact_fit(dtype):
    x, _, _ = problem(4, TALL)
    truth = np.zeros(TALL[1])
    truth[[1, 5, 6]] = [0.2, 0.5, 0.3]
    solution = solve(x, x @ truth, tol=1e-10, dtype=dtype)
    np.testing.assert_allclose(solution.value, truth, atol=2e3 * np.finfo(dtype).eps)


@SHAPES
@given(seed=st.integers(0, 10_000))
def test_properties_under_relabelling(shape, seed):
    x, y, weight = problem(seed, shape)
    w = solve(x, y, 1.0, weight=weight).value
    rng = np.random.default_rng(seed)
    users, donors = rng.permutation(shape[0]), rng.permutation(shape[1])
    relabelled = solve(x[users][:, donors], y[users], 1.0, weight=weight[users]).value
    np.testing.assert_allclose(relabelled, w[donors], atol=2e-3)
    # Shifting all answers, or rescaling the problem, changes nothing on the simplex.
    moved = solve(2 * x + 3, 2 * y + 3, 4.0, weight=weight)
    np.testing.assert_allclose(moved.value, w, atol=2e-3)


@SHAPES
def test_duplicated_rows_equal_doubled_weights(shape):
    x, y, _ = problem(5, shape)
    n = shape[0]
    rows = np.r_[np.arange(n), np.arange(n // 2)]
    twice = solve(x[rows], y[rows], 1.0).value
    weighted = solve(x, y, 1.0, weight=np.bincount(rows)).value
    np.testing.assert_allclose(twice, weighted, atol=1e-4)


@SHAPES
def test_columns_off_the_support_cannot_matter(shape):
    x, y, _ = problem(6, shape)
    support = np.arange(shape[1]) % 3 != 0
    first = solve(x, y, 0.1, support=support)
    second = solve(np.where(support, x, np.nan), y, 0.1, support=support)
    np.testing.assert_array_equal(first.value, second.value)
    np.testing.assert_array_equal(first.value[~support], 0)
    np.testing.assert_allclose(first.value[support], by_nnls(x[:, support], y, 0.1), atol=1e-3)


def test_rows_without_weight_cannot_matter():
    x, y, _ = problem(7, TALL)
    weight = np.arange(TALL[0]) < 30
    first = solve(x, y, 0.1, weight=weight)
    x[30:], y[30:] = 7.0, -3.0
    second = solve(x, y, 0.1, weight=weight)
    np.testing.assert_array_equal(first.value, second.value)


def test_from_gram_agrees_and_takes_an_intercept(dtype):
    x, y, weight = problem(8, TALL)
    direct = solve(x, y, 2.0, weight=weight, dtype=dtype)

    @jax.jit
    def run(y, intercept):
        arrays = cast(dtype, x, weight)
        stats = gram_statistics(arrays[0], y, arrays[1], fit_intercept=False)
        centred = gram_statistics(arrays[0], y, arrays[1])
        stats = jax.tree.map(lambda a, b: jnp.where(intercept, a, b), centred, stats)
        w = simplex_least_squares_from_gram(stats, 2.0).value
        return w, stats.intercept(w)

    (y,) = cast(dtype, y)
    np.testing.assert_allclose(run(y, False)[0], direct.value, atol=1e-3)
    # Moments about the mean give a free intercept: shifting the target changes no weight.
    w, intercept = run(y, True)
    assert np.abs(w - direct.value).max() > 1e-2
    shifted_w, shifted_intercept = run(y + 5, True)
    np.testing.assert_allclose(shifted_w, w, atol=1e-3)
    np.testing.assert_allclose(shifted_intercept, intercept + 5, atol=1e-2)


def test_penalty_pulls_to_uniform_weights_and_one_trace_serves_all_penalties():
    x, y, _ = problem(9, TALL)
    solve(x, y, 0.0)
    compiled = _solve._cache_size()
    spread = [float(jnp.sum(solve(x, y, lam).value ** 2)) for lam in (0.0, 1.0, 100.0, 1e6)]
    assert spread == sorted(spread, reverse=True)
    np.testing.assert_allclose(solve(x, y, 1e6).value, 1 / TALL[1], rtol=1e-3)
    assert _solve._cache_size() == compiled


def test_duplicated_donors_share_without_harm():
    x, y, _ = problem(10, TALL)
    x = np.hstack([x, x])
    solution = solve(x, y)
    assert int(solution.status) == Status.CONVERGED
    expected = by_nnls(x[:, : TALL[1]], y, 0.0)
    w = np.asarray(solution.value)
    np.testing.assert_allclose(w[: TALL[1]] + w[TALL[1] :], expected, atol=1e-3)


def test_all_donors_equal_to_the_target_is_solved_at_once():
    y = np.arange(6.0)
    solution = solve(np.tile(y[:, None], (1, 4)), y)
    assert int(solution.status) == Status.CONVERGED and float(solution.optimality) == 0
    np.testing.assert_allclose(solution.value, 0.25)


@SHAPES
def test_warm_start_saves_steps(shape):
    x, y, _ = problem(11, shape)
    cold = solve(x, y, 0.1, tol=1e-5)
    warm = solve(x, y, 0.1, tol=1e-5, init=cold.value)
    assert int(cold.steps) > int(warm.steps) == 0
    np.testing.assert_array_equal(warm.value, cold.value)


def test_reports_what_went_wrong():
    x, y, _ = problem(12, TALL)
    assert int(solve(x, y, tol=-1.0).status) == Status.MAX_STEPS
    assert int(solve(x, np.r_[np.nan, y[1:]]).status) == Status.NONFINITE
    assert int(solve(x, y, support=np.zeros(TALL[1], bool)).status) == Status.NONFINITE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": jnp.ones(4)}, "`y` has 4 rows"),
        ({"penalty": -1.0}, "`penalty` must not be negative"),
        ({"penalty": np.ones(2)}, "`penalty` must be a scalar"),
        ({"sample_weight": jnp.ones(4)}, "`sample_weight`"),
        ({"support": jnp.ones(3, bool)}, "`support`"),
        ({"init": jnp.ones(3)}, "`init`"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {"x": jnp.ones((5, 2)), "y": jnp.ones(5)} | change
    with pytest.raises(ValueError, match=message):
        simplex_least_squares(**arguments)


@SHAPES
def test_vmap_equals_a_loop_and_a_bad_member_harms_nobody(shape):
    x, y, _ = cast(jnp.float32, *problem(13, shape))
    targets = jnp.stack([y, 0.6 * x[:, 0] + 0.3 * x[:, 1], y.at[1].set(jnp.nan), 2 * y])
    batch = jax.jit(jax.vmap(lambda y: simplex_least_squares(x, y, 0.1)))(targets)
    assert [int(s) for s in batch.status] == [0, 0, Status.NONFINITE, 0]
    for i in (0, 1, 3):
        alone = solve(x, targets[i], 0.1)
        np.testing.assert_allclose(batch.value[i], alone.value, atol=2e-4)


def by_hand(x, y, penalty, w):
    """dw/dλ and the Jacobian dw/dy from the bordered linear system on the face, in float64."""
    face = w > 0
    xf = x[:, face]
    k = face.sum()
    border = np.zeros((k + 1, k + 1))
    border[:k, :k] = xf.T @ xf + penalty * np.eye(k)
    border[:k, k] = border[k, :k] = 1
    in_penalty, in_y = np.zeros(len(w)), np.zeros((len(w), len(y)))
    in_penalty[face] = np.linalg.solve(border, np.r_[-w[face], 0])[:k]
    in_y[face] = np.linalg.solve(border, np.vstack([xf.T, np.zeros(len(y))]))[:k]
    return in_penalty, in_y


@SHAPES
def test_derivatives_are_those_of_the_active_face(shape, dtype):
    x, y, _ = problem(14, shape)
    tol = 1e-6 if dtype == jnp.float32 else 1e-13
    in_penalty, in_y = by_hand(x, y, 2.0, by_nnls(x, y, 2.0))
    rtol = 1e-3 if dtype == jnp.float32 else 1e-7
    xd, yd, penalty = cast(dtype, x, y, 2.0)
    forward = jax.jit(jax.jacfwd(lambda lam: simplex_least_squares(xd, yd, lam, tol=tol).value))
    np.testing.assert_allclose(forward(penalty), in_penalty, atol=rtol * np.abs(in_penalty).max())
    reverse = jax.jit(jax.jacrev(lambda y: simplex_least_squares(xd, y, penalty, tol=tol).value))
    np.testing.assert_allclose(reverse(yd), in_y, atol=rtol * np.abs(in_y).max())


@pytest.mark.skipif(not X64, reason="finite differences need float64")
@SHAPES
def test_derivatives_agree_with_finite_differences(shape):
    x, y, weight = cast(jnp.float64, *problem(15, shape))
    readout = jnp.sin(jnp.arange(shape[1], dtype=x.dtype))

    @jax.jit
    def loss(x, y, penalty, weight):
        w = simplex_least_squares(x, y, penalty, sample_weight=weight, tol=1e-14).value
        return jnp.dot(readout, w)

    check_grads(loss, (x, y, jnp.float64(0.5), weight), order=1, atol=1e-5, rtol=1e-4, eps=1e-5)


@pytest.mark.skipif(not X64, reason="finite differences need float64")
def test_gram_derivatives_agree_with_finite_differences():
    x, y, weight = cast(jnp.float64, *problem(16, TALL))
    readout = jnp.cos(jnp.arange(TALL[1], dtype=x.dtype))

    @jax.jit
    def loss(x, y, penalty):
        stats = gram_statistics(x, y, weight)
        return jnp.dot(readout, simplex_least_squares_from_gram(stats, penalty, tol=1e-14).value)

    lam, h = jnp.float64(0.5), 1e-4
    check_grads(loss, (x, y, lam), order=1, modes=["rev"], atol=1e-5, rtol=1e-4, eps=1e-5)
    slope = jax.grad(loss, 2)
    difference = (slope(x, y, lam + h) - slope(x, y, lam - h)) / (2 * h)
    np.testing.assert_allclose(jax.grad(slope, 2)(x, y, lam), difference, rtol=1e-4)


def test_gradient_of_a_batch_and_of_a_masked_problem():
    x, y, _ = cast(jnp.float32, *problem(17, TALL))
    support = jnp.arange(TALL[1]) != 2

    def loss(x, lam):
        w = simplex_least_squares(x, y, lam, support=support).value
        return jnp.sum(w**2)

    penalties = jnp.asarray([0.1, 1.0, 10.0])
    gradient = jax.jit(jax.vmap(jax.grad(loss, (0, 1)), (None, 0)))
    in_x, in_lam = gradient(x, penalties)
    assert np.isfinite(in_x).all() and (np.asarray(in_lam) < 0).all()
    np.testing.assert_array_equal(in_x[:, :, 2], 0)
    alone = gradient(x, jnp.broadcast_to(penalties[1], (3,)))
    np.testing.assert_allclose(in_lam[1], alone[1][0], rtol=1e-3)
