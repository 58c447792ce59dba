"""Blocked distances and nearest neighbours against SciPy, and what populations are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from populations import cloud
from scipy.spatial.distance import cdist

from syndigits_jax.solvers.distances import (
    Frame,
    block_rows,
    bounds,
    map_rows,
    nearest,
    population,
    populations,
    squared_distances,
)


def test_squared_distances(dtype):
    x, y = cloud(0, 40, 7, dtype), cloud(1, 30, 7, dtype)
    expected = cdist(np.asarray(x, float), np.asarray(y, float)) ** 2
    rtol = 1e-5 if dtype == np.float32 else 1e-12
    frame = Frame.of(x, y)
    clouds, unit = (frame.cloud(x), frame.cloud(y)), float(frame.unit) ** 2
    found = unit * squared_distances(*clouds)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol)
    least, most = (unit * np.asarray(bound, float) for bound in bounds(*clouds))
    assert (least <= expected).all()
    assert (expected <= most).all()
    assert (most - least < 30 * rtol * expected.mean()).all()


@pytest.mark.parametrize("block", [1, 100, 1 << 20])
def test_nearest_of_another_population(block):
    x, y = cloud(0, 37, 5), cloud(1, 53, 5)
    full = cdist(np.asarray(x, float), np.asarray(y, float))
    distance, position = nearest(x, y, 4, block=block)
    np.testing.assert_allclose(distance, np.sort(full, axis=1)[:, :4], rtol=1e-5)
    np.testing.assert_array_equal(position, np.argsort(full, axis=1)[:, :4])


@pytest.mark.parametrize("block", [1, 100, 1 << 20])
@pytest.mark.parametrize("n", [6, 61])
def test_nearest_among_themselves(n, block):
    x = cloud(2, n, 3)
    full = cdist(np.asarray(x, float), np.asarray(x, float)) + np.diag(np.full(n, np.inf))
    distance, position = nearest(x, None, 5, block=block)
    np.testing.assert_allclose(distance, np.sort(full, axis=1)[:, :5], rtol=1e-5)
    assert not np.any(np.asarray(position) == np.arange(n)[:, None])


def test_distances_of_a_collapsed_population_keep_their_digits():
    """Points a hundredth of the distance to the centre apart: products alone are off by 1e-3."""
    rng = np.random.default_rng(3)
    tight = jnp.asarray(1 + 1e-2 * rng.normal(size=(30, 4)), jnp.float32)
    x = jnp.concatenate([tight, -jnp.ones((30, 4), jnp.float32)])
    exact = np.sort(cdist(*[np.asarray(tight, float)] * 2), axis=1)[:, 5]
    np.testing.assert_allclose(nearest(x, None, 5)[0][:30, -1], exact, rtol=2e-5)
    duplicates = jnp.repeat(cloud(4, 5, 3), 7, axis=0)
    assert not np.asarray(nearest(duplicates, None, 6)[0]).any()


def test_blocks_are_even_and_drop_their_filling():
    assert block_rows(100, 10, 300) == 25  # four blocks of 25 rather than 30 + 30 + 30 + 10
    assert block_rows(7, 1000, 10) == 1
    x = cloud(0, 23, 2)
    out = map_rows(lambda rows, position: (rows[:, 0], position), x, 1, 5)
    np.testing.assert_array_equal(out[0], x[:, 0])
    np.testing.assert_array_equal(out[1], np.arange(23))


def test_bad_populations_are_named():
    good = cloud(0, 10, 3)
    for values, match in (
        (good[0], "`x` must be a matrix"),
        (good.astype(jnp.complex64), "`x` must hold real numbers"),
        (good.at[4, 1].set(jnp.nan), "`x`: 1 rows have NaN or infinity, the first is row 4"),
        (good[:2], "`x` has 2 rows; at least 6"),
    ):
        with pytest.raises(ValueError, match=match):
            population(values, "x", 6)
    with pytest.raises(ValueError, match="`x` has width 3 but `y` has 2"):
        populations(good, good[:, :2])
    with pytest.raises(ValueError, match="`block`"):
        block_rows(3, 3, 0)
    assert jax.jit(lambda x: population(x, "x", 6))(good.at[0, 0].set(jnp.nan)).shape == (10, 3)
