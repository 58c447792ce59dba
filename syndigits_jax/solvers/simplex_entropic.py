"""Smooth convex functions plus a relative entropy over the probability simplex."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .boundary import Numbers, as_floats
from .checks import number
from .precision import full_precision
from .solution import Solution, status_code

Objective = Callable[[Float[Array, " p"]], Float[Array, ""]]


def _log(w: Float[Array, " p"]) -> Float[Array, " p"]:
    return jnp.where(w > 0, jnp.log(jnp.where(w > 0, w, 1)), -jnp.inf)


def relative_entropy(w: Float[Array, " p"], base: Float[Array, " p"]) -> Float[Array, ""]:
    """KL(w ‖ base) = Σ w log(w / base); weights outside the support of `base` are left out."""
    some = (w > 0) & (base > 0)
    ratio = jnp.where(some, w, 1) / jnp.where(some, base, 1)
    return jnp.sum(jnp.where(some, w * jnp.log(ratio), 0))


def entropic_gap(
    gradient: Float[Array, " p"],
    w: Float[Array, " p"],
    penalty: Float[Array, ""],
    base: Float[Array, " p"],
) -> Float[Array, ""]:
    """⟨g, w⟩ + λ KL(w ‖ u) - min over the simplex of the same: the Frank-Wolfe gap with entropy.

    For f + λ KL(· ‖ u), with f convex, it bounds the distance to the minimum.

    **Arguments:** `gradient`: (p,) g, of f at w; `w`: (p,) weights; `penalty`: λ > 0; `base`: (p,)
    u, on the simplex.
    """
    lowest = jnp.min(jnp.where(base > 0, gradient, jnp.inf))
    shifted = jnp.where(base > 0, gradient - lowest, 0)
    best = -penalty * jax.scipy.special.logsumexp(-shifted / penalty, b=base)
    return jnp.dot(shifted, w) + penalty * relative_entropy(w, base) - best


class _State(eqx.Module):
    w: Float[Array, " p"]
    log_z: Float[Array, " p"]
    momentum: Float[Array, ""]
    lipschitz: Float[Array, ""]
    best: Float[Array, " p"]
    best_gap: Float[Array, ""]
    gap: Float[Array, ""]
    steps: Int[Array, ""]


@full_precision
def minimize_with_entropy(
    fun: Objective,
    init: Numbers,
    penalty: Numbers,
    *,
    base: Numbers,
    tol: Numbers = 1e-6,
    max_steps: Numbers = 5000,
) -> Solution[Float[Array, " p"]]:
    """Minimise f(w) + λ KL(w ‖ u) over the probability simplex, f smooth and convex.

    Accelerated proximal gradient in the geometry of the entropy (Tseng 2008), whose steps are
    closed forms; restarted when a step points uphill.

    **Arguments:**

    - `fun`: f, from (p,) weights to a scalar.
    - `init`: (p,) start on the simplex. Weights that are 0 in `base` stay 0.
    - `penalty`: λ > 0.
    - `base`: (p,) u, on the simplex.
    - `tol`: stop at this gap, absolute.
    - `max_steps`: most steps; may be traced.

    **Returns:** a [`Solution`][]; `optimality` is [`entropic_gap`][], in the units of f, never
    below `eps` times the numbers it is the sum of.

    **Raises:** `ValueError` if `init` and `base` are not vectors of one length.
    """
    init, base = as_floats(init=init, base=base)
    if init.ndim != 1 or init.shape[0] == 0 or base.shape != init.shape:
        raise ValueError(
            f"`init` and `base` must be vectors of one length, got {init.shape} and {base.shape}"
        )
    dtype = init.dtype
    penalty, tol = number("penalty", penalty, dtype), number("tol", tol, dtype)
    log_base = _log(base)
    slope = jax.grad(fun)
    # Weights that start at zero would stay there.
    w = 0.99 * init + 0.01 * base
    gradient = slope(w)
    spread = jnp.max(jnp.where(base > 0, gradient, -jnp.inf)) - jnp.min(
        jnp.where(base > 0, gradient, jnp.inf)
    )
    zero = jnp.zeros((), jnp.int32)
    gap = entropic_gap(gradient, w, penalty, base)
    one = jnp.ones((), dtype)
    start = jnp.maximum(spread, jnp.finfo(dtype).tiny)
    state = _State(w, _log(w), one, start, w, gap, gap, zero)

    def going(s: _State) -> Array:
        return (s.best_gap > tol) & (s.gap == s.gap) & (s.steps < max_steps)

    def step(s: _State) -> _State:
        a = s.momentum
        y = (1 - a) * s.w + a * jnp.exp(s.log_z)
        gradient = slope(y)
        strength = a * s.lipschitz
        log_z = (strength * s.log_z + penalty * log_base - gradient) / (strength + penalty)
        log_z = jnp.where(base > 0, log_z, -jnp.inf)
        log_z = log_z - jax.scipy.special.logsumexp(log_z)
        w = (1 - a) * s.w + a * jnp.exp(log_z)
        value, new_gradient = jax.value_and_grad(fun)(w)
        move = w - y
        length = jnp.sum(jnp.abs(move))
        curvature = jnp.dot(move, jnp.where(base > 0, new_gradient - gradient, 0))
        curvature = curvature / jnp.where(length > 0, length**2, 1)
        good = jnp.isfinite(value) & (curvature <= s.lipschitz)
        gap = jnp.where(good, entropic_gap(new_gradient, w, penalty, base), s.gap)
        better = gap < s.best_gap
        slant = gradient + penalty * jnp.where(base > 0, _log(y) - log_base, 0)
        restart = jnp.dot(jnp.where(base > 0, slant, 0), w - s.w) > 0
        slower = 2 / (1 + jnp.sqrt(1 + 4 / a**2))
        grown = jnp.maximum(
            jnp.where(curvature > 0, jnp.minimum(curvature, 2 * s.lipschitz), 0), 1.2 * s.lipschitz
        )
        return _State(
            jnp.where(good, w, s.w),
            jnp.where(good, jnp.where(restart, _log(w), log_z), s.log_z),
            jnp.where(good, jnp.where(restart, 1, slower), a),
            jnp.where(good, 0.9 * s.lipschitz, grown),
            jnp.where(better, w, s.best),
            jnp.where(better, gap, s.best_gap),
            gap,
            s.steps + 1,
        )

    state = jax.lax.while_loop(going, step, state)
    value, gradient = jax.value_and_grad(fun)(state.best)
    terms = jnp.dot(state.best, jnp.where(base > 0, jnp.abs(gradient), 0))
    floor = float(jnp.finfo(dtype).eps) * jnp.maximum(jnp.abs(value), terms)
    gap = jnp.maximum(state.best_gap, floor)
    gap = jnp.where(state.gap == state.gap, gap, jnp.nan)
    finite = jnp.isfinite(gap) & jnp.all(jnp.isfinite(state.best))
    return Solution(state.best, status_code(gap <= tol, finite), state.steps, gap)
