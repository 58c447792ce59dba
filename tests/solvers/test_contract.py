"""The contract of every solver: a `Solution`, under `jit`, `vmap` and both modes of `grad`."""

import functools
import importlib
import inspect
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compilations import compilations
from problems import CASES, LIMITED, Case, matrix_data, regression_data

from syndigits_jax import solvers
from syndigits_jax.solvers import Solution, Status, raise_on_failure

X64 = bool(jax.config.read("jax_enable_x64"))
GOOD = (Status.CONVERGED, Status.FIXED_STEPS)
# Their first argument is a Python function, which is traced anew on every call outside `jit`.
OF_FUNCTIONS = ("minimize_on_simplex", "mirror_descent")
every_solver = pytest.mark.parametrize("name", CASES)


@functools.cache
def compiled(name: str):
    return jax.jit(CASES[name].solve)


def run(name: str, seed: int, dtype, penalty: float | None = None) -> Solution:
    case = CASES[name]
    penalty = first_penalty(case) if penalty is None else penalty
    return compiled(name)(case.make(seed, dtype), jnp.asarray(penalty, dtype))


def first_penalty(case: Case) -> float:
    return case.penalties[0] if case.penalties else 0.0


@every_solver
def test_returns_a_solution_of_the_data_type_it_was_given(name, dtype):
    solution = run(name, 0, dtype)
    assert isinstance(solution, Solution)
    assert solution.status.shape == solution.steps.shape == solution.optimality.shape == ()
    assert solution.change.shape == ()
    assert int(solution.status) in GOOD
    assert solution.status.dtype == solution.steps.dtype == jnp.int32
    assert int(solution.steps) >= 0
    assert float(solution.optimality) >= 0 or np.isnan(solution.optimality)
    # A certificate, or failing that what the solver stopped by.
    assert np.isfinite(solution.optimality) or float(solution.change) >= 0
    for leaf in jax.tree.leaves(solution.value):
        assert leaf.dtype == dtype
        assert np.all(np.isfinite(leaf))
    assert raise_on_failure(solution, name=name) is solution


@every_solver
def test_one_trace_serves_many_penalties_and_they_matter(name):
    case = CASES[name]
    if case.penalties is None:
        pytest.skip("no penalty")
    traces = []

    @jax.jit
    def counted(data, penalty):
        traces.append(1)
        return case.result(case.solve(data, penalty).value)

    data = case.make(0, jnp.float32)
    low, high = (counted(data, jnp.float32(penalty)) for penalty in case.penalties)
    assert len(traces) == 1
    assert np.abs(low - high).max() > 1e-3


@every_solver
def test_a_batch_is_a_loop_and_a_broken_member_breaks_alone(name):
    case = CASES[name]
    members = [case.make(seed, jnp.float32) for seed in range(3)]
    penalties = jnp.float32(case.penalties or (0.0, 0.0))[jnp.array([0, 0, 1])]
    spoilt = members[1] | {"x": jnp.full_like(members[1]["x"], jnp.nan)}
    data = jax.tree.map(lambda *a: jnp.stack(a), members[0], spoilt, members[2])
    batch = jax.jit(jax.vmap(case.solve))(data, penalties)
    assert batch.status.shape == batch.steps.shape == batch.optimality.shape == (3,)
    assert int(batch.status[1]) == Status.NONFINITE
    for i in (0, 2):
        alone = run(name, i, jnp.float32, float(penalties[i]))
        assert int(batch.status[i]) == int(alone.status)
        member = case.result(jax.tree.map(lambda leaf, i=i: leaf[i], batch.value))
        expected = case.result(alone.value)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(member, expected, atol=case.accuracy * scale)
    with pytest.raises(RuntimeError, match=f"{name}: 1 of 3 problems met NaN"):
        raise_on_failure(batch, name=name)


@every_solver
def test_forward_and_reverse_derivatives_agree(name):
    case = CASES[name]
    data = case.make(0, jnp.float32)
    rng = np.random.default_rng(1)
    direction = jnp.float32(rng.normal(size=data["x"].shape))
    shape = jax.eval_shape(lambda d: case.result(case.solve(d, 0.3).value), data).shape
    probe = jnp.float32(rng.normal(size=shape))

    @jax.jit
    def both(x):
        def loss(x):
            value = case.solve(data | {"x": x}, jnp.float32(first_penalty(case))).value
            return jnp.sum(probe * case.result(value))

        return jax.grad(loss)(x), jax.jvp(loss, (x,), (direction,))[1]

    gradient, forward = both(data["x"])
    assert np.all(np.isfinite(gradient))
    size = np.linalg.norm(gradient) * np.linalg.norm(direction)
    np.testing.assert_allclose(jnp.sum(gradient * direction), forward, atol=1e-3 * size)
    assert (np.abs(gradient).max() > 0) == case.gradient


@pytest.mark.skipif(not X64, reason="needs float64")
@every_solver
def test_float32_agrees_with_float64(name):
    case = CASES[name]
    double = case.result(run(name, 0, jnp.float64).value)
    single = case.result(run(name, 0, jnp.float32).value)
    scale = np.abs(double).max()
    np.testing.assert_allclose(single, double, atol=case.accuracy * scale)


def with_limits():
    """Names of the public functions of the room that take `tol` and `max_steps`."""
    for module in pkgutil.iter_modules(solvers.__path__, solvers.__name__ + "."):
        for name, function in vars(importlib.import_module(module.name)).items():
            if name.startswith("_") or "._" in module.name or not inspect.isfunction(function):
                continue
            limits = {"tol", "max_steps"} <= set(inspect.signature(function).parameters)
            if limits and function.__module__ == module.name:
                yield name


def test_the_table_has_all_solvers_with_limits():
    assert set(with_limits()) == set(LIMITED)


@pytest.mark.parametrize("name", LIMITED)
def test_another_tolerance_or_step_cap_compiles_nothing(name):
    completion = "impute" in name or name in ("als", "leading_subspace")
    data = (matrix_data if completion else regression_data)(0, jnp.float32)
    traces = []

    @jax.jit
    def counted(tol, max_steps):
        traces.append(1)
        return LIMITED[name](data, tol=tol, max_steps=max_steps)

    loose, tight, capped = (
        counted(jnp.float32(tol), cap) for tol, cap in ((10.0, 500), (1e-5, 500), (1e-5, 1))
    )
    assert len(traces) == 1
    # Both limits are heard: the solver takes more steps for a smaller tolerance, and stops early.
    assert np.all(np.asarray(loose.steps) <= np.asarray(tight.steps))
    assert np.sum(loose.steps) < np.sum(tight.steps)
    assert np.all(np.asarray(capped.steps) <= 1)
    assert np.any(np.asarray(capped.status) == Status.MAX_STEPS)


@pytest.mark.parametrize("name", [name for name in CASES if name not in OF_FUNCTIONS])
def test_no_call_compiles_twice(name):
    """Called without `jit`, with other data, other penalties, and under `vmap`."""
    case = CASES[name]
    first, second = (case.make(seed, jnp.float32) for seed in (0, 1))
    both = jax.tree.map(lambda *a: jnp.stack(a), first, second)
    low, high = case.penalties or (0.0, 0.0)
    penalties = jnp.float32([low, high])

    def calls():
        case.solve(second, high)
        case.solve(first, penalties[1])
        jax.vmap(case.solve)(both, penalties)

    calls()
    with compilations() as compiled:
        calls()
    assert not compiled


@pytest.mark.parametrize("name", [name for name in CASES if name not in OF_FUNCTIONS])
def test_numbers_and_arrays_share_a_program(name):
    """A penalty may be a number, a NumPy scalar or an array of JAX."""
    case = CASES[name]
    if case.penalties is None:
        pytest.skip("no penalty")
    data, (low, high) = case.make(0, jnp.float32), case.penalties
    arrays = jnp.float32(low), jnp.float32(high)
    case.solve(data, low)
    with compilations() as compiled:
        case.solve(data, np.float32(high))
        for penalty in arrays:
            case.solve(data, penalty)
    assert not compiled
