"""Quantiles of Student's t distribution for any real number of degrees of freedom."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import betainc, gammaln, ndtri
from jaxtyping import Array, Float

from ..solvers.boundary import Numbers, as_floats, concrete
from ..solvers.checks import check_broadcast, check_probability

_REFINEMENTS = 5
_MANY = 40  # degrees of freedom from which the expansion is exact to single precision


def student_t_quantile(level: Numbers, df: Numbers) -> Float[Array, "*cells"]:
    """The t for which |T| <= t with probability `level`, as two-sided intervals need it.

    A constant for differentiation. Accurate to about single precision.

    **Arguments:** `level`: between 0 and 1; `df`: degrees of freedom, at least 1, of the same shape
    or a number; infinity gives the normal distribution.

    **Raises:** `ValueError` for a level outside (0, 1), and fewer degrees of freedom than one.

    **Example:**

        >>> from syndigits_jax.inference import student_t_quantile
        >>> print(student_t_quantile(0.95, [1.0, 19.0, float("inf")]).round(3))
        [12.706  2.093  1.96 ]
    """
    check_probability(level=level)
    known = concrete(df)
    if known is not None and known.dtype.kind in "biuf" and np.any(known < 1):
        raise ValueError(f"`df` must be at least 1, got {known}")
    level, df = as_floats(level=level, df=df)
    check_broadcast(level=level, df=df)
    return _quantile(*jax.lax.stop_gradient(jnp.broadcast_arrays(level, df)))


@jax.jit
def _quantile(level: Float[Array, "*cells"], df: Float[Array, "*cells"]) -> Float[Array, "*cells"]:
    few = jnp.minimum(df, _MANY)
    start = _expansion(ndtri((1 + level) / 2), df)
    log_constant = gammaln((few + 1) / 2) - gammaln(few / 2) - jnp.log(jnp.pi * few) / 2

    def refined(t: Array, _: None) -> tuple[Array, None]:
        outside = betainc(few / 2, 0.5 * jnp.ones_like(few), few / (few + t**2))
        density = 2 * jnp.exp(log_constant - (few + 1) / 2 * jnp.log1p(t**2 / few))
        # Newton's step for the logarithm of the tail against that of t: a line for heavy tails.
        # A level whose tail rounds to 1 has a t of 0.
        slope = density * jnp.where(t > 0, t, 1)
        step = jnp.where(t > 0, outside / slope * jnp.log(outside / (1 - level)), 0)
        return t * jnp.exp(jnp.clip(step, -2, 2)), None

    found, _ = jax.lax.scan(refined, start, None, length=_REFINEMENTS)
    return jnp.where(few < _MANY, found, start)


def _expansion(z: Float[Array, "*cells"], df: Float[Array, "*cells"]) -> Float[Array, "*cells"]:
    """Cornish-Fisher expansion about the normal quantile (Abramowitz and Stegun, 26.7.5).

    With few degrees of freedom it is far off: there a mean with the value at one degree is closer.
    """
    z2 = z**2
    terms = (
        z * (z2 + 1) / 4,
        z * (5 * z2**2 + 16 * z2 + 3) / 96,
        z * (3 * z2**3 + 19 * z2**2 + 17 * z2 - 15) / 384,
        z * (79 * z2**4 + 776 * z2**3 + 1482 * z2**2 - 1920 * z2 - 945) / 92160,
    )
    value = z + sum(term / df ** (k + 1) for k, term in enumerate(terms))
    few = jnp.tan(jnp.pi * (jax.scipy.special.ndtr(z) - 0.5)) ** (1 / df) * z ** (1 - 1 / df)
    return jnp.where(df < 4, few, value)
