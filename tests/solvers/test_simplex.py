"""Projection onto the simplex, and the Frank-Wolfe gap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from syndigits_jax.solvers.simplex import frank_wolfe_gap, project_simplex, project_warm

project = jax.jit(lambda v, support=None: project_simplex(v, support=support))


def by_root_finding(v: np.ndarray) -> np.ndarray:
    """The projection of a float64 vector, its threshold found by bracketing."""
    theta = brentq(lambda t: np.maximum(v - t, 0).sum() - 1, v.max() - 1, v.max(), xtol=1e-15)
    return np.maximum(v - theta, 0)


@given(seed=st.integers(0, 10_000), log_scale=st.floats(-3, 3), shift=st.floats(-5, 5))
def test_projection_is_the_nearest_point(seed, log_scale, shift):
    rng = np.random.default_rng(seed)
    v = (rng.normal(size=(2, 3, 7)) * 10**log_scale + shift).astype(np.float32)
    w = np.asarray(project(jnp.asarray(v)))
    tolerance = 20 * np.finfo(np.float32).eps * max(1, np.abs(v).max())
    expected = np.stack([by_root_finding(r) for r in v.astype(float).reshape(-1, 7)])
    np.testing.assert_allclose(w.reshape(-1, 7), expected, atol=tolerance)
    assert (w >= 0).all()
    np.testing.assert_allclose(w.sum(-1), 1, atol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 300])
def test_projection_of_any_length(size, dtype):
    v = np.random.default_rng(size).normal(size=size)
    w = project_simplex(jnp.asarray(v, dtype))
    assert w.dtype == dtype
    np.testing.assert_allclose(w, by_root_finding(v), atol=50 * np.finfo(dtype).eps)


def test_projection_leaves_simplex_points_and_ties_alone(dtype):
    points = jnp.asarray([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]], dtype)
    np.testing.assert_allclose(project_simplex(points), points, atol=4 * np.finfo(dtype).eps)
    far = jnp.asarray([1e6, 1e6, -1e6], dtype)
    np.testing.assert_array_equal(project_simplex(far), [0.5, 0.5, 0.0])


def test_projection_on_a_support(dtype):
    v = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6)), dtype)
    support = np.array([True, False, True, True, False, True])
    w = project_simplex(v.at[:, 1].set(jnp.nan), support=jnp.asarray(support))
    np.testing.assert_array_equal(w[:, ~support], 0)
    np.testing.assert_allclose(w[:, support], project_simplex(v[:, support]), atol=1e-6)
    each = project_simplex(v, support=jnp.asarray(np.eye(6, dtype=bool)[:2]))
    np.testing.assert_array_equal(each, np.eye(6)[:2])


def test_bad_rows_are_nan_and_leave_others_alone():
    v = jnp.asarray([[0.1, 0.4], [jnp.nan, 0.4], [0.3, jnp.inf], [0.1, 0.4]])
    support = jnp.asarray([[True, True], [True, True], [True, True], [False, False]])
    for w in (project_simplex(v, support=support), project(v, support)):
        assert np.isfinite(w[0]).all() and np.isnan(w[1:]).all()


def test_projection_derivative_is_that_of_the_face(dtype):
    v = jnp.asarray([0.9, 0.6, -0.4, 0.5, 0.1], dtype)
    face = np.asarray(project_simplex(v)) > 0
    assert 1 < face.sum() < 5
    expected = np.diag(face * 1.0) - np.outer(face, face) / face.sum()
    atol = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(jax.jacfwd(project_simplex)(v), expected, atol=atol)
    np.testing.assert_allclose(jax.jacrev(project_simplex)(v), expected, atol=atol)


def test_projection_reports_bad_shapes():
    with pytest.raises(ValueError, match="`v`"):
        project_simplex(jnp.zeros((3, 0)))
    with pytest.raises(ValueError, match="`support`"):
        project_simplex(jnp.zeros((2, 3)), support=jnp.ones((4, 3), bool))


@given(seed=st.integers(0, 10_000))
def test_gap_bounds_the_suboptimality_of_a_quadratic(seed):
    rng = np.random.default_rng(seed)
    target = rng.normal(size=5).astype(np.float32)
    w = rng.dirichlet(np.ones(5), size=3).astype(np.float32)
    gap = np.asarray(frank_wolfe_gap(jnp.asarray(2 * (w - target)), jnp.asarray(w)))
    best = np.sum((by_root_finding(target.astype(float)) - target) ** 2)
    assert (gap >= np.sum((w - target) ** 2, -1) - best - 1e-5).all()


def test_gap_is_zero_at_the_optimum_and_ignores_what_is_off_the_support():
    w = jnp.asarray([0.5, 0.5, 0.0, 0.0])
    gradient = jnp.asarray([1.0, 1.0, 1.5, jnp.nan])
    support = jnp.asarray([True, True, True, False])
    assert float(frank_wolfe_gap(gradient, w, support=support)) == 0
    assert float(frank_wolfe_gap(gradient.at[2].set(0.25), w, support=support)) == 0.75


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e8, 1e16])
def test_a_step_of_any_length_ends_on_the_simplex(dtype, scale):
    """An iterative solver's step may be so long that a sum of 1 is less than its rounding."""
    v = scale * np.random.default_rng(0).normal(size=(4, 6))
    support = np.arange(6) != 2
    for row in jnp.asarray(v, dtype):
        for guess in (-1.0, -0.2, 0.0, 3.0):
            w, _ = project_warm(row, jnp.asarray(support), jnp.asarray(guess, dtype))
            np.testing.assert_allclose(jnp.sum(w), 1, rtol=1e-6)
            assert float(w.min()) >= 0 and float(w[2]) == 0
