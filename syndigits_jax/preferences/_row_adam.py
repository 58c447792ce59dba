"""Lazy Adam for a table with a row per user (or item): only the rows in a batch move.

Every row is an ordinary Adam with its own count of updates: it moves, and its moments decay, only
when the row is in a batch. Dense Adam differs in that rows outside the batch keep moving by their
momentum while their moments decay, and in correcting the bias of all rows by one common count. A
row that is in every batch moves as under dense Adam.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # Adam's usual constants


class RowTable(eqx.Module):
    """n rows of p numbers with their moments, in one array for one look-up per row.

    `packed`: (n, 3 p + 1): values, first and second moments, count of updates.
    """

    packed: Float[Array, "n c"]
    p: int = eqx.field(static=True)

    @classmethod
    def start(cls, values: Float[Array, "n p"]) -> "RowTable":
        """A table before the first update."""
        n, p = values.shape
        return cls(jnp.concatenate([values, jnp.zeros((n, 2 * p + 1), values.dtype)], axis=1), p)

    @property
    def values(self) -> Float[Array, "n p"]:
        """The rows themselves."""
        return self.packed[:, : self.p]

    def at(self, rows: Int[Array, " b"]) -> Float[Array, "b p"]:
        """Some rows; positions beyond the table read the last row."""
        return self.packed.at[rows].get(mode="clip")[:, : self.p]


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


def update_rows(
    table: RowTable,
    rows: Int[Array, " b"],
    gradient: Float[Array, "b p"],
    learning_rate: Float[Array, ""],
    weight_decay: float,
) -> RowTable:
    """One step of AdamW for `rows`, which are all different; those beyond the table are ignored."""
    p = table.p
    old = table.packed.at[rows].get(mode="clip")
    value, mean, square, count = jnp.split(old, [p, 2 * p, 3 * p], axis=1)
    count = count + 1
    mean = BETA1 * mean + (1 - BETA1) * gradient
    square = BETA2 * square + (1 - BETA2) * gradient * gradient
    step = (mean / (1 - BETA1**count)) / (jnp.sqrt(square / (1 - BETA2**count)) + EPSILON)
    value = value - learning_rate * (step + weight_decay * value)
    new = jnp.concatenate([value, mean, square, count], axis=1)
    return RowTable(table.packed.at[rows].set(new, mode="drop"), p)


def adam(parameters, mean, square, gradient, count, learning_rate, weight_decay):
    """One step of dense AdamW for a pytree: (parameters, first moments, second moments)."""
    mean = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, mean, gradient)
    square = jax.tree.map(lambda s, g: BETA2 * s + (1 - BETA2) * g * g, square, gradient)
    first, second = 1 / (1 - BETA1**count), 1 / (1 - BETA2**count)

    def move(v, m, s):
        step = (m * first) / (jnp.sqrt(s * second) + EPSILON)
        return v - learning_rate * (step + weight_decay * v)

    return jax.tree.map(move, parameters, mean, square), mean, square
