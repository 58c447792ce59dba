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

from ._coordinate_descent import Columns, in_blocks, residual
from ._elastic_net_loop import penalised_gap
from ._elastic_net_problem import finished, limits
from ._in_turn import solve_in_turn
from ._overview import Overview, gathered, problem_of, slopes
from ._quadratic import DesignQuadratic
from .boundary import Numbers
from .linear_model import LinearModel
from .precision import full_precision
from .solution import Solution, Status

FIRST = 128
GROW = 0.5  # of the rows: so many columns may enter at once
CLOSER = 0.1  # how much nearer a fit of the working set is than the whole one was


class _Round(NamedTuple):
    """A fit of a working set, and what all columns say to it.

    `score` is by how much a column pulls, infinite where it has a coefficient; from `limit` on it
    violates its condition.
    """

    solution: Solution[LinearModel]
    score: Float[Array, " p"]
    limit: Float[Array, ""]
    fitted: Bool[Array, ""]


@functools.partial(jax.jit, static_argnames="last")
def _fit_some(
    x: Float[Array, "n p"],
    all_: Overview,
    columns: Columns,
    index: Int[Array, " s"],
    coef: Float[Array, " p"],
    penalties: tuple[Array, Array, Array],
    tol: tuple[Array, Array],
    max_steps: Int[Array, ""],
    last: bool,
) -> _Round:
    """Fit the `columns` at `index` to the first `tol`, judge by the second."""
    alpha, l1_ratio, _ = penalties
    problem = problem_of(columns, all_, index)
    quadratic = problem.quadratic
    assert isinstance(quadratic, DesignQuadratic)
    known = limits(problem, alpha, l1_ratio, tol[0], max_steps)
    unit = problem.x_unit / problem.y_unit
    outcome = solve_in_turn(
        quadratic,
        columns,
        known.l1,
        known.l2,
        coef[index] * unit,
        tol=known.tol,
        max_steps=max_steps,
        last=last,
    )
    slope = slopes(x, all_, residual(columns, in_blocks(columns, outcome.coef)))
    fitted = outcome.converged
    whole = jnp.zeros_like(coef).at[index].set(outcome.coef)
    gap = penalised_gap(slope, whole, outcome.residual, known.l1, known.l2)
    known = limits(problem, alpha, l1_ratio, tol[1], max_steps)
    outcome = outcome._replace(gap=gap, converged=gap <= known.tol * quadratic.constant)
    solution = finished(problem, known, outcome, outcome.coef)
    model = LinearModel(whole / unit, solution.value.intercept)
    score = jnp.where(whole != 0, jnp.inf, jnp.abs(slope))
    return _Round(
        Solution(model, solution.status, solution.steps, solution.optimality),
        score,
        known.l1,
        fitted,
    )


def ladder(need: int, most: int) -> int:
    """The least of 128, 192, 256, 384, 512, … that is at least `need`; not above `most`."""
    size = FIRST
    while size < need:
        size = size * 4 // 3 if size % 3 == 0 else size * 3 // 2
    return min(size, most)


def _chosen(score: np.ndarray, size: int) -> np.ndarray:
    """The `size` columns of the greatest score: those of an infinite one, then others, in order.

    Sweeps skip blocks without a coefficient, so what has one is kept together.
    """
    p = len(score)
    index = np.arange(p) if size == p else np.sort(np.argpartition(score, -size)[-size:])
    return index[np.argsort(score[index] != np.inf, kind="stable")].astype(np.int32)


@full_precision
def fit_by_working_sets(
    x: Float[Array, "n p"],
    all_: Overview,
    penalties: tuple,
    tol: float,
    max_steps: int,
    init: Numbers,
) -> Solution[LinearModel]:
    """[`elastic_net`][] of concrete, checked arguments with an ℓ1 penalty, `all_` usable."""
    coef, steps, gap, last = init, 0, 1.0, False
    dtype, (n, p) = np.dtype(init.dtype), x.shape
    tol = max(tol, 10 * float(np.finfo(dtype).eps))
    score = np.where(np.asarray(init) != 0, np.inf, np.abs(np.asarray(all_.linear)))
    size = ladder(2 * int(np.sum(np.isinf(score))), p)
    index = _chosen(score, size)
    columns = gathered(x, all_, index)
    while True:
        nearer = dtype.type(max(CLOSER * gap, 0.5 * tol)), dtype.type(tol)
        left = np.int32(max_steps - steps)
        found = _fit_some(x, all_, columns, index, coef, penalties, nearer, left, last)
        solution = found.solution
        steps += int(solution.steps)
        better = float(solution.optimality)
        score = np.asarray(found.score)
        violating = (score > float(found.limit)) & np.isfinite(score)
        violations, support = int(np.sum(violating)), int(np.sum(np.isinf(score)))
        done = int(solution.status) != Status.MAX_STEPS or steps >= max_steps
        outside = violating.copy()
        outside[index] = False
        stuck = last and better >= gap  # rounding may allow no less
        if done or (stuck and (size == p or not np.any(outside))):
            return Solution(
                solution.value,
                solution.status,
                jnp.asarray(steps, jnp.int32),
                solution.optimality,
            )
        last = not bool(found.fitted) or better >= gap
        coef, gap = solution.value.coef, min(gap, better)
        if np.any(outside):
            # With few coefficients for the rows, what violates now mostly does so to the end.
            likely = violations if support < n // 4 else violations // 2
            more = max(support // 2 + FIRST // 2, int(GROW * n))
            size = max(size, ladder(support + min(likely, more), p))
            if stuck:
                size = ladder(size + 1, p)
            index = _chosen(score, size)
            columns = gathered(x, all_, index)
