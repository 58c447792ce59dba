"""Many estimates of one kind, drawn together as far as their errors explain how they differ.

The largest of many noisy estimates is too large. Empirical Bayes draws each towards a common
centre by the share of its variance that is error. How much the true values differ is estimated
from all of them, as in meta-analyses (Paule and Mandel, 1982; DerSimonian and Laird, 1986).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..solvers.boundary import Numbers, as_floats, concrete

_STEPS = 60


class Shrunk(eqx.Module):
    """Estimates that were drawn together.

    - `value`: (c,) τ² / (τ² + error²) of the way from the centre to each estimate.
    - `centre`: what they are drawn to; `between_variance`: τ², of the true values.
    - `kept`: (c,) that share, 1 for an estimate without error.
    """

    value: Float[Array, " c"]
    centre: Float[Array, ""]
    between_variance: Float[Array, ""]
    kept: Float[Array, " c"]


def shrink(estimates: Numbers, errors: Numbers, centre: Numbers | None = None) -> Shrunk:
    """Draw estimates to a centre, by how much of their differences their errors explain.

    τ² is Paule and Mandel's: that with which the squared distances from the centre, in units of
    their variances τ² + error², sum to their degrees of freedom, or 0 if they are closer even
    without it.

    **Arguments:**

    - `estimates`: (c,), NaN where there is none; these stay NaN and do not count.
    - `errors`: (c,) their standard errors; of their distances from `centre`, where that is given.
    - `centre`: a number that they are drawn to. By default their mean with weights
      1 / (τ² + error²).

    **Returns:** [`Shrunk`][]. A single estimate stays as it is.

    **Raises:** `ValueError` for shapes that do not fit, and negative errors.

    **Example:**

        >>> from syndigits_jax.inference import shrink
        >>> found = shrink([0.1, 0.2, 0.6], [0.1, 0.1, 0.3])
        >>> print(found.value.round(2), found.between_variance.round(3))
        [0.14 0.2 0.24] 0.013
    """
    y, error, given = as_floats(estimates=estimates, errors=errors, centre=centre)
    if y.ndim != 1 or error.shape != y.shape or (given is not None and given.shape):
        raise ValueError(
            f"`estimates` and `errors` must be (c,) and `centre` a number, got {y.shape}, "
            f"{error.shape} and {None if given is None else given.shape}"
        )
    known = concrete(error)
    if known is not None and np.any(known < 0):
        raise ValueError("`errors` must not be negative")
    return _shrink(y, error, given)


@jax.jit
def _shrink(
    y: Float[Array, " c"], error: Float[Array, " c"], given: Float[Array, ""] | None
) -> Shrunk:
    there = jnp.isfinite(y) & jnp.isfinite(error)
    unit = jnp.max(jnp.where(there, jnp.maximum(jnp.abs(y), error), 0), initial=0)
    unit = jnp.where(unit > 0, unit, 1)
    values = jnp.where(there, y, 0) / unit
    # An error of 0 would take all the weight, and divide by 0 where the values agree.
    variance = jnp.maximum(jnp.where(there, error, 1) / unit, jnp.finfo(y.dtype).eps) ** 2

    def centre_at(tau2: Float[Array, ""]) -> Float[Array, ""]:
        if given is not None:
            return given / unit
        weight = jnp.where(there, 1 / (variance + tau2), 0)
        total = jnp.sum(weight)
        return jnp.sum(weight * values) / jnp.where(total > 0, total, 1)

    count = jnp.sum(there, dtype=y.dtype) - (1 if given is None else 0)

    def excess(tau2: Float[Array, ""]) -> Float[Array, ""]:
        square = (values - centre_at(tau2)) ** 2 / (variance + tau2)
        return jnp.sum(jnp.where(there, square, 0)) - count

    def halve(ends: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        low, high = ends
        middle = (low + high) / 2
        above = excess(middle) > 0
        return (jnp.where(above, middle, low), jnp.where(above, high, middle)), None

    # Squares of at most 4 in these units, over a count of at least 1.
    top = 4 * jnp.sum(there, dtype=y.dtype) / jnp.maximum(count, 1) + 1
    (low, high), _ = jax.lax.scan(halve, (jnp.zeros_like(top), top), None, length=_STEPS)
    tau2 = jnp.where((count > 0) & (excess(jnp.zeros_like(top)) > 0), (low + high) / 2, 0)
    centre = centre_at(tau2)
    kept = tau2 / (tau2 + variance)
    kept = jnp.where((error == 0) | (count < 1), 1, kept)
    value = jnp.where(there, centre + kept * (values - centre), jnp.nan)
    between = tau2 * unit * unit  # unit² may overflow, of a τ² of 0
    return Shrunk(value * unit, centre * unit, between, jnp.where(there, kept, jnp.nan))
