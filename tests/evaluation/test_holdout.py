"""Hold-out evaluation: no leak, bit for bit; the published protocol by NumPy; how it runs."""

import functools
import threading

import numpy as np
import pytest
from sklearn import linear_model
from small_panels import (
    METHODS,
    QUESTIONS,
    USERS,
    as_new_question,
    as_new_user,
    small_panel,
)

from syndigits_jax.calibration import NewUsers, Settings
from syndigits_jax.calibration.calibrators import FitAndTransfer
from syndigits_jax.evaluation import leave_one_question_out, leave_one_user_out

# Blocks of five held-out users; published, every user is imputed anew.
DEFAULT = Settings(new_users=NewUsers(blocks=5))
REFERENCE = Settings.reference().change(new_users={"blocks": 0})
# What the reference settings change: scaling, synthetic control, and new users' stacks.
REFERENCE_METHODS = {
    name: METHODS[name]
    for name in (
        "Ridge",
        "Lasso",
        "ElasticNet",
        "SyntheticControl",
        "SyntheticIntervention",
        "HardImpute",
        "SoftImpute",
        "SyntheticPrior",
    )
}
RUNS = {"question": leave_one_question_out, "user": leave_one_user_out}
# One setting and one batch size wherever it does not matter which: their programs are shared.
question_run = functools.partial(leave_one_question_out, settings=DEFAULT, batch_size=1)
user_run = functools.partial(leave_one_user_out, settings=DEFAULT, batch_size=1)
SHARED = {"question": question_run, "user": user_run}


def with_target(panel, direction, target, values):
    """The panel with one human column (or row) replaced."""
    human = panel.human.copy()
    human[(slice(None), target) if direction == "question" else target] = values
    return panel.replace(human=human)


@pytest.mark.parametrize("direction", RUNS)
@pytest.mark.parametrize("setting", ["default", "reference"])
def test_no_leak_bit_for_bit(direction, setting):
    """Whatever the humans answered to the target, everything but the truth stays as it is."""
    run, target = RUNS[direction], 3
    methods, settings = (
        (METHODS, DEFAULT) if setting == "default" else (REFERENCE_METHODS, REFERENCE)
    )
    panel = small_panel()
    size = panel.n if direction == "question" else panel.m
    rng = np.random.default_rng(0)
    other = 100 * rng.normal(size=size)
    before = run(methods, panel, targets=[target], settings=settings)
    for values in (
        other,
        np.where(rng.random(size) < 0.5, np.nan, -other),
        np.full(size, np.nan),
        np.full(size, 1e12),
    ):
        after = run(
            methods,
            with_target(panel, direction, target, values),
            targets=[target],
            settings=settings,
        )
        np.testing.assert_array_equal(after.truth[0], values)
        for name in before.predictions:
            np.testing.assert_array_equal(
                after.predictions[name], before.predictions[name], err_msg=name
            )
        for name in methods:
            assert np.all(np.isfinite(before.predictions[name])), name
            for field in ("training_mse", "status", "steps", "optimality"):
                np.testing.assert_array_equal(
                    getattr(after, field)[name], getattr(before, field)[name], err_msg=name
                )
    # The test can fail: what others answered does matter.
    changed = with_target(panel, direction, target + 1, other)
    after = run(methods, changed, targets=[target], settings=settings)
    for name in methods:
        # The published stack leaves a new user's row empty: these two predict the twins' means.
        if (setting, direction) == ("reference", "user") and name in ("HardImpute", "SoftImpute"):
            continue
        assert np.any(after.predictions[name] != before.predictions[name]), name


@pytest.mark.parametrize("direction", RUNS)
def test_how_it_is_cut_into_batches_does_not_matter(direction):
    """Batch size, workers and which other targets are asked for change rounding at most."""
    methods = {name: METHODS[name] for name in ("Ridge", "HardImpute")}
    run, panel = RUNS[direction], small_panel()
    run = functools.partial(run, settings=DEFAULT)
    whole = run(methods, panel)
    assert whole.truth.shape == (
        (QUESTIONS, USERS) if direction == "question" else panel.human.shape
    )
    subset = [7, 2, 4]
    for options in (
        {"batch_size": 1, "workers": 1},
        {"batch_size": 1, "workers": 2, "targets": subset},
        {"targets": np.array([2])},
    ):
        positions = np.asarray(options.get("targets", np.arange(len(whole.targets))))
        part = run(methods, panel, **options)
        np.testing.assert_array_equal(part.targets, positions)
        np.testing.assert_array_equal(part.truth, whole.truth[positions])
        for name in methods:
            np.testing.assert_allclose(
                part.predictions[name], whole.predictions[name][positions], atol=2e-5, rtol=1e-5
            )
            np.testing.assert_array_equal(part.steps[name], whole.steps[name][positions])


# --- the published protocol, by NumPy and scikit-learn -------------------------------------------


def impute(x, rank, *, start=None, penalty=0.0):
    mask = ~np.isnan(x)
    if start is None:
        count = mask.sum(axis=0)
        start = np.broadcast_to(np.nansum(x, axis=0) / np.maximum(count, 1), x.shape)
    filled = np.where(mask, x, start)
    for _ in range(1000):
        u, s, vt = np.linalg.svd(filled, full_matrices=False)
        fit = (u[:, :rank] * np.maximum(s[:rank] - penalty, 0)) @ vt[:rank]
        new = np.where(mask, x, fit)
        change = np.linalg.norm(new - filled) / np.linalg.norm(filled)
        filled = new
        if change < 1e-4:
            return filled
    return filled


def scale(x):
    """Columns by their observed mean and spread; a spread below 1 counts as 1."""
    mean, std = np.nanmean(x, axis=0), np.nanstd(x, axis=0)
    std = np.where(std < 1, 1, std)
    return (x - mean) / std, mean, std


def fitters(methods):
    si = methods["SyntheticIntervention"]

    def by_intervention(x, y):
        directions = np.linalg.svd(x, full_matrices=False)[2][: si.rank].T
        model = linear_model.Ridge(alpha=float(si.penalty)).fit(x @ directions, y)
        return lambda new: model.predict(new @ directions)

    def by_sklearn(model):
        return lambda x, y: model.fit(x, y).predict

    en = methods["ElasticNet"]
    options = {"tol": 1e-8, "max_iter": 100_000}
    return {
        "Ridge": by_sklearn(linear_model.Ridge(alpha=float(methods["Ridge"].penalty))),
        "Lasso": by_sklearn(linear_model.Lasso(alpha=float(methods["Lasso"].alpha), **options)),
        "ElasticNet": by_sklearn(
            linear_model.ElasticNet(alpha=float(en.alpha), l1_ratio=float(en.l1_ratio), **options)
        ),
        "SyntheticIntervention": by_intervention,
    }


def published_question(panel, j, methods):
    human, twin, _ = as_new_question(panel, j)
    twin, target = twin[:, :-1], twin[:, -1]
    y, mean, std = scale(target[:, None])
    y = np.nan_to_num(y[:, 0])
    x_human, x_twin = (scale(impute(side, 5))[0] for side in (human, twin))
    result = {}
    for name, fit in fitters(methods).items():
        result[name] = mean + std * fit(x_twin, y)(x_human)
    human, twin = scale(human)[0], scale(panel.twin[:, [*np.delete(np.arange(panel.m), j), j]])[0]
    human = np.c_[human, np.full(panel.n, np.nan)]
    stack = np.r_[human, twin]
    soft = methods["SoftImpute"]
    for name, completed in {
        "HardImpute": impute(stack, methods["HardImpute"].rank)[: panel.n],
        "SoftImpute": impute(stack, soft.rank, penalty=float(soft.penalty))[: panel.n],
        "SyntheticPrior": impute(human, methods["SyntheticPrior"].rank, start=np.nan_to_num(twin)),
    }.items():
        result[name] = mean + std * completed[:, -1]
    return result


def published_user(panel, i, methods):
    human, twin, _ = as_new_user(panel, i)
    twin, target = twin[:-1], twin[-1]
    x_human = scale(impute(human, 5))[0]
    x_twin, mean, std = scale(impute(twin, 5))
    y = np.nan_to_num((target - mean) / std)
    return {
        name: mean + std * fit(x_twin.T, y)(x_human.T) for name, fit in fitters(methods).items()
    }


@pytest.mark.parametrize("seed", [1, 2])
def test_reference_settings_follow_the_published_protocol_for_questions(seed):
    panel, j = small_panel(seed), 6
    ours = leave_one_question_out(REFERENCE_METHODS, panel, targets=[j], settings=REFERENCE)
    published = published_question(panel, j, REFERENCE_METHODS)
    for name, prediction in published.items():
        np.testing.assert_allclose(ours.predictions[name][0], prediction, atol=0.02, err_msg=name)


@pytest.mark.parametrize("seed", [1, 2])
def test_reference_settings_follow_the_published_protocol_for_users(seed):
    panel, i = small_panel(seed), 11
    methods = {name: METHODS[name] for name in fitters(METHODS)}
    ours = leave_one_user_out(methods, panel, targets=[i], settings=REFERENCE)
    for name, prediction in published_user(panel, i, methods).items():
        np.testing.assert_allclose(ours.predictions[name][0], prediction, atol=0.02, err_msg=name)


# --- controls and scores ----------------------------------------------------------------------


def test_controls():
    rng = np.random.default_rng(3)
    panel = small_panel().replace(controls={"InContext": rng.normal(size=(USERS, QUESTIONS))})
    methods = {"Ridge": METHODS["Ridge"]}
    questions = question_run(methods, panel, targets=[3, 0])
    users = user_run(methods, panel, targets=[5])
    trivial = {"Baseline", "InContext", "UserMean", "ZScoredUserMean"}
    assert set(questions.predictions) == {"Ridge", *trivial}
    assert set(users.predictions) == {"Ridge", "Baseline", "InContext", "ItemMean"}
    for row, j in enumerate((3, 0)):
        np.testing.assert_array_equal(questions.predictions["Baseline"][row], panel.twin[:, j])
        for i in range(USERS):
            mean = np.nanmean(np.delete(panel.human[i], j))
            np.testing.assert_allclose(questions.predictions["UserMean"][row, i], mean)
    np.testing.assert_array_equal(
        questions.predictions["InContext"][0], panel.controls["InContext"][:, 3]
    )
    np.testing.assert_array_equal(users.predictions["Baseline"][0], panel.twin[5])
    for j in range(QUESTIONS):
        mean = np.nanmean(np.delete(panel.human[:, j], 5))
        np.testing.assert_allclose(users.predictions["ItemMean"][0, j], mean)


def test_scores_and_names():
    panel = small_panel()
    targets = [6, 2]
    result = question_run({"A": METHODS["Ridge"]}, panel, targets=targets)
    assert result.methods == ["A"]
    assert result.target_ids == [panel.questions[j] for j in targets]
    scores = result.scores("pearson", "A")
    for row, j in enumerate(targets):
        seen = panel.human_mask[:, j]
        expected = np.corrcoef(result.predictions["A"][row, seen], panel.human[seen, j])[0, 1]
        np.testing.assert_allclose(scores[row], expected, atol=1e-5)
    summary = {row["method"]: row for row in result.summary("pearson")}
    np.testing.assert_allclose(summary["A"]["mean"], scores.mean(), rtol=1e-5)
    np.testing.assert_allclose(summary["A"]["se"], scores.std(ddof=1) / np.sqrt(2), rtol=1e-4)
    assert summary["A"]["count"] == 2
    with pytest.raises(ValueError, match="no predictions called 'B'"):
        result.scores("pearson", "B")


def test_a_question_nobody_answered_and_a_constant_twin():
    """Both are legal: nothing to score, and a constant to predict."""
    panel = small_panel()
    panel = with_target(panel, "question", 2, np.nan)
    twin = panel.twin.copy()
    twin[:, 7] = 4.0
    panel = panel.replace(twin=twin)
    result = question_run({"Ridge": METHODS["Ridge"]}, panel, targets=[2, 7])
    assert np.isnan(result.scores("pearson", "Ridge")[0])
    assert result.scores("pearson", "Ridge")[1] == 0
    np.testing.assert_allclose(result.predictions["Ridge"][1], 4.0, rtol=1e-6)
    assert np.isnan(result.training_mse["Ridge"][1]) and result.twins_alike.tolist() == [
        False,
        True,
    ]
    assert result.summary("pearson")[0]["count"] == 1


# --- how it runs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", RUNS)
def test_progress_and_seconds(direction):
    calls = []
    methods = {name: METHODS[name] for name in ("Ridge", "HardImpute")}
    result = SHARED[direction](
        methods,
        small_panel(),
        targets=range(6),
        on_progress=lambda *call: calls.append(call),
    )
    done = [call[0] for call in calls]
    assert {call[1] for call in calls} == {6}
    assert done == sorted(done)
    assert done[-1] == 6
    assert set(result.seconds) == set(methods)
    assert min(result.seconds.values()) > 0
    assert result.preparation_seconds > 0


class Failing(FitAndTransfer):
    """A method of a user's own, with a bug."""

    def fit(self, problem, settings):
        raise RuntimeError("a bug of the method's own")


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_method_surfaces(workers):
    methods = {"Ridge": METHODS["Ridge"], "Failing": Failing()}
    with pytest.raises(RuntimeError, match="a bug of the method's own"):
        question_run(methods, small_panel(), workers=workers)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("direction", RUNS)
def test_an_interrupt_stops_the_rest(direction, workers):
    threads, calls = threading.active_count(), []

    def interrupt(done, total):
        calls.append(done)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SHARED[direction](
            {"Ridge": METHODS["Ridge"]},
            small_panel(),
            workers=workers,
            on_progress=interrupt,
        )
    # What was under way may end, what was waiting does not start; no thread is left behind.
    assert len(calls) <= 2 + workers
    assert threading.active_count() <= threads


def test_methods_may_come_without_names():
    panel = small_panel()
    by_name = question_run({"Ridge": METHODS["Ridge"]}, panel, targets=[0])
    for methods in ([METHODS["Ridge"]], METHODS["Ridge"]):
        result = question_run(methods, panel, targets=[0])
        assert result.methods == ["Ridge"]
        np.testing.assert_array_equal(result.predictions["Ridge"], by_name.predictions["Ridge"])
