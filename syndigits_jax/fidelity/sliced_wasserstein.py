"""The sliced Wasserstein distance: the mean distance of random one-dimensional shadows."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..inference.resampling import PRNGKey
from ..solvers._precision import full_precision
from .distances import BLOCK, Points, finite_or_nan, populations, positive


def random_directions(key: PRNGKey, d: int, count: int, dtype=jnp.float32) -> Float[Array, "c d"]:
    """`count` unit vectors, uniform on the sphere."""
    draws = jax.random.normal(key, (count, d), dtype)
    return draws / jnp.linalg.norm(draws, axis=1, keepdims=True)


def wasserstein_1d(u: Float[Array, " n"], v: Float[Array, " l"]) -> Float[Array, ""]:
    """W1 of two samples of numbers, ∫ |F⁻¹ - G⁻¹| = ∫ |F - G|; sizes may differ."""
    n, m = u.shape[0], v.shape[0]
    if n == m:
        return jnp.mean(jnp.abs(jnp.sort(u) - jnp.sort(v)))
    values = jnp.concatenate([u, v])
    order = jnp.argsort(values)
    # F - G in units of 1 / (n m), so that it ends at 0 exactly.
    jumps = jnp.concatenate([jnp.full(n, m, jnp.int32), jnp.full(m, -n, jnp.int32)])
    difference = jnp.abs(jnp.cumsum(jumps[order])[:-1]).astype(values.dtype) / (n * m)
    return jnp.sum(difference * jnp.diff(values[order]))


@full_precision
def sliced_wasserstein(
    key: PRNGKey,
    x: Float[Points, "n d"],
    y: Float[Points, "l d"],
    *,
    projections: int = 500,
    directions: Float[Points, "..."] | None = None,
    block: int = BLOCK,
) -> Float[Array, ""]:
    """W1 between projections on random unit vectors, the plain mean over `projections` of them.

    In the units of the embedding: no root is taken and nothing is divided by the dimension
    (Bonneel et al., 2015; section 3.4). In d dimensions a shift by δ counts as about
    |δ| √(2 / πd). Same `key`, same directions: give populations to be compared the same.

    **Arguments:**

    - `directions`: unit vectors to use in place of random ones; `key` is then not used.
    - `block`: projected values held in memory at a time.

    **Raises:** `ValueError` for an empty population, unequal widths, NaN, or no projection.
    """
    positive("projections", projections)
    x, y = populations(x, y)
    d = x.shape[1]
    if directions is None:
        directions = random_directions(key, d, projections, x.dtype)
    directions = jnp.asarray(directions, x.dtype)
    if directions.ndim != 2 or directions.shape[1] != d or directions.shape[0] == 0:
        raise ValueError(
            f"`directions` must be (count, {d}), unit vectors in rows, got {directions.shape}"
        )
    batch = min(directions.shape[0], max(1, block // (x.shape[0] + y.shape[0])))

    def shadow(direction):
        return wasserstein_1d(x @ direction, y @ direction)

    distances = jax.lax.map(shadow, directions, batch_size=batch)
    return finite_or_nan(jnp.mean(distances), x, y)
