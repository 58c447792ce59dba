"""Systems (A + penalty) x = b for several penalties from one factorisation of A."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Apply = Callable[[Float[Array, "k m t"]], Float[Array, "k m t"]]


def shifted_inverse(
    matrix: Float[Array, "m m"], penalty: Float[Array, " k"]
) -> tuple[Apply, Bool[Array, " k"]]:
    """`(apply, singular)`: b -> (A + penalty)⁻¹ b for every penalty, and where there is none.

    `matrix` is symmetric and positive semidefinite. One penalty takes a Cholesky factor, several
    share one eigendecomposition. Singular to working precision: a pivot or eigenvalue at most
    m * eps times the largest. Not differentiable: use it inside `custom_linear_solve`.
    """
    matrix, penalty = jax.lax.stop_gradient((matrix, penalty))
    size = matrix.shape[0]
    negligible = size * float(jnp.finfo(matrix.dtype).eps)
    if penalty.shape[0] == 1:
        system = matrix + penalty[0] * jnp.eye(size, dtype=matrix.dtype)
        factor = jax.lax.linalg.cholesky(system, symmetrize_input=False)
        pivots = jnp.diagonal(factor) ** 2
        # A failed factorisation is NaN, so that the comparison is written the other way round.
        regular = jnp.min(pivots) > negligible * jnp.max(jnp.diagonal(system))

        def by_cholesky(right: Float[Array, "1 m t"]) -> Float[Array, "1 m t"]:
            return jax.scipy.linalg.cho_solve((factor, True), right[0])[None]

        return by_cholesky, ~regular[None]

    values, vectors = jnp.linalg.eigh(matrix, symmetrize_input=False)
    shifted = jnp.maximum(values, 0)[None, :] + penalty[:, None]
    regular = jnp.min(shifted, axis=1) > negligible * jnp.max(shifted, axis=1)

    def by_eigenvectors(right: Float[Array, "k m t"]) -> Float[Array, "k m t"]:
        rotated = jnp.einsum("ij,kit->kjt", vectors, right)
        return jnp.einsum("ij,kjt->kit", vectors, rotated / shifted[:, :, None])

    return by_eigenvectors, ~regular
