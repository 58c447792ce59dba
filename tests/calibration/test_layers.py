"""A calibrator as a layer: Equinox and Flax models trained end to end, through the fit."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx, serialization
from jax.flatten_util import ravel_pytree

from syndigits_jax.calibration import ElasticNet, Fitting, Ridge, Settings, calibrate_question
from syndigits_jax.datasets import simulate_panel

X64 = bool(jax.config.read("jax_enable_x64"))
DTYPE = jnp.result_type(float)
NEW = 3
# The gradient of an elastic net is as accurate as its fit.
SETTINGS = Settings(fitting=Fitting(regression_tol=1e-12 if X64 else 1e-7))


@functools.cache
def survey():
    """People, and twins that bend the answer scale; `truth` are the people's last answers."""
    panel, _ = simulate_panel(60, 12, 2, key=3, noise=0.2, twin_noise=0.1, fidelity=0.9, mixing=0.2)
    human, twin = jnp.asarray(panel.human, DTYPE), jnp.asarray(np.exp(panel.twin), DTYPE)
    return human[:, :-NEW], twin, human[:, -NEW:]


def relative_error(prediction, truth):
    return jnp.sum((prediction - truth) ** 2) / jnp.sum((truth - jnp.mean(truth)) ** 2)


# --- Equinox: one curve for all answers, then ridge -----------------------------------------------


class Unbent(eqx.Module):
    """Twins' answers pass through a learned curve before they calibrate."""

    curve: eqx.nn.MLP
    log_penalty: jax.Array

    def __init__(self, key):
        self.curve = eqx.nn.MLP("scalar", "scalar", 8, 1, jax.nn.tanh, key=key, dtype=DTYPE)
        self.log_penalty = jnp.asarray(3.0, DTYPE)

    def __call__(self, human, twin):
        twin = twin + jax.vmap(jax.vmap(self.curve))(twin)
        method = Ridge(jnp.exp(self.log_penalty))
        return calibrate_question(method, human, twin, settings=SETTINGS).prediction


def loss(model, human, twin, truth):
    return relative_error(model(human, twin), truth)


@eqx.filter_jit
def equinox_step(model, state, data):
    value, grads = eqx.filter_value_and_grad(loss)(model, *data)
    updates, state = optax.adam(0.03).update(grads, state)
    return eqx.apply_updates(model, updates), state, value


@functools.cache
def equinox_trained():
    model = Unbent(jax.random.key(0))
    state = optax.adam(0.03).init(eqx.filter(model, eqx.is_array))
    losses = []
    # Adam divides by a power of an integer count, which strict promotion would refuse.
    with jax.numpy_dtype_promotion("standard"):
        for _ in range(60):
            model, state, value = equinox_step(model, state, survey())
            losses.append(float(value))
    return model, state, losses


def test_an_equinox_model_learns_through_the_fit():
    model, _, losses = equinox_trained()
    assert losses[-1] < 0.6 * losses[0]
    assert abs(float(model.log_penalty) - 3) > 0.1
    # What it learned serves questions it was not trained on.
    human, twin, _ = survey()
    truth = human[:, -2:]

    def error(model):
        return float(loss(model, human[:, :-2], twin[:, : human.shape[1]], truth))

    assert error(model) < 0.8 * error(Unbent(jax.random.key(0)))


def test_an_equinox_model_saves_and_restores(tmp_path):
    """Model and optimiser, so that training goes on as if nothing had happened; bit for bit."""
    model, state, _ = equinox_trained()
    path = tmp_path / "model.eqx"
    eqx.tree_serialise_leaves(path, (model, state))
    fresh = Unbent(jax.random.key(9))
    empty = optax.adam(0.03).init(eqx.filter(fresh, eqx.is_array))
    human, twin, _ = survey()
    before = model(human, twin)
    assert not np.array_equal(fresh(human, twin), before)
    again, again_state = eqx.tree_deserialise_leaves(path, (fresh, empty))
    np.testing.assert_array_equal(again(human, twin), before)
    with jax.numpy_dtype_promotion("standard"):
        onward = equinox_step(model, state, survey())
        resumed = equinox_step(again, again_state, survey())
    for a, b in zip(jax.tree.leaves(onward), jax.tree.leaves(resumed)):
        if eqx.is_array(a):
            np.testing.assert_array_equal(a, b)


def test_the_gradient_of_a_calibrator_is_a_calibrator():
    human, twin, truth = survey()

    def error(method):
        result = calibrate_question(method, human, twin, settings=SETTINGS)
        return relative_error(result.prediction, truth)

    method = ElasticNet(jnp.asarray(0.05, DTYPE), jnp.asarray(0.5, DTYPE))
    slope = eqx.filter_grad(error)(method)
    assert isinstance(slope, ElasticNet)
    h = 1e-5 if X64 else 2e-4
    for field in ("alpha", "l1_ratio"):
        at = getattr(method, field)
        above, below = (error(dataclasses.replace(method, **{field: at + d})) for d in (h, -h))
        difference = (above - below) / (2 * h)
        np.testing.assert_allclose(getattr(slope, field), difference, rtol=1e-5 if X64 else 0.15)


# --- Flax: all answers of a person at once, then the elastic net ----------------------------------


class Encoded(nnx.Module):
    """Twins' answers are corrected by a small network that sees all of them."""

    def __init__(self, questions: int, width: int, rngs: nnx.Rngs):
        self.inner = nnx.Linear(questions, width, param_dtype=DTYPE, rngs=rngs)
        self.outer = nnx.Linear(width, questions, param_dtype=DTYPE, rngs=rngs)
        self.log_alpha = nnx.Param(jnp.asarray(-2.0, DTYPE))

    def __call__(self, human, twin):
        twin = twin + self.outer(nnx.tanh(self.inner(twin)))
        method = ElasticNet(jnp.exp(self.log_alpha[...]), 0.5)
        return calibrate_question(method, human, twin, settings=SETTINGS).prediction


def new_flax_model(seed):
    return Encoded(survey()[1].shape[1], 4, rngs=nnx.Rngs(seed))


@nnx.jit
def flax_step(model, optimizer, data):
    value, grads = nnx.value_and_grad(loss)(model, *data)
    optimizer.update(model, grads)
    return value


@functools.cache
def flax_trained():
    model = new_flax_model(0)
    optimizer = nnx.Optimizer(model, optax.adam(0.01), wrt=nnx.Param)
    with jax.numpy_dtype_promotion("standard"):
        losses = [float(flax_step(model, optimizer, survey())) for _ in range(60)]
    return model, losses


def test_a_flax_model_learns_through_the_fit():
    model, losses = flax_trained()
    assert losses[-1] < 0.6 * losses[0]
    assert abs(float(model.log_alpha[...]) + 2) > 0.1


def test_a_flax_model_saves_and_restores(tmp_path):
    """As a dictionary of arrays, by Flax's own serialisation; predictions bit for bit."""
    model, _ = flax_trained()
    human, twin, _ = survey()
    before = model(human, twin)
    path = tmp_path / "model.msgpack"
    path.write_bytes(serialization.to_bytes(nnx.to_pure_dict(nnx.state(model))))
    fresh = new_flax_model(9)
    assert not np.array_equal(fresh(human, twin), before)
    graph, state = nnx.split(fresh)
    saved = serialization.from_bytes(nnx.to_pure_dict(state), path.read_bytes())
    nnx.replace_by_pure_dict(state, saved)
    again = nnx.merge(graph, state)
    np.testing.assert_array_equal(again(human, twin), before)
    assert again.log_alpha[...] == model.log_alpha[...]


# --- both -----------------------------------------------------------------------------------------


def equinox_function():
    arrays, static = eqx.partition(equinox_trained()[0], eqx.is_array)
    return lambda arrays: loss(eqx.combine(arrays, static), *survey()), arrays


def flax_function():
    graph, state = nnx.split(flax_trained()[0])
    return lambda state: loss(nnx.merge(graph, state), *survey()), state


@pytest.mark.parametrize("function", [equinox_function, flax_function])
def test_gradients_agree_with_finite_differences(function):
    """Along the gradient and along random directions of all parameters at once."""
    evaluate, parameters = function()
    flat, unravel = ravel_pytree(parameters)
    value = jax.jit(jax.value_and_grad(lambda flat: evaluate(unravel(flat))))
    slope = np.asarray(value(flat)[1])
    assert np.all(np.isfinite(slope)) and np.linalg.norm(slope) > 1e-4
    rng = np.random.default_rng(0)
    directions = [slope, *rng.normal(size=(3 if X64 else 0, flat.size))]
    h = 1e-5 if X64 else 1e-3  # longer ones cross changes of the elastic net's support
    for direction in directions:
        direction = direction / np.linalg.norm(direction)
        step = jnp.asarray(h * direction, flat.dtype)
        difference = (value(flat + step)[0] - value(flat - step)[0]) / (2 * h)
        rtol, atol = (1e-5, 1e-9) if X64 else (0.05, 0)
        np.testing.assert_allclose(slope @ direction, difference, rtol=rtol, atol=atol)
