"""Alternating least squares on a filled matrix, and the algebra of its two factors."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ._columns import split, times, times_transpose
from ._momentum import next_momentum
from .low_rank import Factors, orthonormal_factors
from .sums import total


def alternate(
    data: Float[Array, "n m"],
    mask: Bool[Array, "n m"],
    penalty: Float[Array, ""],
    loadings: Float[Array, "m r"],
    tol: Float[Array, ""],
    max_steps: int | Int[Array, ""],
    accelerate: bool,
    incomplete: int,
) -> tuple[Factors, Int[Array, ""], Float[Array, ""]]:
    """(balanced factors, steps, last relative change of the fit) from the given loadings.

    `data` is 0 where not observed; entries are missing in the first `incomplete` columns alone.
    With `accelerate`, a step starts ahead of both factors, where their last move points (Mitchell,
    Ye and De Sterck 2020).
    """
    rank = loadings.shape[1]
    eps = jnp.finfo(data.dtype).eps
    # Everything is stored with the rows of the data last, as in `warm_step`, and the factors' width
    # is a multiple of 4: vectors of zeros stay so, and take no part.
    (given, *rest), mask = split(data.T, incomplete), mask.T[:incomplete]
    loadings = jnp.pad(loadings.T, ((0, -rank % 4), (0, 0)))
    identity = jnp.eye(loadings.shape[0], dtype=data.dtype)

    def projection(gram, factor):
        # A ridge of rounding size keeps the first systems, built from tiny factors, solvable.
        ridge = penalty + eps * jnp.trace(gram)
        ridge = jnp.where(ridge == 0, 1, ridge)
        gram = gram + jnp.where(identity > 0, ridge, 0)  # an infinite ridge times 0 would be NaN
        root = lax.linalg.triangular_solve(
            jnp.linalg.cholesky(gram), identity, left_side=True, lower=True
        )
        # Products with the small inverse are far faster than a solve with n right-hand sides.
        return (root.T @ root) @ factor

    def filled(scores, loadings):
        return (jnp.where(mask, given, loadings[:, :incomplete].T @ scores), *rest)

    # The size of a fit that counts as zero, which a penalty far above the data leads to.
    nothing = eps * jnp.sqrt(jnp.sum(data**2))

    def cond(carry):
        step, *_, change = carry
        return (step < max_steps) & (change >= tol)

    def body(carry):
        step, scores, loadings, square, ahead, momentum, _ = carry
        from_scores, from_loadings = ahead if accelerate else (scores, loadings)
        smoother = projection(from_loadings @ from_loadings.T, from_loadings)
        new_scores = times(smoother, filled(from_scores, from_loadings))
        new_scores_square = new_scores @ new_scores.T
        smoother = projection(new_scores_square, new_scores)
        new_loadings = times_transpose(filled(new_scores, from_loadings), smoother).T
        new_loadings_square = new_loadings @ new_loadings.T
        size = jnp.sqrt(jnp.maximum(jnp.sum(new_scores_square * new_loadings_square), 0)) + nothing
        # The change of the fit without the fit: (A' - A)B'ᵀ + A(B' - B)ᵀ, in Gram matrices.
        moved, turned = new_scores - scores, new_loadings - loadings
        change = jnp.sum((moved @ moved.T) * new_loadings_square)
        change = change + 2 * jnp.sum((moved @ scores.T) * (new_loadings @ turned.T))
        change = jnp.sqrt(jnp.maximum(change + jnp.sum(square * (turned @ turned.T)), 0))
        # Zero data have a zero fit, which does not change.
        change = jnp.where(size == 0, 0, change / jnp.where(size == 0, 1, size))
        if accelerate:
            slope = total((from_scores - new_scores) * moved)
            slope = slope + total((from_loadings - new_loadings) * turned)
            share, momentum = next_momentum(momentum, slope > 0)
            ahead = new_scores + share * moved, new_loadings + share * turned
        return step + 1, new_scores, new_loadings, new_scores_square, ahead, momentum, change

    scores = jnp.zeros((loadings.shape[0], data.shape[0]), data.dtype)
    zero = jnp.zeros_like(identity)
    ahead, infinity = (scores, loadings) if accelerate else (), jnp.asarray(jnp.inf, data.dtype)
    carry = (jnp.int32(0), scores, loadings, zero, ahead, jnp.ones((), data.dtype), infinity)
    step, scores, loadings, *_, change = lax.while_loop(cond, body, carry)
    # Balanced factors (equal Grams), which both the fixed point and its gradient assume.
    return balance(scores[:rank].T, loadings[:rank].T), step, change


def balance(scores: Float[Array, "n r"], loadings: Float[Array, "m r"]) -> Factors:
    """The thin SVD of `scores @ loadings.T`: that of the product of two small triangles.

    A direction that the penalty removes dies to rounding in both factors, so their Gram matrices
    do not tell its size.
    """
    (basis, left), (right_basis, right) = map(orthonormal_factors, (scores, loadings))
    u, values, vt = jnp.linalg.svd(left @ right.T, full_matrices=False)
    return Factors(basis @ u, values, right_basis @ vt.T)
