"""The sliced Wasserstein distance: the mean distance of random one-dimensional projections."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..solvers.boundary import Numbers, as_float
from ..solvers.distances import BLOCK, Frame, finite_or_nan, map_rows, populations, positive
from ..solvers.keys import PRNGKey
from ..solvers.precision import full_precision
from ..solvers.sorting import ascending

_LARGEST_NETWORK = 4096


def random_directions(key: PRNGKey, d: int, count: int, dtype=jnp.float32) -> Float[Array, "c d"]:
    """Random unit vectors, uniform on the sphere.

    **Arguments:** `key`: of the draws; `d`: dimension; `count`: number of vectors; `dtype`: theirs.
    """
    draws = jax.random.normal(key, (count, d), dtype)
    return draws / jnp.linalg.norm(draws, axis=1, keepdims=True)


def _network(values: Float[Array, "n c"]) -> Float[Array, "n c"]:
    """Columns sorted by Batcher's bitonic network: comparisons of whole rows, all columns at once.

    More comparisons than a sort of each column, but in vector instructions: 30 times faster than
    `jnp.sort` for 500 x 500 numbers on a CPU.
    """
    n, c = values.shape
    size = 1 << (n - 1).bit_length()
    values = jnp.pad(values, ((0, size - n), (0, 0)), constant_values=jnp.inf)
    run = 2
    while run <= size:
        # Two sorted halves, the second one read backwards, make a bitonic sequence ...
        pairs = values.reshape(-1, 2, run // 2, c)
        low, high = pairs[:, 0], pairs[:, 1, ::-1]
        merged = jnp.minimum(low, high), jnp.maximum(low, high)[:, ::-1]
        values = jnp.stack(merged, axis=1).reshape(size, c)
        step = run // 4
        while step >= 1:  # ... and comparisons at half the distance each time sort it.
            low, high = jnp.moveaxis(values.reshape(-1, 2, step, c), 1, 0)
            merged = jnp.minimum(low, high), jnp.maximum(low, high)
            values = jnp.stack(merged, axis=1).reshape(size, c)
            step //= 2
        run *= 2
    return values[:n]


def _sorted(values: Float[Array, "n c"]) -> Float[Array, "n c"]:
    return _network(values) if values.shape[0] <= _LARGEST_NETWORK else ascending(values.T).T


def _wasserstein_columns(u: Float[Array, "n c"], v: Float[Array, "l c"]) -> Float[Array, " c"]:
    """W1 between equal columns of `u` and `v`."""
    n, m = u.shape[0], v.shape[0]
    u, v = _sorted(u), _sorted(v)
    if n == m:
        return jnp.mean(jnp.abs(u - v), axis=0)
    # Both quantile functions are constant between multiples of 1/n and 1/m: in units of 1/(nm),
    # these are known in advance.
    edges = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    width = jnp.asarray(np.diff(edges) / (n * m), u.dtype)
    return width @ jnp.abs(u[edges[:-1] // m] - v[edges[:-1] // n])


def wasserstein_1d(u: Float[Array, " n"], v: Float[Array, " l"]) -> Float[Array, ""]:
    """W1 of two samples of numbers, ∫ |F⁻¹ - G⁻¹|; sizes may differ.

    **Example:**

        >>> import jax.numpy as jnp
        >>> from syndigits_jax.fidelity.sliced_wasserstein import wasserstein_1d
        >>> print(wasserstein_1d(jnp.asarray([0.0, 1.0]), jnp.asarray([2.0, 3.0])))
        2.0
    """
    return _wasserstein_columns(u[:, None], v[:, None])[0]


@full_precision
def sliced_wasserstein(
    key: PRNGKey,
    x: Numbers,
    y: Numbers,
    *,
    projections: int = 500,
    directions: Numbers | None = None,
    block: int = BLOCK,
) -> Float[Array, ""]:
    """W1 between projections on random unit vectors, the plain mean over `projections` of them.

    In the units of the embedding (`c x`, `c y` have c times the distance): no root is taken and
    nothing is divided by the dimension (Bonneel et al., 2015; section 3.4). Symmetric, and
    invariant to a common translation; to a rotation only on average, or with `directions` rotated
    as well. In d dimensions a shift by δ counts as about |δ| √(2 / πd). The same `key` gives the
    same directions: use one key for all populations that are compared.

    **Arguments:**

    - `key`: of the directions.
    - `x`, `y`: (n, d) and (l, d) points.
    - `projections`: number of random directions.
    - `directions`: (count, d) unit vectors to use in place of random ones; `key` is then not used.
    - `block`: projected values held in memory at a time.

    **Raises:** `ValueError` for an empty population, unequal widths, NaN, or no projection.

    **Example:**

        >>> import jax
        >>> from syndigits_jax.fidelity import sliced_wasserstein
        >>> x, y = [[0.0, 0.0], [1.0, 0.0]], [[2.0, 0.0], [3.0, 0.0]]
        >>> along = [[1.0, 0.0], [0.0, 1.0]]  # by default random directions
        >>> print(sliced_wasserstein(key=jax.random.key(0), x=x, y=y, directions=along))
        1.0
    """
    positive("projections", projections)
    x, y = populations(x, y)
    d = x.shape[1]
    if directions is None:
        directions = random_directions(key, d, projections, x.dtype)
    directions = as_float("directions", directions).astype(x.dtype)
    if directions.ndim != 2 or directions.shape[1] != d or directions.shape[0] == 0:
        raise ValueError(
            f"`directions` must be (count, {d}), unit vectors in rows, got {directions.shape}"
        )
    return _mean_distance(x, y, directions, block)


@functools.partial(jax.jit, static_argnames="block")
def _mean_distance(
    x: Float[Array, "n d"], y: Float[Array, "l d"], directions: Float[Array, "c d"], block: int
) -> Float[Array, ""]:
    frame = Frame.of(x, y)
    to_x, to_y = frame.cloud(x).about, frame.cloud(y).about

    def shadows(some, _):
        return _wasserstein_columns(to_x @ some.T, to_y @ some.T)

    distances = map_rows(shadows, directions, x.shape[0] + y.shape[0], block)
    return finite_or_nan(frame.unit * jnp.mean(distances), x, y, directions)
