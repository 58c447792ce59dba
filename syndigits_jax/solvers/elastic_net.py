"""Elastic net and lasso with a duality-gap certificate and implicit derivatives."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ._elastic_net_problem import Data, Problem, from_data, from_gram, solve
from ._on_host import Penalties, fit_one, on_cpu
from .boundary import Numbers
from .checks import (
    check_finite,
    check_fraction,
    check_penalty,
    check_scalar,
    check_stopping,
    number,
    regression_arrays,
)
from .linear_model import GramStatistics, LinearModel
from .precision import full_precision
from .solution import Solution

Stopping = tuple[Any, Any, Any]


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
        problem = from_gram(data, l2)
    else:
        problem = from_data(*data, fit_intercept, l2)
    start = init * (problem.x_unit / problem.y_unit)
    if alpha.ndim == 0:
        return solve(problem, alpha, l1_ratio, tol, max_steps, start)

    def fit(start, alpha):
        solution = solve(problem, alpha, l1_ratio, tol, max_steps, start)
        coef = solution.value.coef * (problem.x_unit / problem.y_unit)
        # After a failed fit, the next ones start from the last good one.
        return jnp.where(jnp.all(jnp.isfinite(coef)), coef, start), solution

    return jax.lax.scan(fit, start, alpha)[1]


def _plain(name: str, value, dtype):
    """[`number`][], without a transfer for the plain numbers that most calls give."""
    if type(value) in (float, int) and abs(value) <= float(np.finfo(dtype).max):
        return np.asarray(value, dtype)
    return number(name, value, dtype)


def _stopping(tol, max_steps, init: Numbers | None, shape: tuple[int, ...], dtype) -> Stopping:
    """`tol`, `max_steps` and `init`, checked; `init` is zero by default, of this `shape`."""
    check_stopping(tol, max_steps)
    start = np.zeros(shape, dtype) if init is None else number("init", init, dtype)
    if start.shape != shape:
        each = "one per column" if len(shape) == 1 else "one row per problem"
        raise ValueError(f"`init` must have shape {shape}, {each}, got {start.shape}")
    steps = np.int32(max_steps) if type(max_steps) is int else jnp.asarray(max_steps, jnp.int32)
    return _plain("tol", tol, dtype), steps, start


def _penalties(name: str, alpha, l1_ratio, dtype) -> Penalties:
    """`alpha`, `l1_ratio` and the ℓ2 penalty, checked."""
    check_penalty(name, alpha)
    check_finite(name, alpha)
    check_fraction("l1_ratio", l1_ratio)
    alpha, l1_ratio = _plain(name, alpha, dtype), _plain("l1_ratio", l1_ratio, dtype)
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
    W = Σ wᵢ and b₀ free. Many problems at once: [`elastic_nets`][].

    How it is solved depends on where it is called. On known arrays on a CPU: coordinate descent,
    then Newton steps where that is slow, on working sets of columns where there are many. Inside
    `jit`, `vmap` and `grad`, and on other devices: accelerated gradient and Newton steps, with the
    loss as a Gram matrix for n >= p and as the design for n < p, by static shape. A design and
    weights that `vmap` does not map over are shared, and so is their Gram matrix. Both stop by
    the same gap.

    **Arguments:**

    - `x`: design (n, p). `y`: target (n,). No NaN: give missing rows weight zero and any finite
      number.
    - `alpha`: penalty, not negative. For a zero penalty `ridge` is faster and always certain.
    - `l1_ratio`: share of the ℓ1 term, in [0, 1].
    - `sample_weight`: (n,), not negative; doubling a weight is repeating the row.
    - `fit_intercept`: whether b₀ is free; otherwise it is 0.
    - `tol`: stop when the duality gap is at most `tol` times the weighted mean of (y - ȳ)²,
      which is scikit-learn's criterion. Not below 10 rounding errors of the dtype.
    - `max_steps`: most sweeps, gradient steps and Newton steps together; may be traced.
    - `init`: coefficients (p,) to start from; no derivative passes through it.

    **Returns:** a `Solution` whose `optimality` is the duality gap over the weighted mean of
    (y - ȳ)²; 0 for a constant target. It is never below what the rounding of the data allows,
    which is large where data lie far from zero; with a smaller `tol` the status is `MAX_STEPS`.
    Without a penalty it is the distance from the minimum where n >= p and the columns are
    independent, and the loss itself otherwise. Status `CONVERGED`, `MAX_STEPS`, or `NONFINITE`
    (with NaN coefficients). A constant target, a design of constants and weights that are all
    zero have coefficients of exactly zero. The answer does not depend on the units of data,
    weights and penalty. Numbers below the smallest normal one of the dtype (1e-38 in float32)
    count as zero.

    Derivatives of any order in `x`, `y`, `sample_weight`, `alpha` and `l1_ratio`, forward and
    reverse, follow from the implicit function theorem on the support of the solution. They are
    as accurate as the support: ask for a small `tol`. Where columns of the support are linearly
    dependent and there is no ℓ2 term, the derivative does not exist and the number returned is
    meaningless.

    **Raises:** `ValueError` for shapes that do not fit, non-numeric input, and concrete negative
    or infinite penalties, negative weights, an `l1_ratio` outside [0, 1], a `tol` that is
    no scalar, or a `max_steps` that is no whole number.

    **Example:**

        >>> from syndigits_jax.solvers import elastic_net
        >>> x = [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
        >>> lasso = elastic_net(x, [2.0, -2.0, 0.1, -0.1], 0.25, l1_ratio=1.0)
        >>> print(lasso.value.coef.round(2), lasso.optimality < 1e-4)
        [1.5 0. ] True
    """
    check_scalar("alpha", alpha)
    check_scalar("l1_ratio", l1_ratio)
    x, y, sample_weight = regression_arrays(x, y, sample_weight)
    penalties = _penalties("alpha", alpha, l1_ratio, x.dtype)
    stopping = _stopping(tol, max_steps, init, x.shape[1:], x.dtype)
    data = x, y, sample_weight
    fit = fit_one if on_cpu(data, penalties, stopping) else _fit
    return fit(data, penalties, *stopping, fit_intercept)


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
    check_scalar("l1_ratio", l1_ratio)
    penalties = _penalties("alpha", alpha, l1_ratio, stats.gram.dtype)
    stopping = _stopping(tol, max_steps, init, stats.cross.shape, stats.cross.dtype)
    return _fit(stats, penalties, *stopping)


def _check_path(alphas: Numbers) -> None:
    if np.ndim(alphas) != 1 or not np.size(alphas):
        raise ValueError(f"`alphas` must have shape (k,) with k >= 1, got {np.shape(alphas)}")


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
    check_scalar("l1_ratio", l1_ratio)
    x, y, sample_weight = regression_arrays(x, y, sample_weight)
    penalties = _penalties("alphas", alphas, l1_ratio, x.dtype)
    stopping = _stopping(tol, max_steps, init, x.shape[1:], x.dtype)
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
    check_scalar("l1_ratio", l1_ratio)
    penalties = _penalties("alphas", alphas, l1_ratio, stats.gram.dtype)
    stopping = _stopping(tol, max_steps, init, stats.cross.shape, stats.cross.dtype)
    return _fit(stats, penalties, *stopping)


def _critical(problem: Problem, l1_ratio: Numbers) -> Float[Array, ""]:
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
    problem = from_data(x, y, sample_weight, fit_intercept, jnp.zeros((), x.dtype))
    return _critical(problem, l1_ratio)


@full_precision
def critical_alpha_from_gram(stats: GramStatistics, l1_ratio: Numbers = 1.0) -> Float[Array, ""]:
    """`critical_alpha` from second moments."""
    return _critical(from_gram(stats, jnp.zeros((), stats.gram.dtype)), l1_ratio)
