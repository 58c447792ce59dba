"""The Fréchet distance between the Gaussian fits of two populations (section 3.4, FPD)."""

import math

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap
from jaxtyping import Array, Float

from ..solvers.boundary import Numbers
from ..solvers.distances import populations
from ..solvers.low_rank import orthonormal_factors
from ..solvers.precision import full_precision
from ..solvers.sums import largest_size, sum_of_squares
from ..solvers.units import power_of_two


# On a CPU, batched factorisations share a thread pool with other work and can deadlock (jaxlib
# 0.10.2, two threads): under `vmap` these run one after the other.
@sequential_vmap
def _factors(x: Float[Array, "n d"]) -> tuple[Float[Array, "n d"], Float[Array, "d d"]]:
    return orthonormal_factors(x)


@sequential_vmap
def closest_rotation(x: Float[Array, "r r"]) -> Float[Array, "r r"]:
    """The orthogonal matrix U with the largest ⟨U, x⟩."""
    left, _, right = jnp.linalg.svd(x)
    return left @ right


def psd_root(x: Float[Array, "n d"]) -> Float[Array, "r d"]:
    """R with RᵀR the covariance of `x` (ddof = 1), r = min(n, d); differentiable at any rank.

    The rotation is held fixed: turning R does not change RᵀR.
    """
    return _mean_and_root(x, largest_size(x))[1]


def _mean_and_root(
    x: Float[Array, "n d"], size: Float[Array, ""]
) -> tuple[Float[Array, " d"], Float[Array, "r d"]]:
    """The mean of `x` less its first row, and [`psd_root`][], from the largest entry."""
    (n, d), unit = x.shape, power_of_two(size)
    # Rounding is least near the points.
    about = (x - jax.lax.stop_gradient(x[0])[None, :]) / unit
    mean = jnp.mean(about, axis=0)
    deviations = about - mean[None, :]
    root = deviations if n <= d else _root(deviations)
    return mean * unit, root * (unit / math.sqrt(n - 1))


@jax.custom_jvp
def _root(x: Float[Array, "n d"]) -> Float[Array, "d d"]:
    """R = Qᵀ`x`, Q being an orthonormal basis of the columns of `x`, which is held fixed."""
    return _factors(x)[1]


@_root.defjvp
@full_precision
def _root_jvp(primals, tangents):
    basis, root = _factors(jax.lax.stop_gradient(primals[0]))
    return root, basis.T @ tangents[0]


@full_precision
def frechet_distance(x: Numbers, y: Numbers) -> Float[Array, ""]:
    """|μx - μy|² + tr(Σx + Σy - 2 (Σx Σy)^½), squared as in FID; covariances with ddof = 1.

    With Σx = RxᵀRx and Σy = RyᵀRy this is |μx - μy|² + |Rx - U Ry|² for the rotation U that brings
    the two closest, from the singular vectors of Rx Ryᵀ. Unlike with square roots of eigenvalues of
    Σx Σy, nothing needs clipping: the value is never negative, keeps its digits where the
    populations are alike, and allows rank-deficient covariances (users of K prototypes span K - 1
    dimensions at most). With fewer users than dimensions, the matrices have the size of the number
    of users. In squared units of the embedding: `c x`, `c y` have c² times the
    distance. Symmetric, and invariant to a common rotation and translation.

    **Arguments:** `x`, `y`: (n, d) and (l, d) points.

    The derivative holds U fixed (Danskin); it is valid wherever the distance is differentiable.

    **Raises:** `ValueError` for fewer than two points in either, unequal widths, or NaN.

    **Example:**

        >>> from syndigits_jax.fidelity import frechet_distance
        >>> x = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
        >>> print(frechet_distance(x, [[a + 3.0, b + 4.0] for a, b in x]).round(2))  # a shift by 5
        25.0
    """
    x, y = populations(x, y, 2)
    return _distance(x, y)


@jax.jit
def _distance(x: Float[Array, "n d"], y: Float[Array, "l d"]) -> Float[Array, ""]:
    sizes = largest_size(x), largest_size(y)
    size = jnp.maximum(*sizes)
    unit = power_of_two(size)
    (x_mean, x_root), (y_mean, y_root) = map(_mean_and_root, (x, y), sizes)
    shift = (jax.lax.stop_gradient(x[0] - y[0]) + (x_mean - y_mean)) / unit
    x_root, y_root = x_root / unit, y_root / unit
    rank = max(x_root.shape[0], y_root.shape[0])
    x_root, y_root = (jnp.pad(r, ((0, rank - len(r)), (0, 0))) for r in (x_root, y_root))
    rotation = jax.lax.stop_gradient(closest_rotation(jax.lax.stop_gradient(x_root @ y_root.T)))
    value = jnp.dot(shift, shift) + sum_of_squares(x_root - rotation @ y_root)
    return jnp.where(jnp.isfinite(size), value * unit * unit, jnp.nan)
