"""Choosing a penalty: against scikit-learn, refits by hand, and the truth in simulation.

Longer than 400 lines: the judges of the penalty are compared on one set of problems.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from new_surveys import NEW, new_survey, split
from scipy.optimize import minimize
from sklearn import linear_model
from small_panels import METHODS, as_new_question, small_panel

from syndigits_jax.calibration import (
    ElasticNet,
    Fitting,
    HardImpute,
    Lasso,
    NeuralNet,
    Ridge,
    Settings,
    SoftImpute,
    SyntheticControl,
    SyntheticIntervention,
    calibrate_question,
)
from syndigits_jax.evaluation import choose_penalty, tune_penalty
from syndigits_jax.solvers import Status

X64 = bool(jax.config.read("jax_enable_x64"))
RTOL = 1e-6 if X64 else 2e-3
SETTINGS = Settings(
    fitting=Fitting(regression_tol=1e-13 if X64 else 1e-9, completion_tol=1e-7 if X64 else 1e-6)
)
GRID = np.geomspace(0.1, 100, 4)


def weights(n):
    return np.random.default_rng(1).integers(1, 4, n).astype(float)


def scaled(columns, weight=None):
    """Columns about their weighted mean, in weighted standard deviations; NaN stays."""
    weight = np.ones(len(columns)) if weight is None else weight
    share = np.where(np.isnan(columns), 0, weight[:, None])
    mean = np.nansum(share * columns, axis=0) / share.sum(axis=0)
    variance = np.nansum(share * (columns - mean) ** 2, axis=0) / share.sum(axis=0)
    return (columns - mean) / np.sqrt(variance)


class SimplexWeights:
    """Synthetic control by a general optimiser."""

    def __init__(self, penalty):
        self.penalty = penalty

    def fit(self, x, y, sample_weight):
        def loss(w):
            error = x @ w - y
            slope = 2 * (sample_weight * error) @ x + 2 * self.penalty * w
            return sample_weight @ error**2 + self.penalty * w @ w, slope

        p = x.shape[1]
        one = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(p)}
        start, options = np.full(p, 1 / p), {"ftol": 1e-14, "maxiter": 1000}
        result = minimize(
            loss, start, jac=True, bounds=[(0, 1)] * p, constraints=one, options=options
        )
        self.coef = result.x
        return self

    def predict(self, x):
        return x @ self.coef


def refitted(model, x, y, weight, fold):
    """Mean squared error of users left out in folds, and its standard error, by refits."""
    kept = ~np.isnan(y)
    x, y, weight, fold = x[kept], y[kept], weight[kept], fold[kept]
    square = np.empty(len(y))
    for k in np.unique(fold):
        out = fold == k
        model.fit(x[~out], y[~out], sample_weight=weight[~out])
        square[out] = (y[out] - model.predict(x[out])) ** 2
    share = weight / weight.sum()
    return share @ square, share, square, kept


# --- twins as the judge ---------------------------------------------------------------------------


def test_ridge_is_judged_as_by_ridge_cv():
    """Leave-one-out errors of every penalty and question are scikit-learn's."""
    panel = small_panel(missing=0.0)
    human, twin = split(panel)
    twin = twin.copy()
    twin[[2, 9], -1] = np.nan
    choice = choose_penalty(Ridge(), human, twin, GRID, settings=SETTINGS)
    for t, y in enumerate(scaled(twin[:, -NEW:]).T):
        seen = ~np.isnan(y)
        judge = linear_model.RidgeCV(GRID, store_cv_results=True)
        judge.fit(scaled(twin[:, :-NEW])[seen], y[seen])
        np.testing.assert_allclose(
            choice.by_question[:, t], judge.cv_results_.mean(axis=0), rtol=RTOL
        )
        assert GRID[np.argmin(choice.by_question[:, t])] == judge.alpha_
    assert choice.converged.all()


class OnDirections(linear_model.Ridge):
    """Ridge on given directions, found from all rows beforehand."""

    directions: np.ndarray

    def fit(self, x, y, sample_weight=None):
        return super().fit(x @ self.directions, y, sample_weight)

    def predict(self, x):
        return super().predict(x @ self.directions)


JUDGED = {
    # method, folds, values, model of one candidate
    "Ridge": (Ridge(), None, {"penalty": GRID}, lambda penalty: linear_model.Ridge(penalty)),
    "SyntheticIntervention": (
        SyntheticIntervention(2),
        None,
        {"penalty": GRID},
        lambda penalty: OnDirections(penalty),
    ),
    "Lasso": (
        Lasso(),
        None,
        {"alpha": GRID / 100},
        lambda alpha: linear_model.Lasso(alpha, tol=1e-10),
    ),
    "ElasticNet": (
        ElasticNet(),
        5,
        {"alpha": GRID[:2] / 5, "l1_ratio": [0.2, 0.9]},
        lambda alpha, l1_ratio: linear_model.ElasticNet(alpha, l1_ratio=l1_ratio, tol=1e-10),
    ),
    "SyntheticControl": (SyntheticControl(), 6, {"penalty": GRID}, SimplexWeights),
}


@pytest.mark.parametrize("name", JUDGED)
def test_twin_errors_are_those_of_refits(name):
    """Without each user or fold in turn, weighted, with answers missing; all by other solvers."""
    method, folds, values, model = JUDGED[name]
    panel = small_panel(missing=0.0)
    human, twin = split(panel)
    twin, weight = twin.copy(), weights(panel.n)
    twin[3, -1] = np.nan
    options = {"folds": folds, "sample_weight": weight, "settings": SETTINGS}
    choice = choose_penalty(method, human, twin, values, **options)
    closed = name in ("Ridge", "SyntheticIntervention")
    fold = np.arange(panel.n) % (folds or (panel.n if closed else 10))
    x, targets = scaled(twin[:, :-NEW], weight), scaled(twin[:, -NEW:], weight)
    OnDirections.directions = np.linalg.svd(np.sqrt(weight)[:, None] * x)[2][:2].T
    for k in range(len(choice.error)):
        candidate = model(*(float(column[k]) for column in choice.penalties.values()))
        errors, influence = [], np.zeros(panel.n)
        for y in targets.T:
            error, share, square, kept = refitted(candidate, x, y, weight, fold)
            errors.append(error)
            influence[kept] += share * (square - error) / NEW
        np.testing.assert_allclose(choice.by_question[k], errors, rtol=RTOL)
        np.testing.assert_allclose(choice.error[k], np.mean(errors), rtol=RTOL)
        se = np.sqrt(np.sum(influence**2) * panel.n / (panel.n - 1))
        np.testing.assert_allclose(choice.se[k], se, rtol=2 * RTOL)
    assert choice.converged.all()
    best = int(np.argmin(choice.error))
    for field, column in choice.penalties.items():
        assert getattr(choice.best, field) == column[best]


def test_standard_error_is_the_usual_one():
    """One question, equal weights: the deviation of squared residuals over the root of n."""
    human, twin = split(small_panel(missing=0.0))
    x, y = scaled(twin[:, :-NEW]), scaled(twin[:, -1:])[:, 0]
    options = {"targets": [1], "settings": SETTINGS}
    choice = choose_penalty(Ridge(), human, twin, GRID, **options)
    squares = linear_model.RidgeCV(GRID, store_cv_results=True).fit(x, y).cv_results_
    np.testing.assert_allclose(choice.error, squares.mean(axis=0), rtol=RTOL)
    expected = squares.std(axis=0, ddof=1) / np.sqrt(len(squares))
    np.testing.assert_allclose(choice.se, expected, rtol=2 * RTOL)


def test_completions_hide_a_fold_of_the_twins_answers():
    """Against soft impute by plain singular value decompositions."""
    panel = small_panel(missing=0.1)
    human, twin = panel.human[:, :-1], panel.twin
    penalties, folds, n = np.array([0.5, 3.0]), 4, panel.n
    choice = choose_penalty(SoftImpute(10), human, twin, penalties, folds=folds, settings=SETTINGS)
    unknown = np.full((n, 1), np.nan)
    joined = np.vstack([np.hstack([scaled(human), unknown]), scaled(twin)])
    truth = joined[n:, -1].copy()
    for penalty, error in zip(penalties, choice.error):
        square = np.full(n, np.nan)
        for k in range(folds):
            out = np.arange(n) % folds == k
            rest = joined.copy()
            rest[n:, -1][out] = np.nan
            fit = np.zeros_like(rest)
            for _ in range(3000):
                u, s, v = np.linalg.svd(np.where(np.isnan(rest), fit, rest), full_matrices=False)
                fit = (u * np.maximum(s - penalty, 0)) @ v
            square[out] = (truth[out] - fit[n:, -1][out]) ** 2
        np.testing.assert_allclose(error, np.nanmean(square), rtol=1e-5 if X64 else 1e-2)


def test_folds_are_random_with_a_key():
    human, twin = split(small_panel())
    runs = [
        choose_penalty(Ridge(), human, twin, GRID, folds=3, key=key).error
        for key in (None, jax.random.key(0), jax.random.key(0), jax.random.key(1))
    ]
    np.testing.assert_array_equal(runs[1], runs[2])
    assert np.all(runs[1] != runs[0]) and np.all(runs[1] != runs[3])


def test_twins_judge_without_a_look_at_the_humans():
    """Only which questions people were asked matters, for regressions; bit for bit."""
    human, twin = split(small_panel())
    rng = np.random.default_rng(0)
    before = choose_penalty(Ridge(), human, twin, GRID, settings=SETTINGS)
    other = 100 * rng.normal(size=human.shape)
    after = choose_penalty(Ridge(), other, twin, GRID, settings=SETTINGS)
    np.testing.assert_array_equal(before.error, after.error)


# --- known questions as the judge -----------------------------------------------------------------


def judged_by_questions(method, panel, values, **options):
    """With a new question, which plays no part, and weights."""
    new = np.random.default_rng(0).normal(size=(panel.n, 1))
    twin = np.hstack([panel.twin, new])
    options = {"sample_weight": weights(panel.n), "settings": SETTINGS} | options
    return choose_penalty(method, panel.human, twin, values, judge="questions", **options)


def predicted(method, panel, j, weight):
    human, twin, truth = as_new_question(panel, j)
    result = calibrate_question(method, human, twin, sample_weight=weight, settings=SETTINGS)
    seen = ~np.isnan(truth)
    return np.asarray(result.prediction)[seen, 0], truth[seen], weight[seen]


@pytest.mark.parametrize("name", ["Ridge", "ElasticNet", "SoftImpute"])
def test_question_errors_are_those_of_calibrating_each_as_new(name):
    panel = small_panel()
    method = METHODS[name]
    field = "alpha" if name == "ElasticNet" else "penalty"
    values = np.array([0.02, 0.5]) if field == "alpha" else np.array([0.5, 5.0])
    choice = judged_by_questions(method, panel, values)
    for k, value in enumerate(values):
        candidate = dataclasses.replace(method, **{field: value})
        for j in range(panel.m):
            prediction, truth, weight = predicted(candidate, panel, j, weights(panel.n))
            mean = np.average(truth, weights=weight)
            error = np.average((truth - prediction) ** 2, weights=weight)
            error /= np.average((truth - mean) ** 2, weights=weight)
            np.testing.assert_allclose(choice.by_question[k, j], error, rtol=RTOL)
    np.testing.assert_allclose(choice.error, choice.by_question.mean(axis=1), rtol=1e-5)
    se = np.std(choice.by_question, axis=1, ddof=1) / np.sqrt(panel.m)
    np.testing.assert_allclose(choice.se, se, rtol=1e-4)


def test_correlations_and_chosen_questions():
    panel, questions = small_panel(), [7, 2]
    choice = judged_by_questions(Ridge(), panel, [0.5, 5.0], metric="pearson", targets=questions)
    for k, penalty in enumerate([0.5, 5.0]):
        for column, j in enumerate(questions):
            prediction, truth, weight = predicted(Ridge(penalty), panel, j, weights(panel.n))
            covariance = np.cov(prediction, truth, aweights=weight)
            correlation = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
            expected = 1 - correlation
            np.testing.assert_allclose(choice.by_question[k, column], expected, rtol=RTOL)


# --- both -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("judge", ["twins", "questions"])
def test_the_choice_is_good_for_the_humans(judge):
    """Nothing of the truth is used, and the error on it is close to the best of the grid."""
    human, twin, truth = new_survey()
    grid = np.geomspace(0.01, 1e4, 13)
    best = float(choose_penalty(Ridge(), human, twin, grid, judge=judge).best.penalty)

    def error(penalty):
        prediction = calibrate_question(Ridge(penalty), human, twin).prediction
        return np.mean(np.var(np.asarray(prediction) - truth, axis=0))

    errors = [error(penalty) for penalty in grid]
    assert error(best) < 1.05 * min(errors)
    assert max(errors[0], errors[-1]) > 1.2 * min(errors)


class Counting(Ridge):
    """Ridge that counts how often it is traced, and is not taken for Ridge's closed form."""

    traces = 0

    def fit(self, problem, settings):
        Counting.traces += 1
        return super().fit(problem, settings)


@pytest.mark.parametrize("judge", ["twins", "questions"])
def test_one_trace_serves_many_penalties(judge):
    human, twin = split(small_panel())

    def traces(grid):
        before = Counting.traces
        jax.eval_shape(lambda: choose_penalty(Counting(), human, twin, grid, judge=judge).error)
        return Counting.traces - before

    once = traces(np.geomspace(0.1, 10, 3))
    assert once > 0
    assert traces(np.geomspace(1, 50, 3)) == 0
    assert traces(np.geomspace(0.1, 10, 11)) == once


def test_candidates_side_by_side_equal_one_after_the_other(monkeypatch):
    """The layout for accelerators, run on a CPU."""
    human, twin = split(small_panel())
    options = {"folds": 3, "settings": SETTINGS}
    loop = choose_penalty(ElasticNet(), human, twin, [0.02, 0.2], **options)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    batch = choose_penalty(ElasticNet(), human, twin, [0.02, 0.2], **options)
    np.testing.assert_allclose(batch.error, loop.error, rtol=1e-4)


def test_under_jit_in_either_precision(dtype):
    human, twin = (jnp.asarray(a, dtype) for a in split(small_panel()))
    plain = choose_penalty(Ridge(), human, twin, GRID, settings=SETTINGS)
    choose = jax.jit(lambda h, t: choose_penalty(Ridge(), h, t, GRID, settings=SETTINGS))
    traced = choose(human, twin)
    assert plain.error.dtype == dtype
    np.testing.assert_allclose(traced.error, plain.error, rtol=1e-5)
    assert traced.best.penalty == plain.best.penalty


def test_a_candidate_without_a_fit_is_not_chosen():
    """A question asked twice leaves ridge without a penalty undetermined."""
    human, twin = (a.copy() for a in split(small_panel(missing=0.0)))
    human[:, 1], twin[:, 1] = human[:, 0], twin[:, 0]
    choice = choose_penalty(Ridge(), human, twin, [0.0, 1.0, 2.0, 3.0], settings=SETTINGS)
    assert np.isinf(choice.error[0]) and np.isfinite(choice.error[1:]).all()
    assert list(choice.converged) == [False, True, True, True] and choice.best.penalty >= 1
    with pytest.raises(ValueError, match="no candidate could be judged"):
        choose_penalty(Ridge(), human, twin, np.zeros(4), settings=SETTINGS)


def test_questions_without_variance():
    """Where twins or humans all say the same, no candidate is better than another."""
    panel = small_panel(missing=0.0)
    human, twin = panel.human.copy(), panel.twin.copy()
    twin[:, 1], human[:, 2] = 3.0, 2.0
    choice = judged_by_questions(Ridge(), panel.replace(human=human, twin=twin), [0.5, 5.0])
    assert np.isnan(choice.by_question[:, 1:3]).all()
    assert np.isfinite(np.delete(choice.by_question, [1, 2], axis=1)).all()
    np.testing.assert_allclose(choice.error, np.nanmean(choice.by_question, axis=1), rtol=1e-5)
    human, twin = split(panel)
    constant = np.where(np.arange(panel.m) < panel.m - NEW, twin, 3.0)
    with pytest.raises(ValueError, match="no question's answers vary"):
        choose_penalty(Ridge(), human, constant, GRID, settings=SETTINGS)


@pytest.mark.parametrize("judge", ["twins", "questions"])
def test_an_unfinished_imputation_is_reported_apart_from_the_fits(judge):
    """Two steps are too few; what ridge makes of their result is exact all the same."""
    human, twin = split(small_panel())
    long = SETTINGS.change(imputation={"rank": 2, "max_steps": 100_000})
    short = SETTINGS.change(imputation={"max_steps": 2})
    for settings, status in ((short, Status.MAX_STEPS), (long, Status.CONVERGED)):
        choice = choose_penalty(Ridge(), human, twin, GRID, judge=judge, settings=settings)
        assert int(choice.imputation_status) == status and choice.converged.all()
    if judge == "twins":
        path = tune_penalty(Ridge(), human, twin, steps=2, settings=short)
        assert int(path.imputation_status) == Status.MAX_STEPS and path.converged.all()


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, message",
    [
        ({"method": HardImpute(2)}, "HardImpute has no `penalty` or `alpha`"),
        ({"method": NeuralNet()}, "NeuralNet has no `penalty` or `alpha`"),
        ({"method": Ridge(jnp.ones(3))}, "penalty must be a scalar"),
        ({"penalties": {"rank": [2.0, 3.0]}}, "no array called 'rank'"),
        ({"penalties": {"lam": [2.0, 3.0]}}, "no array called 'lam'"),
        ({"penalties": {}}, "penalties is empty"),
        ({"penalties": []}, "penalty must be a list"),
        ({"penalties": 3.0}, "penalty must be a list"),
        ({"penalties": [1.0, -1.0]}, "Ridge: penalty must be finite and at least 0"),
        ({"penalties": [1.0, np.nan]}, "Ridge: penalty must be finite and at least 0"),
        ({"judge": "humans"}, "judge must be"),
        ({"judge": "questions", "folds": 3}, "folds and key are for judge='twins'"),
        ({"judge": "questions", "targets": [8]}, "targets must lie in 0..7"),
        ({"metric": "r2"}, "metric must be"),
        ({"metric": "pearson"}, "metric: twins judge by squared errors"),
        ({"folds": 1}, "`folds` must be a whole number from 2 to the number of users, 24"),
        ({"folds": 25}, "`folds` must be a whole number from 2 to the number of users, 24"),
        ({"targets": [2]}, "targets must lie in 0..1"),
        ({"targets": []}, "targets must be positions"),
        ({"sample_weight": np.ones(3)}, "`sample_weight` must have shape"),
        ({"twin": small_panel().twin[:, :8]}, "twin holds no new question"),
        ({"twin": small_panel().twin[:, :7]}, "twin must hold the same users"),
        ({"twin": small_panel().twin[:5]}, "twin must hold the same users"),
        ({"human": np.full((24, 8), np.inf)}, "`human` contains infinities"),
    ],
)
def test_bad_input_is_named(change, message):
    human, twin = split(small_panel())
    arguments = {"method": Ridge(), "human": human, "twin": twin, "penalties": GRID} | change
    with pytest.raises(ValueError, match=message):
        choose_penalty(**arguments)
