"""Few-shot: known human answers improve every method; the number of answers that twins replace."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_panels import METHODS as ALL_METHODS

from syndigits_jax.calibration import (
    FewShot,
    NewUsers,
    Ridge,
    Settings,
    calibrate_question,
    calibrate_user,
)
from syndigits_jax.calibration.known_answers import learn_from_answers
from syndigits_jax.datasets import simulate_panel
from syndigits_jax.evaluation import (
    FewShotCurve,
    _few_shot_cells,
    equivalent_respondents,
    few_shot_curve,
    leave_one_question_out,
)
from syndigits_jax.evaluation.folds import fit_batch

# One regression and one completion: answers correct whatever the method has predicted.
METHODS = {name: ALL_METHODS[name] for name in ("Ridge", "SoftImpute")}
KS = [0, 3, 8, 20]
# As many users as questions: both directions share their programs.
PANEL, _ = simulate_panel(
    32,
    32,
    3,
    key=1,
    alignment_angle=0.3,
    fidelity=0.7,
    noise=0.5,
    twin_noise=0.3,
    bias=0.4,
    bias_spread=0.4,
    missing=0.1,
)
KEY, REPEATS = jax.random.key(0), 2
# As published, the twins' means map new users back, which a control without twins cannot use.
SETTINGS = Settings(new_users=NewUsers(statistics="twin"))
OPTIONS = {"repeats": REPEATS, "settings": SETTINGS, "workers": 1}


@pytest.fixture(scope="module")
def curve() -> FewShotCurve:
    return few_shot_curve(METHODS, PANEL, KS, key=KEY, **OPTIONS)


@pytest.fixture(scope="module")
def user_curve() -> FewShotCurve:
    return few_shot_curve(METHODS, PANEL, np.array(KS), key=KEY, direction="user", **OPTIONS)


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
    assert len(curve.summary()) == 4 * (len(METHODS) + 5)


def test_twins_are_worth_so_many_respondents(curve):
    """Between the k whose human-only errors enclose the zero-shot error."""
    worth = equivalent_respondents(curve, "Ridge")
    level, humans = curve.mean("mse", "Ridge")[0], curve.mean("mse", "HumansOnly")
    below = np.flatnonzero(humans <= level)[0]
    assert curve.ks[below - 1] <= worth <= curve.ks[below]
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


def draws(direction: str, target: int):
    """The cells known (repeats, K, s) and hidden throughout (repeats, s)."""
    targets, ks = jnp.asarray(np.full(4, target)), jnp.asarray(np.array(KS))
    draw = _few_shot_cells.draw_cells
    drawn = draw(PANEL.arrays(), targets, ks, KEY, REPEATS, direction, False)
    return np.asarray(drawn.known[0]), np.asarray(drawn.hidden[0])


def by_hand(method, direction: str, target: int) -> np.ndarray:
    """Squared errors at every k through the product, one target at a time."""
    known, hidden = draws(direction, target)
    human, twin = PANEL.human, PANEL.twin
    if direction == "user":
        human, twin = human.T, twin.T
    truth, rest = human[:, target], np.delete(np.arange(human.shape[1]), target)
    assert np.all(known.sum(axis=2) == KS)
    assert np.all(known[:, :-1] <= known[:, 1:])  # whoever answered once has answered
    assert np.all((known[:, -1] | hidden) == ~np.isnan(truth))
    assert not np.any(known[:, -1] & hidden)
    human, twin = human[:, rest], twin[:, [*rest, target]]
    errors = np.empty(known.shape[:2])
    for place in np.ndindex(errors.shape):
        observed = np.where(known[place], truth, np.nan)[:, None]
        if direction == "question":
            run = calibrate_question(method, human, twin, observed=observed, settings=SETTINGS)
            prediction = run.prediction[:, 0]
        else:
            run = calibrate_user(method, human.T, twin.T, observed=observed.T, settings=SETTINGS)
            prediction = run.prediction[0]
        errors[place] = np.mean((np.asarray(prediction) - truth)[hidden[place[0]]] ** 2)
    return errors.mean(axis=0)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("direction", ["question", "user"])
def test_scores_are_those_of_the_product(request, name, direction):
    curve = request.getfixturevalue("curve" if direction == "question" else "user_curve")
    expected = by_hand(METHODS[name], direction, int(curve.targets[2]))
    np.testing.assert_allclose(curve.scores["mse"][name][2], expected, rtol=1e-5)


def test_without_answers_it_is_the_hold_out(curve):
    holdout = leave_one_question_out(METHODS["Ridge"], PANEL, settings=SETTINGS, workers=1)
    target = 5
    _, hidden = draws("question", target)
    for name in ("Ridge", "Baseline", "UserMean", "ZScoredUserMean"):
        error = (holdout.predictions[name] - holdout.truth)[target] ** 2
        expected = np.mean([np.mean(error[cells]) for cells in hidden])
        assert curve.scores["mse"][name][target, 0] == pytest.approx(expected, rel=1e-5)


def test_misleading_twins_are_overruled(curve):
    """One question's twins answer the opposite: zero-shot is lost, twenty answers mend it."""
    target, twin = 4, PANEL.twin.copy()
    twin[:, target] *= -1
    options = OPTIONS | {"targets": [target, 0, 1, 2]}
    misled = few_shot_curve(METHODS["Ridge"], PANEL.replace(twin=twin), KS, key=KEY, **options)
    error, without = misled.scores["mse"]["Ridge"][0], curve.scores["mse"]["KnownMean"][target]
    correlation = misled.scores["pearson"]["Ridge"][0]
    assert error[0] > 1.5 * without[-1] and correlation[0] < 0
    assert np.all(np.diff(error) < 0) and error[-1] < without[-1]
    assert correlation[-1] > 0.3
    # The controls that have met no twin do not notice.
    for name in ("HumansOnly", "KnownMean"):
        expected = curve.scores["mse"][name][target]
        np.testing.assert_array_equal(misled.scores["mse"][name][0], expected)


def test_new_users_start_from_the_others_mean(user_curve):
    humans = user_curve.mean("mse", "HumansOnly")
    assert humans[0] == pytest.approx(user_curve.mean("mse", "ItemMean")[0], rel=0.05)
    for name in ("HumansOnly", *METHODS):
        assert user_curve.mean("mse", name)[-1] < user_curve.mean("mse", name)[0]
        assert user_curve.mean("pearson", name)[-1] > user_curve.mean("pearson", name)[0]


def test_one_program_for_all_numbers_of_answers_and_penalties(curve):
    """Another k, another key and another penalty are other data, not another shape."""
    pieces = (_few_shot_cells.draw_cells, _few_shot_cells.method_scores)
    programs = (*pieces, _few_shot_cells.control_scores, fit_batch)
    before = [program._cache_size() for program in programs]
    few_shot_curve(Ridge(3.0), PANEL, [1, 4, 9, 19], key=jax.random.key(9), **OPTIONS)
    assert [program._cache_size() for program in programs] == before


def test_subsets_of_targets_see_the_same_draws(curve):
    done = []
    some = few_shot_curve(
        METHODS["Ridge"],
        PANEL,
        KS,
        key=KEY,
        targets=[9, 4, 1, 12, 13],
        on_progress=lambda *progress: done.append(progress),
        **OPTIONS,
    )
    expected = curve.scores["mse"]["Ridge"][[9, 4, 1, 12, 13]]
    np.testing.assert_allclose(some.scores["mse"]["Ridge"], expected, rtol=1e-5)
    assert done == [(4, 5), (5, 5)]


# --- the correction itself ------------------------------------------------------------------------


def by_kernel(f, x, y, w, settings):
    """The same posterior mean, as a Gaussian process on the known cells."""
    kernel = settings.few_shot.level + settings.few_shot.slope * np.outer(f, f)
    kernel = kernel + settings.few_shot.donors / x.shape[1] * x @ x.T
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
    learn = jax.jit(learn_from_answers, static_argnames="settings")
    got = learn(prediction, jnp.asarray(x, dtype), known, weight, settings)
    expected = by_kernel(f, x, y, w, settings)
    atol = 200 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(got[:, 0], expected, atol=atol)
    nothing = learn(prediction, jnp.asarray(x, dtype), known, 0 * weight, settings)
    np.testing.assert_array_equal(nothing, prediction)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ks": [3, 1]}, "ks must increase"),
        ({"ks": [-1, 1]}, "ks must increase"),
        ({"ks": []}, "`ks` must be a list"),
        ({"ks": [0.5, 2]}, "`ks` must be a list"),
        ({"ks": [[0, 2]]}, "`ks` must be a list"),
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
        few_shot_curve(methods, PANEL, ks, key=jax.random.key(0), **args)


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
    with pytest.raises(ValueError, match="'sd_ratio' is best at 1"):
        equivalent_respondents(curve, "Ridge", metric="sd_ratio")
    with pytest.raises(ValueError, match="`level` must not be negative"):
        Settings(few_shot=FewShot(level=-1.0))
