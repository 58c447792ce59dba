"""Smooth convex functions plus a relative entropy over the probability simplex."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._accelerated import Geometry, Objective, accelerate
from .boundary import Numbers, as_floats
from .checks import check_stopping, number
from .precision import full_precision
from .solution import Solution, status_code


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


class _Entropic(Geometry):
    """Steps in the entropy of `base`, of which `penalty` times is part of the objective.

    Coordinates are logarithms, so that no weight underflows on the way.
    """

    support: Bool[Array, " p"]
    base: Float[Array, " p"]
    penalty: Float[Array, ""]

    def coordinates(self, w):
        return _log(w)

    def weights(self, z):
        return jnp.exp(z)

    def step(self, z, gradient, strength, guess):
        z = strength * z + self.penalty * _log(self.base) - gradient
        z = jnp.where(self.support, z / (strength + self.penalty), -jnp.inf)
        return z - jax.scipy.special.logsumexp(z), guess

    def square(self, move):
        return jnp.sum(jnp.abs(move)) ** 2

    def gap(self, gradient, w):
        return entropic_gap(gradient, w, self.penalty, self.base)

    def slope(self, gradient, y):
        own = jnp.where(self.support, _log(y) - _log(self.base), 0)
        return jnp.where(self.support, gradient + self.penalty * own, 0)


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
    check_stopping(tol, max_steps)
    init, base = as_floats(init=init, base=base)
    if init.ndim != 1 or init.shape[0] == 0 or base.shape != init.shape:
        raise ValueError(
            f"`init` and `base` must be vectors of one length, got {init.shape} and {base.shape}"
        )
    dtype = init.dtype
    penalty, tol = number("penalty", penalty, dtype), number("tol", tol, dtype)
    max_steps = jnp.asarray(max_steps, jnp.int32)
    geometry = _Entropic(base > 0, base, penalty)
    # Weights that start at zero would stay there.
    w = 0.99 * init + 0.01 * base
    gradient = jax.grad(fun)(w)
    spread = jnp.max(jnp.where(base > 0, gradient, -jnp.inf)) - jnp.min(
        jnp.where(base > 0, gradient, jnp.inf)
    )
    state = accelerate(
        fun,
        geometry,
        w,
        lipschitz=jnp.maximum(spread, jnp.finfo(dtype).tiny),
        guess=jnp.zeros((), dtype),
        gap=geometry.gap(gradient, w),
        tol=tol,
        max_steps=max_steps,
    )
    value, gradient = jax.value_and_grad(fun)(state.best)
    terms = jnp.dot(state.best, jnp.where(base > 0, jnp.abs(gradient), 0))
    floor = float(jnp.finfo(dtype).eps) * jnp.maximum(jnp.abs(value), terms)
    gap = jnp.maximum(state.best_gap, floor)
    gap = jnp.where(jnp.isnan(state.gap), jnp.nan, gap)
    finite = jnp.isfinite(gap) & jnp.all(jnp.isfinite(state.best))
    return Solution(state.best, status_code(gap <= tol, finite), state.steps, gap)
