"""Equality of objects, bit for bit."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np


def same(a, b):
    """Whether two objects are of the same types and values, bit for bit."""
    if type(a) is not type(b):
        return isinstance(a, jax.Array) and isinstance(b, jax.Array) and same_bits(a, b)
    if isinstance(a, jax.Array | np.ndarray | np.generic):
        return same_bits(a, b)
    if isinstance(a, float):
        return np.float64(a).tobytes() == np.float64(b).tobytes()
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if dataclasses.is_dataclass(a):
        names = [field.name for field in dataclasses.fields(a)]
        return all(same(getattr(a, name), getattr(b, name)) for name in names)
    return a == b


def same_bits(a, b):
    if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
        a, b = jax.random.key_data(a), jax.random.key_data(b)
    a, b = np.asarray(a), np.asarray(b)
    return (a.dtype, a.shape) == (b.dtype, b.shape) and a.tobytes() == b.tobytes()
