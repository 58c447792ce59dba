"""Derivatives of a completion at its fixed point, without differentiating singular vectors."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

SWEEPS = 200
"""Sweeps of the linearised iteration; its error shrinks as the completion itself converges."""


def _half_sweep(
    filled: Float[Array, "n m"], factor: Float[Array, "m r"], penalty: Float[Array, ""]
) -> Float[Array, "n r"]:
    """Ridge regression of the filled matrix's rows on `factor`."""
    gram = factor.T @ factor
    # Keeps the system solvable when singular values are zero and nothing is penalised.
    floor = jnp.finfo(factor.dtype).eps * lax.stop_gradient(jnp.trace(gram))
    ridge = penalty + floor + jnp.finfo(factor.dtype).tiny
    system = gram + ridge * jnp.eye(factor.shape[1], dtype=factor.dtype)
    return filled @ (factor @ jnp.linalg.inv(system))


def _sweep(x, mask, penalty, left, right):
    """One alternating sweep; balanced factors of a completion are its fixed point."""
    left = _half_sweep(jnp.where(mask, x, left @ right.T), right, penalty)
    right = _half_sweep(jnp.where(mask, x, left @ right.T).T, left, penalty)
    return left, right


@jax.custom_jvp
def attach_gradient(
    x: Float[Array, "n m"],
    observed: Float[Array, "n m"],
    penalty: Float[Array, ""],
    left: Float[Array, "n r"],
    right: Float[Array, "m r"],
) -> tuple[Float[Array, "n r"], Float[Array, "m r"]]:
    """Return (`left`, `right`) as they are, with their implicit derivative in `x` and `penalty`.

    The factors solve (left, right) = sweep(x, penalty, left, right); their tangents solve the
    linearised equation, by iterating it. Rotations of the factors, which it leaves free, do not
    change left @ right.T.
    """
    return left, right


@attach_gradient.defjvp
def _attach_gradient_jvp(primals, tangents):
    x, observed, penalty, left, right = primals
    dx, _, dpenalty, _, _ = tangents
    mask = observed > 0

    def sweep(x, penalty, left, right):
        return _sweep(x, mask, penalty, left, right)

    _, linear = jax.linearize(sweep, x, penalty, left, right)

    def body(tangent, _):
        return linear(dx, dpenalty, *tangent), None

    zero = (jnp.zeros_like(left), jnp.zeros_like(right))
    tangent, _ = lax.scan(body, zero, None, length=SWEEPS)
    return (left, right), tangent
