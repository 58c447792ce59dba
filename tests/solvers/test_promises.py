"""Regression solvers: step caps, empty problems, claimed gaps, and containers of numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from syndigits_jax.solvers import (
    GramStatistics,
    LinearModel,
    Solution,
    Status,
    critical_alpha,
    elastic_net,
    elastic_net_path,
    exponentiated_gradient,
    gram_statistics,
    minimize_on_simplex,
    mirror_descent,
    mlp_regression,
    project_simplex,
    ridge,
    ridge_loo_residuals,
    simplex_least_squares,
)
from syndigits_jax.solvers._elastic_net_loop import duality_gap
from syndigits_jax.solvers._quadratic import DesignQuadratic, GramQuadratic
from syndigits_jax.solvers.elastic_net import elastic_net_from_gram
from syndigits_jax.solvers.mlp import MLP
from syndigits_jax.solvers.simplex_entropic import minimize_with_entropy
from syndigits_jax.solvers.simplex_least_squares import simplex_least_squares_from_gram

TALL, WIDE = (24, 6), (6, 9)
KEY = jax.random.key(0)


def data(shape, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    return x, x[:, :3] @ [0.5, 0.3, 0.2] + 0.4 * rng.normal(size=shape[0])


def single(*arrays):
    return tuple(jnp.asarray(a, jnp.float32) for a in arrays)


# --- step caps ------------------------------------------------------------------------------------


def objective(x, y):
    return lambda w: jnp.sum((x @ w - y) ** 2)


CAPPED = {
    "elastic_net": lambda x, y, m: elastic_net(x, y, 0.01, 1.0, tol=0.0, max_steps=m),
    "elastic_net, warm": lambda x, y, m: elastic_net(
        x, y, 0.01, 1.0, tol=0.0, max_steps=m, init=jnp.ones(x.shape[1], x.dtype)
    ),
    "simplex_least_squares": lambda x, y, m: simplex_least_squares(x, y, tol=-1.0, max_steps=m),
    "simplex_least_squares_from_gram": lambda x, y, m: simplex_least_squares_from_gram(
        gram_statistics(x, y), tol=-1.0, max_steps=m
    ),
    "minimize_on_simplex": lambda x, y, m: minimize_on_simplex(
        objective(x, y), jnp.full_like(x[0], 1 / x.shape[1]), tol=-1.0, max_steps=m
    ),
    "mirror_descent": lambda x, y, m: mirror_descent(
        objective(x, y), jnp.full_like(x[0], 1 / x.shape[1]), 0.01, tol=-1.0, max_steps=m
    ),
    "minimize_with_entropy": lambda x, y, m: minimize_with_entropy(
        objective(x, y),
        jnp.full_like(x[0], 1 / x.shape[1]),
        0.1,
        base=jnp.full_like(x[0], 1 / x.shape[1]),
        tol=-1.0,
        max_steps=m,
    ),
}
# The elastic net has a least tolerance, and is there before the larger caps.
ENDS = ("elastic_net", "elastic_net, warm")


@pytest.mark.parametrize("name", CAPPED)
def test_no_solver_takes_more_steps_than_allowed(name):
    x, y = single(*data(TALL))
    traces = []

    @jax.jit
    def run(m):
        traces.append(m)
        return CAPPED[name](x, y, m)

    values = []
    for cap in (0, 1, 2, 3, 13, 51, 92, 150):
        solution = run(cap)
        assert int(solution.steps) <= cap
        if name not in ENDS or cap <= 3:
            assert int(solution.steps) == cap
            assert int(solution.status) == Status.MAX_STEPS
        values.append(np.concatenate([np.ravel(a) for a in jax.tree.leaves(solution.value)]))
    assert len(traces) == 1  # a cap that changes compiles nothing anew
    assert np.abs(values[0] - values[3]).max() > 1e-4  # they do move


def test_a_start_is_in_the_units_of_the_coefficients():
    x, y = single(*data(TALL))
    start = np.linspace(-3, 3, 6).astype(np.float32) / 2**10
    solution = elastic_net(2.0**10 * x, y, 0.01, 1.0, init=start, max_steps=0)
    np.testing.assert_array_equal(solution.value.coef, start)


# --- problems without content ---------------------------------------------------------------------

ZERO, ONES = np.zeros(TALL), np.ones(TALL[0])
UNEVEN = np.random.default_rng(6).uniform(0.1, 3, TALL[0])
GOOD = (Status.CONVERGED, Status.FIXED_STEPS)

FITS = {
    "ridge": lambda x, y, w: ridge(x, y, 1.0, sample_weight=w),
    "elastic_net": lambda x, y, w: elastic_net(x, y, 0.1, 0.5, sample_weight=w, tol=0.0),
    "lasso": lambda x, y, w: elastic_net(x, y, 0.1, 1.0, sample_weight=w, tol=0.0),
    "elastic_net_from_gram": lambda x, y, w: elastic_net_from_gram(
        gram_statistics(x, y, w), 0.1, 0.5, tol=0.0
    ),
    "elastic_net without a penalty": lambda x, y, w: elastic_net(
        x, y, 0.0, 0.5, sample_weight=w, tol=0.0
    ),
}
EMPTY = {
    "design of zeros": (ZERO, data(TALL)[1], ONES),
    "design of constants": (ZERO + np.array([3.3, 1e6, -0.1, 1e-9, 7, 1]), data(TALL)[1], UNEVEN),
    "target of zeros": (data(TALL)[0], 0 * ONES, ONES),
    "constant target": (data(TALL)[0], 1e6 * ONES + 0.3, UNEVEN),
    "weights of zero": (*data(TALL), 0 * ONES),
    "everything zero": (ZERO, 0 * ONES, 0 * ONES),
}


@pytest.mark.parametrize("problem", EMPTY)
@pytest.mark.parametrize("name", FITS)
def test_problems_without_content_are_solved_by_zero(name, problem):
    x, y, w = single(*EMPTY[problem])
    solution = FITS[name](x, y, w)
    assert int(solution.status) == Status.CONVERGED
    np.testing.assert_array_equal(solution.value.coef, 0)
    expected = np.average(y, weights=w) if np.any(w) else 0.0
    np.testing.assert_allclose(solution.value.intercept, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("problem", EMPTY)
@pytest.mark.parametrize("penalty", [0.0, (0.0, 1.0)])
def test_ridge_without_a_penalty_has_no_answer_to_them(problem, penalty):
    x, y, w = single(*EMPTY[problem])
    for solve in (ridge, ridge_loo_residuals):
        solution = solve(x, y, jnp.asarray(penalty), sample_weight=w)
        regular = problem in ("target of zeros", "constant target")
        expected = Status.CONVERGED if regular else Status.SINGULAR
        assert np.ravel(solution.status)[0] == expected
        assert np.ravel(solution.status)[-1] == (expected if penalty == 0.0 else 0)


def test_simplex_problems_without_content_are_solved_by_any_weights():
    x, y = single(*data(TALL))
    same = jnp.broadcast_to(y[:, None], TALL)
    solvers = (simplex_least_squares, exponentiated_gradient)
    for design, target, weight in ((0 * x, 0 * y, y * 0 + 1), (same, y, y * 0 + 1), (x, y, y * 0)):
        for solve in solvers:
            for penalty in (0.0, 1.0):
                solution = solve(design, target, penalty, sample_weight=weight)
                assert int(solution.status) in GOOD
                np.testing.assert_allclose(solution.value, 1 / TALL[1], rtol=1e-5)
                if penalty == 0:
                    assert float(solution.optimality) == 0


# --- claims ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [TALL, WIDE])
def test_the_gap_without_a_penalty_is_an_upper_bound(shape):
    x, y = data(shape)
    q = x.T @ y / len(y)
    rng = np.random.default_rng(2)
    lowest = 0.5 * np.mean((y - x @ np.linalg.lstsq(x, y, rcond=None)[0]) ** 2)
    zero = jnp.zeros((), jnp.float32)
    for b in (np.zeros(shape[1]), rng.normal(size=shape[1])):
        excess = 0.5 * np.mean((y - x @ b) ** 2) - lowest
        gram = single(x.T @ x / len(y), q, np.mean(y**2))
        design = single(x, y, np.full(len(y), 1 / len(y)), q, np.mean(y**2))
        for quadratic in (GramQuadratic(*gram), DesignQuadratic(*design)):
            (coef,) = single(b)
            gap = duality_gap(quadratic, coef, quadratic.product(coef), zero, zero)
            assert float(gap) >= excess * (1 - 1e-5)
        if shape == TALL:  # and there it is the distance itself
            (coef,) = single(b)
            quadratic = GramQuadratic(*gram)
            gap = duality_gap(quadratic, coef, quadratic.product(coef), zero, zero)
            np.testing.assert_allclose(gap, excess, rtol=1e-4)


def test_least_squares_are_certified_where_columns_are_independent():
    x, y = single(*data(TALL))
    solution = elastic_net(x, y, 0.0, 0.5)
    assert int(solution.status) == Status.CONVERGED and float(solution.optimality) <= 1e-4
    dependent = elastic_net(x.at[:, 1].set(x[:, 0]), y, 0.0, 0.5, max_steps=300)
    assert int(dependent.status) == Status.MAX_STEPS and float(dependent.optimality) > 1e-3


def test_moments_keep_the_means_apart():
    x, y = data(TALL)
    w = np.random.default_rng(1).uniform(0.5, 2, size=TALL[0])
    for shift in (0, 1e4):
        xs, ys, ws = single(x + shift, y + shift, w)
        x64, y64, w64 = (np.asarray(a, float) for a in (xs, ys, ws))
        b = np.linspace(0.1, 0.3, 6)
        b /= b.sum()
        for intercept in (True, False):
            stats = gram_statistics(xs, ys, ws, fit_intercept=intercept)
            xc, yc = x64 - np.average(x64, 0, w64), y64 - np.average(y64, weights=w64)
            np.testing.assert_allclose(stats.gram, (xc.T * w64) @ xc, atol=1e-4 * len(y))
            np.testing.assert_allclose(stats.cross, (w64 * yc) @ xc, atol=1e-4 * len(y))
            r = yc - xc @ b if intercept else y64 - x64 @ b
            rtol = 1e-5 if shift == 0 else 1e-2
            np.testing.assert_allclose(
                stats.squared_error(*single(b)), np.sum(w64 * r**2), rtol=rtol
            )
    raw, cross, square = gram_statistics(*single(x, y, w), fit_intercept=False).moments()
    np.testing.assert_allclose(raw, (x.T * w) @ x, atol=1e-4)
    np.testing.assert_allclose(cross, (w * y) @ x, atol=1e-4)
    np.testing.assert_allclose(square, np.sum(w * y**2), rtol=1e-5)
    # Moments that were added up elsewhere need no offsets.
    stats = gram_statistics(*single(x, y, w))
    bare = GramStatistics(
        stats.gram, stats.cross, stats.target_square, stats.x_mean, stats.y_mean, stats.weight_sum
    )
    np.testing.assert_array_equal(
        simplex_least_squares_from_gram(bare).value, simplex_least_squares_from_gram(stats).value
    )


def test_means_far_from_zero_leave_the_moments_alone():
    """One pass over many rows is out by more than the spread of the data."""
    x, y = data((5000, 4), 1)
    x, y = single(x + 1e6, y - 2e6)
    x64, y64 = (np.asarray(a, float) for a in (x, y))
    xc, yc = x64 - x64.mean(0), y64 - y64.mean()
    stats = gram_statistics(x, y)
    np.testing.assert_allclose(stats.gram, xc.T @ xc, atol=0.5)
    np.testing.assert_allclose(stats.cross, yc @ xc, atol=0.5)
    np.testing.assert_allclose(stats.target_square, yc @ yc, rtol=1e-4)
    np.testing.assert_allclose(stats.x_mean, x64.mean(0), rtol=2e-7)
    # The tests compile to sums in one chain, which are out by .001 here; as users compile, 4e-7.
    np.testing.assert_allclose(
        ridge(x, y, 1.0).value.coef, np.linalg.solve(xc.T @ xc + np.eye(4), yc @ xc), atol=5e-3
    )


def test_a_solution_without_a_certificate_says_what_it_stopped_by():
    one = jnp.ones(3)
    old = Solution(one, one.astype(jnp.int32), one.astype(jnp.int32), one)
    assert old.change.shape == (3,) and np.all(np.isnan(old.change))
    x, y = single(*data(TALL))
    solution = mlp_regression(x, y, hidden=(3,), key=KEY, epochs=1)
    assert np.isnan(solution.optimality) and np.isnan(solution.change)
    batch = jax.vmap(lambda y: mlp_regression(x, y, hidden=(3,), key=KEY, epochs=2))(
        jnp.stack([y, 2 * y])
    )
    assert batch.change.shape == (2,) and np.all(batch.change > 0)


# --- the boundary ---------------------------------------------------------------------------------

SUPPORT = np.array([True, True, False, True, True, True])

PUBLIC = {
    "ridge": lambda x, y, w: ridge(x, y, [1.0, 2.0], sample_weight=w),
    "ridge_loo_residuals": lambda x, y, w: ridge_loo_residuals(x, y, 1, sample_weight=w),
    "elastic_net": lambda x, y, w: elastic_net(x, y, 0.1, 0.5, sample_weight=w),
    "elastic_net_path": lambda x, y, w: elastic_net_path(
        x, y, pd.Series([0.2, 0.1]), 0.5, sample_weight=w, init=[0] * 6
    ),
    "simplex_least_squares": lambda x, y, w: simplex_least_squares(
        x, y, 1, sample_weight=w, support=list(SUPPORT), init=[1, 0, 0, 0, 0, 0]
    ),
    "exponentiated_gradient": lambda x, y, w: exponentiated_gradient(
        x, y, np.int8(1), sample_weight=w, steps=20
    ),
    "mlp_regression": lambda x, y, w: mlp_regression(
        x, y, hidden=(2,), key=KEY, epochs=2, sample_weight=w
    ),
    "gram_statistics": lambda x, y, w: simplex_least_squares_from_gram(gram_statistics(x, y, w), 1),
}

HELD = {
    "lists": lambda a: a.tolist(),
    "frames": lambda a: pd.DataFrame(a) if a.ndim == 2 else pd.Series(a),
    "nullable frames": lambda a: (pd.DataFrame(a) if a.ndim == 2 else pd.Series(a)).astype("Int64"),
    "masked": np.ma.array,
    "half precision": lambda a: a.astype(np.float16),
    "integers": lambda a: a.astype(np.int8),
    "big-endian": lambda a: a.astype(">f4"),
    "text": lambda a: a.astype(int).astype(str).astype(object),
    "float64": lambda a: a.astype(np.float64),
}


def whole_numbers():
    rng = np.random.default_rng(4)
    x = rng.integers(1, 6, size=TALL).astype(np.float32)
    return x, rng.integers(1, 6, size=TALL[0]).astype(np.float32), np.ones(TALL[0], np.float32)


@pytest.mark.parametrize("name", PUBLIC)
def test_whatever_holds_numbers_gives_the_same_answer(name):
    arrays = whole_numbers()
    expected = PUBLIC[name](*(jnp.asarray(a, jnp.result_type(float)) for a in arrays))
    assert np.all(np.isin(expected.status, GOOD))
    for kind, hold in HELD.items():
        answer = PUBLIC[name](*(hold(a) for a in arrays))
        for ours, theirs in zip(
            jax.tree.leaves(answer.value), jax.tree.leaves(expected.value), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5, err_msg=kind)


HOLES = {
    "pandas.NA": lambda a: a.astype("Int64").mask(a.index == 2),
    "None": lambda a: [None if i == 2 else v for i, v in enumerate(a)],
    "masked": lambda a: np.ma.array(a, mask=np.arange(len(a)) == 2),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_missing_answers_are_reported_not_guessed(name):
    x, y, w = whole_numbers()
    for kind, spoil in HOLES.items():
        solution = PUBLIC[name](x, spoil(pd.Series(y)), w)
        assert np.all(np.asarray(solution.status) == Status.NONFINITE), kind


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_no_number_is_refused_by_name(name):
    x, y, w = whole_numbers()
    for spoilt, argument in (((x * 1j, y, w), "x"), ((x, ["yes"] * len(y), w), "y")):
        with pytest.raises(ValueError, match=f"`{argument}`"):
            PUBLIC[name](*spoilt)
    with pytest.raises(ValueError, match="`sample_weight` must not be negative"):
        PUBLIC[name](x, y, [-1.0] * len(y))
    with pytest.raises(ValueError, match="`sample_weight` must have shape"):
        PUBLIC[name](x, y, w[:3])
    if name != "gram_statistics":
        with pytest.raises(ValueError, match="`sample_weight` must not be negative"):
            jax.jit(lambda x: PUBLIC[name](x, y, -w).status)(x)  # known while tracing


def test_models_and_functions_of_the_simplex_take_whatever_holds_numbers():
    frame = pd.DataFrame([[1, 2], [3, 4]])
    model = LinearModel(jnp.asarray([1.0, 2.0]), jnp.asarray(3.0))
    np.testing.assert_allclose(model(frame), [8, 14])
    net = MLP((jnp.asarray([[1.0, 2.0]]),), (jnp.asarray([3.0]),))
    np.testing.assert_allclose(net([[1, 2], [3, 4]]), [8, 14])
    np.testing.assert_allclose(project_simplex([3, 1]), [1, 0])
    np.testing.assert_allclose(critical_alpha([[0], [2]], [0, 2]), 1, rtol=1e-4)
    target = jnp.asarray([0.2, 0.8])
    for solve in (
        lambda start: minimize_on_simplex(lambda w: jnp.sum((w - target) ** 2), start),
        lambda start: mirror_descent(lambda w: jnp.sum((w - target) ** 2), start, 1, max_steps=200),
        lambda start: minimize_with_entropy(
            lambda w: jnp.sum((w - target) ** 2), start, 1e-5, base=[0.5, 0.5]
        ),
    ):
        np.testing.assert_allclose(solve([0.5, 0.5]).value, target, atol=1e-3)
        np.testing.assert_allclose(solve(pd.Series([0.5, 0.5])).value, target, atol=1e-3)
        with pytest.raises(ValueError, match="`init`"):
            solve(["a", "b"])
    with pytest.raises(ValueError, match="`base`"):
        minimize_with_entropy(lambda w: jnp.sum(w**2), target, 1.0, base=[0.2, 0.3, 0.5])
