"""Maximum mean discrepancy with a Gaussian kernel, and its permutation test.

Gretton, Borgwardt, Rasch, Schölkopf and Smola (2012). Kernel values are computed a block at a time
and never stored, so that populations of 50,000 take the memory of one block.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.tree_util import Partial
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ..inference.resampling import PermutationResult, permutation_p_value
from ..solvers.boundary import Numbers, as_float, concrete
from ..solvers.devices import as_mesh, devices_in, everywhere, over_devices
from ..solvers.distances import (
    BLOCK,
    Cloud,
    Frame,
    block_rows,
    finite_or_nan,
    in_blocks,
    map_rows,
    population,
    populations,
    positions,
    positive,
    squared_distances,
)
from ..solvers.keys import PRNGKey
from ..solvers.precision import full_precision
from ..solvers.units import from_bits, size_bits

_TYPICAL = 0.6065306597126334  # the kernel at the median distance, e^(-1/2)


def median_distance(
    x: Numbers, *, max_points: int = 2000, key: PRNGKey | None = None
) -> Float[Array, ""]:
    """Median distance between two different rows of `x`: the usual bandwidth σ.

    Above `max_points` rows, that many are used: drawn with `key` if it is given, otherwise evenly
    spaced, so that two stacked populations are represented by size. No derivative passes through.
    In the units of `x`, (n, d); invariant to translation and rotation.

    **Raises:** `ValueError` for fewer than two rows, NaN, or `max_points` below two.

    **Example:**

        >>> from syndigits_jax.fidelity import median_distance
        >>> print(median_distance([[0.0], [1.0], [3.0]]))
        2.0
    """
    x = population(x, "x", 2)
    positive("max_points", max_points, 2)
    n = x.shape[0]
    if n > max_points:
        if key is None:
            chosen = jnp.asarray(np.linspace(0, n - 1, max_points).round().astype(int))
        else:
            chosen = jax.random.choice(key, n, (max_points,), replace=False)
        x = x[chosen]
    return _median_distance(jax.lax.stop_gradient(x))


@jax.jit
def _median_distance(x: Float[Array, "n d"]) -> Float[Array, ""]:
    frame = Frame.of(x)
    cloud = frame.cloud(x)
    squares = squared_distances(cloud, cloud)
    median = _median_root(squares)
    # Only distances near the median matter: where rounding affects them they are recomputed.
    exact = squared_distances(cloud, cloud, median)
    same = jnp.all(exact == squares)
    median = jax.lax.cond(same, lambda: median, lambda: _median_root(exact))
    return finite_or_nan(frame.unit * median, x)


def _median_root(squares: Float[Array, "n n"]) -> Float[Array, ""]:
    """Median square root of the entries off the diagonal of a symmetric matrix.

    By bisection on the bits of the numbers, whose order is that of the numbers if none is negative:
    31 passes over memory, far quicker than sorting.
    """
    n = squares.shape[0]
    bits = size_bits(jnp.where(jnp.eye(n, dtype=bool), jnp.inf, squares))
    integer = bits.dtype
    # Every pair occurs twice, so these are the two middle numbers, or the middle one twice.
    pairs = n * (n - 1) // 2
    lower, upper = 2 * ((pairs - 1) // 2), 2 * (pairs // 2)

    def halve(_, interval):
        low, high = interval
        middle = low + (high - low) // 2
        enough = jnp.sum(bits <= middle, dtype=jnp.int32) > lower
        return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

    start = jnp.zeros((), integer), jnp.asarray(jnp.iinfo(integer).max, integer)
    first, _ = jax.lax.fori_loop(0, 8 * integer.itemsize - 1, halve, start)
    beyond = jnp.min(jnp.where(bits > first, bits, jnp.iinfo(integer).max))
    second = jnp.where(jnp.sum(bits <= first, dtype=jnp.int32) > upper, first, beyond)
    return jnp.mean(jnp.sqrt(from_bits(jnp.stack([first, second]))))


def gaussian_kernel(squares: Float[Array, "n l"], sigma: Float[Array, ""]) -> Float[Array, "n l"]:
    """exp(-d² / 2σ²) of squared distances; at σ = 0 its limit, 1 for coincident points only."""
    width = jnp.maximum(2 * sigma**2, jnp.finfo(squares.dtype).tiny)
    return jnp.exp(-squares / width)


def bandwidth(sigma: Numbers | None, x: Array, y: Array) -> Float[Array, ""]:
    """σ as given, or the median distance of both. **Raises:** `ValueError` unless positive."""
    if sigma is None:
        return median_distance(jnp.concatenate([x, y]))
    width = as_float("sigma", sigma)
    if width.ndim != 0:
        raise ValueError(f"`sigma` must be one number, got shape {width.shape}")
    known = concrete(width)
    if known is not None and not (known > 0 and np.isfinite(known)):
        raise ValueError(f"`sigma` must be positive and finite, got {sigma}")
    return width.astype(x.dtype)


def _mean(values: Float[Array, " n"]) -> Float[Array, ""]:
    """Mean of numbers that differ little, without the rounding of a large sum."""
    return values[0] + jnp.mean(values - values[0])


@functools.partial(jax.jit, static_argnames=("block", "mesh"))
def kernel_row_means(
    x: Cloud, y: Cloud, sigma: Float[Array, ""], block: int, mesh: Mesh | None = None
) -> Float[Array, " n"]:
    """Mean over `y` of the kernel, per row of `x`.

    **Arguments:** `x`, `y`: populations in one frame; `sigma`: σ in its units; `block`: distances
    held in memory at a time; `mesh`: devices over which the rows of `x` are spread.
    """

    def of_block(y, sigma, rows, _):
        return jnp.mean(gaussian_kernel(squared_distances(rows, y, sigma), sigma), axis=1)

    return map_rows(Partial(of_block, y, sigma), x, len(y.square), block, mesh)


def mmd2_unbiased(
    x: Numbers,
    y: Numbers,
    sigma: ArrayLike | None = None,
    *,
    block: int = BLOCK,
    mesh: Mesh | None = None,
) -> Float[Array, ""]:
    """The unbiased squared MMD: mean kernel within x, plus that within y, less twice that between.

    Pairs of a point with itself are left out, so the value is negative about as often as positive
    where the populations are alike, and is not zero for identical sets. k = exp(-d² / 2σ²).
    A pure number: the same for `c x`, `c y` and `c σ`. Symmetric, and invariant to a common
    rotation and translation.

    **Arguments:**

    - `x`, `y`: (n, d) and (l, d) points.
    - `sigma`: σ, in their units; by default the [`median_distance`][] of both populations stacked.
      To compare several populations with one, use the same σ for all.
    - `block`: distances held in memory at a time.
    - `mesh`: devices over whose first axis the rows of the kernel matrices are spread, `block`
      distances at a time on each. Every device has a copy of the points.

    **Raises:** `ValueError` for fewer than two points in either, unequal widths, NaN, or a σ that
    is not positive.

    **Example:**

        >>> from syndigits_jax.fidelity import mmd2_unbiased
        >>> real, near, far = [[0.0], [1.0], [2.0]], [[0.5], [1.5], [2.0]], [[8.0], [9.0], [9.5]]
        >>> print(mmd2_unbiased(real, near, sigma=1.0) < 0 < mmd2_unbiased(real, far, sigma=1.0))
        True
    """
    mesh = as_mesh(mesh)
    x, y = everywhere(mesh, populations(x, y, 2))
    frame = Frame.of(x, y)
    sigma = bandwidth(sigma, x, y) / frame.unit
    to_x, to_y = frame.cloud(x), frame.cloud(y)

    def within(z):
        # The kernel of a point with itself is 1; subtracted here, in units of a mean.
        size = len(z.square)
        return (size * _mean(kernel_row_means(z, z, sigma, block, mesh)) - 1) / (size - 1)

    between = _mean(kernel_row_means(to_x, to_y, sigma, block, mesh))
    return finite_or_nan(within(to_x) - between + (within(to_y) - between), x, y)


@full_precision
def mmd_permutation_test(
    key: PRNGKey,
    x: Numbers,
    y: Numbers,
    sigma: ArrayLike | None = None,
    *,
    permutations: int = 500,
    block: int = BLOCK,
    mesh: Mesh | None = None,
) -> PermutationResult:
    """[`mmd2_unbiased`][] and its p-value, (1 + #{permuted ≥ observed}) / (B + 1).

    All permutations share one pass over the kernel matrix H of the stacked populations: with a the
    0/1 indicator of the points labelled x, the sums within and between follow from aᵀHa and aᵀH1.
    Rows of H are computed in blocks and not stored; (n + l) x B indicators are. The median of the
    stacked sample does not change under permutation, so the p-value is exact with the default σ.

    **Arguments:** `key`: of the permutations; `x`, `y`, `sigma`, `block`, `mesh`: as in
    [`mmd2_unbiased`][]; `permutations`: B.

    **Raises:** `ValueError` as [`mmd2_unbiased`][], and for fewer than one permutation.

    **Example:**

        >>> import jax
        >>> import numpy as np
        >>> from syndigits_jax.fidelity import mmd_permutation_test
        >>> x = np.arange(8.0)[:, None]
        >>> result = mmd_permutation_test(key=jax.random.key(0), x=x, y=x + 20, permutations=99)
        >>> print(result.statistic > 0, result.p_value < 0.05)
        True True
    """
    positive("permutations", permutations)
    mesh = as_mesh(mesh)
    x, y = everywhere(mesh, populations(x, y, 2))
    key = everywhere(mesh, key)
    value = _permuted(key, x, y, bandwidth(sigma, x, y), permutations, block, mesh)
    observed, permuted = finite_or_nan(value[0], x, y), value[1:-1]
    p_value = permutation_p_value(observed, permuted)
    return PermutationResult(observed, finite_or_nan(p_value, x, y))


@functools.partial(jax.jit, static_argnames=("permutations", "block", "mesh"))
def _permuted(
    key: PRNGKey,
    x: Float[Array, "n d"],
    y: Float[Array, "l d"],
    sigma: Float[Array, ""],
    permutations: int,
    block: int,
    mesh: Mesh | None,
) -> Float[Array, " b"]:
    """The statistic as observed, of every permutation, and a last entry that means nothing."""
    n, m = x.shape[0], y.shape[0]
    frame = Frame.of(x, y)
    sigma = sigma / frame.unit
    z = frame.cloud(jnp.concatenate([x, y]))
    dtype = x.dtype
    label = (jnp.arange(n + m) < n).astype(dtype)
    keys = jax.random.split(key, permutations)
    shuffled = jax.vmap(lambda k: jax.random.permutation(k, label))(keys)
    # Column 0 is the observed labelling; the last column is all ones, and its product H1.
    columns = jnp.concatenate([label[None, :], shuffled, jnp.ones((1, n + m), dtype)]).T
    devices = devices_in(mesh)
    rows = block_rows(n + m, n + m, block, devices)

    def of_block(z, sigma, columns, total, block_of):
        points, where, mine = block_of
        kernel = gaussian_kernel(squared_distances(points, z, sigma), sigma)
        # A constant subtracted from every pair does not change the unbiased MMD: sums stay small.
        own = where[:, None] == jnp.arange(n + m)[None, :]
        product = jnp.where(own, 0, kernel - _TYPICAL) @ columns
        return total + jnp.sum(mine * product, axis=0), jnp.sum(mine * product[:, -1:], axis=0)

    def each(z, sigma, columns, blocks):
        add = functools.partial(of_block, z, sigma, columns)
        within, linear = jax.lax.scan(add, jnp.zeros(columns.shape[1], dtype), blocks)
        return within[None], linear

    mine = in_blocks(z, rows, devices)
    blocks = mine, positions(mine), in_blocks(columns, rows, devices)
    found = over_devices(mesh, Partial(each, z, sigma, columns), blocks)
    within, linear = (jnp.sum(part, axis=0) for part in found)
    everything = within[-1]
    between = linear - within
    rest = everything - 2 * linear + within
    return within / (n * (n - 1)) - 2 * between / (n * m) + rest / (m * (m - 1))
