"""Precision, recall, density and coverage of one population by another.

Naeem, Oh, Uh, Choi and Yoo (2020); precision and recall are those of Kynkäänniemi et al. (2019).
Every point carries a ball that reaches to its k-th nearest neighbour in its own population; points
on the surface are outside. x are the real users, y the synthetic ones.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .distances import (
    BLOCK,
    Points,
    block_rows,
    centred,
    finite_or_nan,
    in_blocks,
    nearest,
    population,
    populations,
    positive,
    square_norms,
    squared_distances,
)


class PRDC(eqx.Module):
    """The four numbers, as fractions; density alone may exceed 1.

    **Arguments:**

    - `precision`: synthetic points inside at least one real ball.
    - `recall`: real points inside at least one synthetic ball.
    - `density`: how many real balls hold a synthetic point, on average, over k.
    - `coverage`: real balls that hold at least one synthetic point.
    """

    precision: Float[Array, "*batch"]
    recall: Float[Array, "*batch"]
    density: Float[Array, "*batch"]
    coverage: Float[Array, "*batch"]


def neighbour_radius(x: Float[Points, "n d"], k: int = 5, *, block: int = BLOCK) -> Array:
    """(n,) distance from every point to its `k`-th nearest other point.

    `block`: distances held in memory at a time; among hundreds of thousands of points a larger one,
    such as `1 << 24`, is quicker.

    **Raises:** `ValueError` for fewer than k + 1 points, NaN, or k < 1.
    """
    positive("k", k)
    x = population(x, "x", k + 1)
    return nearest(x, None, k, block=block)[0][:, -1]


def _inside(x: Float[Array, "n d"], radius: Float[Array, " n"]) -> Float[Array, " n"]:
    """The squared distance below which a point counts as inside the ball of `x`.

    Less than the squared radius by the rounding of squared distances, so that a point on the
    surface (the k-th neighbour itself, in a population compared with its own copy) stays outside.
    """
    norm = jnp.sqrt(square_norms(x))
    slack = 4 * float(jnp.finfo(x.dtype).eps) * (norm**2 + (norm + radius) ** 2)
    return radius**2 - slack


def prdc(
    x: Float[Points, "n d"],
    y: Float[Points, "l d"],
    k: int = 5,
    *,
    radius: Float[Points, "..."] | None = None,
    block: int = BLOCK,
) -> PRDC:
    """[`PRDC`][] of synthetic points `y` for real points `x`; sizes may differ.

    Memory is bounded by `block`, the distances held at a time, beside the points themselves. The
    same as the `prdc` package, save that a surface is a few `eps` thick (see the package's
    `distances`).

    **Arguments:**

    - `k`: neighbours that define a ball; static.
    - `radius`: (n,) radii of the real balls where known ([`neighbour_radius`][]); so are radii
      within a larger population, of which `x` may be a part.

    **Raises:** `ValueError` for fewer than k + 1 points in a population whose radii are needed,
    unequal widths, NaN, or k < 1.
    """
    positive("k", k)
    x, y = populations(x, y)
    population(y, "y", k + 1)
    own = nearest(y, None, k, block=block)[0][:, -1]
    balls = _radius(x, radius, k, block)
    counts = _count(x, y, balls, own, block)
    precise, recalled, covered, density = (finite_or_nan(c, x, y, balls) for c in counts)
    return PRDC(precise, recalled, density / k, covered)


def coverage(
    x: Float[Points, "n d"],
    y: Float[Points, "l d"],
    k: int = 5,
    *,
    radius: Float[Points, "..."] | None = None,
    block: int = BLOCK,
) -> Float[Array, ""]:
    """The coverage of [`prdc`][] alone; a single synthetic point is enough.

    With `radius` from all N real users this is held-in coverage (section 5.3), to be read beside
    [`expected_coverage`][].
    """
    positive("k", k)
    x, y = populations(x, y)
    balls = _radius(x, radius, k, block)
    return finite_or_nan(_count(x, y, balls, None, block)[2], x, y, balls)


def expected_coverage(n: int, count: int, k: int = 5) -> float:
    """What `count` fresh users cover of `n` real ones, in expectation, if the two are alike.

    1 - Π (n - i) / (n + count - i), i = 1 .. k, whatever the distribution, ties aside (Naeem et
    al., 2020, Lemma 2): 0.969 for 500 of 500 and k = 5. Close to 1 - (1 - k/n)^count for n far
    above `count`.

    **Raises:** `ValueError` for n ≤ k, or a count or k below 1.
    """
    positive("k", k)
    positive("n", n, k + 1)
    positive("count", count)
    missed = 1.0
    for i in range(1, k + 1):
        missed *= (n - i) / (n + count - i)
    return 1 - missed


def _radius(x, radius, k, block) -> Float[Array, " n"]:
    if radius is None:
        population(x, "x", k + 1)
        return nearest(x, None, k, block=block)[0][:, -1]
    radius = jnp.asarray(radius, x.dtype)
    if radius.shape != x.shape[:1]:
        raise ValueError(
            f"`radius` must have shape {x.shape[:1]}, one per row of `x`, got {radius.shape}"
        )
    return radius


def _count(x, y, balls, own, block) -> tuple[Array, Array, Array, Array]:
    """Fractions precise, recalled and covered, and balls per synthetic point; without the synthetic
    radii `own` the first two are not computed."""
    x, y = centred(x, y)
    n, size = x.shape[0], y.shape[0]
    square = square_norms(y)
    reach = None if own is None else _inside(y, own)
    rows = block_rows(n, size, block)
    # Rows that fill up the last block have a limit of 0: nothing is inside.
    blocks = in_blocks(x, rows), in_blocks(_inside(x, balls), rows)

    def of_block(precise, block_of):
        points, limit = block_of
        squares = squared_distances(points, y, square)
        inside = squares < limit[:, None]
        held = jnp.sum(inside, axis=1, dtype=jnp.int32)
        if reach is None:
            return precise, (held, held > 0)
        recalled = jnp.any(squares < reach[None, :], axis=1)
        return precise | jnp.any(inside, axis=0), (held, recalled)

    precise, kept = jax.lax.scan(of_block, jnp.zeros(size, bool), blocks)
    held, recalled = (a.reshape(-1)[:n] for a in kept)

    def share(flags, of):
        return jnp.sum(flags, dtype=x.dtype) / of

    density = jnp.sum(held.astype(x.dtype) / size)
    return share(precise, size), share(recalled, n), share(held > 0, n), density
