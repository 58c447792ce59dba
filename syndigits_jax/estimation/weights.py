"""Weights of the components: non-negative least squares pooled over the known questions."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..solvers.precision import full_precision

FIXED_WEIGHTS = (0.35, 0.2, 0.25, 0.0, 0.15, 0.05)
"""Weights of the components (in the order of `COMPONENTS`) before any question is known."""

SURVEY_WEIGHTS = (0.15, 0.1, 0.1, 0.1, 0.15, 0.0)
"""The same for questions of another survey, about which the known ones say less."""

USER_FIXED_WEIGHTS = (0.2, 0.3, 0.4, 0.0, 0.2, 0.0)
"""The same for new users, in the order of `USER_COMPONENTS`."""

FEWEST_TARGETS = 20
"""With fewer known questions (or users) the weights are not learnt."""

FOLDS = 10
"""Most folds of questions."""

STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)
"""Candidates for how strongly learnt weights are drawn to the fixed ones, in questions."""


@full_precision
def non_negative_least_squares(
    gram: Float[Array, "c c"], cross: Float[Array, " c"]
) -> Float[Array, " c"]:
    """The w ≥ 0 that minimises ½ wᵀGw - cᵀw, G positive definite, by trying every support.

    Exact and differentiable (on the support found), for few variables: 2^c small systems.

    **Arguments:** `gram`: (c, c) G; `cross`: (c,).

    **Raises:** `ValueError` for more than 10 variables.
    """
    size = cross.shape[0]
    if size > 10:
        raise ValueError(f"`cross` must have at most 10 entries, got {size}")
    supports = jnp.asarray(np.array(list(itertools.product([False, True], repeat=size))))
    both = supports[:, :, None] & supports[:, None, :]
    outside = jnp.where(supports, 0, 1).astype(gram.dtype)
    eye = jnp.eye(size, dtype=gram.dtype)[None]
    systems = jnp.where(both, gram[None], 0) + outside[:, :, None] * eye
    sides = jnp.where(supports, cross[None, :], 0)
    weights = jnp.linalg.solve(systems, sides[:, :, None])[:, :, 0]
    slack = 16 * float(jnp.finfo(gram.dtype).eps) * jnp.max(jnp.abs(weights), axis=1, keepdims=True)
    allowed = jnp.all(weights >= -slack, axis=1)
    objective = -jnp.sum(sides * weights, axis=1)  # twice the minimum on each support
    best = jnp.argmin(jnp.where(allowed, objective, jnp.inf))
    return jnp.maximum(weights[best], 0)


@full_precision
def pooled_weights(
    gram: Float[Array, "k c c"],
    cross: Float[Array, "k c"],
    size: Float[Array, " k"],
    prior: Float[Array, " c"],
    strength: float | Float[Array, ""],
) -> Float[Array, " c"]:
    """Weights that fit the standardised answers to k questions best, drawn to `prior`.

    Minimises Σₖ sₖ mean((zₖ - wᵀPₖ)²) + strength Σ vⱼ (wⱼ - priorⱼ)² over w ≥ 0, with vⱼ the
    components' mean squares.

    **Arguments:**

    - `gram`, `cross`: mean products of the components of each question with each other and with
      the standardised truth.
    - `size`: (k,) weights of the questions, 0 for those that take no part.
    - `prior`: (c,) the weights without any question.
    - `strength`: how many questions the prior counts for.
    """
    used = size > 0
    gram = jnp.where(used[:, None, None], gram, 0)
    cross = jnp.where(used[:, None], cross, 0)
    total = jnp.sum(size)
    pooled = jnp.einsum("k,kcd->cd", size, gram)
    square = jnp.diagonal(pooled) / jnp.where(total > 0, total, 1)
    # Components that are 0 throughout keep the prior's weight and do not matter.
    square = jnp.where(square > 0, square, 1)
    pull = strength * square
    return non_negative_least_squares(
        pooled + jnp.diag(pull), jnp.einsum("k,kc->c", size, cross) + pull * prior
    )


@functools.partial(jax.jit, static_argnames="or_nothing")
@full_precision
def learnt_weights(
    gram: Float[Array, "k c c"],
    cross: Float[Array, "k c"],
    size: Float[Array, " k"],
    fold: Int[Array, " k"],
    prior: Float[Array, " c"],
    *,
    or_nothing: bool = False,
) -> tuple[Float[Array, " c"], Float[Array, ""]]:
    """[`pooled_weights`][] with a strength chosen by leaving out one fold of questions at a time.

    Of the candidates whose squared error is not larger than the smallest by more than a standard
    error of the difference, the strongest: weights are learnt where that clearly helps.

    **Arguments:**

    - `gram`, `cross`, `size`, `prior`: as in [`pooled_weights`][].
    - `fold`: (k,) the fold of each question, from 0 to k - 1; empty folds do not count.
    - `or_nothing`: whether all weights are 0 if those learnt without each fold predict it no better
      than that, the mean answer; static.

    **Returns:** the weights and the strength.
    """
    strengths = jnp.asarray(STRENGTHS, gram.dtype)

    def without(strength, left_out):
        inside = fold == left_out
        weights = pooled_weights(gram, cross, jnp.where(inside, 0, size), prior, strength)
        error = jnp.einsum("c,kcd,d->k", weights, gram, weights) - 2 * cross @ weights
        return jnp.sum(jnp.where(inside & (size > 0), size * error, 0))

    names = jnp.arange(FOLDS)
    errors = jax.vmap(lambda s: jax.vmap(lambda g: without(s, g))(names))(strengths)
    used = jax.vmap(lambda g: jnp.any((fold == g) & (size > 0)))(names)
    count = jnp.maximum(jnp.sum(used), 2).astype(gram.dtype)
    best = jnp.argmin(jnp.sum(errors, axis=1))
    worse = errors - errors[best][None, :]
    mean = jnp.sum(worse, axis=1) / count
    square = jnp.sum(jnp.where(used[None, :], (worse - mean[:, None]) ** 2, 0), axis=1)
    error = jnp.sqrt(square / (count - 1) / count)
    strongest = jnp.max(jnp.where(mean <= error, jnp.arange(len(STRENGTHS)), 0))
    strength = strengths[strongest]
    weights = pooled_weights(gram, cross, size, prior, strength)
    if or_nothing:  # an error is that beyond the mean answer's, which is 0
        weights = jnp.where(jnp.sum(errors[strongest]) < 0, weights, 0)
    return weights, strength
