"""Simulated personas: their logits and their noise are what was asked for."""

import numpy as np
import pytest
from scipy.stats import rankdata

from syndigits_jax.datasets.preference_simulator import simulate_personas, simulate_preferences

N, M = 80, 30
TABLE, TRUTH = simulate_preferences(N, M, key=0, ratings=M)
USERS = np.arange(20, 60)


def ranks_of(ratings):
    """Mean rank correlation of each row's ratings with the scores of its user."""
    pairs = zip(ratings, TRUTH.scores[USERS], strict=True)
    return np.mean([np.corrcoef(rankdata(r), rankdata(score))[0, 1] for r, score in pairs])


def test_faithful_personas_are_their_users_who_rate_once_more():
    table, w = simulate_personas(TRUTH, USERS, key=1)
    np.testing.assert_allclose(w, TRUTH.w[USERS], atol=1e-5)
    assert len(table) == len(USERS) * M and table.items == TABLE.items
    own = TABLE.matrix()[USERS]
    again = table.matrix()
    assert (np.sort(own, axis=1) == np.sort(again, axis=1)).all()  # the same levels, equally full
    assert np.mean(own != again) > 0.02
    assert ranks_of(again) == pytest.approx(ranks_of(own), abs=0.05)
    repeated, _ = simulate_personas(TRUTH, USERS, key=1)
    np.testing.assert_array_equal(repeated.rating, table.rating)


def test_noise_is_what_hides_the_scores():
    silent, _ = simulate_personas(TRUTH, USERS, key=1, noise=0.0, levels=None)
    np.testing.assert_allclose(silent.matrix(), TRUTH.scores[USERS], rtol=1e-5, atol=1e-5)
    tables = [simulate_personas(TRUTH, USERS, key=1, noise=s)[0] for s in (0.0, 1.0, 5.0)]
    kept = [ranks_of(table.matrix()) for table in tables]
    assert kept[0] > 0.97 and kept[0] > kept[1] + 0.05 > kept[2] + 0.1


def test_collapse_is_as_deep_as_asked_for():
    _, w = simulate_personas(TRUTH, USERS, key=1, shrink=0.25)
    centre = TRUTH.w.mean(axis=0)
    np.testing.assert_allclose(w - centre, 0.25 * (TRUTH.w[USERS] - centre), atol=1e-5)
    _, leaning = simulate_personas(TRUTH, USERS, key=1, lean=2.0)
    weights = np.exp(TRUTH.w) / np.exp(TRUTH.w).sum(axis=1, keepdims=True)
    expected = np.zeros(4)
    expected[weights.mean(axis=0).argmax()] = 2
    np.testing.assert_allclose(leaning - TRUTH.w[USERS], np.tile(expected, (40, 1)), atol=1e-5)
    _, same = simulate_personas(TRUTH, USERS, key=1, shrink=0.0)
    assert np.ptp(same, axis=0).max() < 1e-6


@pytest.mark.parametrize(
    ("users", "settings", "match"),
    [
        (np.array([], int), {}, "`users` must be rows of the 80"),
        (np.array([0, N]), {}, "`users` must be rows"),
        (np.array([-1]), {}, "`users` must be rows"),
        (USERS, {"shrink": -0.1}, "must not be negative"),
        (USERS, {"noise": -1.0}, "must not be negative"),
        (USERS, {"levels": 1}, "`levels` must be from 2 to the 30"),
    ],
)
def test_bad_input(users, settings, match):
    with pytest.raises(ValueError, match=match):
        simulate_personas(TRUTH, users, key=0, **settings)
