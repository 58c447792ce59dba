"""One table of solvers and small problems, for the tests that all solvers share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from syndigits_jax.solvers import (
    Solution,
    als,
    elastic_net,
    elastic_net_from_gram,
    elastic_net_path,
    elastic_nets,
    exponentiated_gradient,
    gram_statistics,
    hard_impute,
    leading_subspace,
    minimize_on_simplex,
    mirror_descent,
    mlp_regression,
    ridge,
    ridge_loo_residuals,
    simplex_least_squares,
    soft_impute,
)
from syndigits_jax.solvers.elastic_net import elastic_net_path_from_gram
from syndigits_jax.solvers.mlp import init_mlp
from syndigits_jax.solvers.simplex_entropic import minimize_with_entropy
from syndigits_jax.solvers.simplex_least_squares import simplex_least_squares_from_gram

N, P, RANK = 20, 6, 2


def regression_data(seed: int, dtype: Any) -> dict[str, jax.Array]:
    """A noisy linear regression; the first array is the one to differentiate in, or to spoil."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, P)) + rng.normal(size=(N, 1))
    y = x @ rng.dirichlet(np.ones(P)) + 0.3 * rng.normal(size=N)
    weight = rng.uniform(0.5, 2, N)
    return {"x": _as(x, dtype), "y": _as(y, dtype), "weight": _as(weight, dtype)}


def matrix_data(seed: int, dtype: Any) -> dict[str, jax.Array]:
    """A rank-2 matrix with noise and holes."""
    rng = np.random.default_rng(seed)
    x = 1 + rng.normal(size=(N, RANK)) @ rng.normal(size=(RANK, P))
    x += 0.3 * rng.normal(size=x.shape)
    mask = rng.random(x.shape) < 0.85
    weight = rng.uniform(0.5, 2, N)
    return {"x": _as(x, dtype), "mask": jnp.asarray(mask), "weight": _as(weight, dtype)}


def _as(array: np.ndarray, dtype: Any) -> jax.Array:
    return jnp.asarray(array, dtype=dtype)


def _quadratic(data, penalty):
    """Synthetic control's objective, for the solvers of general convex functions."""

    def fun(w):
        residual = data["x"] @ w - data["y"]
        return jnp.dot(data["weight"], residual**2) / N + penalty * jnp.dot(w, w)

    return fun


def _uniform(data):
    return jnp.full((P,), 1 / P, data["x"].dtype)


def _network(data, decay):
    """From one start whatever the data type, for a fixed number of epochs."""
    start = init_mlp(P, (4,), key=jax.random.key(0), dtype=jnp.float32)
    return mlp_regression(
        data["x"],
        data["y"],
        hidden=(4,),
        key=jax.random.key(0),
        init=jax.tree.map(lambda leaf: leaf.astype(data["x"].dtype), start),
        weight_decay=decay,
        sample_weight=data["weight"],
        epochs=20,
        patience=None,
    )


@dataclass(frozen=True)
class Case:
    """A solver as `solve(data, penalty)`.

    - `result`: the array of the value that is well determined.
    - `penalties`: two that give clearly different answers; `None` for a solver without.
    - `accuracy`: relative, of float32 results.
    - `gradient`: whether the derivative of the result in `x` is defined (and not zero).
    """

    solve: Callable[[dict[str, jax.Array], Any], Solution]
    result: Callable[[Any], jax.Array]
    make: Callable[[int, Any], dict[str, jax.Array]] = regression_data
    penalties: tuple[float, float] | None = (0.3, 3.0)
    accuracy: float = 1e-3
    gradient: bool = True


def _weighted(solver, **options):
    return lambda d, penalty: solver(d["x"], d["y"], penalty, sample_weight=d["weight"], **options)


def _completion(solver, **options):
    return lambda d, penalty: solver(
        d["x"], d["mask"], RANK, penalty, sample_weight=d["weight"], **options
    )


CASES = {
    "ridge": Case(_weighted(ridge), lambda v: v.coef),
    "ridge_loo_residuals": Case(_weighted(ridge_loo_residuals), lambda v: v),
    "elastic_net": Case(
        lambda d, alpha: elastic_net(
            d["x"], d["y"], alpha, 0.5, sample_weight=d["weight"], tol=0.0
        ),
        lambda v: v.coef,
        penalties=(0.02, 0.3),
    ),
    "simplex_least_squares": Case(_weighted(simplex_least_squares), lambda v: v),
    "exponentiated_gradient": Case(_weighted(exponentiated_gradient, steps=100), lambda v: v),
    "minimize_on_simplex": Case(
        lambda d, penalty: minimize_on_simplex(_quadratic(d, penalty), _uniform(d)), lambda v: v
    ),
    "mirror_descent": Case(
        lambda d, penalty: mirror_descent(_quadratic(d, penalty), _uniform(d), 0.1, max_steps=200),
        lambda v: v,
    ),
    "mlp_regression": Case(
        _network,
        lambda v: jnp.concatenate([w.ravel() for w in v.weights]),
    ),
    "hard_impute": Case(
        lambda d, _: hard_impute(d["x"], d["mask"], RANK, sample_weight=d["weight"], tol=1e-6),
        lambda v: v.fitted,
        make=matrix_data,
        penalties=None,
        accuracy=1e-2,
    ),
    "soft_impute": Case(
        _completion(soft_impute, tol=1e-6), lambda v: v.fitted, make=matrix_data, accuracy=1e-2
    ),
    "als": Case(_completion(als, tol=1e-6), lambda v: v.fitted, make=matrix_data, accuracy=1e-2),
    "leading_subspace": Case(
        lambda d, _: leading_subspace(d["x"], RANK),
        lambda v: v.values,
        make=matrix_data,
        penalties=None,
        gradient=False,
    ),
}


def _regression(solver, *penalties):
    return lambda d, **limits: solver(
        d["x"], d["y"], *penalties, sample_weight=d["weight"], **limits
    )


def _moments(solver, *penalties):
    return lambda d, **limits: solver(
        gram_statistics(d["x"], d["y"], d["weight"]), *penalties, **limits
    )


def _imputed(solver, *penalties):
    return lambda d, **limits: solver(d["x"], d["mask"], RANK, *penalties, **limits)


_ALPHAS = (0.3, 0.05)
LIMITED = {
    "elastic_net": _regression(elastic_net, 0.05, 0.5),
    "elastic_net_from_gram": _moments(elastic_net_from_gram, 0.05, 0.5),
    "elastic_net_path": _regression(elastic_net_path, _ALPHAS, 0.5),
    "elastic_net_path_from_gram": _moments(elastic_net_path_from_gram, _ALPHAS, 0.5),
    "elastic_nets": lambda d, **limits: elastic_nets(
        d["x"], d["y"][None], 0.05, 0.5, sample_weight=d["weight"], **limits
    ),
    "simplex_least_squares": _regression(simplex_least_squares, 0.1),
    "simplex_least_squares_from_gram": _moments(simplex_least_squares_from_gram, 0.1),
    "minimize_on_simplex": lambda d, **limits: minimize_on_simplex(
        _quadratic(d, 0.1), _uniform(d), **limits
    ),
    "minimize_with_entropy": lambda d, **limits: minimize_with_entropy(
        _quadratic(d, 0.1), _uniform(d), 0.01, base=_uniform(d), **limits
    ),
    "mirror_descent": lambda d, **limits: mirror_descent(
        _quadratic(d, 0.1), _uniform(d), 0.1, **limits
    ),
    "hard_impute": _imputed(hard_impute),
    "soft_impute": _imputed(soft_impute, 0.5),
    "als": _imputed(als, 0.5),
    "leading_subspace": lambda d, **limits: leading_subspace(
        d["x"], 1, init=jnp.ones((P, 1), d["x"].dtype), **limits
    ),
}
"""Solvers that stop at a tolerance or a number of steps, as `solve(data, tol=, max_steps=)`."""
