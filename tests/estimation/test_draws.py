"""Draws: they restore the spread of the real population without the target's own answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import ks_2samp

from syndigits_jax.estimation.draws import (
    calibrated_draws,
    draw_answers,
    evaluate_draws,
    positions,
    residual_pool,
    residual_scale,
)
from syndigits_jax.evaluation import HoldOut
from syndigits_jax.panel import Panel
from syndigits_jax.schema import Scale

QUESTIONS, USERS = 24, 120


def made_up_holdout(seed=0, *, shrink=0.4, ordinal=False, unequal=False) -> HoldOut:
    """Predictions that are too flat, with an offset per question and questions of unequal units."""
    rng = np.random.default_rng(seed)
    unit = rng.uniform(0.5, 5, (QUESTIONS, 1)) if unequal else np.ones((QUESTIONS, 1))
    signal = 0.8 * rng.normal(size=(QUESTIONS, USERS))
    level = 3 + 0.3 * rng.normal(size=(QUESTIONS, 1))
    truth = unit * (level + signal + 0.7 * rng.normal(size=signal.shape))
    prediction = unit * (3 + shrink * signal)
    twin = unit * (3.2 + 0.5 * signal + 0.3 * rng.normal(size=signal.shape))
    scale = None
    if ordinal:
        scale = Scale(1.0, 5.0, 1.0)
        truth, twin = scale.nearest(truth), scale.nearest(twin)
    truth[rng.random(truth.shape) < 0.1] = np.nan
    panel = Panel.from_arrays(truth.T, twin.T, scale=scale)
    return HoldOut("question", panel, np.arange(QUESTIONS), truth, {"Method": prediction})


@pytest.mark.parametrize("options", [{}, {"unequal": True}, {"ordinal": True}])
def test_draws_are_as_varied_as_people_and_score_better_than_certainty(options):
    result = evaluate_draws(made_up_holdout(**options), "Method", key=jax.random.key(0))
    ratio = {name: np.mean(values) for name, values in result.sd_ratio.items()}
    assert abs(ratio["Draws"] - 1) < 0.1
    assert ratio["Point"] < 0.5
    assert np.mean(result.crps["Draws"]) < 0.8 * np.mean(result.crps["Point"])
    assert np.mean(result.crps["Draws"]) < np.mean(result.crps["Twins"])
    # Nearly every question by itself, not only on average.
    assert np.mean(np.abs(result.sd_ratio["Draws"] - 1) < 0.25) > 0.9
    rows = {(row["prediction"], row["metric"]): row for row in result.summary()}
    assert rows["Draws", "sd_ratio"]["mean"] == pytest.approx(ratio["Draws"], rel=1e-5)
    assert rows["Twins", "crps"]["count"] == QUESTIONS


def test_the_targets_own_answers_do_not_shape_its_draws():
    """The score of question 0 changes with its truth, the draws behind it do not."""
    holdout = made_up_holdout()
    scaled = holdout.truth.copy()
    scaled[0] = 3 + 100 * (scaled[0] - 3)
    other = HoldOut("question", holdout.panel, holdout.targets, scaled, holdout.predictions)
    before = evaluate_draws(holdout, "Method", num_draws=20, key=jax.random.key(1))
    after = evaluate_draws(other, "Method", num_draws=20, key=jax.random.key(1))
    # sd(draws) / sd(truth): a hundred times the truth's spread is a hundredth of the ratio.
    assert after.sd_ratio["Draws"][0] == pytest.approx(before.sd_ratio["Draws"][0] / 100, rel=1e-4)


def test_draws_of_a_new_question_follow_its_distribution():
    """The last question is new: its draws come from the hold-out of the others."""
    holdout = made_up_holdout(unequal=True)
    known = HoldOut(
        "question",
        holdout.panel.take(questions=slice(0, -1)),
        holdout.targets[:-1],
        holdout.truth[:-1],
        {"Method": holdout.predictions["Method"][:-1]},
    )
    twin = holdout.panel.twin[:, -1]
    prediction = holdout.predictions["Method"][-1]
    args = (prediction, twin, known, "Method")
    draws = np.asarray(draw_answers(*args, key=jax.random.key(2), num_draws=50))
    truth = holdout.truth[-1]
    truth = truth[~np.isnan(truth)]
    assert draws.shape == (50, USERS)
    # The level of a question is uncertain; the shape about it is not.
    centred = (draws - draws.mean(axis=1, keepdims=True)).ravel()
    assert ks_2samp(centred, truth - truth.mean()).statistic < 0.12
    assert ks_2samp(prediction - prediction.mean(), truth - truth.mean()).statistic > 0.2
    offsets = np.nanmean(holdout.truth - holdout.predictions["Method"], axis=1)[:-1]
    assert draws.mean(axis=1).std() > 0.3 * offsets.std()


def test_draws_stay_on_the_scale(dtype):
    key = jax.random.key(3)
    prediction = jnp.asarray([1.2, 3.0, 4.9], dtype)
    draws = calibrated_draws(prediction, 2.0, 400, low=1.0, high=5.0, step=0.5, key=key)
    assert draws.dtype == dtype and draws.shape == (400, 3)
    assert set(np.unique(draws)) <= set(np.arange(1, 5.5, 0.5))
    unknown = calibrated_draws(
        prediction, 2.0, 400, low=jnp.nan, high=jnp.nan, step=jnp.nan, key=key
    )
    assert float(jnp.max(unknown)) > 5 and len(np.unique(unknown)) > 1000


def test_normal_draws_have_the_given_deviation():
    deviation = jnp.asarray([0.5, 2.0])
    draws = calibrated_draws(jnp.asarray([1.0, -1.0]), deviation, 20_000, key=jax.random.key(4))
    np.testing.assert_allclose(draws.std(axis=0), deviation, rtol=0.03)
    np.testing.assert_allclose(draws.mean(axis=0), [1.0, -1.0], atol=0.05)


def test_residuals_come_from_people_with_a_similar_prediction():
    """Residuals that depend on the prediction: certain at one end, scattered at the other."""
    rng = np.random.default_rng(5)
    prediction = rng.uniform(0, 1, (10, 200))
    truth = prediction + prediction * rng.normal(size=prediction.shape)
    scale = np.ones(10)
    place = positions(prediction, scale, np.zeros(10), np.ones(10))
    pool = residual_pool(prediction, truth, scale, place)
    ends = jnp.asarray([0.05, 0.95])
    draws = calibrated_draws(ends, pool, 3000, position=ends, window=0.1, key=jax.random.key(5))
    spread = np.asarray(draws).std(axis=0)
    assert spread[0] < 0.25 and 0.7 < spread[1] < 1.2


def test_a_pool_ignores_what_is_missing():
    holdout = made_up_holdout()
    prediction, truth = holdout.predictions["Method"].copy(), holdout.truth.copy()
    truth[3], prediction[4, :5] = np.nan, np.nan
    scale, nothing = np.ones(QUESTIONS), np.full(QUESTIONS, np.nan)
    pool = residual_pool(prediction, truth, scale, positions(prediction, scale, nothing, nothing))
    assert int(pool.questions) == QUESTIONS - 1
    residual = truth - prediction
    assert int(pool.cells) == np.sum(~np.isnan(residual))
    keep = np.delete(np.arange(QUESTIONS), 3)
    np.testing.assert_allclose(pool.offset[:-1], np.nanmean(residual[keep], axis=1), atol=1e-5)
    assert np.all(np.diff(pool.position[: int(pool.cells)]) >= 0)
    within = residual[keep] - np.nanmean(residual[keep], axis=1, keepdims=True)
    expected = np.sort(within[~np.isnan(within)])
    np.testing.assert_allclose(np.sort(pool.within[: int(pool.cells)]), expected, atol=1e-5)


def test_the_scale_of_residuals_follows_the_answer_range():
    """Answers from 0 to 100 err more than answers from 1 to 5; new questions get their share."""
    rng = np.random.default_rng(6)
    high = np.where(np.arange(20) % 2, 100.0, 5.0)
    low = np.where(np.arange(20) % 2, 0.0, 1.0)
    error = 0.2 * (high - low) * np.exp(0.1 * rng.normal(size=20))
    twin = low[:, None] + (high - low)[:, None] * rng.uniform(size=(20, 30))
    hidden = np.where(np.arange(20) < 2, np.nan, error)
    scale = residual_scale(hidden, twin, low, high)
    np.testing.assert_allclose(scale, 0.2 * (high - low), rtol=0.3)
    # Unknown ranges: the twins' stand in.
    nothing = np.full(20, np.nan)
    np.testing.assert_allclose(residual_scale(hidden, twin, nothing, nothing), scale, rtol=0.3)
    # A constant twin column says nothing and breaks nothing.
    twin[1] = 3.0
    assert np.all(np.isfinite(residual_scale(hidden, twin, nothing, nothing)))


def test_bad_arguments_are_named():
    holdout = made_up_holdout()
    key, prediction = jax.random.key(0), jnp.zeros(3)
    with pytest.raises(ValueError, match="num_draws"):
        calibrated_draws(prediction, 1.0, 0, key=key)
    with pytest.raises(ValueError, match="window"):
        calibrated_draws(prediction, 1.0, 5, window=0.0, key=key)
    with pytest.raises(ValueError, match="no predictions called 'Other'"):
        evaluate_draws(holdout, "Other", key=key)
    with pytest.raises(ValueError, match="error"):
        residual_scale(np.full(3, np.nan), np.ones((3, 4)), np.zeros(3), np.ones(3))
    users = HoldOut("user", holdout.panel, holdout.targets, holdout.truth, holdout.predictions)
    with pytest.raises(ValueError, match="new questions"):
        evaluate_draws(users, "Method", key=key)
    one = HoldOut(
        "question",
        holdout.panel,
        holdout.targets[:1],
        holdout.truth[:1],
        {"Method": holdout.predictions["Method"][:1]},
    )
    with pytest.raises(ValueError, match="residuals of another"):
        evaluate_draws(one, "Method", key=key)


def test_questions_do_not_share_their_draws():
    """Of two questions that are one and the same, the scores differ by chance alone, but differ."""
    usual = made_up_holdout()
    twice = np.r_[0, 0, 2:QUESTIONS]
    panel = Panel.from_arrays(usual.panel.human[:, twice], usual.panel.twin[:, twice])
    prediction = {"Method": usual.predictions["Method"][twice]}
    holdout = HoldOut("question", panel, usual.targets, usual.truth[twice], prediction)
    crps = evaluate_draws(holdout, "Method", num_draws=20, key=jax.random.key(0)).crps
    assert crps["Point"][0] == pytest.approx(crps["Point"][1], rel=1e-6)
    assert 1e-3 < abs(crps["Draws"][0] / crps["Draws"][1] - 1) < 0.5
