"""Comparisons of distances that a matrix product cannot tell apart, against double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from prdc import compute_prdc
from scipy.spatial.distance import cdist, pdist

from syndigits_jax.fidelity.measures import control_measures, fidelity_measures
from syndigits_jax.fidelity.mmd import median_distance, mmd2_unbiased, mmd_permutation_test
from syndigits_jax.fidelity.prdc import coverage, neighbour_radius, prdc
from syndigits_jax.fidelity.real_users import real_users
from syndigits_jax.fidelity.repair import reweight_transport
from syndigits_jax.solvers.distances import nearest

NAMES = ("precision", "recall", "density", "coverage")
jitted = jax.jit(prdc, static_argnames=("k", "block"))
radius_of = jax.jit(neighbour_radius)
closest = jax.jit(lambda x, y: nearest(x, y, 1)[1][:, 0])


def clusters(seed: int, spread: float, n: int = 150, d: int = 4, share: float = 0.5):
    """Two tight clusters, 10 apart along every axis."""
    points = np.random.default_rng(seed).normal(size=(n, d)) * spread
    points[: int(share * n)] += 10
    return np.float32(points)


def outlier(seed: int, far: float, n: int = 150, d: int = 4):
    """A normal population with one member far away; float32 has no digits beside 1e8."""
    points = np.random.default_rng(seed).normal(size=(n, d))
    points[7] = far
    return np.float32(points)


def normal(seed: int, n: int = 150, d: int = 4):
    return np.float32(np.random.default_rng(seed).normal(size=(n, d)))


UNITS = np.float32(10.0) ** np.arange(-3, 5, dtype=np.float32)[None, :]
LINE = np.float32([[1, 2, 2]]) * np.arange(100, dtype=np.float32)[:, None]
CASES = {
    **{f"clusters {s:g}": (clusters(0, s), clusters(1, s)) for s in (0.1, 1e-2, 1e-3, 1e-4)},
    "clusters of very unequal size": (clusters(0, 1e-3, share=0.95), clusters(1, 1e-3, share=0.9)),
    "a cluster at the origin": (clusters(0, 1e-25), clusters(1, 1e-25)),
    **{f"outlier {far:g} in x": (outlier(0, far), normal(1, 120)) for far in (1e3, 1e6)},
    **{f"outlier {far:g} in y": (normal(0, 120), outlier(1, far)) for far in (1e3, 1e6, 1e12)},
    "all equal": (np.ones((50, 4), np.float32), np.ones((60, 4), np.float32)),
    "duplicates": (np.repeat(normal(0, 30), 7, axis=0), np.repeat(normal(1, 30), 3, axis=0)),
    "some duplicates": (np.repeat(normal(0, 60), 3, axis=0), normal(1)),
    "collinear": (LINE, LINE + np.float32([[0.5, 1, 1]])),
    "offset": (normal(0, 150, 8) + np.float32(1e4), normal(1, 150, 8) + np.float32(1e4)),
    "unequal units": (normal(0, 150, 8) * UNITS, normal(1, 150, 8) * UNITS),
    "tiny units": (normal(0) * np.float32(1e-30), normal(1) * np.float32(1e-30)),
    "huge units": (normal(0) * np.float32(1e30), normal(1) * np.float32(1e30)),
}


def judge(x, y):
    """The `prdc` package in float64, in units in which its squares do not underflow."""
    unit = float(np.abs(x).max())
    return compute_prdc(x.astype(float) / unit, y.astype(float) / unit, 5)


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_the_prdc_package(case):
    x, y = CASES[case]
    theirs = judge(x, y)
    # A point next to a ball of radius 2e6 is inside or outside by less than a digit of float32.
    slack = 3 / len(x) if case.startswith("outlier 1e+06 in x") else 1e-6
    for block in (3000, 1 << 22):
        ours = jitted(x, y, block=block)
        for name in NAMES:
            assert float(getattr(ours, name)) == pytest.approx(theirs[name], abs=slack), name


@pytest.mark.parametrize("case", CASES)
def test_radii_and_nearest(case):
    x, y = CASES[case]
    unit = float(np.abs(x).max())
    wide_x, wide_y = x.astype(float) / unit, y.astype(float) / unit
    radius = np.sort(cdist(wide_x, wide_x), axis=1)[:, 5]
    found = np.asarray(radius_of(x), float) / unit
    np.testing.assert_allclose(found, radius, rtol=2e-6, atol=1e-40)
    full = cdist(wide_x, wide_y)
    chosen = full[np.arange(len(x)), np.asarray(closest(x, y))]
    np.testing.assert_allclose(chosen, full.min(axis=1), rtol=2e-6)


@pytest.mark.parametrize("share", [0.5, 0.8])
@pytest.mark.parametrize("spread", [1e-2, 1e-3])
def test_bandwidth_and_mmd_of_tight_clusters(share, spread):
    """With four in five together the median distance is that within a cluster."""
    x, y = clusters(0, spread, share=share), clusters(1, spread, share=share)
    z = np.concatenate([x, y]).astype(float)
    sigma = np.median(pdist(z))
    np.testing.assert_allclose(median_distance(np.float32(z)), sigma, rtol=1e-5)
    kernel = np.exp(-cdist(z, z, "sqeuclidean") / (2 * sigma**2))
    n = len(x)
    within = [(k.sum() - n) / (n * (n - 1)) for k in (kernel[:n, :n], kernel[n:, n:])]
    expected = sum(within) - 2 * kernel[:n, n:].mean()
    np.testing.assert_allclose(mmd2_unbiased(x, y), expected, atol=2e-6)
    found = mmd_permutation_test(jax.random.key(0), x, y, permutations=9)
    np.testing.assert_allclose(found.statistic, expected, atol=2e-6)


def test_mmd_with_an_outlier():
    x, y = outlier(0, 1e6), normal(1)
    z = np.concatenate([x, y]).astype(float)
    kernel = np.exp(-cdist(z, z, "sqeuclidean") / 2)
    n = len(x)
    within = [(k.sum() - n) / (n * (n - 1)) for k in (kernel[:n, :n], kernel[n:, n:])]
    expected = sum(within) - 2 * kernel[:n, n:].mean()
    np.testing.assert_allclose(mmd2_unbiased(x, y, 1.0), expected, atol=2e-6)


def test_transport_weights_of_tight_clusters():
    x, y = clusters(0, 1e-3), clusters(1, 1e-3)[::5]
    nearest_of = np.argmin(cdist(x.astype(float), y.astype(float)), axis=1)
    expected = np.bincount(nearest_of, minlength=len(y)) / len(x)
    np.testing.assert_allclose(reweight_transport(x, y), expected, atol=1e-6)


def test_batches_of_easy_and_hard_populations():
    """Under `vmap` hard members of a batch do not change the easy ones."""
    names = ("clusters 0.001", "tiny units", "huge units")
    x, y = (np.stack([CASES[name][side] for name in names]) for side in (0, 1))
    batch = jax.jit(jax.vmap(prdc))(x, y)
    for i, name in enumerate(names):
        for field in NAMES:
            expected = judge(*CASES[name])[field]
            assert float(getattr(batch, field)[i]) == pytest.approx(expected, abs=1e-6)


def test_derivatives_of_radii_and_mmd():
    """Through the pairs that are recomputed: along a common stretch a distance is of degree 1."""
    x, y = (jnp.asarray(clusters(seed, 1e-3, n=40)) for seed in (0, 1))
    centre = jnp.mean(x, axis=0)[None, :]

    def total(c):
        return jnp.sum(neighbour_radius(centre + c * (x - centre), 3))

    one = jnp.ones((), x.dtype)
    np.testing.assert_allclose(jax.grad(total)(one), total(one), rtol=1e-3)
    slope = jax.grad(lambda x: mmd2_unbiased(x, y, 1.0))(x)
    assert np.isfinite(slope).all()


def test_the_panel_of_tight_clusters_is_at_the_floor():
    real, y = clusters(0, 1e-3, n=600), clusters(1, 1e-3, n=100)
    key = jax.random.key(0)
    settings = {"replicates": 5, "projections": 5, "permutations": 9}
    reference = real_users(key, real, size=100, count=100, **settings)
    floor = control_measures(reference).metrics["coverage"].mean
    found = fidelity_measures(key, reference, y).metrics["coverage"].mean
    assert floor > 0.9
    assert found == pytest.approx(floor, abs=0.05)
    assert float(coverage(real, y, radius=neighbour_radius(real))) > 0.3
