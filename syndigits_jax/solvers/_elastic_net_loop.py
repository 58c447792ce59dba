"""The elastic-net iteration: accelerated proximal gradient steps and Newton steps on the support.

Proximal gradient steps with momentum (FISTA; Beck & Teboulle 2009), restarted where the momentum
turns uphill (O'Donoghue & Candès 2015), find the support; once it settles, Newton steps on the
support, each a dense solve, finish to any accuracy. Everything costs matrix-vector products, so
`vmap` turns it into matrix products; a scalar loop over coordinates would not.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._quadratic import Quadratic, SupportSystem

BLOCK = 10  # proximal gradient steps between two checks of the duality gap
SETTLED = 0.05  # share of the support that may change in a block before Newton steps begin
POWER_STEPS = 8
DECREASE = 2.0**12  # how far the unpenalised loss may be from its minimum, in gradient steps
# Newton steps are judged at these lengths, besides the length at which the first sign flips.
LENGTHS = (1.0, 0.5, 0.25, 0.125, 1 / 16, 1 / 32, 1 / 64)


class Outcome(NamedTuple):
    """The coefficients and their accuracy.

    `largest` estimates the largest eigenvalue, `gap` is in units of the loss, and `residual` is
    twice the loss.
    """

    coef: Float[Array, " p"]
    largest: Float[Array, ""]
    gap: Float[Array, ""]
    residual: Float[Array, ""]
    steps: Int[Array, ""]
    converged: Bool[Array, ""]
    finite: Bool[Array, ""]


class _State(NamedTuple):
    coef: Float[Array, " p"]
    image: Float[Array, " p"]  # A coef
    ahead: Float[Array, " p"]  # coef extrapolated by the momentum
    ahead_image: Float[Array, " p"]
    momentum: Float[Array, ""]  # Nesterov's t
    lipschitz: Float[Array, ""]
    signs: Float[Array, " p"]  # at the previous check
    newton: Bool[Array, ""]  # whether the next move is a Newton step
    gap: Float[Array, ""]
    steps: Int[Array, ""]


def duality_gap(
    quadratic: Quadratic,
    coef: Float[Array, " p"],
    image: Float[Array, " p"],
    l1: Float[Array, ""],
    l2: Float[Array, ""],
) -> Float[Array, ""]:
    """An upper bound of the suboptimality of `coef` in ½bᵀAb - qᵀb + l1|b|₁ + ½ l2|b|².

    The smaller of two certificates, both written as sums of non-negative terms so that rounding
    cannot make them negative by more than its own size. With r the residual, v = q - Ab and
    g = v - l2 b:

    - the dual point is the residual of the problem with l2 as extra rows, shrunk by
      c = min(1, l1/|g|_∞): ½(1 - c)²(|r|² + l2|b|²) + Σ (l1|b_j| - c b_j g_j), the gap of
      scikit-learn;
    - for l2 > 0 the residual itself is a dual point, and the gap is the Fenchel-Young gap of the
      penalty: Σ (l1|b_j| + ½ l2 b_j² + (|v_j| - l1)₊²/(2 l2) - b_j v_j).

    Without any penalty the suboptimality is ½vᵀA⁻¹v, and no more than the loss ½|r|², which is
    the only bound where A is singular or held as a wide design.
    """
    return jax.lax.cond(
        l1 + l2 > 0,
        lambda: _penalised_gap(quadratic, coef, image, l1, l2),
        lambda: _unpenalised_gap(quadratic, coef, image),
    )


def _residual_square(quadratic: Quadratic, coef, image) -> Float[Array, ""]:
    """|r|², i.e. twice the loss."""
    return jnp.maximum(quadratic.constant - jnp.dot(coef, 2 * quadratic.linear - image), 0)


def _unpenalised_gap(quadratic: Quadratic, coef, image) -> Float[Array, ""]:
    v = quadratic.linear - image
    bound = jnp.minimum(quadratic.inverse_square(v), _residual_square(quadratic, coef, image))
    return jnp.where(jnp.all(v == 0), 0, 0.5 * bound)


def _penalised_gap(quadratic: Quadratic, coef, image, l1, l2) -> Float[Array, ""]:
    residual = _residual_square(quadratic, coef, image)
    return penalised_gap(quadratic.linear - image, coef, residual, l1, l2)


def penalised_gap(
    slope: Float[Array, " p"],
    coef: Float[Array, " p"],
    residual: Float[Array, ""],
    l1: Float[Array, ""],
    l2: Float[Array, ""],
) -> Float[Array, ""]:
    """`duality_gap` with a penalty, from the `slope` q - Ab and the `residual`'s square."""
    g = slope - l2 * coef
    steepest = jnp.max(jnp.abs(g))
    shrink = jnp.where(steepest > l1, l1 / jnp.where(steepest > 0, steepest, 1), 1)
    residual = residual + l2 * jnp.dot(coef, coef)
    shrunk = jnp.sum(jnp.maximum(l1 * jnp.abs(coef) - shrink * coef * g, 0))
    shrunk = 0.5 * (1 - shrink) ** 2 * residual + shrunk
    excess = jnp.maximum(jnp.abs(slope) - l1, 0)
    # ½ l2 (b - s excess / l2)² + |b|(l1 - min(|v|, l1) sign(b v)), with v the slope, s its sign.
    safe = jnp.where(l2 > 0, l2, 1)
    distance = coef - jnp.sign(slope) * excess / safe
    linear = l1 * jnp.abs(coef) - coef * jnp.clip(slope, -l1, l1)
    fenchel = jnp.sum(0.5 * l2 * distance**2 + jnp.maximum(linear, 0))
    return jnp.where(l2 > 0, jnp.minimum(shrunk, fenchel), shrunk)


def _distance(quadratic: Quadratic, coef, image, l1, l2) -> Float[Array, ""]:
    """The stopping criterion: the gap, or without penalty a multiple of the decrease that a
    gradient step guarantees, which is cheaper than the gap but not a bound."""
    v = quadratic.linear - image
    decrease = DECREASE * 0.5 * jnp.dot(v, v) / floor_divisor(quadratic.trace())
    return jnp.where(l1 + l2 > 0, _penalised_gap(quadratic, coef, image, l1, l2), decrease)


def floor_divisor(value: Float[Array, ""]) -> Float[Array, ""]:
    """`value`, or the smallest normal number where it is zero: a safe divisor."""
    return jnp.maximum(value, float(jnp.finfo(value.dtype).tiny))


def soft(value: Float[Array, "..."], threshold: Float[Array, ""]) -> Float[Array, "..."]:
    """The proximal map of `threshold` |b|₁."""
    return jnp.sign(value) * jnp.maximum(jnp.abs(value) - threshold, 0)


def largest_eigenvalue(quadratic: Quadratic) -> Float[Array, ""]:
    """A Rayleigh quotient after a few power steps: a close lower bound."""
    vector = jnp.cos(jnp.arange(quadratic.linear.shape[0], dtype=quadratic.linear.dtype))

    def step(_, vector):
        vector = quadratic.product(vector)
        return vector / floor_divisor(jnp.sqrt(jnp.dot(vector, vector)))

    vector = jax.lax.fori_loop(0, POWER_STEPS, step, vector)
    return jnp.dot(vector, quadratic.product(vector))


def _proximal_steps(quadratic, l1, l2, state: _State, count: int) -> _State:
    """`count` accelerated proximal gradient steps."""
    eps = float(jnp.finfo(state.coef.dtype).eps)
    bound = quadratic.trace() + l2

    def step(_, carry):
        coef, image, ahead, ahead_image, momentum, lipschitz = carry
        gradient = quadratic.linear - ahead_image - l2 * ahead
        new = soft(ahead + gradient / lipschitz, l1 / lipschitz)
        new_image = quadratic.product(new)
        # The step length starts from a lower estimate of the largest eigenvalue; every step
        # measures the curvature along it, unless rounding dominates the measurement.
        move = new - ahead
        length = jnp.dot(move, move)
        met = jnp.dot(move, new_image - ahead_image) / floor_divisor(length) + l2
        met = jnp.where(length > eps * jnp.dot(new, new), jnp.minimum(met, bound), 0)
        uphill = jnp.dot(move, new - coef) < 0
        momentum = jnp.where(uphill | (met > 1.01 * lipschitz), 1, momentum)
        lipschitz = jnp.maximum(lipschitz, met)
        next_momentum = 0.5 * (1 + jnp.sqrt(1 + 4 * momentum**2))
        # Strong convexity l2 bounds the useful momentum.
        root = jnp.sqrt(l2 / lipschitz)
        weight = jnp.minimum((momentum - 1) / next_momentum, (1 - root) / (1 + root))
        ahead = new + weight * (new - coef)
        ahead_image = new_image + weight * (new_image - image)
        return new, new_image, ahead, ahead_image, next_momentum, lipschitz

    carry = jax.lax.fori_loop(0, count, step, tuple(state[:6]))
    coef, image, ahead, ahead_image, momentum, lipschitz = carry
    signs = jnp.sign(coef)
    changed = jnp.sum((signs != state.signs).astype(signs.dtype))
    settled = changed <= SETTLED * jnp.sum(jnp.abs(signs))
    return _State(
        coef,
        image,
        ahead,
        ahead_image,
        momentum,
        lipschitz,
        signs,
        settled,
        state.gap,
        state.steps + count,
    )


def _newton_step(quadratic, l1, l2, state: _State) -> _State:
    """One Newton step on the support, at the length that lowers the objective most.

    Coordinates that change sign along the way stop at zero. The length at which the first of
    them does so is among those tried, so a step from a point that is not optimal on its support
    lowers the objective. The next move is another Newton step until a full one changed no sign,
    or none lowered the objective.
    """
    coef, eps = state.coef, float(jnp.finfo(state.coef.dtype).eps)
    signs = jnp.sign(coef)
    gradient = quadratic.linear - state.image - l2 * coef
    right = jnp.where(coef != 0, gradient - l1 * signs, 0)
    system = SupportSystem(quadratic, coef != 0, l2, state.lipschitz, tol=1e-3, max_steps=5)
    direction = system.solve(right)
    towards_zero = signs * direction < 0
    crossing = jnp.where(towards_zero, -coef / jnp.where(towards_zero, direction, 1), jnp.inf)
    first = jnp.minimum(jnp.min(crossing) * (1 + 4 * eps), 1)
    lengths = jnp.stack([jnp.asarray(t, coef.dtype) for t in LENGTHS] + [first])
    trial = coef[:, None] + lengths[None, :] * direction[:, None]
    trial = jnp.where(jnp.sign(trial) == signs[:, None], trial, 0)
    move = trial - coef[:, None]
    # The change of the objective from differences: accurate even where it is far below the value.
    change = (
        -(gradient @ move)
        + 0.5 * (quadratic.curvature(move) + l2 * jnp.sum(move**2, axis=0))
        + l1 * jnp.sum(jnp.abs(trial) - jnp.abs(coef)[:, None], axis=0)
    )
    change = jnp.where(jnp.isfinite(change), change, jnp.inf)
    best = jnp.argmin(change)
    improved = change[best] < 0
    new = jnp.where(improved, trial[:, best], coef)
    image = quadratic.product(new)
    full = (best == 0) & jnp.all(jnp.sign(new) == signs)
    return _State(
        new,
        image,
        new,
        image,
        jnp.ones_like(state.momentum),
        state.lipschitz,
        jnp.sign(new),
        improved & ~full,
        state.gap,
        state.steps + 1,
    )


def minimise(
    quadratic: Quadratic,
    l1: Float[Array, ""],
    l2: Float[Array, ""],
    init: Float[Array, " p"],
    *,
    tol: Float[Array, ""],
    max_steps: Int[Array, ""],
) -> Outcome:
    """Minimise ½bᵀAb - qᵀb + l1|b|₁ + ½ l2|b|² until the duality gap is at most `tol` times c.

    Where b = 0 is optimal it is returned exactly, whatever `init`. Not differentiable. The problem
    should be of size one, neither A nor c near the limits of the type.
    """
    linear = quadratic.linear
    finite = jnp.isfinite(jnp.sum(linear) + quadratic.trace() + quadratic.constant + l1 + l2)
    finite = finite & jnp.all(jnp.isfinite(init))
    coef = jnp.where(jnp.max(jnp.abs(linear)) <= l1, 0, init)
    image = quadratic.product(coef)
    target = tol * quadratic.constant
    # A little above the estimate, which is a lower bound.
    lipschitz = floor_divisor(1.02 * largest_eigenvalue(quadratic) + l2)
    state = _State(
        coef,
        image,
        coef,
        image,
        jnp.ones_like(lipschitz),
        lipschitz,
        jnp.sign(coef),
        jnp.any(coef != 0),
        _distance(quadratic, coef, image, l1, l2),
        jnp.zeros((), jnp.int32),
    )

    # Comparisons with NaN are false: a member of a batch with NaN stops at once.
    def unfinished(state: _State, length):
        return finite & (state.gap > target) & (state.steps + length <= max_steps)

    def judged(state: _State) -> _State:
        return state._replace(gap=_distance(quadratic, state.coef, state.image, l1, l2))

    def advance(state: _State) -> _State:
        return judged(
            jax.lax.cond(
                state.newton,
                lambda state: _newton_step(quadratic, l1, l2, state),
                lambda state: _proximal_steps(quadratic, l1, l2, state, BLOCK),
                state,
            )
        )

    def advance_by_one(state: _State) -> _State:
        return judged(_proximal_steps(quadratic, l1, l2, state, 1))

    # Whole blocks as far as they fit, then single steps: never more than `max_steps`.
    state = jax.lax.while_loop(
        lambda s: unfinished(s, jnp.where(s.newton, 1, BLOCK)), advance, state
    )
    state = jax.lax.while_loop(lambda s: unfinished(s, 1), advance_by_one, state)
    gap = duality_gap(quadratic, state.coef, state.image, l1, l2)
    finite = finite & jnp.isfinite(state.gap)
    residual = _residual_square(quadratic, state.coef, state.image)
    coef = jnp.where(finite, state.coef, jnp.nan)
    return Outcome(coef, state.lipschitz, gap, residual, state.steps, gap <= target, finite)
