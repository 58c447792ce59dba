"""Systems (A + penalty) x = b for several penalties."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Apply = Callable[[Float[Array, "k m t"]], Float[Array, "k m t"]]


def shifted_inverse(
    matrix: Float[Array, "m m"], penalty: Float[Array, " k"]
) -> tuple[Apply, Bool[Array, " k"]]:
    """`(apply, singular)`: b -> (A + penalty)⁻¹ b for every penalty, and where no inverse exists.

    `matrix` is symmetric and positive semidefinite. One Cholesky factor per penalty, whose
    accuracy does not depend on the scale of single columns. Singular to working precision: a
    pivot, i.e. what is left of a diagonal entry when the columns before it are taken out, is at
    most m * eps times that entry. Not differentiable: use it inside `custom_linear_solve`.
    """
    matrix, penalty = jax.lax.stop_gradient((matrix, penalty))
    size = matrix.shape[0]
    negligible = size * float(jnp.finfo(matrix.dtype).eps)
    system = matrix[None] + penalty[:, None, None] * jnp.eye(size, dtype=matrix.dtype)[None]
    factor = jax.lax.linalg.cholesky(system, symmetrize_input=False)
    pivots = jnp.diagonal(factor, axis1=1, axis2=2) ** 2
    # A failed factorisation is NaN, for which this comparison is false: not regular.
    own = jnp.diagonal(system, axis1=1, axis2=2)
    regular = jnp.all(pivots > negligible * own, axis=1)

    def apply(right: Float[Array, "k m t"]) -> Float[Array, "k m t"]:
        half = jax.lax.linalg.triangular_solve(factor, right, left_side=True, lower=True)
        return jax.lax.linalg.triangular_solve(
            factor, half, left_side=True, lower=True, transpose_a=True
        )

    return apply, ~regular
