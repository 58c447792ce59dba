"""Prediction-powered inference against the public packages `ppi-python` and `glide-py`.

Their standard errors divide by n where ours divide by n - 1, and their intervals use normal
quantiles: compared are estimates at the same tuning, and errors up to that factor.
"""

import warnings

import numpy as np
import pytest

from syndigits_jax.inference import (
    ppi_linear,
    ppi_logistic,
    ppi_mean,
    ppi_quantile,
)

N, K = 1200, 300
RNG = np.random.default_rng(1)
X = np.stack([np.ones(N), RNG.normal(size=N), RNG.uniform(size=N)], axis=1)
ETA = X @ [0.3, 0.8, -0.5]
FULL = ETA + RNG.normal(size=N)
TWIN = 0.2 + 0.9 * FULL + 0.5 * RNG.normal(size=N)
YES = (RNG.random(N) < 1 / (1 + np.exp(-ETA))).astype(float)
SAYS = np.clip(0.15 + 0.6 * YES + 0.2 * RNG.random(N), 0, 1)
WEIGHT = RNG.uniform(0.5, 2, size=N)
ASKED = np.arange(N) < K
LEVEL = 0.9
Z = 1.6448536269514722
FACTOR = np.sqrt(K / (K - 1))


def hidden(values):
    return np.where(ASKED, values, np.nan)


@pytest.fixture(scope="module")
def ppi():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("ppi_py")


@pytest.mark.parametrize("lam", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_means(ppi, lam, weighted):
    w = {"w": WEIGHT[ASKED], "w_unlabeled": WEIGHT[~ASKED]} if weighted else {}
    given = FULL[ASKED], TWIN[ASKED], TWIN[~ASKED]
    value = ppi.ppi_mean_pointestimate(*given, lam=lam, **w)
    low, high = ppi.ppi_mean_ci(*given, alpha=1 - LEVEL, lam=lam, **w)
    found = ppi_mean(hidden(FULL), TWIN, tuning=lam, sample_weight=WEIGHT if weighted else None)
    np.testing.assert_allclose(found.value, np.squeeze(value), rtol=1e-5)
    # With weights theirs is the spread of w y, ours (as in survey sampling) that of w (y - mean).
    error = np.squeeze(high - low) / (2 * Z)
    close = 0.25 if weighted else 2e-3
    np.testing.assert_allclose(found.standard_error, error * FACTOR, rtol=close)


def test_power_tuning(ppi):
    """The optimal λ of PPI++, of which the F test keeps all but a little."""
    value = ppi.ppi_mean_pointestimate(FULL[ASKED], TWIN[ASKED], TWIN[~ASKED])
    low, high = ppi.ppi_mean_ci(FULL[ASKED], TWIN[ASKED], TWIN[~ASKED], alpha=1 - LEVEL)
    found = ppi_mean(hidden(FULL), TWIN, level=LEVEL)
    np.testing.assert_allclose(found.value, np.squeeze(value), atol=2e-3)
    np.testing.assert_allclose([found.lower, found.upper], np.squeeze([low, high]), atol=5e-3)


@pytest.mark.parametrize("q", [0.25, 0.5, 0.9])
def test_quantiles(ppi, q):
    value = ppi.ppi_quantile_pointestimate(
        FULL[ASKED], TWIN[ASKED], TWIN[~ASKED], q, exact_grid=True
    )
    low, high = ppi.ppi_quantile_ci(
        FULL[ASKED], TWIN[ASKED], TWIN[~ASKED], q, alpha=1 - LEVEL, exact_grid=True
    )
    found = ppi_quantile(hidden(FULL), TWIN, q, tuning=1.0, level=LEVEL)
    step = 0.06  # a few answers: the grid here has those of people only
    np.testing.assert_allclose(found.value, value, atol=step)
    np.testing.assert_allclose([found.lower, found.upper], [low, high], atol=3 * step)


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_linear_regressions(ppi, lam):
    given = X[ASKED], FULL[ASKED], TWIN[ASKED], X[~ASKED], TWIN[~ASKED]
    value = ppi.ppi_ols_pointestimate(*given, lam=lam)
    low, high = ppi.ppi_ols_ci(*given, alpha=1 - LEVEL, lam=lam)
    found = ppi_linear(X, hidden(FULL), TWIN, tuning=lam).value
    # Theirs adds two regressions, of the proxies of people not asked and of the rectifier.
    np.testing.assert_allclose(found.value, value, atol=2e-4 if lam == 0 else 0.015)
    np.testing.assert_allclose(found.standard_error, (high - low) / (2 * Z), rtol=0.07)


@pytest.mark.filterwarnings("ignore:.*penalty:FutureWarning")
@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_logistic_regressions(ppi, lam):
    given = X[ASKED], YES[ASKED], SAYS[ASKED], X[~ASKED], SAYS[~ASKED]
    value = ppi.ppi_logistic_pointestimate(*given, lam=lam)
    low, high = ppi.ppi_logistic_ci(*given, alpha=1 - LEVEL, lam=lam)
    solution = ppi_logistic(X, hidden(YES), SAYS, tuning=lam)
    assert int(solution.status) == 0 and solution.optimality < 1e-4
    np.testing.assert_allclose(solution.value.value, value, atol=2e-3)
    np.testing.assert_allclose(solution.value.standard_error, (high - low) / (2 * Z), rtol=0.07)


@pytest.mark.filterwarnings("ignore:.*penalty:FutureWarning")
def test_tuned_regressions(ppi):
    """Tuned for one coefficient; theirs is clipped to 0 to 1 as ours in the logistic one."""
    given = X[ASKED], FULL[ASKED], TWIN[ASKED], X[~ASKED], TWIN[~ASKED]
    low, high = ppi.ppi_ols_ci(*given, alpha=1 - LEVEL, coord=1)
    found = ppi_linear(X, hidden(FULL), TWIN, coefficient=1).value
    np.testing.assert_allclose(found.standard_error[1], (high - low)[1] / (2 * Z), rtol=0.06)
    given = X[ASKED], YES[ASKED], SAYS[ASKED], X[~ASKED], SAYS[~ASKED]
    low, high = ppi.ppi_logistic_ci(*given, alpha=1 - LEVEL, coord=1)
    found = ppi_logistic(X, hidden(YES), SAYS, coefficient=1).value
    np.testing.assert_allclose(found.standard_error[1], (high - low)[1] / (2 * Z), rtol=0.05)


@pytest.fixture(scope="module")
def estimators():
    return pytest.importorskip("glide.estimators")  # needs Python 3.12


def test_means_of_glide(estimators):
    truth = hidden(FULL)
    plain = estimators.PPIMeanEstimator().estimate(truth, TWIN, power_tuning=False)
    found = ppi_mean(truth, TWIN, tuning=1.0)
    np.testing.assert_allclose([found.value, found.standard_error], [plain.mean, plain.std], 2e-3)
    assert abs(float(found.effective_people) - plain.effective_sample_size) < 3
    tuned = estimators.PPIMeanEstimator().estimate(truth, TWIN)
    found = ppi_mean(truth, TWIN)
    np.testing.assert_allclose([found.value, found.standard_error], [tuned.mean, tuned.std], 0.02)


def test_several_proxies_strata_and_clusters_of_glide(estimators):
    truth, several = hidden(FULL), np.stack([TWIN, ETA + 0.5 * RNG.normal(size=N)], axis=1)
    judge = estimators.MultiPPIMeanEstimator().estimate(truth, several)
    found = ppi_mean(truth, several)
    np.testing.assert_allclose([found.value, found.standard_error], [judge.mean, judge.std], 0.02)
    stratum = (X[:, 1] > 0).astype(int)
    judge = estimators.StratifiedPPIMeanEstimator().estimate(truth, TWIN, stratum)
    found = ppi_mean(truth, TWIN, strata=stratum)
    np.testing.assert_allclose([found.value, found.standard_error], [judge.mean, judge.std], 0.02)
    person = np.arange(N) // 4
    judge = estimators.ClusteredPPIMeanEstimator().estimate(truth, TWIN, person)
    found = ppi_mean(truth, TWIN, clusters=person)
    np.testing.assert_allclose([found.value, found.standard_error], [judge.mean, judge.std], 0.04)
