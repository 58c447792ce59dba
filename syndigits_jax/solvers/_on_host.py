"""Elastic nets of arrays that are known, i.e. outside `jit`, `vmap` and `grad`, on a CPU.

There the host can choose what to run next by what it sees: problems one after the other on every
core, each until it is solved, and working sets of any size.
"""

import concurrent.futures
import functools
import math
import os
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Int

from ._elastic_net_problem import Data, finished, limits
from ._in_turn import solve_in_turn
from ._overview import overview, prepared
from ._quadratic import DesignQuadratic
from ._working_set import fit_by_working_sets
from .blas import one_blas_thread
from .boundary import Numbers
from .linear_model import LinearModel
from .precision import full_precision
from .solution import Solution, Status

WIDE = 1024  # columns from which working sets are worth their passes over the design
MOST_AT_ONCE = 64  # problems of one call of a compiled program
MOST_BYTES = 2**26  # of the designs of such a call
PLAIN, CAREFUL, LAST = range(3)

Penalties = tuple[Any, Any, Any]


def on_cpu(*arrays: Any) -> bool:
    """Whether every array is known and lives on one CPU device."""
    for array in jax.tree.leaves(arrays):
        if isinstance(array, Tracer):
            return False
        if isinstance(array, jax.Array):
            devices = array.devices()
            if len(devices) > 1 or next(iter(devices)).platform != "cpu":
                return False
    return True


def _solved(
    data: Data, penalties, tol, max_steps, init, fit_intercept, stage: int
) -> Solution[LinearModel]:
    """To one of three stages.

    `PLAIN` gives NaN where the data ask for `CAREFUL` preparation. `LAST` is careful too, and alone
    has the last stage of [`solve_in_turn`][].
    """
    alpha, l1_ratio, l2 = penalties
    problem, columns = prepared(data, fit_intercept, l2, careful=stage > PLAIN)
    assert isinstance(problem.quadratic, DesignQuadratic)
    known = limits(problem, alpha, l1_ratio, tol, max_steps)
    start = init * (problem.x_unit / problem.y_unit)
    outcome = solve_in_turn(
        problem.quadratic,
        columns,
        known.l1,
        known.l2,
        start,
        tol=known.tol,
        max_steps=max_steps,
        last=stage == LAST,
    )
    return finished(problem, known, outcome, outcome.coef)


_solved_alone = jax.jit(_solved, static_argnames=("fit_intercept", "stage"))


def fit_one(
    data: Data, penalties: Penalties, tol, max_steps, init: Numbers, fit_intercept: bool
) -> Solution[LinearModel]:
    """One elastic net."""
    n, p = data[0].shape
    # Sweeps, which are all that most tall designs need, factorise nothing of size.
    with one_blas_thread(n < p or p >= WIDE):
        if p >= WIDE and penalties[0] * penalties[1] > 0:
            all_ = overview(data, penalties[2], fit_intercept)
            # Inside `jit` even what is known becomes traced.
            if not isinstance(all_.usable, Tracer) and bool(all_.usable & np.isfinite(init).all()):
                found = fit_by_working_sets(
                    data[0], all_, penalties, float(tol), int(max_steps), init
                )
                # Units are those of the first rows: others may overflow in them.
                if int(found.status) != Status.NONFINITE:
                    return found
        rest = tol, max_steps, init, fit_intercept
        first = _solved_alone(data, penalties, *rest, stage=PLAIN)
        if isinstance(first.status, Tracer):
            return _solved_alone(data, penalties, *rest, stage=LAST)
        if int(first.status) == Status.NONFINITE:
            first = _solved_alone(data, penalties, *rest, stage=CAREFUL)
        if int(first.status) != Status.MAX_STEPS or int(first.steps) >= int(max_steps):
            return first
    left, coef = np.int32(int(max_steps) - int(first.steps)), first.value.coef
    with one_blas_thread():
        second = _solved_alone(data, penalties, tol, left, coef, fit_intercept, stage=LAST)
    return Solution(second.value, second.status, first.steps + second.steps, second.optimality)


@functools.partial(jax.jit, static_argnames=("fit_intercept", "stage"))
@full_precision
def _solved_in_order(
    data, penalties, tol, max_steps, init, count: Int[Array, ""], fit_intercept: bool, stage: int
) -> Solution[LinearModel]:
    """The first `count` members of a batch, one after the other; the rest is zero."""
    x, y, weight = data

    def member(i):
        own = (
            x if x.ndim == 2 else x[i],
            y[i],
            weight if weight is None or weight.ndim == 1 else weight[i],
        )
        each = tuple(part[i] for part in penalties)
        return _solved(own, each, tol, max_steps[i], init[i], fit_intercept, stage)

    shapes = jax.eval_shape(member, 0)
    start = jax.tree.map(lambda leaf: jnp.zeros((len(y), *leaf.shape), leaf.dtype), shapes)

    def body(i, all_):
        return jax.tree.map(lambda whole, own: whole.at[i].set(own), all_, member(i))

    return jax.lax.fori_loop(0, count, body, start)


def _padded(array: np.ndarray, start: int, size: int) -> np.ndarray:
    """`size` members from `start`; the last one again where there are no more."""
    part = array[start : start + size]
    missing = size - len(part)
    return part if missing == 0 else np.concatenate([part, np.repeat(part[-1:], missing, axis=0)])


def fit_many(
    data: tuple, penalties: Penalties, tol, max_steps, init: Numbers, fit_intercept: bool
) -> Solution[LinearModel]:
    """A batch, on all cores. Data with a leading axis are batched, others are shared.

    Problems that the first stages do not finish are collected and go through the last one.
    """
    x, y, weight = (None if array is None else np.asarray(array) for array in data)
    assert x is not None and y is not None
    count, init, most = len(y), np.asarray(init), np.full(len(y), int(max_steps), np.int32)
    each = tuple(np.broadcast_to(np.asarray(part), (count,)) for part in penalties)
    shared = (x.ndim == 2, False, weight is None or weight.ndim == 1)

    def some(index):
        return tuple(a if s or a is None else a[index] for a, s in zip((x, y, weight), shared))

    def again(index, found, stage: int):
        """The problems at `index` from where they are, or from the start where that is NaN."""
        if not len(index):
            return found
        steps, coef = found.steps[index], found.value.coef[index]
        if stage == CAREFUL:
            steps, coef = np.zeros_like(steps), init[index]
        own = tuple(part[index] for part in each), tol, most[index] - steps, coef
        rest = _on_all_cores(some(index), *own, shared, fit_intercept, stage)
        rest = eqx.tree_at(lambda solution: solution.steps, rest, steps + rest.steps)
        return jax.tree.map(lambda whole, part: _replaced(whole, index, part), found, rest)

    with one_blas_thread():
        found = _on_all_cores((x, y, weight), each, tol, most, init, shared, fit_intercept, PLAIN)
        (doubtful,) = np.nonzero(found.status == Status.NONFINITE)
        found = again(doubtful, found, CAREFUL)
        (left,) = np.nonzero((found.status == Status.MAX_STEPS) & (found.steps < most))
        found = again(left, found, LAST)
    return jax.tree.map(jnp.asarray, found)


def _replaced(whole: np.ndarray, index: np.ndarray, part) -> np.ndarray:
    whole = whole.copy()
    whole[index] = part
    return whole


def _on_all_cores(data, penalties, tol, max_steps, init, shared, fit_intercept, stage):
    """Each core takes the next few problems. Data are NumPy arrays, `shared` or batched.

    The number of members per call is a power of two: few programs, whatever the batch.
    """
    count, workers = len(init), max(1, os.cpu_count() or 1)
    x, _, _ = data
    own = 1 if shared[0] else x[0].nbytes
    size = min(MOST_AT_ONCE, max(1, MOST_BYTES // own), max(1, count // (4 * workers)))
    size = 2 ** int(math.log2(size))

    def chunk(start: int):
        solution = _solved_in_order(
            tuple(a if same else _padded(a, start, size) for a, same in zip(data, shared)),
            tuple(_padded(part, start, size) for part in penalties),
            tol,
            _padded(max_steps, start, size),
            _padded(init, start, size),
            np.int32(min(size, count - start)),
            fit_intercept,
            stage,
        )
        return jax.tree.map(np.asarray, solution)

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        parts = list(pool.map(chunk, range(0, count, size)))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *parts)
