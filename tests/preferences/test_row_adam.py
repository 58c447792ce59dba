"""Lazy Adam of the rows of a table: against dense Adam, and rows that stay."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from syndigits_jax.preferences._row_adam import descend_rows, row_adamw, sum_by_row


def test_rows_of_a_user_are_summed_and_others_stay():
    rows = jnp.array([4, 1, 4, 9, 4])
    gradient = jnp.asarray(np.random.default_rng(0).normal(size=(5, 2)), jnp.float32)
    unique, total = sum_by_row(rows, gradient, 9)
    assert unique.tolist() == [1, 4, 9, 9, 9]
    np.testing.assert_allclose(total[0], gradient[1])
    np.testing.assert_allclose(total[1], gradient[0] + gradient[2] + gradient[4], rtol=1e-5)
    table, adam = jnp.ones((9, 2), jnp.float32), row_adamw(0.1, 0.0)
    start = adam.init(table)
    after, state = descend_rows(adam, table, start, rows, gradient)
    assert np.flatnonzero(np.any(np.asarray(after != table), axis=1)).tolist() == [1, 4]
    moments, before = state[0], start[0]
    assert np.flatnonzero(np.any(np.asarray(moments != before), axis=1)).tolist() == [1, 4]


def test_a_row_in_every_batch_moves_as_under_dense_adam():
    rng = np.random.default_rng(1)
    first = table = jnp.asarray(rng.normal(size=(4, 3)), jnp.float32)
    lazy, dense = row_adamw(0.05, 0.1), optax.adamw(0.05, weight_decay=0.1)
    row: Any = table[2]
    lazy_state = lazy.init(table)
    with jax.numpy_dtype_promotion("standard"):
        state = dense.init(row)
        for t in range(20):
            gradient = jnp.asarray(rng.normal(size=(2, 3)), jnp.float32)
            rows = jnp.array([2, 0 if t % 5 == 0 else 4])
            table, lazy_state = descend_rows(lazy, table, lazy_state, rows, gradient)
            update, state = dense.update(gradient[0], state, row)
            row = optax.apply_updates(row, update)
    np.testing.assert_allclose(table[2], row, atol=1e-5)
    assert lazy_state[0][:, -1].tolist() == [4, 0, 20, 0]
    assert float(jnp.max(jnp.abs(table[0] - first[0]))) > 0.05
    np.testing.assert_array_equal(table[jnp.array([1, 3])], first[jnp.array([1, 3])])
