"""Simulated populations with a known relation to one another, for the fidelity tests."""

import jax
import jax.numpy as jnp
import numpy as np


def cloud(seed: int, n: int, d: int, dtype=jnp.float32, shift: float = 0.0) -> jax.Array:
    """Normal points with unequal spread, off the origin."""
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=(n, d)) * np.linspace(0.5, 2, d) + 1 + shift, dtype)


def prototypes(seed: int = 0, p: int = 4, d: int = 16) -> np.ndarray:
    """Prototype embeddings of unequal length in different directions."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(p, d)) / np.sqrt(d) * rng.uniform(0.7, 1.3, (p, 1))


def users(seed: int, n: int, p: int = 4, d: int = 16, dtype=jnp.float32) -> jax.Array:
    """Users in the convex hull of `p` prototypes: they span p - 1 dimensions of d."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, p)) * np.array([1.5, 1.0, 0.7, 1.2])[:p]
    weights = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return jnp.asarray(weights @ prototypes(0, p, d), dtype)


def rotation(seed: int, d: int) -> np.ndarray:
    """A random orthogonal matrix."""
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


def shrunken(x: jax.Array, factor: float = 0.15) -> jax.Array:
    """Every user pulled to the population's mean: order kept, dispersion lost."""
    mean = jnp.mean(x, axis=0)[None, :]
    return mean + factor * (x - mean)
