"""Prediction-powered means, shares and differences.

Sources: Angelopoulos, Bates, Fannjiang, Jordan and Zrnic (2023), "Prediction-powered inference";
Angelopoulos, Duchi and Zrnic (2023), "PPI++: efficient prediction-powered inference"; Fisch,
Maynez, Hofer, Dhingra, Globerson and Cohen (2024), "Stratified prediction-powered inference".
The regression estimator of survey sampling (Cochran, 1977, chapter 7) is the same with the people
asked among those with proxies. For few people we add what those leave out: t quantiles,
leave-one-out residuals, and coefficients shrunk as far as chance could explain them.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ...solvers.boundary import Numbers, concrete
from ...solvers.units import largest
from ..student_t import student_t_quantile
from ._inputs import Rows, check_flag, check_level, check_people, codes, given_tuning, rows_of
from ._parts import Part, by_cluster, mean_part, variance
from ._skewness import skewed_ends
from .estimate import Basis, Estimate, PointEstimate


def ppi_mean(
    truth: Numbers,
    proxies: Numbers,
    *,
    sample_weight: Numbers | None = None,
    clusters: Any | None = None,
    strata: Any | None = None,
    n_strata: int | None = None,
    finite: bool = False,
    tuning: Numbers | None = None,
    level: Numbers = 0.95,
    skewness_corrected: bool = True,
) -> Estimate:
    """The mean answer of a population, of whom a few were asked and all have proxies.

    The proxies may be anything that is known of everybody and has not seen the answers of the
    people asked: raw twins, calibrated ones, several at once. What has seen them must be made
    without each person's own answer ([`cross_fit`][]). The interval holds however bad the proxies
    are; good ones make it narrower.

    **Arguments:**

    - `truth`: (n,) answers, NaN for people who were not asked. Who is asked must be decided at
      random (within strata).
    - `proxies`: (n,) or (n, p) for all people, in any unit. People without one say nothing of its
      mean; who lacks it should not depend on the answers.
    - `sample_weight`: (n,) survey weights of all people; those of weight 0 do not count.
    - `clusters`: (n,) labels of rows that are drawn together, such as the person where every row
      is an answer to one of several questions. Whole numbers below n if they are traced.
    - `strata`: (n,) labels, within which people were drawn. Shares of strata are taken for known;
      every stratum has a tuning of its own. `n_strata`: how many, if the labels are traced.
    - `finite`: whether the n people are the population. Then only who was asked is random; else the
      n people are a sample too, as they are in any case where some of them lack a proxy.
    - `tuning`: λ, one number or one per proxy, that is used as given: 1 for plain
      prediction-powered inference, 0 for people alone. `None` chooses it (PPI++).
    - `level`: coverage of the interval.
    - `skewness_corrected`: whether the ends follow the skewness of the answers (Hall, 1992), as far
      from the estimate as it is likely to err on either side; else the interval is the usual t
      interval. Where answers are not skewed, both are alike.

    **Returns:** an [`Estimate`][].

    **Raises:** `ValueError` for arrays that do not fit together, fewer than two people (or
    clusters) asked, also in a stratum, negative weights or only zeros, or a level outside (0, 1).
    Where arrays are traced, too few people are NaN with the basis `TOO_FEW`.

    **Example:**

        >>> import numpy as np
        >>> from syndigits_jax.inference import ppi_mean
        >>> rng = np.random.default_rng(0)
        >>> answers = rng.normal(3.0, 1.0, size=1000)
        >>> twins = 0.8 * answers + rng.normal(size=1000) * 0.5
        >>> answers[50:] = np.nan  # only 50 people were asked
        >>> found = ppi_mean(answers, twins)
        >>> print(found.lower < 3.0 < found.upper, found.half_width < found.classical.half_width)
        True True
        >>> print(f"the twins were worth {found.worth:.0f} more people")
        the twins were worth 128 more people
    """
    level, finite = check_level(level), check_flag("finite", finite)
    rows = rows_of(truth, proxies, sample_weight, clusters)
    tuning = given_tuning(tuning, rows.proxy.shape[1], rows.answer.dtype)
    inside, weight = _strata(rows, strata, n_strata)
    return _estimate(
        rows, inside, weight, tuning, level, finite=finite, several=strata is not None,
        skewness_corrected=check_flag("skewness_corrected", skewness_corrected),
    )  # fmt: skip


def ppi_share(
    truth: Numbers,
    proxies: Numbers,
    *,
    sample_weight: Numbers | None = None,
    clusters: Any | None = None,
    strata: Any | None = None,
    n_strata: int | None = None,
    finite: bool = False,
    tuning: Numbers | None = None,
    level: Numbers = 0.95,
) -> Estimate:
    """The share of a population that gives an answer, of whom a few were asked.

    As [`ppi_mean`][] of 0 and 1, with the score interval (Wilson, 1927; with t for the normal
    quantile) at the effective sample size: it stays within 0 and 1, holds for small shares, and is
    of use when all people asked agree.

    **Arguments:** `truth`: (n,) 1 or True for the answer, 0 for others, NaN for people who were not
    asked; `proxies`: probabilities or anything else; `sample_weight`, `clusters`, `strata`,
    `n_strata`, `finite`, `tuning`, `level`: as in [`ppi_mean`][].

    **Raises:** `ValueError` as [`ppi_mean`][], and for a truth other than 0 and 1.

    **Example:**

        >>> import numpy as np
        >>> from syndigits_jax.inference import ppi_share
        >>> rng = np.random.default_rng(0)
        >>> chance = rng.beta(0.5, 1.0, size=1000)
        >>> agrees = (rng.random(1000) < chance).astype(float)
        >>> share = agrees.mean()
        >>> agrees[100:] = np.nan
        >>> found = ppi_share(agrees, chance, finite=True)
        >>> print(found.lower < share < found.upper, found.worth > 20)
        True True
    """
    level, finite = check_level(level), check_flag("finite", finite)
    rows = rows_of(truth, proxies, sample_weight, clusters)
    known = concrete(rows.answer)
    if known is not None and not ((known == 0) | (known == 1)).all():
        raise ValueError("`truth` must be 0 or 1 (or NaN) for a share, such as `answers == 5`")
    tuning = given_tuning(tuning, rows.proxy.shape[1], rows.answer.dtype)
    inside, weight = _strata(rows, strata, n_strata)
    return _estimate(
        rows, inside, weight, tuning, level, finite=finite, several=strata is not None, score=True
    )


def ppi_difference(
    truth: Numbers,
    proxies: Numbers,
    group: Any,
    *,
    sample_weight: Numbers | None = None,
    clusters: Any | None = None,
    finite: bool = False,
    tuning: Numbers | None = None,
    level: Numbers = 0.95,
    skewness_corrected: bool = True,
) -> Estimate:
    """The mean of one group, or arm of an experiment, less that of another.

    Each has its own tuning. With `clusters`, people may be in both arms: rows of one person then
    err together.

    **Arguments:** `truth`, `proxies`, `sample_weight`, `clusters`, `finite`, `tuning`, `level`,
    `skewness_corrected`: as in [`ppi_mean`][]; `group`: (n,) labels of two kinds. The result is the
    mean of the second (True, 1, or the later in order) less that of the first.

    **Returns:** an [`Estimate`][]; `tuning` is (2, p).

    **Raises:** `ValueError` as [`ppi_mean`][], also for a group with fewer than two people asked,
    and for labels of other than two kinds.

    **Example:**

        >>> import numpy as np
        >>> from syndigits_jax.inference import ppi_difference
        >>> rng = np.random.default_rng(1)
        >>> treated = np.arange(2000) % 2 == 1
        >>> answers = rng.normal(size=2000) + 0.5 * treated
        >>> twins = answers + rng.normal(size=2000) * 0.4
        >>> answers[200:] = np.nan
        >>> found = ppi_difference(answers, twins, treated)
        >>> print(found.lower < 0.5 < found.upper, found.people_saved > 0.5)
        True True
    """
    level, finite = check_level(level), check_flag("finite", finite)
    rows = rows_of(truth, proxies, sample_weight, clusters)
    members, count = codes("group", group, rows.answer.shape[0], 2)
    if count != 2:
        raise ValueError(f"`group` must have labels of two kinds, got {count}")
    tuning = given_tuning(tuning, rows.proxy.shape[1], rows.answer.dtype)
    inside = _groups(rows, members, 2, "group")
    sign = jnp.asarray([-1.0, 1.0], rows.answer.dtype)
    return _estimate(
        rows, inside, sign, tuning, level, finite=finite, several=True,
        skewness_corrected=check_flag("skewness_corrected", skewness_corrected),
    )  # fmt: skip


def _strata(
    rows: Rows, strata: Any | None, n_strata: int | None
) -> tuple[Bool[Array, "k n"], Float[Array, " k"]]:
    """The members of every stratum, and the strata's shares."""
    if strata is None:
        return jnp.ones_like(rows.asked)[None], jnp.ones((1,), rows.answer.dtype)
    members, count = codes("strata", strata, rows.answer.shape[0], n_strata)
    if n_strata is not None and n_strata != count:
        raise ValueError(f"`n_strata` is {n_strata!r}, but `strata` has {count} labels")
    size = jax.ops.segment_sum(rows.weight, members, count)
    return _groups(rows, members, count, "stratum"), size / jnp.sum(size)


def _groups(rows: Rows, members: Int[Array, " n"], count: int, word: str) -> Bool[Array, "k n"]:
    inside = members[None, :] == jnp.arange(count, dtype=members.dtype)[:, None]
    if (known := concrete(inside)) is not None:
        for k, counted in enumerate(known):
            check_people("truth", rows.asked & counted, rows.cluster, f" in {word} {k + 1}")
    return inside


@functools.partial(jax.jit, static_argnames=("finite", "several", "score", "skewness_corrected"))
def _estimate(
    rows: Rows,
    inside: Bool[Array, "k n"],
    weight: Float[Array, " k"],
    tuning: Float[Array, " p"] | None,
    level: Float[Array, ""],
    *,
    finite: bool,
    several: bool,
    score: bool = False,
    skewness_corrected: bool = False,
) -> Estimate:
    """The weighted sum of the means of groups of rows; a cluster may have rows in several groups.

    **Arguments:** `inside`: (k, n) the groups; `weight`: (k,); `several`: whether the tuning keeps
    the axis of the groups; `score`: whether the interval is that of a share.
    """

    # In units of their size, so that squares are in range.
    unit, proxy_unit = largest(rows.answer), largest(rows.proxy, axis=0)
    rows = rows._replace(answer=rows.answer / unit, proxy=rows.proxy / proxy_unit[None])
    tuning = None if tuning is None else tuning * (proxy_unit / unit)

    def part(counted: Bool[Array, " n"]) -> Part:
        return mean_part(rows, counted, finite=finite, tuning=tuning)

    parts = jax.vmap(part)(inside)
    few = jnp.any(parts.people < 2)
    people = jnp.sum(parts.people)
    level = level.astype(rows.answer.dtype)
    df = _degrees(parts.row, parts.df, weight, rows)
    classical_df = _degrees(parts.classical_row, parts.classical_df, weight, rows)
    certain = jnp.all(parts.certain)
    found, alone = (
        _interval(weight @ value, weight @ row, rows, degrees, level, certain, skewness_corrected)
        for value, row, degrees in (
            (parts.value, parts.row, df),
            (parts.classical_value, parts.classical_row, classical_df),
        )
    )
    if score:
        found, alone = (
            _score_interval(one, alone.value, people, level, degrees, certain)
            for one, degrees in ((found, df), (alone, classical_df))
        )
    found, alone = jax.tree.map(lambda leaf: jnp.where(few, jnp.nan, leaf * unit), (found, alone))
    parts = parts._replace(tuning=parts.tuning * (unit / proxy_unit)[None])
    basis = jnp.where(jnp.any(parts.kept > 0), int(Basis.TWINS), int(Basis.PEOPLE))
    basis = jnp.where(jnp.any(parts.equal), int(Basis.ALIKE), basis)
    return Estimate(
        lower=found.lower,
        upper=found.upper,
        value=found.value,
        standard_error=found.standard_error,
        classical=alone,
        tuning=parts.tuning if several else parts.tuning[0],
        people=people,
        basis=jnp.where(few, int(Basis.TOO_FEW), basis).astype(jnp.int32),
    )


def _degrees(
    row: Float[Array, "k n"], df: Float[Array, " k"], weight: Float[Array, " k"], rows: Rows
) -> Float[Array, ""]:
    """Degrees of freedom of a weighted sum of means (Welch and Satterthwaite)."""
    df = jnp.maximum(df, 1)
    each = weight**2 * jax.vmap(lambda one: variance(one, rows))(row)
    total = jnp.sum(each)
    share = each / jnp.where(total > 0, total, 1)
    return jnp.where(total > 0, 1 / jnp.where(total > 0, jnp.sum(share**2 / df), 1), jnp.min(df))


def _interval(
    value: Float[Array, ""],
    row: Float[Array, " n"],
    rows: Rows,
    df: Float[Array, ""],
    level: Float[Array, ""],
    certain: Bool[Array, ""],
    skewness_corrected: bool,
) -> PointEstimate:
    square = variance(row, rows)
    some = square > 0
    size = jnp.sqrt(jnp.where(some, square, 1))
    if skewness_corrected:
        ends = skewed_ends(by_cluster(row, rows) / size, df, level)
    else:
        t = student_t_quantile(level, df)
        ends = -t, t
    lower, upper = (
        jnp.where(certain, 0, jnp.where(some, end * size, at))
        for end, at in zip(ends, (-jnp.inf, jnp.inf), strict=True)
    )
    return PointEstimate(value + lower, value + upper, value, jnp.where(some, size, 0))


def _score_interval(
    found: PointEstimate,
    alone: Float[Array, ""],
    people: Float[Array, ""],
    level: Float[Array, ""],
    df: Float[Array, ""],
    certain: Bool[Array, ""],
) -> PointEstimate:
    """Wilson's interval at the sample size with which the share `alone` has that error."""
    spread = alone * (1 - alone)
    square = found.standard_error**2 * (people - 1) / people
    known = (square > 0) & (spread > 0)
    size = jnp.where(known, spread / jnp.where(known, square, 1), people)
    t2 = student_t_quantile(level, df) ** 2 / size
    square = jnp.where(known, square, 0)
    centre = (jnp.clip(found.value, 0, 1) + t2 / 2) / (1 + t2)
    half = jnp.sqrt(t2) * jnp.sqrt(size * square + t2 / 4) / (1 + t2)
    lower, upper = jnp.maximum(centre - half, 0), jnp.minimum(centre + half, 1)
    lower, upper = (jnp.where(certain, found.value, end) for end in (lower, upper))
    return PointEstimate(lower, upper, found.value, found.standard_error)
