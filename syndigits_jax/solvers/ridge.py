"""Ridge regression in closed form, primal or dual, with leave-one-out residuals.

Longer than 400 lines: every function has an example.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ._shifted import Apply, shifted_inverse
from .boundary import Numbers
from .checks import check_penalty, number, regression_arrays
from .gram import gram_matrix
from .linear_model import GramStatistics, LinearModel, centre
from .precision import full_precision
from .solution import Solution, Status
from .units import LARGEST_RATIO, divided, largest, power_of_two


class _Design(NamedTuple):
    """A weighted regression, centred where there is an intercept; `total` is the weight sum.

    Design, targets, weights and `penalty` are in units of powers of two: `coef_unit` (t,) is what
    to multiply coefficients by, `unit` (t,) residuals. `cross` holds the products of targets with
    columns; `x_shift` and `y_shift` (t,) are the sums of squares that centring took out.
    """

    x: Float[Array, "n p"]
    y: Float[Array, "n t"]
    weight: Float[Array, " n"]
    total: Float[Array, ""]
    penalty: Float[Array, " k"]
    x_mean: Float[Array, " p"]
    y_mean: Float[Array, " t"]
    unit: Float[Array, " t"]
    coef_unit: Float[Array, " t"]
    cross: Float[Array, "t p"]
    x_shift: Float[Array, ""]
    y_shift: Float[Array, " t"]


class _Fit(NamedTuple):
    """Coefficients for every penalty and target, and their accuracy."""

    coef: Float[Array, "k p t"]
    residual: Float[Array, "k t"]  # norm of the normal equations' residual
    scale: Float[Array, " t"]  # the same norm at zero coefficients
    singular: Bool[Array, " k"]


def _centre(x, y, sample_weight, penalty, fit_intercept) -> _Design:
    y = y if y.ndim == 2 else y[:, None]
    xc, yc, w, x_mean, y_mean = centre(x, y, sample_weight, fit_intercept=fit_intercept)
    used = (w > 0)[:, None]
    weight_unit = largest(w)
    x_unit = _design_unit(largest(jnp.where(used, xc, 0)), penalty / weight_unit)
    y_unit = largest(jnp.where(used, yc, 0), axis=0)
    design, target = divided(xc, x_unit, used), divided(yc, y_unit[None], used)
    w = w / weight_unit
    total = jnp.sum(w)
    total = jnp.where(total == 0, 1, total)
    cross = (w[:, None] * target).T @ design
    x_shift, y_shift = total * jnp.sum((x_mean / x_unit) ** 2), total * (y_mean / y_unit) ** 2
    penalty = penalty / weight_unit / x_unit / x_unit
    units = y_unit, y_unit / x_unit
    means = x_mean, y_mean
    return _Design(design, target, w, total, penalty, *means, *units, cross, x_shift, y_shift)


def _design_unit(unit: Float[Array, ""], penalty: Float[Array, " k"]) -> Float[Array, ""]:
    """`unit`, or a larger one where a penalty would be out of range in its squares."""
    top = jnp.sqrt(jnp.max(jax.lax.stop_gradient(penalty)))
    return jnp.maximum(unit, power_of_two(top) / LARGEST_RATIO)


def _floor(
    x_raw: Float[Array, ""],
    y_raw: Float[Array, " t"],
    x_square: Float[Array, ""],
    y_square: Float[Array, " t"],
    cross: Float[Array, "t p"],
) -> Float[Array, " t"]:
    """The smallest residual of the normal equations, relative to its value at zero, that can be
    certified: the change of xᵀy by rounding of the data, a third of `eps` of every number.

    From weighted sums of squares of the data as given (`raw`) and about their means.
    """
    eps = float(jnp.finfo(cross.dtype).eps)
    noise = 0.3 * eps * jnp.sqrt(x_raw * y_square + x_square * y_raw)
    size = _norm(cross, 1)
    return jax.lax.stop_gradient(jnp.where(size > 0, noise / jnp.where(size > 0, size, 1), 0))


def _floor_of(design: _Design, x_square: Float[Array, ""]) -> Float[Array, " t"]:
    """[`_floor`][], given the weighted sum of squares of the design."""
    y_square = design.weight @ design.y**2
    raw = x_square + design.x_shift, y_square + design.y_shift
    return _floor(*raw, x_square, y_square, design.cross)


def _norm(array: Array, axis: int) -> Array:
    return jnp.sqrt(jnp.sum(jax.lax.stop_gradient(array) ** 2, axis=axis))


def _primal_inverse(gram: Float[Array, "p p"], penalty: Float[Array, " k"]):
    """Differentiable b -> (gram + penalty)⁻¹ b, and where the matrix is singular."""
    apply, singular = shifted_inverse(gram, penalty)

    def product(vectors: Float[Array, "k p t"]) -> Float[Array, "k p t"]:
        return jnp.einsum("ij,kjt->kit", gram, vectors) + penalty[:, None, None] * vectors

    def solve(right: Float[Array, "k p t"]) -> Float[Array, "k p t"]:
        return jax.lax.custom_linear_solve(
            product, right, solve=lambda _, b: apply(b), symmetric=True
        )

    return solve, singular


def _primal(gram: Float[Array, "p p"], cross: Float[Array, "p t"], penalty) -> _Fit:
    solve, singular = _primal_inverse(gram, penalty)
    right = jnp.broadcast_to(cross[None], (penalty.shape[0], *cross.shape))
    coef = solve(right)
    left = right - jnp.einsum("ij,kjt->kit", gram, coef) - penalty[:, None, None] * coef
    return _Fit(coef, _norm(left, 1), _norm(cross, 0), singular)


class _Dual(NamedTuple):
    """The dual (penalty + W K) c = W y, with coefficients xᵀc.

    K = x xᵀ + κ 11ᵀ. The second term lifts the null vector that centring leaves in the Gram
    matrix of the rows (1ᵀc = 0 whatever κ), so that a zero penalty gives the interpolant of
    least norm. `solve` is differentiable, also where a weight is zero.
    """

    kernel: Float[Array, "n n"]
    square: Float[Array, ""]  # the weighted sum of squares of the design
    lift: Float[Array, ""]  # κ
    solve: Apply
    singular: Bool[Array, " k"]


def _dual_system(design: _Design, fit_intercept: bool) -> _Dual:
    w, penalty = design.weight, design.penalty
    kernel = gram_matrix(design.x.T, design.x.T)
    root = jnp.sqrt(jax.lax.stop_gradient(w))
    trace = jnp.dot(w, jnp.diagonal(kernel))
    lift = jax.lax.stop_gradient(trace / (w.shape[0] * design.total))
    lift = lift if fit_intercept else jnp.zeros_like(lift)
    kernel = kernel + lift
    # A row of weight zero is decoupled: any positive diagonal keeps the system regular.
    used = root > 0
    size = jnp.where(trace > 0, trace / w.shape[0], 1)
    scaled = root[:, None] * kernel * root[None, :] + jnp.diag(jnp.where(used, 0, size))
    apply, singular = shifted_inverse(scaled, penalty)
    inverse_root = jnp.where(used, 1 / jnp.where(used, root, 1), 0)[None, :, None]
    root, used = root[None, :, None], used[None, :, None]
    shift = penalty[:, None, None]
    fixed_shift, fixed_kernel = jax.lax.stop_gradient((shift, kernel))

    def divide(vectors):
        return jnp.where(fixed_shift > 0, vectors / jnp.where(fixed_shift > 0, fixed_shift, 1), 0)

    def times(matrix, vectors):
        return jnp.einsum("ij,kjt->kit", matrix, vectors)

    def product(vectors):
        return shift * vectors + w[None, :, None] * times(kernel, vectors)

    # With S = √W and F = (penalty + S K S)⁻¹, the inverse is S F S⁻¹ on the rows of positive
    # weight; elsewhere it divides by the penalty, and those rows then act on the others.
    def solve(_, right):
        unused = jnp.where(used, 0, divide(right))
        inner = inverse_root * right - root * times(fixed_kernel, unused)
        return unused + root * apply(inner)

    def solve_transposed(_, right):
        inner = apply(root * right)
        outside = divide(right - times(fixed_kernel, root * inner))
        return jnp.where(used, inverse_root * inner, outside)

    def inverse(right: Float[Array, "k n t"]) -> Float[Array, "k n t"]:
        return jax.lax.custom_linear_solve(product, right, solve, solve_transposed)

    return _Dual(kernel, trace, lift, inverse, singular)


def _dual(design: _Design, dual: _Dual) -> tuple[_Fit, Array]:
    """The fit, and its dual variables (k, n, t)."""
    penalty = design.penalty
    weighted = design.weight[:, None] * design.y
    right = jnp.broadcast_to(weighted[None], (penalty.shape[0], *weighted.shape))
    variables = dual.solve(right)
    coef = jnp.einsum("np,knt->kpt", design.x, variables)
    image = jnp.einsum("nm,kmt->knt", dual.kernel, variables)
    left = right - design.weight[None, :, None] * image - penalty[:, None, None] * variables
    left = jnp.einsum("np,knt->kpt", design.x, left)
    scale = _norm(jnp.einsum("np,nt->pt", design.x, weighted), 0)
    return _Fit(coef, _norm(left, 1), scale, dual.singular), variables


def _batched(array: Array, penalty: Numbers, y_ndim: int) -> Array:
    """(k, t, ...) without the axes that the caller did not ask for."""
    array = array if y_ndim == 2 else array[:, 0]
    return array if np.ndim(penalty) == 1 else array[0]


def _report(fit: _Fit, floor: Float[Array, " t"], *inputs: Array) -> tuple[Array, Array, Array]:
    """Status (k, t), optimality (k, t), and where the answer exists (k, 1)."""
    finite = jnp.asarray(True)
    for array in inputs:
        finite = finite & jnp.all(jnp.isfinite(array))
    scale = jnp.broadcast_to(fit.scale[None, :], fit.residual.shape)
    optimality = jnp.where(scale > 0, fit.residual / jnp.where(scale > 0, scale, 1), fit.residual)
    optimality = jnp.maximum(optimality, floor[None, :])
    singular = jnp.broadcast_to(fit.singular[:, None], scale.shape)
    status = jnp.where(singular, int(Status.SINGULAR), int(Status.CONVERGED))
    status = jnp.where(finite, status, int(Status.NONFINITE)).astype(jnp.int32)
    return status, optimality, finite & ~fit.singular[:, None]


def _solution(fit: _Fit, coef_unit, floor, x_mean, y_mean, penalty, y_ndim, *inputs):
    status, optimality, exists = _report(fit, floor, *inputs)
    coef = coef_unit[None, :, None] * jnp.swapaxes(fit.coef, 1, 2)
    coef = jnp.where(exists[:, :, None], coef, jnp.nan)
    intercept = y_mean[None, :] - jnp.einsum("p,ktp->kt", x_mean, coef)
    fields = (coef, intercept, status, jnp.zeros_like(status), optimality)
    coef, intercept, status, steps, optimality = (_batched(f, penalty, y_ndim) for f in fields)
    return Solution(LinearModel(coef, intercept), status, steps, optimality)


def _penalties(penalty: Numbers, dtype) -> Float[Array, " k"]:
    check_penalty("penalty", penalty)
    penalty = number("penalty", penalty, dtype)
    if penalty.ndim > 1:
        raise ValueError(f"`penalty` must be a scalar or (k,), got shape {penalty.shape}")
    return jnp.atleast_1d(penalty)


@full_precision
def ridge(
    x: Numbers,
    y: Numbers,
    penalty: Numbers,
    *,
    sample_weight: Numbers | None = None,
    fit_intercept: bool = True,
) -> Solution[LinearModel]:
    """Ridge regression: minimise Σ wᵢ (yᵢ - xᵢb - b₀)² + penalty |b|², with b₀ free.

    scikit-learn's objective. With n >= p the normal equations (p, p) are solved, with n < p the
    dual (n, n), by static shape, with one Cholesky factor per penalty.

    **Arguments:**

    - `x`: design (n, p). `y`: target (n,), or targets (n, t) that share the design. No NaN: give
      missing rows weight zero and any finite number.
    - `penalty`: a scalar, or (k,) penalties that share products; not negative. Zero needs full
      column rank where n >= p, and gives the interpolant of least norm where n < p.
    - `sample_weight`: (n,), not negative; doubling a weight is repeating the row.
    - `fit_intercept`: whether b₀ is free; otherwise it is 0.

    **Returns:** a `Solution` with `coef` (p,), led by an axis of k penalties and then one of t
    targets if there are such. `optimality` is the norm of the residual of the normal equations
    over its value at b = 0, never below the effect of rounding the data; `steps` is 0. Status
    `CONVERGED`, or with NaN coefficients `SINGULAR` or `NONFINITE`. A constant column, a design of
    zeros and weights that are all zero are `SINGULAR` without a penalty, and have coefficients
    of zero with one. The answer does not depend on the units of data, weights and penalty.
    Differentiable in every array, forward and reverse.

    **Raises:** `ValueError` for shapes that do not fit, non-numeric input, and concrete negative
    penalties or weights.

    **Example:**

        >>> from syndigits_jax.solvers import ridge
        >>> x = [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [2.0, 0.0]]
        >>> solution = ridge(x, [1.0, 3.0, 3.5, 5.0], 0.5)
        >>> print(solution.value.coef.round(2), solution.value.intercept.round(2))
        [ 1.55 -0.14] 1.65
        >>> print(solution.value([[3.0, 1.0]]).round(2))
        [6.15]
    """
    x, y, sample_weight = regression_arrays(x, y, sample_weight, targets=True)
    penalties = _penalties(penalty, x.dtype)
    return _ridge(x, y, sample_weight, penalties, fit_intercept, np.ndim(penalty) == 0)


@functools.partial(jax.jit, static_argnames=("fit_intercept", "single"))
def _ridge(x, y, sample_weight, penalties, fit_intercept, single) -> Solution[LinearModel]:
    """[`ridge`][] from checked arguments; without an axis of penalties where `single`."""
    penalty = penalties[0] if single else penalties
    design = _centre(x, y, sample_weight, penalties, fit_intercept)
    if x.shape[0] >= x.shape[1]:
        gram = gram_matrix(design.weight[:, None] * design.x, design.x)
        fit, square = _primal(gram, design.cross.T, design.penalty), jnp.trace(gram)
    else:
        system = _dual_system(design, fit_intercept)
        (fit, _), square = _dual(design, system), system.square
    return _solution(
        fit,
        design.coef_unit,
        _floor_of(design, square),
        design.x_mean,
        design.y_mean,
        penalty,
        y.ndim,
        fit.scale,
        design.x,
        penalties,
    )


@full_precision
def ridge_from_gram(stats: GramStatistics, penalty: Numbers) -> Solution[LinearModel]:
    """[`ridge`][] (primal, one target) from second moments, for several fits that share them.

    **Example:**

        >>> from syndigits_jax.solvers import gram_statistics, ridge_from_gram
        >>> stats = gram_statistics([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
        >>> print(ridge_from_gram(stats, [0.0, 2.0]).value.coef.round(2))
        [[2.]
         [1.]]
    """
    penalties = _penalties(penalty, stats.gram.dtype)
    return _from_gram(stats, penalties, np.ndim(penalty) == 0)


@functools.partial(jax.jit, static_argnames="single")
def _from_gram(stats: GramStatistics, penalties, single) -> Solution[LinearModel]:
    """[`ridge_from_gram`][] from checked arguments, as [`_ridge`][]."""
    penalty = penalties[0] if single else penalties
    gram, cross, target_square = stats.moments()
    x_raw, y_raw = stats.raw_squares()
    square = jnp.sum(jnp.diagonal(gram))[None]
    floor = _floor(jnp.sum(x_raw), y_raw[None], square[0], target_square[None], cross[None])
    unit = largest(jnp.diagonal(gram))
    unit = jnp.maximum(unit, power_of_two(jnp.max(penalties)) / LARGEST_RATIO**2)
    cross_unit = largest(cross)
    fit = _primal(gram / unit, (cross / cross_unit)[:, None], penalties / unit)
    coef_unit, y_mean = (cross_unit / unit)[None], stats.y_mean[None]
    return _solution(
        fit, coef_unit, floor, stats.x_mean, y_mean, penalty, 1, cross, gram, y_mean, penalties
    )


def _leverage_terms(x, gram, penalty):
    """x_iᵀ (gram + penalty)⁻¹ x_i for every penalty and row, shape (k, n); differentiable."""
    solve, _ = _primal_inverse(gram, penalty)
    columns = jnp.broadcast_to(x.T[None], (penalty.shape[0], *x.T.shape))
    return jnp.einsum("np,kpn->kn", x, solve(columns))


@jax.custom_jvp
def _leverages(x, gram, penalty):
    """`_leverage_terms`, cheaper by the eigenvectors where there are several penalties.

    NaN for penalties with which the system is singular to working precision.
    """
    if penalty.shape[0] == 1:
        return _leverage_terms(x, gram, penalty)
    values, vectors = jnp.linalg.eigh(gram, symmetrize_input=False)
    shifted = jnp.maximum(values, 0)[None, :] + penalty[:, None]
    # Eigenvalues below the rounding errors of the largest are not known.
    negligible = gram.shape[0] * float(jnp.finfo(gram.dtype).eps)
    known = jnp.min(shifted, axis=1) > negligible * jnp.max(shifted, axis=1)
    shifted = jnp.where(known[:, None], shifted, jnp.nan)
    return (1 / shifted) @ ((x @ vectors) ** 2).T


# Eigenvectors are not differentiable where eigenvalues meet; the linear systems are.
@_leverages.defjvp
def _leverages_jvp(primals, tangents):
    return _leverages(*primals), jax.jvp(_leverage_terms, primals, tangents)[1]


@full_precision
def ridge_loo_residuals(
    x: Numbers,
    y: Numbers,
    penalty: Numbers,
    *,
    sample_weight: Numbers | None = None,
    fit_intercept: bool = True,
) -> Solution[Float[Array, "*batch n"]]:
    """Leave-one-out residuals of `ridge` in closed form: yᵢ minus the prediction without row i.

    With h the leverage (intercept and weight included), eᵢ = rᵢ / (1 - hᵢ): exact, also with an
    unpenalised intercept, whose mean then moves as well. A row of weight zero keeps its ordinary
    residual. In the dual form numerator and denominator are both divided by the penalty, so
    that small and zero penalties lose no accuracy.

    **Arguments:** `x`, `y`, `penalty`, `sample_weight`, `fit_intercept`: as in [`ridge`][]; errors
    too.

    **Returns:** a `Solution` whose value has shape (n,), led by an axis of k penalties and then one
    of t targets if there are such. NaN for a row without which there is no fit. Status as in
    [`ridge`][]; with several penalties and n >= p, `SINGULAR` also marks penalties too small beside
    the largest column. Differentiable, penalties included.

    **Example:**

        >>> from syndigits_jax.solvers import ridge_loo_residuals
        >>> x = [[0.0], [1.0], [2.0], [3.0]]
        >>> print(ridge_loo_residuals(x, [0.0, 1.0, 2.0, 6.0], 0.0).value.round(2))
        [ 2.   -0.43 -1.71  3.  ]
    """
    x, y, sample_weight = regression_arrays(x, y, sample_weight, targets=True)
    given = _penalties(penalty, x.dtype)
    return _loo_residuals(x, y, sample_weight, given, fit_intercept, np.ndim(penalty) == 0)


@functools.partial(jax.jit, static_argnames=("fit_intercept", "single"))
def _loo_residuals(x, y, sample_weight, given, fit_intercept, single) -> Solution[Array]:
    """[`ridge_loo_residuals`][] from checked arguments, as [`_ridge`][]."""
    penalty = given[0] if single else given
    design = _centre(x, y, sample_weight, given, fit_intercept)
    w, total, penalties = design.weight, design.total, design.penalty
    share = w / total if fit_intercept else jnp.zeros_like(w)
    if x.shape[0] >= x.shape[1]:
        gram = gram_matrix(w[:, None] * design.x, design.x)
        fit, square = _primal(gram, design.cross.T, penalties), jnp.trace(gram)
        ordinary = design.y[None] - jnp.einsum("np,kpt->knt", design.x, fit.coef)
        leverages = _leverages(design.x, gram, penalties)
        fit = fit._replace(singular=fit.singular | jnp.any(jnp.isnan(leverages), axis=1))
        rest = 1 - share[None, :] - w[None, :] * leverages
        # For a row that alone determines its fit, the remainder is rounding.
        rest = jnp.where(rest > x.shape[1] * float(jnp.finfo(x.dtype).eps), rest, jnp.nan)
        residuals = ordinary / rest[:, :, None]
    else:
        system = _dual_system(design, fit_intercept)
        (fit, variables), square = _dual(design, system), system.square
        unit = jnp.eye(len(x), dtype=x.dtype)
        inverse = system.solve(jnp.broadcast_to(unit[None], (len(penalties), *unit.shape)))
        lifted = penalties[:, None] + system.lift * total
        rest = jnp.diagonal(inverse, axis1=1, axis2=2)
        rest = rest - (share[None, :] / lifted if fit_intercept else 0)
        used = (w > 0)[None, :, None]
        image = jnp.einsum("nm,kmt->knt", system.kernel, variables)
        unused = design.y[None] - image
        safe = jnp.where(w > 0, w, 1)[None, :, None]
        residuals = jnp.where(used, variables / safe / jnp.where(used, rest[:, :, None], 1), unused)
    status, optimality, exists = _report(fit, _floor_of(design, square), fit.scale, design.x, given)
    residuals = design.unit[None, None] * residuals
    residuals = jnp.where(exists[:, :, None], jnp.swapaxes(residuals, 1, 2), jnp.nan)
    fields = (residuals, status, jnp.zeros_like(status), optimality)
    return Solution(*(_batched(field, penalty, y.ndim) for field in fields))
