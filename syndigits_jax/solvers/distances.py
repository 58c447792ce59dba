"""Distances between many points in bounded memory, and the checks that all metrics share.

Distances come from one matrix product, |x - y|² = |x|² + |y|² - 2⟨x, y⟩ about a common centre, a
block of rows at a time. Rounding then leaves up to `eps` d (|x|² + |y|²) in a squared distance:
negligible between most users, but not within a tight cluster, nor with a centre that an outlier
has shifted. The product therefore only bounds a distance; where a comparison depends on its
last digits, the distance is computed from differences (`_exact`). Whatever is squared is first
divided by a power of two, so that units do not matter.
"""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int

from .boundary import Numbers, as_float, as_floats, concrete
from .checks import is_whole
from .devices import devices_in, over_devices
from .exact import lengths, resolve
from .precision import full_precision
from .sums import all_finite, largest_size
from .units import power_of_two

BLOCK = 1 << 22
"""Distances held at a time, by default: 16 MiB of float32, which suits caches and accelerators."""

_SPARE = 3  # candidates beyond k whose distance is recomputed, as rounding may reorder them
_CENTRE_STEPS = 4
_ACCURACY = 3e-5


def population(values: Numbers, argument: str, rows: int = 1) -> Float[Array, "n d"]:
    """`values` as a matrix of at least `rows` points, see [`as_float`][].

    NaN and infinity are refused where the values are concrete; inside `jit` and `vmap` the metrics
    return NaN for them.

    **Raises:** `ValueError` naming the argument.
    """
    return _checked(as_float(argument, values), argument, rows)


def populations(
    x: Numbers, y: Numbers, rows: int = 1, names: tuple[str, str] = ("x", "y")
) -> tuple[Float[Array, "n d"], Float[Array, "l d"]]:
    """Two populations of one width, in the wider of their dtypes.

    **Arguments:** `x`, `y`: (n, d) and (l, d) points; `rows`: smallest number of rows of each;
    `names`: what error messages call them.

    **Raises:** `ValueError` naming the argument.
    """
    x, y = as_floats(**dict(zip(names, (x, y), strict=True)))
    x, y = _checked(x, names[0], rows), _checked(y, names[1], rows)
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"`{names[0]}` has width {x.shape[1]} but `{names[1]}` has {y.shape[1]}; embeddings of "
            "two encoders cannot be compared"
        )
    return x, y


def _checked(points: Any, argument: str, rows: int) -> Float[Array, "n d"]:
    if points.ndim != 2 or points.shape[1] == 0:
        raise ValueError(f"`{argument}` must be a matrix (users, width), got shape {points.shape}")
    if points.shape[0] < rows:
        raise ValueError(f"`{argument}` has {points.shape[0]} rows; at least {rows} are needed")
    if (known := concrete(points)) is not None:
        bad = ~np.isfinite(known).all(axis=1)
        if bad.any():
            raise ValueError(
                f"`{argument}`: {int(bad.sum())} rows have NaN or infinity, the first is row "
                f"{int(bad.argmax())}; leave out users without an embedding"
            )
    return points


def positive(name: str, value: int, at_least: int = 1) -> None:
    """**Raises:** `ValueError` unless `value` is an integer that is large enough."""
    if not is_whole(value) or value < at_least:
        raise ValueError(f"`{name}` must be an integer, at least {at_least}, got {value!r}")


def finite_or_nan(value: Float[Array, "..."], *arrays: Array) -> Float[Array, "..."]:
    """`value`, or NaN if any entry of `arrays` is not finite, which comparisons would hide."""
    finite = jnp.stack([all_finite(array) for array in arrays]).all()
    return jnp.where(finite, value, jnp.nan)


class Cloud(eqx.Module):
    """A population in a [`Frame`][].

    **Arguments:** `raw`: (n, d) points over the frame's unit; `about`: the same about its centre;
    `square`: (n,) |about|², infinite for padding rows.
    """

    raw: Float[Array, "n d"]
    about: Float[Array, "n d"]
    square: Float[Array, " n"]

    def filled(self, count: int) -> "Cloud":
        """With `count` padding rows, infinitely far from every point."""
        pad = ((0, count), (0, 0))
        square = jnp.pad(self.square, (0, count), constant_values=jnp.inf)
        return Cloud(jnp.pad(self.raw, pad), jnp.pad(self.about, pad), square)


class Frame(eqx.Module):
    """The unit and the centre for distances between populations: a power of two and a point.

    The centre is near the geometric median of the first population, which single outliers do not
    move. Results do not depend on either, so no derivative passes through them.

    **Arguments:** `unit`: at or just below the largest coordinate; `centre`: (d,) over the unit.
    """

    unit: Float[Array, ""]
    centre: Float[Array, " d"]

    @classmethod
    def of(cls, x: Float[Array, "n d"], *others: Float[Array, "..."]) -> "Frame":
        """The frame of one or more populations."""
        x, *rest = jax.lax.stop_gradient((x, *others))
        largest = jnp.stack([largest_size(each) for each in (x, *rest)])
        unit = power_of_two(jnp.max(largest))
        scaled = x / unit
        first = scaled[0]
        centre = first + jnp.mean(scaled - first[None, :], axis=0)
        for _ in range(_CENTRE_STEPS):  # Weiszfeld's, damped where a point is on the centre
            about = scaled - centre[None, :]
            far = lengths(about)
            weight = 1 / (far + jnp.mean(far) / 1000 + jnp.finfo(x.dtype).tiny)
            weight = weight / jnp.sum(weight)
            centre = centre + jnp.sum(weight[:, None] * about, axis=0)
        return cls(unit, centre)

    def cloud(self, x: Float[Array, "n d"]) -> Cloud:
        """`x` in this frame."""
        raw = x / self.unit
        about = raw - self.centre[None, :]
        return Cloud(raw, about, square_norms(about))


def spread(x: Float[Array, "n d"]) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
    """Mean and SD (ddof = 0) of every coordinate, whatever its unit and its distance from 0."""
    unit = power_of_two(jnp.max(jnp.abs(x), axis=0))
    scaled = x / unit[None, :]
    first = jax.lax.stop_gradient(scaled[0])
    about = scaled - first[None, :]
    return unit * (first + jnp.mean(about, axis=0)), unit * jnp.std(about, axis=0)


def square_norms(x: Float[Array, "n d"]) -> Float[Array, " n"]:
    """|x|² per row."""
    return jnp.sum(x * x, axis=1)


@full_precision
def bounds(x: Cloud, y: Cloud) -> tuple[Float[Array, "n l"], Float[Array, "n l"]]:
    """Lower and upper bounds of squared distances, from one matrix product."""
    eps, tiny, d = _rounding(x)
    slack = (4 + d) * eps
    sums = x.square[:, None] + y.square[None, :]
    product = 2 * (x.about @ y.about.T)
    return (1 - slack) * sums - product - tiny, (1 + slack) * sums - product + tiny


def _rounding(x: Cloud) -> tuple[float, float, int]:
    """`eps`, the largest loss of a squared distance by underflow, and the dimension d."""
    info, d = jnp.finfo(x.raw.dtype), x.raw.shape[1]
    return float(info.eps), 4 * d * float(info.tiny), d


@jax.jit
@full_precision
def squared_distances(
    x: Cloud, y: Cloud, scale: Float[Array, ""] | None = None
) -> Float[Array, "n l"]:
    """|x - y|² from one matrix product; never negative.

    With a `scale`, distances that matter at that scale are recomputed from differences where
    rounding exceeds 3e-5 of themselves and of `scale`². The derivative is that of the product.
    """
    eps, tiny, d = _rounding(x)
    sums = x.square[:, None] + y.square[None, :]
    coarse = sums - 2 * (x.about @ y.about.T)
    squares = jnp.maximum(coarse, 0)
    if scale is None:
        return squares
    error = (4 + d**0.5) * eps * sums + tiny  # typical: a bound has d
    enough = _ACCURACY * jnp.maximum(squares, scale**2)
    doubtful = (error > enough) & (coarse - error <= 100 * scale**2)

    def put(kept, rows, columns, distance, mask):
        place = kept.at[rows[:, None], jnp.where(mask, columns, kept.shape[1])]
        return place.set(distance * distance, mode="drop")

    kept = jax.lax.stop_gradient(squares)
    fine = jax.lax.cond(
        jnp.any(doubtful), lambda: resolve(x.raw, y.raw, doubtful, kept, put), lambda: kept
    )
    return jnp.where(doubtful, fine + (coarse - jax.lax.stop_gradient(coarse)), squares)


def block_rows(n: int, columns: int, block: int, devices: int = 1) -> int:
    """Rows per block so that rows x `columns` is about `block`, blocks being of equal size.

    **Arguments:** `n`: rows in all; `columns`: entries per row; `block`: entries to hold at a time;
    `devices`: which share the blocks evenly.
    """
    positive("block", block)
    rows = min(n, max(1, block // columns))
    blocks = -(-n // rows)
    return -(-n // (blocks + -blocks % devices))


def in_blocks(rows_of: Any, rows: int, devices: int = 1) -> Any:
    """An array as (blocks, rows, ...), padded with zeros; a [`Cloud`][] likewise.

    `devices` divide the number of blocks.
    """
    size = jax.tree.leaves(rows_of)[0].shape[0]
    count = -(-size // rows)
    count += -count % devices
    if isinstance(rows_of, Cloud):
        rows_of = rows_of.filled(count * rows - size)
        return jax.tree.map(lambda array: in_blocks(array, rows), rows_of)
    padding = [(0, count * rows - size)] + [(0, 0)] * (rows_of.ndim - 1)
    return jnp.pad(rows_of, padding).reshape(count, rows, *rows_of.shape[1:])


def positions(blocks: Any) -> Int[Array, "k b"]:
    """The positions of the rows in [`in_blocks`][], those of padding from n on."""
    count, rows = jax.tree.leaves(blocks)[0].shape[:2]
    return jnp.arange(count * rows).reshape(count, rows)


def map_rows(
    function: Callable[[Any, Int[Array, " b"]], Any],
    x: Float[Array, "n d"] | Cloud,
    columns: int,
    block: int,
    mesh: Mesh | None = None,
) -> Any:
    """`function(rows of x, their positions)` over blocks of rows.

    **Arguments:** `function`: called once per block, see [`over_devices`][]; `x`: (n, d) points;
    `columns`: entries that `function` holds per row; `block`: entries to hold at a time, on each
    device; `mesh`: devices over which the blocks are spread.

    **Returns:** the outputs, with the n rows as the first axis. Padding rows of the last block have
    positions from n on, and their outputs are dropped.
    """
    n, devices = jax.tree.leaves(x)[0].shape[0], devices_in(mesh)
    rows = block_rows(n, columns, block, devices)
    blocks = in_blocks(x, rows, devices)

    def each(function, pairs):
        return jax.lax.map(lambda pair: function(*pair), pairs)

    out = over_devices(mesh, Partial(each, function), (blocks, positions(blocks)))
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


@functools.partial(jax.jit, static_argnames=("k", "block", "mesh"))
def nearest(
    x: Float[Array, "n d"],
    y: Float[Array, "l d"] | None,
    k: int,
    *,
    block: int = BLOCK,
    mesh: Mesh | None = None,
) -> tuple[Float[Array, "n k"], Int[Array, "n k"]]:
    """Distances to the `k` nearest rows of `y`, ascending, and their positions.

    A shortlist comes from matrix products, the distances from differences; where rounding leaves
    the nearest undecided, all candidates are compared by differences. Nothing is checked.

    **Arguments:** `x`: (n, d) points; `y`: (l, d) candidates, or `None` for the other rows of `x`;
    `k`: number of neighbours; `block`: distances held at a time; `mesh`: devices over which the
    rows of `x` are spread.
    """
    alone = y is None
    frame = Frame.of(x) if alone else Frame.of(x, y)
    mine = frame.cloud(x)
    others = mine if alone else frame.cloud(y)
    size = len(others.square)
    available = size - alone
    count = min(k + _SPARE, available)
    # About sqrt(l) groups: as much work in the groups' minima as in the groups that are kept.
    groups = max(count, int(np.sqrt(size)))
    members = -(-size // groups)
    others = others.filled(members * groups - size)
    rounding = 1 + 8 * float(jnp.finfo(mine.raw.dtype).eps)

    def merge(carry, rows, columns, distance, mask):
        distance = jnp.concatenate([carry[0][rows], jnp.where(mask, distance, jnp.inf)], axis=1)
        columns = jnp.concatenate([carry[1][rows], columns.astype(carry[1].dtype)], axis=1)
        best, order = jax.lax.top_k(-distance, k)
        columns = jnp.take_along_axis(columns, order, axis=1)
        return carry[0].at[rows].set(-best), carry[1].at[rows].set(columns)

    def of_block(others, unit, rows, position):
        fixed = jax.lax.stop_gradient(rows)
        least, _ = bounds(fixed, jax.lax.stop_gradient(others))
        if alone:
            own = position[:, None] == jnp.arange(least.shape[1])[None, :]
            least = jnp.where(own, jnp.inf, least)
        smallest, chosen = _smallest(least.reshape(-1, members, groups), count)
        distance = lengths(fixed.raw[:, None, :] - others.raw[chosen])
        distance, order = jax.lax.top_k(-distance, k)
        chosen = shortlist = jnp.take_along_axis(chosen, order, axis=1)
        if count < available:
            # A point left out is at least as far away as `smallest`.
            reach = -distance[:, -1]
            within = reach * reach * rounding
            doubtful = (smallest[:, -1] < within) & (reach > 0) & jnp.isfinite(fixed.square)

            def again():
                undecided = doubtful[:, None] & (least < within[:, None])
                start = jnp.full(shortlist.shape, jnp.inf, least.dtype), shortlist
                found = resolve(fixed.raw, others.raw, undecided, start, merge)[1]
                return jnp.where(doubtful[:, None], found, shortlist)

            chosen = jax.lax.cond(jnp.any(doubtful), again, lambda: shortlist)
        return unit * lengths(rows.raw[:, None, :] - others.raw[chosen]), chosen

    each = Partial(of_block, others, frame.unit)
    return map_rows(each, mine, members * groups, block, mesh)
