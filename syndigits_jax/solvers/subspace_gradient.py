"""The derivative of a leading singular subspace, without that of its singular vectors."""

import jax
import jax.numpy as jnp
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Float

from .units import largest

MAX_PRODUCTS = 1000
"""Most Gram products per derivative; a close first neglected singular value needs more of them."""

UNSOLVED = 1e-3
"""Relative residual above which a derivative is set to NaN."""


@jax.custom_jvp
def attach_subspace_gradient(
    x: Float[Array, "n m"], weight: Float[Array, " n"], right: Float[Array, "m k"]
) -> Float[Array, "m k"]:
    """Return `right` as it is, with the derivative of the subspace that it spans.

    - `right`: orthonormal columns that span the leading right singular subspace of √`weight`·`x`.

    For G = xᵀ diag(weight) x, Q = I - V Vᵀ and Λ = VᵀGV, the part of dV outside the subspace solves
    dV Λ - Q G Q dV = Q dG V, positive definite where the first neglected singular value is smaller
    than the last wanted one. The part inside, a rotation, is taken as zero: only what does not
    depend on the basis of the subspace is differentiated correctly. Without a gap the subspace has
    no derivative and the result is NaN.
    """
    return right


@attach_subspace_gradient.defjvp
def _attach_subspace_gradient_jvp(primals, tangents):
    x, weight, right = primals
    dx, dweight, _ = tangents
    basis = attach_subspace_gradient(*primals)
    if right.shape[1] == right.shape[0]:  # the whole space does not move
        return basis, jnp.zeros_like(basis)

    # The subspace has no unit; scaled, the squares of these are in range.
    unit, weight_unit = largest(x), largest(weight)
    x, dx, weight, dweight = x / unit, dx / unit, weight / weight_unit, dweight / weight_unit

    def gram(x, weight, vectors):
        return x.T @ (weight[:, None] * (x @ vectors))

    def outside(vectors):
        return vectors - basis @ (basis.T @ vectors)

    image, change = jax.jvp(lambda x, w: gram(x, w, basis), (x, weight), (dx, dweight))
    inside = basis.T @ image
    inside = (inside + inside.T) / 2

    def operator(vectors):
        return vectors @ inside - outside(gram(x, weight, outside(vectors)))

    def solve(product, vectors):
        tol = 10 * float(jnp.finfo(x.dtype).eps) ** 0.75
        size = largest(vectors)
        vectors = vectors / size
        solution, _ = cg(product, vectors, tol=tol, maxiter=MAX_PRODUCTS)
        left_over = jnp.sqrt(jnp.sum((vectors - product(solution)) ** 2))
        solved = left_over <= UNSOLVED * jnp.sqrt(jnp.sum(vectors**2))
        return jnp.where(solved, solution * size, jnp.nan)

    # Twice, mainly for float32: this removes the part that rounding leaves inside the subspace.
    target = outside(outside(change))
    tangent = jax.lax.custom_linear_solve(operator, target, solve, symmetric=True)
    return basis, outside(tangent)
