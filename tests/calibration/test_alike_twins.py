"""Targets that all twins answer alike: no training error, and no transfer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from engine import CALIBRATE, DIRECTIONS, SETTINGS, calibrate, data, known, new
from small_panels import METHODS, QUESTIONS, USERS, small_panel

from syndigits_jax.calibration import (
    Ridge,
    Settings,
    SyntheticControl,
    calibrate_question,
    calibrate_user,
)
from syndigits_jax.evaluation import (
    adaptive_transfer,
    choose_penalty,
    leave_one_question_out,
    leave_one_user_out,
    tune_penalty,
)
from syndigits_jax.evaluation.adaptive import constant_rows, local_uncertainty_rule
from syndigits_jax.evaluation.metrics import METRICS, score_targets

every_method = pytest.mark.parametrize("name", METHODS)
FLOAT = np.dtype(jnp.result_type(float))  # in which calibrations are made
EPS = np.finfo(FLOAT).eps
REFERENCE = Settings.reference().change(imputation={"max_steps": 2})


def rounded(size):
    """3.3 after arithmetic in the precision of calibrations."""
    return FLOAT.type(3.3) * (1 + EPS * np.random.default_rng(0).integers(-2, 3, size))


def last(answers, *, values=3.3, keep=None):
    """The last question's twins all answer `values`; only those in `keep` answer."""
    answers = answers.copy()
    column = np.broadcast_to(np.asarray(values, float), answers.shape[:1]).copy()
    if keep is not None:
        column[np.setdiff1d(np.arange(len(column)), keep)] = np.nan
    answers[:, -1] = column
    return answers


QUESTION_KINDS = {
    "exactly": lambda twin: last(twin),
    "up to rounding": lambda twin: last(twin, values=rounded(len(twin))),
    "zero": lambda twin: last(twin, values=0.0),
    "among those observed": lambda twin: last(twin, keep=np.arange(0, USERS, 3)),
    "a single one": lambda twin: last(twin, keep=[4]),
}


def checked(direction, result, twin):
    """The last target is unknown and reverts, the one before it is what it was."""
    assert np.isnan(result.training_mse[-1]) and np.isfinite(result.training_mse[0])
    np.testing.assert_array_equal(result.twins_alike, [False, True])
    np.testing.assert_array_equal(result.transferred, [True, False])
    prediction, own = (
        x[:, -1] if direction == "question" else x[-1]
        for x in (np.asarray(result.prediction), np.asarray(new(direction, twin)))
    )
    answered = ~np.isnan(own)
    np.testing.assert_allclose(prediction[answered], own[answered], rtol=1e-6)
    assert np.isfinite(prediction).all() and np.isfinite(result.prediction).all()


@every_method
@pytest.mark.parametrize("kind", QUESTION_KINDS)
def test_a_question_that_all_twins_answer_alike(kind, name):
    human, twin = data()
    twin = QUESTION_KINDS[kind](twin)
    checked("question", calibrate("question", name, human, twin, threshold=np.inf), twin)


@every_method
def test_alike_among_users_of_positive_weight(name):
    human, twin = data()
    twin = last(twin)
    twin[:4, -1] = [1.0, 2.0, 5.0, 4.0]
    weight = np.r_[np.zeros(4), np.ones(USERS - 4)]
    result = calibrate("question", name, human, twin, weight=weight, threshold=np.inf)
    checked("question", result, twin)
    spread = calibrate("question", name, human, twin, threshold=np.inf)
    assert np.isfinite(spread.training_mse).all() and spread.transferred.all()


def straight_lined(twin):
    twin = twin.copy()
    twin[-1] = 3.0
    return twin


def average(twin):
    """Alike once every question is scaled: the other twins' mean answer to each."""
    twin = np.where(np.isnan(twin), 3.0, twin)
    twin[-1] = twin[:-2].mean(axis=0)
    return twin


def one_answer(twin):
    twin = twin.copy()
    twin[-1, 1:] = np.nan
    twin[-1, 0] = 2.0
    return twin


@every_method
@pytest.mark.parametrize("change", [straight_lined, average, one_answer])
def test_a_new_user_whose_twin_answers_everything_alike(change, name):
    human, twin = data()
    if change is average and name not in list(METHODS)[:6]:
        pytest.skip("completions scale twins with the new users among them")
    twin = change(twin)
    checked("user", calibrate("user", name, human, twin, threshold=np.inf), twin)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_without_a_threshold_the_calibrated_prediction_stays(direction):
    human, twin = data()
    twin = last(twin) if direction == "question" else straight_lined(twin)
    result = CALIBRATE[direction](Ridge(1.0), known(direction, human), twin, settings=SETTINGS)
    assert result.transferred.all() and np.isnan(result.training_mse[-1])


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1e30, np.inf])
def test_no_threshold_is_passed(threshold):
    human, twin = data()
    result = calibrate("question", "Ridge", human, last(twin), threshold=threshold)
    assert not result.transferred[-1]


@pytest.mark.parametrize("name", ["Ridge", "SoftImpute"])
def test_the_published_error_stays_in_the_reference_settings(name):
    human, twin = data(missing=0.0)
    result = calibrate("question", name, human, last(twin), threshold=10.0, settings=REFERENCE)
    assert result.training_mse[-1] < 1e-10 and result.transferred[-1]
    np.testing.assert_array_equal(result.twins_alike, [False, True])


def test_many_twins_do_not_differ_by_the_rounding_of_their_mean():
    """The mean of so many equal numbers is off by more than their own rounding."""
    rng = np.random.default_rng(0)
    human, twin = rng.normal(size=(200_000, 2)), rng.normal(size=(200_000, 3))
    twin[:, -1] = np.float32(1234.567)
    result = calibrate_question(Ridge(1.0), human, twin, threshold=1.0)
    assert result.twins_alike.all() and np.isnan(result.training_mse).all()
    for name, metric in METRICS.items():
        if name == "accuracy":
            continue
        constant = jnp.asarray(twin[:, -1], jnp.float32)
        other = jnp.asarray(twin[:, 0], jnp.float32)
        every = jnp.ones(constant.shape, bool)
        if name in ("pearson", "spearman"):
            assert metric(constant, other, every) == metric(other, constant, every) == 0
        if name == "sd_ratio":
            assert metric(constant, other, every) == 0
        if name in ("sd_ratio", "r2"):
            assert np.isnan(metric(other, constant, every))


def test_known_answers_still_count_without_a_threshold():
    """Few-shot: known answers are used although the twins carry no information."""
    human, twin = data(missing=0.0)
    observed = np.full((USERS, 2), np.nan)
    observed[:12, -1] = 1.0
    plain = calibrate("question", "Ridge", human, last(twin))
    result = CALIBRATE["question"](
        METHODS["Ridge"], known("question", human), last(twin), observed=observed
    )
    assert np.isnan(result.training_mse[-1])
    assert np.mean(result.prediction[:, -1]) < np.mean(plain.prediction[:, -1]) - 1


# --- evaluation ----------------------------------------------------------------------------------

FEW = {name: METHODS[name] for name in ("Ridge", "SyntheticControl", "SoftImpute")}


def held_out(direction, **options):
    panel = small_panel()
    twin = panel.twin.copy()
    (twin.T if direction == "question" else twin)[3] = 3.0
    run = leave_one_question_out if direction == "question" else leave_one_user_out
    return run(FEW, panel.replace(twin=twin), targets=[2, 3, 5, 6], workers=1, **options)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_hold_outs_count_targets_whose_twins_are_alike(direction):
    result = held_out(direction)
    np.testing.assert_array_equal(result.twins_alike, [False, True, False, False])
    for name in FEW:
        np.testing.assert_array_equal(np.isnan(result.training_mse[name]), result.twins_alike)
        rows = {row["method"]: row for row in result.summary("training_mse")}
        assert rows[name]["count"] == 3 and rows[name]["left_out"] == 1
        assert rows[name]["mean"] == pytest.approx(np.nanmean(result.training_mse[name]), rel=1e-6)
    assert all(row["left_out"] == 0 for row in result.summary("mse"))
    assert {row["method"] for row in result.summary("training_mse")} == set(FEW)
    published = held_out(direction, settings=REFERENCE)
    np.testing.assert_array_equal(published.twins_alike, result.twins_alike)
    assert all(np.isfinite(published.training_mse[name]).all() for name in FEW)


def test_adaptive_transfer_never_transfers_them():
    result = held_out("question")
    got = adaptive_transfer(result, "Ridge")
    assert got.constant.tolist() == [False, True, False, False]
    assert not got.threshold.transferred[1] and not got.uncertainty.transferred[1]
    assert int(got.curve.summary.count[-1]) == 4 and float(got.curve.share[-1]) == 0.75
    assert constant_rows(np.stack([rounded(9), np.arange(9.0)])).tolist() == [True, False]


def test_a_target_of_unknown_difficulty_teaches_and_transfers_nothing():
    rng = np.random.default_rng(1)
    calibrated, baseline, difficulty = rng.exponential(size=(3, 12)) * [[0.2], [1.0], [1.0]]
    difficulty[4] = np.nan
    got = local_uncertainty_rule(calibrated, baseline, difficulty)
    rest = np.arange(12) != 4
    without = local_uncertainty_rule(
        *(np.delete(a, 4) for a in (calibrated, baseline, difficulty)), bandwidth=0.1
    )
    assert not got.transferred[4] and got.transferred[rest].any()
    np.testing.assert_allclose(got.calibrated_bound[rest], without.calibrated_bound, rtol=1e-4)
    np.testing.assert_allclose(got.baseline_bound[rest], without.baseline_bound, rtol=1e-4)


GRID = [0.01, 1.0, 100.0]


@pytest.mark.parametrize("method", [Ridge(), SyntheticControl()])
@pytest.mark.parametrize("values", [3.0, rounded(USERS)])
def test_a_question_that_twins_answer_alike_decides_no_penalty(method, values):
    human, twin = data()
    human = known("question", human)
    alone = choose_penalty(method, human, twin[:, :-1], GRID, settings=SETTINGS)
    both = choose_penalty(method, human, last(twin, values=values), GRID, settings=SETTINGS)
    assert np.isnan(both.by_question[:, 1]).all()
    np.testing.assert_allclose(both.error, alone.error, rtol=1e-5)
    np.testing.assert_allclose(both.se, alone.se, rtol=1e-4)
    assert both.best.penalty == alone.best.penalty
    with pytest.raises(ValueError, match="no question's answers vary"):
        choose_penalty(method, human, last(twin)[:, [*range(8), -1]], GRID, settings=SETTINGS)
    path = tune_penalty(Ridge(), human, last(twin, values=values), steps=3, settings=SETTINGS)
    same = tune_penalty(Ridge(), human, twin[:, :-1], steps=3, settings=SETTINGS)
    np.testing.assert_allclose(path.penalties["penalty"], same.penalties["penalty"], rtol=1e-5)


def test_nor_does_a_known_question_whose_twins_are_alike():
    human, twin = data(missing=0.0)
    twin[:, 1] = 3.0
    choice = choose_penalty(
        SyntheticControl(), human, twin, GRID, judge="questions", settings=SETTINGS
    )
    assert np.isnan(choice.by_question[:, 1]).all()
    assert np.isfinite(np.delete(np.asarray(choice.by_question), 1, axis=1)).all()


def test_scores_of_constant_predictions():
    truth = np.random.default_rng(2).normal(size=(2, 9))
    prediction = np.stack([rounded(9), truth[1]])
    assert score_targets("pearson", prediction, truth)[0] == 0
    assert score_targets("spearman", prediction, truth)[0] == 0
    assert score_targets("sd_ratio", prediction, truth)[0] == 0
    assert np.isnan(score_targets("r2", truth, prediction)[0])


# --- donors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["human", "twin"])
@pytest.mark.parametrize("values", [4.0, rounded(USERS)])
@every_method
def test_a_constant_donor_changes_nothing(name, values, side):
    """Missing answers to it are imputed as that constant, not as noise to be scaled up."""
    human, twin = data()
    answers = human if side == "human" else twin
    answers[~np.isnan(answers[:, 2]), 2] = np.broadcast_to(values, USERS)[~np.isnan(answers[:, 2])]
    result = calibrate("question", name, human, twin)
    assert np.isfinite(result.prediction).all() and np.isfinite(result.training_mse).all()
    filled = answers.copy()
    filled[:, 2] = 4.0
    pair = (filled, twin) if side == "human" else (human, filled)
    complete = calibrate("question", name, *pair)
    if name in list(METHODS)[:6] and side == "twin":
        np.testing.assert_allclose(result.prediction, complete.prediction, atol=2e-3)


def test_users_whose_donors_are_constant():
    human, twin = data()
    twin[2] = 3.0
    human[3] = 2.0
    for name in ("Ridge", "Lasso", "SoftImpute"):
        result = calibrate("user", name, human, twin)
        assert np.isfinite(result.prediction).all() and np.isfinite(result.training_mse).all()


def test_gradients_pass_by_them():
    human, twin = data(missing=0.0)
    human, twin = jnp.asarray(known("question", human)), jnp.asarray(last(twin))

    def total(human, twin):
        result = calibrate_question(Ridge(1.0), human, twin)
        return jnp.sum(result.prediction) + jnp.nansum(result.training_mse)

    for gradient in jax.grad(total, (0, 1))(human, twin):
        assert np.isfinite(gradient).all()
    assert calibrate_user is CALIBRATE["user"] and twin.shape[1] == QUESTIONS
