"""The Fréchet distance between the Gaussian fits of two populations (section 3.4, FPD)."""

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap
from jaxtyping import Array, Float

from ..solvers.boundary import Numbers
from ..solvers.distances import finite_or_nan, populations
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
    deviations = (x - jnp.mean(x, axis=0)[None, :]) / jnp.sqrt(x.shape[0] - 1)
    if x.shape[0] <= x.shape[1]:
        return deviations
    return _root(deviations)


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
    given = x, y
    unit = jax.lax.stop_gradient(power_of_two(jnp.maximum(largest_size(x), largest_size(y))))
    # Nothing depends on a common origin but rounding, which is least near the points.
    origin = jax.lax.stop_gradient(x[0] / unit)
    x, y = (z / unit - origin[None, :] for z in given)
    shift = jnp.mean(x, axis=0) - jnp.mean(y, axis=0)
    x_root, y_root = psd_root(x), psd_root(y)
    rank = max(x_root.shape[0], y_root.shape[0])
    x_root, y_root = (jnp.pad(r, ((0, rank - len(r)), (0, 0))) for r in (x_root, y_root))
    rotation = jax.lax.stop_gradient(closest_rotation(jax.lax.stop_gradient(x_root @ y_root.T)))
    value = jnp.dot(shift, shift) + sum_of_squares(x_root - rotation @ y_root)
    return finite_or_nan(value * unit * unit, *given)
