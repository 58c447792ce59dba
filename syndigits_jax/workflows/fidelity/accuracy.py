"""Held-out pairwise accuracy of an encoder, and of rankers without personal preferences."""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from syndigits_jax.datasets.ratings import RatingTable
from syndigits_jax.fidelity.measures import Estimate
from syndigits_jax.preferences.encoder import ScoreGram, pair_scores
from syndigits_jax.preferences.pairs import Pairs, PairTable, held_out_pair_table, sample_pairs
from syndigits_jax.preferences.rankers import mean_rating_scores, popularity_scores
from syndigits_jax.preferences.training import TrainedEncoder
from syndigits_jax.solvers.keys import PRNGKey

_BLOCK = 1 << 18

Ranker = Callable[[Int[np.ndarray, " k"], Int[np.ndarray, " k"]], np.ndarray]
"""A function from positions of users and of items to the scores of these pairs."""


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
    others: Mapping[str, Ranker] | None = None,
) -> dict[str, Estimate]:
    """Shares of held-out pairs ordered correctly by the encoder, item popularity and mean ratings.

    A pair consists of an item in `test` and any earlier item of the same user. Users without a
    training pair are left out. Ties count one half. Intervals are 95% normal intervals, with users
    as the sampling units.

    **Arguments:**

    - `key`: for the choice of at most `cap` pairs per user (all if `None`).
    - `trained`: the encoder and its users' mixtures; `gram`: score forms of the whole catalogue.
    - `earlier`: all ratings before those in `test`.
    - `train`: the ratings from which popularity and means are computed.
    - `test`: the held-out ratings.
    - `gap`: the least difference of two ratings that form a pair.
    - `others`: further rankers by name.

    **Returns:** estimates by ranker; empty if there is no pair.
    """
    mine = np.asarray(trained.trained)
    test = test.where(mine[test.user])
    if not len(test):
        return {}
    rankers = {
        "encoder": encoder_ranker(gram, trained.w),
        "popularity": item_ranker(popularity_scores(train)),
        "mean_rating": item_ranker(mean_rating_scores(train)),
    }
    table = held_out_pair_table(earlier, test, gap)
    return pair_accuracies(key, table, rankers | dict(others or {}), cap=cap)


def pair_accuracies(
    key: PRNGKey, table: PairTable, rankers: Mapping[str, Ranker], *, cap: int | None = 100
) -> dict[str, Estimate]:
    """Shares of pairs that each ranker orders correctly, as in [`held_out_accuracies`][].

    **Arguments:** `key`: for the choice of at most `cap` pairs per user (all if `None`); `table`:
    the pairs; `rankers`: by name.

    **Returns:** estimates by ranker; empty if there is no pair.
    """
    if table.total == 0:
        return {}
    pairs = sample_pairs(key, table, cap)
    return {
        name: _by_user(ranker(pairs.user, pairs.better), ranker(pairs.user, pairs.worse), pairs)
        for name, ranker in rankers.items()
    }


def item_ranker(values: Float[np.ndarray, " m"]) -> Ranker:
    """A ranker with the same item scores for all users."""
    return lambda user, item: values[item]


def encoder_ranker(gram: ScoreGram, w: Float[Array, "n p"]) -> Ranker:
    """A ranker by an encoder's scores (equation 2) for users with the mixtures `w`."""

    def scores(user: np.ndarray, item: np.ndarray) -> np.ndarray:
        parts = []
        for first in range(0, len(user), _BLOCK):
            part = slice(first, first + _BLOCK)
            parts.append(pair_scores(gram, w, jnp.asarray(user[part]), jnp.asarray(item[part])))
        return np.concatenate([np.asarray(part) for part in parts])

    return scores


def _by_user(better: np.ndarray, worse: np.ndarray, pairs: Pairs) -> Estimate:
    """A ratio of sums over users with a 95% interval from its linearised standard error."""
    right = (better > worse) + 0.5 * (better == worse)
    count = np.bincount(pairs.user).astype(float)
    mean = float(right.mean())
    residual = np.bincount(pairs.user, right) - mean * count
    users = max(int((count > 0).sum()), 1)
    error = np.sqrt(np.sum(residual**2) * users / max(users - 1, 1)) / count.sum()
    return Estimate(mean, *(float(np.clip(mean + z * error, 0, 1)) for z in (-1.96, 1.96)))
