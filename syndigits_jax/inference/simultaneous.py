"""Intervals that hold for many estimates at once, from joint draws of them.

Where ten groups each have an interval of 95%, one of them excludes the truth in every third study
or so. Simultaneous intervals all hold at once with the probability that they claim: the critical
value is a quantile of the largest |t| of a draw (Westfall and Young, 1993; Romano and Wolf, 2005),
which knows how the estimates depend on one another, and so is smaller than Bonferroni's.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..solvers.boundary import Numbers, as_floats
from ..solvers.checks import check_probability
from ..solvers.units import largest
from .conformal import Interval
from .student_t import student_t_quantile


class SimultaneousIntervals(Interval):
    """Intervals of many estimates, which all hold at once.

    - `lower`, `upper`: their ends, NaN for estimates that are NaN. An estimate of which all draws
      agree has an interval of width 0, which says nothing: see `standard_error`.
    - `value`: the estimates; `standard_error`: standard deviations of the draws.
    - `critical`: how many standard errors every interval reaches to both sides.
    """

    value: Float[Array, "*cells"]
    standard_error: Float[Array, "*cells"]
    critical: Float[Array, ""]


class Resampled(eqx.Module):
    """Estimates (*cells) and joint draws (r, *cells) of them, such as those of a bootstrap.

    Draws may be shifted by a constant: only how they vary about their mean is used.

    **Example:**

        >>> import jax
        >>> from syndigits_jax.inference import Resampled
        >>> draws = jax.random.normal(jax.random.key(0), (2000, 3))
        >>> found = Resampled(draws[0], draws)
        >>> print(found.intervals().critical.round(1))
        2.4
        >>> print(found.contrast(lambda v: v[1:] - v[0]).value.shape)
        (2,)
    """

    value: Float[Array, "*cells"]
    draws: Float[Array, "r ..."]

    def contrast(
        self, function: Callable[[Float[Array, "*cells"]], Float[Array, "*contrasts"]]
    ) -> "Resampled":
        """A linear function of the estimates, such as differences of pairs, with its draws."""
        return Resampled(function(self.value), jax.vmap(function)(self.draws))

    def intervals(
        self, level: float = 0.95, *, df: float | int = float("inf")
    ) -> SimultaneousIntervals:
        """[`simultaneous_intervals`][] of these draws."""
        return simultaneous_intervals(self.value, self.draws, level=level, df=df)


def simultaneous_intervals(
    value: Numbers, draws: Numbers, *, level: float = 0.95, df: float | int = float("inf")
) -> SimultaneousIntervals:
    """Intervals that all hold at once with probability `level`, by the largest |t| of the draws.

    Every draw is taken from the draws' mean and divided by their standard deviation, so that
    estimates of any unit and precision share one critical value.

    **Arguments:**

    - `value`: (*cells) estimates, NaN where there is none.
    - `draws`: (r, *cells) joint draws of them, NaN where a draw has none.
    - `level`: probability that all of them hold.
    - `df`: degrees of freedom of the draws' standard deviations, by default infinite: the critical
      value grows as that of Student's t does. With few units that were resampled, their number
      less 1.

    **Returns:** [`SimultaneousIntervals`][].

    **Raises:** `ValueError` for draws that are not (r, *cells), fewer than two, a level outside
    (0, 1), and degrees of freedom below 1.

    **Example:**

        >>> import jax
        >>> import jax.numpy as jnp
        >>> from syndigits_jax.inference import simultaneous_intervals
        >>> draws = jax.random.normal(jax.random.key(0), (4000, 10))
        >>> draws = draws * jnp.arange(1.0, 11)[None]
        >>> found = simultaneous_intervals(jnp.zeros(10), draws)
        >>> print(found.critical.round(1), (found.upper[9] / found.upper[0]).round(0))
        2.8 10.0
    """
    value, draws = as_floats(value=value, draws=draws)
    if draws.shape[1:] != value.shape or not draws.ndim:
        raise ValueError(
            f"`draws` must be (r, *cells) for `value` of shape {value.shape}, got {draws.shape}"
        )
    if draws.shape[0] < 2:
        raise ValueError(f"`draws`: at least 2 are needed, got {draws.shape[0]}")
    check_probability(level=level)
    if not df >= 1:
        raise ValueError(f"`df` must be at least 1, got {df}")
    at, few = (jnp.asarray(number, draws.dtype) for number in (level, df))
    return _simultaneous(value, draws, at, _wider(at, few))


@jax.jit
def _wider(level: Float[Array, ""], df: Float[Array, ""]) -> Float[Array, ""]:
    """Quantile of Student's t over that of the normal distribution."""
    both = student_t_quantile(level, jnp.stack([df, jnp.full_like(df, jnp.inf)]))
    return (both[0] / both[1]).astype(level.dtype)


@jax.jit
def _simultaneous(
    value: Float[Array, "*cells"],
    draws: Float[Array, "r ..."],
    level: Float[Array, ""],
    wider: Float[Array, ""],
) -> SimultaneousIntervals:
    # In units of the largest draw of every estimate, so that squares are finite.
    unit = largest(jnp.where(jnp.isnan(draws), 0, draws), 0)
    draws = draws / unit[None]
    error = jnp.nanstd(draws, axis=0, ddof=1)
    # Draws that agree but for rounding say nothing.
    rounding = 8 * jnp.finfo(draws.dtype).eps * jnp.nanmax(jnp.abs(draws), axis=0, initial=0)
    usable = jnp.isfinite(value) & (error > rounding)
    error = jnp.where(usable, error, jnp.where(jnp.isfinite(value), 0, jnp.nan))
    centre = jnp.nanmean(jnp.where(usable[None], draws, 0), axis=0)
    t = (draws - centre[None]) / jnp.where(usable, error, 1)[None]
    t = jnp.where(usable[None] & jnp.isfinite(t), jnp.abs(t), 0).reshape(draws.shape[0], -1)
    extreme = jnp.max(t, axis=1, initial=0)
    critical = jnp.quantile(extreme, level) * wider
    error = error * unit
    half = critical * error
    return SimultaneousIntervals(value - half, value + half, value, error, critical)
