"""Nesterov's extrapolation with restarts, for iterations that are descents on their own."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def next_momentum(
    momentum: Float[Array, ""], uphill: Bool[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The share of the last move that the next step starts ahead by, and the next momentum.

    Momentum starts at 1. It starts again, with a share of 0, where the last move went `uphill`:
    against the step from where it started (O'Donoghue and Candès 2015).
    """
    grown = (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2
    return jnp.where(uphill, 0, (momentum - 1) / grown), jnp.where(uphill, 1, grown)
