"""Survey weights of people, checked in one place."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..solvers.boundary import Numbers, as_float, concrete
from ..solvers.units import largest


def checked_weight(sample_weight: Numbers | None, n: int, dtype: Any) -> Float[Array, " n"]:
    """(n,) weights of people in `dtype`, ones without weights; the largest is from 1 to 2.

    Their unit, a power of two, is taken off, so that their squares and sums are finite.

    **Raises:** `ValueError` for another shape and, where they are known, for weights that are
    negative, infinite or NaN, or zero for everybody.

    **Example:**

        >>> import jax.numpy as jnp
        >>> from syndigits_jax.inference.sample_weight import checked_weight
        >>> print(checked_weight(None, 3, jnp.float32), checked_weight([1, 2, 0], 3, jnp.float32))
        [1. 1. 1.] [0.5 1.  0. ]
    """
    if sample_weight is None:
        return jnp.ones((n,), dtype)
    weight = as_float("sample_weight", sample_weight).astype(dtype)
    if weight.shape != (n,):
        raise ValueError(f"`sample_weight` must have shape ({n},), got {weight.shape}")
    known = concrete(weight)
    if known is not None and not (np.all(known >= 0) and np.any(known > 0)):
        raise ValueError("`sample_weight` must not be negative, nor zero for everybody")
    if known is not None and not np.all(np.isfinite(known)):
        raise ValueError("`sample_weight` must be finite")
    return weight / largest(weight)
