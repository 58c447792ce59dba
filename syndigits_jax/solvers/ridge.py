"""Ridge regression in closed form, primal or dual, with leave-one-out residuals."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from ._checks import check_penalty, check_regression
from ._precision import full_precision
from ._shifted import Apply, shifted_inverse
from .linear_model import GramStatistics, LinearModel
from .solution import Solution, Status


class _Design(NamedTuple):
    """A weighted regression, centred where there is an intercept; `total` is the weight sum."""

    x: Float[Array, "n p"]
    y: Float[Array, "n t"]
    weight: Float[Array, " n"]
    total: Float[Array, ""]
    x_mean: Float[Array, " p"]
    y_mean: Float[Array, " t"]


class _Fit(NamedTuple):
    """Coefficients for every penalty and target, and what there is to say about them."""

    coef: Float[Array, "k p t"]
    residual: Float[Array, "k t"]  # norm of the normal equations' residual
    scale: Float[Array, " t"]  # the same norm at zero coefficients
    singular: Bool[Array, " k"]


def _centre(x, y, sample_weight, fit_intercept) -> _Design:
    y = y if y.ndim == 2 else y[:, None]
    w = jnp.ones_like(y[:, 0]) if sample_weight is None else sample_weight
    total = jnp.sum(w)
    total = jnp.where(total == 0, 1, total)
    if not fit_intercept:
        return _Design(x, y, w, total, jnp.zeros_like(x[0]), jnp.zeros_like(y[0]))
    x_mean, y_mean = (w @ x) / total, (w @ y) / total
    return _Design(x - x_mean[None, :], y - y_mean[None, :], w, total, x_mean, y_mean)


def _norm(array: Array, axis: int) -> Array:
    return jnp.sqrt(jnp.sum(jax.lax.stop_gradient(array) ** 2, axis=axis))


def _primal_inverse(gram: Float[Array, "p p"], penalty: Float[Array, " k"]):
    """Differentiable b -> (gram + penalty)⁻¹ b, and where that is singular."""
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
    lift: Float[Array, ""]  # κ
    solve: Apply
    singular: Bool[Array, " k"]


def _dual_system(design: _Design, penalty: Float[Array, " k"], fit_intercept: bool) -> _Dual:
    w = design.weight
    kernel = design.x @ design.x.T
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

    return _Dual(kernel, lift, inverse, singular)


def _dual(design: _Design, dual: _Dual, penalty: Float[Array, " k"]) -> tuple[_Fit, Array]:
    """The fit, and its dual variables (k, n, t)."""
    weighted = design.weight[:, None] * design.y
    right = jnp.broadcast_to(weighted[None], (penalty.shape[0], *weighted.shape))
    variables = dual.solve(right)
    coef = jnp.einsum("np,knt->kpt", design.x, variables)
    image = jnp.einsum("nm,kmt->knt", dual.kernel, variables)
    left = right - design.weight[None, :, None] * image - penalty[:, None, None] * variables
    left = jnp.einsum("np,knt->kpt", design.x, left)
    scale = _norm(jnp.einsum("np,nt->pt", design.x, weighted), 0)
    return _Fit(coef, _norm(left, 1), scale, dual.singular), variables


def _batched(array: Array, penalty: ArrayLike, y_ndim: int) -> Array:
    """(k, t, ...) without the axes that the caller did not ask for."""
    array = array if y_ndim == 2 else array[:, 0]
    return array if jnp.ndim(penalty) == 1 else array[0]


def _report(fit: _Fit, *inputs: Array) -> tuple[Array, Array, Array]:
    """Status (k, t), optimality (k, t), and where the answer exists (k, 1)."""
    finite = jnp.asarray(True)
    for array in inputs:
        finite = finite & jnp.all(jnp.isfinite(array))
    scale = jnp.broadcast_to(fit.scale[None, :], fit.residual.shape)
    optimality = jnp.where(scale > 0, fit.residual / jnp.where(scale > 0, scale, 1), fit.residual)
    singular = jnp.broadcast_to(fit.singular[:, None], scale.shape)
    status = jnp.where(singular, int(Status.SINGULAR), int(Status.CONVERGED))
    status = jnp.where(finite, status, int(Status.NONFINITE)).astype(jnp.int32)
    return status, optimality, finite & ~fit.singular[:, None]


def _solution(fit: _Fit, x_mean, y_mean, penalty, y_ndim, *inputs) -> Solution[LinearModel]:
    status, optimality, exists = _report(fit, *inputs)
    coef = jnp.where(exists[:, :, None], jnp.swapaxes(fit.coef, 1, 2), jnp.nan)
    intercept = y_mean[None, :] - jnp.einsum("p,ktp->kt", x_mean, coef)
    fields = (coef, intercept, status, jnp.zeros_like(status), optimality)
    coef, intercept, status, steps, optimality = (_batched(f, penalty, y_ndim) for f in fields)
    return Solution(LinearModel(coef, intercept), status, steps, optimality)


def _penalties(penalty: ArrayLike, dtype) -> Float[Array, " k"]:
    check_penalty("penalty", penalty)
    if jnp.ndim(penalty) > 1:
        raise ValueError(f"`penalty` must be a scalar or (k,), got shape {jnp.shape(penalty)}")
    return jnp.atleast_1d(jnp.asarray(penalty, dtype))


@full_precision
def ridge(
    x: Float[Array, "..."],
    y: Float[Array, "..."],
    penalty: ArrayLike,
    *,
    sample_weight: Float[Array, "..."] | None = None,
    fit_intercept: bool = True,
) -> Solution[LinearModel]:
    """Ridge regression: minimise Σ wᵢ (yᵢ - xᵢb - b₀)² + penalty |b|², with b₀ free.

    scikit-learn's objective. With n >= p the normal equations (p, p) are solved, with n < p the
    dual (n, n), by static shape: one penalty by Cholesky, several by one eigendecomposition
    (slow on GPUs beyond 32 x 32 in a batch; there, `jax.vmap` over scalar penalties).

    **Arguments:**

    - `x`: design (n, p). `y`: target (n,), or targets (n, t) that share the design. No NaN: give
      missing rows weight zero and any finite number.
    - `penalty`: a scalar, or (k,) penalties that share one factorisation; not negative. Zero
      asks for full column rank where n >= p, and gives the interpolant of least norm where n < p.
    - `sample_weight`: (n,), not negative; doubling a weight is repeating the row.

    **Returns:** a `Solution` with `coef` (p,), led by an axis of k penalties and then one of t
    targets if there are such. `optimality` is the norm of the residual of the normal equations
    over its value at b = 0; `steps` is 0. Status `CONVERGED`, or with NaN coefficients
    `SINGULAR` or `NONFINITE`. Differentiable in every array, forward and reverse.

    **Raises:** `ValueError` for shapes that do not fit, integer arrays, and concrete negative
    penalties or weights.
    """
    check_regression(x, y, sample_weight, targets=True)
    penalties = _penalties(penalty, x.dtype)
    design = _centre(x, y, sample_weight, fit_intercept)
    if x.shape[0] >= x.shape[1]:
        weighted = design.weight[:, None] * design.x
        fit = _primal(weighted.T @ design.x, weighted.T @ design.y, penalties)
    else:
        system = _dual_system(design, penalties, fit_intercept)
        fit, _ = _dual(design, system, penalties)
    return _solution(
        fit, design.x_mean, design.y_mean, penalty, y.ndim, fit.scale, design.x, penalties
    )


@full_precision
def ridge_from_gram(stats: GramStatistics, penalty: ArrayLike) -> Solution[LinearModel]:
    """`ridge` (primal, one target) from second moments, for several fits that share them."""
    penalties = _penalties(penalty, stats.gram.dtype)
    fit = _primal(stats.gram, stats.cross[:, None], penalties)
    y_mean = stats.y_mean[None]
    return _solution(
        fit, stats.x_mean, y_mean, penalty, 1, stats.cross, stats.gram, y_mean, penalties
    )


def _leverage_terms(x, gram, penalty):
    """x_iᵀ (gram + penalty)⁻¹ x_i for every penalty and row, shape (k, n); differentiable."""
    solve, _ = _primal_inverse(gram, penalty)
    columns = jnp.broadcast_to(x.T[None], (penalty.shape[0], *x.T.shape))
    return jnp.einsum("np,kpn->kn", x, solve(columns))


@jax.custom_jvp
def _leverages(x, gram, penalty):
    """`_leverage_terms`, cheaper by the eigenvectors where there are several penalties."""
    if penalty.shape[0] == 1:
        return _leverage_terms(x, gram, penalty)
    values, vectors = jnp.linalg.eigh(gram, symmetrize_input=False)
    return (1 / (jnp.maximum(values, 0)[None, :] + penalty[:, None])) @ ((x @ vectors) ** 2).T


# Eigenvectors are not differentiable where eigenvalues meet; the linear systems are.
@_leverages.defjvp
def _leverages_jvp(primals, tangents):
    return _leverages(*primals), jax.jvp(_leverage_terms, primals, tangents)[1]


@full_precision
def ridge_loo_residuals(
    x: Float[Array, "..."],
    y: Float[Array, "..."],
    penalty: ArrayLike,
    *,
    sample_weight: Float[Array, "..."] | None = None,
    fit_intercept: bool = True,
) -> Solution[Float[Array, "*batch n"]]:
    """Leave-one-out residuals of `ridge` in closed form: yᵢ minus the prediction without row i.

    With h the leverage (intercept and weight included), eᵢ = rᵢ / (1 - hᵢ): exact, also with an
    unpenalised intercept, whose mean then moves as well. A row of weight zero keeps its ordinary
    residual. In the dual form numerator and denominator are both divided by the penalty, so
    that small and zero penalties lose no accuracy.

    Arguments, errors and status as for `ridge`. **Returns:** a `Solution` whose value has shape
    (n,), led by an axis of k penalties and then one of t targets if there are such. NaN for a
    row without which there is no fit. Differentiable, penalties included.
    """
    check_regression(x, y, sample_weight, targets=True)
    penalties = _penalties(penalty, x.dtype)
    design = _centre(x, y, sample_weight, fit_intercept)
    w, total = design.weight, design.total
    share = w / total if fit_intercept else jnp.zeros_like(w)
    if x.shape[0] >= x.shape[1]:
        weighted = w[:, None] * design.x
        gram = weighted.T @ design.x
        fit = _primal(gram, weighted.T @ design.y, penalties)
        ordinary = design.y[None] - jnp.einsum("np,kpt->knt", design.x, fit.coef)
        rest = 1 - share[None, :] - w[None, :] * _leverages(design.x, gram, penalties)
        # What is left of a row that alone determines its fit is rounding.
        rest = jnp.where(rest > x.shape[1] * float(jnp.finfo(x.dtype).eps), rest, jnp.nan)
        residuals = ordinary / rest[:, :, None]
    else:
        system = _dual_system(design, penalties, fit_intercept)
        fit, variables = _dual(design, system, penalties)
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
    status, optimality, exists = _report(fit, fit.scale, design.x, penalties)
    residuals = jnp.where(exists[:, :, None], jnp.swapaxes(residuals, 1, 2), jnp.nan)
    fields = (residuals, status, jnp.zeros_like(status), optimality)
    return Solution(*(_batched(field, penalty, y.ndim) for field in fields))
