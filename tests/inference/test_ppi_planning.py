"""Planning against brute force, and cross-fitting: no answer moves its own person's prediction."""

import jax
import numpy as np
import pytest
import scipy.stats

from syndigits_jax.inference import cheapest_split, cross_fit, people_needed, person_folds, ppi_mean


@pytest.mark.parametrize("finite", [False, True])
@pytest.mark.parametrize("r2", [0.0, 0.4])
@pytest.mark.parametrize(("half_width", "twins"), [(0.4, 300), (0.15, 2000), (0.9, 50)])
def test_people_needed_is_the_fewest(half_width, twins, r2, finite):
    n = np.arange(3, twins + 1)
    n = np.arange(2, twins + 1) if r2 == 0 else n
    square = (1 - r2) * (1 / n - 1 / twins) if finite else (1 - r2) / n + r2 / twins
    half = scipy.stats.t.ppf(0.95, n - 1 - (r2 > 0)) * 1.3 * np.sqrt(square)
    fewest = n[np.argmax(half <= half_width)]
    ours = people_needed(half_width, 1.3, r2, twins=twins, finite=finite, level=0.9)
    assert abs(float(ours) - fewest) <= 1e-3


def test_not_even_everybody():
    """Three hundred people with twins say no more of a population than their answers do."""
    assert np.isposinf(people_needed(0.1, 1.0, 0.9, twins=300))


@pytest.mark.parametrize("r2", [0.0, 0.05, 0.5, 0.9])
@pytest.mark.parametrize("cost_twin", [0.02, 1.0, 12.0])
def test_no_split_of_the_budget_is_better(r2, cost_twin):
    budget, person = 2000.0, 10.0
    split = cheapest_split(person, cost_twin, r2, 1.5, budget=budget)
    n = np.arange(1, int(budget / person) + 1)
    twins = (budget - person * n) / cost_twin
    variance = np.where(twins >= n, (1 - r2) / n + r2 / np.maximum(twins, 1), np.inf)
    alone = person / budget
    best = 1.5 * np.sqrt(min(variance.min(), alone))
    assert float(split.standard_error) <= best * 1.0001
    assert float(split.standard_error) >= best * 0.99  # whole people lose a little
    used = split.people * person + split.twins * cost_twin
    np.testing.assert_allclose([used, split.cost], budget, rtol=1e-5)
    if split.twins > 0:
        square = (1 - r2) / split.people + r2 / split.twins
        np.testing.assert_allclose(split.standard_error, 1.5 * np.sqrt(square), rtol=1e-5)
    np.testing.assert_allclose(
        split.cost_of_people_alone, person * (1.5 / split.standard_error) ** 2, rtol=1e-4
    )
    # The cheapest way to that precision is this budget.
    half = float(split.standard_error) * scipy.stats.norm.ppf(0.975)
    back = cheapest_split(person, cost_twin, r2, 1.5, half_width=half)
    np.testing.assert_allclose([back.cost, back.people], [budget, split.people], rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: people_needed(0.0, 1.0), "`half_width` must be positive"),
        (lambda: people_needed(0.1, 1.0, 1.5), "`r2` must lie between 0 and 1"),
        (lambda: people_needed(0.1, -1.0), "`sd` must be positive"),
        (lambda: cheapest_split(1.0, 0.1, 0.5, 1.0), "either `budget` or `half_width`"),
        (lambda: cheapest_split(1.0, 0.1, 1.0, 1.0, budget=5.0), "`r2` must be below 1"),
        (lambda: cheapest_split(0.0, 0.1, 0.5, 1.0, budget=5.0), "`cost_person` must be positive"),
        (lambda: cross_fit(lambda y: y, TRUTH, np.zeros(N)), "at least two folds"),
        (lambda: cross_fit(lambda y: y, TRUTH, np.full(N, -1)), "people asked have no fold"),
        (lambda: cross_fit(lambda y: y[:3], TRUTH, FOLDS), "`predict` must return"),
        (lambda: cross_fit(lambda y: y, TRUTH, [0, 1]), "`folds` must have the shape"),
        (lambda: person_folds(KEY, TRUTH, 41), "`folds` must be from 2"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


N, K = 200, 40
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
TASTE = RNG.normal(size=(N, 30))
FULL = TASTE[:, 0] + RNG.normal(size=N)
TRUTH = np.where(np.arange(N) < K, FULL, np.nan)
FOLDS = person_folds(KEY, TRUTH)


def learner(answers):
    """Least squares of the answers that it may know on many regressors, which overfits."""
    answers = np.asarray(answers)
    known = ~np.isnan(answers)
    coef, *_ = np.linalg.lstsq(TASTE[known], answers[known], rcond=None)
    return TASTE @ coef


def test_no_answer_moves_the_prediction_of_its_own_person():
    usual = np.asarray(cross_fit(learner, TRUTH, FOLDS))
    for person in (0, 7, 39):
        changed = TRUTH.copy()
        changed[person] = 1e4
        moved = np.asarray(cross_fit(learner, changed, FOLDS))
        same = np.asarray(FOLDS) == FOLDS[person]
        np.testing.assert_array_equal(moved[same], usual[same])
        assert (moved[~same] != usual[~same]).all()  # the others' fits did see it


def test_people_who_were_not_asked_get_the_mean_of_the_fits():
    found = cross_fit(learner, TRUTH, FOLDS)
    fits = [learner(np.where(np.asarray(FOLDS) == f, np.nan, TRUTH)) for f in range(5)]
    np.testing.assert_allclose(found[K:], np.mean(fits, axis=0)[K:], rtol=1e-5)


def test_folds_are_of_persons():
    person = np.arange(N) // 4
    folds = np.asarray(person_folds(KEY, TRUTH, 3, people=person))
    assert all(len(set(folds[(person == p) & (folds >= 0)])) <= 1 for p in range(N // 4))
    assert set(folds[K:]) == {-1} and set(folds[:K]) == {0, 1, 2}


def test_without_cross_fitting_intervals_would_be_too_narrow():
    """What overfits the people asked claims more than it does for new people."""
    cheat = ppi_mean(TRUTH, learner(TRUTH))
    fair = ppi_mean(TRUTH, cross_fit(learner, TRUTH, FOLDS))
    assert cheat.worth > 2 * max(float(fair.worth), 1.0)
    error = np.var(FULL[K:] - learner(TRUTH)[K:])
    assert error > 3 * np.var(FULL[:K] - learner(TRUTH)[:K])
