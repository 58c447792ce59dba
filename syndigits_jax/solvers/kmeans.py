"""K-means: Lloyd's algorithm from k-means++ starts."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .boundary import Numbers, as_float
from .checks import check_steps
from .distances import nearest, square_norms
from .precision import full_precision
from .solution import Solution, status_code


class Clusters(eqx.Module):
    """k clusters of n points.

    **Arguments:** `centres`: (k, d); `labels`: (n,) the cluster of each point, 0 to k - 1.
    """

    centres: Float[Array, "k d"]
    labels: Int[Array, " n"]


@full_precision
def kmeans(
    key: PRNGKeyArray, x: Numbers, k: int, *, max_steps: int | Int[Array, ""] = 100
) -> Solution[Clusters]:
    """Clusters of the rows of `x` by Lloyd's algorithm (1982) from k-means++ starts.

    Starts are rows drawn one by one with a probability proportional to the squared distance from
    those drawn before (Arthur and Vassilvitskii, 2007). A cluster that runs empty moves to the row
    farthest from its centre. Clusters do not depend on the units of `x`.

    **Arguments:** `key`: of the starts; `x`: (n, d) points, none missing; `k`: number of clusters,
    static; `max_steps`: most steps, may be traced.

    **Returns:** a `Solution` with [`Clusters`][], `CONVERGED` once no point changes its cluster: a
    local optimum. `change` is the share of points that changed it in the last step, and
    `optimality` NaN, as the distance from the best clusters is not known.

    **Raises:** `ValueError` if `x` is not a matrix, unless 1 ≤ `k` ≤ n, or for a `max_steps` below
    one.
    """
    x = as_float("x", x)
    if x.ndim != 2 or x.shape[1] == 0:
        raise ValueError(f"`x` must be points in rows, (n, d), got shape {x.shape}")
    if not 1 <= k <= x.shape[0]:
        raise ValueError(f"`k` must be from 1 to the {x.shape[0]} rows, got {k}")
    check_steps(max_steps)
    return _lloyd(key, x, max_steps, k)


@functools.partial(jax.jit, static_argnames="k")
def _lloyd(key: PRNGKeyArray, x: Float[Array, "n d"], max_steps, k: int) -> Solution[Clusters]:
    """[`kmeans`][] from checked arguments."""

    def step(state):
        clusters, _, steps = state
        new = _improve(x, clusters.centres)
        changed = jnp.mean((new.labels != clusters.labels).astype(x.dtype))
        return new, changed, steps + 1

    def unfinished(state):
        _, changed, steps = state
        return (changed > 0) & (steps < max_steps)

    nowhere = jnp.full(x.shape[:1], -1, jnp.int32)
    state = (Clusters(_plus_plus(key, x, k), nowhere), jnp.ones((), x.dtype), jnp.int32(0))
    clusters, changed, steps = jax.lax.while_loop(unfinished, step, state)
    status = status_code(changed == 0, jnp.all(jnp.isfinite(clusters.centres)))
    return Solution(clusters, status, steps, jnp.full_like(changed, jnp.nan), changed)


def _plus_plus(key: PRNGKeyArray, x: Float[Array, "n d"], k: int) -> Float[Array, "k d"]:
    """The starts."""

    def draw(i, carry):
        centres, far = carry
        # If all rows are centres already, the draw is uniform.
        weight = jnp.where(jnp.any(far > 0), far, jnp.ones_like(far))
        row = jax.random.categorical(jax.random.fold_in(key, i), jnp.log(weight))
        centres = centres.at[i].set(x[row])
        return centres, jnp.minimum(far, square_norms(x - x[row][None, :]))

    centres = jnp.zeros((k, x.shape[1]), x.dtype)
    return jax.lax.fori_loop(0, k, draw, (centres, jnp.full(x.shape[:1], jnp.inf, x.dtype)))[0]


def _improve(x: Float[Array, "n d"], centres: Float[Array, "k d"]) -> Clusters:
    """The rows closest to each centre, and their means."""
    k = centres.shape[0]
    distance, labels = (found[:, 0] for found in nearest(x, centres, 1))
    counts = jnp.zeros((k,), x.dtype).at[labels].add(1)
    sums = jnp.zeros_like(centres).at[labels].add(x)
    means = sums / jnp.maximum(counts, 1)[:, None]
    farthest = jnp.argsort(-distance)
    empty = counts == 0
    spare = farthest[jnp.cumsum(empty.astype(jnp.int32)) - 1]
    return Clusters(jnp.where(empty[:, None], x[spare], means), labels.astype(jnp.int32))
