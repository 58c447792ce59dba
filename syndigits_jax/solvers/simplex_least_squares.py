"""Least squares over the probability simplex (synthetic control), solved to a certificate."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from ._checks import check_penalty, check_regression, check_scalar
from ._precision import full_precision
from .linear_model import GramStatistics
from .simplex import (
    _conjugate_gradient,
    _face_projection,
    _project,
    broadcast_support,
    face_solve,
    frank_wolfe_gap,
    uniform_weights,
)
from .solution import Solution, status_code

_ROUND = 50  # accelerated steps between two attempts to finish on the current face
_FACE_STEPS = 40
_FACE_RTOL = 1e-3


class DenseForm(eqx.Module):
    """The quadratic form wᵀAw from its matrix A, (p, p)."""

    matrix: Float[Array, "p p"]

    def __call__(self, v: Float[Array, " p"]) -> Float[Array, " p"]:
        """The product A v."""
        return self.matrix @ v

    def diagonal(self) -> Float[Array, " p"]:
        """The diagonal of A: the objective at each vertex."""
        return jnp.diagonal(self.matrix)


class FactoredForm(eqx.Module):
    """The quadratic form Σᵢ weightᵢ (D w)ᵢ² + penalty ‖w‖², without its p x p matrix."""

    factor: Float[Array, "n p"]
    weight: Float[Array, " n"]
    penalty: Float[Array, ""]

    def __call__(self, v: Float[Array, " p"]) -> Float[Array, " p"]:
        """The product A v, A = Dᵀ diag(weight) D + penalty I."""
        return (self.weight * (self.factor @ v)) @ self.factor + self.penalty * v

    def diagonal(self) -> Float[Array, " p"]:
        """The diagonal of A: the objective at each vertex."""
        return self.weight @ self.factor**2 + self.penalty


def residual_form(
    x: Float[Array, "n p"],
    y: Float[Array, " n"],
    penalty: Float[Array, ""],
    weight: Float[Array, " n"],
    support: Bool[Array, " p"],
) -> DenseForm | FactoredForm:
    """The objective of weights that sum to one: Xw - y = (X - y1ᵀ)w makes it a pure quadratic.

    Nothing cancels in this form, and its gradient and value come from one product. Columns off
    the support are blanked, so that nothing in them can reach the answer. By static shape: the
    p x p matrix where n ≥ p, the factor otherwise.
    """
    factor = jnp.where(support[None, :], x - y[:, None], 0)
    if x.shape[0] < x.shape[1]:
        return FactoredForm(factor, weight, penalty)
    gram = (factor * weight[:, None]).T @ factor
    return DenseForm(gram + penalty * jnp.eye(x.shape[1], dtype=x.dtype))


def gram_form(
    stats: GramStatistics, penalty: Float[Array, ""], support: Bool[Array, " p"]
) -> DenseForm:
    """The same objective from second moments."""
    moment = stats.gram - stats.cross[:, None] - stats.cross[None, :] + stats.target_square
    moment = jnp.where(support[:, None] & support[None, :], moment, 0)
    return DenseForm(moment + penalty * jnp.eye(moment.shape[0], dtype=moment.dtype))


def gap_scale(form: DenseForm | FactoredForm, support: Bool[Array, " p"]) -> Float[Array, ""]:
    """What relative gaps are relative to.

    The geometric mean of the objective at uniform weights and of its mean over single donors.
    The products in a gap are of this size, so rounding leaves about `eps` of it, however well
    uniform weights fit.
    """
    w = uniform_weights(support, form.diagonal().dtype)
    vertices = jnp.dot(w, form.diagonal())
    eps = float(jnp.finfo(w.dtype).eps)
    scale = jnp.sqrt(jnp.maximum(jnp.dot(w, form(w)), eps * vertices)) * jnp.sqrt(vertices)
    return jnp.where(scale == 0, 1, scale)


def relative_gap(
    w: Float[Array, " p"],
    image: Float[Array, " p"],
    support: Bool[Array, " p"],
    scale: Float[Array, ""],
) -> Float[Array, ""]:
    """The Frank-Wolfe gap of wᵀAw at `w`, from `image` = Aw (half the gradient), over `scale`."""
    return 2 * frank_wolfe_gap(image, w, support=support) / scale


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
    that turns out too long (curvature along the step above `lipschitz`) is shortened and the step
    taken back; after a good step it grows a little, as the curvature that counts is that of the
    current face, often far below the largest eigenvalue.
    """
    eps = float(jnp.finfo(state.w.dtype).eps)
    momentum = (1 + jnp.sqrt(1 + 4 * state.momentum**2)) / 2
    beta = (state.momentum - 1) / momentum
    v = state.w + beta * (state.w - state.last)
    v_image = state.image + beta * (state.image - state.last_image)
    w, theta = _project(v - v_image / state.lipschitz, support, state.theta)
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

    Once the accelerated steps have found the right face, one such step all but ends the solve.
    """
    w = state.w
    face = support & (w > 0)
    rhs = -_face_projection(state.image, face)
    step, products = _conjugate_gradient(
        lambda v: _face_projection(form(v), face), rhs, _FACE_RTOL, _FACE_STEPS
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


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _minimise(max_rounds: int, form, support, init, tol):
    """The minimiser of a form over the simplex, matrix products used, and its relative gap."""
    scale = gap_scale(form, support)
    bound = jnp.sum(form.diagonal())
    w, theta = _project(init, support, -jnp.ones_like(tol))
    # A start on the simplex stays what it is, zeros included.
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

    def body(carry):
        state, steps, _, rounds = carry
        state = jax.lax.fori_loop(
            0, _ROUND, lambda _, s: _accelerated_step(form, support, bound, s), state
        )
        state, products = _face_step(form, support, state)
        return state, steps + _ROUND + products, gap(state), rounds + 1

    def keep_going(carry):
        _, _, gap, rounds = carry
        return (gap > tol) & (rounds < max_rounds)

    zero = jnp.zeros((), jnp.int32)
    state, steps, final, _ = jax.lax.while_loop(keep_going, body, (state, zero, gap(state), zero))
    return state.w, steps, final


@_minimise.defjvp
def _minimise_jvp(max_rounds, primals, tangents):
    form, support, _, _ = primals
    w, steps, gap = _minimise(max_rounds, *primals)
    _, moved = jax.jvp(lambda form: form(w), (form,), (tangents[0],))
    dw = -face_solve(form, support & (w > 0), moved)
    return (w, steps, gap), (dw, np.zeros((), jax.dtypes.float0), jnp.zeros_like(gap))


def _solve(form, support, init, tol, max_steps) -> Solution[Float[Array, " p"]]:
    dtype = form.diagonal().dtype
    init = uniform_weights(support, dtype) if init is None else init
    if init.shape != support.shape:
        raise ValueError(f"`init` must have shape {support.shape}, got {init.shape}")
    rounds = -(-max_steps // _ROUND)
    tol = jnp.asarray(tol, dtype=dtype)
    w, steps, gap = _minimise(rounds, form, support, jax.lax.stop_gradient(init), tol)
    gap = jax.lax.stop_gradient(gap)
    finite = jnp.isfinite(gap) & jnp.all(jnp.isfinite(w))
    return Solution(w, status_code(gap <= tol, finite), steps, gap)


@full_precision
def simplex_least_squares(
    x: Float[Array, "..."],
    y: Float[Array, "..."],
    penalty: ArrayLike = 0.0,
    *,
    sample_weight: Float[Array, "..."] | None = None,
    support: Bool[Array, "..."] | None = None,
    tol: ArrayLike = 1e-6,
    max_steps: int = 5000,
    init: Float[Array, "..."] | None = None,
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
    - `max_steps`: a bound on the accelerated steps, rounded up to a multiple of 50; static.
    - `init`: (p,) warm start, projected onto the simplex first; uniform by default.

    **Returns:** a `Solution` with the (p,) weights. `optimality` is the Frank-Wolfe gap, a bound on
    how far the objective is above its minimum, over a scale: the geometric mean of the objective
    at uniform weights and of its mean over single donors. `steps` counts products with X or its
    Gram matrix. Status `NONFINITE` marks NaN in the data or an empty support.

    **Raises:** `ValueError` if shapes disagree, or a weight or the penalty is negative.
    """
    support, weight, penalty = check_problem(x, y, penalty, sample_weight, support)
    form = residual_form(x, y, penalty, weight, support)
    return _solve(form, support, init, tol, max_steps)


@full_precision
def simplex_least_squares_from_gram(
    stats: GramStatistics,
    penalty: ArrayLike = 0.0,
    *,
    support: Bool[Array, "..."] | None = None,
    tol: ArrayLike = 1e-6,
    max_steps: int = 5000,
    init: Float[Array, "..."] | None = None,
) -> Solution[Float[Array, " p"]]:
    """[`simplex_least_squares`][] from second moments, for Gram matrices that are at hand.

    Moments taken about the mean (`fit_intercept=True`) leave an unpenalised intercept out of the
    simplex constraint: `stats.intercept(weights)`.
    """
    support, penalty = check_gram(stats, penalty, support)
    return _solve(gram_form(stats, penalty, support), support, init, tol, max_steps)


def check_problem(x, y, penalty, sample_weight, support):
    """Defaults and checks for a problem given by its data: `(support, weight, penalty)`."""
    check_regression(x, y, sample_weight)
    check_penalty("penalty", penalty)
    check_scalar("penalty", penalty)
    weight = jnp.ones_like(y) if sample_weight is None else sample_weight
    support = jnp.ones(x.shape[1], bool) if support is None else support
    support = broadcast_support(support, (x.shape[1],))
    return support, weight, jnp.asarray(penalty, dtype=x.dtype)


def check_gram(stats: GramStatistics, penalty, support):
    """Defaults and checks for a problem given by second moments: `(support, penalty)`."""
    check_penalty("penalty", penalty)
    check_scalar("penalty", penalty)
    p = stats.cross.shape[0]
    support = jnp.ones(p, bool) if support is None else support
    return broadcast_support(support, (p,)), jnp.asarray(penalty, dtype=stats.gram.dtype)
