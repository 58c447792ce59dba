"""Distances between many points in bounded memory, and the checks that all metrics share.

Distances come from one matrix product, |x - y|² = |x|² + |y|² - 2⟨x, y⟩ about a common centre, a
block of rows at a time. Rounding then leaves a few `eps` (|x|² + |y|²) in a squared distance:
negligible between users, but not where a population has collapsed, so what is compared with a
threshold (nearest neighbours) is recomputed from differences.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from ..solvers._precision import full_precision

Points = Array | np.ndarray

BLOCK = 1 << 22
"""Distances held at a time, by default: 16 MiB of float32, which suits caches and accelerators."""

_SPARE = 3  # candidates beyond k whose distance is recomputed, as rounding may reorder them


def population(values: Any, argument: str, rows: int = 1) -> Float[Array, "n d"]:
    """`values` as a matrix of points with at least so many `rows`.

    NaN and infinity are refused where the values are concrete; inside `jit` and `vmap` the metrics
    return NaN for them.

    **Raises:** `ValueError` naming the argument.
    """
    points = jnp.asarray(values)
    if points.ndim != 2 or points.shape[1] == 0:
        raise ValueError(f"`{argument}` must be a matrix (users, width), got shape {points.shape}")
    if not jnp.issubdtype(points.dtype, jnp.floating):
        raise ValueError(
            f"`{argument}` must hold floating-point numbers, got {points.dtype}; convert it with "
            "`.astype(float)`"
        )
    if points.shape[0] < rows:
        raise ValueError(f"`{argument}` has {points.shape[0]} rows; at least {rows} are needed")
    if not isinstance(points, Tracer):
        bad = ~np.isfinite(np.asarray(points, np.float32)).all(axis=1)
        if bad.any():
            raise ValueError(
                f"`{argument}`: {int(bad.sum())} rows have NaN or infinity, the first is row "
                f"{int(bad.argmax())}; leave out users without an embedding"
            )
    return points


def populations(
    x: Any, y: Any, rows: int = 1, names: tuple[str, str] = ("x", "y")
) -> tuple[Float[Array, "n d"], Float[Array, "l d"]]:
    """Two populations of one width, the second in the dtype of the first.

    **Raises:** `ValueError` naming the argument.
    """
    x, y = population(x, names[0], rows), population(y, names[1], rows)
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"`{names[0]}` has width {x.shape[1]} but `{names[1]}` has {y.shape[1]}; embeddings of "
            "two encoders cannot be compared"
        )
    return x, y.astype(x.dtype)


def positive(name: str, value: int, at_least: int = 1) -> None:
    """**Raises:** `ValueError` unless `value` is an integer that is large enough."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < at_least:
        raise ValueError(f"`{name}` must be an integer, at least {at_least}, got {value!r}")


def finite_or_nan(value: Float[Array, "..."], *arrays: Array) -> Float[Array, "..."]:
    """`value`, or NaN if any entry of `arrays` is not finite: comparisons would swallow it."""
    finite = jnp.stack([jnp.all(jnp.isfinite(array)) for array in arrays]).all()
    return jnp.where(finite, value, jnp.nan)


def centred(
    x: Float[Array, "n d"], y: Float[Array, "l d"]
) -> tuple[Float[Array, "n d"], Float[Array, "l d"]]:
    """Both populations about the mean of the first, so that less cancels in their distances."""
    centre = jnp.mean(x, axis=0)[None, :]
    return x - centre, y - centre


def square_norms(x: Float[Array, "n d"]) -> Float[Array, " n"]:
    """|x|² per row."""
    return jnp.sum(x * x, axis=1)


@full_precision
def squared_distances(
    x: Float[Array, "n d"], y: Float[Array, "l d"], y_square: Float[Array, " l"] | None = None
) -> Float[Array, "n l"]:
    """|x - y|² from one matrix product, for populations already [`centred`][]; never negative.

    `y_square`: |y|² where known; infinity makes a row of `y` infinitely far.
    """
    y_square = square_norms(y) if y_square is None else y_square
    sums = square_norms(x)[:, None] + y_square[None, :]
    return jnp.maximum(sums - 2 * (x @ y.T), 0)


def block_rows(n: int, columns: int, block: int) -> int:
    """Rows per block so that rows x `columns` is about `block`, blocks being of equal size."""
    positive("block", block)
    rows = min(n, max(1, block // columns))
    return -(-n // -(-n // rows))


def in_blocks(array: Array, rows: int) -> Array:
    """`array` as (blocks, rows, ...), filled up with zeros."""
    count = -(-array.shape[0] // rows)
    padding = [(0, count * rows - array.shape[0])] + [(0, 0)] * (array.ndim - 1)
    return jnp.pad(array, padding).reshape(count, rows, *array.shape[1:])


def map_rows(
    function: Callable[[Float[Array, "b d"], Int[Array, " b"]], Any],
    x: Float[Array, "n d"],
    columns: int,
    block: int,
) -> Any:
    """`function(rows of x, their positions)` over blocks of rows; outputs lead with the row.

    Rows that fill up the last block have positions from n on, and their outputs are dropped.
    """
    n = x.shape[0]
    rows = block_rows(n, columns, block)
    blocks = in_blocks(x, rows)
    position = jnp.arange(blocks.shape[0] * rows).reshape(-1, rows)
    out = jax.lax.map(lambda pair: function(*pair), (blocks, position))
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:n], out)


def _smallest(
    values: Float[Array, "b s g"], count: int
) -> tuple[Float[Array, "b c"], Int[Array, "b c"]]:
    """The `count` smallest of every row of s * g values, and where (position = s * G + g).

    They lie in the `count` groups of smallest minimum: one fast pass, and a search among few.
    """
    groups = values.shape[2]
    _, best = jax.lax.top_k(-jnp.min(values, axis=1), min(count, groups))
    candidates = jnp.take_along_axis(values, best[:, None, :], axis=2)
    position = (
        jnp.arange(values.shape[1], dtype=best.dtype)[None, :, None] * groups + best[:, None, :]
    )
    smallest, chosen = jax.lax.top_k(-candidates.reshape(len(values), -1), count)
    return -smallest, jnp.take_along_axis(position.reshape(len(values), -1), chosen, axis=1)


def nearest(
    x: Float[Array, "n d"],
    y: Float[Array, "l d"] | None,
    k: int,
    *,
    block: int = BLOCK,
) -> tuple[Float[Array, "n k"], Int[Array, "n k"]]:
    """Distances to the `k` nearest rows of `y`, ascending, and their positions.

    Without `y`: nearest others among the rows of `x` itself, each row left out of its own. Checks
    nothing. The shortlist comes from matrix products, the distances from differences.
    """
    alone = y is None
    x, y = centred(x, x if y is None else y)
    available = y.shape[0] - alone
    count = min(k + _SPARE, available)
    # About sqrt(l) groups: as much work in the groups' minima as in the groups that are kept.
    groups = max(count, int(np.sqrt(y.shape[0])))
    members = -(-y.shape[0] // groups)
    fill = members * groups - y.shape[0]
    padded = jnp.pad(y, ((0, fill), (0, 0)))
    square = jnp.pad(square_norms(y), (0, fill), constant_values=jnp.inf)

    def of_block(rows, position):
        squares = squared_distances(rows, padded, square)
        if alone:
            own = position[:, None] == jnp.arange(squares.shape[1])[None, :]
            squares = jnp.where(own, jnp.inf, squares)
        _, chosen = _smallest(squares.reshape(-1, members, groups), count)
        differences = rows[:, None, :] - padded[chosen]
        exact, order = jax.lax.top_k(-jnp.sum(differences * differences, axis=2), k)
        return jnp.sqrt(-exact), jnp.take_along_axis(chosen, order, axis=1)

    return map_rows(of_block, x, padded.shape[0], block)
