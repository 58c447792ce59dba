"""Pair mining against lists of all pairs: counts, validity, uniformity, held-out pairs."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from scipy.stats import chisquare

from syndigits_jax.datasets.ratings import rating_table
from syndigits_jax.preferences.pairs import held_out_pair_table, pair_table, sample_pairs

KEY = jax.random.key(0)


def table(seed, n=7, m=12, share=0.6, step=0.5):
    rng = np.random.default_rng(seed)
    user, item = np.nonzero(rng.random((n, m)) < share)
    rating = rng.integers(1, 11, len(user)) * step
    return rating_table(user, item, rating, rng.random(len(user)))


def listed(t, gap=1.0):
    """{(user, better, worse)} by three loops."""
    rows = list(zip(t.user.tolist(), t.item.tolist(), t.rating.tolist()))
    return {(u, a, b) for u, a, x in rows for v, b, y in rows if u == v and x - y >= gap}


def as_set(pairs):
    out = set(zip(pairs.user.tolist(), pairs.better.tolist(), pairs.worse.tolist()))
    assert len(out) == len(pairs)
    return out


@hypothesis.settings(max_examples=8)
@hypothesis.given(st.integers(0, 1000), st.sampled_from([0.5, 1.0, 2.0]))
def test_all_pairs_are_those_of_the_list(seed, gap):
    t = table(seed)
    pairs = pair_table(t, gap)
    want = listed(t, gap)
    assert as_set(sample_pairs(KEY, pairs, None)) == want
    assert pairs.counts.tolist() == np.bincount([u for u, _, _ in want], minlength=7).tolist()
    assert pairs.total == len(want)


@hypothesis.settings(max_examples=8)
@hypothesis.given(st.integers(0, 1000), st.integers(1, 30))
def test_samples_are_different_valid_pairs(seed, cap):
    t = table(seed)
    pairs = pair_table(t)
    sample = sample_pairs(jax.random.key(seed), pairs, cap)
    assert as_set(sample) <= listed(t)
    got = np.bincount(sample.user, minlength=7)
    assert got.tolist() == np.minimum(pairs.counts, cap).tolist()


@pytest.mark.parametrize("cap", [1, 6, 16])
def test_every_pair_is_as_likely(cap):
    pairs = pair_table(table(3, n=1, m=10, share=1))
    every = sorted(as_set(sample_pairs(KEY, pairs, None)))
    assert cap < len(every) and (cap == 1 or len(every) % cap)  # strata of unequal size
    draws = 3000
    counts = dict.fromkeys(every, 0)
    for key in jax.random.split(jax.random.key(cap), draws):
        for pair in as_set(sample_pairs(key, pairs, cap)):
            counts[pair] += 1
    observed = np.array(list(counts.values()))
    assert observed.sum() == draws * cap
    # Drawing without replacement only makes the counts steadier than the test assumes.
    assert chisquare(observed).pvalue > 1e-3


def test_keys_decide():
    pairs = pair_table(table(1))
    one, same = sample_pairs(KEY, pairs, 3), sample_pairs(KEY, pairs, 3)
    assert as_set(one) == as_set(same) != as_set(sample_pairs(jax.random.key(1), pairs, 3))


@hypothesis.settings(max_examples=6)
@hypothesis.given(st.integers(0, 1000))
def test_held_out_pairs_join_a_held_out_item_with_an_earlier_one(seed):
    t = table(seed)
    train, validation, _ = t.split(0.6, 0.2)
    seen = _cells(train) | _cells(validation)
    both = t.where(np.array([cell in seen for cell in (t.user * 100 + t.item).tolist()]))
    held = _cells(validation)
    want = {p for p in listed(both) if {p[0] * 100 + p[1], p[0] * 100 + p[2]} & held}
    pairs = held_out_pair_table(train, validation)
    assert as_set(sample_pairs(KEY, pairs, None)) == want
    assert as_set(sample_pairs(KEY, pairs, 4)) <= want
    assert pairs.total == pair_table(both).total - pair_table(train).total


def _cells(t):
    return set((t.user * 100 + t.item).tolist())


def test_one_long_history_is_never_listed():
    """As a user of MovieLens with 1.55 million pairs; here 18 million from 6,000 ratings."""
    rng = np.random.default_rng(0)
    t = rating_table(["u"] * 6000, range(6000), rng.permutation(6000))
    pairs = pair_table(t)
    assert pairs.total == 6000 * 5999 // 2
    assert pairs.cumulative.nbytes + pairs.first.nbytes + pairs.worse.nbytes < 200_000
    sample = sample_pairs(KEY, pairs, 50)
    rating = dict(zip(t.item.tolist(), t.rating.tolist()))
    assert all(rating[a] - rating[b] >= 1 for a, b in zip(sample.better, sample.worse))


def test_gaps_survive_rescaling():
    t = table(5)
    for unit in (1 / 3, 0.1, 7.0):
        scaled = dataclasses.replace(t, rating=t.rating * unit - 2)
        assert pair_table(scaled, unit).counts.tolist() == pair_table(t).counts.tolist()


def test_users_without_pairs():
    t = rating_table(["a", "a", "b", "c", "c"], [0, 1, 0, 0, 1], [3, 3, 5, 1, 5])
    pairs = pair_table(t)
    assert pairs.counts.tolist() == [0, 0, 1]
    assert as_set(sample_pairs(KEY, pairs)) == {(2, 1, 0)}
    none = pair_table(t.where(t.user < 2))
    assert none.total == 0 and len(sample_pairs(KEY, none)) == 0


def test_bad_pairs_input():
    t = table(0)
    with pytest.raises(ValueError, match="gap"):
        pair_table(t, 0.0)
    with pytest.raises(ValueError, match="cap"):
        sample_pairs(KEY, pair_table(t), 0)
    with pytest.raises(ValueError, match="finite"):
        pair_table(dataclasses.replace(t, rating=t.rating * np.nan))
    with pytest.raises(ValueError, match="`item`: positions"):
        pair_table(dataclasses.replace(t, item=t.item + 5))
    with pytest.raises(ValueError, match="twice"):
        pair_table(dataclasses.replace(t, item=t.item * 0))
    with pytest.raises(ValueError, match="length"):
        shorter: Any = SimpleNamespace(**{**vars(t), "item": t.item[1:]})
        pair_table(shorter)
    with pytest.raises(ValueError, match="shares"):
        held_out_pair_table(t, t)
    with pytest.raises(ValueError, match="parts of one table"):
        held_out_pair_table(t, table(0, n=3))
