"""Completions and subspaces of whatever holds the numbers: one table of containers."""

import functools

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from syndigits_jax.solvers.completion import als, fold_in, hard_impute, soft_impute
from syndigits_jax.solvers.low_rank import leading_subspace

N, M = 9, 6
RNG = np.random.default_rng(0)
GRID = RNG.integers(1, 8, (N, M))
MASK = RNG.random((N, M)) < 0.8
HIDDEN = tuple(np.argwhere(~MASK)[0])
WEIGHT = RNG.integers(1, 4, N)
LOADINGS = RNG.integers(-3, 4, (M, 2))
START = RNG.integers(1, 8, (N, M))
REST = (WEIGHT, START, LOADINGS)

FUNCTIONS = {
    "hard_impute": lambda x, mask, weight, wide, tall: (
        hard_impute(x, mask, 2, sample_weight=weight, init=wide).value.completed
    ),
    "soft_impute": lambda x, mask, weight, wide, tall: (
        soft_impute(x, mask, 2, 1, sample_weight=weight, init=wide).value.completed
    ),
    "als": lambda x, mask, weight, wide, tall: (
        als(x, mask, 2, 1, sample_weight=weight, init=tall).value.completed
    ),
    "fold_in": lambda x, mask, weight, wide, tall: fold_in(x, mask, tall, 1),
    "leading_subspace": lambda x, mask, weight, wide, tall: leading_subspace(
        wide, 2, sample_weight=weight, init=tall
    ).value.matrix(),
}
every_function = pytest.mark.parametrize("name", FUNCTIONS)
CONTAINERS = {
    "lists": lambda a: a.tolist(),
    "integers": lambda a: a.astype(np.int8),
    "JAX integers": jnp.asarray,
    "half precision": lambda a: a.astype(np.float16),
    "bfloat16": lambda a: jnp.asarray(a, jnp.bfloat16),
    "big-endian": lambda a: a.astype(">f4"),
    "big-endian integers": lambda a: a.astype(">i8"),
    "frames": lambda a: pd.Series(a) if a.ndim == 1 else pd.DataFrame(a),
    "nullable frames": lambda a: (pd.Series if a.ndim == 1 else pd.DataFrame)(a).astype("Int64"),
    "masked arrays": np.ma.array,
    "objects": lambda a: a.astype(object),
    "text": lambda a: a.astype(str),
}
MASKS = {
    "lists": MASK.tolist(),
    "a frame": pd.DataFrame(MASK),
    "objects": MASK.astype(object),
    "JAX": jnp.asarray(MASK),
}


def with_hole(fill):
    cells = GRID.astype(object)
    cells[HIDDEN] = fill
    return cells


def masked():
    hole = np.zeros((N, M), bool)
    hole[HIDDEN] = True
    return np.ma.array(GRID, mask=hole)


HOLES = {
    "None": with_hole(None).tolist(),
    "NaN": with_hole(np.nan).astype(float),
    "pandas.NA": pd.DataFrame(with_hole(pd.NA)).astype("Int64"),
    "infinity": with_hole(np.inf).astype(float),
    "a masked array": masked(),
    "empty text": with_hole("").astype(str),
}


def floats(a):
    return jnp.asarray(a, jnp.result_type(float))


@functools.cache
def expected(name):
    return np.asarray(FUNCTIONS[name](floats(GRID), MASK, *map(floats, REST)))


@pytest.mark.parametrize("container", CONTAINERS)
@every_function
def test_whatever_holds_the_numbers(name, container):
    hold = CONTAINERS[container]
    got = FUNCTIONS[name](hold(GRID), MASK, *(hold(a) for a in REST))
    assert got.dtype in (jnp.float32, jnp.float64)
    np.testing.assert_allclose(got, expected(name), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@every_function
def test_whatever_holds_the_mask(name, mask):
    got = FUNCTIONS[name](GRID, mask, *REST)
    np.testing.assert_allclose(got, expected(name), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("given", HOLES.values(), ids=HOLES)
@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "leading_subspace"])
def test_what_the_mask_hides_may_be_missing(name, given):
    got = FUNCTIONS[name](given, MASK, *REST)
    np.testing.assert_allclose(got, expected(name), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["hard_impute", "soft_impute"])
def test_a_start_may_be_missing_where_answers_are_observed(name):
    start = np.where(MASK, np.nan, START)
    got = FUNCTIONS[name](GRID, MASK, WEIGHT, start, LOADINGS)
    np.testing.assert_allclose(got, expected(name), rtol=1e-4, atol=1e-4)


REFUSED = [
    (0, "yes", "x", "is not a number"),
    (0, 1j, "x", "(is not a number|real numbers)"),
    (2, "yes", "sample_weight", "is not a number"),
    (3, "yes", "init|x", "is not a number"),
    (4, "yes", "init|loadings", "is not a number"),
]


@pytest.mark.parametrize(("place", "bad", "argument", "reason"), REFUSED)
@every_function
def test_what_is_no_number_is_refused_by_name(name, place, bad, argument, reason):
    arguments = [GRID, MASK, *REST]
    spoilt = np.asarray(arguments[place]).astype(object)
    spoilt[(0,) * spoilt.ndim] = bad
    arguments[place] = spoilt
    used = {
        "hard_impute": (0, 1, 2, 3), "soft_impute": (0, 1, 2, 3), "als": (0, 1, 2, 4),
        "fold_in": (0, 1, 4), "leading_subspace": (2, 3, 4),
    }  # fmt: skip
    if place not in used[name]:
        FUNCTIONS[name](*arguments)
    else:
        with pytest.raises(ValueError, match=f"^`({argument})`.*{reason}"):
            FUNCTIONS[name](*arguments)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "leading_subspace"])
def test_a_mask_of_zeros_and_ones_is_refused(name):
    with pytest.raises(ValueError, match="`mask` must be boolean"):
        FUNCTIONS[name](GRID, MASK.astype(int), *REST)


@pytest.mark.parametrize("penalty", [[1.0, 2.0], np.ones(1)])
@pytest.mark.parametrize("solver", [soft_impute, als])
def test_several_penalties_are_refused(solver, penalty):
    with pytest.raises(ValueError, match="`penalty` must be a scalar"):
        solver(GRID, MASK, 2, penalty)
    with pytest.raises(ValueError, match="`penalty` must be a scalar"):
        fold_in(GRID, MASK, LOADINGS, penalty)


def test_the_widest_precision_is_everyones():
    """Half precision is no type to compute in; of two others the wider one is taken."""
    wide = jnp.result_type(float)
    value = hard_impute(GRID.astype(np.float16), MASK, 2, init=floats(START)).value
    assert value.completed.dtype == wide
    assert hard_impute(GRID.astype(np.float16), MASK, 2).value.fitted.dtype == jnp.float32
