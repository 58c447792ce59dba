"""What a weighted completion minimises: repeated rows, optimality conditions, a generic solver."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from syndigits_jax.solvers.completion import als, hard_impute, soft_impute
from syndigits_jax.solvers.low_rank import leading_subspace
from syndigits_jax.solvers.solution import Status

N, M, PENALTY = 12, 9, 2.5


@functools.partial(jax.jit, static_argnames=("kind", "rank"))
def run(kind, x, mask, penalty=0.0, *, rank, **options):
    if kind == "hard":
        return hard_impute(x, mask, rank, **options)
    return {"soft": soft_impute, "als": als}[kind](x, mask, rank, penalty, **options)


def problem(seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    x = 2 + rng.normal(size=(N, 2)) @ rng.normal(size=(2, M)) + 0.3 * rng.normal(size=(N, M))
    mask = rng.random(x.shape) < 0.75
    mask[np.arange(N), np.arange(N) % M] = True
    return np.where(mask, x, 0).astype(dtype), mask


def proximal_gradient(x, mask, penalty, rank=None, *, start=None, steps=20_000):
    """½‖P(X - M)‖² + penalty·‖M‖_* in double precision by whole SVDs, without weights."""
    x = np.where(mask, x.astype(float), 0)
    fit = np.zeros_like(x) if start is None else start
    for _ in range(steps):
        u, s, vt = np.linalg.svd(np.where(mask, x, fit), full_matrices=False)
        s = np.maximum(s - penalty, 0)
        new = (u[:, :rank] * s[:rank]) @ vt[:rank]
        moved = np.linalg.norm(new - fit)
        fit = new
        if moved < 1e-12 * np.linalg.norm(x):
            return fit
    raise AssertionError("the judge has not converged")


def gap(x, mask, penalty, fitted, weight=None):
    """The relative duality gap with a whole SVD's spectral norm, in double precision."""
    root = np.ones((len(x), 1)) if weight is None else np.sqrt(weight.astype(float))[:, None]
    data, fitted = root * np.where(mask, x.astype(float), 0), root * np.asarray(fitted, float)
    residual = np.where(mask, data - fitted, 0)
    dual = residual * min(1.0, penalty / max(np.linalg.norm(residual, 2), 1e-300))
    nuclear = np.linalg.svd(fitted, compute_uv=False).sum()
    primal = 0.5 * np.sum(residual**2) + penalty * nuclear
    return (primal - np.sum(dual * data) + 0.5 * np.sum(dual**2)) / (0.5 * np.sum(data**2))


@pytest.mark.parametrize("kind", ["soft", "als"])
@pytest.mark.parametrize("seed", [0, 1])
def test_whole_weights_are_rows_literally_repeated(kind, seed, dtype):
    x, mask = problem(seed, dtype)
    weight = np.random.default_rng(seed).integers(1, 4, N)
    rows = np.repeat(np.arange(N), weight)
    want = proximal_gradient(x[rows], mask[rows], PENALTY)
    solution = run(
        kind, x, mask, jnp.asarray(PENALTY, dtype), rank=M, tol=0.0, max_steps=5000,
        sample_weight=jnp.asarray(weight, dtype),
    )  # fmt: skip
    np.testing.assert_allclose(np.asarray(solution.value.fitted)[rows], want, atol=5e-3)
    # A penalty on M instead of its weighted rows, or on a mean error, is another problem.
    first = np.unique(rows, return_index=True)[1]
    for penalty in (PENALTY, PENALTY / weight.mean(), PENALTY * weight.mean()):
        assert np.abs(proximal_gradient(x, mask, penalty) - want[first]).max() > 0.05


def test_whole_weights_are_rows_literally_repeated_in_a_hard_impute(dtype):
    """The published loop on the rows as often as they count; those that do not count, placed."""
    x, mask = problem(2, dtype)
    weight = np.array([1, 2, 3, 0] * 3)
    rows = np.repeat(np.arange(N), weight)
    seen = np.where(mask[rows], x[rows], np.nan).astype(float)
    start = np.broadcast_to(np.nanmean(seen, axis=0), seen.shape)
    want = proximal_gradient(x[rows], mask[rows], 0.0, 2, start=start)
    value = run(
        "hard", x, mask, rank=2, tol=1e-6, max_steps=20_000,
        sample_weight=jnp.asarray(weight, dtype),
    ).value  # fmt: skip
    np.testing.assert_allclose(np.asarray(value.fitted)[rows], want, atol=1e-2)
    basis = np.linalg.svd(want)[2][:2].T
    for i in np.flatnonzero(weight == 0):
        scores = np.linalg.lstsq(basis[mask[i]], x[i, mask[i]].astype(float), rcond=None)[0]
        np.testing.assert_allclose(value.fitted[i], basis @ scores, atol=2e-2)


def test_a_hard_impute_starts_at_weighted_column_means(dtype):
    x, mask = problem(3, dtype)
    weight = np.array([1, 2, 3, 0] * 3)
    rows = np.repeat(np.arange(N), weight)
    seen = np.where(mask[rows], x[rows], np.nan).astype(float)
    filled = np.where(mask[rows], seen, np.nanmean(seen, axis=0))
    u, s, vt = np.linalg.svd(filled, full_matrices=False)
    refit = (u[:, :2] * s[:2]) @ vt[:2]
    one = run("hard", x, mask, rank=2, max_steps=1, sample_weight=jnp.asarray(weight, dtype))
    assert int(one.steps) == 1
    np.testing.assert_allclose(np.asarray(one.value.fitted)[rows], refit, atol=1e-3)


@pytest.mark.parametrize("kind", ["soft", "als"])
def test_any_weights_meet_the_conditions_of_the_stated_objective(kind, dtype):
    """½ Σ wᵢ‖P(xᵢ - mᵢ)‖² + penalty·‖√W M‖_*: at D = √W M = U S Vᵀ the weighted residual is
    penalty·U Vᵀ plus a part outside both spaces of spectral norm at most penalty."""
    x, mask = problem(4, dtype)
    weight = np.random.default_rng(4).uniform(0.2, 3, N).astype(dtype)
    penalty = 4.0
    solution = run(
        kind, x, mask, jnp.asarray(penalty, dtype), rank=M, tol=0.0, max_steps=5000,
        sample_weight=jnp.asarray(weight),
    )  # fmt: skip
    root = np.sqrt(weight.astype(float))[:, None]
    fitted = np.asarray(solution.value.fitted, float)
    residual = root * np.where(mask, x - fitted, 0)
    u, s, vt = np.linalg.svd(root * fitted, full_matrices=False)
    rank = int(np.sum(s > 0.02))
    assert 0 < rank < M - 1
    u, v = u[:, :rank], vt[:rank].T
    np.testing.assert_allclose(residual @ v, penalty * u, atol=5e-3 * penalty)
    np.testing.assert_allclose(residual.T @ u, penalty * v, atol=5e-3 * penalty)
    assert np.linalg.norm(residual - penalty * u @ v.T, 2) <= penalty * (1 + 1e-3)


@pytest.mark.parametrize("kind", ["soft", "als"])
def test_a_generic_solver_finds_nothing_better(kind, dtype):
    """SciPy on the factors A and B, which has the same minimum as the convex problem."""
    x, mask = problem(5, dtype)
    weight = np.random.default_rng(5).uniform(0.2, 3, N)
    root = np.sqrt(weight)[:, None]

    def factored(flat):
        a, b = flat[: N * M].reshape(N, M), flat[N * M :].reshape(M, M)
        residual = np.where(mask, a @ b.T - x, 0)
        penalised = np.sum(weight[:, None] * a**2) + np.sum(b**2)
        value = 0.5 * np.sum(weight[:, None] * residual**2) + 0.5 * PENALTY * penalised
        left = weight[:, None] * (residual @ b + PENALTY * a)
        right = (weight[:, None] * residual).T @ a + PENALTY * b
        return value, np.r_[left.ravel(), right.ravel()]

    start = 0.3 * np.random.default_rng(6).normal(size=(N + M) * M)
    best = scipy.optimize.minimize(
        factored, start, jac=True, method="L-BFGS-B",
        options={"maxiter": 20_000, "maxfun": 40_000, "ftol": 1e-15, "gtol": 1e-9},
    )  # fmt: skip
    want = best.x[: N * M].reshape(N, M) @ best.x[N * M :].reshape(M, M).T
    solution = run(
        kind, x, mask, jnp.asarray(PENALTY, dtype), rank=M, tol=0.0, max_steps=5000,
        sample_weight=jnp.asarray(weight, dtype),
    )  # fmt: skip
    fitted = np.asarray(solution.value.fitted, float)
    nuclear = np.linalg.svd(root * fitted, compute_uv=False).sum()
    value = 0.5 * np.sum(weight[:, None] * np.where(mask, fitted - x, 0) ** 2) + PENALTY * nuclear
    np.testing.assert_allclose(value, best.fun, rtol=1e-5)
    np.testing.assert_allclose(fitted, want, atol=1e-2)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["soft", "als"])
def test_optimality_is_the_duality_gap(kind, weighted, dtype):
    x, mask = problem(6, dtype)
    weight = np.random.default_rng(7).uniform(0.2, 3, N).astype(dtype) if weighted else None
    given = {} if weight is None else {"sample_weight": jnp.asarray(weight)}
    penalty = jnp.asarray(PENALTY, dtype)
    for steps in (1, 2, 4, 10):
        early = run(kind, x, mask, penalty, rank=M, tol=0.0, max_steps=steps, **given)
        want = gap(x, mask, PENALTY, early.value.fitted, weight)
        # The spectral norm in the gap is estimated on a subspace with a random start.
        np.testing.assert_allclose(early.optimality, want, rtol=0.1, atol=2e-6)
    assert float(early.optimality) > 1e-6
    done = run(kind, x, mask, penalty, rank=M, tol=1e-6, max_steps=5000, **given)
    assert int(done.status) == Status.CONVERGED
    assert float(done.optimality) < 1e-4
    # A rank that binds keeps the fit from the optimum of the convex problem, and this says so.
    bound = run(kind, x, mask, penalty, rank=1, tol=1e-6, max_steps=5000, **given)
    assert int(bound.status) == Status.CONVERGED
    want = gap(x, mask, PENALTY, bound.value.fitted, weight)
    assert float(bound.optimality) > 1e-3
    np.testing.assert_allclose(bound.optimality, want, rtol=0.1)


@pytest.mark.parametrize("kind", ["soft", "als"])
@pytest.mark.parametrize("penalty", [1e3, np.inf])
def test_a_penalty_beyond_everything_gives_zero_at_no_distance(kind, penalty, dtype):
    x, mask = problem(7, dtype)
    solution = run(kind, x, mask, jnp.asarray(penalty, dtype), rank=3)
    assert int(solution.status) == Status.CONVERGED
    np.testing.assert_allclose(solution.value.fitted, 0, atol=1e-6)
    assert float(solution.optimality) < 1e-6


def one_sweep(x, mask, penalty, loadings):
    """A sweep of softImpute-ALS from a fit of zero."""
    x = np.where(mask, x.astype(float), 0)
    ridge = penalty * np.eye(loadings.shape[1])
    scores = np.linalg.solve(loadings.T @ loadings + ridge, (x @ loadings).T).T
    filled = np.where(mask, x, scores @ loadings.T)
    loadings = np.linalg.solve(scores.T @ scores + ridge, (filled.T @ scores).T).T
    return scores @ loadings.T


@pytest.mark.parametrize("traced", [False, True])
def test_one_step_is_one_step(traced, dtype):
    """And the number of steps may be traced."""
    x, mask = problem(8, dtype)
    loadings = np.random.default_rng(8).normal(size=(M, 2)).astype(dtype)
    steps = jnp.int32(1) if traced else 1
    start = np.zeros_like(x, float)

    def once(function, *arguments, **options):
        if not traced:
            return function(x, mask, 2, *arguments, max_steps=1, **options)
        call = jax.jit(lambda s: function(x, mask, 2, *arguments, max_steps=s, **options))
        return call(steps)

    for function, penalty in ((hard_impute, None), (soft_impute, 1.5)):
        arguments = () if penalty is None else (penalty,)
        solution = once(function, *arguments, init=start.astype(dtype))
        u, s, vt = np.linalg.svd(np.where(mask, x, 0).astype(float), full_matrices=False)
        want = (u[:, :2] * np.maximum(s[:2] - (penalty or 0), 0)) @ vt[:2]
        assert (int(solution.steps), int(solution.status)) == (1, Status.MAX_STEPS)
        np.testing.assert_allclose(solution.value.fitted, want, atol=1e-4)
    solution = once(als, 1.5, init=loadings)
    assert (int(solution.steps), int(solution.status)) == (1, Status.MAX_STEPS)
    np.testing.assert_allclose(
        solution.value.fitted, one_sweep(x, mask, 1.5, loadings.astype(float)), atol=1e-3
    )
    lead = jax.jit(lambda s: leading_subspace(x, 2, init=loadings, max_steps=s))(steps)
    basis = np.linalg.qr(x.astype(float) @ loadings)[0]
    assert (int(lead.steps), int(lead.status)) == (1, Status.MAX_STEPS)
    np.testing.assert_allclose(lead.value.matrix(), basis @ (basis.T @ x), atol=1e-4)


@pytest.mark.parametrize(
    "call",
    [
        lambda x, mask: hard_impute(x, mask, 2, max_steps=0),
        lambda x, mask: soft_impute(x, mask, 2, 1.0, max_steps=0),
        lambda x, mask: als(x, mask, 2, 1.0, max_steps=0),
        lambda x, mask: leading_subspace(x, 2, max_steps=0),
    ],
)
def test_no_step_at_all_is_refused(call):
    with pytest.raises(ValueError, match="`max_steps` must be at least 1"):
        call(*problem())


@pytest.mark.parametrize("kind", ["hard", "soft", "als"])
def test_converged_means_that_the_last_change_was_below_the_tolerance(kind):
    """The change from the fit before, recomputed from runs of one step less."""
    x, mask = problem(9)
    tol = 1e-3

    def state(steps):
        value = run(kind, x, mask, PENALTY, rank=2, tol=0.0, max_steps=steps).value
        return np.asarray(value.fitted if kind == "als" else value.completed, float)

    done = run(kind, x, mask, PENALTY, rank=2, tol=tol)
    steps = int(done.steps)
    assert int(done.status) == Status.CONVERGED and steps > 2
    changes = []
    for last in (steps - 1, steps):
        old, new = state(last - 1), state(last)
        size = np.linalg.norm(new if kind == "als" else old)
        changes.append(np.linalg.norm(new - old) / size)
    assert changes[1] < tol <= changes[0]
    short = run(kind, x, mask, PENALTY, rank=2, tol=tol, max_steps=steps - 1)
    assert int(short.status) == Status.MAX_STEPS
