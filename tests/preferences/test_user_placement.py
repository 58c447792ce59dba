"""Users placed from sparse ratings: the same result as one by one, for any grouping."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from syndigits_jax.datasets.preference_simulator import simulate_preferences
from syndigits_jax.datasets.ratings import rating_table
from syndigits_jax.preferences.encoder import init_mixture
from syndigits_jax.preferences.placement import place_newton, place_ssr
from syndigits_jax.preferences.user_placement import place_users

KEY = jax.random.key(2)


def sparse():
    """Users with 3, 9, 20, 20, 40 ratings, and one without any; one rates everything the same."""
    table, truth = simulate_preferences(6, 50, key=1, ratings=40)
    rank = np.tile(np.arange(40), 6)
    sizes = np.array([3, 9, 20, 20, 40, 0])
    table = table.where(rank < sizes[table.user])
    return dataclasses.replace(table, rating=np.where(table.user == 2, 4, table.rating)), truth


@pytest.mark.parametrize("method", ["ssr", "newton"])
def test_users_are_placed_as_one_by_one(method):
    table, truth = sparse()
    start = init_mixture(KEY, 6, 4)
    placed = place_users(truth.gram, table, method=method, init=start, batch_entries=64)
    assert placed.constant.tolist() == [False, False, True, False, False, True]
    alone = jax.jit(place_ssr if method == "ssr" else place_newton)
    values = jnp.asarray(table.matrix(), jnp.float32)
    want = alone(truth.gram, values, init=start)
    np.testing.assert_allclose(placed.loss, want.loss, atol=1e-4)
    np.testing.assert_array_equal(placed.pairs, want.pairs)
    got, expected = softmax(placed.w[:5], axis=1), softmax(want.w[:5], axis=1)
    np.testing.assert_allclose(got, expected, atol=5e-3)
    np.testing.assert_allclose(placed.embedding[:5], want.embedding[:5], atol=1e-2)
    assert np.array_equal(placed.w[5], start[5])


def test_ratings_come_in_any_order():
    table, truth = sparse()
    order = np.random.default_rng(0).permutation(len(table))
    columns = {name: getattr(table, name)[order] for name in ("user", "item", "rating", "time")}
    start = init_mixture(KEY, 6, 4)
    placed, want = (
        place_users(truth.gram, each, init=start, steps=20)
        for each in (dataclasses.replace(table, **columns), table)
    )
    np.testing.assert_array_equal(placed.pairs, want.pairs)
    np.testing.assert_allclose(placed.loss, want.loss, atol=1e-4)
    np.testing.assert_allclose(placed.w, want.w, atol=2e-3)


def test_only_some_users_and_other_settings():
    table, truth = sparse()
    chosen = np.array([True, False, False, True, False, False])
    placed = place_users(truth.gram, table, key=KEY, users=chosen, steps=20)
    assert (np.asarray(placed.pairs) > 0).tolist() == chosen.tolist()
    start = init_mixture(KEY, 6, 4)
    assert np.array_equal(placed.w[1], start[1]) and not np.array_equal(placed.w[0], start[0])
    assert float(jnp.max(jnp.abs(placed.w - start))) < 0.25


def test_own_ratings_recover_mixtures():
    table, truth = simulate_preferences(200, 120, key=5, ratings=100, scale=15.0)
    placed = place_users(truth.gram, table, method="newton")
    error = np.abs(softmax(placed.w, axis=1) - softmax(truth.w, axis=1)).mean()
    assert error < 0.06


def test_bad_user_placement_input():
    table, truth = sparse()
    with pytest.raises(ValueError, match="method"):
        place_users(truth.gram, table, method="adam")
    with pytest.raises(ValueError, match="whole catalogue"):
        place_users(truth.gram.take(np.arange(5)), table, key=KEY)
    with pytest.raises(ValueError, match="key"):
        place_users(truth.gram, table)
    with pytest.raises(ValueError, match="init"):
        place_users(truth.gram, table, init=jnp.zeros((2, 4)))
    one_item = rating_table(["a", "b"], ["x", "x"], [1, 5])
    placed = place_users(truth.gram.take(np.arange(1)), one_item, key=KEY)
    assert placed.constant.tolist() == [True, True]
