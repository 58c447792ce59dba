"""Estimators of scikit-learn: its own checks, its own solutions, pipelines and searches."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from syndigits_jax import calibration
from syndigits_jax.calibration import NeuralNet, SyntheticIntervention
from syndigits_jax.sklearn import (
    ElasticNetRegressor,
    LowRankImputer,
    RidgeRegressor,
    SimplexRegressor,
)

# Exceptions to scikit-learn's checks, by estimator: check and reason.
EXCEPTIONS: dict[type, dict[str, str]] = {}


@parametrize_with_checks(
    [RidgeRegressor(), ElasticNetRegressor(), SimplexRegressor(), LowRankImputer()],
    expected_failed_checks=lambda estimator: EXCEPTIONS.get(type(estimator), {}),
)
def test_scikit_learn_s_own_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 5)) * [1, 2, 3, 4, 5] + 1
    return x, x @ [1, 0, -1, 0, 0.5] + rng.normal(size=40), rng.integers(0, 3, 40).astype(float)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (RidgeRegressor(3.0), Ridge(3.0, tol=1e-12)),
        (ElasticNetRegressor(0.2, tol=1e-12), ElasticNet(0.2, tol=1e-12)),
    ],
)  # fmt: skip
def test_solutions_are_scikit_learn_s(data, ours, theirs):
    x, y, weight = data
    for w in (None, weight):
        a, b = ours.fit(x, y, w), theirs.fit(x, y, w)
        assert a.coef_.dtype == np.float64
        # A duality gap of 1e-12 leaves coefficients its square root apart.
        np.testing.assert_allclose(a.coef_, b.coef_, rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(a.predict(x), b.predict(x), rtol=1e-5)
    narrow = ours.fit(x.astype(np.float32), y.astype(np.float32), weight)
    assert narrow.coef_.dtype == np.float32
    np.testing.assert_allclose(narrow.coef_, theirs.coef_, rtol=2e-3, atol=2e-3)


def test_weights_on_the_simplex_are_found(data):
    x, _, weight = data
    truth = np.array([0.5, 0, 0.25, 0, 0.25])
    model = SimplexRegressor(tol=1e-12).fit(x, x @ truth, weight)
    np.testing.assert_allclose(model.coef_, truth, atol=1e-6)
    assert model.intercept_ == 0 and model.optimality_ <= 1e-10


def test_they_work_in_pipelines_and_searches(data):
    x, y, _ = data
    gaps = np.where(np.random.default_rng(1).random(x.shape) < 0.1, np.nan, x)
    model = make_pipeline(LowRankImputer(rank=3, tol=1e-2), StandardScaler(), ElasticNetRegressor())
    grid = {"elasticnetregressor__alpha": [1e-3, 5.0], "lowrankimputer__method": ["soft", "hard"]}
    search = GridSearchCV(model, grid, cv=2).fit(gaps, y)
    assert search.best_params_["elasticnetregressor__alpha"] == 1e-3
    assert search.best_score_ > 0.5


@pytest.mark.parametrize("method", ["soft", "hard", "als"])
def test_missing_entries_of_low_rank_matrices_are_restored(method):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 2)) @ rng.normal(size=(2, 8)) + 3
    gaps = np.where(rng.random(x.shape) < 0.15, np.nan, x)
    imputer = LowRankImputer(method, rank=3, alpha=1e-3, tol=1e-9, max_iter=20000)
    filled = imputer.fit(gaps[:25]).transform(gaps)
    known = ~np.isnan(gaps)
    np.testing.assert_array_equal(filled[known], x[known])
    assert np.sqrt(np.mean((filled - x)[~known] ** 2)) < 0.1
    assert imputer.get_feature_names_out().shape == (8,)


def test_what_cannot_be_fitted_says_so(data):
    x, y, _ = data
    with pytest.warns(ConvergenceWarning, match="2 steps did not reach `tol`"):
        ElasticNetRegressor(1e-3, tol=1e-12, max_iter=2).fit(x, y)
    with pytest.raises(ValueError, match="RidgeRegressor: the problem is singular"):
        RidgeRegressor(0.0).fit(x[:, [0, 0]], y)
    for model in (RidgeRegressor(-1.0), ElasticNetRegressor(l1_ratio=2.0), SimplexRegressor(-1.0)):
        with pytest.raises(ValueError, match=r"penalt|alpha|l1_ratio"):
            model.fit(x, y)
    with pytest.raises(ValueError, match="`method` must be one of"):
        LowRankImputer("odd").fit(x)
    with pytest.raises(ValueError, match="column 1 has no entry"):
        LowRankImputer().fit(np.where(np.arange(5) == 1, np.nan, x))


def test_calibrators_print_their_hyperparameters_and_clone():
    assert repr(calibration.Ridge(0.1)) == "Ridge(penalty=0.1)"
    net = NeuralNet(hidden=(4,), epochs=3)
    assert "hidden=(4,)" in repr(net) and "epochs=3" in repr(net)
    assert repr(calibration.Ridge(jnp.ones(3, jnp.float32))) == "Ridge(penalty=f32[3])"
    for method in (net, SyntheticIntervention(2, 0.5)):
        copy = clone(method)
        assert type(copy) is type(method) and copy is not method and repr(copy) == repr(method)
