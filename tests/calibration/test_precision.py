"""The engine in single and double precision, and its derivatives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from engine import CALIBRATE, COMPILER, DIRECTIONS, calibrate, data, known, new, user_weights
from small_panels import CONVEX, METHODS

from syndigits_jax.calibration import Fitting, Settings

X64 = bool(jax.config.read("jax_enable_x64"))


@pytest.mark.skipif(not X64, reason="needs float64")
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", [name for name in METHODS if name != "NeuralNet"])
def test_float32_agrees_with_float64(direction, name):
    """Not a network's: its first weights are drawn anew for each data type."""
    human, twin = data(1)
    options = {"weight": user_weights(direction), "observed": 1.1 * new(direction, human)}
    double, single = (
        calibrate(direction, name, human, twin, dtype=dtype, **options)
        for dtype in (jnp.float64, jnp.float32)
    )
    assert single.prediction.dtype == jnp.float32
    np.testing.assert_allclose(single.prediction, double.prediction, atol=1e-3)
    np.testing.assert_allclose(single.training_mse, double.training_mse, atol=1e-3)


GRADIENT_SETTINGS = Settings(fitting=Fitting(regression_tol=1e-13 if X64 else 1e-6))
# In single precision one of each kind: every one is a large program.
DIFFERENTIATED = [
    (direction, name)
    for direction in DIRECTIONS
    for name in CONVEX
    if X64 or (direction, name) in (("question", "ElasticNet"), ("user", "Ridge"))
]


@pytest.mark.parametrize(("direction", "name"), DIFFERENTIATED)
def test_derivatives_in_penalty_and_data(direction, name):
    """Forward, reverse and finite differences, along the penalty, the humans and the twins."""
    human, twin = data(0, missing=0.0)
    new(direction, twin)[0, 0] = np.nan  # has no derivative, and must not spoil the others'
    rng = np.random.default_rng(0)
    probe = jnp.asarray(rng.normal(size=new(direction, twin).shape), float)
    point = (METHODS[name], *(jnp.asarray(x, float) for x in (known(direction, human), twin)))

    def predictions(point):
        method, human, twin = point
        return CALIBRATE[direction](method, human, twin, settings=GRADIENT_SETTINGS).prediction

    @functools.partial(jax.jit, compiler_options=COMPILER)
    def derivatives(point, tangent):
        value, forward = jax.jvp(predictions, (point,), (tangent,))
        return value, forward, jax.vjp(predictions, point)[1](probe)[0]

    step = 1e-5 if X64 else 5e-2
    for part in range(len(point)):
        tangent = jax.tree.map(jnp.zeros_like, list(point))
        tangent[part] = jax.tree.map(
            lambda x: jnp.asarray(0.1 * rng.normal(size=x.shape), x.dtype), point[part]
        )
        tangent = tuple(tangent)
        there, back = (
            derivatives(jax.tree.map(lambda x, v, s=s: x + s * v, point, tangent), tangent)[0]
            for s in (step, -step)
        )
        numeric = (there - back) / (2 * step)
        _, forward, gradient = derivatives(point, tangent)
        size = np.linalg.norm(numeric)
        assert size > 1e-4
        np.testing.assert_allclose(forward, numeric, atol=(1e-4 if X64 else 0.05) * size)
        reverse = sum(
            float(jnp.vdot(g, v))
            for g, v in zip(jax.tree.leaves(gradient), jax.tree.leaves(tangent), strict=True)
        )
        atol = (1e-8 if X64 else 1e-3) * size * float(jnp.linalg.norm(probe))
        np.testing.assert_allclose(reverse, float(jnp.vdot(probe, forward)), atol=atol)
