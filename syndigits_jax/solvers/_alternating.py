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
    identity = jnp.eye(rank, dtype=data.dtype)

    def half_step(filled, factor):
        gram = factor.T @ factor
        # A ridge of rounding size keeps the first systems, built from tiny factors, solvable.
        ridge = penalty + eps * jnp.trace(gram)
        ridge = jnp.where(ridge == 0, 1, ridge)
        gram = gram + jnp.where(identity > 0, ridge, 0)  # an infinite ridge times 0 would be NaN
        root = lax.linalg.triangular_solve(
            jnp.linalg.cholesky(gram), identity, left_side=True, lower=True
        )
        # Products with the small inverse are far faster than a solve with n right-hand sides.
        return filled @ (factor @ (root.T @ root))

    # The size of a fit that counts as zero, which a penalty far above the data leads to.
    nothing = eps * jnp.sqrt(jnp.sum(data**2))

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
        size = _product_norm(new) + nothing
        # Zero data have a zero fit, which does not change.
        change = jnp.where(size == 0, 0, _product_change(old, new) / jnp.where(size == 0, 1, size))
        return step + 1, new_scores, new_loadings, change

    scores = jnp.zeros((data.shape[0], rank), data.dtype)
    carry = (jnp.int32(0), scores, loadings, jnp.asarray(jnp.inf, data.dtype))
    step, scores, loadings, change = lax.while_loop(cond, body, carry)
    # Balanced factors (equal Grams), which both the fixed point and its gradient assume.
    return balance(scores, loadings), step, change


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
