"""One elastic net by what is fastest on a CPU, in turn: sweeps, Newton steps, accelerated steps.

Each stage starts where the one before stopped, and most problems never see the next. It branches
on numbers, so under `vmap` every member would pay for every branch: use it for one problem at a
time. Not differentiable.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from . import _coordinate_descent, _dual_newton
from ._coordinate_descent import Columns
from ._elastic_net_loop import Outcome, minimise, penalised_gap
from ._quadratic import DesignQuadratic

MOST_ROWS = 512  # with more rows a Newton step on the dual costs more than many sweeps
FEW, SOME, MANY = 10, 50, 1000  # sweeps before the next stage
SMALL = 512  # columns up to which a Gram matrix is cheap


def solve_in_turn(
    quadratic: DesignQuadratic,
    columns: Columns,
    l1: Float[Array, ""],
    l2: Float[Array, ""],
    init: Float[Array, " p"],
    *,
    tol: Float[Array, ""],
    max_steps: Int[Array, ""],
    last: bool,
) -> Outcome:
    """[`minimise`][] of a problem held as its design and `columns`; its last stage only if `last`.

    That stage is most of the program and of the time to compile it, and hardly ever needed.
    """
    n, p = quadratic.x.shape
    linear = quadratic.linear
    coef = jnp.where(jnp.max(jnp.abs(linear)) <= l1, 0, init)
    target = tol * quadratic.constant
    trace = jnp.sum(columns.squares())
    finite = jnp.isfinite(jnp.sum(linear) + trace + quadratic.constant + l1 + l2)
    finite = finite & jnp.all(jnp.isfinite(init))
    usable = finite & (l1 + l2 > 0)
    dual = n < p and n <= MOST_ROWS
    sweeps = FEW if dual else SOME if p <= SMALL else MANY

    def judged(coef, steps):
        blocks = _coordinate_descent.in_blocks(columns, coef)
        return _coordinate_descent.judged(columns, l1, l2, blocks, steps)

    def at_zero():
        gap = penalised_gap(linear, jnp.zeros_like(linear), quadratic.constant, l1, l2)
        blocks = _coordinate_descent.in_blocks(columns, jnp.zeros_like(linear))
        return _coordinate_descent.Descent(blocks, columns.target, gap, none)

    none = jnp.zeros((), jnp.int32)
    state = jax.lax.cond(jnp.any(coef != 0), lambda: judged(coef, none), at_zero)
    state = _coordinate_descent.descend(
        columns,
        l1,
        l2,
        state,
        target=target,
        max_steps=jnp.minimum(max_steps, sweeps),
        enough=usable,
    )

    def unfinished(state):
        return usable & (state.gap > target) & (state.steps < max_steps)

    def newton(state):
        most = jnp.minimum(max_steps - state.steps, _dual_newton.MOST_STEPS)
        found = _dual_newton.minimise_dual(
            quadratic, l1, l2, state.coef.ravel()[:p], target=target, max_steps=most
        )
        return judged(found.best, state.steps + found.steps)

    if dual:
        state = jax.lax.cond(unfinished(state), newton, lambda state: state, state)

    def done(state):
        square = jnp.dot(state.residual, state.residual)
        coef = jnp.where(finite, state.coef.ravel()[:p], jnp.nan)
        converged = finite & (state.gap <= target)
        return Outcome(
            coef, jnp.zeros_like(square), state.gap, square, state.steps, converged, finite
        )

    def accelerated(state):
        form = quadratic if n < p else quadratic.as_gram()
        outcome = minimise(
            form, l1, l2, state.coef.ravel()[:p], tol=tol, max_steps=max_steps - state.steps
        )
        return outcome._replace(steps=outcome.steps + state.steps)

    if not last:
        return done(state)
    again = unfinished(state) | (finite & ~usable)
    return jax.lax.cond(again, accelerated, done, state)
