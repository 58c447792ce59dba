"""Units of a problem: powers of two to divide by, so that scaling rounds nothing.

A solver that squares or cubes its data overflows or underflows float32 long before the data do.
Every solver divides its problem by powers of two first and undoes it on the way out.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Ratios of units above this one are as good as infinite, and their squares still finite.
LARGEST_RATIO = 2.0**40


def power_of_two(value: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """The largest power of two that is at most |value|; 1 for zero, NaN and infinity.

    A constant for differentiation, because every division by it is undone later.
    """
    value = jnp.abs(jax.lax.stop_gradient(value))
    bits, mantissa = (jnp.int64, 52) if value.dtype.itemsize == 8 else (jnp.int32, 23)
    whole = jax.lax.bitcast_convert_type(value, bits)
    power = jax.lax.bitcast_convert_type(whole >> mantissa << mantissa, value.dtype)
    usable = jnp.isfinite(value) & (value >= float(jnp.finfo(value.dtype).tiny))
    return jnp.where(usable, power, 1)


def largest(array: Float[Array, "..."], axis: int | None = None) -> Float[Array, "..."]:
    """[`power_of_two`][] of the largest absolute entry; 1 where there is none."""
    return power_of_two(jnp.max(jnp.abs(jax.lax.stop_gradient(array)), axis=axis, initial=0))
