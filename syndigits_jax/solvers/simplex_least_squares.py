"""Least squares over the probability simplex (synthetic control), solved to a certificate."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ._conjugate_gradients import conjugate_gradients
from ._simplex_forms import gap_scale, gram_form, relative_floor, relative_gap, residual_form
from .boundary import Numbers, as_mask
from .checks import check_penalty, check_scalar, check_stopping, number, regression_arrays
from .linear_model import GramStatistics
from .precision import full_precision
from .simplex import (
    broadcast_support,
    face_projection,
    face_solve,
    project_warm,
    uniform_weights,
)
from .solution import Solution, status_code

_ROUND = 50  # accelerated steps between two attempts to finish on the current face
_FACE_STEPS = 40
_FACE_RTOL = 1e-3


class _State(eqx.Module):
    w: Float[Array, " p"]
    image: Float[Array, " p"]  # A w
    last: Float[Array, " p"]
    last_image: Float[Array, " p"]
    momentum: Float[Array, ""]
    lipschitz: Float[Array, ""]
    theta: Float[Array, ""]


def _accelerated_step(form, support, bound, state: _State) -> _State:
    """One projected gradient step with momentum, gradient restart and an adaptive step size.

    One product with A per step: that of the extrapolated point follows by linearity. A step size
    that is too long (curvature along the step above `lipschitz`) is shortened and the step undone;
    after a good step it grows a little, because the curvature on the current face is often far
    below the largest eigenvalue.
    """
    eps = float(jnp.finfo(state.w.dtype).eps)
    momentum = (1 + jnp.sqrt(1 + 4 * state.momentum**2)) / 2
    beta = (state.momentum - 1) / momentum
    v = state.w + beta * (state.w - state.last)
    v_image = state.image + beta * (state.image - state.last_image)
    w, theta = project_warm(v - v_image / state.lipschitz, support, state.theta)
    image = form(w)
    move = w - v
    square = jnp.dot(move, move)
    curvature = jnp.dot(move, image - v_image) / jnp.where(square > 0, square, 1)
    good = (curvature <= state.lipschitz) | (state.lipschitz >= bound)
    restart = jnp.dot(v - w, w - state.w) > 0
    longer = jnp.minimum(jnp.maximum(1.2 * state.lipschitz, curvature), bound)
    taken = _State(
        w,
        image,
        state.w,
        state.image,
        jnp.where(restart, 1, momentum),
        jnp.maximum(0.95 * state.lipschitz, eps * bound),
        theta,
    )
    refused = eqx.tree_at(lambda s: s.lipschitz, state, longer)
    return jax.tree.map(lambda a, b: jnp.where(good, a, b), taken, refused)


def _face_step(form, support, state: _State) -> tuple[_State, Int[Array, ""]]:
    """Minimise over the current face by conjugate gradients, as far as the weights stay ≥ 0.

    Once the accelerated steps have found the right face, one such step nearly completes the solve.
    """
    w = state.w
    face = support & (w > 0)
    rhs = -face_projection(state.image, face)
    step, products = conjugate_gradients(
        lambda v: face_projection(form(v), face), rhs, rtol=_FACE_RTOL, max_steps=_FACE_STEPS
    )
    room = jnp.where(step < 0, -w / jnp.where(step < 0, step, 1), jnp.inf)
    nearest = jnp.min(room)
    w = jnp.where(face, jnp.maximum(w + jnp.minimum(nearest, 1) * step, 0), 0)
    w = jnp.where((room == nearest) & (nearest <= 1), 0, w)
    w = w / jnp.sum(w)
    image = form(w)
    better = jnp.dot(w, image) < jnp.dot(state.w, state.image)
    w = jnp.where(better, w, state.w)
    image = jnp.where(better, image, state.image)
    one = jnp.ones_like(state.momentum)
    fresh = _State(w, image, w, image, one, state.lipschitz, state.theta)
    return fresh, products + 1


@jax.custom_jvp
def _minimise(form, support, init, tol, max_steps):
    """The minimiser of a form over the simplex, matrix products used, and its relative gap."""
    scale = gap_scale(form, support)
    bound = jnp.sum(form.diagonal())
    w, theta = project_warm(init, support, -jnp.ones_like(tol))
    # A start on the simplex is kept as it is, zeros included.
    eps = float(jnp.finfo(w.dtype).eps)
    inside = jnp.all(jnp.where(support, init >= 0, init == 0))
    w = jnp.where(inside & (jnp.abs(jnp.sum(init) - 1) <= 16 * eps), init, w)
    image = form(w)
    probe = jnp.where(support, image - jnp.dot(w, image), 0)
    square = jnp.dot(probe, probe)
    lipschitz = jnp.where(square > 0, jnp.dot(probe, form(probe)) / square, bound)
    lipschitz = jnp.where(bound > 0, lipschitz, 1)
    state = _State(w, image, w, image, jnp.ones_like(tol), lipschitz, theta)

    def gap(state):
        return relative_gap(state.w, state.image, support, scale)

    def round_(carry):
        state, steps, _ = carry
        state = jax.lax.fori_loop(
            0, _ROUND, lambda _, s: _accelerated_step(form, support, bound, s), state
        )
        state, products = _face_step(form, support, state)
        return state, steps + _ROUND + products, gap(state)

    def step(carry):
        state, steps, _ = carry
        state = _accelerated_step(form, support, bound, state)
        return state, steps + 1, gap(state)

    def within(products):
        return lambda carry: (carry[2] > tol) & (carry[1] + products <= max_steps)

    # Whole rounds as far as they fit, then single steps: never more than `max_steps` products.
    carry = (state, jnp.zeros((), jnp.int32), gap(state))
    carry = jax.lax.while_loop(within(_ROUND + _FACE_STEPS + 1), round_, carry)
    state, steps, final = jax.lax.while_loop(within(1), step, carry)
    return state.w, steps, final


@_minimise.defjvp
def _minimise_jvp(primals, tangents) -> Any:
    form, support, *_ = primals
    w, steps, gap = _minimise(*primals)
    _, moved = jax.jvp(lambda form: form(w), (form,), (tangents[0],))
    dw = -face_solve(form, support & (w > 0), moved)
    return (w, steps, gap), (dw, np.zeros((), jax.dtypes.float0), jnp.zeros_like(gap))


def _stopping(tol, max_steps, init: Numbers | None, support: Bool[Array, " p"], dtype):
    """`tol`, `max_steps` and `init`, checked."""
    check_stopping(tol, max_steps)
    init = uniform_weights(support, dtype) if init is None else number("init", init, dtype)
    if init.shape != support.shape:
        raise ValueError(f"`init` must have shape {support.shape}, got {init.shape}")
    return number("tol", tol, dtype), jnp.asarray(max_steps, jnp.int32), init


@jax.jit
def _fit(data, penalty, support, tol, max_steps, init) -> Solution[Float[Array, " p"]]:
    """From checked arguments; `data` are `(x, y, weight)` or second moments."""
    if isinstance(data, GramStatistics):
        form, rounding = gram_form(data, penalty, support)
    else:
        form, rounding = residual_form(data[0], data[1], penalty, data[2], support)
    w, steps, gap = _minimise(form, support, jax.lax.stop_gradient(init), tol, max_steps)
    gap = jnp.maximum(gap, relative_floor(form, rounding, w, support))
    gap = jax.lax.stop_gradient(gap)
    finite = jnp.isfinite(gap) & jnp.all(jnp.isfinite(w))
    return Solution(w, status_code(gap <= tol, finite), steps, gap)


@full_precision
def simplex_least_squares(
    x: Numbers,
    y: Numbers,
    penalty: Numbers = 0.0,
    *,
    sample_weight: Numbers | None = None,
    support: Numbers | None = None,
    tol: Numbers = 1e-6,
    max_steps: Numbers = 5000,
    init: Numbers | None = None,
) -> Solution[Float[Array, " p"]]:
    """Minimise Σᵢ sᵢ (Xw - y)ᵢ² + λ‖w‖² over weights w ≥ 0 that sum to one; no intercept.

    This is the synthetic control of Abadie, Diamond and Hainmueller (2010) with a ridge penalty.
    Accelerated projected gradient steps find the face of the solution, conjugate gradients finish
    on it. The derivative of the weights, forward and reverse, with respect to `x`, `y`, `penalty`
    and `sample_weight` is implicit, on the face of positive weights (one-sided where a weight of
    zero has no slack; if λ = 0 and several solutions exist, that of smallest change).

    **Arguments:**

    - `x`, `y`: (n, p) donors and (n,) target; no missing values (give them zero `sample_weight`
      and any finite number). The p x p Gram matrix is formed only where n ≥ p.
    - `penalty`: λ ≥ 0.
    - `sample_weight`: (n,) non-negative sᵢ; 1 by default.
    - `support`: (p,) donors allowed; the others get weight 0, whatever their columns hold.
    - `tol`: stop at this relative Frank-Wolfe gap.
    - `max_steps`: most products with X or its Gram matrix; may be traced.
    - `init`: (p,) warm start, projected onto the simplex first; uniform by default.

    **Returns:** a `Solution` with the (p,) weights. `optimality` is the Frank-Wolfe gap, a bound on
    how far the objective is above its minimum, over a scale: the geometric mean of the objective
    at uniform weights and of its mean over single donors. It is never below what the rounding of
    the data allows, which is large where data lie far from zero; with a smaller `tol` the
    status is `MAX_STEPS`. `steps` counts products with X or its Gram matrix, except the first ones
    at `init`. Status `NONFINITE` marks NaN in the data or an empty support. If all donors equal the
    target, or all sample weights are zero, any weights are a solution. The answer does not depend
    on the units of data, weights and penalty.

    **Raises:** `ValueError` if shapes disagree, input is not numeric, or a weight or the penalty is
    negative.

    **Example:**

        >>> from syndigits_jax.solvers import simplex_least_squares
        >>> donors = [[1.0, 0.0, 4.0], [0.0, 2.0, 4.0], [1.0, 1.0, 4.0]]
        >>> solution = simplex_least_squares(donors, [0.25, 1.5, 1.0])
        >>> print(solution.value.round(2), solution.optimality < 1e-5)
        [0.25 0.75 0.  ] True
    """
    x, y, weight, penalty, support = check_problem(x, y, penalty, sample_weight, support)
    stopping = _stopping(tol, max_steps, init, support, x.dtype)
    return _fit((x, y, weight), penalty, support, *stopping)


@full_precision
def simplex_least_squares_from_gram(
    stats: GramStatistics,
    penalty: Numbers = 0.0,
    *,
    support: Numbers | None = None,
    tol: Numbers = 1e-6,
    max_steps: Numbers = 5000,
    init: Numbers | None = None,
) -> Solution[Float[Array, " p"]]:
    """[`simplex_least_squares`][] from second moments, for Gram matrices that are available.

    With moments about the mean (`fit_intercept=True`), the fit has an unpenalised intercept outside
    the simplex constraint: `stats.intercept(weights)`.

    **Arguments:** `stats`: from [`gram_statistics`][]; `penalty`, `support`, `tol`, `max_steps`,
    `init`: as in [`simplex_least_squares`][]. Result and errors as there.
    """
    penalty, support = check_gram(stats, penalty, support)
    stopping = _stopping(tol, max_steps, init, support, stats.gram.dtype)
    return _fit(stats, penalty, support, *stopping)


def check_problem(x, y, penalty, sample_weight, support):
    """Conversions, defaults and checks.

    **Arguments:** `x`, `y`, `penalty`, `sample_weight`, `support`: as in
    [`simplex_least_squares`][].

    **Returns:** `(x, y, weight, penalty, support)`, arrays of one floating type, and a mask.

    **Raises:** `ValueError` as there.
    """
    x, y, weight = regression_arrays(x, y, sample_weight)
    weight = jnp.ones_like(y) if weight is None else weight
    return x, y, weight, *_penalty_and_support(penalty, support, x.shape[1], x.dtype)


def check_gram(stats: GramStatistics, penalty, support):
    """Defaults and checks for a problem given by second moments: `(penalty, support)`."""
    return _penalty_and_support(penalty, support, stats.cross.shape[0], stats.gram.dtype)


def _penalty_and_support(penalty, support, p, dtype):
    check_penalty("penalty", penalty)
    check_scalar("penalty", penalty)
    support = jnp.ones(p, bool) if support is None else as_mask("support", support)
    return number("penalty", penalty, dtype), broadcast_support(support, (p,))
