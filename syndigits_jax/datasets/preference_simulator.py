"""Simulated users and personas who rate items by the preference encoder, with known mixtures."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ..preferences.encoder import (
    PreferenceEncoder,
    ScoreGram,
    gram_scores,
    mixture_weights,
    score_gram,
)
from ..results.keys import Key, entropy
from .ratings import RatingTable, rating_table

# Compiled as one program each, instead of dozens of small ones.
_score_gram, _gram_scores = jax.jit(score_gram), jax.jit(gram_scores)


@dataclass(frozen=True, eq=False)
class PreferenceTruth:
    """The truth behind simulated ratings; n users, m items, p prototypes.

    - `vectors`: (m, e) the items' text vectors.
    - `encoder`: linear projectors and the scale; `gram`: its score forms at all items.
    - `w`: (n, p) mixture logits.
    - `scores`: (n, m) noiseless scores, equation 2.
    """

    vectors: Float[np.ndarray, "m e"]
    encoder: PreferenceEncoder
    gram: ScoreGram
    w: Float[np.ndarray, "n p"]
    scores: Float[np.ndarray, "n m"]


def simulate_preferences(
    n: int,
    m: int,
    *,
    key: Key,
    ratings: int = 20,
    prototypes: int = 4,
    width: int = 12,
    dim: int = 6,
    scale: float = 8.0,
    spread: float = 1.5,
    levels: int | None = 5,
) -> tuple[RatingTable, PreferenceTruth]:
    """Ratings from the Bradley-Terry model of the encoder, and their truth.

    A user's utility of an item is its score plus Gumbel noise; differences of such noise are
    logistic, so that any two items are ordered with the probabilities of equation 3. Ratings are
    utilities cut into equally full `levels` 1, 2, ... for each user, or the utilities themselves.

    **Arguments:**

    - `n`, `m`: numbers of users and items.
    - `key`: a JAX random key or an integer; the same key gives the same ratings on any JAX version.
    - `ratings`: how many items each user rates, chosen and ordered at random.
    - `prototypes`, `width`, `dim`: p, e and d of the encoder, whose projectors are linear.
    - `scale`: e^σ, the score of an item in exactly the preferred direction.
    - `spread`: standard deviation of the mixture logits: 0 makes all users the same, large values
      give each a single prototype.
    - `levels`: number of different ratings; `None` for the utilities themselves.

    **Raises:** `ValueError` naming the setting that is out of range.
    """
    sizes = {"n": n, "ratings": ratings, "prototypes": prototypes, "width": width, "dim": dim}
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"`{name}` must be positive, got {size}")
    if not ratings <= m:
        raise ValueError(f"`ratings` must not exceed the {m} items, got {ratings}")
    if not (scale > 0 and spread >= 0):
        raise ValueError(f"`scale` must be positive and `spread` not negative, got {scale, spread}")
    if levels is not None and not 2 <= levels <= ratings:
        raise ValueError(f"`levels` must be from 2 to `ratings`, got {levels}")
    rng = np.random.default_rng(entropy(key))
    vectors = rng.normal(0.4, 1, (m, width))
    weights = rng.normal(size=(prototypes, width, dim)) / np.sqrt(width)
    w = spread * rng.normal(size=(n, prototypes))
    item = np.argsort(rng.random((n, m)), axis=1)[:, :ratings]
    noise = rng.gumbel(size=(n, ratings))

    encoder = PreferenceEncoder(
        (jnp.asarray(weights, jnp.float32),),
        (jnp.zeros((prototypes, dim), jnp.float32),),
        jnp.asarray(np.log(scale), jnp.float32),
        dropout=0.0,
    )
    gram = _score_gram(encoder, jnp.asarray(vectors, jnp.float32))
    scores = np.asarray(_gram_scores(gram, jnp.asarray(w, jnp.float32)))
    table = _rated(scores, item, noise, levels)
    truth = PreferenceTruth(vectors.astype(np.float32), encoder, gram, w.astype(np.float32), scores)
    return table, truth


def simulate_personas(
    truth: PreferenceTruth,
    users: Int[np.ndarray, " l"],
    *,
    key: Key,
    shrink: float = 1.0,
    lean: float = 0.0,
    noise: float = 1.0,
    levels: int | None = 5,
) -> tuple[RatingTable, Float[np.ndarray, "l p"]]:
    """Personas made from simulated users, with a known gap: ratings and mixture logits.

    The default settings make faithful personas: each has the preferences of its user, and rates
    with noise of its own. The collapse that language models show is `shrink` < 1 (all are
    alike), `lean` > 0 (towards the majority) and `noise` < 1 (always the likeliest answer).

    **Arguments:**

    - `truth`: what [`simulate_preferences`][] returned.
    - `users`: (l,) rows of the users that personas are made from; a row may be repeated.
    - `key`: a JAX random key or an integer.
    - `shrink`: distance of a persona's logits from the users' mean over that of its user.
    - `lean`: added to the logit of the prototype of largest mean weight among users.
    - `noise`: scale of the noise of the utilities, relative to that of users.
    - `levels`: as in [`simulate_preferences`][]; personas rate all items.

    **Returns:** the personas' ratings, and their mixture logits (l, p).

    **Raises:** `ValueError` for no users, users out of range, negative settings or bad levels.
    """
    n, m = truth.scores.shape
    users = np.asarray(users)
    if users.ndim != 1 or not users.size or users.min() < 0 or users.max() >= n:
        raise ValueError(f"`users` must be rows of the {n} users, at least one, got {users}")
    if min(shrink, lean, noise) < 0:
        raise ValueError(
            f"`shrink`, `lean` and `noise` must not be negative, got {shrink, lean, noise}"
        )
    if levels is not None and not 2 <= levels <= m:
        raise ValueError(f"`levels` must be from 2 to the {m} items, got {levels}")
    rng = np.random.default_rng(entropy(key))
    item = np.argsort(rng.random((len(users), m)), axis=1)
    gumbel = noise * rng.gumbel(size=item.shape)
    centre = truth.w.mean(axis=0)
    w = centre + shrink * (truth.w[users] - centre)
    weights = np.asarray(mixture_weights(jnp.asarray(truth.w), truth.gram.temperature))
    w[:, weights.mean(axis=0).argmax()] += lean
    w = w.astype(np.float32)
    scores = np.asarray(_gram_scores(truth.gram, jnp.asarray(w)))
    return _rated(scores, item, gumbel, levels), w


def _rated(
    scores: Float[np.ndarray, "n m"],
    item: Int[np.ndarray, "n c"],
    noise: Float[np.ndarray, "n c"],
    levels: int | None,
) -> RatingTable:
    """Each row's items in order of time, rated by score plus noise."""
    (n, m), count = scores.shape, item.shape[1]
    rating = np.take_along_axis(scores, item, axis=1) + noise
    if levels is not None:
        rank = np.argsort(np.argsort(rating, axis=1), axis=1)
        rating = 1.0 + rank * levels // count
    user = np.repeat(np.arange(n), count)
    time = np.tile(np.arange(count), n)
    # Identifiers are positions; the catalogue holds all items, rated or not.
    return rating_table(user, item.ravel(), rating.ravel(), time).with_items(range(m))
