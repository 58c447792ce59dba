"""Matrix completion against plain NumPy loops, optimality conditions and finite differences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syndigits_jax.solvers.completion import als, fold_in, hard_impute, soft_impute
from syndigits_jax.solvers.solution import Status

X64 = bool(jax.config.read("jax_enable_x64"))
N, M, RANK, PENALTY = 30, 20, 3, 2.0
hard = jax.jit(hard_impute, static_argnames=("rank", "incomplete"))
soft = jax.jit(soft_impute, static_argnames=("rank", "incomplete", "accelerate"))
alternating = jax.jit(als, static_argnames=("rank", "incomplete", "accelerate"))
place = jax.jit(fold_in)
SOLVERS = {
    "hard": lambda x, mask, **options: hard(x, mask, RANK, **options),
    "soft": lambda x, mask, **options: soft(x, mask, RANK, PENALTY, **options),
    "als": lambda x, mask, **options: alternating(x, mask, RANK, PENALTY, **options),
}


def make_problem(seed=0, *, n=N, missing=0.3, noise=0.3, dtype=np.float32):
    """A noisy rank-3 matrix about 3.5 (as ratings are) with holes; every row and column seen."""
    rng = np.random.default_rng(seed)
    x = 3.5 + rng.normal(size=(n, RANK)) @ rng.normal(size=(RANK, M))
    x += noise * rng.normal(size=x.shape)
    mask = rng.random(x.shape) >= missing
    mask[np.arange(n), np.arange(n) % M] = True
    return np.where(mask, x, 0).astype(dtype), mask


def numpy_impute(x, mask, rank, penalty=0.0, *, start=None, tol=1e-4, max_steps=1000):
    """The published loop: column means, truncated SVD, observed entries restored."""
    x = np.where(mask, x.astype(float), np.nan)
    if start is None:
        start = np.broadcast_to(np.nanmean(x, axis=0), x.shape)
    filled = np.where(mask, x, start)
    step, change = 0, np.inf
    while step < max_steps and change >= tol:
        step += 1
        u, s, vt = np.linalg.svd(filled, full_matrices=False)
        fit = (u[:, :rank] * np.maximum(s[:rank] - penalty, 0)) @ vt[:rank]
        new = np.where(mask, x, fit)
        change = np.linalg.norm(new - filled) / np.linalg.norm(filled)
        filled = new
    return filled, fit, step, change


@pytest.mark.parametrize("given_start", [False, True])
@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_agrees_with_the_numpy_loop(kind, given_start, dtype):
    x, mask = make_problem(dtype=dtype)
    start = None
    if given_start:
        start = np.random.default_rng(1).normal(size=x.shape).astype(dtype)
    penalty = PENALTY if kind == "soft" else 0.0
    filled, fit, steps, change = numpy_impute(x, mask, RANK, penalty, start=start)
    plain = {"accelerate": False} if kind == "soft" else {}
    solution = SOLVERS[kind](x, mask, init=None if start is None else jnp.asarray(start), **plain)
    assert int(solution.status) == Status.CONVERGED
    assert abs(int(solution.steps) - steps) <= 1
    np.testing.assert_allclose(solution.value.completed, filled, atol=2e-3)
    np.testing.assert_allclose(solution.value.fitted, fit, atol=2e-3)
    np.testing.assert_allclose(solution.change, change, rtol=0.1)
    np.testing.assert_array_equal(np.asarray(solution.value.completed)[mask], x[mask])


@given(st.integers(0, 10_000), st.floats(0.1, 0.5))
def test_hard_impute_on_random_problems(seed, missing):
    """A tight stopping rule, as the last step's size says little of the distance to the limit."""
    x, mask = make_problem(seed, missing=missing)
    filled, _, _, change = numpy_impute(x, mask, RANK, tol=1e-6, max_steps=300)
    solution = SOLVERS["hard"](x, mask, tol=1e-6, max_steps=300)
    assert (int(solution.status) == Status.CONVERGED) == (float(solution.change) < 1e-6)
    if change < 1e-6:
        np.testing.assert_allclose(solution.value.completed, filled, atol=2e-2)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_soft_impute_meets_its_optimality_conditions(seed, dtype):
    """½‖P(X - M)‖² + λ‖M‖_*: U'RV = λI on the fitted directions and ‖R‖₂ <= λ beyond them."""
    x, mask = make_problem(seed, dtype=dtype)
    penalty = 6.0
    solution = soft(x, mask, M, penalty, tol=1e-7, max_steps=5000)
    assert int(solution.status) == Status.CONVERGED
    fitted = np.asarray(solution.value.fitted, float)
    residual = np.where(mask, x - fitted, 0)
    u, s, vt = np.linalg.svd(fitted)
    rank = int(np.sum(s > 1e-3))
    assert 0 < rank < M
    u, v = u[:, :rank], vt[:rank].T
    np.testing.assert_allclose(u.T @ residual @ v, penalty * np.eye(rank), atol=2e-3 * penalty)
    beyond = residual - u @ (u.T @ residual)
    beyond = beyond - (beyond @ v) @ v.T
    np.testing.assert_allclose(u.T @ (residual - (residual @ v) @ v.T), 0, atol=2e-3 * penalty)
    assert np.linalg.norm(beyond, 2) <= penalty * (1 + 1e-3)


def test_a_penalty_beyond_the_largest_singular_value_gives_zero(dtype):
    x, mask = make_problem(dtype=dtype)
    critical = np.linalg.norm(np.where(mask, x, 0), 2)
    above = soft(x, mask, RANK, 1.001 * critical, init=jnp.zeros_like(x))
    np.testing.assert_array_equal(above.value.fitted, 0)
    assert int(above.status) == Status.CONVERGED
    below = soft(x, mask, RANK, 0.95 * critical, init=jnp.zeros_like(x))
    assert np.abs(below.value.fitted).max() > 0


def test_als_and_soft_impute_have_one_fixed_point(dtype):
    x, mask = make_problem(dtype=dtype)
    penalty, rank = 12.0, 8
    by_spectrum = soft(x, mask, rank, penalty, tol=1e-7, max_steps=5000)
    # The rank does not bind, so that both solve the convex problem.
    assert np.linalg.matrix_rank(np.asarray(by_spectrum.value.fitted), tol=0.05) < rank
    for seed in range(4):
        key = jax.random.key(seed)
        by_turns = alternating(x, mask, rank, penalty, key=key, tol=1e-7, max_steps=5000)
        np.testing.assert_allclose(by_turns.value.fitted, by_spectrum.value.fitted, atol=2e-4)


def objective(x, mask, fitted, penalty):
    """½‖P(X - M)‖² + λ‖M‖_*, what ALS minimises over factors of M."""
    fitted = np.asarray(fitted, float)
    nuclear = np.linalg.svd(fitted, compute_uv=False).sum()
    return 0.5 * np.sum((x - fitted)[mask] ** 2) + penalty * nuclear


def test_als_descends():
    x, mask = make_problem()
    values = []
    for steps in (1, 2, 3, 5, 10, 50):
        solution = SOLVERS["als"](x, mask, max_steps=steps, tol=0.0)
        assert int(solution.steps) == steps
        values.append(objective(x, mask, solution.value.fitted, PENALTY))
    assert np.all(np.diff(values) < 1e-3)
    assert values[-1] < 0.9 * values[0]


def test_als_start(dtype):
    """`init` is the start, `key` draws one; near convergence neither matters much."""
    x, mask = make_problem(dtype=dtype)
    keys = [jax.random.key(i) for i in range(2)]
    first = [SOLVERS["als"](x, mask, key=key, max_steps=1).value.fitted for key in keys]
    assert np.abs(first[0] - first[1]).max() > 0.1
    size = x.dtype.type(np.sqrt(np.sqrt(np.mean(x[mask] ** 2))))  # loadings are in units of √x
    init = 0.01 * size * jax.random.normal(keys[1], (M, RANK), x.dtype)
    same = SOLVERS["als"](x, mask, init=init, max_steps=1).value.fitted
    np.testing.assert_allclose(same, first[1], atol=1e-4)
    # Where the rank does not bind, the problem is convex.
    last = [alternating(x, mask, 8, 12.0, key=key, tol=1e-6).value.fitted for key in keys]
    np.testing.assert_allclose(last[0], last[1], atol=0.05)


@pytest.mark.parametrize("kind", SOLVERS)
def test_a_doubled_weight_is_a_repeated_row(kind, dtype):
    x, mask = make_problem(dtype=dtype)
    x[20:], mask[20:] = x[10:20], mask[10:20]
    weight = np.repeat([1.0, 2.0, 0.0], 10).astype(dtype)
    # Rows of weight zero are placed on the fit: exact at its fixed point only.
    options = {"tol": 1e-6}
    weighted = SOLVERS[kind](x, mask, sample_weight=jnp.asarray(weight), **options)
    repeated = SOLVERS[kind](x, mask, **options)
    assert abs(int(weighted.steps) - int(repeated.steps)) <= 0.05 * int(repeated.steps) + 1
    np.testing.assert_allclose(weighted.value.fitted, repeated.value.fitted, atol=5e-3)
    np.testing.assert_allclose(weighted.value.completed, repeated.value.completed, atol=5e-3)
    once = SOLVERS[kind](x, mask, sample_weight=jnp.asarray(weight > 0, dtype), **options)
    assert np.abs(once.value.fitted - weighted.value.fitted).max() > 0.02


@pytest.mark.parametrize("kind", SOLVERS)
def test_rows_of_weight_zero_are_placed_on_the_fit_of_the_others(kind, dtype):
    x, mask = make_problem(dtype=dtype)
    keep = np.arange(N) >= 5
    weight = jnp.asarray(keep, x.dtype)
    held_out = SOLVERS[kind](x, mask, sample_weight=weight)
    without = SOLVERS[kind](x[keep], mask[keep])
    np.testing.assert_allclose(held_out.value.fitted[5:], without.value.fitted, atol=5e-3)
    penalty = 0.0 if kind == "hard" else PENALTY
    placed = place(x[:5], mask[:5], held_out.value.loadings, penalty)
    np.testing.assert_allclose(held_out.value.fitted[:5], placed, atol=1e-3)
    # Whatever those rows hold, the others do not see it: bit for bit.
    changed = x.copy()
    changed[:5] = np.where(mask[:5], -7 * x[:5], 0)
    again = SOLVERS[kind](changed, mask, sample_weight=weight)
    np.testing.assert_array_equal(again.value.fitted[5:], held_out.value.fitted[5:])
    np.testing.assert_array_equal(again.value.loadings, held_out.value.loadings)


@pytest.mark.parametrize("penalty", [0.0, 0.7])
def test_fold_in_is_a_ridge_regression_per_row(penalty, dtype):
    x, mask = make_problem(dtype=dtype)
    loadings = np.random.default_rng(2).normal(size=(M, RANK)).astype(dtype)
    mask[3] = False
    placed = place(x, mask, jnp.asarray(loadings), penalty)
    for i in range(6):
        rows = np.r_[loadings[mask[i]], np.sqrt(penalty) * np.eye(RANK)].astype(float)
        target = np.r_[x[i, mask[i]], np.zeros(RANK)].astype(float)
        scores = np.linalg.lstsq(rows, target, rcond=None)[0]
        np.testing.assert_allclose(placed[i], loadings @ scores, atol=2e-3)
    np.testing.assert_array_equal(placed[3], 0)


def test_fold_in_continues_the_fit(dtype):
    """A new row equal to a fitted one gets that one's fit: the fit is a fixed point."""
    x, mask = make_problem(dtype=dtype)
    for kind, penalty in (("soft", PENALTY), ("als", PENALTY)):
        value = SOLVERS[kind](x, mask, tol=1e-6, max_steps=3000).value
        placed = place(x, mask, value.loadings, penalty)
        np.testing.assert_allclose(placed, value.fitted, atol=0.01)


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_a_fully_observed_matrix_returns_at_once(kind, dtype):
    x, _ = make_problem(missing=0.0, dtype=dtype)
    solution = SOLVERS[kind](x, np.ones(x.shape, bool))
    assert int(solution.status) == Status.CONVERGED
    assert int(solution.steps) == 1
    np.testing.assert_array_equal(solution.value.completed, x)
    _, fit, _, _ = numpy_impute(x, np.ones(x.shape, bool), RANK, PENALTY if kind == "soft" else 0)
    np.testing.assert_allclose(solution.value.fitted, fit, atol=2e-3)


def test_what_is_never_observed(dtype):
    """An empty column stays at zero, where it starts; an empty row is what the fit says of it."""
    x, mask = make_problem(dtype=dtype)
    mask[:, 4] = False
    mask[7] = False
    x = np.where(mask, x, 0).astype(dtype)
    for kind in SOLVERS:
        value = SOLVERS[kind](x, mask).value
        # ALS starts elsewhere, and only comes near.
        near = 1e-3 if kind == "als" else 1e-5
        np.testing.assert_allclose(value.completed[:, 4], 0, atol=near)
        assert np.all(np.isfinite(value.completed))
    means = x.sum(axis=0) / np.maximum(mask.sum(axis=0), 1)
    row = SOLVERS["hard"](x, mask).value.completed[7]
    assert np.corrcoef(row, means)[0, 1] > 0.9
    # A penalised fit has no reason to put anything in an empty row but its start.
    nothing = SOLVERS["als"](x, mask, tol=1e-6).value.completed[7]
    assert np.abs(nothing).max() < np.abs(row).max()


def test_unobserved_entries_are_not_read(dtype):
    x, mask = make_problem(dtype=dtype)
    other = np.where(mask, x, 1e6).astype(dtype)
    for kind in SOLVERS:
        one, two = SOLVERS[kind](x, mask).value, SOLVERS[kind](other, mask).value
        np.testing.assert_array_equal(one.completed, two.completed)


@pytest.mark.parametrize("kind", SOLVERS)
def test_limits_are_reported(kind):
    x, mask = make_problem()
    solution = SOLVERS[kind](x, mask, max_steps=2, tol=1e-7)
    assert int(solution.status) == Status.MAX_STEPS
    assert int(solution.steps) == 2
    assert float(solution.change) >= 1e-7


@pytest.mark.skipif(not X64, reason="finite differences need float64")
@pytest.mark.parametrize("kind", SOLVERS)
def test_gradients_agree_with_finite_differences(kind):
    x, mask = make_problem(missing=0.2, dtype=np.float64)
    direction = np.where(mask, np.random.default_rng(3).normal(size=x.shape), 0)
    weight = 1 + np.random.default_rng(4).random(N)
    probe = np.random.default_rng(5).normal(size=x.shape)
    mask = jnp.asarray(mask)
    options = {"tol": 1e-13, "max_steps": 20_000}

    @functools.partial(jax.jit, static_argnames="weighted")
    def value(t, penalty, weighted):
        data = jnp.asarray(x) + t * jnp.asarray(direction)
        weights = jnp.asarray(weight) if weighted else None
        if kind == "hard":
            solution = hard_impute(data, mask, RANK, sample_weight=weights, **options)
        else:
            function = soft_impute if kind == "soft" else als
            solution = function(data, mask, RANK, penalty, sample_weight=weights, **options)
        return jnp.sum(jnp.asarray(probe) * solution.value.fitted)

    for weighted in (False, True):
        for argument in (0, 1) if kind != "hard" else (0,):
            at, step = [0.0, PENALTY], 1e-4
            up, down = at.copy(), at.copy()
            up[argument] += step
            down[argument] -= step
            numeric = (value(*up, weighted) - value(*down, weighted)) / (2 * step)
            reverse = jax.grad(value, argument)(*at, weighted)
            tangents = [float(i == argument) for i in range(2)]
            _, forward = jax.jvp(lambda t, p, w=weighted: value(t, p, w), at, tangents)
            np.testing.assert_allclose(reverse, numeric, rtol=1e-4)
            np.testing.assert_allclose(forward, numeric, rtol=1e-4)


@pytest.mark.skipif(not X64, reason="finite differences need float64")
def test_gradient_in_the_weights():
    x, mask = make_problem(missing=0.2, dtype=np.float64)
    direction = np.random.default_rng(6).normal(size=N)
    mask = jnp.asarray(mask)

    @jax.jit
    def value(t):
        weights = 2 + t * jnp.asarray(direction)
        solution = soft_impute(
            jnp.asarray(x), mask, RANK, PENALTY, sample_weight=weights, tol=1e-13, max_steps=20_000
        )
        return jnp.sum(solution.value.fitted**2)

    numeric = (value(1e-4) - value(-1e-4)) / 2e-4
    np.testing.assert_allclose(jax.grad(value)(0.0), numeric, rtol=1e-4)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x, mask: hard_impute(x, mask, M + 1), "`rank` must lie between 1 and 20"),
        (lambda x, mask: soft_impute(x, mask, 0, 1.0), "`rank` must lie between 1 and 20"),
        (lambda x, mask: als(x, mask, N, 1.0), "`rank` must lie between 1 and 20"),
        (lambda x, mask: als(x, mask, True, 1.0), "`rank` must be a whole number"),
        (lambda x, mask: soft_impute(x, mask, RANK, -1.0), "penalty"),
        (lambda x, mask: als(x, mask, RANK, -0.1), "penalty"),
        (lambda x, mask: fold_in(x, mask, jnp.ones((M, 2)), -1.0), "penalty"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(jnp.ones((N, M)), jnp.ones((N, M), bool))


@pytest.mark.parametrize("kind", SOLVERS)
@pytest.mark.parametrize(
    "change, message",
    [
        ({"mask": jnp.ones((N, M - 1), bool)}, "`mask` must have the shape of `x`"),
        ({"mask": jnp.ones(M, bool)}, "`mask` must have the shape of `x`"),
        ({"x": jnp.ones(M)}, "`x` must be a matrix"),
        ({"sample_weight": jnp.ones(M)}, "`sample_weight` must have shape"),
        ({"sample_weight": jnp.ones((N, 1))}, "`sample_weight` must have shape"),
        ({"sample_weight": jnp.ones(N).at[2].set(-1)}, "must not be negative"),
        ({"sample_weight": jnp.zeros(N)}, "zero for every row"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(kind, change, message):
    arguments = {"x": jnp.ones((N, M)), "mask": jnp.ones((N, M), bool)} | change
    solver = {"hard": hard_impute, "soft": soft_impute, "als": als}[kind]
    penalty = () if kind == "hard" else (PENALTY,)
    x, mask = arguments.pop("x"), arguments.pop("mask")
    with pytest.raises(ValueError, match=message):
        solver(x, mask, RANK, *penalty, **arguments)


def test_starts_and_loadings_of_the_wrong_shape_are_refused():
    x, mask = jnp.ones((N, M)), jnp.ones((N, M), bool)
    with pytest.raises(ValueError, match="`init` must have the shape"):
        hard_impute(x, mask, RANK, init=x[:3])
    with pytest.raises(ValueError, match="`init` must have shape"):
        als(x, mask, RANK, PENALTY, init=x[:3])
    with pytest.raises(ValueError, match="`loadings` must have"):
        fold_in(x, mask, x)


@pytest.mark.parametrize("kind", SOLVERS)
def test_all_weights_zero_are_reported_inside_jit(kind):
    x, mask = make_problem()
    solution = SOLVERS[kind](x, mask, sample_weight=jnp.zeros(N, x.dtype))
    assert int(solution.status) == Status.NONFINITE
