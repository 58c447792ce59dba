"""Lazy Adam for a table with a row per user (or item): only the rows in a batch move.

Every row is an ordinary Adam with its own count of updates: it moves, and its moments decay, only
when the row is in a batch. Dense Adam differs in that rows outside the batch keep moving by their
momentum while their moments decay, and in correcting the bias of all rows by one common count. A
row that is in every batch moves as under dense Adam.

As a transformation of optax, it starts from the whole table and is then given the gradient of some
rows, and their positions as the extra argument `rows`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from ..solvers.descent import updates


def scale_by_row_adam(
    b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformationExtraArgs:
    """`optax.scale_by_adam` for some rows of a table.

    Its state is (n, 2 p + 1) numbers for a table (n, p), in one array for one look-up per row:
    first and second moments, count of updates. Rows beyond the table are ignored.
    """

    def init(params):
        def start(values: Float[Array, "n p"]) -> Float[Array, "n c"]:
            n, p = values.shape
            return jnp.zeros((n, 2 * p + 1), values.dtype)

        return jax.tree.map(start, params)

    def advanced(moments: Float[Array, "b c"], gradient: Float[Array, "b p"]):
        p = gradient.shape[1]
        mean, square, count = jnp.split(moments, [p, 2 * p], axis=1)
        mean = b1 * mean + (1 - b1) * gradient
        square = b2 * square + (1 - b2) * gradient * gradient
        return jnp.concatenate([mean, square, count + 1], axis=1)

    def direction(moments: Float[Array, "b c"]) -> Float[Array, "b p"]:
        p = moments.shape[1] // 2
        mean, square, count = jnp.split(moments, [p, 2 * p], axis=1)
        return (mean / (1 - b1**count)) / (jnp.sqrt(square / (1 - b2**count)) + eps)

    # optax passes the gradient by position; its declaration has no room for `rows`.
    def update(gradient, state, params=None, *, rows, **extra):
        del params, extra
        new = jax.tree.map(lambda s, g: advanced(rows_at(s, rows), g), state, gradient)
        state = jax.tree.map(lambda s, some: s.at[rows].set(some, mode="drop"), state, new)
        return jax.tree.map(direction, new), state

    step: Any = update
    return optax.GradientTransformationExtraArgs(init, step)


def row_adamw(
    learning_rate: optax.ScalarOrSchedule, weight_decay: float
) -> optax.GradientTransformationExtraArgs:
    """`optax.adamw` for some rows of a table, see `scale_by_row_adam`."""
    return optax.with_extra_args_support(
        optax.chain(
            scale_by_row_adam(),
            optax.add_decayed_weights(weight_decay),
            optax.scale_by_learning_rate(learning_rate),
        )
    )


def rows_at(table: Float[Array, "n c"], rows: Int[Array, " b"]) -> Float[Array, "b c"]:
    """Some rows; positions beyond the table read the last row."""
    return table.at[rows].get(mode="clip")


def add_to_rows(
    table: Float[Array, "n p"], rows: Int[Array, " b"], step: Float[Array, "b p"]
) -> Float[Array, "n p"]:
    """The table after `step` is added to `rows`; those beyond the table are ignored."""
    return table.at[rows].add(step, mode="drop")


def sum_by_row(
    rows: Int[Array, " b"], gradient: Float[Array, "b p"], n: int
) -> tuple[Int[Array, " b"], Float[Array, "b p"]]:
    """(different rows, sum of the gradients of each), padded with `n`, which is beyond the table.

    A row that occurs several times in a batch gets one update with the sum.
    """
    order = jnp.argsort(rows)
    ordered = rows[order]
    new = jnp.concatenate([jnp.ones((1,), bool), ordered[1:] != ordered[:-1]])
    segment = jnp.cumsum(new.astype(jnp.int32)) - 1
    total = jnp.zeros_like(gradient).at[segment].add(gradient[order], indices_are_sorted=True)
    unique = jnp.full(rows.shape, n, rows.dtype).at[segment].set(ordered)
    return unique, total


def descend_rows(
    optimiser: optax.GradientTransformation,
    table: Float[Array, "n p"],
    state: Any,
    rows: Int[Array, " b"],
    gradient: Float[Array, "b p"],
) -> tuple[Float[Array, "n p"], Any]:
    """(table, state) after one step of `optimiser`; `rows` may repeat, or lie beyond the table."""
    rows, gradient = sum_by_row(rows, gradient, len(table))
    step, state = updates(optimiser, gradient, state, rows_at(table, rows), rows=rows)
    return add_to_rows(table, rows, step), state
