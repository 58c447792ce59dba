"""Accelerated steps over the probability simplex, in the Euclidean geometry or that of the entropy.

The method of Auslender and Teboulle (2006) and Tseng (2008): every point it visits is on the
simplex, so that a function may be infinite elsewhere. Steps are judged by the change of the
gradient along them, not by values, whose differences near a minimum are rounding noise long before
the gradient's are.

Three loops of the same family are not this one, because they are of quadratics whose product with
the weights follows by linearity: a step costs one product there, and two gradients here.
`simplex_least_squares` and the elastic net's loop keep that product, each with a step length of its
own and a second method (conjugate gradients, Newton steps) between its steps.
`best_coefficients` of `distribution.error_bound` is NumPy, in double precision whatever JAX's.
"""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Objective = Callable[[Float[Array, " p"]], Float[Array, ""]]
Weights = Float[Array, " p"]


class Geometry(eqx.Module):
    """What a step is measured by, and the problem that it solves. `support`: (p,) weights allowed.

    Points that steps start from are kept in coordinates of the geometry's own.
    """

    support: eqx.AbstractVar[Bool[Array, " p"]]

    @abc.abstractmethod
    def coordinates(self, w: Weights) -> Float[Array, " p"]:
        """Of weights."""

    @abc.abstractmethod
    def weights(self, z: Float[Array, " p"]) -> Weights:
        """Of coordinates."""

    @abc.abstractmethod
    def step(
        self,
        z: Float[Array, " p"],
        gradient: Weights,
        strength: Float[Array, ""],
        guess: Float[Array, ""],
    ) -> tuple[Float[Array, " p"], Float[Array, ""]]:
        """The coordinates of argmin ⟨gradient, w⟩ + what is not smooth + strength · distance(w, z).

        `guess`: a number from the last step that speeds this one; the second result is the next.
        """

    @abc.abstractmethod
    def square(self, move: Weights) -> Float[Array, ""]:
        """The squared norm in which the curvature is measured."""

    @abc.abstractmethod
    def gap(self, gradient: Weights, w: Weights) -> Float[Array, ""]:
        """The measure of optimality."""

    @abc.abstractmethod
    def slope(self, gradient: Weights, y: Weights) -> Weights:
        """The gradient at `y` of the whole objective, 0 off the support."""

    def lingering(self, gradient, w, z, gap) -> Bool[Array, ""]:
        """Whether to restart because the average `w` remembers weights that `z` has left."""
        return jnp.zeros((), bool)


class State(eqx.Module):
    """Of the loop: `z` in coordinates, `best` the weights of the smallest gap, `best_gap`."""

    w: Float[Array, " p"]
    z: Float[Array, " p"]
    momentum: Float[Array, ""]
    lipschitz: Float[Array, ""]
    guess: Float[Array, ""]
    best: Float[Array, " p"]
    best_gap: Float[Array, ""]
    gap: Float[Array, ""]
    steps: Int[Array, ""]


def accelerate(
    fun: Objective,
    geometry: Geometry,
    w: Weights,
    *,
    lipschitz: Float[Array, ""],
    guess: Float[Array, ""],
    gap: Float[Array, ""],
    tol: Float[Array, ""],
    max_steps: Int[Array, ""],
) -> State:
    """Steps with backtracking and restarts, until a gap is at most `tol`, or is NaN.

    **Arguments:** `fun`: smooth and convex, what is not smooth being the geometry's; `w`: (p,)
    start on the simplex; `lipschitz`: a first guess of the curvature; `guess`: of `geometry.step`;
    `gap`: at the start; `tol`, `max_steps`: stopping rule.

    **Returns:** the last [`State`][].
    """
    z, one, zero = geometry.coordinates(w), jnp.ones_like(gap), jnp.zeros((), jnp.int32)
    state = State(w, z, one, lipschitz, guess, w, gap, gap, zero)

    def going(s: State) -> Array:
        return (s.best_gap > tol) & ~jnp.isnan(s.gap) & (s.steps < max_steps)

    return jax.lax.while_loop(going, lambda s: _step(fun, geometry, s), state)


def _step(fun: Objective, geometry: Geometry, s: State) -> State:
    """One step; where the value is infinite or NaN, or the curvature higher, it is refused."""
    support, a = geometry.support, s.momentum
    y = (1 - a) * s.w + a * geometry.weights(s.z)
    gradient = jax.grad(fun)(y)
    z, guess = geometry.step(s.z, gradient, a * s.lipschitz, s.guess)
    reached = geometry.weights(z)
    w = (1 - a) * s.w + a * reached
    value, new_gradient = jax.value_and_grad(fun)(w)
    move = jnp.where(support, w - y, 0)
    square = geometry.square(move)
    curvature = jnp.dot(move, jnp.where(support, new_gradient - gradient, 0))
    curvature = curvature / jnp.where(square > 0, square, 1)
    good = jnp.isfinite(value) & (curvature <= s.lipschitz)
    gap = jnp.where(good, geometry.gap(new_gradient, w), s.gap)
    better = gap < s.best_gap
    uphill = jnp.dot(geometry.slope(gradient, y), w - s.w) > 0
    restart = uphill | geometry.lingering(new_gradient, w, reached, gap)
    slower = 2 / (1 + jnp.sqrt(1 + 4 / a**2))
    info = jnp.finfo(w.dtype)
    floor = float(info.tiny) / float(info.eps)
    longer = jnp.where(curvature > 0, jnp.minimum(curvature, 2 * s.lipschitz), 0)
    return State(
        jnp.where(good, w, s.w),
        jnp.where(good, jnp.where(restart, geometry.coordinates(w), z), s.z),
        jnp.where(good, jnp.where(restart, 1, slower), a),
        jnp.where(
            good, jnp.maximum(0.9 * s.lipschitz, floor), jnp.maximum(longer, 1.2 * s.lipschitz)
        ),
        guess,
        jnp.where(better, w, s.best),
        jnp.where(better, gap, s.best_gap),
        gap,
        s.steps + 1,
    )
