"""Power tuning: how much of the proxies to use, from few people."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ...solvers.precision import full_precision
from ..alike import alike


class Moments(NamedTuple):
    """Second moments of proxies and answers over the people asked, about their means."""

    proxies: Float[Array, "p p"]
    cross: Float[Array, " p"]
    answers: Float[Array, ""]


class Tuned(NamedTuple):
    """How the proxies are used.

    - `coef`: (p,) coefficients; `kept`: the share of the least-squares coefficients that is kept.
    - `inverse`: (p, p) of the (penalised) moments, for leverages.
    - `used`: how many coefficients were fitted, 0 for given ones.
    """

    coef: Float[Array, " p"]
    kept: Float[Array, ""]
    inverse: Float[Array, "p p"]
    used: Float[Array, ""]


@full_precision
def tune(moments: Moments, varies: Bool[Array, " p"], count: Float[Array, ""]) -> Tuned:
    """Least squares of answers on proxies, shrunk as far as chance could explain them.

    The coefficients are multiplied by 1 - 1/F, or 0 where F <= 1, with F the F statistic of the
    regression (the positive-part James-Stein factor): useless proxies are left out about two times
    in three, and good ones are used in full. Several proxies, which may be nearly equal, get a
    ridge penalty worth one person.

    **Arguments:** `moments`: of the people asked; `varies`: which proxies are not constant among
    them; `count`: the number of people, or of clusters.
    """
    p = moments.cross.shape[0]
    diagonal = jnp.diagonal(moments.proxies)
    size = jnp.sqrt(jnp.where(varies, diagonal, 1))
    both = varies[:, None] & varies[None, :]
    corr = jnp.where(both, moments.proxies / size[:, None] / size[None, :], 0)
    corr = corr + jnp.diag(jnp.where(varies, 0, 1).astype(corr.dtype))
    spread = jnp.sqrt(jnp.where(moments.answers > 0, moments.answers, 1))
    target = jnp.where(varies, moments.cross / size / spread, 0)
    penalty = 1 / jnp.maximum(count, 1) if p > 1 else 0.0
    inverse = jnp.linalg.inv(corr + penalty * jnp.eye(p, dtype=corr.dtype))
    slope = inverse @ target
    explained = jnp.clip(2 * slope @ target - slope @ corr @ slope, 0, 1)
    used = jnp.sum(varies, dtype=corr.dtype)
    left = count - 1 - used
    statistic = explained / jnp.maximum(used, 1) * left
    noise = 1 - explained
    # 1 - 1/F without a division by zero where the proxies explain nothing.
    kept = jnp.where(statistic > noise, 1 - noise / jnp.where(statistic > 0, statistic, 1), 0)
    kept = jnp.where((left > 0) & (moments.answers > 0), kept, 0)
    return Tuned(
        coef=kept * slope * spread / size,
        kept=kept,
        inverse=jnp.where(both, inverse / size[:, None] / size[None, :], 0),
        used=used,
    )


def given(coef: Float[Array, " p"]) -> Tuned:
    """Coefficients that are not fitted."""
    p = coef.shape[0]
    zero = jnp.zeros((), coef.dtype)
    return Tuned(coef, zero, jnp.zeros((p, p), coef.dtype), zero)


def varying(proxy: Float[Array, "n p"], seen: Bool[Array, "n p"]) -> Bool[Array, " p"]:
    """Which proxies differ, where they are `seen`, by more than rounding."""
    return ~alike(proxy, seen, 0)
