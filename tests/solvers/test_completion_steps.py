"""The steps of completions: extrapolated ones, and those that leave complete columns alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_completion import PENALTY, RANK, SOLVERS, alternating, make_problem, soft

from syndigits_jax.solvers.completion import als, hard_impute, soft_impute
from syndigits_jax.solvers.solution import Status


@pytest.mark.parametrize("kind", ["soft", "als"])
def test_extrapolated_steps_reach_the_optimum_sooner(kind, dtype):
    """The same optimum, in at most two thirds of the steps, and nearer to it where they stop."""
    x, mask = make_problem(n=60, missing=0.6, dtype=dtype)
    rank, penalty = 12, 4.0
    run = functools.partial(soft if kind == "soft" else alternating, x, mask, rank, penalty)
    limit = run(tol=0.0, max_steps=3000, accelerate=False).value.fitted
    plain, ahead = (run(accelerate=accelerate) for accelerate in (False, True))
    assert int(plain.status) == int(ahead.status) == Status.CONVERGED
    assert int(ahead.steps) <= 2 * int(plain.steps) / 3
    far, near = (np.linalg.norm(one.value.fitted - limit) for one in (plain, ahead))
    assert near < far
    assert float(ahead.optimality) < 1e-3


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", SOLVERS)
def test_complete_columns_may_be_told(kind, weighted, dtype):
    """The promise that some columns are complete, wherever they are, changes nothing but time."""
    x, mask = make_problem(dtype=dtype)
    mask[:, [0, 3, 4, 7, 11, 12, 13, 17, 18]] = True
    x = np.where(mask, x + 1, 0).astype(dtype)
    weight = np.arange(len(x), dtype=dtype) % 3 if weighted else None
    solve = SOLVERS[kind]
    solutions = [
        solve(x, mask, sample_weight=weight, tol=1e-6, max_steps=3000, incomplete=incomplete)
        for incomplete in (None, 11, 15)
    ]
    for one in solutions[1:]:
        assert int(one.status) == Status.CONVERGED
        for name in ("completed", "fitted"):
            given, told = (getattr(s.value, name) for s in (solutions[0], one))
            np.testing.assert_allclose(told, given, atol=1e-3)
    assert int(solve(x, mask, incomplete=10).status) == Status.NONFINITE
    public = {"hard": hard_impute, "soft": soft_impute, "als": als}[kind]
    penalty = () if kind == "hard" else (PENALTY,)
    for wrong, message in ((10, "`incomplete` is 10, but 11 columns"), (0, "`incomplete`")):
        with pytest.raises(ValueError, match=message):
            public(x, mask, RANK, *penalty, incomplete=wrong)


def test_steps_hold_a_few_copies_of_the_matrix():
    """Peak memory of the program beside arguments and results, as the compiler counts it."""
    x = jnp.zeros((500, 100))
    program = jax.jit(lambda x, mask: soft_impute(x, mask, 5, 1.0)).lower(x, x > 0).compile()
    assert program.memory_analysis().temp_size_in_bytes < 8 * x.nbytes
