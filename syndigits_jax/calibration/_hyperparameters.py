"""Hyperparameters of the calibrators: their type and their bounds."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array


def as_leaf(value: Any) -> Array:
    """A hyperparameter as an array of a floating type. **Raises:** `ValueError`."""
    try:
        value = float(value) if isinstance(value, str) else value
        return jnp.asarray(value, dtype=jnp.result_type(value, float))
    except (TypeError, ValueError):
        raise ValueError(f"a calibrator's penalty must be a number, got {value!r}") from None


def shown(value: Any) -> str:
    """A hyperparameter as text: numbers in full, arrays and tracers by type and shape."""
    known = isinstance(value, jax.Array) and not isinstance(value, Tracer)
    if known and value.ndim == 0 and not jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return str(np.asarray(value)[()])
    return eqx.tree_pformat(value)


WHOLE = ("rank",)
INFINITY = float("inf")


def check_bounds(module: eqx.Module, **bounds: tuple[int | float, int | float]) -> None:
    """Raise `ValueError` for concrete hyperparameters outside their bounds; tracers pass."""
    for name, (low, high) in bounds.items():
        value = getattr(module, name)
        if isinstance(value, Tracer) or not isinstance(value, (jax.Array, int, float)):
            continue
        # NumPy: inside `jit` JAX would trace the comparison, even of numbers that are known.
        if name in WHOLE and int(value) != value:
            raise ValueError(f"{type(module).__name__}: {name} must be a whole number, got {value}")
        array = np.asarray(value)
        if not np.all((array >= low) & (array <= high) & np.isfinite(array)):
            finite = f"finite and at least {low:g}"
            span = finite if high == INFINITY else f"in [{low:g}, {high:g}]"
            raise ValueError(f"{type(module).__name__}: {name} must be {span}, got {value}")
