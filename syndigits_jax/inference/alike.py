"""Whether numbers differ by more than rounding."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def alike(
    values: Float[Array, "..."],
    counted: Bool[Array, "..."],
    axis: int,
    *,
    size: Float[Array, "..."] | None = None,
    keepdims: bool = False,
) -> Bool[Array, "..."]:
    """Whether values along an axis are equal up to rounding; true for fewer than two values.

    The largest and the smallest value are compared. A standard deviation would not do, because the
    rounding of a mean over many numbers exceeds that of each.

    **Arguments:** `values`: any array; `counted`: of its shape, the values that count; `axis`: the
    axis to reduce; `size`: magnitudes whose last place is the rounding of the values, by default
    the values themselves; `keepdims`: keep the axis, of length 1.
    """
    values = jax.lax.stop_gradient(values)
    size = values if size is None else jax.lax.stop_gradient(size)
    rounding = 8 * jnp.finfo(values.dtype).eps * jnp.abs(size)
    high = jnp.where(counted, values - rounding, -jnp.inf)
    low = jnp.where(counted, values + rounding, jnp.inf)
    return jnp.max(high, axis=axis, keepdims=keepdims) <= jnp.min(low, axis=axis, keepdims=keepdims)
