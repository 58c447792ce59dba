"""Simulated users who rate items as the preference encoder says, with known mixtures."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..fidelity.encoder import PreferenceEncoder, ScoreGram, gram_scores, score_gram
from .ratings import RatingTable, rating_table
from .simulator import _entropy


@dataclass(frozen=True, eq=False)
class PreferenceTruth:
    """What simulated ratings were made of; n users, m items, p prototypes.

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
    seed: int | Array,
    n: int,
    m: int,
    *,
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

    - `seed`: an integer or a JAX key; the same seed gives the same ratings on any JAX version.
    - `ratings`: items that each user rates, chosen and ordered at random.
    - `prototypes`, `width`, `dim`: p, e and d of the encoder, whose projectors are linear.
    - `scale`: e^σ, the score of an item in exactly the preferred direction.
    - `spread`: standard deviation of the mixture logits: 0 makes all users the same, large values
      give each a single prototype.
    - `levels`: number of different ratings, or None.

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
    rng = np.random.default_rng(_entropy(seed))
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
    gram = score_gram(encoder, jnp.asarray(vectors, jnp.float32))
    scores = np.asarray(gram_scores(gram, jnp.asarray(w, jnp.float32)))
    rating = np.take_along_axis(scores, item, axis=1) + noise
    if levels is not None:
        rank = np.argsort(np.argsort(rating, axis=1), axis=1)
        rating = 1.0 + rank * levels // ratings
    user = np.repeat(np.arange(n), ratings)
    time = np.tile(np.arange(ratings), n)
    # Identifiers are positions, all items are in the catalogue whether rated or not.
    table = rating_table(user, item.ravel(), rating.ravel(), time).with_items(range(m))
    truth = PreferenceTruth(vectors.astype(np.float32), encoder, gram, w.astype(np.float32), scores)
    return table, truth
