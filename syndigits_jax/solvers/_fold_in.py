"""New rows on a fitted row space: one small ridge regression per row, all at once."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._conjugate_gradients import conjugate_gradients
from .boundary import Numbers, as_float, as_floats, as_mask
from .checks import check_completion, check_penalty, check_scalar
from .precision import full_precision
from .units import largest

STEPS_PER_LOADING = 6
"""Most conjugate gradient steps per loading: 1 suffices in exact arithmetic, not with rounding."""


@full_precision
def fold_in(
    x: Numbers, mask: Numbers, loadings: Numbers, penalty: Numbers = 0.0
) -> Float[Array, "k m"]:
    """Place new rows on a fitted row space: per row, a ridge regression on its observed entries.

    Row by row, with B the loadings, the (k, m) result is B a for the a (r,) that minimises
    ½‖P_Ω(x - B a)‖² + ½·penalty·‖a‖². Without penalty and with too few observed entries to
    determine a, it is the smallest such a. Rows without any observed entry are zero.

    **Arguments:**

    - `x`: (k, m); entries where `mask` is false are ignored.
    - `mask`: (k, m), true where observed.
    - `loadings`: (m, r), [`Completion`][]`.loadings`.
    - `penalty`: in the units of `loadings` squared, not negative; the same as in the completion.

    **Returns:** the (k, m) fitted rows, at observed entries too.

    **Raises:** `ValueError` for non-numeric input, arrays that do not fit together or a
    negative penalty.

    **Example:**

        >>> from syndigits_jax.solvers import fold_in
        >>> observed = [[True, False, True]]
        >>> print(fold_in([[2.0, 0.0, 6.0]], observed, [[1.0], [2.0], [3.0]]).round(2))
        [[2. 4. 6.]]
    """
    x, loadings = as_floats(x=x, loadings=loadings)
    mask = as_mask("mask", mask)
    check_completion(x, mask)
    if loadings.ndim != 2 or loadings.shape[0] != x.shape[1]:
        raise ValueError(
            f"`loadings` must have {x.shape[1]} rows, one per column of `x`, got {loadings.shape}"
        )
    number = as_float("penalty", penalty).astype(x.dtype)
    check_scalar("penalty", number)
    check_penalty("penalty", penalty)
    return place(x, mask, loadings, number)


@jax.jit
def place(
    x: Float[Array, "k m"],
    mask: Bool[Array, "k m"],
    loadings: Float[Array, "m r"],
    penalty: Float[Array, ""],
) -> Float[Array, "k m"]:
    """[`fold_in`][] of arrays that are known to fit."""
    # Clipped so that its square, by which the compiler divides, is in range.
    unit = jnp.clip(largest(loadings), 2.0**-60, 2.0**60)
    loadings, penalty = loadings / unit, penalty / unit / unit
    x = jnp.where(mask, x, 0)
    weight = mask.astype(x.dtype)
    rank = loadings.shape[1]
    outer = (loadings[:, :, None] * loadings[:, None, :]).reshape(loadings.shape[0], rank * rank)
    grams = (weight @ outer).reshape(-1, rank, rank)

    def product(scores: Float[Array, "k r"]) -> Float[Array, "k r"]:
        return jnp.sum(grams * scores[:, None, :], axis=2) + penalty * scores

    def gradients(matvec, right: Float[Array, "k r"]) -> Float[Array, "k r"]:
        # Without a penalty, what a row does not determine stays zero: the smallest solution.
        rtol = 4 * float(jnp.finfo(right.dtype).eps)
        return conjugate_gradients(matvec, right, rtol=rtol, max_steps=STEPS_PER_LOADING * rank)[0]

    def solve(right: Float[Array, "k r"]) -> Float[Array, "k r"]:
        return jax.lax.custom_linear_solve(product, right, gradients, symmetric=True)

    scores = solve(x @ loadings)
    # A second pass on the residual, which is more accurate than the small systems.
    missed = jnp.where(mask, x - scores @ loadings.T, 0)
    scores = scores + solve(missed @ loadings - penalty * scores)
    return scores @ loadings.T
