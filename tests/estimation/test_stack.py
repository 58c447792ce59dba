"""The fitted combination of components as a pytree: its values and its gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from syndigits_jax.estimation.stack import Stack

PARTS, PEOPLE, TARGETS = 6, 30, 3
predictions = jax.jit(lambda stack, values: stack(values))


def combination(dtype, *, low: float = -100.0, high: float = 100.0, seed: int = 0):
    rng = np.random.default_rng(seed)
    fields = (
        rng.dirichlet(np.ones(PARTS)),
        rng.uniform(2, 4, TARGETS),
        rng.uniform(0.5, 1, TARGETS),
        np.full(TARGETS, low),
        np.full(TARGETS, high),
        rng.uniform(0, 2, PEOPLE),
    )
    stack = Stack(*(jnp.asarray(field, dtype) for field in fields))
    return stack, jnp.asarray(rng.normal(size=(TARGETS, PARTS, PEOPLE)), dtype)


def test_predictions_have_the_level_in_the_mean_over_people_and_stay_in_range(dtype):
    stack, values = combination(dtype)
    predicted = np.asarray(predictions(stack, values))
    assert predicted.dtype == dtype
    level = np.average(predicted, axis=1, weights=stack.people)
    np.testing.assert_allclose(level, stack.mean, rtol=1e-5)
    z = np.einsum("c,tcn->tn", stack.weights, values)
    for row, part, sd in zip(predicted, z, np.asarray(stack.sd), strict=True):
        np.testing.assert_allclose(row - row[0], sd * (part - part[0]), atol=1e-5)
    narrow, _ = combination(dtype, low=2.5, high=3.5)
    clipped = np.asarray(predictions(narrow, values))
    np.testing.assert_array_equal(clipped, np.clip(clipped, 2.5, 3.5))
    assert np.any(clipped == 2.5) and np.any(clipped == 3.5)


def test_its_gradient_is_that_of_finite_differences(dtype):
    """In every field and in the components; a range that clips nothing is left out."""
    stack, values = combination(dtype)
    target = jnp.asarray(np.random.default_rng(1).normal(size=(TARGETS, PEOPLE)), dtype)

    @jax.jit
    def loss(stack, values):
        return jnp.sum((stack(values) - target) ** 2)

    slopes = jax.jit(jax.grad(loss, argnums=(0, 1)))(stack, values)
    step = 1e-2 if dtype == jnp.float32 else 1e-5
    fields = {name: getattr(stack, name) for name in ("weights", "mean", "sd", "people")}
    for seed, (name, field) in enumerate({**fields, "values": values}.items()):
        way = jnp.asarray(np.random.default_rng(seed).normal(size=field.shape), dtype)

        def moved(size, name=name, way=way):
            if name == "values":
                return loss(stack, values + size * way)
            leaves = {**fields, name: fields[name] + size * way}
            changed = Stack(low=stack.low, high=stack.high, **leaves)
            return loss(changed, values)

        difference = float(moved(step) - moved(-step)) / (2 * step)
        slope = slopes[1] if name == "values" else getattr(slopes[0], name)
        np.testing.assert_allclose(float(jnp.sum(slope * way)), difference, rtol=2e-2, atol=2e-2)


def test_a_clipped_prediction_has_no_slope(dtype):
    stack, values = combination(dtype, low=10.0, high=11.0)
    slopes = jax.jit(jax.grad(lambda s: jnp.sum(s(values))))(stack)
    np.testing.assert_array_equal(np.asarray(slopes.weights), 0)
    assert float(slopes.low.sum()) == pytest.approx(TARGETS * PEOPLE)


def test_stacks_are_batched(dtype):
    pairs = [combination(dtype, seed=seed) for seed in range(3)]
    stacks = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(stack for stack, _ in pairs))
    values = jnp.stack([part for _, part in pairs])
    together = jax.jit(jax.vmap(lambda s, v: s(v)))(stacks, values)
    alone = np.stack([np.asarray(stack(part)) for stack, part in pairs])
    np.testing.assert_allclose(together, alone, atol=1e-5)
