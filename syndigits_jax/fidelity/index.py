"""The Fidelity Gap Index: a metric on the scale from real users (0) to structureless ones (1)."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..solvers.boundary import Numbers, as_floats
from ..solvers.checks import check_broadcast
from ..solvers.distances import positive
from ..solvers.units import power_of_two


def fidelity_gap_index(value: Numbers, floor: Numbers, ceiling: Numbers) -> Float[Array, "*batch"]:
    """(value - floor) / (ceiling - floor), the paper's equations 6 and 7, which are the same.

    (Equation 7, for coverage, reverses the signs of numerator and denominator.) 0 is the value of
    fresh real users, 1 that of the ceiling; above 1 is worse than the ceiling. As a ratio of noisy
    numbers it is meaningless where floor and ceiling are close, see [`stable_gap`][]. It does not
    depend on the metric's units or origin. Arguments broadcast; NaN or infinite where floor and
    ceiling are equal.

    **Example:**

        >>> from syndigits_jax.fidelity import fidelity_gap_index
        >>> print(fidelity_gap_index(value=0.5, floor=0.25, ceiling=1.25))
        0.25
        >>> print(fidelity_gap_index(value=0.25, floor=0.75, ceiling=0.25))  # coverage
        1.0
    """
    value, floor, ceiling = as_floats(value=value, floor=floor, ceiling=ceiling)
    check_broadcast(value=value, floor=floor, ceiling=ceiling)
    value, floor, ceiling = jnp.broadcast_arrays(value, floor, ceiling)
    return (value - floor) / (ceiling - floor)


def stable_gap(
    floor: Numbers,
    ceiling: Numbers,
    *,
    averaged: int | None = None,
    errors: float = 3.0,
    higher_is_closer: bool = False,
) -> Bool[Array, "..."]:
    """Whether floor and ceiling are far enough apart to divide by their difference.

    True where the mean of ceiling - floor, in the direction that makes the ceiling the worse one,
    exceeds `errors` standard errors. Below two, the confidence set of such a ratio is unbounded
    (Fieller, 1954): any index would be compatible with the data.

    **Arguments:**

    - `floor`, `ceiling`: (s, ...) the metric on s resamples, in any units, paired where they share
      the real users.
    - `averaged`: number of resamples that the floor and ceiling in use average; s by default.
    - `errors`: standard errors that the difference must exceed.
    - `higher_is_closer`: True for metrics such as coverage, whose floor is above the ceiling.

    **Raises:** `ValueError` for fewer than two resamples, or arrays that differ in shape.

    **Example:**

        >>> from syndigits_jax.fidelity import stable_gap
        >>> print(stable_gap([0.1, 0.2, 0.15], [1.0, 1.2, 1.1]), stable_gap([0.1, 0.9], [0.5, 0.6]))
        True False
    """
    floor, ceiling = as_floats(floor=floor, ceiling=ceiling)
    assert floor is not None and ceiling is not None
    if floor.shape != ceiling.shape or floor.ndim == 0:
        raise ValueError(
            f"`ceiling` must have the shape of `floor`, {floor.shape}, got {ceiling.shape}"
        )
    count = floor.shape[0]
    if count < 2:
        raise ValueError(f"`floor`: the number of resamples must be at least 2, got {count}")
    positive("averaged", count if averaged is None else averaged)
    difference = floor - ceiling if higher_is_closer else ceiling - floor
    difference = difference / power_of_two(jnp.max(jnp.abs(difference), axis=0))[None, ...]
    spread = jnp.std(difference, axis=0, ddof=1)
    error = spread / (count if averaged is None else averaged) ** 0.5
    return jnp.mean(difference, axis=0) > errors * error
