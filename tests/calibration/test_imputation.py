"""Soft impute of the donors, the default: it converges, at the optimum, and says so for itself."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from syndigits_jax.calibration import Imputation, Ridge, Settings, calibrate_question
from syndigits_jax.calibration.imputation import fill_gaps, impute_donors
from syndigits_jax.datasets import simulate_block_panel
from syndigits_jax.panel import Responses
from syndigits_jax.solvers import Status

X64 = bool(jax.config.read("jax_enable_x64"))
PEOPLE, QUESTIONS = 120, 16
PANEL, _, TRUTH = simulate_block_panel(PEOPLE, QUESTIONS, 5, key=1)
WEIGHT = np.random.default_rng(0).integers(0, 4, PEOPLE).astype(float)
# So that two ways to one optimum can be compared.
CLOSE = Imputation(rank=15, tol=1e-6, max_steps=10_000)
impute = jax.jit(impute_donors)
fill = jax.jit(fill_gaps)


def responses(matrix) -> Responses:
    return Responses.from_nan(jnp.asarray(matrix, float))


def standardised(matrix, weight=None) -> Responses:
    """Columns by their observed mean and standard deviation, in NumPy."""
    weight = np.where(np.isnan(matrix), 0, np.ones((len(matrix), 1)) if weight is None else weight)
    mean = np.sum(weight * np.nan_to_num(matrix), 0) / weight.sum(0)
    spread = np.sum(weight * np.nan_to_num(matrix - mean) ** 2, 0) / weight.sum(0)
    return responses((matrix - mean) / np.sqrt(spread))


@functools.cache
def filled(weighted: bool):
    """Standardised answers, filled; their weights, and the matrix of which they are part."""
    weight = np.where(WEIGHT == 0, 1.5, WEIGHT) if weighted else None
    scaled = standardised(PANEL.human, None if weight is None else weight[:, None])
    completed, status = fill(scaled, None if weight is None else jnp.asarray(weight, float), CLOSE)
    assert int(status) == Status.CONVERGED
    return scaled, np.ones(PEOPLE) if weight is None else weight, np.asarray(completed, np.float64)


def test_the_default_converges_where_hard_impute_of_standardised_answers_does_not():
    panel, _, _ = simulate_block_panel(200, 30, 6, key=0)
    few = {"max_steps": 200}  # hard impute of this panel does not converge in 5,000 either
    for side in (panel.human, panel.twin):
        _, status = impute(responses(side), None, Settings().change(imputation=few))
        assert int(status) == Status.CONVERGED
    hard = Settings().change(imputation={"method": "hard", **few})
    for settings, status in ((Settings(), Status.CONVERGED), (hard, Status.MAX_STEPS)):
        result = calibrate_question(Ridge(50.0), panel.human[:, :-1], panel.twin, settings=settings)
        # The ridge regression is done either way.
        assert int(result.status[0]) == Status.CONVERGED
        assert int(result.imputation_status[0]) == status


@pytest.mark.parametrize("weighted", [False, True])
def test_what_is_filled_in_is_the_optimum(weighted):
    """√W M = S(√W Z), S the soft threshold at λ, where Z is x where observed and M elsewhere.

    This is 0 in the subdifferential of ½ Σᵢ wᵢ ‖P_Ω(xᵢ - mᵢ)‖² + λ ‖√W M‖_*, λ = ½ √Σw.
    """
    scaled, weight, completed = filled(weighted)
    root = np.sqrt(weight)[:, None]
    left, values, right = np.linalg.svd(root * completed, full_matrices=False)
    shrunk = np.maximum(values - 0.5 * np.sqrt(weight.sum()), 0)
    assert 3 < np.sum(shrunk > 0) < QUESTIONS - 1  # neither bound of the rank is reached
    fitted = (left * shrunk) @ right / root
    hidden = ~np.asarray(scaled.mask)
    np.testing.assert_allclose(completed[hidden], fitted[hidden], atol=2e-4)
    assert np.std(fitted[hidden]) > 0.2
    np.testing.assert_array_equal(completed[~hidden], np.asarray(scaled.values)[~hidden])


def test_whole_weights_are_users_repeated_and_their_unit_is_none():
    weight = jnp.asarray(WEIGHT, float)
    settings = Settings(imputation=CLOSE)
    completed, _ = impute(responses(PANEL.human), weight, settings)
    times = WEIGHT.astype(int)
    repeated, _ = impute(responses(np.repeat(PANEL.human, times, 0)), None, settings)
    expected = np.repeat(np.asarray(completed.values), times, 0)
    np.testing.assert_allclose(repeated.values, expected, atol=2e-3)
    scaled, _ = impute(responses(PANEL.human), 1024 * weight, settings)
    np.testing.assert_array_equal(scaled.values, completed.values)


def test_the_default_fills_gaps_better_than_hard_impute_and_the_mean():
    hidden = ~PANEL.human_mask

    def error(settings):
        completed, _ = impute(responses(PANEL.human), None, settings)
        return np.mean((np.asarray(completed.values) - TRUTH.human)[hidden] ** 2)

    mean = np.nanmean(PANEL.human, 0)[None, :]
    by_mean = np.mean((mean - TRUTH.human)[hidden] ** 2)
    assert error(Settings()) < 0.9 * by_mean
    assert error(Settings()) < error(Settings().change(imputation={"method": "hard"}))


def test_a_rank_that_is_not_given_is_that_of_the_method():
    assert [Imputation(method=m).rank_for((90, 80)) for m in ("soft", "hard")] == [20, 5]
    assert Settings().change(imputation={"method": "hard"}).imputation.rank_for((90, 80)) == 5
    assert [Imputation(rank=7).rank_for(s) for s in ((90, 80), (5, 80), (80, 2))] == [7, 4, 1]
    published = Settings.reference().imputation
    assert (published.method, published.rank, published.scale) == ("hard", 5, "raw")


def test_soft_impute_of_raw_answers_is_refused():
    with pytest.raises(ValueError, match='`scale` must be "standardised" for soft impute'):
        Imputation(scale="raw")
    with pytest.raises(ValueError, match="`scale` must be"):
        Settings.reference().change(imputation={"method": "soft"})
    with pytest.raises(ValueError, match="`penalty` must not be negative"):
        Imputation(penalty=-1.0)


@pytest.mark.skipif(not X64, reason="finite differences need float64")
def test_predictions_are_differentiable_by_the_penalty():
    rule = Imputation(rank=15, tol=1e-12, max_steps=100_000)

    @jax.jit
    def total(penalty):
        settings = Settings(imputation=rule).change(imputation={"penalty": penalty})
        human, twin = PANEL.human[:, :-1], PANEL.twin
        return calibrate_question(Ridge(5.0), human, twin, settings=settings).prediction[0].sum()

    h = 1e-4
    difference = (total(0.5 + h) - total(0.5 - h)) / (2 * h)
    assert abs(difference) > 1e-3
    np.testing.assert_allclose(jax.grad(total)(0.5), difference, rtol=1e-4)
