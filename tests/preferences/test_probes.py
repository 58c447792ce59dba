"""Probe items: bands, diversity, determinism, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from syndigits_jax.preferences.probes import diverse, select_probes

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
