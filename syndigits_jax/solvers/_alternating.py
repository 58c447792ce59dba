"""Alternating least squares on a filled matrix, and the algebra of its two factors."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .low_rank import Factors


def alternate(
    data: Float[Array, "n m"],
    mask: Bool[Array, "n m"],
    penalty: Float[Array, ""],
    loadings: Float[Array, "m r"],
    tol: Float[Array, ""],
    max_steps: int | Int[Array, ""],
) -> tuple[Factors, Int[Array, ""], Float[Array, ""]]:
    """(balanced factors, steps, last relative change of the fit) from the given loadings.

    `data` is 0 where not observed.
    """
    rank = loadings.shape[1]
    eps = jnp.finfo(data.dtype).eps
    # Everything is stored with the rows of the data last, as in `warm_step`, and the factors' width
    # is a multiple of 4: vectors of zeros stay so, and take no part.
    data, mask = data.T, mask.T
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

    # The size of a fit that counts as zero, which a penalty far above the data leads to.
    nothing = eps * jnp.sqrt(jnp.sum(data**2))

    def cond(carry):
        step, *_, change = carry
        return (step < max_steps) & (change >= tol)

    def body(carry):
        step, scores, loadings, square, _ = carry
        filled = jnp.where(mask, data, loadings.T @ scores)
        new_scores = projection(loadings @ loadings.T, loadings) @ filled
        new_scores_square = new_scores @ new_scores.T
        filled = jnp.where(mask, data, loadings.T @ new_scores)
        new_loadings = projection(new_scores_square, new_scores) @ filled.T
        new_loadings_square = new_loadings @ new_loadings.T
        size = jnp.sqrt(jnp.maximum(jnp.sum(new_scores_square * new_loadings_square), 0)) + nothing
        # The change of the fit without the fit: (A' - A)B'ᵀ + A(B' - B)ᵀ, in Gram matrices.
        moved, turned = new_scores - scores, new_loadings - loadings
        change = jnp.sum((moved @ moved.T) * new_loadings_square)
        change = change + 2 * jnp.sum((moved @ scores.T) * (new_loadings @ turned.T))
        change = jnp.sqrt(jnp.maximum(change + jnp.sum(square * (turned @ turned.T)), 0))
        # Zero data have a zero fit, which does not change.
        change = jnp.where(size == 0, 0, change / jnp.where(size == 0, 1, size))
        return step + 1, new_scores, new_loadings, new_scores_square, change

    scores = jnp.zeros((loadings.shape[0], data.shape[1]), data.dtype)
    zero = jnp.zeros_like(identity)
    carry = (jnp.int32(0), scores, loadings, zero, jnp.asarray(jnp.inf, data.dtype))
    step, scores, loadings, _, change = lax.while_loop(cond, body, carry)
    # Balanced factors (equal Grams), which both the fixed point and its gradient assume.
    return balance(scores[:rank].T, loadings[:rank].T), step, change


def balance(scores: Float[Array, "n r"], loadings: Float[Array, "m r"]) -> Factors:
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
