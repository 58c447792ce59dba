"""Prediction-powered coefficients of linear and logistic regressions.

Source: Angelopoulos, Duchi and Zrnic (2023), "PPI++", sections 3 to 6. The estimating equations are
those of the people asked, plus β times the difference of the proxies' equations between everybody
and the people asked.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...solvers.boundary import Numbers, as_float, concrete
from ...solvers.checks import check_steps
from ...solvers.precision import full_precision
from ...solvers.solution import Solution, Status
from ..alike import alike
from ..student_t import student_t_quantile
from ._estimating import Model, Problem, inverse, levers, newton
from ._inputs import Rows, check_flag, check_level, given_tuning, rows_of
from ._parts import by_cluster, count_people
from ._tuning import Moments, Tuned, given, tune, varying
from .estimate import Basis, Estimate, PointEstimate


def ppi_linear(
    x: Numbers,
    truth: Numbers,
    proxies: Numbers,
    *,
    sample_weight: Numbers | None = None,
    clusters: Any | None = None,
    finite: bool = False,
    tuning: Numbers | None = None,
    coefficient: int | None = None,
    level: Numbers = 0.95,
) -> Solution[Estimate]:
    """Coefficients of a linear regression of the answers on what is known of everybody.

    **Arguments:** `truth`, `sample_weight`, `clusters`, `finite`, `tuning`, `level`: as in
    [`ppi_mean`][syndigits_jax.inference.ppi_mean], and

    - `x`: (n, d) regressors of all people, complete; a column of ones is the intercept.
    - `proxies`: (n,) or (n, p) predicted answers.
    - `coefficient`: the position of the coefficient whose variance the tuning minimises; by
      default the sum of all variances, each relative to that from people alone.

    **Returns:** a [`Solution`][syndigits_jax.solvers.Solution] whose value is an [`Estimate`][]
    with arrays (d,); `SINGULAR` where the regressors of the people asked are collinear. Standard
    errors are robust to unequal variances (HC3), for people alone too.

    **Raises:** `ValueError` as `ppi_mean`, for regressors that are missing or do not fit, and fewer
    people asked than there are coefficients and one more.

    **Example:**

        >>> import numpy as np
        >>> from syndigits_jax.inference import ppi_linear
        >>> rng = np.random.default_rng(0)
        >>> age = rng.normal(size=1000)
        >>> answers = 1 + 0.5 * age + rng.normal(size=1000)
        >>> twins = answers + 0.5 * rng.normal(size=1000)
        >>> answers[100:] = np.nan
        >>> x = np.stack([np.ones(1000), age], axis=1)
        >>> found = ppi_linear(x, answers, twins).value
        >>> print(found.lower[1] < 0.5 < found.upper[1], (found.worth > 50).all())
        True True
    """
    return _fit(x, truth, proxies, "linear", 1, sample_weight, clusters, finite, tuning,
                coefficient, level)  # fmt: skip


def ppi_logistic(
    x: Numbers,
    truth: Numbers,
    proxies: Numbers,
    *,
    sample_weight: Numbers | None = None,
    clusters: Any | None = None,
    finite: bool = False,
    tuning: Numbers | None = None,
    coefficient: int | None = None,
    max_steps: int = 50,
    level: Numbers = 0.95,
) -> Solution[Estimate]:
    """Coefficients of a logistic regression of answers of 0 and 1.

    **Arguments:** `x`, `sample_weight`, `clusters`, `finite`, `tuning`, `coefficient`, `level`: as
    in [`ppi_linear`][]; `truth`: (n,) 0 or 1, NaN for people who were not asked; `proxies`:
    probabilities, or predicted 0 and 1; `max_steps`: of Newton's method. λ is kept between 0 and 1.

    **Returns:** as [`ppi_linear`][]. `optimality` is the last Newton decrement, relative to the
    number 1. `MAX_STEPS` or `NONFINITE` where there is no finite solution, such as for answers that
    the regressors separate; the estimate is NaN there.

    **Raises:** `ValueError` as [`ppi_linear`][], and for a truth other than 0 and 1.

    **Example:**

        >>> import numpy as np
        >>> from syndigits_jax.inference import ppi_logistic
        >>> rng = np.random.default_rng(0)
        >>> age = rng.normal(size=2000)
        >>> chance = 1 / (1 + np.exp(-age))
        >>> answers = (rng.random(2000) < chance).astype(float)
        >>> twins = np.where(rng.random(2000) < 0.9, answers, 1 - answers)
        >>> answers[200:] = np.nan
        >>> x = np.stack([np.ones(2000), age], axis=1)
        >>> found = ppi_logistic(x, answers, twins).value
        >>> print(found.lower[1] < 1.0 < found.upper[1], found.worth[1] > 50)
        True True
    """
    return _fit(x, truth, proxies, "logistic", max_steps, sample_weight, clusters, finite, tuning,
                coefficient, level)  # fmt: skip


def _fit(
    x: Numbers,
    truth: Numbers,
    proxies: Numbers,
    model: Model,
    max_steps: int,
    sample_weight: Numbers | None,
    clusters: Any | None,
    finite: bool,
    tuning: Numbers | None,
    coefficient: int | None,
    level: Numbers,
) -> Solution[Estimate]:
    level = check_level(level)
    finite = check_flag("finite", finite)
    rows = rows_of(truth, proxies, sample_weight, clusters)
    there = concrete(rows.known)
    if there is not None and (missing := int(np.sum(~there.all(axis=1)))):
        raise ValueError(
            f"`proxies` are missing for {missing} people: impute them from what is known of "
            "everybody, or leave these people out"
        )
    dtype = rows.answer.dtype
    regressors = _regressors(x, rows)
    check_steps(max_steps)
    known = concrete(rows.answer)
    if model == "logistic" and known is not None and not ((known == 0) | (known == 1)).all():
        raise ValueError("`truth` must be 0 or 1 (or NaN) for a logistic regression")
    d, p = regressors.shape[1], rows.proxy.shape[1]
    if coefficient is not None and not 0 <= coefficient < d:
        raise ValueError(f"`coefficient` must be a position from 0 to {d - 1}, got {coefficient}")
    fixed = given_tuning(tuning, p, dtype)
    return _estimate(
        rows, regressors, fixed, level.astype(dtype),
        model=model, max_steps=max_steps, finite=finite, coefficient=coefficient,
    )  # fmt: skip


@functools.partial(jax.jit, static_argnames=("model", "max_steps", "finite", "coefficient"))
@full_precision
def _estimate(
    rows: Rows,
    regressors: Float[Array, "n d"],
    fixed: Float[Array, " p"] | None,
    level: Float[Array, ""],
    *,
    model: Model,
    max_steps: int,
    finite: bool,
    coefficient: int | None,
) -> Solution[Estimate]:
    dtype, d, p = rows.answer.dtype, regressors.shape[1], rows.proxy.shape[1]
    asked = jnp.where(rows.asked, rows.weight, 0)
    share = asked / jnp.maximum(jnp.sum(asked), jnp.finfo(dtype).tiny)
    problem = Problem(regressors, rows, share, rows.weight / jnp.sum(rows.weight), model)
    people = count_people(rows.asked, rows)
    unasked = jnp.sum(jnp.where(rows.asked, 0, rows.weight)) / jnp.sum(rows.weight)

    none = jnp.zeros((p,), dtype)
    alone = newton(problem, none, jnp.zeros((d,), dtype), max_steps)
    alone_rows = _classical_rows(problem, alone.value)
    if fixed is None:
        tuned = _tuned(problem, alone.value, alone_rows, people, coefficient)
    else:
        tuned = given(fixed / jnp.where(unasked > 0, unasked, 1))
    tuned = jax.tree.map(lambda leaf: jnp.where(unasked > 0, leaf, 0), tuned)
    coef = tuned.coef
    if model == "logistic":
        # The weights of all means must stay positive, or there may be no unique solution.
        total = jnp.sum(coef) * unasked
        coef = jnp.where(total > 1, coef / jnp.where(total > 1, total, 1), coef)
        coef = jnp.where(total < 0, 0, coef)
    tuned = tuned._replace(coef=coef)
    both = newton(problem, coef, alone.value, max_steps)
    own_rows = _rows(problem, both.value, tuned, finite)
    if finite:
        correction = jnp.sqrt(1 - people / count_people(rows.weight > 0, rows))
        own_rows, alone_rows = correction * own_rows, correction * alone_rows
    errors = [_errors(one, rows) for one in (own_rows, alone_rows)]
    mixed = tuned.kept * errors[0] + (1 - tuned.kept) * errors[1]
    error = jnp.where(tuned.used > 0, mixed, errors[0])
    df = people - d - tuned.kept * tuned.used
    equal = alike(rows.answer, rows.asked, 0)
    few = people <= d
    classical = _interval(alone.value, errors[1], people - d, few, level)
    found = _interval(both.value, error, df, few, level)
    basis = jnp.where(jnp.any(coef != 0), int(Basis.TWINS), int(Basis.PEOPLE))
    basis = jnp.where(equal, int(Basis.ALIKE), basis)
    basis = jnp.where(few, int(Basis.TOO_FEW), basis).astype(jnp.int32)
    estimate = Estimate(
        lower=found.lower,
        upper=found.upper,
        value=found.value,
        standard_error=found.standard_error,
        classical=classical,
        tuning=coef * unasked,
        people=jnp.full((d,), people),
        basis=jnp.full((d,), basis),
    )
    failed = alone.status != int(Status.CONVERGED)
    status = jnp.where(failed, alone.status, both.status)
    return Solution(estimate, status, both.steps, both.optimality)


def _regressors(x: Numbers, rows: Rows) -> Float[Array, "n d"]:
    n = rows.answer.shape[0]
    found = as_float("x", x).astype(rows.answer.dtype)
    if found.ndim != 2 or found.shape[0] != n or found.shape[1] < 1:
        raise ValueError(
            f"`x` must have shape ({n}, d), a row per row of `truth`, got {found.shape}"
        )
    known, asked = concrete(found), concrete(rows.asked)
    if known is not None and not jnp.all(jnp.isfinite(found)):
        raise ValueError("`x` must be complete: impute its missing cells, or leave these rows out")
    if asked is not None and asked.sum() <= found.shape[1]:
        raise ValueError(
            f"`truth`: {asked.sum()} people have an answer; {found.shape[1]} coefficients need at "
            f"least {found.shape[1] + 1}"
        )
    return found


def _classical_rows(problem: Problem, coef: Float[Array, " d"]) -> Float[Array, "n d"]:
    """What each row contributes to the error of people alone (HC3)."""
    mean = problem.mean(coef)
    hessian = inverse(problem, mean, problem.share)
    residual = problem.share * (problem.rows.answer - mean) / levers(problem, mean)
    return residual[:, None] * (problem.x @ hessian)


def _tuned(
    problem: Problem,
    coef: Float[Array, " d"],
    alone: Float[Array, "n d"],
    people: Float[Array, ""],
    coefficient: int | None,
) -> Tuned:
    """The weights of the proxies that minimise the variances, each relative to that of people."""
    rows, share = problem.rows, problem.share
    mean = problem.mean(coef)
    influence = problem.x @ inverse(problem, mean, share)  # (n, d)
    if coefficient is not None:
        influence, alone = influence[:, [coefficient]], alone[:, [coefficient]]
    size = jnp.sqrt(jnp.sum(alone**2, axis=0))
    influence = influence / jnp.where(size > 0, size, 1)[None, :]
    answer = influence * (rows.answer - mean)[:, None]
    proxy = influence[:, None, :] * (rows.proxy - mean[:, None])[:, :, None]  # (n, p, d)
    answer = answer - (share @ answer)[None]
    proxy = proxy - jnp.einsum("n,npd->pd", share, proxy)[None]
    moments = Moments(
        jnp.einsum("n,npd,nqd->pq", share, proxy, proxy),
        jnp.einsum("n,npd,nd->p", share, proxy, answer),
        jnp.sum(share[:, None] * answer**2),
    )
    d = problem.x.shape[1]
    moments = Moments(*(jnp.where(jnp.isfinite(one), one, 0) for one in moments))
    return tune(
        moments,
        varying(rows.proxy, jnp.broadcast_to(rows.asked[:, None], rows.proxy.shape)),
        people - d + 1,
    )


def _rows(
    problem: Problem, coef: Float[Array, " d"], tuned: Tuned, finite: bool
) -> Float[Array, "n d"]:
    """What each row contributes to the error of the prediction-powered coefficients."""
    rows, share, of_all = problem.rows, problem.share, problem.of_all
    mean = problem.mean(coef)
    proxy = rows.proxy @ tuned.coef - jnp.sum(tuned.coef) * mean
    hessian = inverse(problem, mean, problem.weights(tuned.coef))
    asked = (share * (rows.answer - mean - proxy))[:, None] * problem.x
    asked = asked - share[:, None] * jnp.sum(asked, axis=0)[None]
    asked = asked / levers(problem, mean)[:, None]
    if finite:
        return asked @ hessian
    everybody = (of_all * proxy)[:, None] * problem.x
    everybody = everybody - of_all[:, None] * jnp.sum(everybody, axis=0)[None]
    return (asked + everybody) @ hessian


def _errors(contributions: Float[Array, "n d"], rows: Rows) -> Float[Array, " d"]:
    summed = jax.vmap(lambda one: by_cluster(one, rows), in_axes=1, out_axes=1)(contributions)
    square = jnp.sum(summed**2, axis=0)
    return jnp.where(square == 0, 0, jnp.sqrt(jnp.where(square == 0, 1, square)))


def _interval(
    value: Float[Array, " d"],
    error: Float[Array, " d"],
    df: Float[Array, ""],
    few: Array,
    level: Array,
) -> PointEstimate:
    half = student_t_quantile(level, jnp.maximum(df, 1)) * error
    half = jnp.where(error == 0, jnp.inf, half)
    error, half = (jnp.where(few, jnp.nan, one) for one in (error, half))
    return PointEstimate(value - half, value + half, value, error)
