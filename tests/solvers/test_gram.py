"""Gram matrices of many columns, computed in strips from the diagonal on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from syndigits_jax.solvers import gram, ridge


def data(n: int, p: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, p)), rng.random(n)


@pytest.mark.parametrize("p", [1, 7, gram.WIDE - 1, gram.WIDE, gram.WIDE + 1, gram.WIDE + 6])
def test_is_the_product(p):
    x, weight = data(20, p)
    found = np.asarray(gram.gram_matrix(jnp.asarray(weight[:, None] * x), jnp.asarray(x)))
    np.testing.assert_allclose(found, (weight[:, None] * x).T @ x, atol=2e-5)
    if p >= gram.WIDE:
        np.testing.assert_array_equal(found, found.T)


def test_strips_take_five_eighths_of_the_operations():
    x = jnp.zeros((3000, 4 * 300))
    cost = jax.jit(gram.gram_matrix).lower(x, x).compile().cost_analysis()
    products = 2.0 * x.shape[0] * x.shape[1] ** 2
    assert 0.625 * products <= cost["flops"] < 0.63 * products


def test_derivatives_and_batches_are_those_of_the_product(monkeypatch):
    monkeypatch.setattr(gram, "WIDE", 4)
    x, weight = (jnp.asarray(part) for part in data(12, 10))
    toward = jnp.asarray(data(10, 10, 1)[0])

    def strips(weight, x):
        return jnp.sum(toward * gram.gram_matrix(weight[:, None] * x, x))

    def product(weight, x):
        return jnp.sum(toward * ((weight[:, None] * x).T @ x))

    for argument in (0, 1):
        found, expected = (jax.grad(f, argument)(weight, x) for f in (strips, product))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    both = jnp.stack([x, 2 * x])
    found = jax.vmap(gram.gram_matrix)(both, both)
    np.testing.assert_allclose(found, both.transpose(0, 2, 1) @ both, rtol=1e-4, atol=1e-4)


def test_missing_numbers_stay_visible():
    x = np.ones((3, gram.WIDE))
    x[1, 5] = np.nan
    found = np.asarray(gram.gram_matrix(jnp.asarray(x), jnp.asarray(x)))
    assert np.isnan(found[5]).all() and np.isnan(found[:, 5]).all()
    assert np.isfinite(np.delete(np.delete(found, 5, 0), 5, 1)).all()


@pytest.mark.parametrize("shape", [(1300, 1100), (1100, 1300)])
def test_ridge_of_many_columns_or_rows(shape):
    x, _ = data(*shape)
    y = x[:, 0] + data(shape[0], 1, 1)[0][:, 0]
    solution = ridge(x, y, 50.0)
    x, y = x - x.mean(axis=0), y - y.mean()
    expected = np.linalg.solve(x.T @ x + 50.0 * np.eye(shape[1]), x.T @ y)
    np.testing.assert_allclose(solution.value.coef, expected, atol=2e-4)
    assert int(solution.status) == 0
