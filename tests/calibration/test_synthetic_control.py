"""Synthetic control from the second moments that all regressions of a fold share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from syndigits_jax.calibration import Fitting, Ridge, Settings, SyntheticControl
from syndigits_jax.calibration.problem import Regression
from syndigits_jax.solvers import Status

N, P = 40, 4


def problem(origin=0.0):
    """Twins whose target is a mix of donors, and humans whose predictions are the weights."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, P))
    y = x @ [0.5, 0.3, 0.2, 0.0] + 0.3 * rng.normal(size=N)
    weight = rng.uniform(0.5, 2, N)
    arrays = [jnp.asarray(a, jnp.result_type(float)) for a in (x + origin, y + origin, weight)]
    ones, eye = jnp.ones_like(arrays[1]), jnp.eye(N, P, dtype=arrays[0].dtype)
    return Regression(*arrays, eye, 0 * ones, ones), (x, y, weight)


def square_products(function, *arguments):
    """How many matrix products over the rows give a (P, P) matrix."""

    def count(jaxpr):
        total = 0
        for equation in jaxpr.eqns:
            shapes = [v.aval.shape for v in equation.outvars]
            rows = any(N in v.aval.shape for v in equation.invars if hasattr(v.aval, "shape"))
            total += equation.primitive.name == "dot_general" and shapes == [(P, P)] and rows
            total += sum(count(inner) for inner in jax.core.jaxprs_in_params(equation.params))
        return total

    return count(jax.make_jaxpr(function)(*arguments).jaxpr)


@pytest.mark.parametrize("simplex", ["certified", "unconverged"])
def test_second_moments_are_summed_once(simplex):
    """Once for all regressions of a fold; fit, training error and certificate need no more."""
    regression, _ = problem()
    assert square_products(lambda r: r.with_moments().moments.gram, regression) == 1
    settings = Settings(fitting=Fitting(simplex=simplex))
    for method in (SyntheticControl(0.1), Ridge(0.1)):
        fit = lambda r, method=method: method.fit(r, settings).value.prediction  # noqa: E731
        assert square_products(fit, regression.with_moments()) == 0


@pytest.mark.parametrize("origin", [0.0, 1000.0])
@pytest.mark.parametrize("penalty", [0.0, 5.0])
def test_weights_do_not_depend_on_where_zero_is(origin, penalty):
    regression, (x, y, weight) = problem(origin)
    fit = SyntheticControl(penalty).fit(regression.with_moments(), Settings())

    def loss(w):
        return weight @ (x @ w - y) ** 2 + penalty * w @ w

    total = {"type": "eq", "fun": lambda w: w.sum() - 1}
    best = minimize(loss, np.full(P, 1 / P), bounds=[(0, 1)] * P, constraints=[total], tol=1e-12)
    weights = np.asarray(fit.value.prediction[:P, 0], float)
    np.testing.assert_allclose(weights, best.x, atol=1e-3)
    assert loss(weights) <= best.fun * (1 + 1e-4)
    error = np.average((x @ best.x - y) ** 2, weights=weight)
    np.testing.assert_allclose(fit.value.training_mse[0], error, rtol=1e-2)
    assert int(fit.status) in (Status.CONVERGED, Status.MAX_STEPS)
