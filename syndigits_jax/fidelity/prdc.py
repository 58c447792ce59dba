"""Precision, recall, density and coverage of one population by another.

Naeem, Oh, Uh, Choi and Yoo (2020); precision and recall are those of Kynkäänniemi et al. (2019).
Every point carries a ball that reaches to its k-th nearest neighbour in its own population; points
on the surface are outside. x are the real users, y the synthetic ones.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.tree_util import Partial
from jaxtyping import Array, Float

from ..solvers.boundary import Numbers, as_float
from ..solvers.devices import as_mesh, devices_in, everywhere, over_devices
from ..solvers.distances import (
    BLOCK,
    Frame,
    block_rows,
    bounds,
    finite_or_nan,
    in_blocks,
    nearest,
    population,
    populations,
    positive,
)
from ..solvers.exact import resolve


class PRDC(eqx.Module):
    """The four numbers, as fractions; density alone may exceed 1.

    **Arguments:**

    - `precision`: synthetic points inside at least one real ball.
    - `recall`: real points inside at least one synthetic ball.
    - `density`: mean number of real balls that hold a synthetic point, over k.
    - `coverage`: real balls that hold at least one synthetic point.
    """

    precision: Float[Array, "*batch"]
    recall: Float[Array, "*batch"]
    density: Float[Array, "*batch"]
    coverage: Float[Array, "*batch"]


def neighbour_radius(
    x: Numbers, k: int = 5, *, block: int = BLOCK, mesh: Mesh | None = None
) -> Array:
    """(n,) distance from every point to its `k`-th nearest other point.

    `x`: (n, d) points; the distance is in their units.
    `block`: distances held in memory at a time; among hundreds of thousands of points a larger one,
    such as `1 << 24`, is quicker. `mesh`: as in [`prdc`][].

    **Raises:** `ValueError` for fewer than k + 1 points, NaN, or k < 1.

    **Example:**

        >>> from syndigits_jax.fidelity import neighbour_radius
        >>> print(neighbour_radius([[0.0], [1.0], [3.0]], k=1))
        [1. 1. 2.]
    """
    positive("k", k)
    mesh = as_mesh(mesh)
    return _own_radius(everywhere(mesh, population(x, "x", k + 1)), k, block, mesh)


def prdc(
    x: Numbers,
    y: Numbers,
    k: int = 5,
    *,
    radius: Numbers | None = None,
    block: int = BLOCK,
    mesh: Mesh | None = None,
) -> PRDC:
    """[`PRDC`][] of synthetic points `y` for real points `x`; sizes may differ.

    Memory is bounded by `block`, the distances held at a time, beside the points themselves. The
    results are those of the `prdc` package: a point counts as inside if its distance, computed from
    differences, is below the radius by more than the rounding (a few `eps` of the radius). Matrix
    products decide only pairs that are not close to a surface; data with many close pairs, such as
    tight clusters far apart, take longer. Does not depend on units, nor on a common shift or
    rotation.

    **Arguments:**

    - `x`, `y`: (n, d) and (l, d) points.
    - `k`: neighbours that define a ball; static.
    - `radius`: (n,) radii of the real balls if known ([`neighbour_radius`][]), such as radii
      within a larger population, of which `x` may be a part.
    - `block`: distances held in memory at a time.
    - `mesh`: devices over whose first axis the rows of the distance matrices are spread, `block`
      distances at a time on each. Every device has a copy of the points.

    **Raises:** `ValueError` for fewer than k + 1 points in a population whose radii are needed,
    unequal widths, NaN, or k < 1.

    **Example:**

        >>> from syndigits_jax.fidelity import prdc
        >>> real, synthetic = [[0.0], [1.0], [2.0], [3.0]], [[0.2], [0.9], [1.1], [1.3]]
        >>> result = prdc(real, synthetic, k=1)
        >>> print(result.precision, result.recall, result.coverage)
        1.0 0.5 0.75
    """
    positive("k", k)
    mesh = as_mesh(mesh)
    x, y = everywhere(mesh, populations(x, y))
    population(y, "y", k + 1)
    own = _own_radius(y, k, block, mesh)
    balls = _radius(x, radius, k, block, mesh)
    counts = _count(x, y, balls, own, block, mesh)
    precise, recalled, covered, density = (finite_or_nan(c, x, y, balls) for c in counts)
    return PRDC(precise, recalled, density / k, covered)


def coverage(
    x: Numbers,
    y: Numbers,
    k: int = 5,
    *,
    radius: Numbers | None = None,
    block: int = BLOCK,
    mesh: Mesh | None = None,
) -> Float[Array, ""]:
    """The coverage of [`prdc`][] alone; a single synthetic point is enough.

    With `radius` from all N real users this is held-in coverage (section 5.3), to be compared with
    [`expected_coverage`][].

    **Arguments:** `x`, `y`, `k`, `radius`, `block`, `mesh`: as in [`prdc`][].

    **Raises:** `ValueError` as there, except that `y` may have a single point.

    **Example:**

        >>> from syndigits_jax.fidelity import coverage
        >>> print(coverage([[0.0], [1.0], [2.0], [3.0]], [[0.2], [0.9], [1.1], [1.3]], k=1))
        0.75
    """
    positive("k", k)
    mesh = as_mesh(mesh)
    x, y = everywhere(mesh, populations(x, y))
    balls = _radius(x, radius, k, block, mesh)
    return finite_or_nan(_count(x, y, balls, None, block, mesh)[2], x, y, balls)


def expected_coverage(n: int, count: int, k: int = 5) -> float:
    """Expected coverage of `n` real users by `count` fresh users of the same distribution.

    1 - Π (n - i) / (n + count - i), i = 1 .. k, whatever the distribution, ties aside (Naeem et
    al., 2020, Lemma 2): 0.969 for 500 of 500 and k = 5. Close to 1 - (1 - k/n)^count for n far
    above `count`.

    **Raises:** `ValueError` for n ≤ k, or a count or k below 1.

    **Example:**

        >>> from syndigits_jax.fidelity import expected_coverage
        >>> print(round(expected_coverage(500, 500), 3))
        0.969
    """
    positive("k", k)
    positive("n", n, k + 1)
    positive("count", count)
    missed = 1.0
    for i in range(1, k + 1):
        missed *= (n - i) / (n + count - i)
    return 1 - missed


def _own_radius(x, k, block, mesh) -> Float[Array, " n"]:
    return nearest(x, None, k, block=block, mesh=mesh)[0][:, -1]


def _radius(x, radius, k, block, mesh) -> Float[Array, " n"]:
    if radius is None:
        population(x, "x", k + 1)
        return _own_radius(x, k, block, mesh)
    radius = as_float("radius", radius).astype(x.dtype)
    if radius.shape != x.shape[:1]:
        raise ValueError(
            f"`radius` must have shape {x.shape[:1]}, one per row of `x`, got {radius.shape}"
        )
    return everywhere(mesh, radius)


def _inner(radius: Float[Array, " n"], d: int) -> Float[Array, "3 n"]:
    """The distance below which a point is inside, and squares surely below and above its own.

    A point on the surface (the k-th neighbour itself, in a population compared with its own copy)
    stays outside whatever the rounding of its distance.
    """
    eps = float(jnp.finfo(radius.dtype).eps)
    inner = radius * (1 - (2 + d**0.5 / 4) * eps)
    square = inner * inner
    return jnp.stack([inner, square * (1 - 4 * eps), square * (1 + 4 * eps)])


@functools.partial(jax.jit, static_argnames=("block", "mesh"))
def _count(x, y, balls, own, block, mesh) -> tuple[Array, Array, Array, Array]:
    """Fractions precise, recalled and covered, and balls per synthetic point; without the synthetic
    radii `own` the first two are not computed."""
    n, size, d = x.shape[0], y.shape[0], x.shape[1]
    frame = Frame.of(x, y)
    mine, others = jax.lax.stop_gradient((frame.cloud(x), frame.cloud(y)))
    reach = None if own is None else _inner(own / frame.unit, d)[:, None, :]
    devices = devices_in(mesh)
    rows = block_rows(n, size, block, devices)
    limits = _inner(balls / frame.unit, d).T
    blocks = in_blocks(mine, rows, devices), in_blocks(limits, rows, devices)

    of_blocks = Partial(_count_blocks, others, reach)
    precise, held, recalled = over_devices(mesh, of_blocks, blocks)
    precise = jnp.any(precise, axis=0)
    held = held.reshape(-1)[:n]

    def share(flags, of):
        return jnp.sum(flags, dtype=x.dtype) / of

    density = jnp.sum(held.astype(x.dtype) / size)
    recall = share(recalled.reshape(-1)[:n], n)
    return share(precise, size), recall, share(held > 0, n), density


def _count_blocks(others, reach, blocks) -> tuple[Array, Array, Array]:
    """Of blocks of rows: (synthetic points inside any ball (1, l), balls' points, rows recalled).

    **Arguments:** `others`: the synthetic points; `reach`: [`_inner`][] of their radii, or `None`;
    `blocks`: the real points, and [`_inner`][] of theirs.
    """
    size = others.square.shape[0]

    def judged(points, limit):
        """Pairs that are surely inside a ball of `x`, and of `y`, and those that may be either."""
        least, most = bounds(points, others)
        inside = most < limit[1]
        undecided = (least <= limit[2]) & ~inside
        if reach is None:
            return inside, jnp.zeros_like(inside), undecided
        surrounding = most < reach[1]
        return inside, surrounding, undecided | ((least <= reach[2]) & ~surrounding)

    def counts(inside, surrounding):
        held = jnp.sum(inside, axis=1, dtype=jnp.int32)
        return held, jnp.any(surrounding, axis=1)

    def of_block(precise, block_of):
        points, limit = block_of
        limit = limit.T[:, :, None]
        pairs = judged(points, limit)

        def update(carry, rows, columns, distance, mask):
            held, recalled, some = carry
            inside = mask & (distance < limit[0][rows])
            around = mask if reach is None else mask & (distance < reach[0, 0][columns])
            more, also = counts(inside, around)
            held, recalled = held.at[rows].add(more), recalled.at[rows].max(also)
            return held, recalled, some.at[columns].max(inside)

        # The masks are operands of both branches, so that they are computed once: where two
        # evaluations round differently, a pair would be counted twice or not at all.
        def certain(pairs):
            inside, surrounding, _ = pairs
            return *counts(inside, surrounding), jnp.any(inside, axis=0)

        def again(pairs):
            inside, surrounding, undecided = pairs
            carry = certain((inside & ~undecided, surrounding & ~undecided, undecided))
            return resolve(points.raw, others.raw, undecided, carry, update)

        held, recalled, some = jax.lax.cond(jnp.any(pairs[2]), again, certain, pairs)
        return precise | some, (held, recalled)

    precise, of_rows = jax.lax.scan(of_block, jnp.zeros(size, bool), blocks)
    return precise[None], *of_rows
