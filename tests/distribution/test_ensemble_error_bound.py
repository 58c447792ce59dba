"""Theorem 7.1: its terms, and the bound at its stated probability in simulations."""

import numpy as np
import pytest
from scipy.optimize import linprog

from syndigits_jax.distribution import Answers, best_coefficients, fit_ensemble, theorem_7_1


def test_terms_by_hand():
    bound = theorem_7_1(np.array([0.5, 0.25, 0.25]), 0.1, n=200, n_options=4, ratio=2.0, alpha=0.05)
    assert float(bound.factor) == pytest.approx(1.5)
    term = np.sqrt(3) * 2 * np.sqrt((4 + np.log(80)) / 200)
    assert float(bound.statistical) == pytest.approx(term)
    assert float(bound.bound) == pytest.approx(1.5 * (0.1 + term))
    # The three terms of the derivation, before and after Cauchy-Schwarz.
    doubt = np.log(80)
    three = [np.sqrt(4), np.sqrt(doubt / 2), np.sqrt(2 * doubt)]
    proved = 2 * np.sqrt(3 * np.square(three).sum() / 200)
    assert float(bound.statistical_proved) == pytest.approx(proved)
    assert 2 * np.sum(three) / np.sqrt(200) < proved
    assert float(bound.bound_proved) == pytest.approx(1.5 * (0.1 + proved))


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


TYPES, QUESTIONS, OPTIONS, RATIO = 5, 9, 3, 2.0


def population(seed, strange=0.2):
    """Types, twins' and humans' proportions, P of the questions, and c of the new one.

    A share `strange` of humans is no type of twin: it holds to the first option in two thirds of
    the questions and to the last in the others. The new question resembles only the latter, so it
    is a fit to the former that is wrong about it: the factor m * max(c) = 3 is needed.
    """
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet(np.full(OPTIONS, 0.5), (TYPES, QUESTIONS))
    twins = rng.dirichlet(np.full(TYPES, 20.0))
    humans = twins * rng.uniform(0.5, 1, TYPES)
    humans /= humans.sum()
    assert (humans <= RATIO * twins).all()
    minority = np.arange(QUESTIONS) % 3 == 2
    held = np.where(minority[:, None], np.eye(OPTIONS)[-1], np.eye(OPTIONS)[0])
    p = (1 - strange) * np.tensordot(humans, rows, 1) + strange * held
    return rng, rows, twins, humans, p, minority / minority.sum()


def structural_term(rows, twins, p):
    """inf of the mean TV over nu <= A mu on the simplex, by HiGHS."""
    features = rows.reshape(TYPES, -1).T
    cells = len(features)
    upper = np.block([[features, -np.eye(cells)], [-features, -np.eye(cells)]])
    result = linprog(
        np.concatenate([np.zeros(TYPES), np.full(cells, 0.5 / QUESTIONS)]),
        A_ub=upper,
        b_ub=np.concatenate([p.ravel(), -p.ravel()]),
        A_eq=np.concatenate([np.ones(TYPES), np.zeros(cells)])[None],
        b_eq=[1],
        bounds=[(0, RATIO * share) for share in twins] + [(0, None)] * cells,
    )
    assert result.success
    return float(result.fun)


def test_the_bound_holds_at_its_probability():
    """Fits to 4,000 twins that answer with probabilities: it holds, and a tenth of it does not.

    Twins of one type are alike, so the best fit to the types that were drawn is that to the twins.
    """
    alpha, runs, n = 0.2, 20, 4000
    broken = broken_proved = below_a_tenth = 0
    for seed in range(runs):
        rng, rows, twins, _, p, c = population(seed)
        drawn = rng.multinomial(n, twins)
        assert (drawn > 0).all()
        fit = fit_ensemble(p, Answers.from_probabilities(rows), "tv", floor=0.0, tol=0.02)
        # Assumption 7.3 for twins and humans alike: both answer the new question with c's mixture.
        new = np.tensordot(c, rows, (0, 1))[:, None]
        predicted = np.asarray(fit.predict(Answers.from_probabilities(new)))[0]
        error = np.abs(predicted - c @ p).sum() / 2
        structural = structural_term(rows, twins, p)
        bound = theorem_7_1(c, structural, n=n, n_options=OPTIONS, ratio=RATIO, alpha=alpha)
        assert float(bound.factor) == pytest.approx(3)
        assert float(bound.bound) < float(bound.bound_proved) < 1
        broken += error > float(bound.bound)
        broken_proved += error > float(bound.bound_proved)
        below_a_tenth += error <= float(bound.bound) / 10
    assert broken_proved <= broken <= alpha * runs
    assert below_a_tenth == 0


def sampling_errors(n, runs=400):
    """Training TV of the weights in the proof, nu / mu at n sampled twins, once per run.

    Humans are a reweighting of the twins and there is no structural term. Twins of one type are
    alike, so that how many there are of each is all that the sample decides.
    """
    found = []
    for seed in range(runs):
        rng, rows, twins, humans, p, _ = population(seed, strange=0.0)
        weights = rng.multinomial(n, twins) * humans / twins
        q = np.tensordot(weights / weights.sum(), rows, 1)
        found.append(np.abs(q - p).sum(axis=1).mean() / 2)
    return np.asarray(found)


def test_the_statistical_term_holds_and_shrinks_with_the_root_of_n():
    alpha, even = 0.2, np.full(QUESTIONS, 1 / QUESTIONS)
    terms, means = [], []
    for n in (1000, 4000, 16000):
        bound = theorem_7_1(even, 0.0, n=n, n_options=OPTIONS, ratio=RATIO, alpha=alpha)
        errors = sampling_errors(n)
        assert float(bound.bound) < 0.3
        assert np.mean(errors > float(bound.statistical)) <= alpha
        # Far from tight, but not arbitrary: a fortieth of it would not do.
        assert np.mean(errors > float(bound.statistical) / 40) > alpha
        terms.append([float(bound.statistical), float(bound.statistical_proved)])
        means.append(errors.mean())
    np.testing.assert_allclose(np.divide(terms[:-1], terms[1:]), 2, rtol=1e-5)
    np.testing.assert_allclose(np.divide(means[:-1], means[1:]), 2, rtol=0.15)


def weighted_errors(rng, n, ratio, n_options, runs=200):
    """|Z - 1|, S and the TV error of the proof's weights, for twins that always answer alike.

    Humans spread evenly over the options; a share 1/ratio of twins does too, the others are no
    human, so that a twin's ratio of densities is 0 or `ratio`.
    """
    mass = np.full(n_options, 1 / (ratio * n_options))
    counts = rng.multinomial(n, [*mass, 1 - 1 / ratio], size=runs)[:, :-1]
    q = ratio * counts / n
    z = q.sum(axis=1)
    s = np.abs(q - 1 / n_options).sum(axis=1)
    tv = np.abs(q / z[:, None] - 1 / n_options).sum(axis=1) / 2
    return np.abs(z - 1), s, tv


@pytest.mark.parametrize(
    ("n", "ratio", "n_options"), [(8000, 1.0, 400), (300_000, 64.0, 10), (4000, 4.0, 2)]
)
def test_the_proved_term_step_by_step(n, ratio, n_options):
    """Sizes at which a wrong term would not hold: many options, or a large ratio."""
    alpha = 0.2
    bound = theorem_7_1([1.0], 0.0, n=n, n_options=n_options, ratio=ratio, alpha=alpha)
    off, s, tv = weighted_errors(np.random.default_rng(0), n, ratio, n_options)
    doubt = np.log(4 / alpha)
    assert n >= 2 * ratio**2 * doubt  # what the proof needs
    assert np.mean(off > ratio * np.sqrt(doubt / (2 * n))) <= alpha / 2
    mean = np.sqrt(n_options * ratio / n)
    assert s.mean() <= mean
    assert np.mean(s > mean + ratio * np.sqrt(2 * doubt / n)) <= alpha / 2
    proved = float(bound.statistical_proved)
    assert proved < 1
    assert np.mean(tv > proved) <= alpha
    if n_options == 400:
        without_options = float(np.sqrt(3) * np.sqrt(2.5 * doubt / n))
        assert np.mean(tv > without_options) > alpha
    if ratio == 64:
        even = theorem_7_1([1.0], 0.0, n=n, n_options=n_options, ratio=1.0, alpha=alpha)
        assert np.mean(tv > float(even.statistical_proved)) > alpha
    # At four times as many twins it is half, and half of the errors is left.
    more = theorem_7_1([1.0], 0.0, n=4 * n, n_options=n_options, ratio=ratio, alpha=alpha)
    assert float(more.statistical_proved) == pytest.approx(proved / 2)
    _, _, fewer = weighted_errors(np.random.default_rng(1), 4 * n, ratio, n_options)
    assert fewer.mean() == pytest.approx(tv.mean() / 2, rel=0.15)


def test_below_the_size_that_the_proof_needs_the_term_is_trivial():
    alpha, ratio = 0.05, 3.0
    for n in (1, 10, int(2 * ratio**2 * np.log(4 / alpha))):
        bound = theorem_7_1([1.0], 0.0, n=n, n_options=2, ratio=ratio, alpha=alpha)
        assert float(bound.statistical_proved) > 1


def test_coefficients_do_not_depend_on_the_unit_of_the_features():
    rng = np.random.default_rng(1)
    questions = rng.dirichlet(np.ones(5), 7)
    new = rng.dirichlet(np.full(7, 0.7)) @ questions
    c, _ = best_coefficients(questions, new)
    for scale in (1e-9, 1e9):
        other, misfit = best_coefficients(scale * questions, scale * new)
        np.testing.assert_allclose(other, c, atol=2e-3)
        assert float(misfit) <= 1e-3
    even, misfit = best_coefficients(1e-9 * questions, 1e-9 * questions.mean(0))
    np.testing.assert_allclose(even, 1 / 7, atol=1e-3)
    assert float(misfit) <= 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coefficients": np.array([np.nan, 1.0])}, "simplex"),
        ({"ratio": np.nan}, "ratio"),
        ({"structural": np.nan}, "structural"),
        ({"structural": -0.1}, "structural"),
        ({"coefficients": np.array([0.5, 0.2])}, "simplex"),
        ({"ratio": 0.5}, "ratio"),
        ({"alpha": 1.0}, "alpha"),
        ({"n": 0}, "`n` must be positive"),
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
    with pytest.raises(ValueError, match="must be finite"):
        best_coefficients(np.full((2, 2), np.nan), np.ones(2))
    with pytest.raises(ValueError, match="same features"):
        best_coefficients(np.eye(3), np.ones(2))
