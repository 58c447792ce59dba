"""The solvers behind placement: Adam and Newton's method for a tile of raters at a time.

Arrays are (..., b) with the raters last, see `_pair_loss`.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from ..solvers.descent import descend
from ..solvers.solution import Status, status_code
from ._pair_loss import pair_counts, pair_derivatives, pair_gradient, pair_loss
from .encoder import ScoreGram, mixture_weights, monomials

_OUTWEIGHS = 3.0  # logit of the prototype that leads a start


class Tile(eqx.Module):
    """Raters that are solved together, last axis b."""

    w: Float[Array, "p b"]
    loss: Float[Array, " b"]
    gradient_norm: Float[Array, " b"]
    pairs: Float[Array, " b"]
    status: Int[Array, " b"]
    steps: Int[Array, " b"]


def probe_scores(gram: ScoreGram, w: Float[Array, "p b"]) -> Float[Array, "M b"]:
    """Scores of probes, shared (M, f) or per rater (b, M, f)."""
    phi = monomials(mixture_weights(w.T, gram.temperature))
    tiny = jnp.finfo(w.dtype).tiny

    def form(values):
        if values.ndim == 2:
            return values @ phi.T
        return jnp.sum(values * phi[:, None, :], axis=-1).T

    norms = jnp.maximum(form(gram.square), tiny) * jnp.maximum(phi @ gram.context, tiny)[None, :]
    return gram.scale * form(gram.numerator) * jax.lax.rsqrt(norms)


def adam_tile(
    gram: ScoreGram,
    ratings: Float[Array, "M b"],
    w: Float[Array, "p b"],
    gap: float,
    steps: int | Int[Array, ""],
    learning_rate: Float[Array, ""],
) -> Tile:
    """A fixed number of Adam steps on the summed pair loss."""
    wins, pairs = pair_counts(ratings, gap)

    def gradient(w):
        s, pull = jax.vjp(lambda w: probe_scores(gram, w), w)
        return s, pull(pair_gradient(s, ratings, wins, gap))[0]

    optimiser = optax.adam(learning_rate)

    def step(_, carry):
        w, adam = carry
        return descend(optimiser, gradient(w)[1], adam, w)

    w, _ = jax.lax.fori_loop(0, steps, step, (w, optimiser.init(w)))
    s, g = gradient(w)
    loss = _mean(pair_loss(s, ratings, gap), pairs)
    norm = _mean(jnp.sqrt(jnp.sum(g * g, axis=0)), pairs)
    finite = jnp.isfinite(loss) & jnp.isfinite(norm)
    status = jnp.where(finite, int(Status.FIXED_STEPS), int(Status.NONFINITE)).astype(jnp.int32)
    return Tile(w, loss, norm, pairs, status, jnp.full_like(status, steps))


def _mean(total: Float[Array, " b"], pairs: Float[Array, " b"]) -> Float[Array, " b"]:
    return total / jnp.maximum(pairs, 1)


class _Newton(eqx.Module):
    w: Float[Array, "p b"]
    objective: Float[Array, " b"]
    gradient: Float[Array, "p b"]
    hessian: Float[Array, "b p p"]
    radius: Float[Array, " b"]
    done: Bool[Array, " b"]
    steps: Int[Array, " b"]

    @classmethod
    def start(cls, w: Float[Array, "p b"]) -> "_Newton":
        """Before step 0, which has length 0 and computes the derivatives at `w`."""
        p, b = w.shape
        ones = jnp.ones((b,), w.dtype)
        return cls(
            w,
            jnp.inf * ones,
            jnp.zeros_like(w),
            jnp.broadcast_to(jnp.eye(p, dtype=w.dtype), (b, p, p)),
            ones,
            jnp.zeros((b,), bool),
            jnp.full((b,), -1, jnp.int32),
        )

    @property
    def slope(self) -> Float[Array, " b"]:
        """Length of the gradient."""
        return jnp.sqrt(jnp.sum(self.gradient * self.gradient, axis=0))


class _Proposal(NamedTuple):
    """A step within the trust radius.

    - `length`: of the step before it was cut to the radius.
    - `expected`: gain of the objective by its quadratic model.
    - `decrement`: half the squared Newton decrement, a gain that no step exceeds by much.
    """

    move: Float[Array, "p b"]
    length: Float[Array, " b"]
    expected: Float[Array, " b"]
    decrement: Float[Array, " b"]


def newton_derivatives(
    gram: ScoreGram,
    ratings: Float[Array, "M b"],
    wins: Float[Array, "M b"],
    pairs: Float[Array, " b"],
    w: Float[Array, "p b"],
    gap: float,
    ridge: float | Float[Array, ""],
) -> tuple[Float[Array, " b"], Float[Array, "p b"], Float[Array, "b p p"]]:
    """Mean pair loss + ridge |w|² / 2, its gradient and its exact Hessian in w."""
    p = w.shape[0]

    def scores(w):
        return probe_scores(gram, w)

    tangents = [jnp.zeros_like(w).at[i].set(1) for i in range(p)]
    slopes = tuple(jax.jvp(scores, (w,), (tangent,))[1] for tangent in tangents)
    loss, g_s, curved = pair_derivatives(scores(w), ratings, wins, slopes, gap)
    gradient = jnp.stack([jnp.sum(slope * g_s, axis=0) for slope in slopes])
    # The scores' own curvature, weighted by the loss's gradient.
    pull = jax.grad(lambda w: jnp.sum(scores(w) * g_s))
    bents = [jax.jvp(pull, (w,), (tangent,))[1] for tangent in tangents]
    hessian = jnp.stack(
        [jnp.stack([jnp.sum(a * b, axis=0) for b in curved], axis=-1) for a in slopes], axis=-2
    )
    hessian = hessian + jnp.stack([bent.T for bent in bents], axis=-2)
    hessian = (hessian + jnp.swapaxes(hessian, 1, 2)) / 2
    count = jnp.maximum(pairs, 1)
    objective = loss / count + ridge / 2 * jnp.sum(w * w, axis=0)
    hessian = hessian / count[:, None, None] + ridge * jnp.eye(p, dtype=w.dtype)[None]
    return objective, gradient / count[None, :] + ridge * w, hessian


def best_start(
    gram: ScoreGram, ratings: Float[Array, "M b"], p: int, gap: float
) -> Float[Array, "p b"]:
    """The start with the smallest loss: equal weights, or one prototype e³ times the others.

    The pair loss has poor local optima. From equal weights, Newton's method ends in one for a few
    raters in a hundred; from the best of these starts it ended in none in simulations.
    """
    b = ratings.shape[1]

    def try_start(best, start):
        w = jnp.broadcast_to(start[:, None], (p, b))
        loss: Array = pair_loss(probe_scores(gram, w), ratings, gap)
        return (jnp.where(loss < best[0], loss, best[0]), jnp.where(loss < best[0], w, best[1])), 0

    dtype = gram.numerator.dtype
    starts = jnp.concatenate([jnp.zeros((1, p), dtype), _OUTWEIGHS * jnp.eye(p, dtype=dtype)])
    nothing = (jnp.full((b,), jnp.inf, dtype), jnp.zeros((p, b), dtype))
    return jax.lax.scan(try_start, nothing, starts)[0][1]


def newton_tile(
    gram: ScoreGram,
    ratings: Float[Array, "M b"],
    w: Float[Array, "p b"],
    gap: float,
    ridge: Float[Array, ""],
    tol: Float[Array, ""],
    max_steps: int | Int[Array, ""],
) -> Tile:
    """Newton steps within a trust radius, downhill also along negative curvature."""
    wins, pairs = pair_counts(ratings, gap)

    def body(state: _Newton) -> _Newton:
        proposal = _propose(state, ridge)
        w = state.w + proposal.move
        tried = newton_derivatives(gram, ratings, wins, pairs, w, gap, ridge)
        return _judge(state, proposal, w, *tried, tol)

    def unfinished(state: _Newton):
        return jnp.any(~state.done & (state.steps < max_steps))

    state = jax.lax.while_loop(unfinished, body, _Newton.start(w))
    loss = state.objective - ridge / 2 * jnp.sum(state.w * state.w, axis=0)
    loss = jnp.where(pairs > 0, loss, 0)
    finite = jnp.isfinite(state.slope) & jnp.isfinite(loss)
    return Tile(state.w, loss, state.slope, pairs, status_code(state.done, finite), state.steps)


def _propose(state: _Newton, ridge: Float[Array, ""]) -> _Proposal:
    """The Newton step with the sizes of the curvatures, cut to the trust radius."""
    values, vectors = jnp.linalg.eigh(state.hessian)
    size = jnp.maximum(jnp.abs(values), ridge / 2)
    along = jnp.einsum("bqp,qb->bp", vectors, state.gradient)
    move = -along / size
    length = jnp.sqrt(jnp.sum(move * move, axis=1))
    eps = jnp.finfo(length.dtype).eps
    move = move * jnp.minimum(1, state.radius / jnp.maximum(length, eps))[:, None]
    expected = -jnp.sum(along * move + values * move * move / 2, axis=1)
    decrement = jnp.sum(along * along / size, axis=1) / 2
    return _Proposal(jnp.einsum("bqp,bp->qb", vectors, move), length, expected, decrement)


def _judge(
    state: _Newton,
    proposal: _Proposal,
    w: Float[Array, "p b"],
    objective: Float[Array, " b"],
    gradient: Float[Array, "p b"],
    hessian: Float[Array, "b p p"],
    tol: Float[Array, ""],
) -> _Newton:
    """Each rater at the logits tried, `w`, if they are better, with a new trust radius."""
    eps = jnp.finfo(w.dtype).eps
    gain = state.objective - objective
    # Where the gain is below the rounding of the objective, the gradient decides.
    first = jnp.isinf(state.objective)
    drowned = (proposal.decrement <= 16 * eps * (1 + state.objective)) & ~first
    smaller = jnp.sqrt(jnp.sum(gradient * gradient, axis=0)) < state.slope
    better = jnp.where(drowned, smaller, gain > 0) & ~state.done
    grow = (gain > 0.75 * proposal.expected) & (proposal.length > state.radius)
    shrink = (gain < 0.25 * proposal.expected) & ~drowned
    radius = jnp.where(grow, 2 * state.radius, state.radius)
    cut = jnp.minimum(proposal.length, state.radius) / 4
    radius = jnp.where(shrink, cut, radius)
    stuck = (drowned & ~smaller) | (radius < eps) | (first & jnp.isnan(gain))
    new = _Newton(
        jnp.where(better[None, :], w, state.w),
        jnp.where(better, objective, state.objective),
        jnp.where(better[None, :], gradient, state.gradient),
        jnp.where(better[:, None, None], hessian, state.hessian),
        radius,
        state.done | stuck,
        jnp.where(state.done, state.steps, state.steps + 1),
    )
    return eqx.tree_at(lambda s: s.done, new, new.done | (new.slope <= tol))
