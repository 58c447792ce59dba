"""Reliability diagrams against scikit-learn's curves, and calibration errors against a loop."""

import jax
import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from syndigits_jax.evaluation import expected_calibration_error, reliability

N, K, BINS = 300, 3, 8


@pytest.fixture(scope="module")
def forecasts():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(K), N)
    sharper = p**1.5 / np.sum(p**1.5, axis=1, keepdims=True)
    y = np.array([rng.choice(K, p=row) for row in p]).astype(float)
    return sharper, y


def events_of(p, y, events):
    hit = np.arange(K)[None] == y[:, None]
    if events == "all":
        return p.ravel(), hit.ravel()
    if events == "top":
        return p.max(axis=1), hit[np.arange(N), p.argmax(axis=1)]
    return p[:, events], hit[:, events]


@pytest.mark.parametrize("events", ["all", "top", 1])
@pytest.mark.parametrize(("by", "strategy"), [("width", "uniform"), ("mass", "quantile")])
def test_diagrams_are_those_of_scikit_learn(forecasts, events, by, strategy):
    p, y = forecasts
    forecast, hit = events_of(p.astype(np.float32), y, events)
    frequency, mean = calibration_curve(hit, forecast, n_bins=BINS, strategy=strategy)
    got = reliability(p, y, events=events, bins=BINS, by=by)
    some = np.asarray(got.share) > 0
    np.testing.assert_allclose(got.forecast[some], mean, rtol=1e-3)
    np.testing.assert_allclose(got.frequency[some], frequency, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(np.sum(got.share), 1, rtol=1e-5)


def test_the_error_is_the_weighted_gap_of_the_bins(forecasts):
    p, y = forecasts
    weight = np.random.default_rng(1).uniform(0.5, 2, N)
    forecast, hit = events_of(p, y, "top")
    place = np.clip(np.ceil(forecast * BINS).astype(int) - 1, 0, BINS - 1)
    want = 0.0
    for b in range(BINS):
        w = weight * (place == b)
        if w.sum() > 0:
            want += abs(np.sum(w * (forecast - hit))) / weight.sum()
    got = expected_calibration_error(p, y, events="top", bins=BINS, sample_weight=weight)
    np.testing.assert_allclose(got, want, rtol=1e-4)
    compiled = jax.jit(lambda a, b: expected_calibration_error(a, b, bins=BINS))
    want = expected_calibration_error(p, y, bins=BINS)
    np.testing.assert_allclose(compiled(p, y), want, rtol=1e-5)


def test_true_probabilities_have_almost_no_error_and_sharpened_ones_do():
    rng = np.random.default_rng(2)
    p = rng.dirichlet(np.ones(2), 20_000)
    y = (rng.uniform(size=20_000) < p[:, 1]).astype(float)
    sharper = p**3 / np.sum(p**3, axis=1, keepdims=True)
    assert expected_calibration_error(p, y) < 0.015
    assert expected_calibration_error(sharper, y) > 0.08


def test_standard_errors_are_binomial():
    p = np.tile([0.7, 0.3], (50, 1))
    y = np.array([0.0] * 30 + [1.0] * 20)
    diagram = reliability(p, y, events=0, bins=1)
    np.testing.assert_allclose(diagram.error, [np.sqrt(0.6 * 0.4 / 50)], rtol=1e-5)
    np.testing.assert_allclose(diagram.calibration_error, 0.1, rtol=1e-5)


def test_empty_bins_and_no_events():
    diagram = reliability([[0.9, 0.1]], [0], events="top", bins=4)
    assert np.isnan(diagram.forecast[:3]).all()
    np.testing.assert_allclose(diagram.forecast[3], 0.9, rtol=1e-6)
    assert np.isnan(expected_calibration_error([[0.9, 0.1]], [np.nan]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bins": 0}, "`bins` must be at least 1"),
        ({"by": "area"}, "`by` must be 'width' or 'mass'"),
        ({"events": 2}, "an option from 0 to 1"),
        ({"events": "some"}, "`events` must be 'all', 'top'"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises((ValueError), match=message):
        reliability([[0.5, 0.5]], [0], **options)
