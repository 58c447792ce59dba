"""Implicit derivatives of elastic-net coefficients, restricted to their support."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._quadratic import Quadratic, SupportSystem


@jax.custom_jvp
def attach_gradient(
    coef: Float[Array, " p"],
    quadratic: Quadratic,
    l1: Float[Array, ""],
    l2: Float[Array, ""],
    largest: Float[Array, ""],
) -> Float[Array, " p"]:
    """`coef` unchanged, with the derivatives of the minimiser in `quadratic`, `l1` and `l2`.

    On the support S = {j: b_j ≠ 0} the minimiser solves q_S - (Ab)_S - l1 sign(b_S) - l2 b_S = 0,
    off it they stay 0; so db_S = (A_SS + l2)⁻¹ d(q - Ab - l1 sign(b) - l2 b)_S at fixed b.
    Valid wherever the support is stable, i.e. almost everywhere. The tangent is linear and its
    solve symmetric, so reverse mode is the transpose of this rule.
    """
    del quadratic, l1, l2, largest
    return coef


@attach_gradient.defjvp
def _attach_gradient_jvp(primals, tangents):
    coef, quadratic, l1, l2, largest = primals
    _, *moves, _ = tangents
    # The coefficients of the formula carry derivatives too, for derivatives of second order.
    coef = attach_gradient(coef, quadratic, l1, l2, largest)
    support = coef != 0

    def descent(quadratic: Quadratic, l1, l2):
        return quadratic.descent(coef) - l1 * jnp.sign(coef) - l2 * coef

    _, force = jax.jvp(descent, (quadratic, l1, l2), tuple(moves))
    system = SupportSystem(
        quadratic, support, l2, largest, tol=10 * float(jnp.finfo(coef.dtype).eps), max_steps=50
    )
    fixed = jax.lax.stop_gradient(system[:4])

    def solve(_, right):
        return system._replace(**dict(zip(system._fields, fixed))).solve(right)

    tangent = jax.lax.custom_linear_solve(
        system.product, jnp.where(support, force, 0), solve=solve, symmetric=True
    )
    return coef, tangent
