"""Theorem 4.1: the inequalities, each step of the proof, and the terms recomputed by NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from syndigits_jax.diagnostics.error_bound import (
    LatentPanel,
    estimate_error_bound,
    estimate_error_bounds,
    gaussian_moments,
    representing_coefficients,
    theorem_4_1,
)

N, K, M, D = 25, 40, 6, 3
KEY = jax.random.key(0)
theorem = jax.jit(theorem_4_1)
norm = np.linalg.norm


def simulate(seed: int, *, drift: float, noise: float, twins: int = K):
    """Human and twin factor models as NumPy float64; the twins' factors drift from the human."""
    rng = np.random.default_rng(seed)

    def side(rows, factors, new):
        return {
            "user_factors": rng.normal(size=(rows, D)),
            "question_factors": factors,
            "new_question": new,
            "noise": noise * rng.normal(size=(rows, M)),
            "new_noise": noise * rng.normal(size=rows),
        }

    factors, new = rng.normal(size=(M, D)), rng.normal(size=D)
    human = side(N, factors, new)
    twin = side(twins, factors + drift * rng.normal(size=(M, D)), new + drift * rng.normal(size=D))
    covariance = np.eye(D)
    gram = twin["question_factors"] @ covariance @ twin["question_factors"].T
    gram += noise**2 * np.eye(M)
    cross = twin["question_factors"] @ covariance @ twin["new_question"]
    b = np.linalg.pinv(factors.T) @ new
    return human, twin, gram, cross, b


def panel(side) -> LatentPanel:
    return LatentPanel(**{name: jnp.asarray(value) for name, value in side.items()})


def responses(side):
    y = side["user_factors"] @ side["question_factors"].T + side["noise"]
    return y, side["user_factors"] @ side["new_question"] + side["new_noise"]


@given(
    seed=st.integers(0, 10_000),
    drift=st.sampled_from([0.0, 0.1, 2.0]),
    noise=st.sampled_from([0.05, 1.0]),
    penalty=st.sampled_from([0.0, 0.1, 10.0]),
    wrong=st.sampled_from([0.0, 1.0]),
)
def test_the_bound_and_every_step_of_its_proof_hold(seed, drift, noise, penalty, wrong):
    human, twin, gram, cross, b = simulate(seed, drift=drift, noise=noise)
    b = b + wrong * np.random.default_rng(seed + 1).normal(size=M)  # the theorem allows any b
    got = theorem(panel(human), panel(twin), *map(jnp.asarray, (gram, cross, b, penalty)))
    slack = 1 + 1e-3
    assert got.error <= got.bound * slack
    assert got.bound <= got.total_bound * slack
    assert got.structural_error <= got.structural_bound * slack
    # Ŷ_v - Y_v = Y (β̂ - β*) - r, and the two normal equations subtracted.
    assert got.error <= (got.response_norm * got.coef_error + got.structural_error) * slack
    estimation = got.gram_error * got.population_coef_norm + got.cross_error
    assert got.coef_error * got.sample_curvature <= estimation * slack
    # r = U e + (E_v - E b) + Y (b - β*), and (Σ̃ + λI)(β* - b) = (γ̃ - Σ̃ b) - λ b.
    distant = got.unrepresented + got.noise + got.response_norm * got.coef_gap
    assert got.structural_error <= distant * slack
    gap = penalty * norm(b) + norm(cross - gram @ b)
    assert got.coef_gap * got.population_curvature <= gap * slack

    y, y_new = responses(human)
    x, x_new = responses(twin)
    beta = np.linalg.solve(gram + penalty * np.eye(M), cross)
    smallest = np.linalg.eigvalsh(x.T @ x / K)[0] + penalty
    want = {
        "structural_error": norm(y_new - y @ beta),
        "unrepresented": norm(
            human["user_factors"] @ (human["new_question"] - human["question_factors"].T @ b)
        ),
        "noise": norm(human["new_noise"] - human["noise"] @ b),
        "estimation_error": norm(y, 2)
        / smallest
        * (norm(x.T @ x / K - gram, 2) * norm(beta) + norm(x.T @ x_new / K - cross)),
        "misalignment": norm(y, 2)
        / (np.linalg.svd(gram)[1][-1] + penalty)
        * norm(cross - gram @ b),
        "shrinkage": norm(y, 2) / (np.linalg.svd(gram)[1][-1] + penalty) * penalty * norm(b),
    }
    for name, value in want.items():
        # 1e-2: single precision, divided by a smallest eigenvalue that can be near noise².
        np.testing.assert_allclose(getattr(got, name), value, rtol=1e-2, atol=1e-4, err_msg=name)
    # scikit-learn's penalty is per fit, ours per respondent.
    if penalty > 0:
        ridge = Ridge(alpha=K * penalty, fit_intercept=False).fit(x, x_new)
        np.testing.assert_allclose(got.error, norm(ridge.predict(y) - y_new), rtol=1e-3)


@given(seed=st.integers(0, 10_000), drift=st.sampled_from([0.0, 0.5]))
def test_misalignment_is_that_of_equation_b1(seed, drift):
    """γ̃ - Σ̃ b = E{Ỹᵀ[Ũ(e + Δ_v - Δᵀb) + Ẽ_v - Ẽ b]}/n, in the population of `gaussian_moments`."""
    human, twin, _, _, b = simulate(seed, drift=drift, noise=0.5)
    variance = 0.25
    gram, cross = jax.jit(gaussian_moments)(
        jnp.asarray(twin["question_factors"]),
        jnp.asarray(twin["new_question"]),
        jnp.eye(D),
        variance,
    )
    remainder = human["new_question"] - human["question_factors"].T @ b
    change = twin["question_factors"] - human["question_factors"]
    new_change = twin["new_question"] - human["new_question"]
    inside = remainder + new_change - change.T @ b
    want = twin["question_factors"] @ inside - variance * b
    np.testing.assert_allclose(cross - gram @ jnp.asarray(b), want, atol=2e-3)


def test_exact_transfer_without_noise_drift_or_penalty(dtype):
    """Section 4.1: row-space inclusion transfers exactly; Σ̃ is singular and the bound says so."""
    human, twin, gram, cross, b = simulate(3, drift=0.0, noise=0.0)
    args = [jnp.asarray(a, dtype) for a in (gram, cross, b)]
    human, twin = (jax.tree.map(lambda a: a.astype(dtype), panel(s)) for s in (human, twin))
    got = theorem(human, twin, *args, 0.0)
    scale = float(got.response_norm)
    for term in (got.error, got.structural_error, got.unrepresented, got.noise):
        assert term < 100 * jnp.finfo(dtype).eps * scale
    assert jnp.isinf(got.estimation_error) and got.sample_curvature == 0


def test_estimation_error_vanishes_with_many_twins():
    few, many = (
        theorem(panel(human), panel(twin), *map(jnp.asarray, rest), 0.1)
        for human, twin, *rest in (
            simulate(4, drift=0.1, noise=0.5, twins=size) for size in (50, 20_000)
        )
    )
    assert many.estimation_error < few.estimation_error / 5
    np.testing.assert_allclose(many.structural_error, few.structural_error, rtol=0.5)


def test_representing_coefficients(dtype):
    rng = np.random.default_rng(5)
    factors, new = rng.normal(size=(M, D)), rng.normal(size=D)
    args = jnp.asarray(factors, dtype), jnp.asarray(new, dtype)
    np.testing.assert_allclose(
        representing_coefficients(*args), np.linalg.pinv(factors.T) @ new, rtol=1e-3, atol=1e-5
    )
    ridge = Ridge(alpha=0.7, fit_intercept=False).fit(factors.T, new)
    np.testing.assert_allclose(
        representing_coefficients(*args, 0.7), ridge.coef_, rtol=1e-3, atol=1e-5
    )


def ratings(seed: int, missing: float = 0.1):
    human, twin, *_ = simulate(seed, drift=0.3, noise=0.4)
    (y, y_new), (x, x_new) = responses(human), responses(twin)
    rng = np.random.default_rng(seed)
    human, twin = np.column_stack([y, y_new]), np.column_stack([x, x_new])
    human[rng.random(human.shape) < missing] = np.nan
    twin[rng.random(twin.shape) < missing] = np.nan
    return human, twin


bounds = jax.jit(
    lambda human, twin, penalty, spread: estimate_error_bounds(
        human, twin, jnp.arange(M + 1), penalty, 3, KEY, representation_penalty=spread
    )
)


@pytest.mark.parametrize(("penalty", "spread"), [(0.0, 0.0), (0.5, 0.0), (0.5, 1.0)])
def test_bound_holds_on_data(penalty, spread):
    got = bounds(*map(jnp.asarray, ratings(6)), penalty, spread)
    assert got.error.shape == (M + 1,)
    assert jnp.all(got.error <= got.bound * 1.001)
    assert jnp.all(got.structural_error <= got.structural_bound * 1.001)
    assert jnp.all(jnp.isfinite(got.total_bound))
    # Three or more other questions represent three factors, unless told to shrink.
    assert jnp.all((got.unrepresented < 1e-3) == (spread == 0))


def ridge_error(human, twin, target):
    """The error of scikit-learn's ridge, fitted on the first half of the shuffled twins."""
    sample = twin[np.asarray(jax.random.permutation(KEY, K))[: K // 2]]
    ridge = Ridge(alpha=0.5 * (K // 2), fit_intercept=False)
    ridge.fit(np.delete(sample, target, axis=1), sample[:, target])
    prediction = ridge.predict(np.delete(human, target, axis=1))
    observed = ~np.isnan(human[:, target])
    return norm((prediction - human[:, target])[observed])


def test_error_on_data_is_that_of_ridge_on_half_of_the_twins():
    human, twin = ratings(7, missing=0.0)
    got = bounds(jnp.asarray(human), jnp.asarray(twin), 0.5, 0.0)
    want = [ridge_error(human, twin, target) for target in range(M + 1)]
    np.testing.assert_allclose(got.error, want, rtol=1e-3)
    human[:5, 2] = np.nan  # rows without the truth do not count
    one = estimate_error_bound(human, twin, 2, 0.5, 3, KEY)
    assert one.error.shape == ()
    np.testing.assert_allclose(one.error, ridge_error(human, twin, 2), rtol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"penalty": -1.0}, "penalty"),
        ({"target": 9}, "target"),
        ({"rank": 99}, "rank"),
        ({"twin": np.ones((4, 3))}, "twin"),
        ({"twin": np.ones((1, M + 1))}, "twin"),
        ({"human": np.ones((4, 1))}, "human"),
    ],
)
def test_bad_input(change, message):
    human, twin = ratings(8)
    arguments = {"human": human, "twin": twin, "target": 0, "penalty": 0.1, "rank": 2} | change
    with pytest.raises(ValueError, match=message):
        estimate_error_bound(**arguments, key=KEY)
