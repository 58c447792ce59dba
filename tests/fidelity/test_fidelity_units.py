"""Units, origin and axes: how every metric changes under a transformation."""

import functools

import jax
import numpy as np
import pytest
from populations import cloud, rotation

from syndigits_jax.fidelity import (
    cosine_homogeneity,
    coverage,
    dirichlet_interpolation,
    fidelity_gap_index,
    fidelity_measures,
    fit_affine_map,
    fit_gaussian_mixture,
    fit_transport_map,
    frechet_distance,
    held_in_coverage,
    median_distance,
    mmd2_unbiased,
    mmd_permutation_test,
    moment_matched_noise,
    neighbour_radius,
    norm_ratio,
    paired_cosine_distance,
    paired_distance,
    paired_measures,
    paired_norm_ratio,
    prdc,
    prototype_perturbation,
    random_mixture,
    rank_agreement,
    rating_correlation,
    real_bootstrap,
    real_users,
    reweight_kernel,
    reweight_transport,
    sliced_wasserstein,
    stable_gap,
)
from syndigits_jax.preferences import ranking_accuracy, select_probes

KEY = jax.random.key(0)
SCALES = [1e-30, 1e-25, *(10.0**e for e in range(-9, 10, 3)), 1e15]
X, Y = np.asarray(cloud(0, 60, 4)), 0.8 * np.asarray(cloud(1, 60, 4)) + np.float32(0.3)


def flat(value):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(value)]).astype(float)


def mixture(x, y):
    found = fit_gaussian_mixture(KEY, x, 2, max_steps=20).value
    return found.means


def affine(x, y):
    return fit_affine_map(x, y)(y)


def transport(x, y):
    return fit_transport_map(x, y, epsilon=0.1, max_steps=200).value(y)


def sliced(x, y):
    return sliced_wasserstein(KEY, x, y, projections=20)


# name: (function of two populations, degree under a common scale, what does not change it);
# what "moves" is made of points, which follow the origin.
METRICS = {
    "frechet": (frechet_distance, 2, "shift rotation permutation swap"),
    "mmd2": (mmd2_unbiased, 0, "shift rotation permutation swap"),
    "mmd_p": (lambda x, y: mmd_permutation_test(KEY, x, y, permutations=19), 0, "shift rotation"),
    "median": (lambda x, y: median_distance(x), 1, "shift rotation permutation"),
    "sliced": (sliced, 1, "shift permutation swap"),
    "prdc": (prdc, 0, "shift rotation permutation"),
    "coverage": (coverage, 0, "shift rotation permutation"),
    "held_in": (lambda x, y: held_in_coverage(x, y).coverage, 0, "shift rotation permutation"),
    "radius": (lambda x, y: neighbour_radius(x), 1, "shift rotation"),
    "homogeneity": (lambda x, y: cosine_homogeneity(x), 0, "rotation permutation"),
    "norm_ratio": (norm_ratio, 0, "rotation permutation"),
    "paired_norm_ratio": (paired_norm_ratio, 0, "rotation"),
    "paired_cosine": (paired_cosine_distance, 0, "rotation swap"),
    "paired_distance": (paired_distance, 1, "shift rotation swap"),
    "kernel_weights": (lambda x, y: reweight_kernel(x, y, tol=1e-6).value, 0, "shift rotation"),
    "transport_weights": (reweight_transport, 0, "shift rotation"),
    "affine": (affine, 1, "moves"),
    "transport": (transport, 1, "moves"),
    "mixture": (mixture, 1, "moves"),
    "noise": (lambda x, y: moment_matched_noise(KEY, x, 5), 1, "moves"),
    "bootstrap": (lambda x, y: real_bootstrap(KEY, x, 5), 1, "moves"),
    "dirichlet": (lambda x, y: dirichlet_interpolation(KEY, x, 5), 1, "moves"),
    "random_mixture": (lambda x, y: random_mixture(KEY, x[:4], 5), 1, "moves"),
    "prototypes": (lambda x, y: prototype_perturbation(KEY, x[:4], 5, sigma=0.0), 1, "moves"),
}
# Answers that turn on a matter of ranks, where rounding may move single points.
RANKS = {"prdc": 0.05, "coverage": 0.05, "held_in": 0.05, "transport_weights": 0.05, "mmd_p": 0.1}


@functools.cache
def compiled(name):
    return jax.jit(METRICS[name][0])


@pytest.mark.parametrize("name", METRICS)
def test_scale(name):
    """Divided by the predicted power, the answer is the same over 45 powers of ten."""
    _, degree, _ = METRICS[name]
    expected = flat(compiled(name)(X, Y))
    size = np.abs(expected).max()
    for scale in SCALES:
        if not 1e-37 < size * scale**degree < 1e37:
            continue  # float32 holds no such answer
        c = np.float32(scale)
        found = flat(compiled(name)(c * X, c * Y)) / float(c) ** degree
        atol = RANKS.get(name, 2e-4 if name in ("kernel_weights", "transport") else 2e-5)
        np.testing.assert_allclose(found, expected, atol=atol * size, err_msg=f"{scale:g}")


@pytest.mark.parametrize("name", METRICS)
def test_powers_of_two_change_no_digit(name):
    if name in ("transport", "kernel_weights"):
        pytest.skip("iterated to a tolerance")
    _, degree, _ = METRICS[name]
    expected = flat(compiled(name)(X, Y))
    for c in (2.0**-40, 2.0**20):
        found = flat(compiled(name)(np.float32(c) * X, np.float32(c) * Y)) / c**degree
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7 * np.abs(expected).max())


@pytest.mark.parametrize("name", METRICS)
def test_shift_rotation_permutation_and_swap(name):
    _, _, fixed = METRICS[name]
    function, expected = compiled(name), flat(compiled(name)(X, Y))
    size = np.abs(expected).max()
    turn, rng = np.float32(rotation(3, 4)), np.random.default_rng(4)
    order, other = rng.permutation(60), rng.permutation(60)
    shift = np.float32([[300, -200, 100, 50]])
    moved = {
        "shift": (X + shift, Y + shift),
        "rotation": (X @ turn, Y @ turn),
        "permutation": (X[order], Y[other]),
        "swap": (Y, X),
    }
    for change in fixed.split():
        if change == "moves":
            found = flat(np.asarray(function(X + shift, Y + shift)) - shift)
        else:
            found = flat(function(*moved[change]))
        # Shifted points are rounded to 1.5e-5, of which the answers here turn at most 100 times.
        atol = max(RANKS.get(name, 0), 2e-3 if change in ("shift", "moves") else 2e-4)
        if change == "shift" and name == "mmd_p":
            continue
        np.testing.assert_allclose(found, expected, atol=atol * size, err_msg=change)


def test_collapsed_populations_have_an_answer():
    """All in one place: distances are 0, what would divide by them is NaN or has a status."""
    x = np.ones((20, 3), np.float32)
    for scale in (1e-30, 1.0, 1e9):
        z = np.float32(scale) * x
        assert float(frechet_distance(z, z)) == 0
        assert float(median_distance(z)) == 0
        assert float(sliced_wasserstein(KEY, z, z, projections=5)) == 0
        assert not np.asarray(neighbour_radius(z)).any()
        assert not flat(prdc(z, z)).any()
        assert float(cosine_homogeneity(z).mean) == pytest.approx(1, abs=1e-6)
        np.testing.assert_allclose(fit_affine_map(z, z)(z), z, rtol=1e-6)
        np.testing.assert_allclose(fit_transport_map(z, z, max_steps=50).value(z), z, rtol=1e-5)


def test_scores_in_any_units():
    rng = np.random.default_rng(0)
    a, b = np.float32(rng.normal(size=(2, 8, 30)))
    a[0, 3] = np.nan
    agreement = rank_agreement(KEY, a, b, triplets=500)
    correlation = rating_correlation(a, b)
    for scale in SCALES:
        c = np.float32(scale)
        found = rank_agreement(KEY, c * a, b, triplets=500)
        np.testing.assert_array_equal(found.agree, agreement.agree)
        np.testing.assert_allclose(rating_correlation(c * a, b), correlation, atol=2e-6)
        np.testing.assert_allclose(rating_correlation(a, c * b), correlation, atol=2e-6)
        assert ranking_accuracy(c * b[0], c * b[1]) == ranking_accuracy(b[0], b[1])


def test_the_index_in_any_units():
    rng = np.random.default_rng(0)
    floor, top = np.float32(rng.normal(size=(2, 40))) + np.float32([[0], [0.75]])
    near = top - np.float32(0.6)
    for scale in SCALES:
        c = np.float32(scale)
        index = fidelity_gap_index(c * 0.5, c * 0.25, c * 1.25)
        np.testing.assert_allclose(index, 0.25, rtol=1e-5)
        assert bool(stable_gap(c * floor, c * top))
        assert not bool(stable_gap(c * floor, c * near))


def test_probes_in_any_units():
    vectors, popularity = np.asarray(cloud(5, 80, 6)), np.arange(80, 0, -1)
    expected = select_probes(KEY, vectors, popularity, size=12)
    for c in (2.0**-90, 2.0**-30, 2.0**30):
        found = select_probes(KEY, np.float32(c) * vectors, popularity, size=12)
        np.testing.assert_array_equal(found, expected)
    for scale in SCALES:  # of a cluster of two either is the closest, as rounding has it
        found = select_probes(KEY, np.float32(scale) * vectors, popularity, size=12)
        assert len(set(expected) & set(found)) >= 10
    np.testing.assert_array_equal(select_probes(KEY, vectors, 1e9 * popularity, size=12), expected)
    shifted = vectors + np.float32(100)
    assert len(set(expected) & set(select_probes(KEY, shifted, popularity, size=12))) > 9


@pytest.mark.parametrize("scale", [1e-25, 1e-9, 1e9])
def test_the_panels_in_any_units(scale):
    c = np.float32(scale)
    real, y = np.asarray(cloud(0, 80, 3)), np.asarray(cloud(1, 40, 3))
    settings = {"replicates": 3, "projections": 5, "permutations": 5}

    def metrics(c):
        panel = fidelity_measures(KEY, real_users(KEY, c * real, **settings), c * y)
        found = {name: value.mean for name, value in panel.metrics.items()}
        index = panel.index["noise"]["sliced_wasserstein"].mean
        return found | {"index": index, "stable": panel.stable["noise"]["sliced_wasserstein"]}

    one, other = metrics(np.float32(1)), metrics(c)
    for name, value in one.items():
        degree = {"frechet": 2, "sliced_wasserstein": 1}.get(name, 0)
        if value * scale**degree > 1e-37:
            found = other[name] / scale**degree
            np.testing.assert_allclose(found, value, rtol=2e-3, atol=1e-3, err_msg=name)
    pairs, scaled = (
        paired_measures(KEY, s * real[:40], s * y, replicates=5).metrics for s in (np.float32(1), c)
    )
    for name in ("paired_cosine_distance", "paired_norm_ratio", "cosine_mean"):
        np.testing.assert_allclose(scaled[name], pairs[name], rtol=1e-3)
