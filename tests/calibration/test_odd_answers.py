"""A few odd answers, weights of zero and mislabelled frames do not spoil predictions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from engine import CALIBRATE, DIRECTIONS, NEW, calibrate, compiled, data, known
from small_panels import METHODS, as_new_question, as_new_user, small_panel

from syndigits_jax.calibration import (
    ElasticNet,
    HardImpute,
    NewUsers,
    Ridge,
    Settings,
    SyntheticPrior,
    calibrate_question,
    calibrate_user,
)
from syndigits_jax.calibration.inputs import check_labels
from syndigits_jax.evaluation import (
    choose_penalty,
    few_shot_curve,
    leave_one_question_out,
    leave_one_user_out,
    tune_penalty,
)
from syndigits_jax.solvers import Status


@pytest.mark.parametrize("method", [Ridge(10.0), ElasticNet(0.05, 0.5)])
def test_one_odd_answer_of_a_new_users_twin_changes_little(method):
    """All other twins answer the first question nearly alike."""
    human, twin, _ = as_new_user(small_panel(1, missing=0.0), 5)
    twin[:, 0] = 5
    twin[3, 0] = 4.9
    odd = twin.copy()
    odd[-1, 0] = 1

    def moved(settings):
        runs = [calibrate_user(method, human, t, settings=settings) for t in (twin, odd)]
        return np.abs(runs[0].prediction - runs[1].prediction)[0, 1:].max()

    assert moved(Settings()) < 0.5 * moved(Settings(new_users=NewUsers(outlier_limit=float("inf"))))


@pytest.mark.parametrize("method", [Ridge(10.0), ElasticNet(0.05, 0.5)])
def test_a_question_that_all_other_twins_answer_alike_takes_no_part(method):
    human, twin, _ = as_new_user(small_panel(1), 5)
    twin[:, 0] = 5
    odd = twin.copy()
    odd[-1, 0] = 1
    usual, other = (calibrate_user(method, human, t).prediction for t in (twin, odd))
    np.testing.assert_allclose(usual, other, atol=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_the_training_error_counts_users_by_their_weight(name):
    human, twin = data(2)
    weight = np.r_[np.zeros(6), np.ones(len(human) - 6)]
    wild = twin.copy()
    wild[:6] *= -5
    calm, other = (calibrate("question", name, human, t, weight=weight) for t in (twin, wild))
    np.testing.assert_allclose(other.training_mse, calm.training_mse, rtol=0.05, atol=1e-3)


def test_a_target_that_only_weightless_twins_answered_is_refused():
    human, twin, _ = as_new_question(small_panel(3), 2)
    weight = np.r_[np.zeros(6), np.ones(len(human) - 6)]
    twin[6:, -1] = np.nan
    with pytest.raises(ValueError, match="users of positive weight for new question"):
        calibrate_question(Ridge(1.0), human, twin, sample_weight=weight)


def test_synthetic_prior_carries_no_gradient():
    """Nor through the scaling, the known answers or the training error."""
    human, twin, truth = as_new_question(small_panel(3), 2)
    answered = np.where(np.arange(len(human)) < 5, truth, np.nan)[:, None]

    def total(human, twin, answered):
        result = calibrate_question(SyntheticPrior(2), human, twin, observed=answered)
        return result.prediction.sum() + result.training_mse.sum()

    arrays = [jnp.asarray(np.nan_to_num(a), jnp.float32) for a in (human, twin, answered)]
    for gradient in jax.grad(total, (0, 1, 2))(*arrays):
        np.testing.assert_array_equal(gradient, 0)


def test_frames_with_other_labels_are_refused():
    pandas = pytest.importorskip("pandas")
    human, twin, _ = as_new_question(small_panel(4), 2)
    questions = [f"q{j}" for j in range(twin.shape[1])]
    frame = pandas.DataFrame(human, columns=questions[:-1])
    twins = pandas.DataFrame(twin, columns=questions)
    # The tests' type checker lets no frame through to `calibrate_question` itself.
    check_labels(frame, twins, 0)
    with pytest.raises(ValueError, match="labels of its columns differ"):
        check_labels(frame, twins[questions[::-1]], 0)
    with pytest.raises(ValueError, match="labels of its index differ"):
        check_labels(frame.set_index(frame.index + 1), twins, 0)
    check_labels(frame[:10], twins[questions[:-1]], 1)


def test_choosing_penalties_allows_what_calibrating_allows():
    human, twin, _ = as_new_question(small_panel(5), 2)
    twin[:, 1] = np.nan  # a known question that no twin answered
    assert np.isfinite(choose_penalty(Ridge(), human, twin, np.array([1.0, 10.0])).error).all()
    with pytest.raises(ValueError, match="l1_ratio is bounded"):
        tune_penalty(ElasticNet(), human, twin, field="l1_ratio")


def test_unsigned_counts_are_compared_as_numbers():
    counts = np.array([5, 2], np.uint8)
    with pytest.raises(ValueError, match="ks must increase"):
        few_shot_curve(HardImpute(2), small_panel(0), counts, key=jax.random.key(0))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_answers_mean_the_same_in_whatever_holds_them(direction):
    pd = pytest.importorskip("pandas")
    human, twin = (np.round(x) for x in data())
    human = known(direction, human)
    human[0, 0] = np.nan
    gap = np.isnan(human)
    whole = np.nan_to_num(human).astype(int)
    nullable = pd.DataFrame(whole).astype("Int64").mask(gap)
    either = CALIBRATE[direction]
    expected = either(Ridge(1.0), human, twin).prediction
    for given in (
        human.tolist(),
        [[None if np.isnan(x) else int(x) for x in row] for row in human],
        human.astype(np.float16),
        human.astype(">f8"),
        np.ma.masked_array(whole, gap),
        np.ma.masked_array(whole.astype(">i2"), gap),
        nullable,
        nullable.astype(object),
        np.where(gap, "", human.astype(str)),
    ):
        found = either(Ridge(1.0), given, twin.tolist()).prediction
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    for refused in (
        whole.astype("timedelta64[ns]"),
        np.ma.masked_array(whole.astype("M8[ns]"), gap),
    ):
        with pytest.raises(ValueError, match="`human` must hold numbers, got d"):
            either(Ridge(1.0), refused, twin)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_complex_numbers_are_refused(direction):
    human, twin = data()
    human = known(direction, human)
    either = CALIBRATE[direction]
    for name, arrays in {
        "human": (human + 1j, twin),
        "twin": (human, twin + 0j),
    }.items():
        with pytest.raises(ValueError, match=f"`{name}` must hold real numbers"):
            either(Ridge(1.0), *arrays)
    with pytest.raises(ValueError, match=r"`human`: .* is not a number"):
        either(Ridge(1.0), (human + 1j).astype(object), twin)
    with pytest.raises(ValueError, match="`human` must hold real numbers"):
        jax.jit(lambda h: either(Ridge(1.0), h, twin))((human + 1j).astype(np.complex64))
    ones = 1j * np.ones(human.shape[0])
    with pytest.raises(ValueError, match="`sample_weight` must hold real numbers"):
        either(Ridge(1.0), human, twin, sample_weight=ones)
    with pytest.raises(ValueError, match="`threshold` must hold real numbers"):
        either(Ridge(1.0), human, twin, threshold=ones[:NEW])


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_answers_whose_squares_overflow_are_refused_or_flagged(direction):
    human, twin = data()
    human = known(direction, human)
    large = [jnp.asarray(1e30 * a, jnp.float32) for a in (human, twin)]
    with pytest.raises(ValueError, match=r"`human` has an answer of size .*divide the answers"):
        CALIBRATE[direction](Ridge(1.0), *large)
    result = compiled(direction, METHODS["Ridge"], *large, None, None, None)
    assert np.isnan(result.prediction).all()
    np.testing.assert_array_equal(result.status, Status.NONFINITE)
    # Large, but not too large.
    usual = compiled(direction, METHODS["Ridge"], human, twin, None, None, None)
    large = compiled(direction, METHODS["Ridge"], 1e12 * human, 1e12 * twin, None, None, None)
    expected = 1e12 * np.asarray(usual.prediction)
    rounding = 1e-5 * np.abs(expected).max()  # of predictions near zero, too
    np.testing.assert_allclose(large.prediction, expected, rtol=1e-3, atol=rounding)


def test_hold_outs_refuse_weights_that_are_all_zero_and_answers_too_large():
    panel = small_panel(0)
    for evaluate in (leave_one_question_out, leave_one_user_out):
        with pytest.raises(ValueError, match="`sample_weight` is zero for every user"):
            evaluate(Ridge(1.0), panel, sample_weight=np.zeros(panel.n))
        with pytest.raises(ValueError, match="divide the answers"):
            evaluate(Ridge(1.0), panel.replace(human=panel.human * 1e200))
