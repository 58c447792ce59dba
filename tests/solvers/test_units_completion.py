"""The unit of the data changes nothing but the unit of the result, and neither does its order.

Single precision squares 1e-20 to 0 and 1e20 to infinity; a solver that lets a square or an
absolute number decide answers differently in another unit.

Longer than 400 lines: one table of completions and transformations, which is read as a whole.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from syndigits_jax.solvers.completion import als, fold_in, hard_impute, soft_impute
from syndigits_jax.solvers.low_rank import leading_subspace, orthonormalise, subspace_step
from syndigits_jax.solvers.solution import Status

N, M, RANK, PENALTY = 24, 15, 2, 3.0
POWERS = [1e-25, 1e-9, 1e-6, 1e-3, 10.0, 1e3, 1e6, 1e9, 1e17]


@functools.partial(jax.jit, static_argnames=("kind", "rank", "max_steps"))
def run(kind, x, mask, penalty=0.0, *, rank=RANK, tol=1e-6, max_steps=3000, **options):
    options |= {"tol": tol, "max_steps": max_steps}
    if kind == "hard":
        return hard_impute(x, mask, rank, **options)
    return {"soft": soft_impute, "als": als}[kind](x, mask, rank, penalty, **options)


every_kind = pytest.mark.parametrize("kind", ["hard", "soft", "als"])
every_power = pytest.mark.parametrize("power", POWERS)


def problem(seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    x = 2 + rng.normal(size=(N, RANK)) @ rng.normal(size=(RANK, M)) + 0.2 * rng.normal(size=(N, M))
    mask = rng.random(x.shape) < 0.8
    mask[np.arange(N), np.arange(N) % M] = True
    return np.where(mask, x, 0).astype(dtype), mask


def close(a, b, rtol=2e-3):
    """Equal to a share of the largest entry."""
    b = np.asarray(b, float)
    np.testing.assert_allclose(np.asarray(a, float), b, atol=rtol * np.abs(b).max())


@every_power
@pytest.mark.parametrize("weighted", [False, True])
@every_kind
def test_a_completion_scales_with_the_data_and_the_penalty(kind, weighted, power, dtype):
    x, mask = problem(dtype=dtype)
    options = {}
    if weighted:
        options["sample_weight"] = jnp.asarray(np.random.default_rng(1).uniform(0, 3, N), dtype)
        options["sample_weight"] = options["sample_weight"].at[3].set(0)
    one = run(kind, x, mask, jnp.asarray(PENALTY, dtype), **options)
    scaled = (x.astype(float) * power).astype(dtype)
    other = run(kind, scaled, mask, jnp.asarray(PENALTY * power, dtype), **options)
    assert int(one.status) == int(other.status) == Status.CONVERGED
    assert abs(int(one.steps) - int(other.steps)) <= 0.1 * int(one.steps) + 1
    close(np.asarray(other.value.fitted, float) / power, one.value.fitted)
    one_basis, other_basis = (np.asarray(v.value.loadings, float) for v in (one, other))
    close(other_basis @ other_basis.T / power, one_basis @ one_basis.T, 1e-2)
    np.testing.assert_array_equal(np.asarray(other.value.completed)[mask], scaled[mask])
    if kind != "hard":
        np.testing.assert_allclose(other.optimality, one.optimality, rtol=0.05, atol=1e-5)


@every_power
@every_kind
def test_the_default_tolerance_stops_alike_in_every_unit(kind, power, dtype):
    """Also where it stops early, and where the random start of ALS still shows."""
    x, mask = problem(1, dtype=dtype)
    scaled = (x.astype(float) * power).astype(dtype)
    for tol, max_steps in ((1e-4, 1000), (1e-6, 2)):
        one = run(kind, x, mask, jnp.asarray(PENALTY, dtype), tol=tol, max_steps=max_steps)
        other = run(
            kind, scaled, mask, jnp.asarray(PENALTY * power, dtype), tol=tol, max_steps=max_steps
        )
        assert int(one.status) == int(other.status)
        close(np.asarray(other.value.fitted, float) / power, one.value.fitted, 1e-3)


@pytest.mark.parametrize("exponent", [-60, -21, 9, 50])
@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_a_power_of_two_leaves_every_digit(kind, exponent, dtype):
    x, mask = problem(2, dtype=dtype)
    power = dtype.type(2.0**exponent)
    one = run(kind, x, mask, jnp.asarray(PENALTY, dtype), tol=1e-4)
    other = run(kind, x * power, mask, jnp.asarray(PENALTY, dtype) * power, tol=1e-4)
    assert int(one.steps) == int(other.steps)
    np.testing.assert_array_equal(other.value.completed, one.value.completed * power)
    np.testing.assert_array_equal(other.value.fitted, one.value.fitted * power)


@every_power
@every_kind
def test_weights_have_no_unit_that_overflows(kind, power, dtype):
    """All weights times c are the data and the penalty in the square root of c."""
    x, mask = problem(3, dtype=dtype)
    weight = np.random.default_rng(2).uniform(0.5, 2, N)
    one = run(kind, x, mask, jnp.asarray(PENALTY, dtype), sample_weight=jnp.asarray(weight, dtype))
    other = run(
        kind, x, mask, jnp.asarray(PENALTY * np.sqrt(power), dtype),
        sample_weight=jnp.asarray(weight * power, dtype),
    )  # fmt: skip
    assert int(one.status) == int(other.status) == Status.CONVERGED
    close(other.value.fitted, one.value.fitted, 1e-2 if kind == "als" else 2e-3)


@every_power
def test_derivatives_have_the_unit_of_the_data(power, dtype):
    """The fit is homogeneous of degree 1, so that its derivative is of degree 0."""
    x, mask = problem(4, dtype=dtype)
    probe = jnp.asarray(np.random.default_rng(3).normal(size=x.shape), dtype)

    @jax.jit
    def gradient(x, penalty):
        def loss(x, penalty):
            return jnp.sum(probe * soft_impute(x, mask, RANK, penalty, tol=1e-7).value.fitted)

        return jax.grad(loss, (0, 1))(x, penalty)

    one = gradient(x, jnp.asarray(PENALTY, dtype))
    scaled = jnp.asarray((x.astype(float) * power).astype(dtype))
    other = gradient(scaled, jnp.asarray(PENALTY * power, dtype))
    close(other[0], one[0], 2e-2)
    close(other[1], one[1], 2e-2)


@every_kind
def test_rows_and_columns_in_another_order(kind, dtype):
    x, mask = problem(5, dtype=dtype)
    rng = np.random.default_rng(4)
    rows, columns = rng.permutation(N), rng.permutation(M)
    weight = jnp.asarray(rng.uniform(0.5, 2, N), dtype)
    penalty = jnp.asarray(PENALTY, dtype)
    one = run(kind, x, mask, penalty, sample_weight=weight).value
    other = run(
        kind, x[rows][:, columns], mask[rows][:, columns], penalty, sample_weight=weight[rows]
    ).value
    close(other.fitted, np.asarray(one.fitted)[rows][:, columns], 1e-2)


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_rows_turned_against_each_other_where_all_is_observed(kind, dtype):
    x = problem(6)[0].astype(dtype)
    mask = np.ones(x.shape, bool)
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(N, N)))[0]
    penalty = jnp.asarray(PENALTY, dtype)
    one = run(kind, x, mask, penalty).value.fitted
    other = run(kind, (turn @ x).astype(dtype), mask, penalty).value.fitted
    close(other, turn @ np.asarray(one, float), 1e-4)


@every_kind
def test_zero_data_are_solved(kind, dtype):
    x, mask = problem(7, dtype=dtype)
    for penalty in (0.0, PENALTY):
        for seen in (mask, np.zeros_like(mask)):
            for options in ({}, {"sample_weight": jnp.ones(N, dtype)}):
                solution = run(kind, np.zeros_like(x), seen, jnp.asarray(penalty, dtype), **options)
                assert int(solution.status) == Status.CONVERGED
                assert float(solution.change) == 0
                assert np.isnan(solution.optimality) if kind == "hard" else solution.optimality == 0
                np.testing.assert_array_equal(solution.value.completed, 0)
                np.testing.assert_array_equal(solution.value.fitted, 0)


@every_power
@every_kind
def test_one_observed_entry(kind, power, dtype):
    """Hard impute extends it along its column (its start); a penalty shrinks it and all else."""
    x, mask = np.zeros((N, M), dtype), np.zeros((N, M), bool)
    x[3, 2], mask[3, 2] = 5 * power, True
    penalty = jnp.asarray(1.0 * power, dtype)
    solution = run(kind, x, mask, penalty)
    expected = np.zeros((N, M))
    if kind == "hard":
        expected[:, 2] = 5
    else:
        expected[3, 2] = 4
    assert int(solution.status) == Status.CONVERGED
    atol = 1e-5 if kind == "hard" else 1e-3
    np.testing.assert_allclose(
        np.asarray(solution.value.fitted, float) / power, expected, atol=atol
    )


@every_power
@every_kind
def test_a_constant_matrix_of_lower_rank_than_asked_for(kind, power, dtype):
    _, mask = problem(8)
    x = np.where(mask, 7 * power, 0).astype(dtype)
    solution = run(kind, x, mask, jnp.asarray(0.07 * power, dtype), rank=5, tol=3e-6)
    assert int(solution.status) == Status.CONVERGED
    allowed = {"hard": 1e-5, "soft": 1e-2, "als": 1e-2}[kind]
    np.testing.assert_allclose(np.asarray(solution.value.completed, float) / power, 7, rtol=allowed)


@pytest.mark.parametrize("size", [1e6, 1e-6, 1e12])
@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_one_column_of_another_size_leaves_answers_of_their_columns_sizes(kind, size, dtype):
    """What drowns in the rounding of a large column is still no larger than its own column.

    Not so for ALS, whose random start mixes the columns and dies out only slowly.
    """
    x, mask = problem(9, dtype=dtype)
    x[:, 0] *= dtype.type(size)
    solution = run(kind, x, mask, jnp.asarray(1e-3, dtype), rank=3, tol=1e-4)
    assert int(solution.status) == Status.CONVERGED
    completed = np.asarray(solution.value.completed, float)
    np.testing.assert_array_equal(completed[mask], x[mask])
    largest = np.abs(x).max(axis=0)
    assert np.all(np.abs(completed).max(axis=0) <= 4 * largest)


@pytest.mark.parametrize("where", ["x", "weight"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@every_kind
def test_what_is_no_finite_number_is_reported(kind, where, bad):
    x, mask = problem()
    weight = np.ones(N, np.float32)
    if where == "x":
        x[np.argwhere(mask)[0][0], np.argwhere(mask)[0][1]] = bad
    else:
        weight[2] = bad
    solution = run(kind, x, mask, PENALTY, sample_weight=weight)
    assert int(solution.status) == Status.NONFINITE


@every_kind
def test_what_is_not_observed_may_be_anything(kind):
    x, mask = problem()
    one = run(kind, x, mask, PENALTY).value
    for hole in (np.nan, np.inf, 1e30):
        other = run(kind, np.where(mask, x, np.float32(hole)), mask, PENALTY).value
        np.testing.assert_array_equal(other.completed, one.completed)
    gradient = jax.grad(lambda x: jnp.sum(run(kind, x, mask, PENALTY).value.completed))(
        jnp.where(mask, x, jnp.nan)
    )
    assert np.all(np.isfinite(gradient))
    np.testing.assert_array_equal(np.asarray(gradient)[~mask], 0)


@every_kind
def test_a_tiny_row_of_weight_zero_is_placed_and_a_huge_one_hides_nothing(kind, dtype):
    x, mask = problem(10, dtype=dtype)
    weight = jnp.ones(N, dtype).at[0].set(0)
    penalty = jnp.asarray(PENALTY, dtype)
    one = run(kind, x, mask, penalty, sample_weight=weight).value.fitted
    for factor in (1e-20, 1e20):
        changed = x.copy()
        changed[0] *= dtype.type(factor)
        other = run(kind, changed, mask, penalty, sample_weight=weight).value.fitted
        np.testing.assert_array_equal(other[1:], one[1:])
        close(np.asarray(other[0], float) / factor, one[0], 1e-4)


# Placing new rows.


@pytest.mark.parametrize("penalty", [0.0, 0.5])
@every_power
def test_folding_in_scales_with_the_row_and_not_with_the_loadings(power, penalty, dtype):
    x, mask = problem(11, dtype=dtype)
    mask[0], mask[1], mask[2, 1:] = False, False, False
    mask[1, 4] = mask[2, 0] = True
    loadings = np.random.default_rng(6).normal(size=(M, 4)).astype(dtype)
    place = jax.jit(fold_in)
    one = np.asarray(place(x, mask, loadings, penalty), float)
    # The penalty has the loadings' squared unit, which single precision must be able to hold.
    if 1e-30 < power**2 < 1e30 or not penalty:
        scaled = (loadings.astype(float) * power).astype(dtype)
        close(place(x, mask, scaled, penalty * power**2), one, 1e-3)
    rows = (x.astype(float) * power).astype(dtype)
    close(np.asarray(place(rows, mask, loadings, penalty), float) / power, one, 1e-4)
    turn = np.linalg.qr(np.random.default_rng(7).normal(size=(4, 4)))[0]
    close(place(x, mask, (loadings @ turn).astype(dtype), penalty), one, 2e-3)


@pytest.mark.parametrize("sizes", [(1.0, 1.0), (1.0, 0.03), (30.0, 1.0)])
@pytest.mark.parametrize("far", [1.0, 1e6])
def test_folding_in_is_least_squares_whatever_the_columns_sizes(sizes, far, dtype):
    """A weak direction is used in full; so are entries whose loadings are small beside others."""
    rng = np.random.default_rng(8)
    loadings = rng.normal(size=(M, 2)) * np.array(sizes)
    loadings[10:] *= far
    mask = np.zeros((4, M), bool)
    mask[:, :8] = True
    x = rng.normal(size=(4, 2)) @ loadings.T + 0.1 * rng.normal(size=(4, M))
    got = fold_in(x.astype(dtype), mask, loadings.astype(dtype))
    scores = np.linalg.lstsq(loadings[:8], x[:, :8].T, rcond=None)[0]
    want = (loadings @ scores).T
    np.testing.assert_allclose(got[:, :8], want[:, :8], atol=1e-3 * np.abs(want[:, :8]).max())
    close(got, want, 1e-3)


def test_a_row_that_is_no_number_is_placed_nowhere_and_alone(dtype):
    x, mask = problem(15, dtype=dtype)
    loadings = np.random.default_rng(14).normal(size=(M, 3)).astype(dtype)
    want = np.asarray(fold_in(x, mask, loadings))
    for bad in (np.nan, np.inf):
        spoilt = x.copy()
        spoilt[4, np.flatnonzero(mask[4])[0]] = bad
        got = np.asarray(fold_in(spoilt, mask, loadings))
        assert not np.any(np.isfinite(got[4]))
        np.testing.assert_allclose(np.delete(got, 4, 0), np.delete(want, 4, 0), atol=1e-5)
    assert not np.any(np.isfinite(fold_in(x, mask, loadings, np.nan)))


# Leading subspaces.


@every_power
@pytest.mark.parametrize("weighted", [False, True])
def test_a_leading_subspace_scales_with_the_data(weighted, power, dtype):
    x, _ = problem(12)
    x = x.astype(dtype)
    weight = np.random.default_rng(9).uniform(0, 2, N) if weighted else None
    given = None if weight is None else jnp.asarray(weight, dtype)
    solve = jax.jit(leading_subspace, static_argnames="rank")
    scaled = (x.astype(float) * power).astype(dtype)
    other = solve(scaled, rank=3, sample_weight=given)
    root = np.ones(N) if weight is None else np.sqrt(weight)
    values = np.linalg.svd(root[:, None] * x.astype(float), compute_uv=False)
    assert int(other.status) == Status.CONVERGED
    np.testing.assert_allclose(np.asarray(other.value.values, float) / power, values[:3], rtol=1e-4)
    one = solve(x, rank=3, sample_weight=given)
    assert abs(int(one.steps) - int(other.steps)) <= 1
    overlap = np.asarray(one.value.right).T @ np.asarray(other.value.right)
    np.testing.assert_allclose(np.linalg.svd(overlap, compute_uv=False), 1, atol=1e-3)
    np.testing.assert_allclose(
        np.asarray(other.value.matrix(), float) / power, one.value.matrix(), atol=1e-3
    )


@pytest.mark.parametrize("power", [1e-25, 1e-9, 1e9, 1e25])
def test_a_start_and_a_block_have_any_unit(power, dtype):
    x, _ = problem(13)
    x = x.astype(dtype)
    block = np.random.default_rng(10).normal(size=(M, 4))
    scaled = jnp.asarray(block * power, dtype)
    one = leading_subspace(x, 2, init=block.astype(dtype))
    other = leading_subspace(x, 2, init=scaled)
    assert int(other.status) == Status.CONVERGED
    np.testing.assert_allclose(other.value.values, one.value.values, rtol=1e-4)
    step = subspace_step(jnp.asarray(x), scaled)
    basis = np.linalg.qr(x.astype(float) @ block)[0]
    close(step.matrix(), basis @ (basis.T @ x), 1e-4)
    basis = np.asarray(orthonormalise(scaled))
    np.testing.assert_allclose(basis.T @ basis, np.eye(4), atol=1e-5)


def test_a_step_on_a_matrix_of_any_unit(dtype):
    x, _ = problem(14)
    block = np.random.default_rng(11).normal(size=(M, 4))
    basis = np.linalg.qr(x.astype(float) @ block)[0]
    for power in (1e-25, 1e-9, 1e9, 1e25):
        scaled = jnp.asarray(x.astype(float) * power, dtype)
        step = subspace_step(scaled, jnp.asarray(block, dtype))
        close(np.asarray(step.matrix(), float) / power, basis @ (basis.T @ x), 1e-4)


@pytest.mark.parametrize("shape", [(N, M), (M, N)])
def test_columns_of_very_different_sizes(shape, dtype):
    """Values to the rounding of the largest, and a basis that is orthonormal all the same."""
    rng = np.random.default_rng(12)
    x = rng.normal(size=shape)
    x[:, 0] *= 1e6
    x[:, 1:4] *= 1e-6
    solution = leading_subspace(x.astype(dtype), 5)
    factors = solution.value
    values = np.linalg.svd(x, compute_uv=False)
    assert int(solution.status) == Status.CONVERGED
    np.testing.assert_allclose(factors.values, values[:5], atol=1e-5 * values[0])
    close(factors.matrix(), x, 1e-5)
    np.testing.assert_allclose(factors.right.T @ factors.right, np.eye(5), atol=1e-4)


def test_dependence_is_judged_by_a_columns_own_size(dtype):
    rng = np.random.default_rng(13)
    y = rng.normal(size=(N, 4)) * np.array([1e-20, 1e-6, 1.0, 1e6])
    y = np.c_[y, y[:, 0] * 1e9, np.zeros(N)].astype(dtype)
    basis = np.asarray(orthonormalise(jnp.asarray(y)))
    np.testing.assert_allclose(basis[:, :4].T @ basis[:, :4], np.eye(4), atol=1e-5)
    np.testing.assert_array_equal(basis[:, 4:], 0)
    span = np.linalg.qr(y[:, :4].astype(float) / np.abs(y[:, :4]).max(axis=0))[0]
    np.testing.assert_allclose(basis[:, :4] @ (basis[:, :4].T @ span), span, atol=1e-4)


def test_a_leading_subspace_of_nothing_and_of_what_is_no_number(dtype):
    zero = leading_subspace(np.zeros((N, M), dtype), 3)
    assert int(zero.status) == Status.CONVERGED
    assert float(zero.optimality) == 0
    np.testing.assert_array_equal(zero.value.values, 0)
    np.testing.assert_allclose(zero.value.right.T @ zero.value.right, np.eye(3), atol=1e-5)
    for bad in (np.nan, np.inf):
        x = np.ones((N, M), dtype)
        x[3, 2] = bad
        assert int(leading_subspace(x, 3).status) == Status.NONFINITE
