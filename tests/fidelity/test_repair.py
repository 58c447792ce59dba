"""Repair: minima against independent solvers, closed forms, and effect on users held out."""

import jax
import jax.numpy as jnp
import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from populations import cloud, prototypes, shrunken, users
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from syndigits_jax.fidelity.mmd import median_distance, mmd2_unbiased
from syndigits_jax.fidelity.prdc import coverage
from syndigits_jax.fidelity.repair import (
    fit_affine_map,
    fit_transport_map,
    resample,
    reweight_kernel,
    reweight_transport,
)
from syndigits_jax.solvers import Status, raise_on_failure

KEY = jax.random.key(0)


def biased(seed: int, n: int) -> jax.Array:
    """Personas from the users' hull, but most of them near one prototype."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 4)) * 1.5 + np.array([1.5, 0, 0, 0])
    weights = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return jnp.asarray(weights @ prototypes(), jnp.float32)


def weighted_mmd2(x, y, w, sigma) -> float:
    x, y, w = (np.asarray(a, float) for a in (x, y, w))
    kernel = lambda a, b: np.exp(-(cdist(a, b) ** 2) / (2 * sigma**2))  # noqa: E731
    return w @ kernel(y, y) @ w - 2 * w @ kernel(y, x).mean(axis=1) + kernel(x, x).mean()


def test_kernel_weights_are_optimal():
    x, y = cloud(0, 60, 3), cloud(1, 15, 3, shift=0.5)
    sigma = float(median_distance(jnp.concatenate([x, y])))
    solution = raise_on_failure(reweight_kernel(x, y, tol=1e-6))
    w = np.asarray(solution.value)
    assert w.min() >= 0
    assert w.sum() == pytest.approx(1, abs=1e-5)
    judge = minimize(
        lambda v: weighted_mmd2(x, y, v, sigma),
        np.full(15, 1 / 15),
        bounds=[(0, 1)] * 15,
        constraints={"type": "eq", "fun": lambda v: v.sum() - 1},
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert weighted_mmd2(x, y, w, sigma) <= judge.fun + 1e-5
    # Pulled towards uniform weights by a penalty.
    tame = raise_on_failure(reweight_kernel(x, y, penalty=10.0)).value
    np.testing.assert_allclose(tame, 1 / 15, atol=0.02)


def test_kernel_weights_help_on_held_out_users():
    x, y, held_out = users(0, 400), biased(1, 300), users(2, 400)
    w = raise_on_failure(reweight_kernel(x, y, penalty=1e-3)).value
    sigma = float(median_distance(x))
    before = weighted_mmd2(held_out, y, np.full(300, 1 / 300), sigma)
    assert weighted_mmd2(held_out, y, w, sigma) < 0.2 * before
    drawn = resample(KEY, y, w, 400)
    assert float(mmd2_unbiased(held_out, drawn, sigma)) < 0.3 * before


def test_transport_weights_are_the_minimum_of_the_transport_cost():
    """POT's exact cost with these weights is the mean distance to the nearest persona ..."""
    x, y = np.asarray(cloud(0, 40, 3), float), np.asarray(cloud(1, 12, 3), float)
    w = np.asarray(reweight_transport(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)))
    assert w.sum() == pytest.approx(1, abs=1e-6)
    cost = cdist(x, y) ** 2
    uniform = np.full(40, 1 / 40)
    w = w.astype(float) / w.astype(float).sum()
    best = ot.emd2(uniform, w, cost)
    assert best == pytest.approx(cost.min(axis=1).mean(), rel=1e-5)
    # ... below which no weights can go.
    rng = np.random.default_rng(0)
    assert all(ot.emd2(uniform, rng.dirichlet(np.ones(12)), cost) > best for _ in range(10))


def test_resample_draws_by_weight():
    y = jnp.arange(3, dtype=jnp.float32)[:, None]
    drawn = np.asarray(resample(KEY, y, jnp.asarray([0.5, 0.0, 0.5]), 2000))
    assert (drawn != 1).all()
    assert drawn.mean() == pytest.approx(1, abs=0.1)


@settings(max_examples=5)
@given(seed=st.integers(0, 1000))
def test_affine_map_restores_moments(seed):
    x, y = cloud(seed, 60, 4), 0.3 * cloud(seed + 1, 50, 4)
    move = fit_affine_map(x, y)
    moved = np.asarray(move(y))
    np.testing.assert_allclose(moved.mean(axis=0), np.asarray(x).mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(np.cov(moved.T), np.cov(np.asarray(x).T), rtol=1e-3, atol=1e-3)
    eigenvalues = np.linalg.eigvalsh(np.asarray(move.matrix, float))
    assert eigenvalues.min() > 0  # the gradient of a convex function: optimal, by Brenier


def test_affine_map_against_pot():
    x, y = cloud(0, 150, 3), 0.5 * cloud(1, 150, 3) + 1
    matrix, offset = ot.gaussian.empirical_bures_wasserstein_mapping(
        np.asarray(y, float), np.asarray(x, float), reg=1e-10
    )
    np.testing.assert_allclose(fit_affine_map(x, y)(y), np.asarray(y) @ matrix + offset, atol=1e-4)


def test_affine_map_of_users_in_few_dimensions():
    """Rank 3 in 16: no axis without spread is blown up, held-out personas regain coverage."""
    x, held_out = users(0, 400), users(1, 300)
    personas = shrunken(users(2, 700), 0.2)
    fitted, others = personas[:400], personas[400:]
    moved = fit_affine_map(x, fitted)(others)
    assert float(jnp.max(jnp.abs(moved))) < 3
    ratio = np.std(np.asarray(moved), axis=0) / np.std(np.asarray(held_out), axis=0)
    np.testing.assert_allclose(ratio, 1, atol=0.2)
    assert float(coverage(held_out, others)) < 0.3
    assert float(coverage(held_out, moved)) > 0.85


def test_transport_map_against_pot():
    x, y = cloud(0, 40, 2), 0.4 * cloud(1, 30, 2)
    solution = raise_on_failure(fit_transport_map(x, y, epsilon=0.05, tol=1e-5))
    assert float(solution.optimality) <= 1e-5 and 0 < int(solution.steps) < 20_000
    move = solution.value
    cost = cdist(np.asarray(y, float), np.asarray(x, float)) ** 2
    np.testing.assert_allclose(move.epsilon, 0.05 * cost.mean(), rtol=1e-5)
    plan = ot.bregman.sinkhorn_log(
        np.full(30, 1 / 30), np.full(40, 1 / 40), cost, float(move.epsilon), stopThr=1e-10
    )
    expected = plan @ np.asarray(x, float) / plan.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(move(y), expected, atol=2e-3)
    np.testing.assert_allclose(move(y, block=100), move(y), atol=1e-5)


def test_an_unfinished_transport_map_says_so():
    x, y = cloud(0, 40, 2), 0.4 * cloud(1, 30, 2)
    early = fit_transport_map(x, y, epsilon=0.05, tol=1e-5, max_steps=15)
    assert int(early.status) == Status.MAX_STEPS and int(early.steps) == 10
    with pytest.raises(RuntimeError, match="reached `max_steps`"):
        raise_on_failure(early)
    # The marginal of the users, by its definition.
    rows, logits = early.value._prepared(y)
    plan = jax.nn.softmax(logits(rows), axis=1) / 30
    off = float(jnp.sum(jnp.abs(jnp.sum(plan, axis=0) - 1 / 40)))
    assert float(early.optimality) == pytest.approx(off, rel=1e-3)


def test_settings_of_repairs_compile_nothing_anew():
    x, y = cloud(0, 40, 2), 0.4 * cloud(1, 30, 2)
    transport, weights = jax.jit(fit_transport_map), jax.jit(reweight_kernel)
    steps = [int(transport(x, y, epsilon=0.05, tol=tol).steps) for tol in (1e-2, 1e-5)]
    assert steps[0] < steps[1]
    taken = [int(weights(x, y, tol=t, max_steps=m).steps) for t, m in ((1e-9, 300), (1e-3, 30))]
    assert taken[1] < taken[0]
    assert transport._cache_size() == weights._cache_size() == 1


def test_transport_map_on_held_out_personas():
    """Means restore nearly all of the dispersion, draws all of it."""
    x, held_out = users(0, 300), users(1, 300)
    personas = shrunken(users(2, 500), 0.2)
    move = fit_transport_map(x, personas[:300]).value
    others = personas[300:]
    spread = np.std(np.asarray(held_out), axis=0).mean()
    before = np.std(np.asarray(others), axis=0).mean() / spread
    mean = np.std(np.asarray(move(others)), axis=0).mean() / spread
    drawn = np.asarray(move.sample(KEY, others, block=10_000))
    assert before < 0.25
    assert 0.8 < mean < 1.15
    assert np.std(drawn, axis=0).mean() / spread == pytest.approx(1, abs=0.15)
    assert {tuple(row) for row in drawn.tolist()} <= {tuple(r) for r in np.asarray(x).tolist()}
    assert float(coverage(held_out, move(others))) > float(coverage(held_out, others)) + 0.3


def test_bad_input():
    x = cloud(0, 10, 3)
    for wrong, match in (
        (lambda: reweight_kernel(x, x[:1]), "`y` has 1 rows; at least 2"),
        (lambda: reweight_kernel(x, x, -1.0), "`sigma`"),
        (lambda: reweight_kernel(x, x, penalty=-1.0), "`penalty`"),
        (lambda: reweight_transport(x.at[0, 0].set(jnp.nan), x), "NaN"),
        (lambda: resample(KEY, x, jnp.ones(3), 5), "`weights` must have shape"),
        (lambda: fit_transport_map(x, x, epsilon=0.0), "`epsilon`"),
        (lambda: fit_affine_map(x[:1], x), "`x` has 1 rows; at least 2"),
    ):
        with pytest.raises(ValueError, match=match):
            wrong()
