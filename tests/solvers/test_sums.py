"""Sums, maxima and sorted numbers beside NumPy's in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from syndigits_jax.solvers.sorting import ascending
from syndigits_jax.solvers.sums import all_finite, largest_size, sum_of_squares, total

SHAPES = [(1, 1), (0, 3), (63, 2), (64, 2), (71, 3), (519, 3), (4116, 2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_entry_is_counted_once(shape, dtype):
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    exact = np.sum(x.astype(float) ** 2)
    np.testing.assert_allclose(sum_of_squares(jnp.asarray(x)), exact, rtol=4 * np.finfo(dtype).eps)
    whole = np.arange(np.prod(shape)).reshape(shape) % 7
    assert float(total(jnp.asarray(whole, dtype))) == whole.sum()
    if x.size:
        assert float(largest_size(jnp.asarray(x))) == np.abs(x).max()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_not_finite_is_found(bad, dtype):
    x = np.zeros((519, 3), dtype)
    assert all_finite(jnp.asarray(x)) and all_finite(jnp.asarray(x + np.finfo(dtype).max))
    for row in (0, 64, 518):
        x[row, 1] = bad
        assert not all_finite(jnp.asarray(x))
        x[row, 1] = 0


def test_sums_have_derivatives_and_batches(dtype):
    x = jnp.asarray(np.random.default_rng(1).normal(size=(3, 71, 2)), dtype)
    np.testing.assert_array_equal(jax.grad(lambda x: sum_of_squares(x[0]))(x)[0], 2 * x[0])
    batched = jax.vmap(sum_of_squares)(x)
    np.testing.assert_allclose(batched, (np.asarray(x, float) ** 2).sum((1, 2)), rtol=1e-6)


NUMBERS = arrays(
    np.float32, st.sampled_from([(1,), (7,), (2, 5)]), elements=st.floats(width=32, allow_nan=False)
)


@given(NUMBERS)
def test_numbers_are_sorted(values):
    np.testing.assert_array_equal(ascending(jnp.asarray(values)), np.sort(values, axis=-1))


def test_sorted_numbers_have_derivatives_and_batches(dtype):
    values = jnp.asarray([[3.0, -1.0, np.inf, -2.0], [0.0, 5.0, -np.inf, 1e-30]], dtype)
    found = jax.vmap(ascending)(values)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, np.sort(values, axis=-1))
    three = jnp.asarray([3.0, -1.0, 2.0], dtype)
    slopes = jax.grad(lambda v: jnp.dot(ascending(v), jnp.arange(3, dtype=dtype)))(three)
    np.testing.assert_array_equal(slopes, [2, 0, 1])
    _, turned = jax.jvp(ascending, (three,), (jnp.asarray([1.0, 2.0, 3.0], dtype),))
    np.testing.assert_array_equal(turned, [2, 3, 1])
