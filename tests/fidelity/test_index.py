"""The Fidelity Gap Index: the paper's Table 10 from its other tables, and when it is unstable."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from published_fidelity import INDEX_METRICS, INDICES, METHODS, METRICS, PANELS, cells

from syndigits_jax.fidelity.index import fidelity_gap_index, stable_gap


@pytest.mark.parametrize("split", PANELS)
def test_table_10_follows_from_the_metrics_to_rounding(split):
    """Over all that the printed digits of a metric, its floor and its ceiling can stand for."""
    panel, printed = cells(PANELS[split], METRICS), cells(INDICES[split], INDEX_METRICS)
    for method, metric in itertools.product(METHODS[1:-1], METRICS):
        corners = np.array(
            list(itertools.product(*(panel[name][metric] for name in (method, "real", "noise"))))
        )
        possible = fidelity_gap_index(corners[:, 0], corners[:, 1], corners[:, 2])
        low, high = printed[method][metric]
        assert np.min(possible) <= high + 1e-6, (method, metric)
        assert np.max(possible) >= low - 1e-6, (method, metric)
        # The test can fail: rounding leaves little room.
        assert np.ptp(possible) < 0.05 * max(1, abs(high)) or split == "combined"


def test_floor_is_0_ceiling_is_1_and_both_directions_are_one_formula():
    assert float(fidelity_gap_index(0.2, 0.2, 0.7)) == 0
    assert float(fidelity_gap_index(0.7, 0.2, 0.7)) == 1
    coverage = (0.978 - 0.084) / (0.978 - 0.0)  # equation 7 as printed
    assert float(fidelity_gap_index(0.084, 0.978, 0.0)) == pytest.approx(coverage)
    values = fidelity_gap_index(jnp.asarray([0.0, 1.0, 2.0]), 0.0, 2.0)
    np.testing.assert_allclose(values, [0, 0.5, 1])
    assert jnp.isnan(fidelity_gap_index(0.5, 0.5, 0.5))


def test_unstable_where_floor_and_ceiling_are_close():
    rng = np.random.default_rng(0)
    floor = jnp.asarray(rng.normal(size=(200, 3)), jnp.float32)
    ceiling = floor + jnp.asarray(rng.normal(size=(200, 3)) + np.array([5, 0.1, -5]), jnp.float32)
    np.testing.assert_array_equal(stable_gap(floor, ceiling), [True, False, False])
    np.testing.assert_array_equal(
        stable_gap(floor, ceiling, higher_is_closer=True), [False, False, True]
    )
    # A difference of one SD: the mean of 200 is precise enough, that of five is not.
    close = jnp.asarray(rng.normal(size=200) + 1, jnp.float32)
    assert stable_gap(jnp.zeros_like(close), close)
    assert not stable_gap(jnp.zeros_like(close), close, averaged=5)


def test_stability_is_a_ratio_in_standard_errors():
    """Differences 1 and 3: their mean is 2, its standard error √2 / √2 = 1."""
    floor, ceiling = jnp.asarray([0.5, 1.0]), jnp.asarray([1.5, 4.0])
    assert stable_gap(floor, ceiling, errors=1.95)
    assert not stable_gap(floor, ceiling, errors=2.05)
    # That of eight resamples with the same SD is half as large.
    assert stable_gap(floor, ceiling, averaged=8, errors=3.9)
    assert not stable_gap(floor, ceiling, averaged=8, errors=4.1)


def test_hardly_ever_stable_without_a_difference():
    rng = np.random.default_rng(1)
    floor, ceiling = jnp.asarray(rng.normal(size=(2, 20, 4000)), jnp.float32)
    assert float(jnp.mean(stable_gap(floor, ceiling))) < 0.01


def test_bad_input():
    with pytest.raises(ValueError, match="`ceiling` must have the shape"):
        stable_gap(jnp.zeros(3), jnp.zeros(4))
    with pytest.raises(ValueError, match="number of resamples"):
        stable_gap(jnp.zeros(1), jnp.zeros(1))
    with pytest.raises(ValueError, match="`averaged`"):
        stable_gap(jnp.zeros(3), jnp.zeros(3), averaged=0)
