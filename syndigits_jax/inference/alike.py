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
    """Whether the values that count could be one number along `axis`; also if fewer than two do.

    Each is taken to be off by a few units in the last place of `size`, by default its own. The
    largest and the smallest decide, not a standard deviation: the rounding of a mean over many
    numbers exceeds theirs.
    """
    values = jax.lax.stop_gradient(values)
    size = values if size is None else jax.lax.stop_gradient(size)
    rounding = 8 * jnp.finfo(values.dtype).eps * jnp.abs(size)
    high = jnp.where(counted, values - rounding, -jnp.inf)
    low = jnp.where(counted, values + rounding, jnp.inf)
    return jnp.max(high, axis=axis, keepdims=keepdims) <= jnp.min(low, axis=axis, keepdims=keepdims)
