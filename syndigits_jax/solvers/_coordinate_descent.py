"""Coordinate descent in blocks of columns, for programs that a CPU runs one problem at a time.

The moves and their order are those of cyclic coordinate descent, but that blocks without a
coefficient are tried in one sweep of `SWEEPS` only. Within a block they only touch the
block's own Gram matrix; the residual of all rows is brought up to date once for a block, by two
products. Where a few sweeps are not enough they are extrapolated (Anderson acceleration; Bertrand &
Massias 2021, AISTATS).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._elastic_net_loop import penalised_gap, soft
from ._quadratic import DesignQuadratic

BLOCK = 32  # columns
SWEEPS = 4  # between two checks of the duality gap, and two extrapolations


class Columns(NamedTuple):
    """Blocks of a design's columns, times the roots of the weights.

    `moves` holds what a unit step back of each coordinate does to its block: to the coefficients,
    and to their slopes, which is a row of the block's Gram matrix.
    """

    blocks: Float[Array, "k c n"]
    moves: Float[Array, "k c d"]
    target: Float[Array, " n"]

    def squares(self) -> Float[Array, "k c"]:
        """The sum of squares of every column."""
        return jnp.diagonal(self.moves, self.blocks.shape[1], axis1=1, axis2=2)

    def slope(self, rest: Float[Array, " n"]) -> Float[Array, " kc"]:
        """The products of all columns with a residual."""
        return (self.blocks @ rest).ravel()


class Descent(NamedTuple):
    """Coefficients in blocks, the residual they leave, and their gap; `steps` are sweeps."""

    coef: Float[Array, "k c"]
    residual: Float[Array, " n"]
    gap: Float[Array, ""]
    steps: Int[Array, ""]


def columns(quadratic: DesignQuadratic) -> Columns:
    """In blocks of `BLOCK`, filled up with columns of zeros."""
    root = jnp.sqrt(quadratic.weight)
    return columns_of(root[:, None] * quadratic.x, root * quadratic.y)


def columns_of(design: Float[Array, "n p"], target: Float[Array, " n"]) -> Columns:
    """[`columns`][] of what is multiplied by the roots of the weights already."""
    blocks = blocked(design)
    return Columns(blocks, moves_of(blocks @ blocks.transpose(0, 2, 1)), target)


def blocked(design: Float[Array, "n p"]) -> Float[Array, "k c n"]:
    """The columns of `design` in blocks."""
    n, p = design.shape
    size = min(BLOCK, p)
    return jnp.pad(design.T, ((0, -p % size), (0, 0))).reshape(-1, size, n)


def moves_of(gram: Float[Array, "k c c"]) -> Float[Array, "k c d"]:
    """The `moves` of blocks with these Gram matrices."""
    own = jnp.broadcast_to(jnp.eye(gram.shape[1], dtype=gram.dtype), gram.shape)
    return jnp.concatenate([-own, gram], axis=2)


def in_blocks(columns: Columns, coef: Float[Array, " p"]) -> Float[Array, "k c"]:
    """Coefficients as the blocks have them."""
    k, c, _ = columns.blocks.shape
    return jnp.pad(coef, (0, k * c - len(coef))).reshape(k, c)


def residual(columns: Columns, coef: Float[Array, "k c"]) -> Float[Array, " n"]:
    """y - x b, from scratch."""
    # XLA's code for one product with the reshaped blocks takes eight times as long.
    return columns.target - jnp.sum(jnp.einsum("kc,kcn->kn", coef, columns.blocks), axis=0)


def _sweep(columns: Columns, l1, l2, coef, rest, every: Bool[Array, ""]):
    """One move of every coordinate; unless `every`, of the blocks that have a coefficient."""
    k, c, _ = columns.blocks.shape
    squares = columns.squares()
    # A column of zeros has no curvature, no gradient, and a coefficient of zero.
    inverses = jnp.where(squares + l2 > 0, 1 / jnp.where(squares > 0, squares + l2, 1), 0)

    def moved(i, state):
        coef, rest = state
        x, moves, start = columns.blocks[i], columns.moves[i], coef[i]
        curvature, inverse, slope = squares[i], inverses[i], x @ rest

        def coordinate(j, both):  # coefficients and slopes as one array: one update, in place
            moved = soft(both[c + j] + curvature[j] * both[j], l1) * inverse[j]
            return both - (moved - both[j]) * moves[j]

        new = jax.lax.fori_loop(0, c, coordinate, jnp.concatenate([start, slope]))[:c]
        return coef.at[i].set(new), rest - (new - start) @ x

    def block(i, state):
        coef, rest = state
        used = jnp.any(coef[i] != 0)
        pulls = used | jax.lax.cond(
            every & ~used,
            lambda: jnp.any(jnp.abs(columns.blocks[i] @ rest) > l1),
            lambda: jnp.zeros((), bool),
        )
        return jax.lax.cond(pulls, moved, lambda i, state: state, i, state)

    return jax.lax.fori_loop(0, k, block, (coef, rest))


def _objective(l1, l2, coef, rest):
    size = jnp.sum(jnp.abs(coef)), jnp.sum(coef**2)
    return 0.5 * jnp.dot(rest, rest) + l1 * size[0] + 0.5 * l2 * size[1]


def _gap(columns: Columns, l1, l2, coef, rest):
    return penalised_gap(columns.slope(rest), coef.ravel(), jnp.dot(rest, rest), l1, l2)


def judged(columns: Columns, l1, l2, coef: Float[Array, "k c"], steps: Int[Array, ""]) -> Descent:
    """The state at `coef`."""
    rest = residual(columns, coef)
    return Descent(coef, rest, _gap(columns, l1, l2, coef, rest), steps)


def _ahead(columns: Columns, l1, l2, state: Descent, history: Float[Array, "s m"]) -> Descent:
    """Where the sweeps of a `history` lead to, if the objective is lower there."""
    changes = history[1:] - history[:-1]
    products = changes @ changes.T
    trace = jnp.trace(products)
    ridge = 1e-6 * jnp.where(trace > 0, trace, 1)  # they are nearly dependent, on purpose
    share = jnp.linalg.solve(
        products + ridge * jnp.eye(SWEEPS, dtype=history.dtype), jnp.ones(SWEEPS, history.dtype)
    )
    total = jnp.sum(share)
    coef = (share / jnp.where(total == 0, 1, total) @ history[1:]).reshape(state.coef.shape)
    rest = residual(columns, coef)
    old = _objective(l1, l2, state.coef, state.residual)
    lower = _objective(l1, l2, coef, rest) < old
    return state._replace(
        coef=jnp.where(lower, coef, state.coef), residual=jnp.where(lower, rest, state.residual)
    )


def _swept(columns: Columns, l1, l2, state: Descent, count: Int[Array, ""]):
    """`count` sweeps, at most `SWEEPS`; the state after them, and the coefficients on the way.

    The first is over all columns, the others over the blocks that have a coefficient then.
    """
    history = jnp.zeros((SWEEPS + 1, state.coef.size), state.coef.dtype)
    history = history.at[0].set(state.coef.ravel())

    def sweep(i, carry):
        coef, rest, history = carry
        coef, rest = _sweep(columns, l1, l2, coef, rest, i == 0)
        return coef, rest, history.at[i + 1].set(coef.ravel())

    coef, rest, history = jax.lax.fori_loop(0, count, sweep, (state.coef, state.residual, history))
    gap = _gap(columns, l1, l2, coef, rest)
    return Descent(coef, rest, gap, state.steps + count), history


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

    def unfinished(carry):
        state, _ = carry
        return enough & (state.gap > target) & (state.steps < max_steps)

    def advance(carry):
        state, history = carry
        state = jax.lax.cond(
            state.steps > begun, lambda: _ahead(columns, l1, l2, state, history), lambda: state
        )
        return _swept(columns, l1, l2, state, jnp.minimum(SWEEPS, max_steps - state.steps))

    begun = state.steps
    history = jnp.zeros((SWEEPS + 1, state.coef.size), state.coef.dtype)
    return jax.lax.while_loop(unfinished, advance, (state, history))[0]
