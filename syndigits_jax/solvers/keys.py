"""Keys of JAX's random numbers, typed or not, and what the host makes of them."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, UInt32

PRNGKey = Key[Array, ""] | UInt32[Array, "2"]


def key_data(key: PRNGKey) -> np.ndarray:
    """The numbers of a key."""
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(key) if typed else key)


def host_generator(key: PRNGKey) -> np.random.Generator:
    """NumPy's generator for a key: the same numbers with any version of JAX."""
    return np.random.default_rng(np.ravel(key_data(key)).tolist())
