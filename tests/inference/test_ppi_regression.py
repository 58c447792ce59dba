"""Prediction-powered coefficients against closed forms, SciPy's optimiser, and simulations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from syndigits_jax.inference import Basis, ppi_linear, ppi_logistic, ppi_mean
from syndigits_jax.solvers import Status

N, K = 300, 80
RNG = np.random.default_rng(4)
X = np.stack([np.ones(N), RNG.normal(size=N)], axis=1)
FULL = X @ [0.5, 1.0] + RNG.normal(size=N)
TWIN = 1 + 0.8 * FULL + 0.5 * RNG.normal(size=N)
YES = (RNG.random(N) < 1 / (1 + np.exp(-X @ [0.2, 0.9]))).astype(float)
SAYS = np.where(RNG.random(N) < 0.85, YES, 1 - YES)
ASKED = np.arange(N) < K
WEIGHT = RNG.uniform(0.5, 2, size=N)


def hidden(values):
    return np.where(ASKED, values, np.nan)


def test_people_alone_are_least_squares_with_robust_errors():
    found = ppi_linear(X, hidden(FULL), TWIN, tuning=0.0).value
    x, y = X[ASKED], FULL[ASKED]
    coef, *_ = np.linalg.lstsq(x, y, rcond=None)
    inverse = np.linalg.inv(x.T @ x)
    levers = np.sum((x @ inverse) * x, axis=1)
    hc3 = inverse @ (x.T * ((y - x @ coef) / (1 - levers)) ** 2) @ x @ inverse
    np.testing.assert_allclose(found.value, coef, rtol=1e-4)
    np.testing.assert_allclose(found.standard_error, np.sqrt(np.diag(hc3)), rtol=1e-4)
    np.testing.assert_allclose(found.classical.upper, found.upper, rtol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("model", ["linear", "logistic"])
def test_given_tunings_minimise_the_published_loss(model, weighted):
    """L_asked(y) + λ (L_others(f) - L_asked(f)), minimised by SciPy."""
    lam = 0.7
    weight = WEIGHT if weighted else np.ones(N)
    y, f = (FULL, TWIN) if model == "linear" else (YES, SAYS)

    def loss(coef, target, who):
        eta = X[who] @ coef
        each = (
            (target[who] - eta) ** 2 / 2
            if model == "linear"
            else np.logaddexp(0, eta) - target[who] * eta
        )
        return np.average(each, weights=weight[who])

    def total(coef):
        return loss(coef, y, ASKED) + lam * (loss(coef, f, ~ASKED) - loss(coef, f, ASKED))

    best = scipy.optimize.minimize(total, np.zeros(2), tol=1e-10).x
    fit = ppi_linear if model == "linear" else ppi_logistic
    found = fit(X, hidden(y), f, tuning=lam, sample_weight=weight)
    assert int(found.status) == Status.CONVERGED
    np.testing.assert_allclose(found.value.value, best, atol=2e-4)


def test_an_intercept_alone_is_a_mean():
    ones = np.ones((N, 1))
    for kwargs in ({}, {"finite": True}, {"sample_weight": WEIGHT}):
        ours = ppi_linear(ones, hidden(FULL), TWIN, **kwargs).value
        mean = ppi_mean(hidden(FULL), TWIN, **kwargs)
        np.testing.assert_allclose(ours.value[0], mean.value, rtol=1e-3)
        np.testing.assert_allclose(ours.standard_error[0], mean.standard_error, rtol=0.05)


def test_units_of_regressors():
    scale = np.array([1.0, 1e4])
    for fit, y, f in ((ppi_linear, FULL, TWIN), (ppi_logistic, YES, SAYS)):
        usual, other = fit(X, hidden(y), f).value, fit(X * scale, hidden(y), f).value
        for name in ("value", "standard_error", "lower"):
            ours = np.asarray(getattr(other, name)) * scale
            np.testing.assert_allclose(ours, getattr(usual, name), rtol=2e-3)


def test_several_proxies_and_one_coefficient():
    proxies = np.stack([TWIN, X[:, 1] + RNG.normal(size=N)], axis=1)
    both = ppi_linear(X, hidden(FULL), proxies).value
    assert both.tuning.shape == (2,) and (np.asarray(both.worth) > 10).all()
    first, second = (
        ppi_linear(X, hidden(FULL), TWIN, coefficient=j).value.standard_error for j in (0, 1)
    )
    assert first[0] <= second[0] * 1.001 and second[1] <= first[1] * 1.001


def test_rows_of_one_person_count_once():
    person = np.repeat(np.arange(N), 3)
    once = ppi_linear(X, hidden(FULL), TWIN).value
    thrice = ppi_linear(X[person], hidden(FULL)[person], TWIN[person], clusters=person).value
    np.testing.assert_allclose(thrice.value, once.value, rtol=5e-3)
    np.testing.assert_allclose(thrice.standard_error, once.standard_error, rtol=1e-2)


def test_what_has_no_solution_says_so():
    twice = np.concatenate([X, X[:, 1:]], axis=1)
    found = ppi_linear(twice, hidden(FULL), TWIN)
    assert int(found.status) == Status.SINGULAR and np.isnan(found.value.value).all()
    apart = (X[:, 1] > 0).astype(float)  # separated by the regressor
    found = ppi_logistic(X, hidden(apart), SAYS)
    assert int(found.status) in (Status.MAX_STEPS, Status.NONFINITE, Status.SINGULAR)
    assert np.isnan(found.value.upper).all()


def test_useless_proxies_leave_people_alone():
    found = ppi_linear(X, hidden(FULL), np.ones(N)).value
    assert int(found.basis[0]) == Basis.PEOPLE
    np.testing.assert_allclose(found.upper, found.classical.upper, rtol=1e-5)


@pytest.mark.parametrize("model", ["linear", "logistic"])
def test_coverage(model):
    """Of the slope at n = 40 with good twins: no worse than people alone, and narrower."""
    repeats, size = 1000, 120
    keys = jax.random.split(jax.random.key(1), 3)
    x, noise = (jax.random.normal(k, (repeats, size)) for k in keys[:2])
    chance = jax.nn.sigmoid(x)
    if model == "linear":
        y = x + jax.random.normal(keys[2], (repeats, size))
        twin = y + 0.5 * noise
    else:
        y = (jax.random.uniform(keys[2], (repeats, size)) < chance).astype(x.dtype)
        twin = jnp.where(noise > 1.3, 1 - y, y)

    def one(x, y, twin):
        design = jnp.stack([jnp.ones_like(x), x], axis=1)
        truth = jnp.where(jnp.arange(size) < 40, y, jnp.nan)
        fit = ppi_linear if model == "linear" else ppi_logistic
        return fit(design, truth, twin, level=0.9)

    solution = jax.jit(jax.vmap(one))(x, y, twin)
    found, good = solution.value, np.asarray(solution.status) == Status.CONVERGED
    assert good.mean() > 0.98

    def covers(interval):
        inside = (interval.lower[:, 1] <= 1) & (interval.upper[:, 1] >= 1)
        return np.mean(np.asarray(inside)[good])

    assert covers(found) > min(0.9, covers(found.classical)) - 3 * np.sqrt(0.09 / repeats)
    width = [np.median(np.asarray(f.half_width)[good, 1]) for f in (found, found.classical)]
    assert width[0] < 0.9 * width[1]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ppi_linear(X[:5], hidden(FULL), TWIN), "`x` must have shape"),
        (
            lambda: ppi_linear(np.where(X > 2, np.nan, X), hidden(FULL), TWIN),
            "`x` must be complete",
        ),
        (lambda: ppi_linear(X, np.where(np.arange(N) < 2, 1.0, np.nan), TWIN), "2 people have an"),
        (lambda: ppi_linear(X, hidden(FULL), TWIN, coefficient=2), "`coefficient` must be"),
        (lambda: ppi_logistic(X, hidden(FULL), TWIN), "`truth` must be 0 or 1"),
        (lambda: ppi_logistic(X, hidden(YES), SAYS, max_steps=0), "`max_steps` must be"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
