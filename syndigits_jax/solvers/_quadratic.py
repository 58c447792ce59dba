"""Quadratic losses ½bᵀAb - qᵀb + ½c of a regression, held as a Gram matrix or as its design."""

import abc
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._conjugate_gradients import conjugate_gradients
from .gram import gram_matrix

FEW = 96  # supports up to this size are gathered before they are factorised


class Quadratic(eqx.Module):
    """½bᵀAb - qᵀb + ½c with A positive semidefinite, i.e. half a weighted mean squared error.

    - `linear`: q, shape (p,)
    - `constant`: c, the value of 2 x loss at b = 0, i.e. the weighted mean of (y - ȳ)²
    """

    linear: eqx.AbstractVar[Float[Array, " p"]]
    constant: eqx.AbstractVar[Float[Array, ""]]

    @abc.abstractmethod
    def product(self, vector: Float[Array, " p"]) -> Float[Array, " p"]:
        """A v."""

    @abc.abstractmethod
    def descent(self, vector: Float[Array, " p"]) -> Float[Array, " p"]:
        """q - A v, differentiable in the data."""

    @abc.abstractmethod
    def curvature(self, columns: Float[Array, "p t"]) -> Float[Array, " t"]:
        """dᵀAd for every column d."""

    @abc.abstractmethod
    def trace(self) -> Float[Array, ""]:
        """tr A, an upper bound of its eigenvalues."""

    @abc.abstractmethod
    def block(self, index: Int[Array, " k"]) -> Float[Array, "k k"]:
        """Rows and columns `index` of A."""

    @abc.abstractmethod
    def inverse_square(self, vector: Float[Array, " p"]) -> Float[Array, ""]:
        """vᵀA⁻¹v; infinite where A is singular to working precision, or would cost too much."""

    @abc.abstractmethod
    def solve_masked(self, system: "SupportSystem", right: Float[Array, " p"]) -> Array:
        """Solve (A + shift) b = right on the support (b = right off it) with full-size arrays."""


class SupportSystem(NamedTuple):
    """A + shift restricted to the support, the identity off it.

    `largest` is close to the largest eigenvalue of A; a small multiple of it regularises where A is
    held as a wide design. An iterative solver stops at a residual of `tol` relative to the
    right-hand side, or after `max_steps`.
    """

    quadratic: Quadratic
    support: Bool[Array, " p"]
    shift: Float[Array, ""]
    largest: Float[Array, ""]
    tol: float
    max_steps: int

    def product(self, vector: Float[Array, " p"]) -> Float[Array, " p"]:
        inside = jnp.where(self.support, vector, 0)
        image = self.quadratic.product(inside) + self.shift * inside
        return jnp.where(self.support, image, vector)

    def solve(self, right: Float[Array, " p"]) -> Float[Array, " p"]:
        """From the columns of the support alone where they are few, by static size and count."""
        if self.support.shape[0] <= 2 * FEW:
            return self.quadratic.solve_masked(self, right)
        few = jnp.sum(self.support) <= FEW
        return jax.lax.cond(
            few, self._solve_gathered, lambda b: self.quadratic.solve_masked(self, b), right
        )

    def _solve_gathered(self, right: Float[Array, " p"]) -> Float[Array, " p"]:
        (index,) = jnp.nonzero(self.support, size=FEW, fill_value=0)
        valid = jnp.arange(FEW) < jnp.sum(self.support)
        inside = jnp.where(valid, right[index], 0)
        inside = _solve_dense(self.quadratic.block(index), valid, self.shift, inside)
        return jnp.where(self.support, 0, right).at[index].add(jnp.where(valid, inside, 0))


def _solve_dense(
    matrix: Float[Array, "k k"],
    support: Bool[Array, " k"],
    shift: Float[Array, ""],
    right: Float[Array, " k"],
) -> Float[Array, " k"]:
    """Cholesky solve of matrix + shift on the support, the identity off it.

    Each diagonal entry is raised by 16 `eps` of itself; a share of the largest entry would swamp
    columns of small scale.
    """
    eps = float(jnp.finfo(matrix.dtype).eps)
    both = support[:, None] & support[None, :]
    own = jnp.diagonal(matrix)
    diagonal = jnp.where(support & (own + shift > 0), shift + 16 * eps * own, 1)
    system = jnp.where(both, matrix, 0) + jnp.diag(diagonal)
    factor = jax.lax.linalg.cholesky(system, symmetrize_input=False)
    return jax.scipy.linalg.cho_solve((factor, True), right)


class GramQuadratic(Quadratic):
    """A held as a matrix: for at least as many rows as columns."""

    gram: Float[Array, "p p"]
    linear: Float[Array, " p"]
    constant: Float[Array, ""]

    def product(self, vector):
        return self.gram @ vector

    def descent(self, vector):
        return self.linear - self.gram @ vector

    def curvature(self, columns):
        return jnp.sum(columns * (self.gram @ columns), axis=0)

    def trace(self):
        return jnp.trace(self.gram)

    def block(self, index):
        return self.gram[index][:, index]

    def inverse_square(self, vector):
        factor = jax.lax.linalg.cholesky(self.gram, symmetrize_input=False)
        own, eps = jnp.diagonal(self.gram), float(jnp.finfo(self.gram.dtype).eps)
        regular = jnp.all(jnp.diagonal(factor) ** 2 > own.shape[0] * eps * own)
        half = jax.scipy.linalg.solve_triangular(factor, vector, lower=True)
        return jnp.where(regular, jnp.dot(half, half), jnp.inf)

    def solve_masked(self, system, right):
        return _solve_dense(self.gram, system.support, system.shift, right)


class DesignQuadratic(Quadratic):
    """A = xᵀ diag(weight) x held as its factors: for more columns than rows, never (p, p).

    The weights add up to one; `x` and `y` are centred where there is an intercept.
    """

    x: Float[Array, "n p"]
    y: Float[Array, " n"]
    weight: Float[Array, " n"]
    linear: Float[Array, " p"]
    constant: Float[Array, ""]

    # Products are written `vector @ x`, not `x.T @ vector`: XLA copies the transpose on CPUs.

    def product(self, vector):
        return (self.weight * (self.x @ vector)) @ self.x

    def descent(self, vector):
        return (self.weight * (self.y - self.x @ vector)) @ self.x

    def curvature(self, columns):
        return self.weight @ (self.x @ columns) ** 2

    def trace(self):
        return jnp.dot(self.weight, jnp.sum(self.x**2, axis=1))

    def block(self, index):
        columns = self.x[:, index]
        return columns.T @ (self.weight[:, None] * columns)

    def inverse_square(self, vector):
        return jnp.full((), jnp.inf, vector.dtype)

    def solve_masked(self, system, right):
        # Woodbury: (shift + ZᵀZ)⁻¹ = (1 - Zᵀ(shift + ZZᵀ)⁻¹Z) / shift with Z = √weight x. Its
        # relative error is eps * largest / shift, hence a floor of √eps * largest, whose effect a
        # few conjugate gradient steps remove.
        eps = float(jnp.finfo(self.x.dtype).eps)
        floored = jnp.maximum(system.shift, eps**0.5 * system.largest)
        z = jnp.sqrt(self.weight)[:, None] * jnp.where(system.support[None, :], self.x, 0)
        kernel = gram_matrix(z.T, z.T) + floored * jnp.eye(len(z), dtype=z.dtype)
        factor = jax.lax.linalg.cholesky(kernel, symmetrize_input=False)

        def precondition(vector: Float[Array, " p"]) -> Float[Array, " p"]:
            inner = jax.scipy.linalg.cho_solve((factor, True), z @ vector)
            return jnp.where(system.support, (vector - inner @ z) / floored, vector)

        return conjugate_gradients(
            system.product,
            right,
            rtol=system.tol,
            max_steps=system.max_steps,
            precondition=precondition,
        )[0]

    def as_gram(self) -> GramQuadratic:
        """The same loss as a Gram matrix."""
        gram = gram_matrix(self.weight[:, None] * self.x, self.x)
        return GramQuadratic(gram, self.linear, self.constant)
