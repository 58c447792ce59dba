"""Rankers that ignore texts: popularity, mean ratings, BPR factors on data of known rank."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from syndigits_jax.datasets.ratings import rating_table
from syndigits_jax.preferences.pairs import held_out_pair_table, pair_table, sample_pairs
from syndigits_jax.preferences.rankers import (
    Factorisation,
    FactorisationSettings,
    fit_bpr,
    mean_rating_scores,
    popularity_scores,
    ranking_accuracy,
    remembered_scores,
)

KEY = jax.random.key(0)


def factor_ratings(n=80, m=40, seed=0):
    rng = np.random.default_rng(seed)
    users, items = rng.normal(size=(n, 2)), rng.normal(size=(m, 2))
    utility = 3 * users @ items.T + rng.gumbel(size=(n, m))
    user, item = np.nonzero(rng.random((n, m)) < 0.7)
    return rating_table(user, item, utility[user, item], rng.random(len(user)))


def test_popularity_and_means():
    table = rating_table(["a", "b", "a"], ["x", "x", "y"], [1, 2, 5])
    assert popularity_scores(table).tolist() == [2, 1]
    want = [(3 + 8 / 3 * 4) / 6, (5 + 8 / 3 * 4) / 5]
    np.testing.assert_allclose(mean_rating_scores(table, prior=4.0), want)
    with pytest.raises(ValueError, match="prior"):
        mean_rating_scores(table, prior=0.0)


def test_ranking_accuracy():
    assert ranking_accuracy(np.array([1.0, 2, 3]), np.array([0.0, 2, 4])) == 0.5
    with pytest.raises(ValueError, match="no pair"):
        ranking_accuracy(np.zeros(0), np.zeros(0))


def test_memory_knows_earlier_ratings_and_nothing_else():
    table = rating_table(["a", "a", "b"], ["x", "y", "x"], [1, 5, 3])
    got = remembered_scores(table, np.array([0, 1, 0, 1]), np.array([1, 1, 0, 0]))
    assert got.tolist() == [5, 3, 1, 3]
    train, _, test = factor_ratings().split()
    both = sample_pairs(KEY, pair_table(test), None)
    sides = (remembered_scores(train, both.user, side) for side in (both.better, both.worse))
    assert ranking_accuracy(*sides) == 0.5


def test_scores_are_the_factors():
    rng = np.random.default_rng(0)
    p, q, b = rng.normal(size=(3, 2)), rng.normal(size=(5, 2)), rng.normal(size=5)
    found = Factorisation(*(jnp.asarray(a, jnp.float32) for a in (p, q, b)))
    got = found.scores(np.array([0, 2]), np.array([4, 1]))
    np.testing.assert_allclose(got, [p[0] @ q[4] + b[4], p[2] @ q[1] + b[1]], rtol=1e-5)


def test_factors_beat_what_is_the_same_for_everyone():
    train, validation, test = factor_ratings().split()
    pairs = sample_pairs(KEY, held_out_pair_table(train, test), None)
    settings = FactorisationSettings(factors=4, batch_size=128, learning_rate=0.03)
    found = fit_bpr(train, validation, key=KEY, settings=settings)
    means = mean_rating_scores(train)
    common = ranking_accuracy(means[pairs.better], means[pairs.worse])
    assert found.accuracy(pairs) > max(0.8, common + 0.1)
    again = fit_bpr(train, validation, key=KEY, settings=settings)
    assert np.array_equal(found.users, again.users)
    without = fit_bpr(train, key=KEY, settings=settings)
    assert without.accuracy(sample_pairs(KEY, held_out_pair_table(train, test), 5)) > 0.75


def test_bad_ranker_input():
    flat = rating_table(["a", "a"], ["x", "y"], [3, 3])
    with pytest.raises(ValueError, match="no user has two ratings"):
        fit_bpr(flat, key=KEY)
    table = factor_ratings(5, 8)
    with pytest.raises(ValueError, match="validation"):
        fit_bpr(table, table.where(table.user < 0), key=KEY)
    with pytest.raises(ValueError, match="factors"):
        FactorisationSettings(factors=0)
    with pytest.raises(ValueError, match="weight_decay"):
        FactorisationSettings(weight_decay=-1.0)
