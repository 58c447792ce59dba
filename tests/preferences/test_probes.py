"""Probe items: bands, diversity against scikit-learn's k-means, determinism, bad input."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.cluster import KMeans

from syndigits_jax.preferences.probes import diverse, kmeans, select_probes

KEY = jax.random.key(0)


def catalogue(m=400, e=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(m, e)).astype(np.float32), rng.permutation(m) + 1


def test_bands_get_their_shares():
    x, popularity = catalogue()
    probes = select_probes(KEY, x, popularity)
    assert len(set(probes.tolist())) == 100
    rank = np.argsort(np.argsort(-popularity))[probes]
    assert np.histogram(rank, [0, 80, 240, 400])[0].tolist() == [20, 40, 40]
    assert rank.tolist() == sorted(rank.tolist())
    some = select_probes(KEY, x, popularity, size=7, shares=(0.5, 0.5), bands=(0.1, 0.9))
    assert np.sum(np.argsort(np.argsort(-popularity))[some] < 40) == 4


def test_unrated_items_are_out():
    x, popularity = catalogue()
    popularity = np.where(np.arange(400) % 2, popularity, 0)
    assert np.all(select_probes(KEY, x, popularity, size=50) % 2 == 1)


def test_the_key_decides():
    x, popularity = catalogue()
    one, same = (select_probes(KEY, x, popularity) for _ in range(2))
    other = select_probes(jax.random.key(1), x, popularity)
    assert one.tolist() == same.tolist() != other.tolist()


def inertia(x, centres):
    return np.min(np.sum((x[:, None] - np.asarray(centres)[None]) ** 2, axis=2), axis=1).sum()


def test_clusters_are_as_tight_as_scikit_learns():
    x, _ = catalogue(300)
    ours = min(inertia(x, kmeans(jax.random.key(i), jnp.asarray(x), 12)[0]) for i in range(3))
    judge: Any = KMeans(12, n_init="auto", random_state=0).fit(x)
    assert ours < 1.03 * judge.inertia_
    # The centres are the means of their clusters, and the labels the nearest centres.
    centres, labels = kmeans(KEY, jnp.asarray(x), 12)
    for c in range(12):
        np.testing.assert_allclose(centres[c], x[np.asarray(labels) == c].mean(0), atol=1e-5)


def test_separate_groups_give_one_probe_each():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(8), [1, 2, 3, 4, 30, 30, 30, 100])
    x = 20 * rng.normal(size=(8, 4))[groups] + 0.01 * rng.normal(size=(200, 4))
    chosen = diverse(KEY, jnp.asarray(x, jnp.float32), 8)
    assert sorted(groups[chosen].tolist()) == list(range(8))


def test_equal_vectors_still_give_different_items():
    chosen = diverse(KEY, jnp.ones((6, 3)), 5)
    assert len(set(chosen.tolist())) == 5


def test_bad_probe_input():
    x, popularity = catalogue(50)
    with pytest.raises(ValueError, match="band 0 has 10 items"):
        select_probes(KEY, x, popularity, size=60)
    with pytest.raises(ValueError, match="add up to one"):
        select_probes(KEY, x, popularity, size=10, shares=(0.5, 0.6))
    with pytest.raises(ValueError, match="popularity"):
        select_probes(KEY, x, popularity[:-1])
    with pytest.raises(ValueError, match="finite"):
        select_probes(KEY, x * np.nan, popularity)
    with pytest.raises(ValueError, match="size"):
        select_probes(KEY, x, popularity, size=0)
    with pytest.raises(ValueError, match="`k`"):
        kmeans(KEY, jnp.ones((3, 2)), 4)
