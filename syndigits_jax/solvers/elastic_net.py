"""Elastic net and lasso with a duality-gap certificate and implicit derivatives."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ._checks import check_fraction, check_penalty, check_regression, check_scalar
from ._elastic_net_gradient import attach_gradient
from ._elastic_net_loop import minimise
from ._precision import full_precision
from ._quadratic import DesignQuadratic, GramQuadratic, Quadratic
from .linear_model import GramStatistics, LinearModel, centre, gram_statistics
from .solution import Solution, status_code

# The gap of float32 iterates stalls at a few rounding errors of the null objective.
ROUNDING_ERRORS = 10


def _positive(total: Float[Array, ""]) -> Float[Array, ""]:
    """The total weight, or 1 where every weight is zero (the answer is then zero)."""
    return jnp.where(total == 0, 1, total)


def _from_gram(stats: GramStatistics) -> Quadratic:
    total = _positive(stats.weight_sum)
    return GramQuadratic(stats.gram / total, stats.cross / total, stats.target_square / total)


def _problem(x, y, sample_weight, fit_intercept) -> tuple[Quadratic, Array, Array]:
    """The loss in its cheaper form by static shape, and the means of `x` and `y`."""
    if x.shape[0] >= x.shape[1]:
        stats = gram_statistics(x, y, sample_weight, fit_intercept=fit_intercept)
        return _from_gram(stats), stats.x_mean, stats.y_mean
    xc, yc, w, x_mean, y_mean = centre(x, y, sample_weight, fit_intercept=fit_intercept)
    w = w / _positive(jnp.sum(w))
    return DesignQuadratic(xc, yc, w, (w * yc) @ xc, jnp.dot(w, yc**2)), x_mean, y_mean


def _start(quadratic: Quadratic, init: Array | None) -> Float[Array, " p"]:
    shape = quadratic.linear.shape
    if init is None:
        return jnp.zeros_like(quadratic.linear)
    if init.shape != shape:
        raise ValueError(f"`init` must have shape {shape}, one per column, got {init.shape}")
    return init


def _solve(
    quadratic: Quadratic,
    x_mean: Float[Array, " p"],
    y_mean: Float[Array, ""],
    alpha: ArrayLike,
    l1_ratio: ArrayLike,
    tol: ArrayLike,
    max_steps: ArrayLike,
    init: Float[Array, "..."] | None,
) -> Solution[LinearModel]:
    dtype = quadratic.linear.dtype
    alpha, l1_ratio = jnp.asarray(alpha, dtype), jnp.asarray(l1_ratio, dtype)
    l1, l2 = alpha * l1_ratio, alpha * (1 - l1_ratio)
    tol = jnp.maximum(jnp.asarray(tol, dtype), ROUNDING_ERRORS * float(jnp.finfo(dtype).eps))
    init = _start(quadratic, init)
    fixed, fixed_l1, fixed_l2, init = jax.lax.stop_gradient((quadratic, l1, l2, init))
    outcome = minimise(
        fixed, fixed_l1, fixed_l2, init, tol=tol, max_steps=jnp.asarray(max_steps, jnp.int32)
    )
    coef = attach_gradient(outcome.coef, quadratic, l1, l2, outcome.largest)
    null = fixed.constant
    relative = jnp.where(null > 0, outcome.gap / jnp.where(null > 0, null, 1), outcome.gap)
    return Solution(
        value=LinearModel(coef, y_mean - jnp.dot(x_mean, coef)),
        status=status_code(outcome.converged, outcome.finite),
        steps=outcome.steps,
        optimality=relative,
    )


def _check_penalties(alpha: ArrayLike, l1_ratio: ArrayLike) -> None:
    check_penalty("alpha", alpha)
    check_fraction("l1_ratio", l1_ratio)
    check_scalar("l1_ratio", l1_ratio)


@full_precision
def elastic_net(
    x: Float[Array, "..."],
    y: Float[Array, "..."],
    alpha: ArrayLike,
    l1_ratio: ArrayLike,
    *,
    sample_weight: Float[Array, "..."] | None = None,
    fit_intercept: bool = True,
    tol: ArrayLike = 1e-4,
    max_steps: ArrayLike = 10_000,
    init: Float[Array, "..."] | None = None,
) -> Solution[LinearModel]:
    """Elastic net with scikit-learn's objective; `l1_ratio=1` is the lasso.

    Minimises 1/(2W) Σ wᵢ (yᵢ - xᵢb - b₀)² + alpha (l1_ratio |b|₁ + ½ (1 - l1_ratio) |b|²), with
    W = Σ wᵢ and b₀ free. With n >= p the loss is held as a Gram matrix, with n < p as the design,
    by static shape. Many problems at once: `jax.vmap` over any argument; a design (and weights)
    that is not mapped over is shared, and so is its Gram matrix.

    **Arguments:**

    - `x`: design (n, p). `y`: target (n,). No NaN: give missing rows weight zero and any finite
      number.
    - `alpha`: penalty, not negative. A zero penalty has no dual certificate: use `ridge`.
    - `l1_ratio`: share of the ℓ1 term, in [0, 1].
    - `sample_weight`: (n,), not negative; doubling a weight is repeating the row.
    - `tol`: stop when the duality gap is at most `tol` times the weighted mean of (y - ȳ)²,
      which is scikit-learn's criterion. Not below 10 rounding errors of the dtype.
    - `max_steps`: most proximal gradient and Newton steps together.
    - `init`: coefficients (p,) to start from; no derivative passes through it.

    **Returns:** a `Solution` whose `optimality` is the duality gap over the weighted mean of
    (y - ȳ)²; 0 for a constant target. Status `CONVERGED`, `MAX_STEPS`, or `NONFINITE` (with NaN
    coefficients).

    Derivatives of any order in `x`, `y`, `sample_weight`, `alpha` and `l1_ratio`, forward and
    reverse, follow from the implicit function theorem on the support of the solution. They are
    as accurate as the support: ask for a small `tol`. Where columns of the support are linearly
    dependent and there is no ℓ2 term, the derivative does not exist and the number returned
    means nothing.

    **Raises:** `ValueError` for shapes that do not fit, integer arrays, and concrete negative
    penalties or weights or an `l1_ratio` outside [0, 1].
    """
    check_regression(x, y, sample_weight)
    check_scalar("alpha", alpha)
    _check_penalties(alpha, l1_ratio)
    quadratic, x_mean, y_mean = _problem(x, y, sample_weight, fit_intercept)
    return _solve(quadratic, x_mean, y_mean, alpha, l1_ratio, tol, max_steps, init)


@full_precision
def elastic_net_from_gram(
    stats: GramStatistics,
    alpha: ArrayLike,
    l1_ratio: ArrayLike,
    *,
    tol: ArrayLike = 1e-4,
    max_steps: ArrayLike = 10_000,
    init: Float[Array, "..."] | None = None,
) -> Solution[LinearModel]:
    """`elastic_net` from second moments, for several fits that share them."""
    check_scalar("alpha", alpha)
    _check_penalties(alpha, l1_ratio)
    return _solve(
        _from_gram(stats), stats.x_mean, stats.y_mean, alpha, l1_ratio, tol, max_steps, init
    )


def _path(quadratic, x_mean, y_mean, alphas, l1_ratio, tol, max_steps, init):
    alphas = jnp.asarray(alphas, quadratic.linear.dtype)
    if alphas.ndim != 1:
        raise ValueError(f"`alphas` must have shape (k,), got {alphas.shape}")
    init = _start(quadratic, init)

    def fit(start, alpha):
        solution = _solve(quadratic, x_mean, y_mean, alpha, l1_ratio, tol, max_steps, start)
        coef = solution.value.coef
        # A fit that failed leaves its successors the last good start.
        return jnp.where(jnp.all(jnp.isfinite(coef)), coef, start), solution

    return jax.lax.scan(fit, init, alphas)[1]


@full_precision
def elastic_net_path(
    x: Float[Array, "..."],
    y: Float[Array, "..."],
    alphas: ArrayLike,
    l1_ratio: ArrayLike,
    *,
    sample_weight: Float[Array, "..."] | None = None,
    fit_intercept: bool = True,
    tol: ArrayLike = 1e-4,
    max_steps: ArrayLike = 10_000,
    init: Float[Array, "..."] | None = None,
) -> Solution[LinearModel]:
    """`elastic_net` for `alphas` (k,) in the given order, each started from the one before.

    Give them in descending order, from about `critical_alpha`. Every field of the result has a
    leading axis of length k. The answers do not depend on the starts beyond `tol`.
    """
    check_regression(x, y, sample_weight)
    _check_penalties(alphas, l1_ratio)
    quadratic, x_mean, y_mean = _problem(x, y, sample_weight, fit_intercept)
    return _path(quadratic, x_mean, y_mean, alphas, l1_ratio, tol, max_steps, init)


@full_precision
def elastic_net_path_from_gram(
    stats: GramStatistics,
    alphas: ArrayLike,
    l1_ratio: ArrayLike,
    *,
    tol: ArrayLike = 1e-4,
    max_steps: ArrayLike = 10_000,
    init: Float[Array, "..."] | None = None,
) -> Solution[LinearModel]:
    """`elastic_net_path` from second moments."""
    _check_penalties(alphas, l1_ratio)
    quadratic = _from_gram(stats)
    return _path(quadratic, stats.x_mean, stats.y_mean, alphas, l1_ratio, tol, max_steps, init)


def _critical(linear: Float[Array, " p"], l1_ratio: ArrayLike) -> Float[Array, ""]:
    check_fraction("l1_ratio", l1_ratio)
    # Rounded up: the same product compiled elsewhere may add up in another order.
    margin = 1 + 64 * float(jnp.finfo(linear.dtype).eps)
    return margin * jnp.max(jnp.abs(linear)) / jnp.asarray(l1_ratio, linear.dtype)


@full_precision
def critical_alpha(
    x: Float[Array, "..."],
    y: Float[Array, "..."],
    l1_ratio: ArrayLike = 1.0,
    *,
    sample_weight: Float[Array, "..."] | None = None,
    fit_intercept: bool = True,
) -> Float[Array, ""]:
    """The largest useful penalty: from it on, every coefficient of `elastic_net` is exactly zero.

    max_j |Σ wᵢ (x_ij - x̄_j)(yᵢ - ȳ)| / (W l1_ratio), rounded up; infinite for `l1_ratio=0`.
    """
    check_regression(x, y, sample_weight)
    xc, yc, w, _, _ = centre(x, y, sample_weight, fit_intercept=fit_intercept)
    return _critical(((w * yc) @ xc) / _positive(jnp.sum(w)), l1_ratio)


@full_precision
def critical_alpha_from_gram(stats: GramStatistics, l1_ratio: ArrayLike = 1.0) -> Float[Array, ""]:
    """`critical_alpha` from second moments."""
    return _critical(stats.cross / _positive(stats.weight_sum), l1_ratio)
