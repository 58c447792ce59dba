"""Paired metrics against NumPy and SciPy, on pairs of known similarity, and their controls."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from populations import cloud, shrunken, users
from prdc import compute_prdc
from scipy import stats
from scipy.spatial.distance import cdist, cosine

from syndigits_jax.fidelity.paired import (
    _derangement,
    _homogeneity,
    held_in_coverage,
    paired_cosine_distance,
    paired_distance,
    paired_measures,
    rank_agreement,
    rating_correlation,
)

KEY = jax.random.key(0)


def scores_of(u) -> jax.Array:
    """Scores of 30 items: inner products with a fixed set."""
    items = np.random.default_rng(9).normal(size=(16, 30))
    return jnp.asarray(np.asarray(u, float) @ items, jnp.float32)


def test_distances_against_scipy(dtype):
    x, y = cloud(0, 20, 5, dtype), cloud(1, 20, 5, dtype)
    expected = [cosine(a, b) for a, b in zip(np.asarray(x, float), np.asarray(y, float))]
    np.testing.assert_allclose(paired_cosine_distance(x, y), expected, rtol=1e-4)
    np.testing.assert_allclose(paired_distance(x, y), np.linalg.norm(x - y, axis=1), rtol=1e-5)
    assert float(jnp.max(paired_cosine_distance(x, 3 * x))) < 1e-6


def test_rank_agreement_with_itself_its_reverse_and_noise():
    scores = scores_of(users(0, 50))
    same = rank_agreement(KEY, scores, 2 * scores + 1)
    assert float(same.accuracy) == 1
    assert int(jnp.sum(same.ordered)) == 10_000
    assert float(rank_agreement(KEY, scores, -scores).accuracy) == 0
    noise = jnp.asarray(np.random.default_rng(1).normal(size=scores.shape), scores.dtype)
    assert float(rank_agreement(KEY, scores, noise).accuracy) == pytest.approx(0.5, abs=0.03)


def test_rank_agreement_drops_ties_and_missing_scores():
    """Items 0 and 1 are a tie for the persona, item 3 has no score: three pairs of six are left."""
    persona = jnp.tile(jnp.asarray([1.0, 1, 2, jnp.nan]), (4, 1))
    seed = jnp.tile(jnp.asarray([1.0, 2, 1.5, 0]), (4, 1))  # 0 < 2 agrees, 1 < 2 does not
    found = rank_agreement(KEY, persona, seed, triplets=20_000)
    assert float(jnp.sum(found.ordered)) / 20_000 == pytest.approx(2 / 6, abs=0.02)
    assert float(found.accuracy) == pytest.approx(0.5, abs=0.02)
    np.testing.assert_allclose(found.ordered / 5000, 1 / 3, atol=0.05)  # all users alike
    nothing = rank_agreement(KEY, jnp.ones((3, 4)), jnp.ones((3, 4)))
    assert jnp.isnan(nothing.accuracy)


def test_rating_correlation_against_scipy():
    rng = np.random.default_rng(2)
    ratings = rng.integers(1, 6, (12, 40)).astype(float)
    ratings[rng.random(ratings.shape) < 0.3] = np.nan
    ratings[3] = 4.0  # constant
    ratings[4, 2:] = np.nan
    scores = rng.normal(size=(12, 40)) + np.nan_to_num(ratings)
    found = np.asarray(
        rating_correlation(jnp.asarray(ratings, jnp.float32), jnp.asarray(scores, jnp.float32))
    )
    assert np.isnan(found[3])
    for i in (0, 1, 2, 5, 6):
        seen = ~np.isnan(ratings[i])
        expected = stats.pearsonr(ratings[i][seen], scores[i][seen]).statistic
        assert found[i] == pytest.approx(expected, abs=1e-5)


def test_rating_correlation_leaves_out_what_either_side_lacks():
    rng = np.random.default_rng(4)
    ratings, scores = rng.normal(size=(2, 3, 20))
    ratings[:, :4], scores[:, 2:7] = np.nan, np.nan
    found = rating_correlation(jnp.asarray(ratings, jnp.float32), jnp.asarray(scores, jnp.float32))
    expected = [stats.pearsonr(a[7:], b[7:]).statistic for a, b in zip(ratings, scores)]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_collapse_keeps_ranks_and_loses_the_population():
    """Shrunken personas: near their seed, in its order, and yet all alike."""
    seeds = users(1, 200)
    personas = shrunken(seeds, 0.15)
    rng = np.random.default_rng(3)
    noisy = scores_of(personas) + 0.1 * jnp.asarray(rng.normal(size=(200, 30)), jnp.float32)
    ratings = jnp.clip(jnp.round(3 + noisy), 1, 5)
    panel = paired_measures(
        KEY,
        seeds,
        personas,
        seed_scores=scores_of(seeds),
        persona_scores=scores_of(personas),
        ratings=ratings,
        replicates=200,
    )
    metrics, control = panel.metrics, panel.shuffled
    assert metrics["rank_accuracy"].mean > 0.75
    assert metrics["rank_accuracy"].mean > control["rank_accuracy"].mean + 0.005
    assert metrics["rating_correlation"].low > control["rating_correlation"].high
    assert metrics["paired_distance"].high < control["paired_distance"].low
    assert metrics["paired_cosine_distance"].high < control["paired_cosine_distance"].low
    assert metrics["cosine_mean"].mean > 0.95 > 0.8 > metrics["seed_cosine_mean"].mean
    assert metrics["paired_norm_ratio"].mean < 0.95
    # Personas are about as near to anybody's seed in their scores: what the control is for.
    assert control["rank_accuracy"].mean > 0.6
    for value in (*metrics.values(), *control.values()):
        assert value.low <= value.mean <= value.high
    names = {row["metric"] for row in panel.rows()}
    assert {"rank_accuracy", "rank_accuracy_shuffled", "seed_cosine_mean"} <= names
    assert "cosine_mean_shuffled" not in names


def test_without_kinship_metric_and_control_agree():
    panel = paired_measures(KEY, users(2, 300), users(3, 300), replicates=200)
    assert "rank_accuracy" not in panel.metrics
    for name, value in panel.shuffled.items():
        metric = panel.metrics[name]
        assert metric.low < value.high, name
        assert value.low < metric.high, name


def test_homogeneity_interval_has_the_right_size():
    """Against the SD of the mean cosine over fresh samples."""
    found = np.array([_homogeneity(users(i, 80)) for i in range(20)])
    ratio = np.mean(found[:, 2] - found[:, 1]) / (2 * 1.96 * found[:, 0].std(ddof=1))
    assert 0.7 < ratio < 1.5


@pytest.mark.parametrize("n", [3, 12])
def test_homogeneity_interval_against_numpy(n):
    """Twice the SD of each member's mean cosine with the others, over √n, from all pairs."""
    x = cloud(0, n, 4)
    cosines = 1 - cdist(np.asarray(x, float), np.asarray(x, float), "cosine")
    of_each = (cosines.sum(axis=1) - 1) / (n - 1)
    error = 2 * of_each.std(ddof=1) / np.sqrt(n)
    expected = of_each.mean() + 1.96 * error * np.array([0, -1, 1])
    np.testing.assert_allclose(_homogeneity(x), expected, atol=1e-5)


def test_shuffled_seeds_are_nobodys_own():
    for n in (2, 3, 50):
        for seed in range(5):
            order = np.asarray(_derangement(jax.random.key(seed), n))
            assert sorted(order) == list(range(n))
            assert np.all(order != np.arange(n))


def test_held_in_coverage_beside_that_of_real_users():
    found = held_in_coverage(users(4, 1500), users(5, 100))
    assert found.real == pytest.approx(1 - (1 - 5 / 1500) ** 100, rel=0.03)
    assert float(found.coverage) == pytest.approx(found.real, abs=0.08)


def test_held_in_coverage_of_other_neighbours():
    """Both numbers are of the given k; with one neighbour the expectation is m / (n + m - 1)."""
    real, y = users(4, 200), users(5, 100)
    for k in (1, 3):
        judge = compute_prdc(np.asarray(real, float), np.asarray(y, float), k)["coverage"]
        found = held_in_coverage(real, y, k)
        assert float(found.coverage) == pytest.approx(judge, abs=1e-2)
        odds = [(200 - i) / (300 - i) for i in range(1, k + 1)]
        assert found.real == pytest.approx(1 - np.prod(odds))
    assert held_in_coverage(real, y, 1).real == pytest.approx(100 / 299)


def test_bad_input():
    x, s = users(0, 10), jnp.ones((10, 4))
    for wrong, match in (
        (lambda: paired_measures(KEY, x, x, persona_scores=s), "`seed_scores` are needed"),
        (lambda: paired_measures(KEY, x, x, seed_scores=s[:3]), "`seed_scores` has 3 rows for 10"),
        (lambda: paired_measures(KEY, x[:1], x[:1]), "`seeds` has 1 rows; at least 2"),
        (lambda: rank_agreement(KEY, s[:, :1], s[:, :1]), "at least two items"),
        (lambda: rank_agreement(KEY, s, s, triplets=0), "`triplets`"),
        (lambda: rating_correlation(s[:, :1], s[:, :1]), "`ratings` and `scores` must be"),
        (lambda: paired_distance(x.at[0, 0].set(jnp.nan), x), "NaN"),
    ):
        with pytest.raises(ValueError, match=match):
            wrong()
