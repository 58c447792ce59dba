"""Intervals for answers to new questions: their coverage on simulated panels, and their units."""

import functools
from typing import Any

import numpy as np
import pytest

from syndigits_jax.calibration import Ridge, calibrate_question
from syndigits_jax.datasets import simulate_panel
from syndigits_jax.estimation import question_intervals
from syndigits_jax.inference import hierarchical_jackknife_plus

USERS, KNOWN, NEW = 20, 20, 5
PANELS = {"split": 40, "jackknife+": 24}
KINDS = ("split", "jackknife+")
METHOD = Ridge(5.0)


def survey(seed: int, sizes=None):
    """People's answers to the known and to the new questions, and the twins' to all of them."""
    options: dict[str, Any] = {"noise": 0.5, "twin_noise": 0.3, "fidelity": 0.7, "bias_spread": 0.5}
    options |= {"missing": 0.1, "twin_missing": 0.1}
    panel, _ = simulate_panel(USERS, KNOWN + NEW, 2, key=seed, **options)
    sizes = np.ones(KNOWN + NEW) if sizes is None else sizes
    human, twin = panel.human * sizes, panel.twin * sizes
    return human[:, :KNOWN], twin, human[:, KNOWN:]


def inside(interval, truth):
    """Share of the observed answers that are inside, per question."""
    held = (truth >= np.asarray(interval.lower)) & (truth <= np.asarray(interval.upper))
    return np.nanmean(np.where(np.isnan(truth), np.nan, held), axis=0)


@functools.cache
def coverage(kind: str, alpha: float):
    """(panels, new questions): share of answers inside, where questions have units of their own."""
    shares = []
    for seed in range(PANELS[kind]):
        sizes = 10.0 ** np.random.default_rng(seed).uniform(-1, 1, KNOWN + NEW)
        human, twin, truth = survey(seed, sizes)
        _, interval = question_intervals(METHOD, human, twin, alpha=alpha, kind=kind)
        shares.append(inside(interval, truth))
    return np.array(shares)


@pytest.mark.parametrize("kind", KINDS)
def test_coverage_over_simulated_panels(kind):
    """At least 1 - alpha, and at most by one scored question more; panels are independent."""
    per_panel = coverage(kind, 0.3).mean(axis=1)
    error = per_panel.std() / np.sqrt(PANELS[kind])
    assert error < 0.05
    scored = KNOWN // 2 if kind == "split" else KNOWN
    assert per_panel.mean() > 0.7 - 2.5 * error
    assert per_panel.mean() < 0.7 + 1 / (scored + 1) + 2.5 * error


@pytest.mark.parametrize("kind", KINDS)
def test_intervals_are_in_the_units_of_the_question(kind):
    sizes = np.geomspace(0.1, 10, KNOWN + NEW)
    human, twin, _ = survey(0)
    scaled_human, scaled_twin, _ = survey(0, sizes)
    _, plain = question_intervals(METHOD, human, twin, alpha=0.3, kind=kind)
    _, scaled = question_intervals(METHOD, scaled_human, scaled_twin, alpha=0.3, kind=kind)
    for one, other in ((plain.lower, scaled.lower), (plain.upper, scaled.upper)):
        np.testing.assert_allclose(sizes[KNOWN:] * np.asarray(one), other, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_more_caution_is_wider_and_too_much_is_infinite(kind):
    human, twin, _ = survey(1)
    widths = []
    for alpha in (0.5, 0.2, 0.01):
        prediction, interval = question_intervals(METHOD, human, twin, alpha=alpha, kind=kind)
        assert prediction.shape == interval.lower.shape == (USERS, NEW)
        widths.append(np.asarray(interval.half_width))
    assert np.all(widths[0] < widths[1])
    assert np.all(np.isinf(widths[2]))


def test_the_new_questions_are_predicted_one_by_one():
    human, twin, _ = survey(2)
    prediction, interval = question_intervals(METHOD, human, twin, alpha=0.3, kind="jackknife+")
    middle = (np.asarray(interval.lower) + np.asarray(interval.upper)) / 2
    assert np.abs(middle - prediction).max() < 0.5 * np.asarray(interval.half_width).min()


def test_the_jackknife_is_a_fit_without_each_question():
    """In batches, one of which is not full; a question without twins is not left out."""
    human, twin, _ = survey(4)
    twin[:, 4] = np.nan
    weight = np.linspace(0.5, 2, USERS)
    _, interval = question_intervals(
        METHOD, human, twin, alpha=0.3, kind="jackknife+", sample_weight=weight
    )
    scale = np.nanstd(np.where(np.arange(KNOWN + NEW) == 4, 0, twin), axis=0)
    residuals, without = [], []
    for j in np.delete(np.arange(KNOWN), 4):
        rest = np.delete(np.arange(KNOWN), j)
        columns = np.concatenate([rest, [j], np.arange(KNOWN, KNOWN + NEW)])
        found = calibrate_question(METHOD, human[:, rest], twin[:, columns], sample_weight=weight)
        predicted = np.asarray(found.prediction)
        residuals.append(np.abs(human[:, j] - predicted[:, 0]) / scale[j])
        without.append(predicted[:, 1:])
    residuals, mask = np.nan_to_num(residuals), ~np.isnan(residuals)
    for k in range(NEW):
        fits = np.array([each[:, k] for each in without])
        expected = hierarchical_jackknife_plus(fits, residuals, mask, scale[KNOWN + k], 0.3)
        np.testing.assert_allclose(interval.lower[:, k], expected.lower, atol=1e-4)
        np.testing.assert_allclose(interval.upper[:, k], expected.upper, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_twins_that_agree_leave_finite_intervals(kind):
    human, twin, _ = survey(3)
    twin[:, [2, -1]] = 1.0
    twin[:, 4] = np.nan  # a known question that no twin answered cannot be held out
    _, interval = question_intervals(METHOD, human, twin, alpha=0.3, kind=kind)
    assert np.isfinite(interval.half_width).all() and np.all(interval.half_width > 0)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"alpha": 0.0}, "`alpha` must lie strictly between"),
        ({"kind": "full"}, "kind must be"),
        ({"human": np.ones((USERS, KNOWN + NEW))}, "at least one new question"),
        ({"human": np.ones((USERS, 3))}, "at least 4 are needed"),
    ],
)
def test_bad_arguments(change, message):
    human, twin, _ = survey(0)
    arguments: dict[str, Any] = {"method": METHOD, "human": human, "twin": twin} | change
    with pytest.raises(ValueError, match=message):
        question_intervals(**arguments)
