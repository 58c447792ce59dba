"""Smooth convex functions over the probability simplex: accelerated projection, mirror descent."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ._accelerated import Geometry, Objective, accelerate
from .boundary import Numbers, as_float, as_mask
from .checks import check_stopping, number
from .precision import full_precision
from .simplex import broadcast_support, face_solve, frank_wolfe_gap, project_warm, uniform_weights
from .solution import Solution, Status, status_code
from .units import power_of_two


def _gap_scale(fun: Objective, support: Bool[Array, " p"], dtype) -> Float[Array, ""]:
    """The scale of relative gaps: |f| or the gap at uniform weights, the larger one."""
    w = uniform_weights(support, dtype)
    value, gradient = jax.value_and_grad(fun)(w)
    scale = jnp.maximum(jnp.abs(value), frank_wolfe_gap(gradient, w, support=support))
    scale = jnp.where(scale == 0, 1, scale)
    return jax.lax.stop_gradient(jnp.where(jnp.isfinite(scale), scale, jnp.nan))


def _gap_floor(value, gradient, w, support) -> Float[Array, ""]:
    """The smallest gap above rounding: `eps` times the terms of which it is the sum.

    Cancellation inside `fun` is not known and not included.
    """
    eps = float(jnp.finfo(w.dtype).eps)
    terms = jnp.sum(jnp.where(support, w * jnp.abs(gradient), 0))
    return jax.lax.stop_gradient(eps * jnp.maximum(jnp.abs(value), terms))


class _Euclidean(Geometry):
    """Projections; gaps are divided by `scale`."""

    support: Bool[Array, " p"]
    scale: Float[Array, ""]

    def coordinates(self, w):
        return w

    def weights(self, z):
        return z

    def step(self, z, gradient, strength, guess):
        return project_warm(z - gradient / strength, self.support, guess)

    def square(self, move):
        return jnp.dot(move, move)

    def gap(self, gradient, w):
        return frank_wolfe_gap(gradient, w, support=self.support) / self.scale

    def slope(self, gradient, y):
        return jnp.where(self.support, gradient, 0)

    def lingering(self, gradient, w, z, gap):
        # Where most of the gap is due to weights that are zero in z but not yet in the average w, a
        # plain step removes them.
        return self.gap(gradient, jnp.where(z > 0, 0, w)) > 0.5 * gap


def _accelerate(fun: Objective, support, init, tol, scale, max_steps):
    """Weights, steps and relative gap of the accelerated method."""
    geometry = _Euclidean(support, scale)
    w, theta = project_warm(init, support, -jnp.ones_like(tol))
    gradient = jnp.where(support, jax.grad(fun)(w), 0)
    centred = jnp.where(support, gradient - jnp.dot(uniform_weights(support, w.dtype), gradient), 0)
    lipschitz = jnp.sqrt(jnp.dot(centred, centred))  # a first step of length 1
    lipschitz = jnp.where(lipschitz > 0, lipschitz, 1)
    state = accelerate(
        fun,
        geometry,
        w,
        lipschitz=lipschitz,
        guess=theta,
        gap=geometry.gap(gradient, w),
        tol=tol,
        max_steps=max_steps,
    )
    # One plain projected step sets weights that are only almost zero to zero.
    value, gradient = jax.value_and_grad(fun)(state.best)
    floor = _gap_floor(value, gradient, state.best, support) / scale
    last, _ = project_warm(state.best - gradient / state.lipschitz, support, state.guess)
    value, gradient = jax.value_and_grad(fun)(last)
    last_floor = _gap_floor(value, gradient, last, support) / scale
    last_gap = frank_wolfe_gap(gradient, last, support=support) / scale
    keep = last_gap <= jnp.maximum(state.best_gap, tol)
    keep = keep & (state.steps > 0) & (state.steps < max_steps)
    w = jnp.where(keep, last, state.best)
    gap = jnp.where(keep, jnp.maximum(last_gap, last_floor), jnp.maximum(state.best_gap, floor))
    steps = state.steps + keep.astype(jnp.int32)
    return w, steps, jnp.where(jnp.isnan(state.gap), jnp.nan, gap)


@full_precision
def minimize_on_simplex(
    fun: Objective,
    init: Numbers,
    *,
    support: Numbers | None = None,
    tol: Numbers = 1e-6,
    scale: Numbers | None = None,
    max_steps: Numbers = 5000,
) -> Solution[Float[Array, " p"]]:
    """Minimise a smooth convex function over {w : w ≥ 0, Σ w = 1}.

    Accelerated projected gradient with backtracking and restarts (Auslender and Teboulle, 2006;
    O'Donoghue and Candès, 2015), stopped by the Frank-Wolfe gap. `fun` is evaluated on the
    simplex only, and may be infinite on its boundary if it is finite at `init`.

    Derivatives, forward and reverse, of the weights with respect to whatever `fun` closes over are
    implicit, on the face of positive weights; they use Hessian-vector products of `fun`.

    **Arguments:**

    - `fun`: from (p,) weights to a scalar.
    - `init`: (p,) start, projected onto the simplex first. Uniform weights are a good one.
    - `support`: (p,); weights where it is `False` stay 0.
    - `tol`: stop at this relative gap.
    - `scale`: the unit of gaps; |f| or the gap at uniform weights, the larger, by default.
    - `max_steps`: most steps, of one projection each; may be traced.

    **Returns:** a `Solution` with the (p,) weights. `optimality` is the Frank-Wolfe gap, a bound on
    how far f is above its minimum, over `scale`. It is as accurate as the gradient of `fun`: errors
    from cancellation inside `fun` are not part of it.

    **Raises:** `ValueError` if `init` is not a vector or `support` does not match it.

    **Example:**

        >>> import jax.numpy as jnp
        >>> from syndigits_jax.solvers import minimize_on_simplex
        >>> solution = minimize_on_simplex(lambda w: jnp.sum(w**2) + w[0], [0.2, 0.4, 0.4])
        >>> print(solution.value.round(2), solution.optimality < 1e-5)
        [0.  0.5 0.5] True
    """
    check_stopping(tol, max_steps)
    init, support = _check(init, support)
    tol, max_steps = number("tol", tol, init.dtype), jnp.asarray(max_steps, jnp.int32)
    size = _gap_scale(fun, support, init.dtype)
    scale = size if scale is None else number("scale", scale, init.dtype)
    # In units of its own size no square of a gradient is out of range.
    unit = power_of_two(size)
    scale = jax.lax.stop_gradient(scale) / unit
    # Values that `fun` closes over become arguments, so that they can be differentiated.
    converted, consts = jax.closure_convert(fun, init)

    @jax.custom_jvp
    def solve(consts, support, init, tol, scale, unit, max_steps):
        def objective(w):
            return converted(w, *consts) / unit

        return _accelerate(objective, support, init, tol, scale, max_steps)

    @solve.defjvp
    def solve_jvp(primals, tangents) -> Any:
        consts, support, _, _, _, unit, _ = primals
        w, steps, gap = solve(*primals)
        gradient = jax.grad(lambda w, *consts: converted(w, *consts) / unit)
        _, moved = jax.jvp(lambda consts: gradient(w, *consts), (consts,), (tangents[0],))

        def hessian(v):
            return jax.jvp(lambda w: gradient(w, *consts), (w,), (v,))[1]

        dw = -face_solve(hessian, support & (w > 0), moved)
        return (w, steps, gap), (dw, np.zeros((), jax.dtypes.float0), jnp.zeros_like(gap))

    w, steps, gap = solve(consts, support, jax.lax.stop_gradient(init), tol, scale, unit, max_steps)
    gap = jax.lax.stop_gradient(gap)
    finite = jnp.isfinite(gap) & jnp.all(jnp.isfinite(w))
    return Solution(w, status_code(gap <= tol, finite), steps, gap)


@dataclass(frozen=True)
class _Descent:
    """Multiplicative steps on the logarithms of weights, along `slope`."""

    slope: Callable[[Float[Array, " p"]], Float[Array, " p"]]
    support: Bool[Array, " p"]
    step_size: Float[Array, ""]
    scale: Float[Array, ""]

    def weights(self, logits):
        mass = jnp.where(self.support, jnp.exp(logits), 0)
        return mass / jnp.sum(mass)

    def gradient(self, logits):
        return jnp.where(self.support, self.slope(self.weights(logits)), 0)

    def step(self, logits, gradient):
        logits = logits - self.step_size * gradient
        top = jnp.max(jnp.where(self.support, logits, -jnp.inf))
        return jnp.where(self.support, logits - jax.lax.stop_gradient(top), 0)

    def gap(self, logits, gradient):
        return frank_wolfe_gap(gradient, self.weights(logits), support=self.support) / self.scale

    def fixed(self, logits, count):
        """The logits, gap and number of steps after `count` steps."""

        def body(_, logits):
            return self.step(logits, self.gradient(logits))

        logits = jax.lax.fori_loop(0, count, body, logits)
        return logits, self.gap(logits, self.gradient(logits)), jnp.full((), count, jnp.int32)

    def until(self, logits, tol, max_steps):
        """The same after as many steps as the gap needs to reach `tol`."""

        def body(state):
            logits, gradient, _, steps = state
            logits = self.step(logits, gradient)
            gradient = self.gradient(logits)
            return logits, gradient, self.gap(logits, gradient), steps + 1

        first = self.gradient(logits)
        state = (logits, first, self.gap(logits, first), jnp.zeros((), jnp.int32))
        state = jax.lax.while_loop(lambda s: (s[2] > tol) & (s[3] < max_steps), body, state)
        logits, _, gap, steps = state
        return logits, gap, steps


@full_precision
def mirror_descent(
    fun: Objective,
    init: Numbers,
    step_size: Numbers,
    *,
    max_steps: Numbers = 1000,
    tol: Numbers | None = None,
    support: Numbers | None = None,
    gradient: Callable[[Float[Array, " p"]], Float[Array, " p"]] | None = None,
) -> Solution[Float[Array, " p"]]:
    """Entropic mirror descent: w ← w exp(-η g), normalised (Beck and Teboulle, 2003).

    The step size is constant, and the weights are kept as logarithms, so that none underflows on
    the way. A step size above about 1 / max |∂²f| may not converge.

    **Arguments:**

    - `fun`: from (p,) weights to a scalar, convex and differentiable.
    - `init`: (p,) start in the interior of the simplex; any positive numbers, normalised first.
    - `step_size`: η.
    - `max_steps`: static, or traced where `tol` is given. With `tol=None` exactly this many steps
      are taken, and derivatives in both modes are those of the steps, by unrolling.
    - `tol`: stop at this relative Frank-Wolfe gap. Forward derivatives only; for derivatives of
      the minimiser use [`minimize_on_simplex`][].
    - `support`: (p,); weights where it is `False` are 0.
    - `gradient`: used instead of the gradient of `fun` in the steps (clipped or smoothed ones).

    **Returns:** a `Solution` with the (p,) weights, and as `optimality` the Frank-Wolfe gap on the
    scale of [`minimize_on_simplex`][], from the same gradient as the steps. Status is
    `FIXED_STEPS` without `tol`.

    **Raises:** `ValueError` if `init` is not a vector or `support` does not match it.

    **Example:**

        >>> import jax.numpy as jnp
        >>> from syndigits_jax.solvers import mirror_descent
        >>> solution = mirror_descent(lambda w: jnp.sum(w**2), [0.8, 0.1, 0.1], 0.5, max_steps=50)
        >>> print(solution.value.round(2))
        [0.33 0.33 0.33]
    """
    check_stopping(0.0 if tol is None else tol, max_steps)
    init, support = _check(init, support)
    step_size = number("step_size", step_size, init.dtype)
    scale = _gap_scale(fun, support, init.dtype)
    slope = jax.grad(fun) if gradient is None else gradient
    descent = _Descent(slope, support, step_size, scale)
    logits = jnp.log(jnp.where(support, init, 1))
    if tol is None:
        logits, gap, steps = descent.fixed(logits, max_steps)
    else:
        tol = number("tol", tol, init.dtype)
        logits, gap, steps = descent.until(logits, tol, max_steps)
    w = descent.weights(logits)
    floor = _gap_floor(fun(w), descent.gradient(logits), w, support)
    gap = jnp.maximum(gap, floor / scale)
    w = w + jnp.where(jnp.any(support), 0, jnp.nan)
    finite = jnp.isfinite(gap) & jnp.all(jnp.isfinite(w))
    if tol is None:
        status = jnp.where(finite, int(Status.FIXED_STEPS), int(Status.NONFINITE))
    else:
        status = status_code(gap <= tol, finite)
    return Solution(w, status.astype(jnp.int32), steps, gap)


def _check(init: Numbers, support: Numbers | None) -> tuple[Array, Bool[Array, " p"]]:
    init = as_float("init", init)
    if init.ndim != 1 or init.shape[0] == 0:
        raise ValueError(f"`init` must be a vector that is not empty, got shape {init.shape}")
    support = jnp.ones(init.shape, bool) if support is None else as_mask("support", support)
    return init, broadcast_support(support, init.shape)
