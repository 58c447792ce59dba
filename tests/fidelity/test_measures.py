"""All measures of populations of known relation to the real one, and the size of intervals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from populations import prototypes, shrunken, users

from syndigits_jax.fidelity.baselines import moment_matched_noise, random_mixture
from syndigits_jax.fidelity.frechet import frechet_distance
from syndigits_jax.fidelity.measures import INDEXED, control_measures, fidelity_measures
from syndigits_jax.fidelity.mmd import mmd2_unbiased
from syndigits_jax.fidelity.prdc import expected_coverage, prdc
from syndigits_jax.fidelity.real_users import (
    METRICS,
    evaluate,
    permute,
    population_metrics,
    real_users,
)
from syndigits_jax.fidelity.sliced_wasserstein import sliced_wasserstein

KEY = jax.random.key(0)
P = jnp.asarray(prototypes(), jnp.float32)
SMALL = {"replicates": 20, "projections": 50, "permutations": 99}


@pytest.fixture(scope="module")
def reference():
    return real_users(KEY, users(0, 4000), prototypes=P, size=250, count=250, **SMALL)


def test_metrics_are_those_of_the_functions():
    x, y = users(1, 60), shrunken(users(2, 50), 0.6)
    directions = jnp.eye(16, dtype=jnp.float32)
    sigma = jnp.asarray(0.5, jnp.float32)
    found = jax.jit(population_metrics)(x, y, sigma, directions)
    expected = {
        "frechet": frechet_distance(x, y),
        "mmd2": mmd2_unbiased(x, y, 0.5),
        "sliced_wasserstein": sliced_wasserstein(KEY, x, y, directions=directions),
        "recall": prdc(x, y).recall,
        "density": prdc(x, y).density,
    }
    for name, value in expected.items():
        assert float(getattr(found, name)) == pytest.approx(float(value), rel=1e-4), name


def test_a_real_resample_is_at_the_floor(reference):
    panel = fidelity_measures(jax.random.key(1), reference, users(3, 250))
    expected = expected_coverage(250, 250)
    assert panel.metrics["coverage"].mean == pytest.approx(expected, abs=0.03)
    assert control_measures(reference).metrics["coverage"].mean == pytest.approx(expected, abs=0.02)
    for name in INDEXED:
        mean, low, high = panel.index["noise"][name]
        assert abs(mean) < 0.25, name
        assert low - 0.15 < 0 < high + 0.15, name
    assert np.mean(panel.p_values) > 0.02
    assert all(v.mean == 0 for v in control_measures(reference).index["noise"].values())


def test_noise_is_at_the_ceiling(reference):
    noise = moment_matched_noise(jax.random.key(2), users(4, 4000), 250)
    panel = fidelity_measures(jax.random.key(3), reference, noise)
    for name in INDEXED:
        assert panel.index["noise"][name].mean == pytest.approx(1, abs=0.25), name
        assert panel.stable["noise"][name]
    # 16 dimensions against the users' 3: nothing is covered, by construction.
    assert panel.metrics["coverage"].mean < 0.1
    np.testing.assert_allclose(panel.p_values, 0.01)
    ceiling = control_measures(reference, "noise")
    assert all(ceiling.index["noise"][name].mean == 1 for name in INDEXED)


def test_a_collapsed_population_shows_the_papers_pattern(reference):
    collapsed = fidelity_measures(jax.random.key(4), reference, shrunken(users(5, 400)))
    real = control_measures(reference)
    assert collapsed.metrics["coverage"].mean < 0.15 < 0.9 < real.metrics["coverage"].mean
    assert collapsed.metrics["cosine_mean"].mean > 0.95 > 0.7 > real.metrics["cosine_mean"].mean
    assert collapsed.metrics["norm_ratio"].high < 0.95
    assert collapsed.metrics["precision"].mean > 0.9  # each persona is like somebody
    assert collapsed.index["noise"]["coverage"].low > 0.8
    assert collapsed.index["noise"]["mmd2"].mean > 1  # as in the paper, beyond the ceiling
    for name in METRICS:
        mean, low, high = collapsed.metrics[name]
        assert low <= mean <= high, name


def test_an_index_without_a_difference_is_flagged_not_printed():
    """Users who are random mixtures: that ceiling is no other than the floor."""
    everyone = random_mixture(jax.random.key(5), P, 1500)
    reference = real_users(KEY, everyone, prototypes=P, size=150, count=150, **SMALL)
    panel = fidelity_measures(jax.random.key(6), reference, shrunken(users(6, 150)))
    for name in INDEXED:
        assert not panel.stable["random_mixture"][name], name
        assert np.isnan(panel.index["random_mixture"][name]).all(), name
        assert panel.stable["noise"][name], name
        assert np.isfinite(panel.index["noise"][name]).all(), name


def test_intervals_have_the_size_of_the_variation_between_worlds():
    """20 worlds, each with 120 real users only, so that they vary as a sample as well."""
    centre = jnp.mean(users(999, 20_000), axis=0)[None, :]
    found = []
    for world in range(20):
        settings = {"replicates": 30, "projections": 20, "permutations": 1}
        reference = real_users(jax.random.key(world), users(world, 120), **settings)
        y = centre + 0.6 * (users(1000 + world, 60) - centre)
        found.append(fidelity_measures(jax.random.key(world), reference, y).metrics)
    for name in ("frechet", "coverage", "cosine_mean", "mmd2"):
        estimates = np.array([panel[name] for panel in found])
        halves = (estimates[:, 2] - estimates[:, 1]) / (2 * 1.96)
        ratio = float(np.mean(halves) / estimates[:, 0].std(ddof=1))
        assert 0.6 < ratio < 1.9, (name, ratio)
        mean = estimates[:, 0].mean()
        assert np.mean((estimates[:, 1] <= mean) & (mean <= estimates[:, 2])) >= 0.75, name


def test_rows_and_reproducibility(reference):
    panel = fidelity_measures(jax.random.key(7), reference, users(8, 300))
    again = fidelity_measures(jax.random.key(7), reference, users(8, 300))
    rows = panel.rows()
    for one, other in zip(rows, again.rows(), strict=True):
        np.testing.assert_equal(one, other)
    names = [row["metric"] for row in rows]
    assert len(set(names)) == len(names) == len(METRICS) + 1 + 2 * len(INDEXED)
    assert {"mmd_p", "fgi_coverage", "fgi_coverage_random_mixture"} <= set(names)
    assert all(set(row) == {"metric", "mean", "low", "high"} for row in rows)
    assert panel.resampled["frechet"].shape == (5,)
    assert panel.metrics["frechet"].mean == pytest.approx(panel.resampled["frechet"].mean())


def test_populations_of_other_sizes_compile_nothing(reference):
    sizes = evaluate._cache_size(), permute._cache_size()
    for count in (250, 333, 700):
        fidelity_measures(KEY, reference, users(9, count))
    assert (evaluate._cache_size(), permute._cache_size()) == sizes


def test_samples_are_disjoint():
    """Users whose embedding is their number: who was drawn can be read off."""
    everyone = jnp.arange(100, dtype=jnp.float32)[:, None] * jnp.ones((1, 2), jnp.float32)
    reference = real_users(KEY, everyone, replicates=2, projections=5, permutations=1)
    assert reference.rows.shape == (15, 50)
    assert all(len(set(row)) == 50 for row in np.asarray(reference.rows).tolist())
    # Half of the users cannot be in the other half: no distance is zero, nothing is identical.
    assert (np.asarray(reference.populations["real"].frechet) > 0).all()
    assert float(reference.sigma) == pytest.approx(np.sqrt(2) * 29.3, rel=0.05)


def test_bad_input(reference):
    real = users(0, 40)
    for arguments, match in (
        ({"size": 30, "count": 30}, "`real` has 40 users; 30 for reference and 30 others"),
        ({"size": 4}, "`size`"),
        ({"replicates": 1}, "`replicates`"),
        ({"prototypes": P[:, :3]}, "`real` has width 16 but `prototypes` has 3"),
    ):
        with pytest.raises(ValueError, match=match):
            real_users(KEY, real, **arguments)
    with pytest.raises(ValueError, match="`real` has 8 rows; at least 12"):
        real_users(KEY, real[:8])
    with pytest.raises(ValueError, match="`y` has 40 rows, but floor and ceilings were made with"):
        fidelity_measures(KEY, reference, real)
    with pytest.raises(ValueError, match="`y`: 1 rows have NaN"):
        fidelity_measures(KEY, reference, users(1, 300).at[0, 0].set(jnp.nan))
    with pytest.raises(ValueError, match="`name` must be one of"):
        control_measures(reference, "bootstrap")
