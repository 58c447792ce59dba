"""Theorem 7.1: its terms, and the bound at its stated probability in simulations."""

import numpy as np
import pytest
from scipy.optimize import linprog

from syndigits_jax.datasets import simulate_distributions
from syndigits_jax.distribution import Answers, best_coefficients, fit_ensemble, theorem_7_1


def test_terms_by_hand():
    bound = theorem_7_1(np.array([0.5, 0.25, 0.25]), 0.1, n=200, n_options=4, ratio=2.0, alpha=0.05)
    assert float(bound.factor) == pytest.approx(1.5)
    term = np.sqrt(3) * 2 * np.sqrt((4 + np.log(80)) / 200)
    assert float(bound.statistical) == pytest.approx(term)
    assert float(bound.bound) == pytest.approx(1.5 * (0.1 + term))
    assert float(bound.statistical_proved) > float(bound.statistical)


@pytest.mark.parametrize("seed", range(4))
def test_the_flattest_coefficients_against_a_linear_program(seed):
    rng = np.random.default_rng(seed)
    questions = rng.dirichlet(np.ones(6), 9)
    new = rng.dirichlet(np.full(9, 0.7)) @ questions
    # min t with 0 <= c <= t, sum c = 1, c @ questions = new
    result = linprog(
        np.append(np.zeros(9), 1),
        A_ub=np.hstack([np.eye(9), -np.ones((9, 1))]),
        b_ub=np.zeros(9),
        A_eq=np.vstack([np.append(np.ones(9), 0), np.hstack([questions.T, np.zeros((6, 1))])]),
        b_eq=np.append(1, new),
    )
    c, misfit = best_coefficients(questions, new, tol=1e-3)
    assert float(misfit) <= 1e-3
    assert float(np.max(c)) == pytest.approx(result.fun, rel=0.02)
    assert float(np.sum(c)) == pytest.approx(1, abs=1e-5)


def test_what_lies_outside_the_hull_is_said_to():
    questions = np.eye(3)
    assert float(best_coefficients(questions, np.array([1.0, 1.0, -1.0]))[1]) > 0.1
    even, misfit = best_coefficients(questions, np.full(3, 1 / 3))
    np.testing.assert_allclose(even, 1 / 3, atol=1e-3)
    assert float(misfit) <= 1e-3


def test_the_bound_holds_at_its_probability():
    """Probability-valued twins, humans a reweighting of the twins' types: no structural term."""
    alpha, runs, broken, broken_proved = 0.2, 30, 0, 0
    tightest = np.inf
    for seed in range(runs):
        data, truth = simulate_distributions(seed, twins=120, questions=12, options=3, types=6)
        m = len(data.questions) - 1
        answers = Answers.from_probabilities(truth.probabilities[:, :m])
        fit = fit_ensemble(truth.shares[:m], answers, "tv", floor=0.0)
        new = fit.predict(Answers.from_probabilities(truth.probabilities[:, m:]))[0]
        error = np.abs(np.asarray(new) - truth.shares[m]).sum() / 2
        bound = theorem_7_1(
            truth.coefficients, 0.0, n=120, n_options=3, ratio=truth.ratio, alpha=alpha
        )
        broken += error > float(bound.bound)
        broken_proved += error > float(bound.bound_proved)
        tightest = min(tightest, float(bound.bound) / max(error, 1e-9))
    assert broken / runs <= alpha
    assert broken_proved <= broken
    assert tightest > 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coefficients": np.array([0.5, 0.2])}, "simplex"),
        ({"ratio": 0.5}, "ratio"),
        ({"alpha": 1.0}, "alpha"),
        ({"n": 0}, "n must be positive"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {
        "coefficients": np.array([0.5, 0.5]),
        "structural": 0.0,
        "n": 10,
        "n_options": 3,
        "ratio": 2.0,
    } | change
    with pytest.raises(ValueError, match=message):
        theorem_7_1(**arguments)
    with pytest.raises(ValueError, match="same features"):
        best_coefficients(np.eye(3), np.ones(2))
