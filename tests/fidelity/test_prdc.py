"""PRDC against the `prdc` package, its expectation, and its properties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from populations import cloud, rotation, shrunken, users
from prdc import compute_prdc
from scipy.spatial.distance import cdist
from scipy.special import comb

from syndigits_jax.fidelity.prdc import coverage, expected_coverage, neighbour_radius
from syndigits_jax.fidelity.prdc import prdc as eager_prdc

NAMES = ("precision", "recall", "density", "coverage")
fast = settings(max_examples=8)
prdc = jax.jit(eager_prdc, static_argnames=("k", "block"))


@pytest.mark.parametrize(("n", "size", "d"), [(200, 150, 5), (120, 300, 40), (50, 7, 2)])
@pytest.mark.parametrize("block", [3000, 1 << 22])
def test_agrees_with_the_prdc_package(n, size, d, block, dtype):
    x, y = cloud(0, n, d, dtype), 0.9 * cloud(1, size, d, dtype) + 0.2
    ours = prdc(x, y, 5, block=block)
    theirs = compute_prdc(np.asarray(x, float), np.asarray(y, float), 5)
    for name in NAMES:
        assert float(getattr(ours, name)) == pytest.approx(theirs[name], abs=1e-6), name
    assert float(coverage(x, y, 5, block=block)) == float(ours.coverage)


def test_agrees_on_users_in_few_dimensions():
    """As embeddings are: rank 3 in 16 dimensions, where float32 distances are at their worst."""
    x, y = users(0, 400), shrunken(users(1, 300), 0.5)
    theirs = compute_prdc(np.asarray(x, float), np.asarray(y, float), 5)
    ours = prdc(x, y)
    for name in NAMES:
        assert float(getattr(ours, name)) == pytest.approx(theirs[name], abs=2e-3), name


def test_coverage_of_a_real_resample_is_as_expected():
    """.969 for 500 by 500 and k = 5; 40 pairs of samples leave an error of about .0015."""
    x, y = users(2, 20_000).reshape(40, 500, 16), users(3, 20_000).reshape(40, 500, 16)
    found = jax.jit(jax.vmap(coverage))(x, y)
    assert expected_coverage(500, 500) == pytest.approx(0.969, abs=5e-4)
    assert float(jnp.mean(found)) == pytest.approx(expected_coverage(500, 500), abs=0.005)
    # Other sizes and k, with smaller samples.
    some = jax.vmap(lambda x, y: coverage(x[:200], y[:50], 3))(x, y)
    assert float(jnp.mean(some)) == pytest.approx(expected_coverage(200, 50, 3), abs=0.02)


def test_expected_coverage_counts_orders():
    """A ball is missed if the k nearest of n - 1 others and the fresh ones are all others."""
    for n, count, k in ((2, 1, 1), (7, 3, 5), (40, 90, 4)):
        missed = comb(n - 1, k) / comb(n - 1 + count, k)
        assert expected_coverage(n, count, k) == pytest.approx(1 - missed, rel=1e-9)


def test_radius_reaches_to_the_kth_other_point():
    x = cloud(0, 30, 3)
    apart = np.sort(cdist(np.asarray(x, float), np.asarray(x, float)), axis=1)
    for k in (1, 4):  # column 0 is the point itself
        np.testing.assert_allclose(neighbour_radius(x, k), apart[:, k], rtol=1e-5)


def test_held_in_coverage_is_small_even_of_real_users():
    """The paper's .0034 to .0076 must be read against .009 to .048."""
    for n, expected in ((267_967, 0.0093), (50_684, 0.048)):
        assert expected_coverage(n, 500) == pytest.approx(expected, abs=5e-4)
        assert expected_coverage(n, 500) == pytest.approx(1 - (1 - 5 / n) ** 500, rel=0.02)
    everyone, fresh = users(4, 4000), users(5, 500)
    radius = neighbour_radius(everyone)
    held_in = float(coverage(everyone, fresh, radius=radius))
    assert held_in == pytest.approx(expected_coverage(4000, 500), abs=0.06)
    # Radii of the whole population for a part of it.
    part = float(coverage(everyone[:1000], fresh, radius=radius[:1000]))
    assert part == pytest.approx(held_in, abs=0.08)


@fast
@given(seed=st.integers(0, 1000))
def test_identical_sets_and_permutations(seed):
    x, y = cloud(seed, 60, 4), cloud(seed + 1, 45, 4)
    same = prdc(x, x)
    # Of the k - 1 nearer neighbours and itself, and not of the k-th, which is on the surface.
    assert [float(getattr(same, name)) for name in NAMES] == pytest.approx([1, 1, 1, 1])
    order = np.random.default_rng(seed)
    shuffled = prdc(x[order.permutation(60)], y[order.permutation(45)])
    for name in NAMES:
        assert float(getattr(shuffled, name)) == pytest.approx(float(getattr(prdc(x, y), name)))


@fast
@given(seed=st.integers(0, 1000))
def test_rotation_and_translation(seed):
    x, y = cloud(seed, 80, 6), cloud(seed + 1, 70, 6)
    turn = jnp.asarray(rotation(seed, 6), x.dtype)
    moved = prdc(x @ turn + 3, y @ turn + 3)
    for name in NAMES:  # rounding may move single points across a surface
        value = float(getattr(prdc(x, y), name))
        assert float(getattr(moved, name)) == pytest.approx(value, abs=0.02)


@fast
@given(seed=st.integers(0, 1000), shift=st.floats(0, 3))
def test_bounds_and_monotone_in_k(seed, shift):
    x, y = cloud(seed, 50, 3), cloud(seed + 1, 40, 3, shift=shift)
    values = [prdc(x, y, k) for k in (1, 2, 5, 9)]
    for name in ("precision", "recall", "coverage"):
        found = [float(getattr(v, name)) for v in values]
        assert found == sorted(found)
        assert 0 <= found[0] <= found[-1] <= 1
    assert all(float(v.density) >= 0 for v in values)


def test_precision_and_recall_change_places():
    x, y = cloud(0, 80, 4), 0.5 * cloud(1, 60, 4)
    assert float(prdc(x, y).precision) == float(prdc(y, x).recall)


def test_duplicates_are_on_the_surface():
    """Six real users in one place have radius 0, and nobody is inside, as in the package."""
    x = jnp.concatenate([jnp.repeat(cloud(0, 1, 3), 6, axis=0), cloud(1, 30, 3)])
    y = jnp.concatenate([jnp.repeat(x[:1], 8, axis=0), cloud(2, 12, 3)])
    theirs = compute_prdc(np.asarray(x, float), np.asarray(y, float), 5)
    ours = prdc(x, y)
    for name in NAMES:
        assert float(getattr(ours, name)) == pytest.approx(theirs[name], abs=1e-6)


def test_batches_and_nan_inside_jit():
    x, y = cloud(0, 120, 4).reshape(3, 40, 4), cloud(1, 90, 4).reshape(3, 30, 4)
    batch = jax.vmap(lambda x, y: prdc(x, y, 3, block=500))(x, y)
    for i in range(3):
        assert float(batch.density[i]) == pytest.approx(float(prdc(x[i], y[i], 3).density))
    broken = jax.vmap(prdc)(x, y.at[1, 0, 0].set(jnp.nan))
    np.testing.assert_array_equal(jnp.isnan(broken.coverage), [False, True, False])
    np.testing.assert_array_equal(jnp.isnan(broken.precision), [False, True, False])


def test_bad_input():
    x = cloud(0, 5, 3)
    with pytest.raises(ValueError, match="`y` has 5 rows; at least 6"):
        eager_prdc(cloud(1, 20, 3), x)
    with pytest.raises(ValueError, match="`x` has 5 rows; at least 6"):
        coverage(x, x)
    with pytest.raises(ValueError, match="`k`"):
        eager_prdc(x, x, 0)
    with pytest.raises(ValueError, match="`radius` must have shape"):
        coverage(x, x, radius=jnp.ones(4))
    with pytest.raises(ValueError, match="`n`"):
        expected_coverage(5, 10)
    with pytest.raises(ValueError, match="NaN"):
        neighbour_radius(cloud(0, 20, 3).at[3, 0].set(jnp.nan))
