"""Subspace iteration against `numpy.linalg.svd`: values, spaces, warm starts, lacking ranks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syndigits_jax.solvers.low_rank import (
    leading_subspace,
    orthonormal_factors,
    orthonormalise,
    subspace_step,
)
from syndigits_jax.solvers.solution import Status

N, M, RANK = 30, 20, 4
THIN = {"n": 60, "m": 40}  # a block of RANK columns is thin here, and none is factorised
solve = jax.jit(leading_subspace, static_argnames=("rank", "max_steps", "oversample", "tol"))


def with_spectrum(values, *, n=N, m=M, seed=0, dtype=np.float64):
    """A matrix with these singular values, and its left and right singular vectors."""
    rng = np.random.default_rng(seed)
    k = len(values)
    left = np.linalg.qr(rng.normal(size=(n, k)))[0]
    right = np.linalg.qr(rng.normal(size=(m, k)))[0]
    return ((left * np.asarray(values)) @ right.T).astype(dtype), left, right


def angle(a, b) -> float:
    """Sine of the largest principal angle between two column spaces of one dimension."""
    a, b = (np.linalg.qr(np.asarray(block, float))[0] for block in (a, b))
    return float(np.linalg.norm(a - b @ (b.T @ a), 2))


SPECTRA = {
    "separated": [100.0, 50.0, 25.0, 12.0, 1.0, 0.5, 0.2],
    "clustered": [10.0, 9.99, 9.98, 9.97, 3.0, 2.99, 2.98, 2.0, 1.0],
    "one dominates": [1000.0, 3.0, 2.0, 1.0, 0.1],
    "dominated tenfold in float32": [3e4, 30.0, 20.0, 10.0, 0.1],
}


@pytest.mark.parametrize("kind", SPECTRA)
@pytest.mark.parametrize("shape", [(N, M), (M, N)], ids=["tall", "wide"])
def test_agrees_with_svd(kind, shape, dtype):
    x, _, _ = with_spectrum(SPECTRA[kind], n=shape[0], m=shape[1], dtype=dtype)
    solution = solve(jnp.asarray(x), RANK)
    factors = solution.value
    u, s, vt = np.linalg.svd(x.astype(float), full_matrices=False)
    eps = float(jnp.finfo(dtype).eps)
    assert int(solution.status) == Status.CONVERGED
    np.testing.assert_allclose(factors.values, s[:RANK], rtol=0, atol=1e-5 * s[0])
    # The projections are well determined; single vectors of a cluster are not.
    gap = (s[RANK - 1] - s[RANK]) / s[0]
    allowed = 4 * max(1e-5, 4 * eps**0.75) / gap
    assert angle(factors.right, vt[:RANK].T) < allowed
    assert angle(factors.left, u[:, :RANK]) < allowed
    best = (u[:, :RANK] * s[:RANK]) @ vt[:RANK]
    np.testing.assert_allclose(factors.matrix(), best, atol=4e-5 * s[0])
    for block in (factors.left, factors.right):
        np.testing.assert_allclose(block.T @ block, np.eye(RANK), atol=300 * eps)


@given(st.integers(0, 10_000))
def test_random_matrices(seed):
    x = np.random.default_rng(seed).normal(size=(N, M)).astype(np.float32)
    solution = solve(jnp.asarray(x), RANK)
    s = np.linalg.svd(x.astype(float), compute_uv=False)
    assert int(solution.status) == Status.CONVERGED
    np.testing.assert_allclose(solution.value.values, s[:RANK], rtol=1e-4)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e3, 1e6])
def test_a_rank_below_the_one_asked_for(size, dtype):
    """The missing directions neither overflow nor spoil the others."""
    values = np.array([5.0, 2.0]) * size
    x, _, right = with_spectrum(values, dtype=dtype)
    solution = solve(jnp.asarray(x), RANK)
    factors = solution.value
    eps = float(jnp.finfo(dtype).eps)
    assert int(solution.status) == Status.CONVERGED
    np.testing.assert_allclose(factors.values, [*values, 0, 0], atol=100 * eps * size)
    np.testing.assert_allclose(factors.matrix(), x, atol=100 * eps * size)
    assert angle(factors.right[:, :2], right) < 1e-3
    # The right block stays orthonormal: it may serve as a basis.
    np.testing.assert_allclose(factors.right.T @ factors.right, np.eye(RANK), atol=100 * eps)
    np.testing.assert_allclose(x @ factors.right[:, 2:], 0, atol=100 * eps * size)


def test_zero_matrix_and_full_rank(dtype):
    zero = solve(jnp.zeros((N, M), dtype), RANK)
    assert int(zero.status) == Status.CONVERGED
    np.testing.assert_array_equal(zero.value.matrix(), 0)
    x = np.random.default_rng(1).normal(size=(N, M)).astype(dtype)
    full = solve(jnp.asarray(x), M)
    np.testing.assert_allclose(full.value.matrix(), x, atol=1e-4)


def test_warm_start_takes_fewer_steps():
    # Hardly any oversampling, so that a cold start has something to do.
    x, _, _ = with_spectrum(0.9 ** np.arange(40), **THIN, dtype=np.float32)
    cold = solve(jnp.asarray(x), RANK, oversample=1)
    nudged = x + 1e-4 * np.random.default_rng(2).normal(size=x.shape).astype(np.float32)
    cold_again = solve(jnp.asarray(nudged), RANK, oversample=1)
    # `init` holds the block that the solver iterates on: wanted columns and one more.
    block = solve(jnp.asarray(x), RANK + 1, oversample=0).value.right
    warm = solve(jnp.asarray(nudged), RANK, init=block)
    assert int(cold.status) == int(cold_again.status) == int(warm.status) == Status.CONVERGED
    assert int(warm.steps) < int(cold_again.steps)
    np.testing.assert_allclose(warm.value.values, cold_again.value.values, rtol=1e-4)


def test_the_stopping_rule_is_the_reported_residual():
    x, _, _ = with_spectrum(0.95 ** np.arange(40), **THIN, dtype=np.float32)
    short = solve(jnp.asarray(x), RANK, max_steps=2, oversample=0)
    assert int(short.status) == Status.MAX_STEPS
    assert int(short.steps) == 2
    v, u, s = (np.asarray(a) for a in (short.value.right, short.value.left, short.value.values))
    residual = np.linalg.norm(x @ v - u * s[None, :], axis=0).max() / s[0]
    np.testing.assert_allclose(short.optimality, residual, rtol=1e-3)
    loose = solve(jnp.asarray(x), RANK, tol=0.1, oversample=0)
    tight = solve(jnp.asarray(x), RANK, tol=1e-5, oversample=0)
    assert 1e-5 < float(loose.optimality) <= 0.1
    assert int(loose.steps) < int(tight.steps)


@pytest.mark.parametrize("column", [0, None], ids=["repeated", "zero"])
def test_a_start_that_says_too_little_is_completed(column):
    x, _, right = with_spectrum([5.0, 4.0, 3.0, 2.0], dtype=np.float32)
    init = np.zeros((M, RANK)) if column is None else np.repeat(right[:, :1], RANK, axis=1)
    solution = solve(jnp.asarray(x), RANK, init=jnp.asarray(init, x.dtype))
    assert int(solution.status) == Status.CONVERGED
    np.testing.assert_allclose(solution.value.values, [5, 4, 3, 2], rtol=1e-4)


def test_orthonormalise_keeps_the_span_and_drops_what_is_dependent(dtype):
    rng = np.random.default_rng(3)
    y = rng.normal(size=(N, 3)) @ np.diag([1.0, 1e-6, 1e6])
    y = np.c_[y, y[:, 0] * 2, np.zeros(N)].astype(dtype)
    q = np.asarray(orthonormalise(jnp.asarray(y)))
    eps = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(q[:, :3].T @ q[:, :3], np.eye(3), atol=100 * eps)
    assert angle(q[:, :3], np.linalg.qr(y[:, :3].astype(float))[0]) < 1e-3
    np.testing.assert_array_equal(q[:, 3:], 0)


def test_one_step_is_rayleigh_ritz():
    """Within the span of x @ right, the step finds the best approximation."""
    rng = np.random.default_rng(4)
    x, right = rng.normal(size=(N, M)), rng.normal(size=(M, RANK))
    step = subspace_step(jnp.asarray(x, jnp.float32), jnp.asarray(right, jnp.float32))
    basis = np.linalg.qr(x @ right)[0]
    expected = basis @ (basis.T @ x)
    np.testing.assert_allclose(step.matrix(), expected, atol=1e-4)


@pytest.mark.parametrize("rank", [0, -1, M + 1])
def test_bad_rank(rank):
    with pytest.raises(ValueError, match=r"`rank` must lie between 1 and 20"):
        leading_subspace(jnp.zeros((N, M)), rank)


@pytest.mark.parametrize("shape", [(N, RANK), (M, RANK - 1)])
def test_bad_init(shape):
    with pytest.raises(ValueError, match="`init` must have 20 rows"):
        leading_subspace(jnp.zeros((N, M)), RANK, init=jnp.zeros(shape))


def test_a_weight_of_two_is_a_row_twice_and_of_zero_none(dtype):
    x = jnp.asarray(np.random.default_rng(8).normal(size=(N, M)), dtype)
    counts = np.random.default_rng(9).integers(0, 3, N)
    weighted = solve(x, rank=RANK, sample_weight=jnp.asarray(counts, dtype)).value
    _, values, right = np.linalg.svd(np.repeat(np.asarray(x, float), counts, axis=0))
    np.testing.assert_allclose(weighted.values, values[:RANK], rtol=1e-4)
    overlap = np.abs(np.diag(right[:RANK] @ np.asarray(weighted.right, float)))
    np.testing.assert_allclose(overlap, 1, atol=1e-3)


@pytest.mark.parametrize("weight", [jnp.ones(N - 1), -jnp.ones(N), jnp.ones((N, 1))])
def test_weights_that_do_not_fit_are_refused(weight):
    with pytest.raises(ValueError, match="`sample_weight` must"):
        leading_subspace(jnp.ones((N, M)), RANK, sample_weight=weight)


@pytest.mark.parametrize("kind", ["alike", "one column", "dependent", "steep"])
def test_a_basis_of_whatever_the_columns_are(kind, dtype):
    """QQᵀx is x, with orthonormal columns in Q where they are not zero."""
    rng = np.random.default_rng(0)
    x = {
        "alike": np.ones((50, 6)),
        "one column": rng.normal(size=(50, 1)) * np.ones((1, 6)),
        "dependent": rng.normal(size=(50, 3)) @ rng.normal(size=(3, 6)),
        "steep": rng.normal(size=(50, 6))
        @ np.diag(10.0 ** -np.arange(6))
        @ rng.normal(size=(6, 6)),
    }[kind].astype(dtype)
    basis = np.asarray(orthonormal_factors(jnp.asarray(x))[0], float)
    gram = basis.T @ basis
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(gram, np.diag(np.diagonal(gram) > 0.5), atol=40 * eps)
    np.testing.assert_allclose(basis @ (basis.T @ x), x, atol=20 * eps * np.abs(x).max())
