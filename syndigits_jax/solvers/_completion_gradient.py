"""Derivatives of a completion at its fixed point, without differentiating singular vectors."""

import jax
import jax.numpy as jnp
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Float

from .units import power_of_two

MAX_PRODUCTS = 1000
"""Largest number of Hessian products per derivative; ill-posed completions need the most."""


def _stationarity(x, mask, penalty, left, right):
    """Gradient of ½‖P(X - ABᵀ)‖² + ½·penalty·(‖A‖² + ‖B‖²) in A and B: zero at a completion.

    Balanced factors of a hard, soft or alternating completion all make it zero.
    """
    residual = jnp.where(mask, left @ right.T - x, 0)
    return residual @ right + penalty * left, residual.T @ left + penalty * right


@jax.custom_jvp
def attach_gradient(
    x: Float[Array, "n m"],
    observed: Float[Array, "n m"],
    penalty: Float[Array, ""],
    left: Float[Array, "n r"],
    right: Float[Array, "m r"],
) -> tuple[Float[Array, "n r"], Float[Array, "m r"]]:
    """Return (`left`, `right`) as they are, with their implicit derivative in `x` and `penalty`.

    The factors must be balanced (equal Gram matrices). Their tangents solve a system in the
    symmetric Hessian of the factored objective, by preconditioned conjugate gradients, to a
    residual tied to the floating-point type. Rotations of the factors, which the system leaves
    free, do not change left @ right.T.
    """
    return left, right


@attach_gradient.defjvp
def _attach_gradient_jvp(primals, tangents):
    x, observed, penalty, _, _ = primals
    dx, _, dpenalty, _, _ = tangents
    mask = observed > 0
    left, right = attach_gradient(*primals)
    _, (in_left, in_right) = jax.jvp(
        lambda x, penalty: _stationarity(x, mask, penalty, left, right),
        (x, penalty),
        (dx, dpenalty),
    )

    def hessian(vectors):
        return jax.jvp(
            lambda left, right: _stationarity(x, mask, penalty, left, right),
            (left, right),
            vectors,
        )[1]

    # Were everything observed, this would be the Hessian's diagonal blocks.
    scale = jnp.sum(left * left, axis=0) + penalty
    scale = jax.lax.stop_gradient(jnp.where(scale > 0, scale, 1))[None, :]

    def solve(product, vectors):
        # A derivative may have any size; scaled, its squares, which end the loop, stay in range.
        unit = power_of_two(jnp.maximum(*(jnp.max(jnp.abs(v)) for v in vectors)))
        tangent = cg(
            product,
            jax.tree.map(lambda v: v / unit, vectors),
            tol=10 * float(jnp.finfo(x.dtype).eps) ** 0.75,
            maxiter=MAX_PRODUCTS,
            M=lambda v: (v[0] / scale, v[1] / scale),
        )[0]
        return jax.tree.map(lambda v: v * unit, tangent)

    tangent = jax.lax.custom_linear_solve(hessian, (-in_left, -in_right), solve, symmetric=True)
    return (left, right), tangent
