"""Choosing a threshold of the training error: by brute force, and what it may depend on."""

import functools

import numpy as np
import pytest
from kinds_of_twins import twins_of_kind

from syndigits_jax.calibration import Ridge, calibrate_question
from syndigits_jax.evaluation import choose_threshold
from syndigits_jax.workflows.calibrate import calibrate_panel

KNOWN, NEW = 8, 2
METHOD = Ridge(20.0)
BLOCKS = ["a", "a", "b", "b", "c", "c", "d", "d"]


def panel():
    """Eight known questions and two new ones; the twins of every other question are noise."""
    good, noise = (twins_of_kind(kind, 0) for kind in ("informative", "useless"))
    odd = np.arange(good.m) % 2 == 1
    mixed = good.replace(twin=np.where(odd, noise.twin, good.twin))
    return mixed.take(slice(0, 60), slice(0, KNOWN + NEW))


PANEL = panel()
HUMAN, TWIN = PANEL.human[:, :KNOWN], PANEL.twin


@functools.cache
def chosen(blocks=None, metric="mse"):
    return choose_threshold(METHOD, HUMAN, TWIN, blocks=blocks, metric=metric)


def by_hand(groups, metric):
    """Training errors and the errors of both predictions, question by question, in NumPy."""
    rows = []
    for j in range(KNOWN):
        rest = [k for k in range(KNOWN) if groups[k] != groups[j]]
        found = calibrate_question(METHOD, HUMAN[:, rest], TWIN[:, [*rest, j]])
        truth = HUMAN[:, j]
        errors = [float(found.training_mse[0])]
        for prediction in (np.asarray(found.prediction)[:, 0], TWIN[:, j]):
            if metric == "mse":
                errors.append(np.mean((prediction - truth) ** 2) / np.var(truth))
            else:
                errors.append(1 - np.corrcoef(prediction, truth)[0, 1])
        rows.append(errors)
    return np.array(rows).T


@pytest.mark.parametrize("blocks, metric", [(None, "mse"), (None, "pearson"), (BLOCKS, "mse")])
def test_errors_are_those_of_questions_left_out(blocks, metric):
    choice = chosen(None if blocks is None else tuple(blocks), metric)
    training, calibrated, own = by_hand(range(KNOWN) if blocks is None else blocks, metric)
    np.testing.assert_allclose(choice.training_mse, training, rtol=1e-4)
    np.testing.assert_allclose(choice.calibrated, calibrated, rtol=1e-3)
    np.testing.assert_allclose(choice.twin, own, rtol=1e-3)
    # From never to always, one candidate for every decision.
    assert choice.thresholds[0] == -np.inf and choice.thresholds[-1] == np.inf
    assert len(choice.thresholds) == KNOWN + 1
    for threshold, error in zip(choice.thresholds, choice.error, strict=True):
        used = np.where(training <= threshold, calibrated, own)
        assert error == pytest.approx(used.mean(), rel=1e-3)
    assert choice.best == choice.thresholds[np.argmin(choice.error)]


def test_twins_that_are_the_people_are_kept_and_noisy_ones_never():
    equal = twins_of_kind("equal", 0).take(None, slice(0, KNOWN))
    assert choose_threshold(METHOD, equal.human, equal.human).best == -np.inf
    rng = np.random.default_rng(0)
    noisy = equal.human + rng.normal(scale=4, size=equal.human.shape)
    assert choose_threshold(METHOD, equal.human, noisy).best == np.inf


def test_answers_to_the_new_questions_choose_nothing():
    rng = np.random.default_rng(1)
    answers = PANEL.human.copy()
    answers[:, KNOWN:] = np.nan
    answers[:20, KNOWN:] = PANEL.human[:20, KNOWN:]
    noisy = answers.copy()
    noisy[:20, KNOWN:] = rng.integers(1, 8, (20, NEW))
    names = PANEL.questions[KNOWN:]
    blocks = [*BLOCKS, "d", "new"]
    found = [
        calibrate_panel(
            PANEL.replace(human=human, blocks=blocks), METHOD, "question", names, threshold="auto"
        )
        for human in (answers, noisy)
    ]
    one, other = (result.report for result in found)
    np.testing.assert_array_equal(one["threshold"], other["threshold"])
    # The second target is of a new survey, for which whole blocks are left out.
    assert one["threshold"].tolist() == [chosen().best, chosen(tuple(BLOCKS)).best]
    np.testing.assert_array_equal(one["transferred"], one["training_mse"] <= one["threshold"])
    assert np.any(found[0].predictions != found[1].predictions)


def test_weights_of_0_take_people_out():
    weight = np.where(np.arange(60) < 50, 1.0, 0.0)
    other = HUMAN.copy()
    other[50:] = 8 - other[50:]
    one, two = (
        choose_threshold(METHOD, human, TWIN, sample_weight=weight) for human in (HUMAN, other)
    )
    np.testing.assert_array_equal(one.calibrated, two.calibrated)
    np.testing.assert_array_equal(one.twin, two.twin)
    assert np.any(one.calibrated != chosen().calibrated)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"human": HUMAN[:, :2], "twin": TWIN[:, :2]}, "at least 3 known questions"),
        ({"metric": "r2"}, "`metric`"),
        ({"blocks": ["a"] * KNOWN}, "at least two blocks"),
        ({"blocks": ["a"] * (KNOWN - 1) + ["b"]}, "outside the largest block are 1 known"),
        ({"blocks": ["a"]}, "`blocks` must name the block of each of the 8 questions"),
        ({"human": np.ones_like(HUMAN)}, "no known question can be judged"),
    ],
)
def test_bad_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        choose_threshold(**({"method": METHOD, "human": HUMAN, "twin": TWIN} | change))


def test_new_users_have_no_automatic_threshold():
    with pytest.raises(ValueError, match="for new questions, not new users"):
        calibrate_panel(PANEL, METHOD, "user", PANEL.users[:2], threshold="auto")
