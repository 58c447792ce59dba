"""Elastic net and lasso with a duality-gap certificate and implicit derivatives."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ._elastic_net_gradient import attach_gradient
from ._elastic_net_loop import minimise
from ._quadratic import DesignQuadratic, GramQuadratic, Quadratic
from .boundary import Numbers
from .checks import check_fraction, check_penalty, check_scalar, number, regression_arrays
from .linear_model import GramStatistics, LinearModel, centre
from .precision import full_precision
from .solution import Solution, status_code
from .units import LARGEST_RATIO, largest, power_of_two

# The gap of float32 iterates stalls at a few rounding errors of the null objective.
ROUNDING_ERRORS = 10


class _Problem(NamedTuple):
    """The loss in units of `x_unit` and `y_unit`, powers of two, and what goes with it.

    - `x_raw` (p,), `y_raw`: mean squares of the data as they were given, in those units, which
      bound what rounding does to the loss
    """

    quadratic: Quadratic
    x_mean: Float[Array, " p"]
    y_mean: Float[Array, ""]
    x_unit: Float[Array, ""]
    y_unit: Float[Array, ""]
    x_raw: Float[Array, " p"]
    y_raw: Float[Array, ""]


def _positive(total: Float[Array, ""]) -> Float[Array, ""]:
    """The total weight, or 1 where every weight is zero (the answer is then zero)."""
    return jnp.where(total == 0, 1, total)


def _design_unit(unit: Float[Array, ""], l2: Float[Array, "..."]) -> Float[Array, ""]:
    """`unit`, or a larger one where a penalty would be out of range in its squares."""
    top = jnp.sqrt(jnp.max(jax.lax.stop_gradient(l2)))
    return jnp.maximum(unit, power_of_two(top) / LARGEST_RATIO)


def _from_gram(stats: GramStatistics, l2: Float[Array, "..."]) -> _Problem:
    total = _positive(stats.weight_sum)
    gram, cross, square = (moment / total for moment in stats.moments())
    x_raw, y_raw = (square / total for square in stats.raw_squares())
    x_unit = _design_unit(power_of_two(jnp.sqrt(jnp.max(jnp.diagonal(gram)))), l2)
    y_unit = power_of_two(jnp.sqrt(square))
    quadratic = GramQuadratic(
        gram / x_unit / x_unit, cross / x_unit / y_unit, square / y_unit / y_unit
    )
    raw = x_raw / x_unit / x_unit, y_raw / y_unit / y_unit
    return _Problem(quadratic, stats.x_mean, stats.y_mean, x_unit, y_unit, *raw)


def _from_data(x, y, sample_weight, fit_intercept, l2: Float[Array, "..."]) -> _Problem:
    """The loss in its cheaper form by static shape."""
    xc, yc, w, x_mean, y_mean = centre(x, y, sample_weight, fit_intercept=fit_intercept)
    used = w > 0
    w = w / largest(w)
    w = w / _positive(jnp.sum(w))
    x_unit = _design_unit(largest(jnp.where(used[:, None], xc, 0)), l2)
    y_unit = largest(jnp.where(used, yc, 0))
    xc, yc = xc / x_unit, yc / y_unit
    weighted = w[:, None] * xc
    linear, constant = yc @ weighted, jnp.dot(w, yc**2)
    if x.shape[0] >= x.shape[1]:
        quadratic = GramQuadratic(weighted.T @ xc, linear, constant)
    else:
        quadratic = DesignQuadratic(xc, yc, w, linear, constant)
    x_raw = w @ (jnp.where(used[:, None], x, 0) / x_unit) ** 2
    y_raw = jnp.dot(w, (jnp.where(used, y, 0) / y_unit) ** 2)
    return _Problem(quadratic, x_mean, y_mean, x_unit, y_unit, x_raw, y_raw)


def _solve(
    problem: _Problem,
    alpha: Float[Array, ""],
    l1_ratio: Float[Array, ""],
    tol: Float[Array, ""],
    max_steps: Int[Array, ""],
    start: Float[Array, " p"],
) -> Solution[LinearModel]:
    """From a `start` in units of the problem."""
    quadratic, x_unit, y_unit = problem.quadratic, problem.x_unit, problem.y_unit
    dtype = quadratic.linear.dtype
    eps = float(jnp.finfo(dtype).eps)
    # All penalties above every gradient have the same solution.
    l1 = jnp.minimum(alpha * l1_ratio / x_unit / y_unit, LARGEST_RATIO)
    l2 = alpha * (1 - l1_ratio) / x_unit / x_unit
    tol = jnp.maximum(tol, ROUNDING_ERRORS * eps)
    fixed, fixed_l1, fixed_l2, start = jax.lax.stop_gradient((quadratic, l1, l2, start))
    outcome = minimise(fixed, fixed_l1, fixed_l2, start, tol=tol, max_steps=max_steps)
    coef = attach_gradient(outcome.coef, quadratic, l1, l2, outcome.largest)
    # Rounding changes the loss by |r| |δr|, with δr a third of `eps` of the data. Its distance
    # from the minimum is known up to twice that.
    data = jax.lax.stop_gradient(jnp.dot(coef**2, problem.x_raw) + problem.y_raw)
    floor = 0.6 * eps * jnp.sqrt(outcome.residual * data)
    null = jnp.where(fixed.constant > 0, fixed.constant, 1)
    optimality = jnp.maximum(outcome.gap, floor) / null
    coef = coef * (y_unit / x_unit)
    return Solution(
        value=LinearModel(coef, problem.y_mean - jnp.dot(problem.x_mean, coef)),
        status=status_code(outcome.converged & (floor <= tol * null), outcome.finite),
        steps=outcome.steps,
        optimality=jnp.where(outcome.finite, optimality, jnp.nan),
    )


Data = tuple[Float[Array, "n p"], Float[Array, " n"], Float[Array, " n"] | None]


@functools.partial(jax.jit, static_argnames="fit_intercept")
def _fit(
    data: Data | GramStatistics,
    penalties: tuple[Array, Array, Array],
    tol: Float[Array, ""],
    max_steps: Int[Array, ""],
    init: Float[Array, " p"],
    fit_intercept: bool = True,
) -> Solution[LinearModel]:
    """One fit, or a path of them where `alpha` is (k,), from checked arguments."""
    alpha, l1_ratio, l2 = penalties
    if isinstance(data, GramStatistics):
        problem = _from_gram(data, l2)
    else:
        problem = _from_data(*data, fit_intercept, l2)
    start = init * (problem.x_unit / problem.y_unit)
    if alpha.ndim == 0:
        return _solve(problem, alpha, l1_ratio, tol, max_steps, start)

    def fit(start, alpha):
        solution = _solve(problem, alpha, l1_ratio, tol, max_steps, start)
        coef = solution.value.coef * (problem.x_unit / problem.y_unit)
        # After a failed fit, the next ones start from the last good one.
        return jnp.where(jnp.all(jnp.isfinite(coef)), coef, start), solution

    return jax.lax.scan(fit, start, alpha)[1]


def _stopping(tol, max_steps, init: Numbers | None, zero: Float[Array, " p"]):
    """`tol`, `max_steps` and `init`, checked, in the type of `zero`, the default of `init`."""
    start = zero if init is None else number("init", init, zero.dtype)
    if start.shape != zero.shape:
        raise ValueError(f"`init` must have shape {zero.shape}, one per column, got {start.shape}")
    return number("tol", tol, zero.dtype), jnp.asarray(max_steps, jnp.int32), start


def _penalties(name: str, alpha, l1_ratio, dtype) -> tuple[Array, Array, Array]:
    """`alpha`, `l1_ratio` and the ℓ2 penalty, checked."""
    check_penalty(name, alpha)
    check_fraction("l1_ratio", l1_ratio)
    check_scalar("l1_ratio", l1_ratio)
    alpha, l1_ratio = number(name, alpha, dtype), number("l1_ratio", l1_ratio, dtype)
    return alpha, l1_ratio, alpha * (1 - l1_ratio)


@full_precision
def elastic_net(
    x: Numbers,
    y: Numbers,
    alpha: Numbers,
    l1_ratio: Numbers,
    *,
    sample_weight: Numbers | None = None,
    fit_intercept: bool = True,
    tol: Numbers = 1e-4,
    max_steps: Numbers = 10_000,
    init: Numbers | None = None,
) -> Solution[LinearModel]:
    """Elastic net with scikit-learn's objective; `l1_ratio=1` is the lasso.

    Minimises 1/(2W) Σ wᵢ (yᵢ - xᵢb - b₀)² + alpha (l1_ratio |b|₁ + ½ (1 - l1_ratio) |b|²), with
    W = Σ wᵢ and b₀ free. With n >= p the loss is held as a Gram matrix, with n < p as the design,
    by static shape. Many problems at once: `jax.vmap` over any argument. A design and weights
    that are not mapped over are shared, and so is their Gram matrix.

    **Arguments:**

    - `x`: design (n, p). `y`: target (n,). No NaN: give missing rows weight zero and any finite
      number.
    - `alpha`: penalty, not negative. For a zero penalty `ridge` is faster and always certain.
    - `l1_ratio`: share of the ℓ1 term, in [0, 1].
    - `sample_weight`: (n,), not negative; doubling a weight is repeating the row.
    - `fit_intercept`: whether b₀ is free; otherwise it is 0.
    - `tol`: stop when the duality gap is at most `tol` times the weighted mean of (y - ȳ)²,
      which is scikit-learn's criterion. Not below 10 rounding errors of the dtype.
    - `max_steps`: most proximal gradient and Newton steps together; may be traced.
    - `init`: coefficients (p,) to start from; no derivative passes through it.

    **Returns:** a `Solution` whose `optimality` is the duality gap over the weighted mean of
    (y - ȳ)²; 0 for a constant target. It is never below what the rounding of the data allows,
    which is large where data lie far from zero; with a smaller `tol` the status is `MAX_STEPS`.
    Without a penalty it is the distance from the minimum where n >= p and the columns are
    independent, and the loss itself otherwise. Status `CONVERGED`, `MAX_STEPS`, or `NONFINITE`
    (with NaN coefficients). A constant target, a design of constants and weights that are all
    zero have coefficients of exactly zero. The answer does not depend on the units of data,
    weights and penalty.

    Derivatives of any order in `x`, `y`, `sample_weight`, `alpha` and `l1_ratio`, forward and
    reverse, follow from the implicit function theorem on the support of the solution. They are
    as accurate as the support: ask for a small `tol`. Where columns of the support are linearly
    dependent and there is no ℓ2 term, the derivative does not exist and the number returned is
    meaningless.

    **Raises:** `ValueError` for shapes that do not fit, non-numeric input, and concrete negative
    penalties or weights or an `l1_ratio` outside [0, 1].

    **Example:**

        >>> from syndigits_jax.solvers import elastic_net
        >>> x = [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
        >>> lasso = elastic_net(x, [2.0, -2.0, 0.1, -0.1], 0.25, l1_ratio=1.0)
        >>> print(lasso.value.coef.round(2), lasso.optimality < 1e-4)
        [1.5 0. ] True
    """
    check_scalar("alpha", alpha)
    x, y, sample_weight = regression_arrays(x, y, sample_weight)
    penalties = _penalties("alpha", alpha, l1_ratio, x.dtype)
    stopping = _stopping(tol, max_steps, init, jnp.zeros(x.shape[1:], x.dtype))
    return _fit((x, y, sample_weight), penalties, *stopping, fit_intercept)


@full_precision
def elastic_net_from_gram(
    stats: GramStatistics,
    alpha: Numbers,
    l1_ratio: Numbers,
    *,
    tol: Numbers = 1e-4,
    max_steps: Numbers = 10_000,
    init: Numbers | None = None,
) -> Solution[LinearModel]:
    """`elastic_net` from second moments, for several fits that share them.

    **Arguments:** `stats`: from [`gram_statistics`][]; `alpha`, `l1_ratio`, `tol`, `max_steps`,
    `init`: as in [`elastic_net`][]. Result and errors as there.

    **Example:**

        >>> from syndigits_jax.solvers import elastic_net_from_gram, gram_statistics
        >>> stats = gram_statistics([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
        >>> print(elastic_net_from_gram(stats, 0.5, l1_ratio=1.0).value.coef.round(2))
        [1.25]
    """
    check_scalar("alpha", alpha)
    penalties = _penalties("alpha", alpha, l1_ratio, stats.gram.dtype)
    return _fit(stats, penalties, *_stopping(tol, max_steps, init, jnp.zeros_like(stats.cross)))


def _check_path(alphas: Numbers) -> None:
    if np.ndim(alphas) != 1:
        raise ValueError(f"`alphas` must have shape (k,), got {np.shape(alphas)}")


@full_precision
def elastic_net_path(
    x: Numbers,
    y: Numbers,
    alphas: Numbers,
    l1_ratio: Numbers,
    *,
    sample_weight: Numbers | None = None,
    fit_intercept: bool = True,
    tol: Numbers = 1e-4,
    max_steps: Numbers = 10_000,
    init: Numbers | None = None,
) -> Solution[LinearModel]:
    """`elastic_net` for `alphas` (k,) in the given order, each started from the one before.

    Give them in descending order, from about `critical_alpha`. The answers depend on the starts
    only within `tol`.

    **Arguments:** `x`, `y`, `l1_ratio`, `sample_weight`, `fit_intercept`, `tol`, `max_steps`: as in
    [`elastic_net`][]; `alphas`: (k,) penalties, not negative; `init`: (p,) start of the first fit.

    **Returns:** a `Solution` as of [`elastic_net`][], every field with a leading axis of length k.

    **Raises:** `ValueError` as there, and for `alphas` of another shape.

    **Example:**

        >>> from syndigits_jax.solvers import elastic_net_path
        >>> x = [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
        >>> path = elastic_net_path(x, [2.0, -2.0, 1.0, -1.0], [0.75, 0.25], l1_ratio=1.0)
        >>> print(path.value.coef.round(2))
        [[0.5 0. ]
         [1.5 0.5]]
    """
    _check_path(alphas)
    x, y, sample_weight = regression_arrays(x, y, sample_weight)
    penalties = _penalties("alphas", alphas, l1_ratio, x.dtype)
    stopping = _stopping(tol, max_steps, init, jnp.zeros(x.shape[1:], x.dtype))
    return _fit((x, y, sample_weight), penalties, *stopping, fit_intercept)


@full_precision
def elastic_net_path_from_gram(
    stats: GramStatistics,
    alphas: Numbers,
    l1_ratio: Numbers,
    *,
    tol: Numbers = 1e-4,
    max_steps: Numbers = 10_000,
    init: Numbers | None = None,
) -> Solution[LinearModel]:
    """`elastic_net_path` from second moments.

    **Arguments:** `stats`: from [`gram_statistics`][]; `alphas`, `l1_ratio`, `tol`, `max_steps`,
    `init`: as in [`elastic_net_path`][]. Result and errors as there.
    """
    _check_path(alphas)
    penalties = _penalties("alphas", alphas, l1_ratio, stats.gram.dtype)
    return _fit(stats, penalties, *_stopping(tol, max_steps, init, jnp.zeros_like(stats.cross)))


def _critical(problem: _Problem, l1_ratio: Numbers) -> Float[Array, ""]:
    check_fraction("l1_ratio", l1_ratio)
    linear = problem.quadratic.linear
    # Rounded up: the same product may be summed in another order elsewhere.
    margin = 1 + 64 * float(jnp.finfo(linear.dtype).eps)
    top = margin * jnp.max(jnp.abs(linear)) / number("l1_ratio", l1_ratio, linear.dtype)
    return top * problem.x_unit * problem.y_unit


@full_precision
def critical_alpha(
    x: Numbers,
    y: Numbers,
    l1_ratio: Numbers = 1.0,
    *,
    sample_weight: Numbers | None = None,
    fit_intercept: bool = True,
) -> Float[Array, ""]:
    """The largest useful penalty: from it on, every coefficient of `elastic_net` is exactly zero.

    max_j |Σ wᵢ (x_ij - x̄_j)(yᵢ - ȳ)| / (W l1_ratio), rounded up; infinite for `l1_ratio=0`.

    **Arguments:** `x`, `y`, `l1_ratio`, `sample_weight`, `fit_intercept`: as in [`elastic_net`][].

    **Raises:** `ValueError` as there.

    **Example:**

        >>> from syndigits_jax.solvers import critical_alpha
        >>> print(critical_alpha([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0]).round(3))
        1.333
    """
    x, y, sample_weight = regression_arrays(x, y, sample_weight)
    problem = _from_data(x, y, sample_weight, fit_intercept, jnp.zeros((), x.dtype))
    return _critical(problem, l1_ratio)


@full_precision
def critical_alpha_from_gram(stats: GramStatistics, l1_ratio: Numbers = 1.0) -> Float[Array, ""]:
    """`critical_alpha` from second moments."""
    return _critical(_from_gram(stats, jnp.zeros((), stats.gram.dtype)), l1_ratio)
