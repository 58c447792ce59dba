"""One elastic net of many columns: fits of the few that matter, judged by all of them.

Columns enter by how far they violate their optimality condition, as in celer (Massias, Gramfort &
Salmon 2018, ICML): the fit of a working set leaves a residual, whose products with all columns give
the duality gap of the whole problem, and the next working set. The loop runs on the host, because
the size of the set shapes the program. There is one program per size of a short ladder.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ._elastic_net_loop import penalised_gap
from ._elastic_net_problem import Data, finished, limits
from ._in_turn import prepared, solve_in_turn
from ._quadratic import DesignQuadratic
from .boundary import Numbers
from .linear_model import LinearModel
from .precision import full_precision
from .solution import Solution, Status

FIRST = 128
CLOSER = 0.1  # how much nearer a fit of the working set is than the whole one was
FAR = 8.0  # means beyond this many ranges of a column ask for careful centring of all of them


class Overview(NamedTuple):
    """Of all columns: means, which are constant, and how strongly they pull at zeros."""

    mean: Float[Array, " p"]
    constant: Bool[Array, " p"]
    pull: Float[Array, " p"]
    usable: Bool[Array, ""]


class _Round(NamedTuple):
    """A fit of a working set, and what all columns say to it."""

    solution: Solution[LinearModel]
    score: Float[Array, " p"]
    fitted: Bool[Array, ""]
    support: Int[Array, ""]
    violations: Int[Array, ""]


@functools.partial(jax.jit, static_argnames="fit_intercept")
def overview(data: Data, init: Float[Array, " p"], fit_intercept: bool) -> Overview:
    """In a few passes over the design, without a centred copy of it."""
    x, y, weight = data
    w = jnp.ones_like(y) if weight is None else weight
    total = jnp.sum(w)
    w = w / jnp.where(total > 0, total, 1)
    used = (w > 0)[:, None]
    top = jnp.max(jnp.where(used, x, -jnp.inf), axis=0)
    low = jnp.min(jnp.where(used, x, jnp.inf), axis=0)
    mean = w @ x if fit_intercept else jnp.zeros_like(top)
    rest = w * (y - jnp.dot(w, y) if fit_intercept else y)
    pull = jnp.abs(rest @ x - mean * jnp.sum(rest))
    constant = (top == low) if fit_intercept else jnp.zeros_like(top, bool)
    near = jnp.all(constant | (jnp.abs(mean) <= FAR * (top - low)))
    finite = jnp.isfinite(jnp.sum(pull) + jnp.sum(init)) & (total > 0)
    pull = jnp.where(constant, 0, pull)
    return Overview(mean, constant, jnp.where(init != 0, jnp.inf, pull), near & finite)


@functools.partial(jax.jit, static_argnames=("size", "fit_intercept", "last"))
def _fit_some(
    data: Data,
    columns: Overview,
    coef: Float[Array, " p"],
    penalties: tuple[Array, Array, Array],
    tol: tuple[Array, Array],
    max_steps: Int[Array, ""],
    size: int,
    fit_intercept: bool,
    last: bool,
) -> _Round:
    """Fit the `size` columns of the greatest `pull` to the first `tol`, judge by the second."""
    x, y, weight = data
    alpha, l1_ratio, l2 = penalties
    _, index = jax.lax.top_k(columns.pull, size)
    problem, some = prepared((x[:, index], y, weight), fit_intercept, l2)
    quadratic = problem.quadratic
    assert isinstance(quadratic, DesignQuadratic)
    known = limits(problem, alpha, l1_ratio, tol[0], max_steps)
    unit = problem.x_unit / problem.y_unit
    outcome = solve_in_turn(
        quadratic,
        some,
        known.l1,
        known.l2,
        coef[index] * unit,
        tol=known.tol,
        max_steps=max_steps,
        last=last,
    )
    rest = quadratic.weight * (quadratic.y - quadratic.x @ outcome.coef)
    slope = (rest @ x - columns.mean * jnp.sum(rest)) / problem.x_unit
    slope = jnp.where(columns.constant, 0, slope)
    fitted = outcome.converged
    whole = jnp.zeros_like(coef).at[index].set(outcome.coef)
    gap = penalised_gap(slope, whole, outcome.residual, known.l1, known.l2)
    known = limits(problem, alpha, l1_ratio, tol[1], max_steps)
    outcome = outcome._replace(gap=gap, converged=gap <= known.tol * quadratic.constant)
    solution = finished(problem, known, outcome, outcome.coef)
    model = LinearModel(whole / unit, solution.value.intercept)
    violation = jnp.abs(slope - known.l2 * whole)
    return _Round(
        Solution(model, solution.status, solution.steps, solution.optimality),
        jnp.where(whole != 0, jnp.inf, violation),
        fitted,
        jnp.sum(whole != 0),
        jnp.sum((violation > known.l1) & (whole == 0)),
    )


def ladder(need: int, most: int) -> int:
    """The least of 128, 192, 256, 384, 512, … that is at least `need`; not above `most`."""
    size = FIRST
    while size < need:
        size = size * 4 // 3 if size % 3 == 0 else size * 3 // 2
    return min(size, most)


@full_precision
def fit_by_working_sets(
    data: Data,
    columns: Overview,
    penalties: tuple,
    tol: float,
    max_steps: int,
    init: Numbers,
    fit_intercept: bool,
) -> Solution[LinearModel]:
    """[`elastic_net`][] of concrete, checked arguments with an ℓ1 penalty, `columns` usable."""
    coef, steps, gap, last = init, 0, 1.0, False
    dtype, p = np.dtype(init.dtype), len(init)
    tol = max(tol, 10 * float(np.finfo(dtype).eps))
    size = ladder(2 * int(np.sum(np.isinf(columns.pull))), p)
    while True:
        nearer = dtype.type(max(CLOSER * gap, 0.5 * tol)), dtype.type(tol)
        found = _fit_some(
            data,
            columns,
            coef,
            penalties,
            nearer,
            np.int32(max_steps - steps),
            size,
            fit_intercept,
            last,
        )
        solution = found.solution
        steps += int(solution.steps)
        better = float(solution.optimality)
        done = int(solution.status) != Status.MAX_STEPS or steps >= max_steps
        # Rounding may allow no less.
        stuck = last and better >= gap and (size == p or int(found.violations) == 0)
        if done or stuck:
            return Solution(
                solution.value,
                solution.status,
                jnp.asarray(steps, jnp.int32),
                solution.optimality,
            )
        last = not bool(found.fitted) or better >= gap
        coef, gap = solution.value.coef, min(gap, better)
        support, violations = int(found.support), int(found.violations)
        need = support + min(violations, support // 2 + FIRST // 2)
        size = max(size, ladder(need, p))
        columns = columns._replace(pull=found.score)
