"""A joint distribution of people's answers to several questions, as arrays, and draws from it.

A person's answer to a question has the distribution of [`Tilt`][], whose mean is the prediction and
which gives the population its spread. The ranks of a person's answers to different questions are
those of a Gaussian vector z (a Gaussian copula; Nelsen, 2006, section 2.5) of low rank plus own:

    z_q = a_q · ω + b_q · ω_block(q) + √(1 - |a_q|² - |b_q|²) ε_q

with ω, ω_block and ε standard normal, drawn anew for every person and every draw.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

from ..solvers.keys import PRNGKey
from ..solvers.precision import full_precision
from .options import Tilt


class AnswerModel(eqx.Module):
    """Answers of n people to q questions with at most k options: a pytree.

    - `options`: (q, k) values, ascending; fewer are padded with the last one.
    - `log_base`: (q, k) logarithms of base shares, -inf for padding.
    - `tilt`: slopes (q, n) and curves (q,).
    - `smooth`: (q,) whether answers lie between the options too.
    - `low`, `high`, `step`: (q,) range and step of the answers, NaN for no step.
    - `loading`: (q, r) a; `block_loading`: (q, r) b; `block`: (q,) place in `block_number`.
    - `number`: (q,) and `block_number`: (b,) numbers of the questions and blocks from which their
      random keys are made, so that draws do not depend on what else is asked.
    - `answer`, `known`: (q, n) human answers and where there is one: these are not drawn.
    """

    options: Float[Array, "q k"]
    log_base: Float[Array, "q k"]
    tilt: Tilt
    smooth: Bool[Array, " q"]
    low: Float[Array, " q"]
    high: Float[Array, " q"]
    step: Float[Array, " q"]
    loading: Float[Array, "q r"]
    block_loading: Float[Array, "q r"]
    block: Int[Array, " q"]
    number: UInt32[Array, " q"]
    block_number: UInt32[Array, " b"]
    answer: Float[Array, "q n"]
    known: Bool[Array, "q n"]

    def probabilities(self) -> Float[Array, "q n k"]:
        """Everybody's distribution over the options of every question."""
        return jax.vmap(Tilt.probabilities)(self.tilt, self.options, self.log_base)


class _Question(NamedTuple):
    """What the answers to one question need."""

    options: Array
    log_base: Array
    tilt: Tilt
    smooth: Array
    low: Array
    high: Array
    step: Array
    answer: Array
    known: Array


@eqx.filter_jit
@full_precision
def draw_people(model: AnswerModel, num_draws: int, *, key: PRNGKey) -> Float[Array, "d n q"]:
    """Draws of everybody's answers to all questions, jointly.

    Draw i is the same whatever `num_draws`, and the draws of a question whatever other questions
    are in the model.

    **Arguments:** `model`; `num_draws`: d, static; `key`: random key.
    """
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(num_draws))
    ranks = jax.lax.map(lambda one: jax.scipy.special.ndtr(_latent(model, one)), keys)

    def answers(item: tuple[_Question, Array]) -> Array:
        question, rank = item
        return jax.vmap(lambda row: _answer(question, row))(rank)

    names = _Question._fields
    questions = _Question(*(getattr(model, name) for name in names))
    found = jax.lax.map(answers, (questions, jnp.moveaxis(ranks, 1, 0)))
    return jnp.moveaxis(found, 0, 2)


def _latent(model: AnswerModel, key: PRNGKey) -> Float[Array, "q n"]:
    """Standard normal z of every person, correlated over questions."""
    n, rank = model.answer.shape[1], model.loading.shape[1]
    dtype = model.loading.dtype
    shared, of_blocks, own = (jax.random.fold_in(key, i) for i in range(3))

    def normal(key, number, shape):
        return jax.random.normal(jax.random.fold_in(key, number), shape, dtype)

    everywhere = jax.random.normal(shared, (rank, n), dtype)
    blocks = jax.vmap(lambda number: normal(of_blocks, number, (rank, n)))(model.block_number)
    noise = jax.vmap(lambda number: normal(own, number, (n,)))(model.number)
    left = 1 - jnp.sum(model.loading**2, axis=1) - jnp.sum(model.block_loading**2, axis=1)
    z = model.loading @ everywhere
    z = z + jnp.einsum("qr,qrn->qn", model.block_loading, blocks[model.block])
    return z + jnp.sqrt(jnp.maximum(left, 0))[:, None] * noise


def _answer(question: _Question, rank: Float[Array, " n"]) -> Float[Array, " n"]:
    """The answer of everybody at these ranks: the inverse of the distribution function."""
    options = question.options
    p = question.tilt.probabilities(options, question.log_base)
    upto = jnp.cumsum(p, axis=1)
    place = jnp.sum(rank[:, None] > upto[:, :-1], axis=1)
    # Rounding must not choose padding, which has no probability.
    place = jnp.minimum(place, jnp.sum(jnp.isfinite(question.log_base)) - 1)
    value = options[place]
    size = jnp.take_along_axis(p, place[:, None], axis=1)[:, 0]
    start = jnp.take_along_axis(upto, place[:, None], axis=1)[:, 0] - size
    share = jnp.clip((rank - start) / jnp.where(size > 0, size, 1), 0, 1) - 0.5
    below = value - options[jnp.maximum(place - 1, 0)]
    above = options[jnp.minimum(place + 1, options.shape[0] - 1)] - value
    between = value + share * jnp.where(share < 0, below, above)
    value = jnp.where(question.smooth, between, value)
    stepped = ~jnp.isnan(question.step)
    step = jnp.where(stepped, question.step, 1)
    rounded = question.low + jnp.round((value - question.low) / step) * step
    value = jnp.where(stepped & question.smooth, rounded, value)
    value = jnp.clip(value, question.low, question.high)
    return jnp.where(question.known, question.answer, value)


def rank_correlation(
    probability: Float[Array, "n k"], options: Float[Array, " k"], weight
) -> Array:
    """Correlation of an answer with the normal z behind its rank, in the mean over people.

    1 for a normal answer, less the fewer options there are: two answers whose z correlate by ρ have
    a residual correlation of about ρ times the product of theirs (the first term of the Hermite
    expansion).

    **Arguments:** `probability`: (n, k); `options`: (k,); `weight`: (n,) of the people.
    """
    upto = jnp.clip(jnp.cumsum(probability, axis=1), 0, 1)
    density = jax.scipy.stats.norm.pdf(jax.scipy.special.ndtri(upto))
    density = jnp.where((upto > 0) & (upto < 1), density, 0)
    before = jnp.concatenate([jnp.zeros_like(density[:, :1]), density[:, :-1]], axis=1)
    covariance = (before - density) @ options
    mean = probability @ options
    variance = probability @ options**2 - mean**2
    scale = jnp.sqrt(jnp.maximum(jnp.sum(weight * variance), 0) / jnp.sum(weight))
    common = jnp.sum(weight * covariance) / jnp.sum(weight)
    return jnp.where(scale > 0, common / jnp.where(scale > 0, scale, 1), 1)
