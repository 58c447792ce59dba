"""Steps of optax's optimisers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from syndigits_jax.solvers.descent import descend, updates


def test_steps_of_adam_are_those_of_its_formula():
    """Under the strict promotion of the tests, in the type of the parameters."""
    adam = optax.adam(0.1)
    tree = {"a": jnp.array([1.0, -2.0], jnp.float32), "b": jnp.array(3.0, jnp.float32)}
    state, mean, square = adam.init(tree), np.zeros(3), np.zeros(3)
    want = np.array([1.0, -2.0, 3.0])
    for step in range(1, 6):
        gradient = jax.tree.map(lambda v, t=step: v * v + jnp.float32(t), tree)
        g = np.concatenate([gradient["a"], gradient["b"][None]]).astype(float)
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g * g
        unbiased = mean / (1 - 0.9**step), square / (1 - 0.999**step)
        want = want - 0.1 * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
        tree, state = descend(adam, gradient, state, tree)
        np.testing.assert_allclose(np.concatenate([tree["a"], tree["b"][None]]), want, rtol=1e-5)
    assert tree["a"].dtype == tree["b"].dtype == jnp.float32


def test_extra_arguments_reach_those_that_take_them():
    """Plain optimisers ignore them."""

    def update(gradient, state, params=None, *, factor):
        del params
        return factor * gradient, state

    scale = optax.GradientTransformationExtraArgs(lambda params: (), update)
    both = optax.chain(optax.sgd(1.0), scale)
    value = jnp.array([1.0, 2.0], jnp.float32)
    step, _ = updates(both, value, both.init(value), value, factor=3)
    np.testing.assert_array_equal(step, -3 * value)
    plain, _ = descend(optax.sgd(1.0), value, optax.sgd(1.0).init(value), value, factor=3)
    np.testing.assert_array_equal(plain, 0 * value)
