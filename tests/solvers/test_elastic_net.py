import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.test_util import check_grads
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet

from syndigits_jax.solvers.elastic_net import (
    critical_alpha,
    critical_alpha_from_gram,
    elastic_net,
    elastic_net_from_gram,
    elastic_net_path,
    elastic_net_path_from_gram,
)
from syndigits_jax.solvers.linear_model import gram_statistics
from syndigits_jax.solvers.solution import Status, raise_on_failure

X64 = bool(jax.config.read("jax_enable_x64"))
needs_x64 = pytest.mark.skipif(not X64, reason="finite differences need float64")
SHAPES = [(30, 8), (12, 25)]  # Gram form and design form
RATIOS = [1.0, 0.4]

TRACES = []


def _fit(x, y, alpha, ratio, sample_weight, tol, max_steps, init, fit_intercept):
    TRACES.append(x.shape)
    return elastic_net(
        x,
        y,
        alpha,
        ratio,
        sample_weight=sample_weight,
        fit_intercept=fit_intercept,
        tol=tol,
        max_steps=max_steps,
        init=init,
    )


_compiled = jax.jit(_fit, static_argnums=8)
_compiled_batch = jax.jit(
    jax.vmap(_fit, in_axes=(None, 1, 0, 0, None, None, None, None, None)), static_argnums=8
)


def fit_net(
    x,
    y,
    alpha,
    ratio,
    *,
    sample_weight,
    tol=1e-4,
    max_steps=10_000,
    init=None,
    fit_intercept=True,
    compiled=_compiled,
):
    """`elastic_net` with every argument an array: one compilation for each shape and dtype."""
    alpha, ratio, tol = (jnp.asarray(a, x.dtype) for a in (alpha, ratio, tol))
    init = jnp.zeros(x.shape[1], x.dtype) if init is None else init
    steps = jnp.asarray(max_steps, jnp.int32)
    return compiled(x, y, alpha, ratio, sample_weight, tol, steps, init, fit_intercept)


fit_path = jax.jit(elastic_net_path)
largest_penalty = jax.jit(critical_alpha)


def problem(shape, dtype=None, seed=0, collinear=False):
    n, p = shape
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) + 0.5 * rng.normal(size=(n, 1)) + rng.normal(size=p)
    if collinear:
        x[:, 1::2] = x[:, : p // 2 * 2 : 2]
    y = x @ (rng.normal(size=p) * (rng.uniform(size=p) < 0.4)) + rng.normal(size=n) + 3
    w = rng.uniform(0.2, 2, size=n)
    return tuple(jnp.asarray(a, dtype or jnp.zeros(()).dtype) for a in (x, y, w))


def tight(dtype):
    return 1e-12 if dtype == jnp.float64 else 0.0


def tolerance(array):
    return 5e-3 if array.dtype == jnp.float32 else 1e-6


def objective(model, x, y, w, alpha, ratio):
    """The objective in float64 NumPy."""
    x, y, w, b = (np.asarray(a, np.float64) for a in (x, y, w, model.coef))
    residual = y - x @ b - float(model.intercept)
    penalty = alpha * (ratio * np.abs(b).sum() + 0.5 * (1 - ratio) * b @ b)
    return 0.5 * np.sum(w * residual**2) / np.sum(w) + penalty


def scikit_learn(x, y, w, alpha, ratio, fit_intercept=True, max_iter=5000):
    x, y, w = (np.asarray(a, np.float64) for a in (x, y, w))
    model = ElasticNet(
        alpha=alpha, l1_ratio=ratio, fit_intercept=fit_intercept, tol=1e-10, max_iter=max_iter
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, y, sample_weight=w)


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_scikit_learn(shape, fit_intercept, ratio, dtype):
    x, y, w = problem(shape, dtype)
    # At the smaller penalty the minimum of the wide problem is too flat for float32.
    for alpha in (0.3, 0.02) if dtype == jnp.float64 else (0.3,):
        ours = fit_net(
            x, y, alpha, ratio, sample_weight=w, fit_intercept=fit_intercept, tol=tight(dtype)
        )
        raise_on_failure(ours)
        assert ours.value.coef.dtype == dtype
        theirs = scikit_learn(x, y, w, alpha, ratio, fit_intercept, max_iter=100_000)
        np.testing.assert_allclose(ours.value.coef, theirs.coef_, atol=tolerance(x))
        np.testing.assert_allclose(ours.value.intercept, theirs.intercept_, atol=tolerance(x))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gap_is_scikit_learns(shape, dtype):
    # Far from the optimum the certificate is a number to compare, not just a small one.
    x, y, w = problem(shape, dtype)
    for alpha, ratio in ((0.3, 1.0), (0.3, 0.9)):
        ours = fit_net(x, y, alpha, ratio, sample_weight=w, max_steps=0)
        assert ours.status == Status.MAX_STEPS
        x64, y64, w64 = (np.asarray(a, np.float64) for a in (x, y, w))
        xc, yc = (a - np.average(a, axis=0, weights=w64) for a in (x64, y64))
        steepest = np.max(np.abs((w64 * yc) @ xc)) / w64.sum()
        shrink = min(1, alpha * ratio / steepest)
        expected = 0.5 * (1 - shrink) ** 2
        if ratio < 1:  # the certificate of the strongly convex penalty may be the smaller one
            excess = np.maximum(np.abs((w64 * yc) @ xc) / w64.sum() - alpha * ratio, 0)
            null = np.average(yc**2, weights=w64)
            expected = min(expected, np.sum(excess**2) / (2 * alpha * (1 - ratio)) / null)
        np.testing.assert_allclose(ours.optimality, expected, rtol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
@given(
    seed=st.integers(0, 10_000),
    alpha=st.floats(0.005, 2),
    ratio=st.sampled_from([0.0, 0.3, 1.0]),
    collinear=st.booleans(),
)
def test_the_gap_bounds_the_suboptimality(shape, seed, alpha, ratio, collinear):
    x, y, w = problem(shape, seed=seed, collinear=collinear)
    best = scikit_learn(x, y, w, alpha, max(ratio, 1e-9))
    reference = type("Model", (), {"coef": best.coef_, "intercept": best.intercept_})
    null = float(np.cov(y, aweights=w, ddof=0))
    lowest = objective(reference, x, y, w, alpha, ratio)
    for tol in (1e-2, 1e-4):
        ours = fit_net(x, y, alpha, ratio, sample_weight=w, tol=tol)
        assert ours.status == Status.CONVERGED
        assert 0 <= ours.optimality <= tol
        excess = (objective(ours.value, x, y, w, alpha, ratio) - lowest) / null
        assert excess <= float(ours.optimality) + 1e-5


@pytest.mark.parametrize("shape", SHAPES)
@given(seed=st.integers(0, 10_000), ratio=st.floats(0.05, 1))
def test_the_critical_penalty_gives_zeros(shape, seed, ratio):
    x, y, w = problem(shape, seed=seed)
    critical = largest_penalty(x, y, ratio, sample_weight=w)
    start = jnp.ones(shape[1], x.dtype)
    for init in (jnp.zeros_like(start), start):
        solution = fit_net(x, y, critical, ratio, sample_weight=w, init=init)
        assert solution.status == Status.CONVERGED
        assert np.all(np.asarray(solution.value.coef) == 0)
    below = fit_net(x, y, 0.98 * critical, ratio, sample_weight=w, tol=1e-6)
    assert np.any(np.asarray(below.value.coef) != 0)
    stats = gram_statistics(x, y, w)
    np.testing.assert_allclose(critical_alpha_from_gram(stats, ratio), critical, rtol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
@given(seed=st.integers(0, 10_000), alpha=st.floats(0.02, 0.5))
def test_doubled_weights_are_repeated_rows(shape, seed, alpha):
    x, y, w = problem(shape, seed=seed)
    counts = np.ones(len(y), int)
    counts[: len(y) // 3] = 2
    repeat = jnp.asarray(np.repeat(np.arange(len(y)), counts))
    options = {"tol": tight(x.dtype)}
    doubled = fit_net(x, y, alpha, 0.5, sample_weight=w * counts.astype(w.dtype), **options)
    repeated = fit_net(x[repeat], y[repeat], alpha, 0.5, sample_weight=w[repeat], **options)
    np.testing.assert_allclose(doubled.value.coef, repeated.value.coef, atol=tolerance(x))


@pytest.mark.parametrize("shape", SHAPES)
def test_vmap_equals_a_loop(shape, dtype):
    x, y, w = problem(shape, dtype)
    alphas = jnp.asarray([0.05, 0.1, 1.0, 50.0], dtype)
    ratios = jnp.asarray([1.0, 0.5, 0.2, 1.0], dtype)
    targets = jnp.stack([y, -2 * y, y**2, y], axis=1)
    options = {"sample_weight": w, "tol": tight(dtype)}
    batch = fit_net(x, targets, alphas, ratios, **options, compiled=_compiled_batch)
    for i in range(4):
        one = fit_net(x, targets[:, i], alphas[i], ratios[i], **options)
        assert batch.status[i] == one.status == Status.CONVERGED
        np.testing.assert_allclose(
            batch.value.coef[i], one.value.coef, atol=tolerance(x), rtol=tolerance(x)
        )


def test_one_trace_serves_many_penalties(dtype):
    x, y, w = problem(SHAPES[0], dtype)
    fit_net(x, y, 0.1, 0.5, sample_weight=w)
    traces = len(TRACES)
    for alpha, ratio, tol in ((0.2, 0.5, 1e-4), (0.1, 0.7, 1e-4), (0.1, 0.5, 1e-3)):
        fit_net(x, y, alpha, ratio, sample_weight=w, tol=tol)
    assert len(TRACES) == traces


@pytest.mark.parametrize("shape", SHAPES)
def test_a_nan_member_leaves_the_others_alone(shape, dtype):
    x, y, w = problem(shape, dtype)
    targets = jnp.stack([y, y**2, -y, y], axis=1)
    alphas = jnp.asarray([0.05, 0.05, 0.2, 0.1], dtype)
    ratios = jnp.full_like(alphas, 0.5)
    options = {"sample_weight": w, "compiled": _compiled_batch}
    clean = fit_net(x, targets, alphas, ratios, **options)
    batch = fit_net(x, targets.at[0, 1].set(jnp.nan), alphas.at[3].set(jnp.nan), ratios, **options)
    assert batch.status.tolist() == [0, Status.NONFINITE, 0, Status.NONFINITE]
    assert batch.steps[1] == batch.steps[3] == 0
    assert np.all(np.isnan(batch.value.coef[1])) and np.all(np.isnan(batch.value.coef[3]))
    np.testing.assert_array_equal(batch.value.coef[::2], clean.value.coef[::2])


@pytest.mark.parametrize("shape", SHAPES)
def test_path_agrees_with_single_fits_in_fewer_steps(shape, dtype):
    x, y, w = problem(shape, dtype)
    alphas = largest_penalty(x, y, 0.7, sample_weight=w) * jnp.asarray(0.7, dtype) ** jnp.arange(
        8, dtype=dtype
    )
    path = fit_path(x, y, alphas, 0.7, sample_weight=w, tol=1e-6)
    single = [fit_net(x, y, alpha, 0.7, sample_weight=w, tol=1e-6) for alpha in alphas]
    assert np.all(np.asarray(path.value.coef[0]) == 0)
    assert np.all(path.status == Status.CONVERGED)
    for k, one in enumerate(single):
        np.testing.assert_allclose(path.value.coef[k], one.value.coef, atol=2e-2)
    assert np.sum(path.steps) < sum(int(one.steps) for one in single)
    if shape[0] >= shape[1]:
        stats = gram_statistics(x, y, w)
        same = jax.jit(elastic_net_path_from_gram)(stats, alphas, 0.7, tol=1e-6)
        np.testing.assert_allclose(same.value.coef, path.value.coef, atol=1e-3)
        one = jax.jit(elastic_net_from_gram)(stats, alphas[3], 0.7, tol=1e-6)
        np.testing.assert_allclose(one.value.coef, single[3].value.coef, atol=1e-3)


def test_a_path_starts_from_where_it_was_in_any_units(dtype):
    x, y, w = problem(SHAPES[0], dtype)
    alphas = jnp.asarray([0.5, 0.4, 0.3, 0.2], dtype)
    unit = fit_path(x, y, alphas, 1.0, sample_weight=w, tol=1e-6)
    # Powers of two round nothing: the same iterates, and the same number of them.
    scaled = fit_path(2**18 * x, y / 4, 2**16 * alphas, 1.0, sample_weight=w, tol=1e-6)
    np.testing.assert_array_equal(scaled.steps, unit.steps)
    np.testing.assert_array_equal(scaled.value.coef * 2**20, unit.value.coef)


def test_nearly_collinear_columns_converge_to_a_tight_gap(dtype):
    # One row dominates every column: first-order steps alone take tens of thousands.
    rng = np.random.default_rng(3)
    x = rng.normal(size=(40, 120)) * 0.2 + 3 * (np.arange(40) == 0)[:, None]
    y = x[:, :4] @ rng.normal(size=4) + 0.1 * rng.normal(size=40)
    x, y = jnp.asarray(x, dtype), jnp.asarray(y, dtype)
    tol = 1e-9 if dtype == jnp.float64 else 1e-5
    ours = raise_on_failure(
        fit_net(x, y, 0.01, 1.0, sample_weight=jnp.ones_like(y), tol=tol, max_steps=2000)
    )
    best = scikit_learn(x, y, np.ones(40), 0.01, 1.0, max_iter=50_000)
    np.testing.assert_allclose(ours.value.coef, best.coef_, atol=1e-2)


def test_large_supports_take_the_dense_newton_step(dtype):
    rng = np.random.default_rng(5)
    for n, p in ((260, 220), (110, 220)):
        x = rng.normal(size=(n, p))
        y = x @ rng.normal(size=p)
        x, y = jnp.asarray(x, dtype), jnp.asarray(y, dtype)
        tol = 1e-10 if dtype == jnp.float64 else 0.0
        ours = raise_on_failure(fit_net(x, y, 0.3, 0.05, sample_weight=jnp.ones_like(y), tol=tol))
        assert np.sum(np.asarray(ours.value.coef) != 0) > 96
        best = scikit_learn(x, y, np.ones(n), 0.3, 0.05)
        np.testing.assert_allclose(ours.value.coef, best.coef_, atol=4 * tolerance(x))


@pytest.mark.parametrize("shape", SHAPES)
def test_degenerate_inputs(shape, dtype):
    x, y, w = problem(shape, dtype)
    constant = fit_net(x, jnp.full_like(y, 2.5), 0.1, 0.5, sample_weight=w, tol=0.0)
    assert constant.status == Status.CONVERGED
    assert np.all(np.abs(np.asarray(constant.value.coef)) < 1e-6)
    np.testing.assert_allclose(constant.value.intercept, 2.5, rtol=1e-5)
    flat = fit_net(jnp.ones_like(x), y, 0.1, 0.5, sample_weight=w)
    assert flat.status == Status.CONVERGED
    np.testing.assert_allclose(flat.value.intercept, np.average(y, weights=w), rtol=1e-5)
    unweighted = fit_net(x, y, 0.1, 0.5, sample_weight=jnp.zeros_like(w))
    assert unweighted.status == Status.CONVERGED
    assert np.all(np.asarray(unweighted.value.coef) == 0)
    # Without any penalty there is no certificate, but the fit is least squares.
    if shape[0] >= shape[1]:
        free = fit_net(x, y, 0.0, 0.5, sample_weight=w, tol=1e-12)
        root = np.sqrt(np.asarray(w))[:, None]
        design = root * np.c_[np.asarray(x), np.ones(len(y))]
        expected = np.linalg.lstsq(design, root[:, 0] * np.asarray(y), rcond=None)[0]
        np.testing.assert_allclose(free.value.coef, expected[:-1], atol=2 * tolerance(x))


def test_rounding_bounds_the_tolerance_of_float32():
    x, y, w = problem(SHAPES[0], jnp.float32)
    solution = fit_net(x, y, 0.05, 1.0, sample_weight=w, tol=0.0)
    assert solution.status == Status.CONVERGED
    assert solution.optimality <= 10 * np.finfo(np.float32).eps


@needs_x64
@pytest.mark.parametrize("shape", SHAPES)
def test_float32_agrees_with_float64(shape):
    double = problem(shape, jnp.float64)
    single = tuple(a.astype(jnp.float32) for a in double)
    fits = [fit_net(x, y, 0.1, 0.5, sample_weight=w, tol=0.0) for x, y, w in (double, single)]
    np.testing.assert_allclose(fits[1].value.coef, fits[0].value.coef, atol=5e-4)


@needs_x64
@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("shape", [(12, 6), (6, 10)])
def test_gradients_agree_with_finite_differences(shape, ratio):
    x, y, w = problem(shape, jnp.float64, seed=1)

    def fit(x, y, w, alpha, ratio):
        model = elastic_net(x, y, alpha, ratio, sample_weight=w, tol=1e-14).value
        return model.coef, model.intercept

    support = np.asarray(fit(x, y, w, 0.2, ratio)[0]) != 0
    assert 1 < support.sum() < shape[1]
    arguments = (x, y, w, jnp.asarray(0.2), jnp.asarray(ratio))
    if ratio == 1:  # differences cannot step beyond it
        arguments, whole = arguments[:-1], fit
        check_grads(jax.jit(lambda *a: whole(*a, 1.0)), arguments, order=1, atol=1e-5, rtol=1e-4)
    else:
        check_grads(jax.jit(fit), arguments, order=1, atol=1e-5, rtol=1e-4)


@needs_x64
def test_second_derivatives_agree_with_finite_differences():
    x, y, w = problem((12, 6), jnp.float64, seed=1)

    def loss(alpha):
        model = elastic_net(x, y, alpha, 0.4, sample_weight=w, tol=1e-14).value
        return jnp.sum((y - model(x)) ** 2)

    step = 1e-4
    slope = jax.jit(jax.grad(loss))
    expected = (slope(0.2 + step) - slope(0.2 - step)) / (2 * step)
    np.testing.assert_allclose(jax.jit(jax.grad(slope))(0.2), expected, rtol=1e-4)


def test_reverse_gradients_under_vmap_match_forward_ones(dtype):
    x, y, w = problem(SHAPES[0], dtype)

    def loss(alpha):
        model = elastic_net(x, y, alpha, 0.5, sample_weight=w, tol=tight(dtype)).value
        return jnp.sum((y - model(x)) ** 2)

    alphas = jnp.asarray([0.05, 0.2], dtype)
    batch = jax.jit(jax.vmap(jax.grad(loss)))(alphas)
    forward = jax.jit(lambda alpha: jax.jvp(loss, (alpha,), (jnp.ones_like(alpha),))[1])
    np.testing.assert_allclose(batch, [forward(alpha) for alpha in alphas], rtol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": -0.1}, "`alpha` must not be negative"),
        ({"alpha": np.ones(3)}, "`alpha` must be a scalar"),
        ({"l1_ratio": 1.5}, "`l1_ratio` must lie between 0 and 1"),
        ({"y": jnp.ones(7)}, "`y` has 7 rows but `x` has 5"),
        ({"y": jnp.ones((5, 2))}, "`y` must have shape"),
        ({"sample_weight": -jnp.ones(5)}, "`sample_weight` must not be negative"),
        ({"alpha": np.inf}, "`alpha` must be finite"),
        ({"init": jnp.ones(3)}, "`init` must have shape"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {"x": jnp.ones((5, 2)), "y": jnp.ones(5), "alpha": 1.0, "l1_ratio": 0.5} | change
    with pytest.raises(ValueError, match=message):
        elastic_net(**arguments)
