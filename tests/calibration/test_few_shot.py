"""Few-shot: known human answers help every method, and say what twins are worth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_panels import METHODS

from syndigits_jax.calibration import (
    Ridge,
    Settings,
    SoftImpute,
    calibrate_question,
    calibrate_user,
    few_shot,
    leave_one_question_out,
)
from syndigits_jax.calibration.few_shot import (
    FewShotCurve,
    equivalent_respondents,
    few_shot_curve,
)
from syndigits_jax.calibration.known_answers import learn_from_answers
from syndigits_jax.calibration.metrics import mse
from syndigits_jax.datasets import simulate_panel

KS = [0, 3, 8, 20]
PANEL, _ = simulate_panel(
    1,
    60,
    14,
    3,
    alignment_angle=0.3,
    fidelity=0.7,
    noise=0.5,
    twin_noise=0.3,
    bias=0.4,
    bias_spread=0.4,
    missing=0.1,
)


@pytest.fixture(scope="module")
def curve() -> FewShotCurve:
    return few_shot_curve(METHODS, PANEL, KS, jax.random.key(0), repeats=4, workers=1)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_gains_from_human_answers(curve, name):
    error, correlation = curve.mean("mse", name), curve.mean("pearson", name)
    assert np.all(np.diff(error) < 0)
    assert error[-1] < 0.8 * error[0]
    assert np.all(np.diff(correlation) > -0.02)
    assert correlation[-1] > correlation[0] - 0.005


def test_controls_are_there_and_behave(curve):
    for metric in ("mse", "pearson"):
        twins = curve.mean(metric, "Baseline")
        assert np.all(twins == twins[0])  # the same hidden cells at every k
        for name in ("HumansOnly", "KnownMean"):
            assert np.isnan(curve.mean(metric, name)[0])
    assert np.all(np.diff(curve.mean("mse", "HumansOnly")[1:]) < 0)
    assert np.all(np.diff(curve.mean("mse", "KnownMean")[1:]) < 0)
    assert curve.mean("pearson", "KnownMean")[-1] == 0
    # Twenty people's answers, spread over the others by their other answers, do help.
    assert curve.mean("mse", "HumansOnly")[-1] < curve.mean("mse", "KnownMean")[-1]
    assert curve.mean("mse", "Ridge")[-1] < curve.mean("mse", "HumansOnly")[-1]
    assert set(curve.methods) == set(METHODS)
    row = curve.summary("mse", "Ridge")[2]
    assert row["k"] == 8 and row["count"] == PANEL.m and row["se"] > 0
    assert len(curve.summary()) == len(KS) * (len(METHODS) + 4)


def test_twins_are_worth_so_many_respondents(curve):
    """Between the k whose human-only errors enclose the zero-shot error."""
    worth = equivalent_respondents(curve, "Ridge")
    level, humans = curve.mean("mse", "Ridge")[0], curve.mean("mse", "HumansOnly")
    below = np.flatnonzero(humans <= level)[0]
    assert KS[below - 1] <= worth <= KS[below]
    assert equivalent_respondents(curve, "Ridge", metric="pearson") > worth


def made_up_curve(method, control, metric="mse") -> FewShotCurve:
    scores = {"Method": np.array([method]), "HumansOnly": np.array([control])}
    ks = np.array([0, 10, 20])
    return FewShotCurve("question", ks, np.array([0]), {metric: scores}, ("Method",))


@pytest.mark.parametrize(
    ("method", "control", "metric", "expected"),
    [
        ([0.5, 0, 0], [np.nan, 0.7, 0.3], "mse", 15.0),
        ([0.5, 0, 0], [np.nan, 0.5, 0.3], "mse", 10.0),
        ([0.5, 0, 0], [0.4, 0.3, 0.2], "mse", 0.0),
        ([0.5, 0, 0], [np.nan, 0.8, 0.6], "mse", np.inf),
        ([0.5, 0, 0], [np.nan, 0.4, 0.8], "pearson", 12.5),
    ],
)
def test_equivalent_respondents_by_hand(method, control, metric, expected):
    curve = made_up_curve(method, control, metric)
    assert equivalent_respondents(curve, metric=metric) == pytest.approx(expected)


def test_without_answers_it_is_the_hold_out():
    curve = few_shot_curve(Ridge(2.0), PANEL, [0], jax.random.key(0), repeats=2)
    holdout = leave_one_question_out([Ridge(2.0)], PANEL)
    for name in ("Ridge", "Baseline", "UserMean"):
        expected = holdout.scores("mse", name)
        np.testing.assert_allclose(curve.scores["mse"][name][:, 0], expected, rtol=1e-4)


@pytest.mark.parametrize("method", [Ridge(2.0), SoftImpute(3, 1.0)])
@pytest.mark.parametrize("direction", ["question", "user"])
def test_scores_are_those_of_the_product(method, direction):
    """One target by hand, through `calibrate_question` or `calibrate_user`."""
    key, target = jax.random.key(3), 2
    settings = Settings(imputation_tol=1e-6)
    args = {"direction": direction, "targets": [target], "repeats": 1, "settings": settings}
    curve = few_shot_curve(method, PANEL, [0, 4], key, **args)
    arrays, index = PANEL.arrays(), jnp.asarray([target])
    cells = few_shot._cells(arrays, index, jnp.asarray([0, 4]), key, 1, 4, direction, False)
    known, hidden = np.asarray(cells.known[0, 1]), np.asarray(cells.hidden[0, 0])
    human, twin = PANEL.human, PANEL.twin
    if direction == "user":
        human, twin = human.T, twin.T
    truth, rest = human[:, target], np.delete(np.arange(human.shape[1]), target)
    assert known.sum() == 4 and not np.any(known & hidden)
    assert np.array_equal(known | hidden, ~np.isnan(truth))
    observed = np.where(known, truth, np.nan)[:, None]
    human, twin = human[:, rest], twin[:, [*rest, target]]
    if direction == "question":
        run = calibrate_question(method, human, twin, observed=observed, settings=settings)
        prediction = run.prediction[:, 0]
    else:
        run = calibrate_user(method, human.T, twin.T, observed=observed.T, settings=settings)
        prediction = run.prediction[0]
    expected = mse(prediction, jnp.asarray(np.nan_to_num(truth), prediction.dtype), hidden)
    got = curve.scores["mse"][type(method).__name__][0, 1]
    assert got == pytest.approx(float(expected), rel=1e-3)


def test_new_users_start_from_the_others_mean():
    curve = few_shot_curve(
        {"Ridge": Ridge(2.0)}, PANEL, [0, 2, 6], jax.random.key(1), direction="user", workers=1
    )
    humans, item = curve.mean("mse", "HumansOnly"), curve.mean("mse", "ItemMean")
    assert humans[0] == pytest.approx(item[0], rel=0.05)
    assert humans[-1] < humans[0]
    assert curve.mean("mse", "Ridge")[-1] < curve.mean("mse", "Ridge")[0]
    assert len(curve.targets) == np.sum(PANEL.human_mask.sum(axis=1) >= 8)


def test_one_program_for_all_numbers_of_answers():
    """Another k is other data, not another shape."""
    args = {"targets": [0, 1], "repeats": 1, "workers": 1}
    few_shot_curve(Ridge(2.0), PANEL, [0, 5], jax.random.key(0), **args)
    before = few_shot._method_scores._cache_size()
    few_shot_curve(Ridge(3.0), PANEL, [1, 5], jax.random.key(9), **args)
    assert few_shot._method_scores._cache_size() == before


def test_subsets_of_targets_see_the_same_draws():
    args = {"repeats": 2, "workers": 1}
    some = few_shot_curve(Ridge(2.0), PANEL, [0, 5], jax.random.key(0), targets=[4, 9], **args)
    all_ = few_shot_curve(Ridge(2.0), PANEL, [0, 5], jax.random.key(0), **args)
    expected = all_.scores["mse"]["Ridge"][[4, 9]]
    np.testing.assert_allclose(some.scores["mse"]["Ridge"], expected, rtol=1e-5)


# --- the correction itself ------------------------------------------------------------------------


def by_kernel(f, x, y, w, settings):
    """The same posterior mean, as a Gaussian process on the known cells."""
    kernel = settings.few_shot_level + settings.few_shot_slope * np.outer(f, f)
    kernel = kernel + settings.few_shot_donors / x.shape[1] * x @ x.T
    known = np.flatnonzero(w)
    system = kernel[np.ix_(known, known)] + np.diag(1 / w[known])
    return f + kernel[:, known] @ np.linalg.solve(system, (y - f)[known])


@pytest.mark.parametrize("donors", [5, 40])
def test_the_correction_is_a_posterior_mean(dtype, donors):
    rng = np.random.default_rng(0)
    f, x, y = rng.normal(size=25), rng.normal(size=(25, donors)), rng.normal(size=25)
    w = rng.choice([0.0, 1.0, 2.0], 25)
    settings = Settings()
    columns = (jnp.asarray(v, dtype)[:, None] for v in (f, y, w))
    prediction, known, weight = columns
    got = learn_from_answers(prediction, jnp.asarray(x, dtype), known, weight, settings)
    expected = by_kernel(f, x, y, w, settings)
    atol = 200 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(got[:, 0], expected, atol=atol)
    nothing = learn_from_answers(prediction, jnp.asarray(x, dtype), known, 0 * weight, settings)
    np.testing.assert_array_equal(nothing, prediction)


def test_without_known_answers_observed_changes_nothing():
    human, twin = PANEL.human[:, :-1], PANEL.twin
    nobody = np.full((PANEL.n, 1), np.nan)
    for method in (Ridge(2.0), SoftImpute(3, 1.0)):
        plain = calibrate_question(method, human, twin).prediction
        observed = calibrate_question(method, human, twin, observed=nobody).prediction
        np.testing.assert_allclose(observed, plain, rtol=1e-6, atol=1e-6)


def test_all_answers_known_come_close_to_the_regression_on_humans():
    """With everyone known the twins hardly matter: the fit is better than any without answers."""
    human, twin, truth = PANEL.human[:, :-1], PANEL.twin, PANEL.human[:, -1:]
    misleading = np.array(twin)
    misleading[:, -1] = -misleading[:, -1]
    seen = ~np.isnan(truth)
    for answers in (twin, misleading):
        result = calibrate_question(Ridge(2.0), human, answers, observed=truth)
        assert np.corrcoef(result.prediction[seen], truth[seen])[0, 1] > 0.85


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ks": [3, 1]}, "ks must increase"),
        ({"ks": [-1, 1]}, "ks must increase"),
        ({"ks": [0.5]}, "ks must be a list"),
        ({"ks": []}, "ks must be a list"),
        ({"ks": [0, 100]}, "ks: no question has 102"),
        ({"ks": [0, 100], "targets": [3]}, "targets: question 3 has"),
        ({"targets": [99]}, "targets must lie"),
        ({"direction": "both"}, "direction"),
        ({"repeats": 0}, "repeats"),
        ({"metrics": ["accuracy"]}, "metrics"),
        ({"metrics": ["likeness"]}, "metrics"),
        ({"methods": {"KnownMean": Ridge(1.0)}}, "KnownMean"),
    ],
)
def test_bad_arguments_are_named(change, message):
    args = {"methods": Ridge(1.0), "ks": [0, 2], "direction": "question"} | change
    methods, ks = args.pop("methods"), args.pop("ks")
    with pytest.raises(ValueError, match=message):
        few_shot_curve(methods, PANEL, ks, jax.random.key(0), **args)


def test_a_curve_says_what_it_lacks(curve):
    with pytest.raises(ValueError, match="metric 'r2' was not computed"):
        curve.mean("r2", "Ridge")
    with pytest.raises(ValueError, match="no predictions called 'Other'"):
        curve.mean("mse", "Other")
    with pytest.raises(ValueError, match="method: name one of"):
        equivalent_respondents(curve)
    late = FewShotCurve("question", np.array([1]), np.array([0]), {"mse": {}}, ("Ridge",))
    with pytest.raises(ValueError, match="k = 0"):
        equivalent_respondents(late)
    with pytest.raises(ValueError, match="few_shot_level must not be negative"):
        Settings(few_shot_level=-1.0)
