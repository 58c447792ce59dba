"""Matrix completion: hard impute, soft impute and alternating least squares.

All three fit a low-rank matrix to the observed entries of a matrix and read the missing ones off
it (Mazumder, Hastie and Tibshirani 2010; Hastie, Mazumder, Lee and Zadeh 2015). They share one
loop: fill the missing entries from the current fit, refit, repeat.

Weights count rows: a row of weight 2 is the row twice, one of weight 0 takes no part in the fit
and is placed on it afterwards. A matrix M with rows repeated wᵢ times has the singular values of
√W M, W = diag(w), and that is what the objectives below hold.
"""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from ._alternating import alternate
from ._columns import check_incomplete, in_order, incomplete_first, put_back, split
from ._completion_gradient import attach_gradient
from ._completion_problem import (
    Problem,
    column_mean_start,
    duality_gap,
    penalty_of,
    prepare,
    root_mean_square,
    tolerance,
)
from ._fold_in import fold_in as fold_in
from ._fold_in import place
from ._momentum import next_momentum
from .boundary import Numbers, as_float
from .checks import check_stopping
from .low_rank import OVERSAMPLE, Factors, block_width, start_block, warm_step
from .precision import full_precision
from .solution import Solution, Status, status_code
from .sums import sum_of_squares, total


class Completion(eqx.Module):
    """A completed matrix.

    - `completed`: (n, m), observed entries as given, missing ones from the fit.
    - `fitted`: (n, m), the low-rank fit everywhere.
    - `loadings`: (m, r) basis of the row space, for [`fold_in`][] of new rows.
    """

    completed: Float[Array, "n m"]
    fitted: Float[Array, "n m"]
    loadings: Float[Array, "m r"]


@functools.partial(jax.jit, static_argnames=("rank", "oversample", "incomplete"))
def _hard(
    problem: Problem, init, tol, max_steps, rank, oversample, incomplete
) -> Solution[Completion]:
    """[`hard_impute`][] from checked arguments."""
    stopping = tol, max_steps
    solution = _spectral_impute(
        problem, rank, lambda values: values, init, stopping, oversample, incomplete, False
    )
    return _finish(problem, solution, jnp.zeros((), problem.x.dtype))


@functools.partial(jax.jit, static_argnames=("rank", "oversample", "incomplete", "accelerate"))
def _soft(
    problem: Problem, penalty, init, tol, max_steps, rank, oversample, incomplete, accelerate
) -> Solution[Completion]:
    """[`soft_impute`][] from checked arguments."""
    fixed, stopping = lax.stop_gradient(penalty), (tol, max_steps)
    solution = _spectral_impute(
        problem,
        rank,
        lambda values: jnp.maximum(values - fixed, 0),
        init,
        stopping,
        oversample,
        incomplete,
        accelerate,
    )
    return _certified(problem, solution, penalty)


def _spectral_impute(
    problem: Problem,
    rank: int,
    shrink: Callable[[Float[Array, " r"]], Float[Array, " r"]],
    init: Float[Array, "n m"] | None,
    stopping: tuple[Float[Array, ""], int | Int[Array, ""]],
    oversample: int,
    incomplete: int,
    accelerate: bool,
) -> Solution[Factors]:
    """Iterate X <- observed entries of x, elsewhere the rank-r fit with shrunken singular values.

    Weights enter by scaling row i by √wᵢ, under which the weighted fit is an ordinary one. With
    `accelerate` a refit is of the matrix ahead of X, where its last move points: Nesterov's method
    for the objective as a function of the missing entries (Yao and Kwok 2015).
    """
    tol, max_steps = stopping
    problem = lax.stop_gradient(problem)
    x, mask = problem.data, problem.mask
    filled = column_mean_start(problem.x, mask, problem.relative_weight) if init is None else init
    if problem.root is not None:
        filled = filled * problem.root[:, None]
    filled = jnp.where(mask, x, filled)
    block = start_block(filled, block_width(rank, x.shape, oversample)).T
    order, fits = incomplete_first(mask, incomplete)
    # As `warm_step` takes them.
    x, mask, filled = (in_order(a, order).T for a in (x, mask, filled))
    block = in_order(block, order)
    (filled, *rest), x, mask = split(filled, incomplete), x[:incomplete], mask[:incomplete]
    complete_square = sum_of_squares(rest[0]) if rest else 0

    def cond(carry):
        step, *_, change = carry
        # Comparisons with NaN are false: a member with NaN stops at once, the others go on.
        return (step < max_steps) & (change >= tol)

    def body(carry):
        step, filled, ahead, momentum, square, _, block, _ = carry
        start = ahead if accelerate else filled
        left, values, right, block = warm_step((start, *rest), block, rank)
        values = shrink(values)
        new = jnp.where(mask, x, (right[:, :incomplete].T * values[None, :]) @ left)
        move = new - filled
        change = jnp.sqrt(sum_of_squares(move) / jnp.maximum(square, tiny))
        square = sum_of_squares(new) + complete_square
        if accelerate:
            share, momentum = next_momentum(momentum, total((start - new) * move) > 0)
            ahead = new + share * move
        return step + 1, new, ahead, momentum, square, (left, values, right), block, change

    dtype, (n, m) = x.dtype, problem.data.shape
    tiny = jnp.finfo(dtype).tiny
    zero = tuple(jnp.zeros(shape, dtype) for shape in ((rank, n), (rank,), (rank, m)))
    infinity, ahead = jnp.asarray(jnp.inf, dtype), filled if accelerate else ()
    square = sum_of_squares(filled) + complete_square
    one = jnp.ones((), dtype)
    carry = (jnp.int32(0), filled, ahead, one, square, zero, block, infinity)
    step, filled, *_, (left, values, right), _, change = lax.while_loop(cond, body, carry)
    fit = Factors(left.T, values, put_back(right, order).T)
    finite = fits & jnp.isfinite(change) & jnp.all(jnp.isfinite(filled))
    no_distance = jnp.full_like(change, jnp.nan)
    return Solution(fit, status_code(change < tol, finite), step, no_distance, change)


def _finish(
    problem: Problem, solution: Solution[Factors], penalty: Float[Array, ""]
) -> Solution[Completion]:
    """Factors to a [`Completion`][], with gradients through the fixed point and weights undone."""
    factors, mask, weight = solution.value, problem.mask, problem.weight
    root = jnp.sqrt(factors.values)[None, :]
    left, right = factors.left * root, factors.right * root
    left, right = attach_gradient(problem.data, mask.astype(left.dtype), penalty, left, right)
    fitted, status = left @ right.T, solution.status
    if problem.root is not None and weight is not None:
        undo = jnp.where(problem.root > 0, 1 / jnp.where(problem.root > 0, problem.root, 1), 0)
        fitted = fitted * undo[:, None]
        # Rows of weight zero took no part in the fit; place them on it.
        placed = place(problem.x, mask, right, penalty)
        fitted = jnp.where((weight > 0)[:, None], fitted, placed)
        status = jnp.where(jnp.any(weight > 0), status, int(Status.NONFINITE))
    fitted = fitted * problem.unit
    completed = jnp.where(mask, problem.given, fitted)
    value = Completion(completed, fitted, right * jnp.sqrt(problem.data_unit))
    return Solution(
        value, status.astype(jnp.int32), solution.steps, solution.optimality, solution.change
    )


@full_precision
def hard_impute(
    x: Numbers,
    mask: Numbers,
    rank: int,
    *,
    init: Numbers | None = None,
    sample_weight: Numbers | None = None,
    tol: float | Float[Array, ""] = 1e-4,
    max_steps: int | Int[Array, ""] = 1000,
    oversample: int = OVERSAMPLE,
    incomplete: int | None = None,
) -> Solution[Completion]:
    """Complete `x` by iterated best rank-r approximation (hard-thresholded SVD).

    Each refit lowers ½ Σᵢ wᵢ ‖P_Ω(xᵢ - mᵢ)‖² over matrices M of that rank, with rows xᵢ and mᵢ:
    half the squared errors of the observed entries, as if row i were repeated wᵢ times.

    **Arguments:**

    - `x`: (n, m), anything that holds numbers; entries where `mask` is false are ignored.
    - `mask`: (n, m), true where observed.
    - `rank`: r, at most min(n, m); static.
    - `init`: (n, m) first guess of the missing entries; column means by default, weighted as the
      rows are. The problem is not convex, so that it matters.
    - `sample_weight`: (n,) how often each row counts; not negative.
    - `tol`: stop when ‖X_new - X_old‖_F / ‖X_old‖_F falls below it, rows times √wᵢ; never below
      8 eps.
    - `max_steps`: most refits, at least one; `tol` and `max_steps` may be traced.
    - `oversample`: extra columns of the subspace iteration.
    - `incomplete`: how many columns have missing entries, at most; all may, by default. Static.
      The others are left alone in a refit, which takes up to a quarter less time.

    The unit of `x` affects only the unit of the result: the computation is in units of the largest
    entry, rounded to a power of two.

    **Returns:** a [`Solution`][] with a [`Completion`][]. `change` is the last relative change,
    `optimality` NaN: for a problem that is not convex, a fixed point is no certificate.
    Gradients with respect to `x` follow the implicit function theorem at the fixed point.

    Status is `NONFINITE` where all weights are zero, an observed entry is no finite number, or
    `incomplete` is too small.

    **Raises:** `ValueError` for non-numeric input, a rank beyond the matrix, fewer than one
    step, arrays that do not fit together, a mask that is not boolean, weights that are negative
    or, where known, all zero, and `incomplete` where it is known to be too small.

    **Example:**

        >>> from syndigits_jax.solvers import hard_impute
        >>> x = [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [3.0, 6.0, 0.0]]
        >>> observed = [[True, True, True], [True, True, True], [True, True, False]]
        >>> print(hard_impute(x, observed, 1, tol=1e-6).value.completed.round(1))
        [[1. 2. 3.]
         [2. 4. 6.]
         [3. 6. 9.]]
    """
    problem, init = prepare(x, mask, sample_weight, init, rank)
    check_stopping(tol, max_steps, least=1)
    tol, incomplete = tolerance(tol, problem.x.dtype), check_incomplete(incomplete, problem.mask)
    return _hard(problem, init, tol, max_steps, rank, oversample, incomplete)


@full_precision
def soft_impute(
    x: Numbers,
    mask: Numbers,
    rank: int,
    penalty: Numbers,
    *,
    init: Numbers | None = None,
    sample_weight: Numbers | None = None,
    tol: float | Float[Array, ""] = 1e-4,
    max_steps: int | Int[Array, ""] = 1000,
    oversample: int = OVERSAMPLE,
    incomplete: int | None = None,
    accelerate: bool = True,
) -> Solution[Completion]:
    """Complete `x` with a nuclear-norm penalty, over matrices M of rank at most `rank`.

        ½ Σᵢ wᵢ ‖P_Ω(xᵢ - mᵢ)‖² + penalty · ‖√W M‖_*,   W = diag(w), all wᵢ = 1 without weights.

    With whole numbers as weights this is the objective without weights for rows repeated wᵢ times.
    Singular values (of √W M) are reduced by `penalty` in every refit. Convex, and independent of
    the start, when `rank` is at least the rank of the unconstrained solution.

    **Arguments:** `x`, `mask`, `rank`, `init`, `sample_weight`, `tol`, `max_steps`, `oversample`,
    `incomplete`: as in [`hard_impute`][]; result and errors too, except:

    - `penalty`: a number in the units of `x`; `ValueError` if negative. Gradients also with
      respect to it.
    - `accelerate`: extrapolate refits by Nesterov's method, with restarts (Yao and Kwok 2015); if
      not, a refit starts from the one before (Mazumder, Hastie and Tibshirani 2010). Static.
    - `optimality`: the duality gap of the problem without the bound on the rank, relative to
      ½ Σᵢ wᵢ ‖P_Ω xᵢ‖². 0 at the optimum; it stays above 0 where the rank binds. The spectral norm
      in it is that of a subspace iteration. The stopping rule is on `change`, as in hard impute.

    **Example:**

        >>> from syndigits_jax.solvers import soft_impute
        >>> x = [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [3.0, 6.0, 0.0]]
        >>> observed = [[True, True, True], [True, True, True], [True, True, False]]
        >>> solution = soft_impute(x, observed, 3, penalty=0.5, tol=1e-6)
        >>> print(solution.value.completed[2].round(1), solution.optimality < 1e-3)
        [3. 6. 5.] True
    """
    problem, init = prepare(x, mask, sample_weight, init, rank)
    check_stopping(tol, max_steps, least=1)
    penalty, tol = penalty_of(penalty, problem), tolerance(tol, problem.x.dtype)
    incomplete = check_incomplete(incomplete, problem.mask)
    return _soft(problem, penalty, init, tol, max_steps, rank, oversample, incomplete, accelerate)


def _certified(
    problem: Problem, solution: Solution[Factors], penalty: Float[Array, ""]
) -> Solution[Completion]:
    gap = duality_gap(problem, penalty, solution.value)
    certified = Solution(solution.value, solution.status, solution.steps, gap, solution.change)
    return _finish(problem, certified, penalty)


@full_precision
def als(
    x: Numbers,
    mask: Numbers,
    rank: int,
    penalty: Numbers,
    *,
    key: Array | None = None,
    init: Numbers | None = None,
    sample_weight: Numbers | None = None,
    tol: float | Float[Array, ""] = 1e-4,
    max_steps: int | Int[Array, ""] = 1000,
    incomplete: int | None = None,
    accelerate: bool = True,
) -> Solution[Completion]:
    """Alternating ridge regressions for the factors A (n, r) and B (m, r) of M = A Bᵀ.

        ½ Σᵢ wᵢ ‖P_Ω(xᵢ - B aᵢ)‖² + ½·penalty·(Σᵢ wᵢ ‖aᵢ‖² + ‖B‖²)

    As if row i, and its aᵢ, were repeated wᵢ times. The minimum of the second term over the factors
    of one M is penalty · ‖√W M‖_*, so that this is the objective of [`soft_impute`][].

    Each half step regresses the *filled* matrix on the other factor, so that one r x r system
    serves all rows (softImpute-ALS; Hastie et al. 2015, algorithm 3.1) instead of one per row.

    **Arguments:**

    - `x`, `mask`, `rank`, `sample_weight`, `max_steps`, `incomplete`: as in [`hard_impute`][].
    - `penalty`: ridge penalty on both factors; the same number as in [`soft_impute`][].
    - `key`: of the random start 0.01·√s·N(0, 1), with s the root mean square of the observed
      entries; a fixed key by default.
    - `init`: (m, rank) loadings to start from instead, in units of √x.
    - `tol`: stop when ‖M_new - M‖_F / ‖M_new‖_F of the fit M falls below it; never below 8 eps.
    - `accelerate`: extrapolate both factors, with restarts (Mitchell, Ye and De Sterck 2020), which
      often needs a quarter of the steps; if not, a step starts from the one before. Static.

    **Returns:** a [`Solution`][] with a [`Completion`][]. Gradients and `optimality` as in
    [`soft_impute`][].

    **Raises:** `ValueError` as [`hard_impute`][], for a negative penalty, and for an `init` that
    does not fit.

    **Example:**

        >>> from syndigits_jax.solvers import als
        >>> x = [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [3.0, 6.0, 0.0]]
        >>> observed = [[True, True, True], [True, True, True], [True, True, False]]
        >>> print(als(x, observed, 3, penalty=0.5, tol=1e-6).value.completed[2].round(1))
        [3. 6. 5.]
    """
    problem, _ = prepare(x, mask, sample_weight, None, rank)
    check_stopping(tol, max_steps, least=1)
    penalty = penalty_of(penalty, problem)
    dtype, shape = problem.x.dtype, (problem.x.shape[1], rank)
    fixed = lax.stop_gradient(problem)
    if init is None:
        key = jax.random.key(0) if key is None else key
        loadings = 0.01 * jnp.sqrt(root_mean_square(fixed)) * jax.random.normal(key, shape, dtype)
        loadings = loadings / jnp.sqrt(fixed.root_unit)
    else:
        loadings = as_float("init", init).astype(dtype)
        if loadings.shape != shape:
            raise ValueError(f"`init` must have shape {shape}, got {loadings.shape}")
        loadings = lax.stop_gradient(loadings) / jnp.sqrt(fixed.data_unit)
    tol, incomplete = tolerance(tol, dtype), check_incomplete(incomplete, problem.mask)
    return _als(problem, penalty, loadings, tol, max_steps, incomplete, accelerate)


@functools.partial(jax.jit, static_argnames=("incomplete", "accelerate"))
def _als(
    problem: Problem, penalty, loadings, tol, max_steps, incomplete, accelerate
) -> Solution[Completion]:
    """[`als`][] from checked arguments."""
    fixed = lax.stop_gradient(problem)
    order, fits = incomplete_first(fixed.mask, incomplete)
    data, mask = (in_order(a, order) for a in (fixed.data, fixed.mask))
    start = in_order(loadings.T, order).T
    factors, step, change = alternate(
        data, mask, lax.stop_gradient(penalty), start, tol, max_steps, accelerate, incomplete
    )
    factors = Factors(factors.left, factors.values, put_back(factors.right.T, order).T)
    status = status_code(change < tol, fits & jnp.isfinite(change))
    solution = Solution(factors, status, step, change, change)
    return _certified(problem, solution, penalty)
