"""Numbers that are checked on the host, in double precision whatever JAX's default is."""

import jax
import numpy as np
from jaxtyping import Float

from ..solvers.boundary import Numbers, as_float, host_array, refuse_no_numbers


def host_floats(name: str, values: Numbers) -> Float[np.ndarray, "..."]:
    """`values` in double precision, NaN where missing: shares must not depend on their unit.

    Takes what [`as_float`][] takes. **Raises:** `ValueError` as there.
    """
    if not isinstance(values, jax.Array):
        array = host_array(name, values)
        refuse_no_numbers(name, array.dtype)
        if array.dtype.kind in "biuf":
            return array.astype(np.float64)
    return np.asarray(as_float(name, values), np.float64)
