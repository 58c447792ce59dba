"""Elastic nets of known arrays: sweeps, Newton steps on the dual, working sets, batches."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compilations import compilations
from sklearn.linear_model import ElasticNet

from syndigits_jax.solvers import Status, _working_set, critical_alpha, elastic_net, elastic_nets
from syndigits_jax.solvers._coordinate_descent import BLOCK, columns, descend, in_blocks, judged
from syndigits_jax.solvers._dual_newton import minimise_dual
from syndigits_jax.solvers._in_turn import solve_in_turn
from syndigits_jax.solvers._on_host import WIDE
from syndigits_jax.solvers._quadratic import DesignQuadratic
from syndigits_jax.solvers._working_set import ladder
from syndigits_jax.solvers.linear_model import LinearModel
from syndigits_jax.solvers.solution import Solution

X64 = bool(jax.config.read("jax_enable_x64"))
BATCH, TALL, WIDER, LARGE = 5, (60, 40), (30, 70), (40, WIDE + 76)


def problems(batch, shape, dtype, seed=0, related=0.0):
    """Designs (b, n, p), targets (b, n) and weights (n,); `related` columns share a factor."""
    n, p = shape
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(batch, n, p)) + related * rng.normal(size=(batch, n, 1)) + 1
    coef = rng.normal(size=(batch, p)) * (rng.uniform(size=(batch, p)) < 0.2)
    y = np.einsum("bnp,bp->bn", x, coef) + rng.normal(size=(batch, n)) + 3
    return tuple(jnp.asarray(a, dtype) for a in (x, y, rng.uniform(0.3, 2, size=n)))


def gap(x, y, w, model, alpha, ratio):
    """The relative duality gap in float64 NumPy, from the coefficients alone."""
    x, y, w, b = (np.asarray(a, np.float64) for a in (x, y, w, model.coef))
    w = w / w.sum()
    x, y = x - w @ x, y - w @ y
    l1, l2 = alpha * ratio, alpha * (1 - ratio)
    r = y - x @ b
    v = (w * r) @ x
    g = v - l2 * b
    shrink = min(1.0, l1 / np.abs(g).max())
    value = 0.5 * (1 - shrink) ** 2 * (w @ r**2 + l2 * b @ b)
    value += np.sum(l1 * np.abs(b) - shrink * b * g)
    if l2 > 0:
        excess = np.maximum(np.abs(v) - l1, 0)
        fenchel = l1 * np.abs(b) + 0.5 * l2 * b**2 + excess**2 / (2 * l2) - b * v
        value = min(value, np.sum(fenchel))
    return value / (w @ y**2)


def objective(x, y, w, coef, alpha, ratio):
    """The objective in float64 NumPy."""
    x, y, w, b = (np.asarray(a, np.float64) for a in (x, y, w, coef))
    w = w / w.sum()
    r = (y - w @ y) - (x - w @ x) @ b
    return 0.5 * w @ r**2 + alpha * (ratio * np.abs(b).sum() + 0.5 * (1 - ratio) * b @ b)


def scikit_learn(x, y, w, alpha, ratio):
    model = ElasticNet(alpha=alpha, l1_ratio=ratio, tol=1e-10, max_iter=100_000)
    x, y, w = (np.asarray(a, np.float64) for a in (x, y, w))
    return model.fit(x, y, sample_weight=w)


def one(tree, i):
    return jax.tree.map(lambda leaf: leaf[i], tree)


def quadratic(x, y):
    n = len(y)
    x, y = x - jnp.mean(x, axis=0)[None], y - jnp.mean(y)
    return DesignQuadratic(x, y, jnp.full((n,), 1 / n, x.dtype), y @ x / n, jnp.dot(y, y) / n)


@pytest.mark.parametrize("ratio", [1.0, 0.5])
@pytest.mark.parametrize("shape", [TALL, WIDER, LARGE])
def test_gaps_are_true_and_answers_are_scikit_learns(shape, ratio, dtype):
    x, y, w = problems(BATCH, shape, dtype)
    tol = 1e-10 if dtype == jnp.float64 else 1e-5
    members = range(BATCH if shape != LARGE else 2)
    batch = elastic_nets(x, y, 0.1, ratio, sample_weight=w, tol=tol)
    for i in members:
        alone = elastic_net(x[i], y[i], 0.1, ratio, sample_weight=w, tol=tol)
        best = scikit_learn(x[i], y[i], w, 0.1, ratio)
        for solution in (alone, one(batch, i)):
            assert int(solution.status) == Status.CONVERGED
            true = gap(x[i], y[i], w, solution.value, 0.1, ratio)
            assert true <= float(solution.optimality) * 1.02 + 1e-7 * (dtype == jnp.float32)
            assert float(solution.optimality) <= tol
            excess = objective(x[i], y[i], w, solution.value.coef, 0.1, ratio)
            excess -= objective(x[i], y[i], w, best.coef_, 0.1, ratio)
            assert -1e-6 <= excess / np.cov(y[i], aweights=w, ddof=0) <= tol
            if shape != LARGE or dtype == jnp.float64:  # there the minimum is flat
                np.testing.assert_allclose(solution.value.coef, best.coef_, atol=5e-2)
                np.testing.assert_allclose(solution.value.intercept, best.intercept_, atol=5e-2)


@pytest.mark.parametrize("shape", [TALL, WIDER, LARGE])
def test_the_claimed_gap_is_true_where_steps_run_out(shape, dtype):
    x, y, w = problems(1, shape, dtype)
    for cap in (0, 1, 3, 12):
        batch = elastic_nets(x, y, 0.01, 0.9, sample_weight=w, tol=0.0, max_steps=cap)
        alone = elastic_net(x[0], y[0], 0.01, 0.9, sample_weight=w, tol=0.0, max_steps=cap)
        for solution in (one(batch, 0), alone):
            assert int(solution.status) == Status.MAX_STEPS
            assert int(solution.steps) == cap
            true = gap(x[0], y[0], w, solution.value, 0.01, 0.9)
            np.testing.assert_allclose(solution.optimality, true, rtol=1e-3, atol=1e-5)


def test_related_columns_need_few_newton_steps(dtype):
    x, y, _ = problems(1, WIDER, dtype, related=3.0)
    problem = quadratic(x[0], y[0])
    number = problem.constant.dtype.type
    zero, limit = jnp.zeros(WIDER[1], dtype), jnp.int32(100)
    for l1, l2 in ((0.01, 0.01), (0.1, 0.0)):
        state = jax.jit(minimise_dual)(
            problem, number(l1), number(l2), zero, target=1e-4 * problem.constant, max_steps=limit
        )
        assert int(state.steps) < 60
        model = type("Model", (), {"coef": state.best})
        true = gap(x[0], y[0], np.ones(WIDER[0]), model, l1 + l2, l1 / (l1 + l2))
        assert true <= 1.01e-4
        np.testing.assert_allclose(state.gap / problem.constant, true, rtol=0.05, atol=1e-6)


def test_sweeps_in_blocks_are_those_of_coordinate_descent(dtype):
    x, y, _ = problems(1, (30, BLOCK + 9), dtype)
    problem = quadratic(x[0], y[0])
    blocks = columns(problem)
    l1, l2 = jnp.asarray(0.1, dtype), jnp.asarray(0.05, dtype)
    start = in_blocks(blocks, jnp.zeros(BLOCK + 9, dtype))
    state = judged(blocks, l1, l2, start, jnp.int32(0))
    ours = descend(blocks, l1, l2, state, target=jnp.zeros((), dtype), max_steps=jnp.int32(3))
    a = np.asarray(problem.x, np.float64)
    a, t = a / np.sqrt(len(a)), np.asarray(problem.y, np.float64) / np.sqrt(len(a))
    b = np.zeros(a.shape[1])
    for _ in range(3):
        for j in range(len(b)):
            pull = a[:, j] @ (t - a @ b + a[:, j] * b[j])
            size = max(abs(pull) - 0.1, 0) / (a[:, j] @ a[:, j] + 0.05)
            b[j] = np.sign(pull) * size
    assert int(ours.steps) == 3
    np.testing.assert_allclose(ours.coef.ravel()[: len(b)], b, atol=1e-4)
    assert np.all(np.asarray(ours.coef.ravel()[len(b) :]) == 0)


def test_every_stage_of_one_problem_reaches_the_gap(dtype):
    # Too little for the first stage, related columns for the second.
    for shape in (TALL, WIDER):
        x, y, _ = problems(1, shape, dtype, related=5.0)
        problem = quadratic(x[0], y[0])
        number = problem.constant.dtype.type
        outcome = jax.jit(functools.partial(solve_in_turn, last=True))(
            problem,
            columns(problem),
            number(1e-3),
            number(0),
            jnp.zeros(shape[1], dtype),
            tol=number(1e-4),
            max_steps=jnp.int32(5000),
        )
        assert bool(outcome.converged) and int(outcome.steps) > 10
        true = gap(x[0], y[0], np.ones(shape[0]), outcome, 1e-3, 1.0)
        assert true <= 1.05e-4


def test_a_shared_design_and_own_numbers_are_the_problems_one_by_one(dtype):
    x, y, w = problems(BATCH, TALL, dtype)
    alpha = jnp.asarray([0.01, 0.1, 1.0, 50.0, 0.02], dtype)
    ratio = jnp.asarray([1.0, 0.5, 0.2, 1.0, 0.0], dtype)
    own = jnp.stack([w, 2 * w, w**2, w, 1 / w])
    start = jnp.ones((BATCH, TALL[1]), dtype)
    batch = elastic_nets(x[0], y, alpha, ratio, sample_weight=own, init=start, tol=1e-6)
    again = jax.jit(elastic_nets)(x[0], y, alpha, ratio, sample_weight=own, init=start, tol=1e-6)
    assert np.all(np.asarray(batch.status) == 0) and np.all(np.asarray(again.status) == 0)
    for i in range(BATCH):
        model = one(batch.value, i)
        assert gap(x[0], y[i], own[i], model, float(alpha[i]), float(ratio[i])) < 2e-6
        np.testing.assert_allclose(model.coef, again.value.coef[i], atol=2e-2)
    assert np.all(np.asarray(batch.value.coef[3]) == 0)


@pytest.mark.parametrize("shape", [TALL, WIDER])
def test_a_problem_with_nan_leaves_the_others_alone(shape, dtype):
    x, y, w = problems(BATCH, shape, dtype)
    clean = elastic_nets(x, y, 0.1, 0.5, sample_weight=w)
    spoilt = elastic_nets(x, y.at[1, 0].set(jnp.nan), 0.1, 0.5, sample_weight=w)
    assert spoilt.status.tolist() == [0, Status.NONFINITE, 0, 0, 0]
    assert np.all(np.isnan(spoilt.value.coef[1])) and np.isnan(spoilt.optimality[1])
    others = np.array([0, 2, 3, 4])
    np.testing.assert_array_equal(spoilt.value.coef[others], clean.value.coef[others])


def test_many_columns_with_nan_or_far_from_zero(dtype):
    x, y, w = problems(1, LARGE, dtype)
    spoilt = elastic_net(x[0].at[3, 700].set(jnp.nan), y[0], 0.1, 0.5, sample_weight=w)
    assert int(spoilt.status) == Status.NONFINITE
    near = elastic_net(x[0], y[0], 0.2, 0.5, sample_weight=w, tol=1e-6)
    far = elastic_net(x[0] + 500, y[0], 0.2, 0.5, sample_weight=w, tol=1e-6)
    np.testing.assert_allclose(far.value.coef, near.value.coef, atol=2e-2)
    zero = elastic_net(x[0], y[0], 1e3, 0.5, sample_weight=w)
    assert np.all(np.asarray(zero.value.coef) == 0) and int(zero.status) == 0
    warm = elastic_net(x[0], y[0], 0.2, 0.5, sample_weight=w, init=near.value.coef, tol=1e-5)
    assert int(warm.steps) == 0


def test_derivatives_are_those_of_single_problems(dtype):
    x, y, w = problems(2, (20, 6), dtype)

    def loss(solve, *data):
        return lambda alpha: jnp.sum(
            solve(*data, alpha, 0.5, sample_weight=w, tol=1e-6).value.coef ** 2
        )

    both = jax.grad(loss(elastic_nets, x, y))(0.1)
    each = [jax.grad(loss(elastic_net, x[i], y[i]))(0.1) for i in range(2)]
    np.testing.assert_allclose(both, sum(each), rtol=1e-4)
    step = 1e-3
    ahead, back = (loss(elastic_nets, x, y)(0.1 + s) for s in (step, -step))
    np.testing.assert_allclose(both, (ahead - back) / (2 * step), rtol=2e-2)


def test_nothing_is_compiled_twice(dtype):
    x, y, w = problems(BATCH, TALL, dtype)
    elastic_nets(x, y, 0.1, 0.5, sample_weight=w)
    elastic_net(x[0], y[0], 0.1, 0.5, sample_weight=w)
    more = jnp.concatenate([x, x[:2]]), jnp.concatenate([y, y[:2]])
    alone = x[1], y[1]
    with compilations() as heard:
        elastic_nets(*more, 0.2, 0.9, sample_weight=w, tol=1e-3, max_steps=500)
        elastic_net(*alone, 0.2, 0.9, sample_weight=w, tol=1e-3, max_steps=500)
    assert not heard


def test_working_sets_have_few_sizes(dtype):
    sizes = {ladder(need, 20_000) for need in range(1, 20_001)}
    assert len(sizes) == 16 and max(sizes) == 20_000
    assert all(ladder(need, 20_000) >= need for need in range(1, 20_001, 7))
    x, y, w = problems(1, LARGE, dtype)
    elastic_net(x[0], y[0], 0.5, 0.9, sample_weight=w)
    with compilations() as heard:  # at most one more size: how it is gathered, and its fit
        for alpha in (0.4, 0.45, 0.6):
            elastic_net(x[0], y[0], alpha, 0.9, sample_weight=w)
    assert len(heard) <= 2


def test_working_sets_end_where_no_round_comes_nearer(dtype, monkeypatch):
    """Whether what violates is in the set already or not, they end once all has been tried."""
    x, y, _ = problems(1, LARGE, dtype)
    p, first, sizes = LARGE[1], _working_set.FIRST, []

    def stalled(x, all_, columns, index, coef, *rest, **options):
        sizes.append(len(index))
        assert len(sizes) < 10, sizes
        some = np.isin(np.arange(p), index[:5] if violates == "inside" else index)
        score = np.where(some == (violates == "inside"), 2, 0)
        model = LinearModel(jnp.asarray(coef), jnp.zeros((), dtype))
        one, score = jnp.ones((), dtype), jnp.asarray(score, dtype)
        found = Solution(model, jnp.int32(Status.MAX_STEPS), jnp.int32(0), 0.5 * one)
        return _working_set._Round(found, score, one, jnp.asarray(False))

    monkeypatch.setattr(_working_set, "_fit_some", stalled)
    monkeypatch.setattr(_working_set, "ladder", lambda need, most: first if need <= first else most)
    for violates, last in (("inside", first), ("outside", p)):
        sizes.clear()
        solution = elastic_net(x[0], y[0], 0.5, 0.9, tol=1e-6)
        assert sizes[-1] == last and solution.status == Status.MAX_STEPS, (violates, sizes)


def test_rows_of_other_sizes_than_the_first_ones_tell(dtype):
    x = np.random.default_rng(0).normal(size=(200, 3))
    x[:64] *= 1e-8
    x[64:] *= 1e8
    y = x @ np.array([1.0, 2.0, 0.0]) * 1e-8
    x, y = jnp.asarray(x, dtype), jnp.asarray(y, dtype)
    top = float(critical_alpha(x, y, fit_intercept=False))
    for factor, zeros in ((2, 3), (0.5, 2), (1e-3, 0)):
        solution = elastic_net(x, y, factor * top, 1.0, fit_intercept=False)
        assert solution.status == Status.CONVERGED
        assert np.sum(np.asarray(solution.value.coef) == 0) >= zeros, factor
    np.testing.assert_allclose(solution.value.coef * 1e8, [1, 2, 0], atol=0.02)


def test_many_columns_in_rows_without_weight_may_hold_any_finite_number(dtype):
    x, y, w = problems(1, LARGE, dtype)
    x, y, w = 0.01 * x[0], 0.01 * y[0], w.at[3].set(0)
    how = {"l1_ratio": 0.5, "sample_weight": w, "tol": 1e-6}
    one = elastic_net(x, y, 1e-4, **how)
    most = 0.9 * float(jnp.finfo(dtype).max)
    for other in (elastic_net, jax.jit(elastic_net, static_argnames="l1_ratio")):
        again = other(x.at[3].set(most), y.at[3].set(-most), 1e-4, **how)
        assert again.status == Status.CONVERGED
        np.testing.assert_allclose(again.value.coef, one.value.coef, atol=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": jnp.ones(5)}, "`y` must have shape"),
        ({"y": jnp.ones((2, 4))}, "`y` must have shape"),
        ({"x": jnp.ones((2, 5, 2))}, "`x` has 2 problems but `y` has 3"),
        ({"x": jnp.ones(5)}, "`x` must have shape"),
        ({"alpha": np.ones(2)}, "`alpha` must be a scalar or have shape"),
        ({"l1_ratio": np.ones((3, 1))}, "`l1_ratio` must be a scalar or have shape"),
        ({"alpha": [-1.0, 0.1, 0.1]}, "`alpha` must not be negative"),
        ({"sample_weight": jnp.ones((2, 5))}, "`sample_weight` must have shape"),
        ({"alpha": np.ones(2), "l1_ratio": np.ones(3)}, "`alpha` must be a scalar or have shape"),
        ({"init": jnp.ones(2)}, "`init` must have shape"),
    ],
)
def test_bad_batches(change, message):
    arguments = {"x": jnp.ones((5, 2)), "y": jnp.ones((3, 5)), "alpha": 1.0, "l1_ratio": 0.5}
    with pytest.raises(ValueError, match=message):
        elastic_nets(**arguments | change)
