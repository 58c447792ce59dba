"""Small encoders and raters with known mixtures, for the placement and training tests."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from syndigits_jax.preferences.encoder import init_encoder, score_gram

WIDTH, DIM, P = 12, 6, 4


@functools.cache
def small_encoder(dtype=jnp.float32, hidden=(7, 5)):
    return init_encoder(jax.random.key(0), width=WIDTH, hidden=hidden, dim=DIM, dtype=dtype)


def texts(m, seed=1, dtype=jnp.float32):
    """m text vectors about a common centre, as sentence vectors of one catalogue are."""
    return jnp.asarray(np.random.default_rng(seed).normal(0.4, 1, (m, WIDTH)), dtype)


def linear_gram(m, seed=1, dtype=jnp.float32):
    """The score forms of m probes under linear projectors, whose prototypes differ much."""
    return score_gram(small_encoder(dtype, hidden=()), texts(m, seed, dtype))


def likert(scores, seed, levels=5):
    """Ratings 1 to `levels`: scores with Gumbel noise, cut at each rater's own quantiles.

    Differences of Gumbel noise are logistic, so pairs follow the Bradley-Terry model.
    """
    noise = np.random.default_rng(seed).gumbel(size=scores.shape)
    order = np.argsort(np.argsort(np.asarray(scores) + noise, axis=1), axis=1)
    return jnp.asarray(1 + order * levels // scores.shape[1], scores.dtype)


def mixtures(n, seed=2, dtype=jnp.float32):
    return jnp.asarray(1.5 * np.random.default_rng(seed).normal(size=(n, P)), dtype)
