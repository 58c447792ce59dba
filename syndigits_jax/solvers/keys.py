"""Keys of JAX's random numbers, typed or not, and what the host makes of them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Key, UInt32

PRNGKey = Key[Array, ""] | UInt32[Array, "2"]


def key_data(key: PRNGKey) -> np.ndarray:
    """The numbers of a key."""
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(key) if typed else key)


def host_generator(key: PRNGKey) -> np.random.Generator:
    """NumPy's generator for a key: the same numbers with any version of JAX."""
    return np.random.default_rng(np.ravel(key_data(key)).tolist())


def seed_generator(key: PRNGKey) -> np.random.Generator:
    """NumPy's generator of a key's seed: for `jax.random.key(seed)` that of `default_rng(seed)`.

    For splits whose published form is `default_rng(seed)`; elsewhere use [`host_generator`][].

    **Raises:** `ValueError` for what is no key, such as an integer, and for a traced one.
    """
    if isinstance(key, Tracer):
        raise ValueError("`key` is used on the host and must not be traced")
    if not isinstance(key, jax.Array):
        raise ValueError(f"`key` must be a random key such as jax.random.key(0), got {key!r}")
    words = np.ravel(key_data(key)).tolist()
    return np.random.default_rng(sum(word << 32 * i for i, word in enumerate(reversed(words))))
