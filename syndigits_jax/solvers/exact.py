"""Distances from differences, for the few pairs that a matrix product leaves undecided."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .units import power_of_two

Carry = TypeVar("Carry")

_NARROW = 8  # columns recomputed per row and pass, while few pairs are undecided
_ROWS, _PART = 16, 32  # rows in such a pass: at least 16, or a 32nd of all rows
_PASSES = 64  # such passes, before whole strips of columns are recomputed
_STRIP = 16  # width of a strip, in units of _NARROW

Update = Callable[
    [Any, Int[Array, " r"], Int[Array, "r c"], Float[Array, "r c"], Bool[Array, "r c"]], Any
]


def lengths(x: Float[Array, "*n d"]) -> Float[Array, "*n"]:
    """Euclidean lengths along the last axis, for numbers of any size."""
    unit = power_of_two(jnp.max(jnp.abs(x), axis=-1))
    scaled = x / unit[..., None]
    return unit * jnp.sqrt(jnp.sum(scaled * scaled, axis=-1))


def unit_rows(x: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    """Rows divided by their lengths; NaN where a row is zero."""
    scaled = x / power_of_two(jnp.max(jnp.abs(x), axis=-1))[..., None]
    return scaled / jnp.sqrt(jnp.sum(scaled * scaled, axis=-1))[..., None]


def resolve(
    points: Float[Array, "b d"],
    y: Float[Array, "l d"],
    undecided: Bool[Array, "b l"],
    carry: Carry,
    update: Update,
) -> Carry:
    """Call `update` with batches of pairs until it has had all `undecided` ones.

    Every undecided pair is in exactly one call, with its distance from differences. Where few pairs
    are left, a call takes a few rows with their own columns; where many are left, a strip of
    columns for all rows. Time grows with the undecided pairs, memory is that of one call. No
    derivative passes through.

    **Arguments:** `points`: (b, d) and `y`: (l, d) points; `undecided`: (b, l), the pairs to
    compute; `carry`: passed from call to call; `update`: called with (carry, rows, columns,
    distances, mask), returns the next carry. Columns from l on are padding and never in the mask.

    **Returns:** the last carry.
    """
    points, y, undecided = jax.lax.stop_gradient((points, y, undecided))
    rows, size = undecided.shape
    tiles = -(-size // _NARROW)
    strip = min(_STRIP, tiles)
    fill = tiles * _NARROW - size
    undecided = jnp.pad(undecided, ((0, 0), (0, fill))).reshape(rows, tiles, _NARROW)
    padded = jnp.pad(y, ((0, fill), (0, 0)))

    def narrow(state):
        open_tiles, carry, step = state
        waiting = jnp.any(open_tiles, axis=1).astype(jnp.int32)
        some, chosen = jax.lax.top_k(waiting, min(rows, max(_ROWS, rows // _PART)))
        tile = jnp.argmax(open_tiles[chosen], axis=1)
        columns = tile[:, None] * _NARROW + jnp.arange(_NARROW, dtype=tile.dtype)[None, :]
        mask = undecided[chosen, tile] & (some > 0)[:, None]
        distance = lengths(points[chosen][:, None, :] - padded[columns])
        carry = update(carry, chosen, columns, distance, mask)
        return open_tiles.at[chosen, tile].set(False), carry, step + 1

    def wide(state):
        open_tiles, carry = state
        tile = jnp.argmax(jnp.any(open_tiles, axis=0))
        tile = jnp.minimum(tile, tiles - strip)
        still = jax.lax.dynamic_slice_in_dim(open_tiles, tile, strip, 1)
        mask = jax.lax.dynamic_slice_in_dim(undecided, tile, strip, 1) & still[:, :, None]
        first, width = tile * _NARROW, strip * _NARROW
        some = jax.lax.dynamic_slice_in_dim(padded, first, width, 0)
        columns = first + jnp.arange(width, dtype=first.dtype)
        columns = jnp.broadcast_to(columns[None, :], (rows, width))
        distance = lengths(points[:, None, :] - some[None, :, :])
        carry = update(carry, jnp.arange(rows), columns, distance, mask.reshape(rows, width))
        closed = jax.lax.dynamic_update_slice_in_dim(
            open_tiles, jnp.zeros_like(still), tile, axis=1
        )
        return closed, carry

    state = (jnp.any(undecided, axis=2), carry, jnp.zeros((), jnp.int32))
    open_tiles, carry, _ = jax.lax.while_loop(
        lambda s: jnp.any(s[0]) & (s[2] < _PASSES), narrow, state
    )
    return jax.lax.while_loop(lambda s: jnp.any(s[0]), wide, (open_tiles, carry))[1]
