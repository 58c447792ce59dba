"""Leading singular subspaces by warm-started block subspace iteration.

Batched `svd` and `eigh` of large matrices are slow on accelerators and, inside an iteration that
needs only a few singular vectors of a slowly changing matrix, wasteful everywhere. One step here
is two products with a thin block, a Cholesky-based orthonormalisation and an eigenproblem of the
block's width.
"""

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from ._columns import Parts, times, times_transpose
from .boundary import Numbers, as_float, as_floats
from .checks import check_matrix, check_sample_weight, check_stopping, is_whole
from .gram import gram_matrix
from .precision import full_precision
from .solution import Solution, status_code
from .units import largest

OVERSAMPLE = 10
"""Columns carried beyond the rank: they speed up convergence where singular values lie close."""

_PASSES = 6
"""Most passes of [`orthonormal_factors`][] before the last; two are enough for all but noise."""

_INFLATION = 100
"""Largest variance inflation factor of columns whose Gram matrix is factorised as it is."""

DIRECT_SHARE = 5
"""A block wider than a fifth of the matrix is not thin: a CPU then factorises the Gram matrix."""


class Factors(eqx.Module):
    """A truncated singular value decomposition `left * values @ right.T`.

    `left` is (n, k) and `right` (m, k), with orthonormal columns; `values` (k,) descend. Columns of
    `left` that belong to a value of zero are zero.
    """

    left: Float[Array, "n k"]
    values: Float[Array, " k"]
    right: Float[Array, "m k"]

    def truncate(self, rank: int) -> "Factors":
        """The leading `rank` triplets."""
        return Factors(self.left[:, :rank], self.values[:rank], self.right[:, :rank])

    @full_precision
    def matrix(self) -> Float[Array, "n m"]:
        """The (n, m) matrix that the factors stand for."""
        return (self.left * self.values[None, :]) @ self.right.T


def check_rank(rank: int, shape: tuple[int, ...], name: str = "`rank`") -> None:
    """Raise `ValueError`, which calls it `name`, unless it is whole and 1 <= rank <= min(shape)."""
    if not is_whole(rank):
        raise ValueError(f"{name} must be a whole number, got {rank!r}")
    if not 1 <= rank <= min(shape):
        raise ValueError(
            f"{name} must lie between 1 and {min(shape)}, the smaller side of a {shape[0]} x "
            f"{shape[1]} matrix; got {rank}"
        )


@full_precision
def orthonormalise(y: Float[Array, "n k"]) -> Float[Array, "n k"]:
    """Orthonormal columns with the span of `y`: Cholesky-QR, twice, on normalised columns.

    A column that depends, up to rounding, on those before it becomes zero, whatever its size.
    """
    k = y.shape[1]
    y = y / largest(y, axis=0)[None, :]
    info = jnp.finfo(y.dtype)
    identity = jnp.eye(k, dtype=y.dtype)
    shift = 4 * k * float(info.eps)
    # Where `y` is orthonormal already, the factor is √(1 + shift): undone here.
    root = math.sqrt(1 + shift) * identity
    for final in (False, True):
        norms = jnp.sqrt(jnp.sum(y * y, axis=0))
        y = y / jnp.maximum(norms, info.tiny)[None, :]
        gram = y.T @ y + shift * identity
        factor = jnp.linalg.cholesky(gram)
        if final:
            # The first pass has isolated the new part of a column, unless that is rounding.
            new = jnp.diagonal(factor) > 0.7
            y = jnp.where(new[None, :], y, 0)
            gram = jnp.where(new[:, None] & new[None, :], gram, identity)
            factor = jnp.linalg.cholesky(gram)
        inverse = lax.linalg.triangular_solve(factor, root, left_side=True, lower=True)
        y = y @ inverse.T
    return y


@jax.jit
@full_precision
def orthonormal_factors(
    y: Float[Array, "n k"],
) -> tuple[Float[Array, "n k"], Float[Array, "k k"]]:
    """Q, orthonormal columns that span at least the columns of `y`, to rounding, and R = Qᵀ`y`.

    Cholesky-QR: one factor of the Gram matrix where columns depend little on each other; else with
    a shift first, repeated until they do, once for most data. Half the time of Householder's
    reflections on a CPU or less, and products alone on an accelerator (Fukaya et al. 2020). A
    column of nothing but zeros, or a copy of others to the last digit, becomes zero; one that
    depends on others to fewer digits becomes some further direction. n >= k; entries of at most
    about one, since they are squared. Where Q is not used, R alone is computed.
    """
    (n, k), eps = y.shape, float(jnp.finfo(y.dtype).eps)
    # Beyond the rounding of the factor and of sums of n terms.
    shift = 4 * (k + n / 64) * eps

    def shortest(step):
        # After the first pass the columns have a length of one at most.
        return jnp.where(step == 0, 0, 8 * eps)

    def cond(carry):
        step, _, gram, _ = carry
        size = jnp.diagonal(gram)
        to_basis, _, _ = _to_orthonormal(gram, shortest(step), 0.0)
        inflation = jnp.sum(to_basis * to_basis, axis=1) * size
        short = (step > 0) & (size > 0) & (size < 0.5)
        # Inflation is NaN where the matrix has no factor.
        return (step < _PASSES) & ~jnp.all((inflation <= _INFLATION) & ~short)

    def body(carry):
        step, y, gram, factor = carry
        to_basis, _, back = _to_orthonormal(gram, shortest(step), shift)
        y = y @ to_basis
        return step + 1, y, y.T @ y, back @ factor

    carry = (jnp.int32(0), y, y.T @ y, jnp.eye(k, dtype=y.dtype))
    step, y, gram, factor = lax.while_loop(cond, body, carry)
    # What is still short is rounding of the others. A last factor leaves nothing but rounding.
    kept = (step == 0) | (jnp.diagonal(gram) > 0.5)
    gram = jnp.where(kept[:, None] & kept[None, :], gram, 0)
    to_basis, _, back = _to_orthonormal(gram, jnp.zeros((), y.dtype), 0.0)
    return y @ to_basis, back @ factor


@full_precision
def subspace_step(x: Float[Array, "n m"], right: Float[Array, "m k"]) -> Factors:
    """One step: the best rank-k approximation of `x` whose columns lie in the span of `x @ right`.

    The error in the subspace shrinks by the square of the ratio of the first neglected singular
    value to the last wanted one.
    """
    basis = orthonormalise(x @ right)
    rotation, values, new = _rayleigh_ritz(x.T @ basis, right)
    return Factors(basis @ rotation, values, new)


@full_precision
def warm_step(
    parts: Parts, block: Float[Array, "k m"], rank: int
) -> tuple[Float[Array, "r n"], Float[Array, " r"], Float[Array, "r m"], Float[Array, "k m"]]:
    """[`subspace_step`][] from right singular vectors of a similar matrix, for an iteration.

    The vectors' images then are nearly orthogonal, so that one Cholesky factor of their Gram matrix
    makes them orthonormal, and the long block is never written anew: all algebra is on (k, m) and
    (k, k). Half the time of [`subspace_step`][].

    Everything is stored with the n rows of the matrix last: products with a thin block then take a
    half to nine tenths of the time on a CPU.

    **Arguments:** `parts`: the rows of the (m, n) transposed matrix, in order; `block`: (k, m)
    orthonormal vectors; `rank`: number of triplets that are wanted, r, at most k.

    **Returns:** left vectors, values and right vectors of the triplets, and the block for the next
    step.
    """
    k, eps = block.shape[0], float(jnp.finfo(block.dtype).eps)
    image = times(block, parts)
    gram = image @ image.T
    least = 16 * eps * jnp.sqrt(jnp.max(jnp.diagonal(gram)))
    to_basis, new_part, _ = _to_orthonormal(gram, least, 4 * k * eps)
    # What is left of a vector that depends on those before it is the shift.
    to_basis = jnp.where((new_part > 0.1)[None, :], to_basis, 0)
    rotation, values, new = _rayleigh_ritz(times_transpose(parts, image) @ to_basis, block.T)
    left = (to_basis @ rotation[:, :rank]).T @ image
    return left, values[:rank], new.T[:rank], new.T


def _to_orthonormal(
    gram: Float[Array, "k k"], least: Float[Array, ""], shift: float
) -> tuple[Float[Array, "k k"], Float[Array, " k"], Float[Array, "k k"]]:
    """T such that `y @ T` has orthonormal columns, for the `gram` of y: Cholesky-QR with a shift.

    **Arguments:** `gram`: yᵀy; `least`: columns of this length or less become zero; `shift`: added
    to the squared length 1 of every column, and undone where columns are orthogonal.

    **Returns:** T; of every column the part, from 0 to about 1, that those before it lack; and the
    way back, S with `y @ T @ S` = `y` but for columns that have become zero.
    """
    size = jnp.sqrt(jnp.diagonal(gram))
    nothing = size <= least
    scale = jnp.where(nothing, 0, 1 / jnp.where(nothing, 1, size))
    identity = jnp.eye(len(size), dtype=gram.dtype)
    gram = gram * scale[:, None] * scale[None, :]
    gram = gram + (shift + nothing.astype(gram.dtype))[:, None] * identity
    factor = jnp.linalg.cholesky(gram)
    inverse = lax.linalg.triangular_solve(
        factor, math.sqrt(1 + shift) * identity, left_side=True, lower=True
    )
    back = factor.T / math.sqrt(1 + shift) * jnp.where(nothing, 0, size)[None, :]
    return scale[:, None] * inverse.T, jnp.diagonal(factor), back


def _rayleigh_ritz(
    projected: Float[Array, "m k"], old: Float[Array, "m k"]
) -> tuple[Float[Array, "k k"], Float[Array, " k"], Float[Array, "m k"]]:
    """(rotation, singular values, right vectors) of xᵀq, from q whose columns are orthonormal.

    The vector is an `old` one where a value is zero: a direction that one matrix lacks may be
    needed for a later, changed one.
    """
    unit = largest(projected)
    projected = projected / unit
    _, rotation = jnp.linalg.eigh(projected.T @ projected)
    rotation = rotation[:, ::-1]
    vectors = projected @ rotation
    values = jnp.sqrt(jnp.sum(vectors * vectors, axis=0))
    lacking = values <= 16 * jnp.finfo(vectors.dtype).eps * values[0]
    new = jnp.where(lacking[None, :], old, vectors / jnp.where(lacking, 1, values)[None, :])
    return rotation, jnp.where(lacking, 0, values) * unit, new


def _gaussian_block(shape: tuple[int, int], dtype) -> Float[Array, "m k"]:
    return jax.random.normal(jax.random.key(0), shape, dtype)


def start_block(
    x: Float[Array, "n m"], width: int, steps: int = 8, near: Float[Array, "m r"] | None = None
) -> Float[Array, "m k"]:
    """A right block to start from: `steps` subspace steps on a fixed Gaussian block.

    **Arguments:** `x`: (n, m) matrix; `width`: k, columns of the block; `steps`: number of steps;
    `near`: (m, r) orthonormal directions that are expected to be among the leading ones.
    """
    block = _gaussian_block((x.shape[1], width), x.dtype)
    if near is not None:
        block = 0.1 * block / math.sqrt(x.shape[1])
        block = block.at[:, : near.shape[1]].add(near)
    return lax.fori_loop(0, steps, lambda _, v: subspace_step(x, v).right, block)


def block_width(rank: int, shape: tuple[int, ...], oversample: int = OVERSAMPLE) -> int:
    """Number of columns to iterate on for `rank` wanted ones."""
    return min(rank + oversample, *shape)


@full_precision
def leading_subspace(
    x: Numbers,
    rank: int,
    *,
    init: Numbers | None = None,
    sample_weight: Numbers | None = None,
    tol: float | Float[Array, ""] = 1e-5,
    max_steps: int | Int[Array, ""] = 500,
    oversample: int = OVERSAMPLE,
) -> Solution[Factors]:
    """The leading `rank` singular triplets of `x`, or of `x` with weighted rows.

    **Arguments:**

    - `x`: (n, m) matrix.
    - `rank`: number of triplets, at most min(n, m); static.
    - `init`: (m, k) right block to start from, k >= rank, such as the `right` of a similar matrix.
    - `sample_weight`: (n,) non-negative weights of the rows' squared distances from the subspace:
      the triplets are those of `x` with row i times √wᵢ.
    - `tol`: stop when the residual ‖X V - U S‖ after a step is below `tol` times ‖X‖₂; never
      below what the floating-point type allows.
    - `max_steps`: most steps, at least one. The cold start, 8 steps on a Gaussian
      block, comes before and is not counted. `tol` and `max_steps` may be traced.
    - `oversample`: columns iterated beyond `rank` when `init` is not given.

    On a CPU, where one eigenproblem is cheap, a block that would span more than a fifth of the
    matrix starts from the eigenvectors of the Gram matrix; one step is then mostly enough.

    Results scale with `x`: its unit changes neither the vectors nor the steps. A singular value
    below a few roundings of the largest comes out zero.

    **Returns:** a [`Solution`][] with [`Factors`][]; `optimality` is that relative residual.
    Singular vectors are not differentiated: the result carries no gradient.

    **Raises:** `ValueError` for non-numeric input, a rank beyond the matrix, fewer than one
    step, or an `init` or weights that do not fit it.

    **Example:**

        >>> from syndigits_jax.solvers import leading_subspace
        >>> factors = leading_subspace([[3.0, 0.0], [0.0, 2.0], [0.0, 0.0]], 1).value
        >>> print(factors.values.round(2), factors.matrix().round(2).tolist())
        [3.] [[3.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    """
    x, init, sample_weight = as_floats(x=x, init=init, sample_weight=sample_weight)
    check_matrix(x)
    check_stopping(tol, max_steps, least=1)
    check_sample_weight(sample_weight, x.shape[0])
    check_rank(rank, x.shape)
    if init is not None and not (
        init.ndim == 2 and init.shape[0] == x.shape[1] and init.shape[1] >= rank
    ):
        raise ValueError(
            f"`init` must have {x.shape[1]} rows, one per column of `x`, and at least {rank} "
            f"columns; got shape {init.shape}"
        )
    tol = jnp.maximum(
        as_float("tol", tol).astype(x.dtype), 4 * float(jnp.finfo(x.dtype).eps) ** 0.75
    )
    x, init, sample_weight = lax.stop_gradient((x, init, sample_weight))
    return _leading(x, init, sample_weight, tol, max_steps, rank, oversample)


@functools.partial(jax.jit, static_argnames=("rank", "oversample"))
def _leading(x, init, sample_weight, tol, max_steps, rank, oversample) -> Solution[Factors]:
    """[`leading_subspace`][] from checked arguments."""
    unit = largest(x)
    x = x / unit
    if sample_weight is not None:
        root = jnp.sqrt(sample_weight)
        root_unit = largest(root)
        x, unit = (root / root_unit)[:, None] * x, unit * root_unit
    width = block_width(rank, x.shape, oversample)
    if init is None and DIRECT_SHARE * width >= min(x.shape):
        block = lax.platform_dependent(
            x, cpu=lambda x: _gram_block(x, width), default=lambda x: start_block(x, width)
        )
    elif init is None:
        block = start_block(x, width)
    else:
        block = _completed(init)
    solution = _iterate(x, rank, block, tol, max_steps)
    factors = solution.value
    factors = Factors(factors.left, factors.values * unit, factors.right)
    return Solution(factors, solution.status, solution.steps, solution.optimality)


def _gram_block(x: Float[Array, "n m"], width: int) -> Float[Array, "m k"]:
    """Leading right vectors from the smaller Gram matrix, to half the digits."""
    if x.shape[0] < x.shape[1]:
        _, vectors = jnp.linalg.eigh(gram_matrix(x.T, x.T))
        return _completed(x.T @ vectors[:, ::-1][:, :width])
    _, vectors = jnp.linalg.eigh(gram_matrix(x, x))
    return vectors[:, ::-1][:, :width]


def _completed(block: Float[Array, "m k"]) -> Float[Array, "m k"]:
    """Orthonormal columns; those that depend on others become random, else they would stay so."""
    block = orthonormalise(block)
    useless = jnp.all(block == 0, axis=0)
    return jnp.where(
        useless[None, :], _gaussian_block((block.shape[0], block.shape[1]), block.dtype), block
    )


def _iterate(
    x: Float[Array, "n m"],
    rank: int,
    block: Float[Array, "m k"],
    threshold: Float[Array, ""],
    max_steps: int | Int[Array, ""],
) -> Solution[Factors]:
    first = subspace_step(x, block)

    def orthonormal(factors: Factors) -> Factors:
        # Directions that `x` lacks are still those of the first block.
        kept = factors.truncate(rank)
        return Factors(kept.left, kept.values, orthonormalise(kept.right))

    def residual(factors: Factors) -> Float[Array, ""]:
        kept = orthonormal(factors)
        error = x @ kept.right - kept.left * kept.values[None, :]
        # Nothing but a zero matrix, after its unit is taken out, has a largest value this small.
        size = jnp.maximum(kept.values[0], jnp.finfo(x.dtype).tiny)
        return jnp.sqrt(jnp.max(jnp.sum(error**2, axis=0))) / size

    def cond(carry):
        step, _, error = carry
        return (step < max_steps) & (error > threshold)

    def body(carry):
        step, factors, _ = carry
        new = subspace_step(x, factors.right)
        return step + 1, new, residual(new)

    step, factors, error = lax.while_loop(cond, body, (jnp.int32(1), first, residual(first)))
    status = status_code(error <= threshold, jnp.isfinite(error))
    return Solution(orthonormal(factors), status, step, error)
