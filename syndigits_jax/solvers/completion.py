"""Matrix completion: hard impute, soft impute and alternating least squares.

All three fit a low-rank matrix to the observed entries of a matrix and read the missing ones off
it (Mazumder, Hastie and Tibshirani 2010; Hastie, Mazumder, Lee and Zadeh 2015). They share one
loop: fill the missing entries from the current fit, refit, repeat.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ._checks import check_completion, check_penalty
from ._completion_gradient import attach_gradient
from ._precision import full_precision
from .low_rank import OVERSAMPLE, Factors, block_width, check_rank, start_block, subspace_step
from .solution import Solution, Status, status_code


class Completion(eqx.Module):
    """A completed matrix.

    - `completed`: (n, m), observed entries as given, missing ones from the fit.
    - `fitted`: (n, m), the low-rank fit everywhere.
    - `loadings`: (m, r) basis of the row space, for [`fold_in`][] of new rows.
    """

    completed: Float[Array, "n m"]
    fitted: Float[Array, "n m"]
    loadings: Float[Array, "m r"]


def column_mean_start(
    x: Float[Array, "n m"],
    mask: Bool[Array, "n m"],
    sample_weight: Float[Array, " n"] | None = None,
) -> Float[Array, "n m"]:
    """`x` with missing entries replaced by the column's observed mean (0 for an empty column)."""
    weight = mask.astype(x.dtype)
    if sample_weight is not None:
        weight = weight * sample_weight[:, None]
    count = jnp.sum(weight, axis=0)
    total = jnp.sum(weight * jnp.where(mask, x, 0), axis=0)
    mean = jnp.where(count > 0, total / jnp.where(count > 0, count, 1), 0)
    return jnp.where(mask, x, mean[None, :])


def _relative_change(new: Float[Array, "n m"], old: Float[Array, "n m"]) -> Float[Array, ""]:
    tiny = jnp.finfo(old.dtype).tiny
    return jnp.sqrt(jnp.sum((new - old) ** 2) / jnp.maximum(jnp.sum(old**2), tiny))


def _spectral_impute(
    x: Float[Array, "n m"],
    mask: Bool[Array, "n m"],
    rank: int,
    shrink: Callable[[Float[Array, " r"]], Float[Array, " r"]],
    *,
    start: Float[Array, "n m"] | None,
    sample_weight: Float[Array, " n"] | None,
    tol: float | Float[Array, ""],
    max_steps: int | Int[Array, ""],
    oversample: int,
) -> Solution[Factors]:
    """Iterate X <- observed entries of x, elsewhere the rank-r fit with shrunken singular values.

    Weights enter by scaling row i by √wᵢ, under which the weighted fit is an ordinary one.
    """
    filled = column_mean_start(x, mask, sample_weight) if start is None else start
    filled = jnp.where(mask, x, filled)
    if sample_weight is not None:
        root = jnp.sqrt(sample_weight)[:, None]
        x, filled = x * root, filled * root
    width = block_width(rank, x.shape, oversample)
    block = start_block(filled, width)
    tol = jnp.maximum(jnp.asarray(tol, x.dtype), 8 * jnp.finfo(x.dtype).eps)

    def cond(carry):
        step, _, _, _, change = carry
        # NaN compares false: a broken member stops at once and leaves the batch alone.
        return (step < max_steps) & (change >= tol)

    def body(carry):
        step, filled, _, right, _ = carry
        wide = subspace_step(filled, right)
        fit = wide.truncate(rank)
        fit = Factors(fit.left, shrink(fit.values), fit.right)
        new = jnp.where(mask, x, fit.matrix())
        return step + 1, new, fit, wide.right, _relative_change(new, filled)

    zero = Factors(*(jnp.zeros(s, x.dtype) for s in ((x.shape[0], rank), rank, (x.shape[1], rank))))
    carry = (jnp.int32(0), filled, zero, block, jnp.asarray(jnp.inf, x.dtype))
    step, filled, fit, _, change = lax.while_loop(cond, body, carry)
    finite = jnp.isfinite(change) & jnp.all(jnp.isfinite(filled))
    return Solution(fit, status_code(change < tol, finite), step, change)


def _finish(
    x: Float[Array, "n m"],
    mask: Bool[Array, "n m"],
    solution: Solution[Factors],
    penalty: Float[Array, ""],
    sample_weight: Float[Array, " n"] | None,
) -> Solution[Completion]:
    """Factors to a [`Completion`][], with gradients through the fixed point and weights undone."""
    factors = solution.value
    root = jnp.sqrt(factors.values)[None, :]
    left, right = factors.left * root, factors.right * root
    scaled = x if sample_weight is None else x * jnp.sqrt(sample_weight)[:, None]
    left, right = attach_gradient(scaled, mask.astype(x.dtype), penalty, left, right)
    fitted = left @ right.T
    if sample_weight is not None:
        weight_root = jnp.sqrt(sample_weight)
        undo = jnp.where(weight_root > 0, 1 / jnp.where(weight_root > 0, weight_root, 1), 0)
        fitted = fitted * undo[:, None]
        # Rows of weight zero took no part in the fit; place them on it.
        placed = fold_in(x, mask, right, penalty)
        fitted = jnp.where((sample_weight > 0)[:, None], fitted, placed)
    completed = jnp.where(mask, x, fitted)
    value = Completion(completed, fitted, right)
    status = solution.status
    if sample_weight is not None:
        status = jnp.where(jnp.any(sample_weight > 0), status, int(Status.NONFINITE))
    return Solution(value, status.astype(jnp.int32), solution.steps, solution.optimality)


@full_precision
def hard_impute(
    x: Float[Array, "..."],
    mask: Bool[Array, "..."],
    rank: int,
    *,
    start: Float[Array, "..."] | None = None,
    sample_weight: Float[Array, "..."] | None = None,
    tol: float | Float[Array, ""] = 1e-4,
    max_steps: int | Int[Array, ""] = 1000,
    oversample: int = OVERSAMPLE,
) -> Solution[Completion]:
    """Complete `x` by iterated best rank-r approximation (hard-thresholded SVD).

    **Arguments:**

    - `x`: (n, m); entries where `mask` is false are ignored, but must be finite.
    - `mask`: (n, m), true where observed.
    - `rank`: static.
    - `start`: (n, m) first guess of the missing entries; column means by default. The problem is
      not convex, so the start matters.
    - `sample_weight`: (n,) weights of the rows' squared errors.
    - `tol`: stop when ‖X_new - X_old‖_F / ‖X_old‖_F falls below it; never below 8 eps.
    - `max_steps`: at most so many refits.
    - `oversample`: extra columns of the subspace iteration.

    **Returns:** a [`Solution`][] with a [`Completion`][]; `optimality` is the last relative change.
    Gradients with respect to `x` follow the implicit function theorem at the fixed point.

    Status is `NONFINITE` where all weights are zero.

    **Raises:** `ValueError` for a rank beyond the matrix, arrays that do not fit together, a mask
    that is not boolean, and weights that are negative or, where known, all zero.
    """
    check_completion(x, mask, sample_weight, start)
    check_rank(rank, x.shape)
    solution = _spectral_impute(
        *lax.stop_gradient((x, mask)),
        rank,
        lambda values: values,
        start=start,
        sample_weight=lax.stop_gradient(sample_weight),
        tol=tol,
        max_steps=max_steps,
        oversample=oversample,
    )
    return _finish(x, mask, solution, jnp.zeros((), x.dtype), sample_weight)


@full_precision
def soft_impute(
    x: Float[Array, "..."],
    mask: Bool[Array, "..."],
    rank: int,
    penalty: float | Float[Array, ""],
    *,
    start: Float[Array, "..."] | None = None,
    sample_weight: Float[Array, "..."] | None = None,
    tol: float | Float[Array, ""] = 1e-4,
    max_steps: int | Int[Array, ""] = 1000,
    oversample: int = OVERSAMPLE,
) -> Solution[Completion]:
    """Complete `x` with a nuclear-norm penalty: ½‖P_Ω(X - M)‖² + penalty·‖M‖_*, rank M <= rank.

    Singular values are reduced by `penalty` in every refit. Convex, and independent of the start,
    when `rank` is at least the rank of the unconstrained solution. Arguments, result and errors as
    in [`hard_impute`][], and `ValueError` for a negative penalty; gradients also with respect to
    `penalty`.
    """
    check_completion(x, mask, sample_weight, start)
    check_rank(rank, x.shape)
    check_penalty("penalty", penalty)
    penalty = jnp.asarray(penalty, x.dtype)
    fixed = lax.stop_gradient(penalty)
    solution = _spectral_impute(
        *lax.stop_gradient((x, mask)),
        rank,
        lambda values: jnp.maximum(values - fixed, 0),
        start=start,
        sample_weight=lax.stop_gradient(sample_weight),
        tol=tol,
        max_steps=max_steps,
        oversample=oversample,
    )
    return _finish(x, mask, solution, penalty, sample_weight)


@full_precision
def als(
    x: Float[Array, "..."],
    mask: Bool[Array, "..."],
    rank: int,
    penalty: float | Float[Array, ""],
    *,
    key: Array | None = None,
    init: Float[Array, "..."] | None = None,
    sample_weight: Float[Array, "..."] | None = None,
    tol: float | Float[Array, ""] = 1e-4,
    max_steps: int | Int[Array, ""] = 1000,
) -> Solution[Completion]:
    """Alternating ridge regressions for ½‖P_Ω(X - ABᵀ)‖² + ½·penalty·(‖A‖² + ‖B‖²).

    Each half step regresses the *filled* matrix on the other factor, so that one r x r system
    serves all rows (softImpute-ALS; Hastie et al. 2015, algorithm 3.1) instead of one per row.

    **Arguments:** as [`hard_impute`][], and

    - `penalty`: ridge penalty on both factors; the same number as in [`soft_impute`][].
    - `key`: for the random start 0.01·N(0, 1) (a fixed one by default); or
    - `init`: (m, rank) loadings to start from.
    - `tol`: stop when ‖M_new - M‖_F / ‖M_new‖_F of the fit M falls below it; never below 8 eps.

    **Returns:** a [`Solution`][] with a [`Completion`][]. Gradients as in [`soft_impute`][].

    **Raises:** `ValueError` as [`hard_impute`][], for a negative penalty, and for an `init` that
    does not fit.
    """
    check_completion(x, mask, sample_weight)
    check_rank(rank, x.shape)
    check_penalty("penalty", penalty)
    penalty = jnp.asarray(penalty, x.dtype)
    if init is None:
        key = jax.random.key(0) if key is None else key
        init = 0.01 * jax.random.normal(key, (x.shape[1], rank), x.dtype)
    elif init.shape != (x.shape[1], rank):
        raise ValueError(f"`init` must have shape {(x.shape[1], rank)}, got {init.shape}")
    data = x if sample_weight is None else x * jnp.sqrt(sample_weight)[:, None]
    data, lam, loadings = lax.stop_gradient((data, penalty, init))
    tol = jnp.maximum(jnp.asarray(tol, x.dtype), 8 * jnp.finfo(x.dtype).eps)
    # A ridge of rounding size keeps the first systems, built from tiny factors, solvable.
    floor = jnp.finfo(x.dtype).eps
    identity = jnp.eye(rank, dtype=x.dtype)

    def half_step(filled, factor):
        gram = factor.T @ factor
        gram = gram + (lam + floor * jnp.trace(gram) + jnp.finfo(x.dtype).tiny) * identity
        root = lax.linalg.triangular_solve(
            jnp.linalg.cholesky(gram), identity, left_side=True, lower=True
        )
        # Products with the small inverse are far faster than a solve with n right-hand sides.
        return filled @ (factor @ (root.T @ root))

    # Relative to this, a fit is nothing: a penalty beyond the data shrinks it there.
    nothing = jnp.finfo(x.dtype).eps * jnp.sqrt(jnp.sum(jnp.where(mask, data, 0) ** 2))

    def cond(carry):
        step, *_, change = carry
        return (step < max_steps) & (change >= tol)

    def body(carry):
        step, scores, loadings, _ = carry
        filled = jnp.where(mask, data, scores @ loadings.T)
        new_scores = half_step(filled, loadings)
        filled = jnp.where(mask, data, new_scores @ loadings.T)
        new_loadings = half_step(filled.T, new_scores)
        old, new = (scores, loadings), (new_scores, new_loadings)
        change = _product_change(old, new) / (_product_norm(new) + nothing)
        return step + 1, new_scores, new_loadings, change

    scores = jnp.zeros((x.shape[0], rank), x.dtype)
    carry = (jnp.int32(0), scores, loadings, jnp.asarray(jnp.inf, x.dtype))
    step, scores, loadings, change = lax.while_loop(cond, body, carry)
    finite = jnp.isfinite(change)
    # Balanced factors (equal Grams), which both the fixed point and its gradient assume.
    factors = _balance(scores, loadings)
    solution = Solution(factors, status_code(change < tol, finite), step, change)
    return _finish(x, mask, solution, penalty, sample_weight)


def _product_norm(factors: tuple[Array, Array]) -> Float[Array, ""]:
    """‖ABᵀ‖_F from the factors' Gram matrices."""
    a, b = factors
    return jnp.sqrt(jnp.maximum(jnp.sum((a.T @ a) * (b.T @ b)), 0))


def _product_change(old: tuple[Array, Array], new: tuple[Array, Array]) -> Float[Array, ""]:
    """‖A'B'ᵀ - ABᵀ‖_F without either product: (A' - A)B'ᵀ + A(B' - B)ᵀ, in one pair of factors."""
    (a, b), (a_new, b_new) = old, new
    left = jnp.concatenate([a_new - a, a], axis=1)
    right = jnp.concatenate([b_new, b_new - b], axis=1)
    return _product_norm((left, right))


def _balance(scores: Float[Array, "n r"], loadings: Float[Array, "m r"]) -> Factors:
    """The thin SVD of `scores @ loadings.T` through two small eigenproblems."""
    basis, rotation_u = _polar_factor(scores)
    right_basis, rotation_v = _polar_factor(loadings)
    u, values, vt = jnp.linalg.svd(rotation_u @ rotation_v.T, full_matrices=False)
    return Factors(basis @ u, values, right_basis @ vt.T)


def _polar_factor(a: Float[Array, "n r"]) -> tuple[Float[Array, "n r"], Float[Array, "r r"]]:
    """`(q, s)` with a = q @ s, q having orthonormal columns where a has full rank."""
    squares, rotation = jnp.linalg.eigh(a.T @ a)
    values = jnp.sqrt(jnp.maximum(squares, 0))
    safe = jnp.maximum(values, jnp.finfo(a.dtype).eps * values[-1] + jnp.finfo(a.dtype).tiny)
    return (a @ rotation) / safe[None, :], safe[:, None] * rotation.T


@full_precision
def fold_in(
    x: Float[Array, "k m"],
    mask: Bool[Array, "..."],
    loadings: Float[Array, "..."],
    penalty: float | Float[Array, ""] = 0.0,
) -> Float[Array, "k m"]:
    """Place new rows on a fitted row space: per row, a ridge regression on its observed entries.

    `loadings` is [`Completion`][]`.loadings`; returns the (k, m) fit. Rows without any observed
    entry come out zero.

    **Raises:** `ValueError` for arrays that do not fit together or a negative penalty.
    """
    check_completion(x, mask)
    if loadings.ndim != 2 or loadings.shape[0] != x.shape[1]:
        raise ValueError(
            f"`loadings` must have {x.shape[1]} rows, one per column of `x`, got {loadings.shape}"
        )
    check_penalty("penalty", penalty)
    weight = mask.astype(x.dtype)
    rank = loadings.shape[1]
    outer = (loadings[:, :, None] * loadings[:, None, :]).reshape(loadings.shape[0], rank * rank)
    grams = (weight @ outer).reshape(-1, rank, rank)
    ridge = jnp.asarray(penalty, x.dtype) + 8 * jnp.finfo(x.dtype).eps * jnp.maximum(
        jnp.trace(loadings.T @ loadings), jnp.finfo(x.dtype).tiny
    )
    cross = jnp.where(mask, x, 0) @ loadings
    system = grams + ridge * jnp.eye(rank, dtype=x.dtype)[None]
    return _solve_positive(system, cross) @ loadings.T


def _solve_positive(system: Float[Array, "k r r"], rhs: Float[Array, "k r"]) -> Float[Array, "k r"]:
    """Many small positive definite systems, by elimination over the batch at once.

    Plain array operations: no LAPACK call per system, which would also, on a CPU, block a thread
    of the pool that other programs wait for.
    """
    augmented = jnp.concatenate([system, rhs[:, :, None]], axis=2)

    def eliminate(i, a):
        pivot_row = a[:, i] / a[:, i, i][:, None]
        reduced = a - a[:, :, i][:, :, None] * pivot_row[:, None, :]
        return reduced.at[:, i].set(pivot_row)

    return lax.fori_loop(0, rhs.shape[1], eliminate, augmented)[:, :, -1]
