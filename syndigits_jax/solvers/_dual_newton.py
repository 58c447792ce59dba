"""The elastic net by Newton steps on its dual, which need few steps whatever the design.

With a proximal term ½ μ |b - c|² the penalty is strongly convex, the dual is smooth, and its
gradient is piecewise linear: Newton steps with a line search find the support and the coefficients
together (semismooth Newton; Li, Sun & Toh 2018, SIAM J. Optim. 28, 433). Where they have nearly
solved that problem, c moves to its solution and μ shrinks (proximal point; Rockafellar 1976). A
step costs one factorisation of a matrix of the design's rows: for fewer rows than columns.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._elastic_net_loop import duality_gap, floor_divisor, largest_eigenvalue, soft
from ._quadratic import DesignQuadratic

# μ relative to the largest eigenvalue: the first, its decrease, and the least, in roots of `eps`.
FIRST, DECREASE, LEAST = 1e-3, 0.3, 0.1
SOLVED = 0.1  # |F|² relative to μ|b - c|² at which c moves
HALVINGS = 14  # of the step length
MOST_STEPS = 100  # after which the iteration has failed and proximal gradient steps take over


class _Move(NamedTuple):
    """A direction in the dual: `slope` is that of ½|θ|² - yᵀθ, at length 0 and per length."""

    dual: Float[Array, " n"]
    image: Float[Array, " p"]
    slope: tuple[Float[Array, ""], Float[Array, ""]]


class _Dual(eqx.Module):
    """The dual of a quadratic loss, in θ itself. `z` and `target` are weighted by roots."""

    z: Float[Array, "n p"]
    target: Float[Array, " n"]

    @classmethod
    def of(cls, quadratic: DesignQuadratic) -> "_Dual":
        root = jnp.sqrt(quadratic.weight)
        return cls(root[:, None] * quadratic.x, root * quadratic.y)

    def at(self, coef: Float[Array, " p"]) -> Float[Array, " n"]:
        """The residual of `coef`."""
        return self.target - self.z @ coef

    def gradient(self, dual: Float[Array, " n"]) -> Float[Array, " p"]:
        """xᵀθ."""
        return dual @ self.z

    def mismatch(self, dual: Float[Array, " n"], coef: Float[Array, " p"]) -> tuple[Array, Array]:
        """F = θ - (y - x b), and |F|²."""
        mismatch = dual - self.target + self.z @ coef
        return mismatch, jnp.dot(mismatch, mismatch)

    def move(self, dual, mismatch, active: Bool[Array, " p"], curvature) -> _Move:
        """The Newton direction, for the penalty's `curvature` on the `active` coefficients."""
        inside = jnp.where(active[None, :], self.z, 0)
        kernel = inside @ self.z.T + curvature * jnp.eye(len(self.z), dtype=self.z.dtype)
        factor = jax.lax.linalg.cholesky(kernel, symmetrize_input=False)
        move = -curvature * jax.scipy.linalg.cho_solve((factor, True), mismatch)
        slope = jnp.dot(move, dual - self.target), jnp.dot(move, move)
        return _Move(move, move @ self.z, slope)


class State(NamedTuple):
    """`best` are the coefficients that `gap` is of; `centre` and `proximal` are c and μ."""

    best: Float[Array, " p"]
    gap: Float[Array, ""]
    dual: Float[Array, " n"]
    centre: Float[Array, " p"]
    proximal: Float[Array, ""]
    least: Float[Array, ""]
    largest: Float[Array, ""]
    steps: Int[Array, ""]
    finite: Bool[Array, ""]


def first_state(quadratic: DesignQuadratic, l1, l2, init: Float[Array, " p"]) -> State:
    """At `init`, or at zero where that is optimal."""
    linear = quadratic.linear
    finite = jnp.isfinite(jnp.sum(linear) + quadratic.trace() + quadratic.constant + l1 + l2)
    finite = finite & jnp.all(jnp.isfinite(init))
    coef = jnp.where(jnp.max(jnp.abs(linear)) <= l1, 0, init)
    largest = floor_divisor(1.02 * largest_eigenvalue(quadratic))
    root = float(jnp.finfo(linear.dtype).eps) ** 0.5
    return State(
        coef,
        duality_gap(quadratic, coef, quadratic.product(coef), l1, l2),
        _Dual.of(quadratic).at(coef),
        coef,
        jnp.maximum(FIRST * largest - l2, 0),
        jnp.maximum(LEAST * root * largest - l2, 0),
        largest,
        jnp.zeros((), jnp.int32),
        finite,
    )


def _length(move: _Move, gradient, l1, curvature) -> Float[Array, ""]:
    """The line search: 1 where the dual still falls there, else near its lowest point."""
    dtype = gradient.dtype
    lengths = 2.0 ** -jnp.arange(HALVINGS, dtype=dtype)
    lengths = jnp.concatenate([lengths, jnp.zeros(1, dtype)])
    along = gradient[None, :] + lengths[:, None] * move.image[None, :]
    slope = soft(along, l1) @ move.image / curvature + move.slope[0] + lengths * move.slope[1]
    # The slope increases with the length: the last negative one and the first positive one.
    low = jnp.argmax(slope <= 0)
    high = jnp.maximum(low - 1, 0)
    spread = slope[high] - slope[low]
    share = jnp.where(spread > 0, -slope[low] / jnp.where(spread > 0, spread, 1), 0)
    return lengths[low] + share * (lengths[high] - lengths[low])


def advance(quadratic: DesignQuadratic, l1, l2, state: State) -> State:
    """One Newton step."""
    dual = _Dual.of(quadratic)
    gradient = dual.gradient(state.dual)

    def coefficients(centre, proximal, gradient):
        return soft(gradient + proximal * centre, l1) / (l2 + proximal)

    coef = coefficients(state.centre, state.proximal, gradient)
    _, square = dual.mismatch(state.dual, coef)
    away = jnp.sum((coef - state.centre) ** 2)
    solved = (state.proximal > 0) & (square <= SOLVED * state.proximal * away)
    centre = jnp.where(solved, coef, state.centre)
    shrunk = jnp.maximum(DECREASE * state.proximal, state.least)
    proximal = jnp.where(solved, shrunk, state.proximal)
    coef = coefficients(centre, proximal, gradient)
    mismatch, _ = dual.mismatch(state.dual, coef)
    move = dual.move(state.dual, mismatch, coef != 0, l2 + proximal)
    length = _length(move, gradient + proximal * centre, l1, l2 + proximal)
    point = state.dual + length * move.dual
    best = coefficients(centre, proximal, dual.gradient(point))
    return state._replace(
        best=best,
        gap=duality_gap(quadratic, best, quadratic.product(best), l1, l2),
        dual=point,
        centre=centre,
        proximal=proximal,
        steps=state.steps + 1,
        finite=state.finite & jnp.all(jnp.isfinite(best)),
    )


def minimise_dual(
    quadratic: DesignQuadratic,
    l1: Float[Array, ""],
    l2: Float[Array, ""],
    init: Float[Array, " p"],
    *,
    target: Float[Array, ""],
    max_steps: Int[Array, ""],
) -> State:
    """Steps until the duality gap is at most `target`. Not differentiable."""

    def unfinished(state: State):
        return state.finite & (state.gap > target) & (state.steps < max_steps)

    return jax.lax.while_loop(
        unfinished,
        lambda state: advance(quadratic, l1, l2, state),
        first_state(quadratic, l1, l2, init),
    )
