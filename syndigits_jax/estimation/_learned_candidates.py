"""The candidates of the learned control: kernel ridge regressions over questions."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..panel import Responses
from ..solvers.precision import full_precision
from ..solvers.ridge import ridge
from .components import _completed, standardised

PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1e6)
"""Candidate penalties, where a question's features have length 1. The last leaves the mean."""


class Sources(eqx.Module):
    """What predictions are made of: no twins.

    - `human`: (n, m) answers; `weight`: (n,) of the people.
    - `covariates`: (n, c) of the people, NaN where missing.
    - `features`: (a, m, f) of the questions, for each mix of texts and blocks.
    """

    human: Responses
    weight: Float[Array, " n"]
    covariates: Float[Array, "n c"] | None
    features: Float[Array, "a m f"]


class Candidates(eqx.Module):
    """Every candidate's predictions of all questions from some, and how they agree with answers.

    - `values`: (c, m, n) standardised; `cross`, `square`: (c, m) means of their products with the
      answers and with themselves, over the people who answered.
    - `level`, `spread`: (c, m) predicted means and standard deviations, in units of the range.
    """

    values: Float[Array, "c m n"]
    cross: Float[Array, "c m"]
    square: Float[Array, "c m"]
    level: Float[Array, "c m"]
    spread: Float[Array, "c m"]


@functools.partial(jax.jit, static_argnames=("complete",))
@full_precision
def candidates(
    sources: Sources,
    used: Bool[Array, " m"],
    level: Float[Array, " m"],
    spread: Float[Array, " m"],
    complete: bool,
) -> Candidates:
    """Predict all questions from those `used`; of the others no answer enters `values`."""
    weight = sources.weight
    seen = sources.human.only(used[None, :])
    z = standardised(seen, weight)
    if not complete:
        columns = Responses(z, seen.mask)
        if sources.covariates is not None:
            people = Responses.from_nan(sources.covariates)
            people = Responses(standardised(people, weight), people.mask)
            both = zip((z, seen.mask), (people.values, people.mask), strict=True)
            columns = Responses(*(jnp.concatenate(pair, axis=1) for pair in both))
        z = _completed(columns, weight)[0][:, : z.shape[1]]
    z = jnp.where(used[None, :], z, 0)
    penalties = jnp.asarray(PENALTIES, z.dtype)
    eye, rows = jnp.eye(z.shape[1], dtype=z.dtype), used.astype(z.dtype)

    def smoother(features: Float[Array, "m f"]) -> Float[Array, "k m m"]:
        model = ridge(features, eye, penalties, sample_weight=rows).value
        found = jnp.einsum("tf,kqf->ktq", features, model.coef) + model.intercept[:, None, :]
        return jnp.where(used[None, None, :], found, 0)

    weights = jax.lax.map(smoother, sources.features)
    weights = weights.reshape(-1, *weights.shape[-2:])
    values = jnp.einsum("ctq,nq->ctn", weights, z)
    truth = standardised(sources.human, weight)
    share = jnp.where(sources.human.mask, weight[:, None], 0)
    total = jnp.sum(share, axis=0)
    share = share / jnp.where(total > 0, total, 1)[None, :]
    return Candidates(
        values,
        jnp.einsum("ctn,nt->ct", values, share * truth),
        jnp.einsum("ctn,nt->ct", values**2, share),
        jnp.einsum("ctq,q->ct", weights, jnp.where(used, level, 0)),
        jnp.einsum("ctq,q->ct", weights, jnp.where(used, spread, 0)),
    )
