"""What intervals from resampled people and questions are made of, against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from syndigits_jax.inference.pigeonhole import (
    block_members,
    interval_factor,
    pigeonhole_means,
    wilson_interval,
)


@pytest.mark.parametrize("units", [3, 12, 200])
def test_factor_is_students_t(units):
    want = scipy.stats.t.ppf(0.95, units - 1) * np.sqrt(units / (units - 1))
    np.testing.assert_allclose(interval_factor(0.9, units), want, rtol=1e-4)


def test_wilson_is_that_of_scipy():
    for hits, count in ((0, 9), (7, 20), (20, 20)):
        want = scipy.stats.binomtest(hits, count).proportion_ci(0.9, method="wilson")
        np.testing.assert_allclose(wilson_interval(hits / count, count, 0.9), want, atol=1e-5)


def test_a_score_without_value_is_left_out():
    """The mean is over the questions drawn that have a score, as often as they were drawn."""
    values = jnp.asarray([[1.0, 2.0, jnp.nan, 4.0], [jnp.nan] * 4])
    found = pigeonhole_means(
        jax.random.key(0), lambda people: values, jnp.ones((5,)), jnp.arange(4), 4, replicates=300
    )
    assert np.isnan(np.asarray(found[:, 1])).all()
    first = np.asarray(found[:, 0])
    first = first[~np.isnan(first)]
    assert first.min() >= 1 and first.max() <= 4 and abs(first.mean() - 7 / 3) < 0.2


def test_blocks_are_numbered_in_order():
    member, count = block_members(["b", "a", "b"], 3)
    assert member.tolist() == [0, 1, 0] and count == 2
    with pytest.raises(ValueError, match="`groups` must name 2"):
        block_members(["a"], 2, "groups")
    with pytest.raises(ValueError, match="at least two blocks"):
        block_members(["a", "a"], 2)
