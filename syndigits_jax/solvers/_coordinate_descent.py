"""Coordinate descent in blocks of columns, for programs that a CPU runs one problem at a time.

The moves and their order are those of cyclic coordinate descent. Within a block they only touch the
block's own Gram matrix; the residual of all rows is brought up to date once for a block, by two
products. After every few sweeps the sweeps are extrapolated (Anderson acceleration; Bertrand &
Massias 2021, AISTATS).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._elastic_net_loop import penalised_gap, soft
from ._quadratic import DesignQuadratic

BLOCK = 32  # columns
SWEEPS = 5  # between two extrapolations, each followed by a check of the duality gap


class Columns(NamedTuple):
    """Blocks of a design's columns, times the roots of the weights, and their Gram matrices."""

    blocks: Float[Array, "k c n"]
    grams: Float[Array, "k c c"]
    target: Float[Array, " n"]


class Descent(NamedTuple):
    """Coefficients in blocks, the residual they leave, and their gap; `steps` are sweeps."""

    coef: Float[Array, "k c"]
    residual: Float[Array, " n"]
    gap: Float[Array, ""]
    steps: Int[Array, ""]


def columns(quadratic: DesignQuadratic) -> Columns:
    """In blocks of `BLOCK`, filled up with columns of zeros."""
    root = jnp.sqrt(quadratic.weight)
    z = root[:, None] * quadratic.x
    n, p = z.shape
    size = min(BLOCK, p)
    blocks = jnp.pad(z.T, ((0, -p % size), (0, 0))).reshape(-1, size, n)
    return Columns(blocks, blocks @ blocks.transpose(0, 2, 1), root * quadratic.y)


def in_blocks(columns: Columns, coef: Float[Array, " p"]) -> Float[Array, "k c"]:
    """Coefficients as the blocks have them."""
    k, c, _ = columns.blocks.shape
    return jnp.pad(coef, (0, k * c - len(coef))).reshape(k, c)


def residual(columns: Columns, coef: Float[Array, "k c"]) -> Float[Array, " n"]:
    """y - x b, from scratch."""
    return columns.target - coef.ravel() @ columns.blocks.reshape(-1, len(columns.target))


def _sweep(columns: Columns, l1, l2, coef, rest):
    """One move of every coordinate."""
    k, c, _ = columns.blocks.shape

    def block(i, state):
        coef, rest = state
        x, gram, start = columns.blocks[i], columns.grams[i], coef[i]
        curvature = jnp.diagonal(gram)
        # A column of zeros has no curvature, no gradient, and a coefficient of zero.
        inverse = jnp.where(curvature + l2 > 0, 1 / jnp.where(curvature > 0, curvature + l2, 1), 0)

        def coordinate(j, inner):
            new, slope = inner
            moved = soft(slope[j] + curvature[j] * new[j], l1) * inverse[j]
            slope = slope - (moved - new[j]) * gram[j]
            return new.at[j].set(moved), slope

        new, _ = jax.lax.fori_loop(0, c, coordinate, (start, x @ rest))
        return coef.at[i].set(new), rest - (new - start) @ x

    return jax.lax.fori_loop(0, k, block, (coef, rest))


def _objective(l1, l2, coef, rest):
    size = jnp.sum(jnp.abs(coef)), jnp.sum(coef**2)
    return 0.5 * jnp.dot(rest, rest) + l1 * size[0] + 0.5 * l2 * size[1]


def _gap(columns: Columns, l1, l2, coef, rest):
    slope = columns.blocks.reshape(-1, len(rest)) @ rest
    return penalised_gap(slope, coef.ravel(), jnp.dot(rest, rest), l1, l2)


def judged(columns: Columns, l1, l2, coef: Float[Array, "k c"], steps: Int[Array, ""]) -> Descent:
    """The state at `coef`."""
    rest = residual(columns, coef)
    return Descent(coef, rest, _gap(columns, l1, l2, coef, rest), steps)


def _round(columns: Columns, l1, l2, state: Descent, count: Int[Array, ""]) -> Descent:
    """`count` sweeps, at most `SWEEPS`, and an extrapolation if it was that many."""
    history = jnp.zeros((SWEEPS + 1, state.coef.size), state.coef.dtype)
    history = history.at[0].set(state.coef.ravel())

    def sweep(i, carry):
        coef, rest, history = carry
        coef, rest = _sweep(columns, l1, l2, coef, rest)
        return coef, rest, history.at[i + 1].set(coef.ravel())

    coef, rest, history = jax.lax.fori_loop(0, count, sweep, (state.coef, state.residual, history))
    changes = history[1:] - history[:-1]
    products = changes @ changes.T
    trace = jnp.trace(products)
    ridge = 1e-6 * jnp.where(trace > 0, trace, 1)  # they are nearly dependent, on purpose
    share = jnp.linalg.solve(
        products + ridge * jnp.eye(SWEEPS, dtype=coef.dtype), jnp.ones(SWEEPS, coef.dtype)
    )
    total = jnp.sum(share)
    ahead = (share / jnp.where(total == 0, 1, total) @ history[1:]).reshape(coef.shape)
    ahead_rest = residual(columns, ahead)
    lower = _objective(l1, l2, ahead, ahead_rest) < _objective(l1, l2, coef, rest)
    lower = lower & (count == SWEEPS)
    coef, rest = jnp.where(lower, ahead, coef), jnp.where(lower, ahead_rest, rest)
    return Descent(coef, rest, _gap(columns, l1, l2, coef, rest), state.steps + count)


def descend(
    columns: Columns,
    l1: Float[Array, ""],
    l2: Float[Array, ""],
    state: Descent,
    *,
    target: Float[Array, ""],
    max_steps: Int[Array, ""],
    enough: Bool[Array, ""] | bool = True,
) -> Descent:
    """Until the gap is at most `target`, or `max_steps` sweeps in all; not at all unless `enough`.

    The gap is that of penalties that are not both zero.
    """

    def unfinished(state: Descent):
        return enough & (state.gap > target) & (state.steps < max_steps)

    def advance(state: Descent):
        count = jnp.minimum(SWEEPS, max_steps - state.steps)
        return _round(columns, l1, l2, state, count)

    return jax.lax.while_loop(unfinished, advance, state)
