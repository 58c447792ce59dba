"""Held-out pairwise accuracy of an encoder, beside rankers that know nothing of anybody's taste."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from syndigits_jax.datasets.ratings import RatingTable
from syndigits_jax.fidelity.encoder import PRNGKey, ScoreGram, pair_scores
from syndigits_jax.fidelity.pairs import Pairs, held_out_pair_table, sample_pairs
from syndigits_jax.fidelity.panel import Estimate
from syndigits_jax.fidelity.rankers import mean_rating_scores, popularity_scores
from syndigits_jax.fidelity.training import TrainedEncoder

_BLOCK = 1 << 18


def held_out_accuracies(
    key: PRNGKey,
    trained: TrainedEncoder,
    gram: ScoreGram,
    earlier: RatingTable,
    train: RatingTable,
    test: RatingTable,
    *,
    gap: float = 1.0,
    cap: int | None = 100,
) -> dict[str, Estimate]:
    """Shares of held-out pairs ordered rightly by the encoder, item popularity and mean ratings.

    Pairs are those of an item in `test` with any earlier item of the same user; users without a
    training pair are left out, of others at most `cap` pairs count. Ties count one half. Intervals
    are normal, with users as the units. Empty if there is no such pair.

    **Arguments:** `gram`: score forms of the whole catalogue; `earlier`: all ratings before those
    in `test`; `train`: those that popularity and means are counted from.
    """
    mine = np.asarray(trained.trained)
    test = test.where(mine[test.user])
    if not len(test):
        return {}
    table = held_out_pair_table(earlier, test, gap)
    if table.total == 0:
        return {}
    pairs = sample_pairs(table, key, cap)
    sides = (pairs.better, pairs.worse)
    rankers = {"popularity": popularity_scores(train), "mean_rating": mean_rating_scores(train)}
    scores = {"encoder": [_scores(gram, trained.w, pairs.user, side) for side in sides]}
    scores |= {name: [values[side] for side in sides] for name, values in rankers.items()}
    return {name: _by_user(better, worse, pairs) for name, (better, worse) in scores.items()}


def _scores(
    gram: ScoreGram, w: Float[Array, "n p"], user: np.ndarray, item: np.ndarray
) -> np.ndarray:
    parts = []
    for first in range(0, len(user), _BLOCK):
        part = slice(first, first + _BLOCK)
        parts.append(pair_scores(gram, w, jnp.asarray(user[part]), jnp.asarray(item[part])))
    return np.concatenate([np.asarray(part) for part in parts])


def _by_user(better: np.ndarray, worse: np.ndarray, pairs: Pairs) -> Estimate:
    """A ratio of sums over users, and 1.96 of its linearised standard errors."""
    right = (better > worse) + 0.5 * (better == worse)
    count = np.bincount(pairs.user).astype(float)
    mean = float(right.mean())
    residual = np.bincount(pairs.user, right) - mean * count
    users = max(int((count > 0).sum()), 1)
    error = np.sqrt(np.sum(residual**2) * users / max(users - 1, 1)) / count.sum()
    return Estimate(mean, *(float(np.clip(mean + z * error, 0, 1)) for z in (-1.96, 1.96)))
