"""K-means against scikit-learn's, its own fixed point, and bad input."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.cluster import KMeans

from syndigits_jax.solvers import Status, kmeans, raise_on_failure

KEY = jax.random.key(0)
FIT = jax.jit(kmeans, static_argnames="k")


def points(seed=0, n=300, d=5):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def inertia(x, centres):
    return np.min(np.sum((x[:, None] - np.asarray(centres)[None]) ** 2, axis=2), axis=1).sum()


def test_clusters_are_as_tight_as_scikit_learns():
    x = points()
    found = [raise_on_failure(FIT(jax.random.key(i), x, 12)).value for i in range(3)]
    judge: Any = KMeans(12, n_init="auto", random_state=0).fit(x)
    assert min(inertia(x, clusters.centres) for clusters in found) < 1.03 * judge.inertia_
    # The centres are the means of their clusters, and the labels the nearest centres.
    centres, labels = found[0].centres, np.asarray(found[0].labels)
    for c in range(12):
        np.testing.assert_allclose(centres[c], x[labels == c].mean(0), atol=1e-5)
    squares = np.sum((x[:, None] - np.asarray(centres)[None]) ** 2, axis=2)
    np.testing.assert_array_equal(labels, squares.argmin(axis=1))


def test_a_cap_on_steps_is_reported_and_compiles_nothing_anew():
    x = points()
    whole = FIT(KEY, x, 12, max_steps=100)
    compiled = FIT._cache_size()
    early = FIT(KEY, x, 12, max_steps=2)
    assert FIT._cache_size() == compiled
    assert int(whole.status) == Status.CONVERGED and float(whole.change) == 0
    assert int(early.status) == Status.MAX_STEPS and int(early.steps) == 2 < int(whole.steps)
    assert 0 < float(early.change) < 1


def test_separate_groups_are_found_in_any_unit_and_in_batches():
    groups = np.repeat(np.arange(4), [2, 5, 40, 13])
    rng = np.random.default_rng(3)
    x = 30 * rng.normal(size=(4, 3))[groups] + 0.01 * rng.normal(size=(60, 3))
    batch = jnp.asarray(np.stack([x, 1e-3 * x[::-1]]), jnp.float32)
    labels = np.asarray(jax.vmap(lambda z: kmeans(KEY, z, 4).value.labels)(batch))
    for found, truth in zip(labels, (groups, groups[::-1]), strict=True):
        assert len(set(zip(found.tolist(), truth.tolist()))) == 4 == len(set(found.tolist()))


def test_fewer_different_points_than_clusters():
    clusters = FIT(KEY, np.ones((6, 2), np.float32), 3).value
    np.testing.assert_array_equal(clusters.centres, np.ones((3, 2)))


def test_bad_input():
    for k in (0, 4):
        with pytest.raises(ValueError, match="`k` must be from 1 to the 3 rows"):
            kmeans(KEY, jnp.ones((3, 2)), k)
    with pytest.raises(ValueError, match="`x`"):
        kmeans(KEY, jnp.ones(3), 1)
    with pytest.raises(ValueError, match="`max_steps`"):
        kmeans(KEY, jnp.ones((3, 2)), 1, max_steps=0)
