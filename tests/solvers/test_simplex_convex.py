"""Convex functions over the simplex: accelerated projected gradient and mirror descent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.optimize import minimize, nnls

from syndigits_jax.solvers.simplex_convex import minimize_on_simplex, mirror_descent
from syndigits_jax.solvers.solution import Status

X64 = bool(jax.config.read("jax_enable_x64"))
OPTIONS, P, QUESTIONS = 4, 12, 15


def mixture(seed=0):
    """Component distributions (questions, options, p) and target distributions."""
    rng = np.random.default_rng(seed)
    parts = np.moveaxis(rng.dirichlet(np.ones(OPTIONS) * 0.3, size=(QUESTIONS, P)), 1, 2)
    weights = np.zeros(P)
    weights[:4] = [0.4, 0.3, 0.2, 0.1]
    return parts, 0.8 * parts @ weights + 0.2 * rng.dirichlet(np.ones(OPTIONS), size=QUESTIONS)


def divergence(w, parts, target, np=jnp):
    """Mean KL divergence of the mixtures from the targets."""
    return np.mean(np.sum(target * (np.log(target) - np.log(parts @ w)), -1))


@jax.jit
def fit_mixture(parts, target, init, support, tol):
    objective = lambda w: divergence(w, parts, target)  # noqa: E731
    return minimize_on_simplex(objective, init, support=support, tol=tol)


def arrays(dtype, *values):
    return tuple(jnp.asarray(v, dtype) for v in values)


def uniform_start():
    return jnp.full(P, 1 / P, jnp.float32)


def everyone():
    return jnp.ones(P, bool)


def test_mixture_weights_agree_with_scipy(dtype):
    parts, target = mixture()
    tol = 1e-6 if dtype == jnp.float32 else 1e-10
    solution = fit_mixture(*arrays(dtype, parts, target, np.full(P, 1 / P)), everyone(), tol)
    w = np.asarray(solution.value, float)
    assert int(solution.status) == Status.CONVERGED and 0 <= solution.optimality <= tol
    assert (w >= 0).all()
    np.testing.assert_allclose(w.sum(), 1, atol=1e-6)
    judge = minimize(
        lambda w: divergence(w, parts, target, np),
        np.full(P, 1 / P),
        method="SLSQP",
        bounds=[(0, 1)] * P,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    assert 0 < np.sum(judge.x > 1e-6) < P
    atol = 1e-2 if dtype == jnp.float32 else 1e-4
    np.testing.assert_allclose(w, judge.x, atol=atol)
    assert divergence(w, parts, target, np) <= judge.fun + 1e-5


def test_any_start_gives_the_same_answer_and_zeros_are_exact():
    parts, target = arrays(jnp.float32, *mixture(1))
    uniform = fit_mixture(parts, target, uniform_start(), everyone(), 1e-6)
    start = jnp.asarray(np.random.default_rng(0).normal(size=P), jnp.float32)
    other = fit_mixture(parts, target, 0.1 + jnp.abs(start), everyone(), 1e-6)
    np.testing.assert_allclose(uniform.value, other.value, atol=1e-2)
    assert int(jnp.sum(uniform.value == 0)) > 0


def test_weights_off_the_support_stay_zero():
    parts, target = arrays(jnp.float32, *mixture(2))
    support = np.arange(P) % 2 == 0
    start = uniform_start()
    solution = fit_mixture(parts, target, start, jnp.asarray(support), 1e-6)
    np.testing.assert_array_equal(solution.value[~support], 0)
    assert int(solution.status) == Status.CONVERGED
    free = fit_mixture(parts, target, start, everyone(), 1e-6)
    assert divergence(free.value, parts, target) < divergence(solution.value, parts, target)


def test_least_squares_agree_with_nnls():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(20, P)), rng.normal(size=20)
    xj, yj = arrays(jnp.float32, x, y)
    run = jax.jit(lambda y: minimize_on_simplex(lambda w: jnp.sum((xj @ w - y) ** 2), xj[0]))
    w, _ = nnls(np.vstack([x - y[:, None], np.ones((1, P))]), np.r_[np.zeros(20), 1.0])
    np.testing.assert_allclose(run(yj).value, w / w.sum(), atol=2e-3)
    bad = run(yj.at[0].set(jnp.nan))
    assert int(bad.status) == Status.NONFINITE


def test_flat_linear_and_boundary_optima(dtype):
    cost = jnp.asarray([0.3, -0.2, 0.5, 0.1], dtype)
    start = jnp.full(4, 0.25, dtype)
    corner = jax.jit(lambda: minimize_on_simplex(lambda w: jnp.dot(cost, w), start))()
    assert int(corner.status) == Status.CONVERGED
    np.testing.assert_allclose(corner.value, [0, 1, 0, 0], atol=1e-5)
    flat = jax.jit(lambda: minimize_on_simplex(lambda w: 0 * jnp.sum(w), start))()
    assert int(flat.steps) == 0 and float(flat.optimality) == 0
    np.testing.assert_allclose(flat.value, start)


def test_vmap_equals_a_loop_and_a_bad_member_harms_nobody():
    parts, target = arrays(jnp.float32, *mixture(4))
    targets = jnp.stack([target, target[::-1], target.at[0, 0].set(jnp.nan)])
    start = uniform_start()
    batch = jax.vmap(lambda t: fit_mixture(parts, t, start, everyone(), 1e-6))(targets)
    assert [int(s) for s in batch.status] == [0, 0, Status.NONFINITE]
    for i in range(2):
        alone = fit_mixture(parts, targets[i], start, everyone(), 1e-6)
        np.testing.assert_allclose(batch.value[i], alone.value, atol=1e-2)


def test_derivative_of_a_projection_is_the_projection_of_the_direction(dtype):
    """For f = ‖w - b‖² the minimiser is the projection of b, whose derivative is known."""
    target = jnp.asarray([0.7, 0.5, -0.6, 0.3], dtype)

    @jax.jit
    def nearest(b, unit=1.0):
        start, unit = jnp.full(4, 0.25, dtype), jnp.asarray(unit, dtype)
        return minimize_on_simplex(lambda w: unit * jnp.sum((w - b) ** 2), start, tol=1e-6).value

    face = np.array([1.0, 1.0, 0.0, 1.0])
    expected = np.diag(face) - np.outer(face, face) / 3
    for jacobian in (jax.jacfwd, jax.jacrev):
        np.testing.assert_allclose(jax.jit(jacobian(nearest))(target), expected, atol=1e-5)
    # The same in units whose square is out of range.
    far = jax.jit(jax.jacrev(nearest))(target, 1e25)
    np.testing.assert_allclose(far, expected, atol=1e-5)


@pytest.mark.skipif(not X64, reason="finite differences need float64")
def test_derivatives_agree_with_finite_differences():
    parts, target = arrays(jnp.float64, *mixture(5))
    readout = jnp.sin(jnp.arange(P, dtype=parts.dtype))

    def loss(parts, target):
        solution = fit_mixture(parts, target, jnp.full(P, 1 / P), everyone(), 1e-13)
        return jnp.dot(readout, solution.value)

    check_grads(loss, (parts, target), order=1, atol=1e-3, rtol=1e-3, eps=1e-5)


def test_mirror_descent_takes_the_textbook_steps(dtype):
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=(8, 5)), rng.normal(size=8)
    w = np.array([0.1, 0.3, 0.2, 0.25, 0.15])
    aj, bj, start = arrays(dtype, a, b, w)
    solution = jax.jit(
        lambda w, eta: mirror_descent(lambda w: jnp.sum((aj @ w - bj) ** 2), w, eta, max_steps=40)
    )(start, jnp.asarray(0.05, dtype))
    for _ in range(40):
        w = w * np.exp(-0.05 * 2 * a.T @ (a @ w - b))
        w /= w.sum()
    np.testing.assert_allclose(solution.value, w, rtol=200 * np.finfo(dtype).eps)
    assert int(solution.status) == Status.FIXED_STEPS and int(solution.steps) == 40
    gradient = 2 * a.T @ (a @ w - b)
    uniform = np.full(5, 0.2)
    slope = 2 * a.T @ (a @ uniform - b)
    scale = max(np.sum((a @ uniform - b) ** 2), slope @ uniform - slope.min())
    expected = (gradient @ w - gradient.min()) / scale
    np.testing.assert_allclose(solution.optimality, expected, rtol=1e-3)


def test_mirror_descent_stops_on_the_gap():
    parts, target = arrays(jnp.float32, *mixture(7))
    support = jnp.arange(P) != 0

    @jax.jit
    def run(init, target):
        objective = lambda w: divergence(w, parts, target)  # noqa: E731
        return mirror_descent(objective, init, 1.0, tol=1e-3, max_steps=5000, support=support)

    solution = run(jnp.arange(1, P + 1, dtype=jnp.float32), target)
    assert int(solution.status) == Status.CONVERGED and float(solution.optimality) <= 1e-3
    assert 0 < int(solution.steps) < 5000 and float(solution.value[0]) == 0
    np.testing.assert_allclose(jnp.sum(solution.value), 1, atol=1e-6)
    best = fit_mixture(parts, target, uniform_start(), support, 1e-6).value
    assert divergence(solution.value, parts, target) <= divergence(best, parts, target) + 1e-3
    assert (
        int(run(jnp.ones(P, jnp.float32), target.at[0, 0].set(jnp.nan)).status) == Status.NONFINITE
    )


def test_mirror_descent_differentiates_its_steps(dtype):
    target = jnp.asarray([0.5, 0.3, 0.2], dtype)

    def run(eta, start):
        objective = lambda w: jnp.sum((w - target) ** 2)  # noqa: E731
        clipped = lambda w: jnp.clip(2 * (w - target), -0.3, 0.3)  # noqa: E731
        return mirror_descent(objective, start, eta, max_steps=5, gradient=clipped).value[0]

    eta, start = jnp.asarray(0.3, dtype), jnp.asarray([0.2, 0.3, 0.5], dtype)
    forward = jax.jit(jax.jacfwd(run, (0, 1)))(eta, start)
    reverse = jax.jit(jax.grad(run, (0, 1)))(eta, start)
    h = 1e-2 if dtype == jnp.float32 else 1e-5
    plain = jax.jit(run)
    difference = (plain(eta + h, start) - plain(eta - h, start)) / (2 * h)
    np.testing.assert_allclose(forward[0], difference, rtol=2e-2)
    np.testing.assert_allclose(reverse[0], forward[0], rtol=1e-4)
    np.testing.assert_allclose(reverse[1], forward[1], rtol=1e-4, atol=1e-6)


def test_bad_arguments():
    objective = lambda w: jnp.sum(w**2)  # noqa: E731
    with pytest.raises(ValueError, match="`init`"):
        minimize_on_simplex(objective, jnp.ones((2, 2)))
    with pytest.raises(ValueError, match="`support`"):
        minimize_on_simplex(objective, jnp.ones(2), support=jnp.ones(3, bool))
    with pytest.raises(ValueError, match="`init`"):
        mirror_descent(objective, jnp.ones(0), 0.1)
