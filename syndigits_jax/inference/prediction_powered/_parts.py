"""The regression estimator of one mean: a value, and what every row contributes to its error.

With proxies x of all people and answers y of those asked, the estimate is ȳ + β'(x̄ - x̄_asked),
where x̄ is over everybody. It is the PPI++ estimate with λ = β · (share of weight not asked).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ...solvers.precision import full_precision
from ..alike import alike
from ._inputs import Rows
from ._tuning import Moments, Tuned, given, tune, varying

HIGHEST_LEVERAGE = 0.99
"""Residuals of rows with more are not inflated further."""


class Part(NamedTuple):
    """An estimate of a mean; `row` and `classical_row` (n,) add up, by cluster, to its error.

    - `value`, `classical_value`.
    - `df`, `classical_df`: degrees of freedom.
    - `people`: clusters (or people) asked; `tuning`: (p,) λ; `kept`: of the coefficients.
    - `equal`: whether all asked gave the same answer; `certain`: whether all of a finite
      population were asked.
    """

    value: Float[Array, ""]
    row: Float[Array, " n"]
    df: Float[Array, ""]
    classical_value: Float[Array, ""]
    classical_row: Float[Array, " n"]
    classical_df: Float[Array, ""]
    people: Float[Array, ""]
    tuning: Float[Array, " p"]
    kept: Float[Array, ""]
    equal: Bool[Array, ""]
    certain: Bool[Array, ""]


def by_cluster(values: Float[Array, " n"], rows: Rows) -> Float[Array, " n"]:
    """Sums over the rows of each cluster (n,), zeros after the last; without clusters, `values`."""
    if rows.cluster is None:
        return values
    return jax.ops.segment_sum(values, rows.cluster, values.shape[0])


def variance(row: Float[Array, " n"], rows: Rows) -> Float[Array, ""]:
    """The variance of an error that is a sum over independent clusters."""
    return jnp.sum(by_cluster(row, rows) ** 2)


def count_people(members: Bool[Array, " n"], rows: Rows) -> Float[Array, ""]:
    """How many people, or clusters, have a member among the rows."""
    return jnp.sum(by_cluster(members.astype(rows.weight.dtype), rows) > 0, dtype=rows.weight.dtype)


@full_precision
def mean_part(
    rows: Rows,
    counted: Bool[Array, " n"],
    *,
    finite: bool,
    tuning: Float[Array, " p"] | None,
) -> Part:
    """The mean over the people `counted`, of whom some were asked.

    Means of a proxy are over those who have it, among everybody and among the people asked: where
    only people asked have one, they are equal and the proxy has no effect.

    The standard error mixes that of the regression estimator, from leave-one-out residuals (HC3),
    and that of people alone, as far as each is used. With a finite population it has the correction
    for the share asked, and nothing for the draw of the population itself.

    **Arguments:** `rows`; `counted`: (n,); `finite`: whether the people counted are the population;
    `tuning`: (p,) a λ that is given, or `None` to choose it.
    """
    asked, proxy = rows.asked & counted, rows.proxy
    weight = jnp.where(counted, rows.weight, 0)
    total, total_asked = jnp.sum(weight), jnp.sum(jnp.where(asked, weight, 0))
    share = jnp.where(asked, weight, 0) / jnp.where(total_asked > 0, total_asked, 1)
    of_all = weight / jnp.where(total > 0, total, 1)
    equal = alike(rows.answer, asked, 0)
    first = share @ rows.answer
    answer = jnp.where(asked & ~equal, rows.answer - first, 0)
    moved = share @ answer  # the rounding of the first mean
    answer = jnp.where(asked & ~equal, answer - moved, 0)
    known = rows.known
    of_asked, part_asked = _among(share, known)
    everybody, part_all = _among(of_all, known)
    proxy_mean = jnp.sum(of_asked * proxy, axis=0)
    gap = jnp.sum(everybody * (proxy - proxy_mean[None]), axis=0)  # x̄ - x̄_asked
    # So that the shares of all people asked give the mean over those with a proxy.
    centred = (proxy - proxy_mean[None]) / part_asked[None]
    centred = jnp.where(known & asked[:, None], centred, 0)
    people = count_people(asked, rows)
    unasked = jnp.sum(jnp.where(asked, 0, weight)) / jnp.where(total > 0, total, 1)
    if tuning is None:
        weighted = centred * share[:, None]
        moments = Moments(weighted.T @ centred, weighted.T @ answer, share @ answer**2)
        tuned = tune(moments, varying(proxy, known & asked[:, None]), people)
    else:
        tuned = given(tuning / jnp.where(unasked > 0, unasked, 1))
    tuned = jax.tree.map(lambda leaf: jnp.where(unasked > 0, leaf, 0), tuned)
    classical_row = _classical(share * answer, people, rows)
    row = _row(tuned, share, answer, centred, gap, people, rows)
    population = count_people(counted & (weight > 0), rows)
    about = jnp.where(known, proxy - proxy_mean[None] - gap[None], 0)
    sampled = row + of_all * ((about / part_all[None]) @ tuned.coef)
    if finite:
        correction = jnp.sqrt(1 - people / jnp.maximum(population, 1))
        classical_row = correction * classical_row
        # The mean of a proxy over everybody is certain only if nobody lacks it.
        lacking = jnp.any((weight > 0)[:, None] & ~known)
        row = jnp.where(lacking, sampled, correction * row)
    else:
        row = sampled
    row = _mixed(row, classical_row, tuned, rows)
    top = jnp.max(jnp.where(asked, rows.answer, -jnp.inf))
    value = jnp.where(equal & (people > 0), top, first + moved)
    # Degrees of freedom count people as far as their weights are alike (Kish, 1965).
    alike_share = jnp.minimum(_kish(share, rows) / jnp.maximum(people, 1), _kish(of_all, rows)
                              / jnp.maximum(population, 1))  # fmt: skip
    effective = people * jnp.minimum(alike_share, 1)
    return Part(
        value=value + gap @ tuned.coef,
        row=row,
        df=effective - 1 - tuned.kept * tuned.used,
        classical_value=value,
        classical_row=classical_row,
        classical_df=effective - 1,
        people=people,
        tuning=tuned.coef * unasked,
        kept=tuned.kept if tuning is None else jnp.any(tuned.coef != 0).astype(row.dtype),
        equal=equal,
        certain=(unasked <= 0) if finite else jnp.zeros((), bool),
    )


def _among(
    share: Float[Array, " n"], known: Bool[Array, "n p"]
) -> tuple[Float[Array, "n p"], Float[Array, " p"]]:
    """Shares among those with a proxy, and which part of all they are; 1 where nobody has one."""
    seen = jnp.where(known, share[:, None], 0)
    part = jnp.sum(seen, axis=0)
    part = jnp.where(part > 0, part, 1)
    return seen / part[None], part


def _kish(share: Float[Array, " n"], rows: Rows) -> Float[Array, ""]:
    """The effective number of people (or clusters) of shares that add up to 1."""
    square = jnp.sum(by_cluster(share, rows) ** 2)
    return 1 / jnp.where(square > 0, square, 1)


def _classical(row: Float[Array, " n"], people: Float[Array, ""], rows: Rows) -> Float[Array, " n"]:
    """Rows whose squared cluster sums are the usual unbiased variance."""
    return row * jnp.sqrt(people / jnp.maximum(people - 1, 1))


def _row(
    tuned: Tuned,
    share: Float[Array, " n"],
    answer: Float[Array, " n"],
    centred: Float[Array, "n p"],
    gap: Float[Array, " p"],
    people: Float[Array, ""],
    rows: Rows,
) -> Float[Array, " n"]:
    """What the people asked contribute to the error of the regression estimator.

    For fitted coefficients residuals are those of the fit without their cluster, up to the
    approximation of its leverage by a sum, and weights those that the regression gives to answers.
    """
    residual = answer - centred @ tuned.coef
    shape = centred @ tuned.inverse
    lever = share * (1 + tuned.kept * jnp.sum(shape * centred, axis=1))
    fitted = share * (1 + tuned.kept * (shape @ gap)) * residual
    levers = by_cluster(lever, rows)
    levers = levers if rows.cluster is None else levers[rows.cluster]
    fitted = fitted / (1 - jnp.minimum(levers, HIGHEST_LEVERAGE))
    return jnp.where(tuned.used > 0, fitted, _classical(share * residual, people, rows))


def _mixed(
    row: Float[Array, " n"], classical_row: Float[Array, " n"], tuned: Tuned, rows: Rows
) -> Float[Array, " n"]:
    """`row`, scaled so that its standard error is a mean of both, as far as each is used."""
    square = variance(row, rows)
    some = square > 0
    error = jnp.sqrt(jnp.where(some, square, 1))
    classical_square = variance(classical_row, rows)
    classical = jnp.where(
        classical_square > 0, jnp.sqrt(jnp.where(classical_square > 0, classical_square, 1)), 0
    )
    scale = tuned.kept + (1 - tuned.kept) * classical / error
    return jnp.where(some & (tuned.used > 0), scale * row, row)
