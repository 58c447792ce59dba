"""How well what was expected of questions came true: their order, size and intervals."""

import functools
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..inference.pigeonhole import block_members, interval_factor, wilson_interval
from ..inference.resampling import bootstrap
from ..solvers.boundary import Numbers, host_floats
from ..solvers.checks import check_count, check_probability
from ..solvers.keys import PRNGKey
from .comparison import Estimated


class ExpectationsJudged(NamedTuple):
    """Expected against realised values of questions, with intervals over questions or blocks.

    - `correlation`: over questions, of expected and realised values.
    - `slope`: of the regression of realised on expected values; 1 if differences between questions
      are as large as expected.
    - `lift`: mean realised value of the questions expected to be in the upper half, less that of
      the others; `upper_half`, `lower_half`: both means.
    - `coverage`: the share of questions whose realised value lay in its interval; NaN without.
    - `count`: questions judged.
    """

    correlation: Estimated
    slope: Estimated
    lift: Estimated
    upper_half: Estimated
    lower_half: Estimated
    coverage: Estimated
    count: int


def judge_expectations(
    expected: Numbers,
    realised: Numbers,
    *,
    key: PRNGKey,
    lower: Numbers | None = None,
    upper: Numbers | None = None,
    groups: Iterable[Any] | None = None,
    replicates: int = 2000,
    level: float = 0.95,
) -> ExpectationsJudged:
    """How well expected values of questions, made without them, agree with the realised ones.

    **Arguments:**

    - `expected`, `realised`: (t,); questions without either (NaN) are left out.
    - `key`: of the resampling.
    - `lower`, `upper`: (t,) ends of the intervals of the realised values.
    - `groups`: (t,) blocks of questions that are resampled together; by default each on its own.
    - `replicates`: of the bootstrap; `level`: of the intervals returned.

    **Returns:** [`ExpectationsJudged`][]; NaN, with infinite ends, where nothing varies.

    **Raises:** `ValueError` for shapes that do not fit, and fewer than three questions or two
    blocks.

    **Example:**

        >>> import jax
        >>> from syndigits_jax.evaluation import judge_expectations
        >>> expected = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
        >>> realised = [0.2, 0.1, 0.35, 0.4, 0.55, 0.5]
        >>> found = judge_expectations(expected, realised, key=jax.random.key(0))
        >>> print(found.lift.lower > 0, round(found.slope.estimate, 2))
        True 0.83
    """
    check_probability(level=level)
    check_count("replicates", replicates, least=2)
    x, y = host_floats("expected", expected), host_floats("realised", realised)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"`realised` must have the shape of `expected` (t,), got {y.shape}")
    used = np.isfinite(x) & np.isfinite(y)
    if used.sum() < 3:
        raise ValueError(f"`expected`: {used.sum()} questions can be judged; at least 3 are needed")
    labels = list(range(len(x))) if groups is None else list(groups)
    if len(labels) != len(x):
        raise ValueError(f"`groups` must name {len(x)} questions, got {len(labels)}")
    labels = [label for label, one in zip(labels, used, strict=True) if one]
    member, units = block_members(labels, len(labels), "groups")
    covered = np.full(len(x), np.nan)
    if (lower is None) != (upper is None):
        raise ValueError("`lower` and `upper`: give both ends of the intervals, or neither")
    if lower is not None and upper is not None:
        low, high = host_floats("lower", lower), host_floats("upper", upper)
        for name, ends in (("lower", low), ("upper", high)):
            if ends.shape != x.shape:
                raise ValueError(f"`{name}` must have shape {x.shape}, got {ends.shape}")
        covered = np.where((low <= y) & (y <= high), 1.0, 0.0)
    x, y, covered = x[used], y[used], covered[used]
    best = (x > np.median(x)).astype(float)
    # About their means, so that squares do not cancel.
    middle = y.mean()
    a, b = x - x.mean(), y - middle
    # And in units of their sizes, so that their squares are single precision numbers.
    width, height = _unit(a), _unit(b)
    a, b = a / width, b / height
    one = np.ones_like(x)
    columns = one, a, b, a * a, a * b, b * b, best, best * b, covered
    sums = np.stack([np.bincount(member, column, units) for column in columns], axis=1)
    found = _resampled(key, jnp.asarray(sums), replicates=replicates, level=level)
    estimate, error = (np.asarray(v, np.float64) for v in (found.estimate, found.standard_error))
    units_of = np.array([1, height / width, height, height, height, 1])
    estimate, error = estimate * units_of, error * units_of
    shift = np.array([0, 0, 0, middle, middle, 0])
    reach = np.where(np.isfinite(error), interval_factor(level, units) * error, np.inf)

    def at(i: int) -> Estimated:
        value = float(estimate[i] + shift[i])
        return Estimated(value, *((value - reach[i], value + reach[i]) if value == value else
                                  (-np.inf, np.inf)))  # fmt: skip

    share = at(5)
    if math.isfinite(share.estimate):
        # Of all or none a bootstrap says nothing; of blocks it says that they stand together.
        square = error[5] ** 2
        spread = share.estimate * (1 - share.estimate)
        size = min(len(y), spread / square) if square > 0 and spread > 0 else len(y)
        share = Estimated(share.estimate, *wilson_interval(share.estimate, size, level))
    return ExpectationsJudged(at(0), at(1), at(2), at(3), at(4), share, int(used.sum()))


def _unit(values: Float[np.ndarray, " t"]) -> float:
    """The power of two at or below the largest value; 1 if all are 0."""
    largest = float(np.abs(values).max())
    return 2.0 ** math.floor(math.log2(largest)) if largest > 0 else 1.0


@functools.partial(jax.jit, static_argnames=("replicates", "level"))
def _resampled(key: PRNGKey, sums: jax.Array, *, replicates: int, level: float):
    return bootstrap(key, _statistics, sums, replicates=replicates, level=level)


def _statistics(sums: Float[jax.Array, "g 9"]) -> Float[jax.Array, " 6"]:
    n, a, b, aa, ab, bb, best, best_b, covered = jnp.sum(sums, axis=0)

    def over(top, bottom):
        return jnp.where(bottom > 0, top / jnp.where(bottom > 0, bottom, 1), jnp.nan)

    xx, xy, yy = aa - a * a / n, ab - a * b / n, bb - b * b / n
    size = jnp.where((xx > 1e-9) & (yy > 1e-9), jnp.sqrt(jnp.maximum(xx * yy, 0)), 0)
    high, low = over(best_b, best), over(b - best_b, n - best)
    slope = over(xy, jnp.where(xx > 1e-9, xx, 0))
    return jnp.stack([over(xy, size), slope, high - low, high, low, covered / n])
