"""Records of the adaptive rule over its threshold, against a plain loop."""

import numpy as np
import pytest

from syndigits_jax.studies.syn_digits.figure5 import figure5, records
from syndigits_jax.studies.syn_digits.protocol import Unit

THRESHOLDS = np.arange(101) / 100


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(1)
    calibrated, baseline, mse = rng.uniform(-0.2, 0.8, size=(3, 25)).astype(np.float32)
    # Between the thresholds, where rounding decides nothing.
    mse = np.floor(np.abs(mse) * 100) / 100 + 0.005
    mse[3], calibrated[3] = 0.0, 0.0  # a constant twin question fits without error
    calibrated[7] = baseline[7] = np.nan
    mse[9] = np.nan
    return {"Ridge/pearson": calibrated, "Ridge/training_mse": mse, "Baseline/pearson": baseline}


def rule(arrays, tau, keep=slice(None)):
    pairs = zip(arrays["Ridge/pearson"], arrays["Baseline/pearson"], arrays["Ridge/training_mse"])
    return np.array([c if e <= tau else b for c, b, e in pairs])[keep]


def test_curve_equals_the_rule_applied_target_by_target(arrays):
    panel = figure5(arrays)["Ridge"]
    np.testing.assert_array_equal(panel.thresholds, THRESHOLDS)
    for k in (0, 16, 40, 100):
        scores = rule(arrays, THRESHOLDS[k])
        known = scores[~np.isnan(scores)]
        assert panel.mean[k] == pytest.approx(known.mean(), rel=1e-5)
        assert panel.se[k] == pytest.approx(known.std(ddof=1) / np.sqrt(known.size), rel=1e-5)
    assert panel.baseline == pytest.approx(np.nanmean(arrays["Baseline/pearson"]), rel=1e-5)
    assert panel.always == pytest.approx(np.nanmean(arrays["Ridge/pearson"]), rel=1e-5)


def test_each_targets_threshold_is_chosen_without_it(arrays):
    panel = figure5(arrays)["Ridge"]
    for i in range(25):
        rest = np.arange(25) != i
        means = [np.nanmean(rule(arrays, tau, rest).astype(np.float64)) for tau in THRESHOLDS]
        tau = THRESHOLDS[int(np.argmax(np.round(means, 6)))]
        np.testing.assert_allclose(panel.chosen[i], rule(arrays, tau)[i], rtol=1e-6)


def test_records_hold_the_curve_its_top_and_the_papers_top(arrays):
    unit = Unit(
        "figure5", "twin-2k-500", "Text Persona - GPT4.1-mini", "question", "reference", ("Ridge",)
    )
    found = {record.metric: record for record in records(unit, arrays)}
    means = [np.nanmean(rule(arrays, tau).astype(np.float64)) for tau in THRESHOLDS]
    assert len(found) == 101 + 4
    assert found["adaptive_pearson@0.16"].mean == pytest.approx(means[16], rel=1e-5)
    best = found["adaptive_pearson_best"]
    assert best.mean == pytest.approx(max(means), rel=1e-5) and best.paper_mean == 0.252
    top = found["adaptive_threshold_best"]
    assert means[round(100 * top.mean)] == pytest.approx(max(means), rel=1e-5)
    assert top.paper_mean == 0.15
    chosen = figure5(arrays)["Ridge"].chosen
    assert found["adaptive_pearson_chosen"].mean == pytest.approx(np.nanmean(chosen))
    assert found["adaptive_pearson_chosen"].count == 24
    # The conformal rule never does better than the better of the two, target by target.
    both = np.fmax(arrays["Ridge/pearson"], arrays["Baseline/pearson"])
    assert found["adaptive_pearson_uncertainty"].mean <= np.nanmean(both) + 1e-6
