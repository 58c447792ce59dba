"""How a person's errors on two new questions go together, learnt from known questions and twins.

Of two new questions nobody knows how people's residuals (answers less predictions) correlate. Their
twins' answers are known, and so are the residuals of known questions. Questions that were left out
of the predictions together are new to each other, like two targets: over such pairs, correlations
of residuals are regressed on kernels between questions, with weights of at least 0,

    R_qr = m₁ + m₂ A_qr + m₃ B_qr + [same block] (m₄ + m₅ A_qr + m₆ B_qr),

where A is the products of the twins' loadings on their two leading components over people, and B
on the following ones. All kernels are positive semi-definite and of low rank, and so is R; what is
missing to 1 on its diagonal is a question's own. No kernel depends on which targets are asked.
"""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..solvers.precision import full_precision
from .weights import non_negative_least_squares

LEADING, RANK = 2, 30
"""Components of the twins in the kernels A, and in A and B together."""

PRIOR = (0.0, 0.0, 0.4, 0.07, 0.2, 0.5)
"""Weights of the kernels before any pair is known."""

PRIOR_PAIRS = 30.0
"""How many pairs the prior counts for."""

FEWEST_PAIRS = 30
"""With fewer pairs of known questions nothing is said to be learnt."""

FEWEST_IN_COMMON = 20.0
"""People who must have answered both questions of a pair."""


class Residuals(NamedTuple):
    """Residuals of known questions and where there is one, (n, k) each."""

    values: Float[Array, "n k"]
    mask: Bool[Array, "n k"]


class ResidualKernel(eqx.Module):
    """Weights of the kernels: `weights` (6,), and how many `pairs` of questions decided them."""

    weights: Float[Array, " 6"]
    pairs: Int[Array, ""]

    def loadings(
        self, twin: Float[Array, "t r"]
    ) -> tuple[Float[Array, "t s"], Float[Array, "t s"]]:
        """Factors a and b with R = aaᵀ + [same block] bbᵀ.

        **Arguments:** `twin`: (t, r) loadings of the twins, from [`twin_loadings`][].
        """
        parts = jnp.concatenate([jnp.ones_like(twin[:, :1]), twin], axis=1)
        group = jnp.array([0] + [1] * LEADING + [2] * (twin.shape[1] - LEADING))
        root = jnp.sqrt(self.weights)
        return parts * root[group][None, :], parts * root[3 + group][None, :]


@functools.partial(jax.jit, static_argnames=("rank",))
@full_precision
def twin_loadings(
    gram: Float[Array, "b b"],
    cross: Float[Array, "t b"],
    used: Bool[Array, " b"],
    rank: int = RANK,
) -> Float[Array, "t r"]:
    """Correlations of the twins' answers to t questions with the components of b others.

    **Arguments:**

    - `gram`: (b, b) correlations of the b questions, missing answers at the mean; `cross`: (t, b)
      with the t.
    - `used`: (b,) which of the b questions make the components.
    - `rank`: how many components; fewer are padded with zeros.
    """
    both = used[:, None] & used[None, :]
    values, vectors = jnp.linalg.eigh(jnp.where(both, gram, 0))
    count = min(rank, gram.shape[0])
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    # Their signs are arbitrary, and draws would depend on them: the largest entry is positive.
    largest = jnp.argmax(jnp.abs(vectors), axis=0)
    vectors = vectors * jnp.sign(vectors[largest, jnp.arange(count)])[None, :]
    there = values > 1e-4 * jnp.maximum(values[0], 1e-4)
    scale = jnp.where(there, 1 / jnp.sqrt(jnp.where(there, values, 1)), 0)
    loading = jnp.where(used[None, :], cross, 0) @ (vectors * scale[None, :])
    return jnp.pad(loading, ((0, 0), (0, rank - count)))


@jax.jit
@full_precision
def correlations(
    residuals: Residuals, weight: Float[Array, " n"]
) -> tuple[Float[Array, "k k"], Float[Array, "k k"]]:
    """Correlations over the people who have both residuals, and how many there are.

    **Arguments:** `residuals`: (n, k); `weight`: (n,) of the people.
    """
    mask = (residuals.mask & (weight > 0)[:, None]).astype(weight.dtype)
    x = jnp.where(residuals.mask, residuals.values, 0)
    seen = mask * weight[:, None]
    total = jnp.maximum(mask.T @ seen, jnp.finfo(weight.dtype).tiny)
    first = (x * mask).T @ seen / total
    second = (x**2 * mask).T @ seen / total
    product = (x * seen).T @ (x * mask) / total
    variance = jnp.maximum(second - first**2, 0)
    scale = jnp.sqrt(variance * variance.T)
    usable = scale > 1e-12
    found = (product - first * first.T) / jnp.where(usable, scale, 1)
    return jnp.where(usable, found, 0), jnp.where(usable, mask.T @ mask, 0)


@jax.jit
@full_precision
def fit_residual_kernel(
    loading: Float[Array, "k r"],
    fold: Int[Array, " k"],
    block: Int[Array, " k"],
    correlation: Float[Array, "k k"],
    count: Float[Array, "k k"],
) -> ResidualKernel:
    """Weights of the kernels by pairs of known questions that were left out together.

    Non-negative least squares over pairs, weighted by how many people have both residuals and
    drawn to `PRIOR`.

    **Arguments:**

    - `loading`: (k, r) of every question on components that its fold is not among.
    - `fold`, `block`: (k,) of every question.
    - `correlation`, `count`: from [`correlations`][].
    """
    first, second = loading[:, :LEADING], loading[:, LEADING:]
    whole = jnp.stack([jnp.ones_like(correlation), first @ first.T, second @ second.T])
    same = (block[:, None] == block[None, :]).astype(loading.dtype)
    kernels = jnp.concatenate([whole, whole * same[None]])
    pair = jnp.triu(fold[:, None] == fold[None, :], 1) & (count >= FEWEST_IN_COMMON)
    weight = jnp.where(pair, count, 0)
    total = jnp.sum(weight)
    # A pair counts 1 on average.
    pairs = jnp.sum(pair)
    weight = weight * pairs.astype(weight.dtype) / jnp.where(total > 0, total, 1)
    gram = jnp.einsum("aqr,bqr,qr->ab", kernels, kernels, weight)
    cross = jnp.einsum("aqr,qr->a", kernels, weight * correlation)
    size = jnp.diagonal(gram) / jnp.maximum(pairs, 1).astype(gram.dtype)
    pull = PRIOR_PAIRS * jnp.where(size > 0, size, 1)
    prior = jnp.asarray(PRIOR, loading.dtype)
    weights = non_negative_least_squares(gram + jnp.diag(pull), cross + pull * prior)
    return ResidualKernel(weights, pairs.astype(jnp.int32))
