"""Prediction-powered quantiles, by inverting the test of the estimated distribution function.

Source: Angelopoulos et al. (2023), "Prediction-powered inference", algorithm 2, with the power
tuning of PPI++ at every point of the distribution function.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ...solvers.boundary import Numbers, as_float, concrete
from ...solvers.checks import check_count
from ..student_t import student_t_quantile
from ._inputs import Rows, check_flag, check_level, given_tuning, rows_of
from ._parts import mean_part, variance
from .estimate import Basis, Estimate, PointEstimate


def ppi_quantile(
    truth: Numbers,
    proxies: Numbers,
    quantile: Numbers = 0.5,
    *,
    sample_weight: Numbers | None = None,
    clusters: Any | None = None,
    finite: bool = False,
    tuning: Numbers | None = None,
    level: Numbers = 0.95,
    batch_size: int = 64,
) -> Estimate:
    """A quantile of a population's answers, of whom a few were asked.

    The share of answers up to t is estimated for every answer t that somebody gave, with the share
    of proxies up to t; the interval holds all t at which the share is not significantly above or
    below the quantile. So the proxies must be in the unit of the answers; calibrated ones are worth
    more than twins on another level. The ends are answers, or infinite where too few people were
    asked to bound the quantile.

    **Arguments:** `truth`, `proxies`, `sample_weight`, `clusters`, `finite`, `tuning`, `level`: as
    in [`ppi_mean`][syndigits_jax.inference.ppi_mean]; `quantile`: between 0 and 1, 0.5 for the
    median; `batch_size`: points at a time, which bounds memory.

    **Returns:** an [`Estimate`][] whose `value` is the smallest answer with an estimated share of
    at least `quantile` up to it. `standard_error` and the numbers of people derived from it are
    those of that share; `tuning` is that at the value.

    **Raises:** `ValueError` as `ppi_mean`, and for a quantile outside (0, 1).

    **Example:**

        >>> import numpy as np
        >>> from syndigits_jax.inference import ppi_quantile
        >>> rng = np.random.default_rng(0)
        >>> answers = rng.normal(size=1000)
        >>> twins = answers + 0.3 * rng.normal(size=1000)
        >>> answers[100:] = np.nan
        >>> found = ppi_quantile(answers, twins, 0.5)
        >>> print(found.lower <= 0 <= found.upper, found.worth > 50)
        True True
    """
    level = check_level(level)
    wanted = as_float("quantile", quantile)
    known = concrete(wanted)
    if wanted.ndim or (known is not None and not 0 < known < 1):
        raise ValueError(f"`quantile` must be a number strictly between 0 and 1, got {quantile}")
    finite = check_flag("finite", finite)
    check_count("batch_size", batch_size)
    rows = rows_of(truth, proxies, sample_weight, clusters)
    dtype = rows.answer.dtype
    wanted, level = wanted.astype(dtype), level.astype(dtype)
    tuning = given_tuning(tuning, rows.proxy.shape[1], dtype)
    points, real = _points(rows)
    batch = min(batch_size, points.shape[0])
    return _estimate(rows, points, real, wanted, tuning, level, finite=finite, batch_size=batch)


@functools.partial(jax.jit, static_argnames=("finite", "batch_size"))
def _estimate(
    rows: Rows,
    points: Float[Array, " t"],
    real: Bool[Array, " t"],
    wanted: Float[Array, ""],
    tuning: Float[Array, " p"] | None,
    level: Float[Array, ""],
    *,
    finite: bool,
    batch_size: int,
) -> Estimate:
    dtype = rows.answer.dtype

    def at(point: Float[Array, ""]) -> tuple[Array, ...]:
        below = rows._replace(
            answer=jnp.where(rows.asked, (rows.answer <= point).astype(dtype), 0),
            proxy=jnp.where(rows.known, (rows.proxy <= point).astype(dtype), 0),
        )
        everybody = jnp.ones_like(rows.asked)
        part = mean_part(below, everybody, finite=finite, tuning=tuning)
        alone = part.classical_value
        spread = alone * (1 - alone)
        # The spread under the hypothesis is known; the data say how the error exceeds or falls
        # short of it. Where nobody or everybody is below t, they say nothing.
        some = ~part.equal & (spread > 0)
        shape = jnp.where(some, 1 / jnp.where(some, spread, 1), 0)
        none = 1 / jnp.maximum(part.people - 1, 1)
        factor = jnp.where(some, variance(part.row, rows) * shape, none)
        alone_factor = jnp.where(some, variance(part.classical_row, rows) * shape, none)
        return (part.value, alone, factor, alone_factor, part.df, part.classical_df,
                part.tuning, part.kept, part.people)  # fmt: skip

    share, alone, factor, alone_factor, df, alone_df, lam, kept, people = jax.lax.map(
        at, points, batch_size=batch_size
    )
    people = people[0]
    few = people < 2

    def inverted(value: Array, scale: Array, degrees: Array) -> tuple[Array, PointEstimate]:
        errors = jnp.sqrt(wanted * (1 - wanted) * scale)
        half = student_t_quantile(level, jnp.maximum(degrees, 1)) * errors
        place, found = _inverted(points, real, value, half, errors, wanted, people, level)
        return place, jax.tree.map(lambda leaf: jnp.where(few, jnp.nan, leaf), found)

    place, found = inverted(share, factor, df)
    _, classical = inverted(alone, alone_factor, alone_df)
    helped = jnp.any(real & (kept > 0))
    basis = jnp.where(helped, int(Basis.TWINS), int(Basis.PEOPLE))
    basis = jnp.where(jnp.sum(real, dtype=jnp.int32) == 1, int(Basis.ALIKE), basis)
    basis = jnp.where(few, int(Basis.TOO_FEW), basis).astype(jnp.int32)
    return Estimate(
        lower=found.lower,
        upper=found.upper,
        value=found.value,
        standard_error=found.standard_error,
        classical=classical,
        tuning=lam[place],
        people=people,
        basis=basis,
    )


def _points(rows: Rows) -> tuple[Float[Array, " t"], Bool[Array, " t"]]:
    """The distinct answers in order, and which of the entries they are; the rest is padding."""
    values = jnp.where(rows.asked, rows.answer, jnp.inf)
    known = concrete(values)
    if known is not None:
        distinct = np.unique(known[np.isfinite(known)])
        return jnp.asarray(distinct, values.dtype), jnp.ones(distinct.shape, bool)
    ordered = jnp.sort(values)
    first = jnp.concatenate([jnp.ones((1,), bool), ordered[1:] > ordered[:-1]])
    real = first & jnp.isfinite(ordered)
    top = jnp.max(jnp.where(rows.asked, rows.answer, -jnp.inf))
    return jnp.where(jnp.isfinite(ordered), ordered, top), real


def _inverted(
    points: Float[Array, " t"],
    real: Bool[Array, " t"],
    share: Float[Array, " t"],
    half: Float[Array, " t"],
    errors: Float[Array, " t"],
    wanted: Float[Array, ""],
    people: Float[Array, ""],
    level: Float[Array, ""],
) -> tuple[Array, PointEstimate]:
    """The place of the quantile among the points, and the interval.

    A point t is rejected where the share up to t is significantly below `wanted`, or the share
    below t, which is that up to the point before, significantly above. Below the first point the
    share is 0, from the last on it is 1.
    """
    share = jnp.where(points >= jnp.max(points), 1, share)
    wanted = wanted * (1 - 64 * jnp.finfo(share.dtype).eps)  # shares are rounded
    reaches = real & (share >= wanted)
    place = jnp.argmax(reaches)
    nothing = student_t_quantile(level, jnp.maximum(people - 1, 1))
    nothing = nothing * jnp.sqrt(wanted * (1 - wanted) / jnp.maximum(people - 1, 1))
    # From below: the first point whose share may be that of the quantile.
    not_low = real & (share + half >= wanted)
    lower = jnp.where(nothing >= wanted, -jnp.inf, jnp.min(jnp.where(not_low, points, jnp.inf)))
    # From above: the last point below which the share may be; the point after the last such one.
    not_high = real & (share - half <= wanted) & (points < jnp.max(points))
    after = jnp.max(jnp.where(not_high, points, -jnp.inf))
    following = jnp.min(jnp.where(real & (points > after), points, jnp.inf))
    upper = jnp.where(nothing >= 1 - wanted, jnp.inf, following)
    value = points[place]
    return place, PointEstimate(
        jnp.minimum(lower, value), jnp.maximum(upper, value), value, errors[place]
    )
