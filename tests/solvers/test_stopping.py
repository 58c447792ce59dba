"""Solvers refuse tolerances and numbers of steps that make no sense, by name."""

import jax.numpy as jnp
import numpy as np
import pytest

from syndigits_jax.solvers import (
    elastic_net,
    elastic_nets,
    minimize_on_simplex,
    mirror_descent,
    simplex_least_squares,
)
from syndigits_jax.solvers.completion import als, hard_impute, soft_impute
from syndigits_jax.solvers.low_rank import leading_subspace

X, Y, SEEN = jnp.eye(4)[:, :3], jnp.arange(4.0), jnp.ones((4, 3), bool)
SOLVERS = {
    "elastic_net": lambda **how: elastic_net(X, Y, 0.1, 0.5, **how),
    "elastic_nets": lambda **how: elastic_nets(X, Y[None], 0.1, 0.5, **how),
    "simplex_least_squares": lambda **how: simplex_least_squares(X, Y, **how),
    "minimize_on_simplex": lambda **how: minimize_on_simplex(jnp.sum, jnp.ones(3) / 3, **how),
    "mirror_descent": lambda **how: mirror_descent(jnp.sum, jnp.ones(3) / 3, 0.1, **how),
    "soft_impute": lambda **how: soft_impute(X, SEEN, 2, 0.1, **how),
    "hard_impute": lambda **how: hard_impute(X, SEEN, 2, **how),
    "als": lambda **how: als(X, SEEN, 2, 0.1, **how),
    "leading_subspace": lambda **how: leading_subspace(X, 2, **how),
}
CHANGES = [
    ({"max_steps": -1}, "`max_steps` must be at least"),
    ({"max_steps": 2**40}, "`max_steps` must be at most"),
]
OF_ANY_NUMBERS = [
    ({"tol": np.array([1e-3, 1e-4])}, "`tol` must be a scalar"),
    ({"max_steps": np.array([5, 6])}, "`max_steps` must be a scalar"),
    ({"max_steps": 1.9}, "`max_steps` must be a whole number"),
]
TYPED = {"soft_impute", "hard_impute", "als", "leading_subspace"}  # a float, and a whole number


@pytest.mark.parametrize("name", SOLVERS)
def test_refused(name):
    for how, message in CHANGES if name in TYPED else CHANGES + OF_ANY_NUMBERS:
        with pytest.raises(ValueError, match=message):
            SOLVERS[name](**how)
