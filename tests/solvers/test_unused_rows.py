"""Rows of weight zero may hold any finite number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from syndigits_jax.solvers import elastic_net, ridge, ridge_loo_residuals, simplex_least_squares

UNUSED = 3
SOLVERS = {
    "ridge": lambda x, y, w: ridge(x, y, 1e-4, sample_weight=w).value.coef,
    "ridge, leave-one-out": lambda x, y, w: jnp.delete(
        ridge_loo_residuals(x, y, 1e-4, sample_weight=w).value, UNUSED, assume_unique_indices=True
    ),
    "simplex": lambda x, y, w: simplex_least_squares(x, y, sample_weight=w, tol=1e-5).value,
    "elastic net": lambda x, y, w: elastic_net(x, y, 1e-5, 0.5, sample_weight=w).value.coef,
    "elastic net, traced": lambda x, y, w: (
        jax.jit(elastic_net)(x, y, 1e-5, 0.5, sample_weight=w).value.coef
    ),
}


@pytest.mark.parametrize("shape", [(30, 5), (8, 12)])
@pytest.mark.parametrize("name", SOLVERS)
def test_the_others_answer_as_without_them(name, shape, dtype):
    rng = np.random.default_rng(0)
    x, y = (jnp.asarray(0.01 * rng.normal(size=size), dtype) for size in (shape, shape[0]))
    w = jnp.asarray(rng.uniform(0.5, 2, shape[0]), dtype).at[UNUSED].set(0)
    most = 0.9 * float(jnp.finfo(dtype).max)
    expected = SOLVERS[name](x, y, w)
    found = SOLVERS[name](x.at[UNUSED].set(most), y.at[UNUSED].set(-most), w)
    assert np.all(np.isfinite(expected))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
