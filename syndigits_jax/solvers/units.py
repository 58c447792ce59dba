"""Units of a problem: powers of two to divide by, so that scaling rounds nothing.

A solver that squares or cubes its data overflows or underflows float32 long before the data do.
Every solver divides its problem by powers of two first and undoes it on the way out.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

# Ratios of units above this one are as good as infinite, and their squares still finite.
LARGEST_RATIO = 2.0**40


def power_of_two(value: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """The largest power of two that is at most |value|; 1 for zero, NaN and infinity.

    A constant for differentiation, because every division by it is undone later.
    """
    value = jnp.abs(jax.lax.stop_gradient(value))
    mantissa = 52 if value.dtype.itemsize == 8 else 23
    power = from_bits(size_bits(value) >> mantissa << mantissa)
    usable = jnp.isfinite(value) & (value >= float(jnp.finfo(value.dtype).tiny))
    return jnp.where(usable, power, 1)


def divided(
    values: Float[Array, "*shape"], unit: Float[Array, "..."], used: Bool[Array, "..."]
) -> Float[Array, "*shape"]:
    """`values` / `unit`; where they are not `used`, of size [`LARGEST_RATIO`][] at most.

    What has no weight may be any finite number, while the unit is that of the rest.
    """
    limit = LARGEST_RATIO * unit
    return jnp.where(used, values, jnp.clip(values, -limit, limit)) / unit


def size_bits(array: Float[Array, "*shape"]) -> Int[Array, "*shape"]:
    """|`array`| as integers in the same order, with NaN above infinity.

    Compilers for CPUs vectorise maxima of integers; those of numbers that may be NaN they do not.
    """
    array = jnp.abs(jax.lax.stop_gradient(array))
    return jax.lax.bitcast_convert_type(
        array, jnp.int64 if array.dtype.itemsize == 8 else jnp.int32
    )


def from_bits(bits: Int[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The number that [`size_bits`][] has taken."""
    return jax.lax.bitcast_convert_type(
        bits, jnp.float64 if bits.dtype.itemsize == 8 else jnp.float32
    )


def largest(array: Float[Array, "..."], axis: int | None = None) -> Float[Array, "..."]:
    """[`power_of_two`][] of the largest absolute entry; 1 where there is none."""
    return power_of_two(from_bits(jnp.max(size_bits(array), axis=axis, initial=0)))
