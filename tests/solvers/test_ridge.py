import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.test_util import check_grads
from sklearn.linear_model import Ridge

from syndigits_jax.solvers.linear_model import gram_statistics
from syndigits_jax.solvers.ridge import ridge, ridge_from_gram, ridge_loo_residuals
from syndigits_jax.solvers.solution import Status, raise_on_failure

X64 = bool(jax.config.read("jax_enable_x64"))
needs_x64 = pytest.mark.skipif(not X64, reason="finite differences need float64")
fit_ridge = jax.jit(ridge, static_argnames="fit_intercept")
loo_residuals = jax.jit(ridge_loo_residuals, static_argnames="fit_intercept")
fit_from_gram = jax.jit(ridge_from_gram)
SHAPES = [(30, 6), (8, 15)]  # primal and dual
PENALTIES = [0.1, 3.0, 100.0]


def problem(shape, dtype=None, seed=0, targets=None):
    n, p = shape
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) + rng.normal(size=p)
    y = x @ rng.normal(size=(p, targets or 1)) / p**0.5 + rng.normal(size=(n, targets or 1)) + 3
    w = rng.uniform(0.2, 2, size=n)
    y = y if targets else y[:, 0]
    return tuple(jnp.asarray(a, dtype or jnp.zeros(()).dtype) for a in (x, y, w))


def tolerance(array):
    return 2e-3 if array.dtype == jnp.float32 else 1e-8


@pytest.mark.parametrize(
    ("weighted", "fit_intercept"), [(True, True), (True, False), (False, True)]
)
@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_scikit_learn(shape, weighted, fit_intercept, dtype):
    x, y, w = problem(shape, dtype)
    w = w if weighted else None
    penalties = jnp.asarray(PENALTIES, dtype)
    ours = fit_ridge(x, y, penalties, sample_weight=w, fit_intercept=fit_intercept)
    assert ours.value.coef.dtype == dtype
    assert np.all(ours.status == Status.CONVERGED)
    for k, penalty in enumerate(np.asarray(penalties)):
        single = fit_ridge(x, y, penalty, sample_weight=w, fit_intercept=fit_intercept)
        theirs = Ridge(alpha=float(penalty), fit_intercept=fit_intercept)
        theirs.fit(*(np.asarray(a, np.float64) for a in (x, y)), sample_weight=w)
        for model in (single.value, jax.tree.map(lambda a, k=k: a[k], ours.value)):
            np.testing.assert_allclose(model.coef, theirs.coef_, atol=tolerance(x))
            np.testing.assert_allclose(model.intercept, theirs.intercept_, atol=tolerance(x))


@pytest.mark.parametrize("shape", SHAPES)
def test_targets_share_a_design(shape, dtype):
    x, y, w = problem(shape, dtype, targets=3)
    penalties = jnp.asarray(PENALTIES, dtype)
    many = fit_ridge(x, y, penalties, sample_weight=w)
    residuals = loo_residuals(x, y, penalties, sample_weight=w)
    assert many.value.coef.shape == (3, 3, shape[1])
    assert many.status.shape == many.value.intercept.shape == (3, 3)
    assert residuals.value.shape == (3, 3, shape[0])
    shapes = jax.eval_shape(ridge, x, y, 1.0)
    assert shapes.value.coef.shape == (3, shape[1])
    for t in range(3):
        one = fit_ridge(x, y[:, t], penalties, sample_weight=w)
        np.testing.assert_allclose(many.value.coef[:, t], one.value.coef, atol=tolerance(x))
        loo = loo_residuals(x, y[:, t], penalties, sample_weight=w)
        np.testing.assert_allclose(residuals.value[:, t], loo.value, atol=tolerance(x))


def test_gram_form_is_the_primal_form(dtype):
    x, y, w = problem(SHAPES[0], dtype)
    stats = gram_statistics(x, y, w)
    for penalty in (2.0, jnp.asarray(PENALTIES, dtype)):
        ours, same = fit_from_gram(stats, penalty), fit_ridge(x, y, penalty, sample_weight=w)
        np.testing.assert_allclose(ours.value.coef, same.value.coef, atol=tolerance(x))
        np.testing.assert_allclose(ours.value.intercept, same.value.intercept, atol=tolerance(x))
        assert ours.status.shape == same.status.shape


def refit_without_each(x, y, w, penalty, fit_intercept):
    x, y, w = (np.asarray(a, np.float64) for a in (x, y, w))
    out = []
    for i in range(len(y)):
        keep = np.arange(len(y)) != i
        model = Ridge(alpha=penalty, fit_intercept=fit_intercept)
        model.fit(x[keep], y[keep], sample_weight=w[keep])
        out.append(y[i] - model.predict(x[i : i + 1])[0])
    return np.array(out)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_leave_one_out_residuals_agree_with_refits(shape, fit_intercept, dtype):
    x, y, w = problem(shape, dtype)
    w = w.at[2].set(0)
    options = {"sample_weight": w, "fit_intercept": fit_intercept}
    many = loo_residuals(x, y, jnp.asarray(PENALTIES, dtype), **options)
    for k, penalty in enumerate(PENALTIES):
        expected = refit_without_each(x, y, w, penalty, fit_intercept)
        one = loo_residuals(x, y, penalty, **options)
        np.testing.assert_allclose(one.value, expected, atol=5 * tolerance(x))
        np.testing.assert_allclose(many.value[k], expected, atol=5 * tolerance(x))


def test_zero_penalty_interpolates_with_least_norm_in_the_dual(dtype):
    x, y, _ = problem(SHAPES[1], dtype)
    solution = raise_on_failure(fit_ridge(x, y, 0.0))
    x64, y64 = np.asarray(x, np.float64), np.asarray(y, np.float64)
    expected = np.linalg.pinv(x64 - x64.mean(0)) @ (y64 - y64.mean())
    np.testing.assert_allclose(solution.value.coef, expected, atol=tolerance(x))
    # Their leave-one-out residuals are the limit of small penalties.
    limit = refit_without_each(x, y, np.ones(len(y)), 1e-9, True)
    loo = loo_residuals(x, y, 0.0).value
    np.testing.assert_allclose(loo, limit, atol=10 * tolerance(x))


@pytest.mark.parametrize("penalty", [0.0, [0.0, 1.0]])
def test_rank_deficiency_without_a_penalty_is_reported(penalty, dtype):
    x, y, _ = problem(SHAPES[0], dtype)
    x = x.at[:, 1].set(x[:, 0])
    solution = fit_ridge(x, y, jnp.asarray(penalty, dtype))
    assert np.ravel(solution.status)[0] == Status.SINGULAR
    assert np.all(np.isnan(np.atleast_2d(solution.value.coef)[0]))
    if np.ndim(penalty):
        assert solution.status[1] == Status.CONVERGED
        np.testing.assert_allclose(*solution.value.coef[1, :2], rtol=1e-3)
    with pytest.raises(RuntimeError, match="singular"):
        raise_on_failure(solution)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_nan_member_leaves_the_others_alone(shape, dtype):
    x, y, w = problem(shape, dtype)
    xs = jnp.stack([x, x.at[0, 0].set(jnp.nan), x])
    fit = jax.jit(jax.vmap(lambda x: ridge(x, y, 1.0, sample_weight=w)))
    clean, batch = fit(jnp.stack([x, x, x])), fit(xs)
    assert batch.status.tolist() == [Status.CONVERGED, Status.NONFINITE, Status.CONVERGED]
    assert np.all(np.isnan(batch.value.coef[1]))
    np.testing.assert_array_equal(batch.value.coef[0], clean.value.coef[0])
    np.testing.assert_array_equal(batch.value.coef[2], clean.value.coef[2])


@pytest.mark.parametrize("shape", SHAPES)
@given(seed=st.integers(0, 10_000), penalty=st.floats(0.05, 50))
def test_doubled_weights_are_repeated_rows(shape, seed, penalty):
    x, y, w = problem(shape, seed=seed)
    counts = np.ones(len(y), int)
    counts[: len(y) // 3] = 2
    repeat = jnp.asarray(np.repeat(np.arange(len(y)), counts))
    doubled = fit_ridge(x, y, penalty, sample_weight=w * counts.astype(w.dtype)).value
    repeated = fit_ridge(x[repeat], y[repeat], penalty, sample_weight=w[repeat]).value
    np.testing.assert_allclose(doubled.coef, repeated.coef, atol=tolerance(x))
    np.testing.assert_allclose(doubled.intercept, repeated.intercept, atol=tolerance(x))


@given(seed=st.integers(0, 10_000))
def test_primal_and_dual_are_the_same_regression(seed):
    # Rows of weight zero turn a wide problem into a tall one of the same answer.
    x, y, w = problem((8, 15), seed=seed)
    pad = jnp.zeros((8, 15), x.dtype)
    tall = fit_ridge(
        jnp.concatenate([x, pad]),
        jnp.concatenate([y, pad[:, 0]]),
        1.5,
        sample_weight=jnp.concatenate([w, pad[:, 0]]),
    )
    wide = fit_ridge(x, y, 1.5, sample_weight=w)
    np.testing.assert_allclose(tall.value.coef, wide.value.coef, atol=tolerance(x))
    assert wide.optimality < 1e-3 and tall.optimality < 1e-3


@pytest.mark.parametrize("shape", SHAPES)
def test_vmap_equals_a_loop_and_one_trace_serves_many_penalties(shape, dtype):
    x, y, w = problem(shape, dtype)
    traces = []

    @jax.jit
    def fit(penalty):
        traces.append(penalty)
        return fit_ridge(x, y, penalty, sample_weight=w).value.coef

    penalties = jnp.asarray(PENALTIES, dtype)
    loop = jnp.stack([fit(penalty) for penalty in penalties])
    assert len(traces) == 1
    batch = jax.vmap(lambda penalty: fit_ridge(x, y, penalty, sample_weight=w).value.coef)(
        penalties
    )
    np.testing.assert_allclose(batch, loop, atol=tolerance(x))


@needs_x64
@pytest.mark.parametrize("penalty", [0.7, [0.7, 0.7, 9.0]])
@pytest.mark.parametrize("shape", [(12, 4), (5, 9)])
def test_gradients_agree_with_finite_differences(shape, penalty):
    x, y, w = problem(shape, jnp.float64)

    def fit(x, y, w, penalty):
        model = fit_ridge(x, y, penalty, sample_weight=w).value
        loo = loo_residuals(x, y, penalty, sample_weight=w).value
        return model.coef, model.intercept, loo

    check_grads(jax.jit(fit), (x, y, w, jnp.asarray(penalty)), order=1, atol=1e-5, rtol=1e-5)


@needs_x64
@pytest.mark.parametrize("shape", [(12, 4), (5, 9)])
def test_the_derivative_in_a_weight_of_zero_is_that_of_adding_the_row(shape):
    x, y, w = problem(shape, jnp.float64)
    w = w.at[1].set(0)

    def fit(weight):
        return fit_ridge(x, y, 0.7, sample_weight=w.at[1].set(weight)).value.coef

    step = 1e-6
    expected = (fit(step) - fit(0.0)) / step
    np.testing.assert_allclose(jax.jacfwd(fit)(0.0), expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(jax.jacrev(fit)(0.0), expected, rtol=1e-4, atol=1e-7)


@needs_x64
def test_float32_agrees_with_float64():
    for shape in SHAPES:
        x, y, w = problem(shape, jnp.float64)
        double = fit_ridge(x, y, 1.0, sample_weight=w).value.coef
        single = fit_ridge(
            x.astype(jnp.float32), y.astype(jnp.float32), 1.0, sample_weight=w.astype(jnp.float32)
        ).value.coef
        np.testing.assert_allclose(single, double, atol=1e-4)


def test_constant_targets_and_columns(dtype):
    x, y, _ = problem(SHAPES[0], dtype)
    solution = fit_ridge(x.at[:, 0].set(2.0), jnp.full_like(y, 4.0), 1.0)
    np.testing.assert_allclose(solution.value.coef, 0, atol=1e-6)
    np.testing.assert_allclose(solution.value.intercept, 4, rtol=1e-5)
    assert solution.status == Status.CONVERGED


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"penalty": -1.0}, "`penalty` must not be negative"),
        ({"penalty": np.ones((2, 2))}, "`penalty` must be a scalar or"),
        ({"y": jnp.ones(7)}, "`y` has 7 rows but `x` has 5"),
        ({"x": jnp.ones(5)}, "`x` must be a matrix"),
        ({"x": jnp.ones((5, 0))}, "at least one row and one column"),
        ({"sample_weight": jnp.ones(4)}, "`sample_weight` must have shape"),
        ({"sample_weight": -jnp.ones(5)}, "`sample_weight` must not be negative"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {"x": jnp.ones((5, 2)), "y": jnp.ones(5), "penalty": 1.0} | change
    for function in (ridge, ridge_loo_residuals):
        with pytest.raises(ValueError, match=message):
            function(**arguments)
