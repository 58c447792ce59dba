"""Conjugate gradients for one system or many at once.

JAX's own (`jax.scipy.sparse.linalg.cg`) spends a product on a start of zero, does not return the
number of products, stops many systems together, and divides by zero along a direction without
curvature. It serves derivatives of completions, whose unknown is a pair of matrices: none of this
matters there.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .units import power_of_two

Apply = Callable[[Float[Array, "*rows p"]], Float[Array, "*rows p"]]


def conjugate_gradients(
    product: Apply,
    right: Float[Array, "*rows p"],
    *,
    rtol: float,
    max_steps: int | Int[Array, ""],
    precondition: Apply | None = None,
) -> tuple[Float[Array, "*rows p"], Int[Array, ""]]:
    """Solve `product(v) = right` from zero, every row until |r| <= rtol |right|.

    No step leaves the range of a system: directions without curvature stay zero, where a
    factorisation would divide rounding by rounding. Plain array operations avoid a LAPACK call per
    system, which on a CPU would block a thread that other programs need.

    **Arguments:** `product`: a positive semidefinite operator, on each row by itself; `right`:
    right-hand sides; `rtol`: largest relative residual; `max_steps`: largest number of products;
    `precondition`: an approximate inverse of `product`, none by default.

    **Returns:** the solutions, NaN for a row with NaN or infinity, and the number of products. No
    reverse-mode derivative.
    """
    # A right-hand side may have any size; scaled, its squares, which end the loop, stay in range.
    unit = power_of_two(jnp.max(jnp.abs(right), axis=-1, keepdims=True))
    right = right / unit
    prepared = right if precondition is None else precondition(right)
    squares = _dot(right, right)
    target = rtol**2 * squares

    # Comparisons with NaN are false: a row with NaN takes no steps.
    def unfinished(state):
        *_, squares, step = state
        return jnp.any(squares > target) & (step < max_steps)

    def advance(state):
        solution, residual, direction, slope, squares, step = state
        image = product(direction)
        curvature = _dot(direction, image)
        going = (squares > target) & (curvature > 0)
        length = jnp.where(going, slope / jnp.where(going, curvature, 1), 0)[..., None]
        solution = solution + length * direction
        residual = residual - length * image
        # A direction without curvature ends a row: the system is singular along it.
        new_squares = jnp.where(going, _dot(residual, residual), 0)
        prepared = residual if precondition is None else precondition(residual)
        new_slope = new_squares if precondition is None else _dot(residual, prepared)
        turn = jnp.where(going, new_slope / jnp.where(going, slope, 1), 0)[..., None]
        return solution, residual, prepared + turn * direction, new_slope, new_squares, step + 1

    start = (
        jnp.zeros_like(right),
        right,
        prepared,
        squares if precondition is None else _dot(right, prepared),
        squares,
        jnp.zeros((), jnp.int32),
    )
    solution, *_, step = jax.lax.while_loop(unfinished, advance, start)
    return jnp.where(jnp.isfinite(squares)[..., None], solution * unit, jnp.nan), step


def _dot(a: Float[Array, "*rows p"], b: Float[Array, "*rows p"]) -> Float[Array, "*rows"]:
    return jnp.dot(a, b) if a.ndim == 1 else jnp.sum(a * b, axis=-1)
