"""What people's other answers say without any twin, judged by scikit-learn."""

import jax
import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut

from syndigits_jax.evaluation import other_answers, person_mean
from syndigits_jax.evaluation.other_answers import PENALTIES
from syndigits_jax.inference import cross_fit, person_folds

N, M, K = 60, 8, 25
RNG = np.random.default_rng(0)
TASTE = RNG.normal(size=N)
OTHERS = 3 + TASTE[:, None] + RNG.normal(size=(N, M))
OTHERS[RNG.random((N, M)) < 0.2] = np.nan
PEOPLE = np.stack([RNG.normal(size=N), RNG.integers(0, 2, N)], axis=1)
FULL = 2 + TASTE + 2 * PEOPLE[:, 0] + 0.5 * RNG.normal(size=N)
ANSWERS = np.where(np.arange(N) < K, FULL, np.nan)
WEIGHT = RNG.uniform(0.2, 2, size=N)


def standard(values, weight):
    there = np.where(np.isnan(values), 0, weight[:, None])
    mean = np.nansum(there * values, axis=0) / there.sum(axis=0)
    return (values - mean) / np.sqrt(np.nansum(there * (values - mean) ** 2, axis=0) / there.sum(0))


def judged(weight, k, covariates=None):
    """The same by scikit-learn, with leave-one-out by leaving out each person in turn."""
    z = standard(OTHERS, weight)
    x = np.where(np.isnan(z), np.nanmean(z, axis=1, keepdims=True), z)
    if covariates is not None:
        x = np.concatenate([x, standard(covariates, weight)], axis=1)
    x /= np.sqrt(np.average((x**2).sum(axis=1), weights=weight))
    y, w = ANSWERS[:k], weight[:k] / weight[:k].mean()

    def error(penalty):
        total = 0.0
        for rest, out in LeaveOneOut().split(x[:k]):
            fit = Ridge(alpha=penalty).fit(x[rest], y[rest], w[rest])
            total += (w[out] * (y[out] - fit.predict(x[out])) ** 2).item()
        return total

    return Ridge(alpha=min(PENALTIES, key=error)).fit(x[:k], y, w).predict(x)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("described", [False, True])
@pytest.mark.parametrize("k", [K, 6])  # more people than questions, and fewer
def test_it_is_ridge_regression_with_the_best_penalty(weighted, described, k):
    weight, people = (WEIGHT if weighted else np.ones(N)), (PEOPLE if described else None)
    options = {"sample_weight": weight if weighted else None, "covariates": people}
    found = other_answers(OTHERS, **options)(np.where(np.arange(N) < k, FULL, np.nan))
    np.testing.assert_allclose(found, judged(weight, k, people), rtol=1e-4, atol=1e-4)


def test_covariates_tell_more():
    def correlation(**options):
        return np.corrcoef(other_answers(OTHERS, **options)(ANSWERS)[K:], FULL[K:])[0, 1]

    assert correlation(covariates=PEOPLE) > correlation() + 0.2


def test_people_of_weight_zero_are_not_there():
    kept = np.arange(N) < 40
    found = other_answers(OTHERS, sample_weight=np.where(kept, WEIGHT, 0))(ANSWERS)
    usual = other_answers(OTHERS[kept], sample_weight=WEIGHT[kept])(ANSWERS[kept])
    np.testing.assert_allclose(found[kept], usual, rtol=1e-4, atol=1e-4)
    mean = person_mean(OTHERS, sample_weight=np.where(kept, WEIGHT, 0))
    usual = person_mean(OTHERS[kept], sample_weight=WEIGHT[kept])
    np.testing.assert_allclose(mean[kept], usual, rtol=1e-6, atol=1e-6)


def test_no_answer_of_a_person_moves_that_persons_prediction():
    learn, folds = other_answers(OTHERS), person_folds(jax.random.key(0), ANSWERS)
    before = cross_fit(learn, ANSWERS, folds)
    changed = ANSWERS.copy()
    changed[7] = 100.0
    after = cross_fit(learn, changed, folds)
    assert before[7] == after[7]
    assert not np.array_equal(before[folds != folds[7]], after[folds != folds[7]])


def test_alike_answers_and_questions_say_nothing():
    alike = np.where(np.isnan(OTHERS), np.nan, 4.0)
    np.testing.assert_allclose(other_answers(alike)(ANSWERS), np.nanmean(ANSWERS), rtol=1e-6)
    same = np.where(np.isnan(ANSWERS), np.nan, 2.0)
    np.testing.assert_allclose(other_answers(OTHERS)(same), 2.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: other_answers(TASTE), r"`others` must be \(n, m\)"),
        (lambda: other_answers(OTHERS * np.inf), "`others` has infinities"),
        (lambda: other_answers(OTHERS, covariates=PEOPLE[:5]), "a row for each of the 60 people"),
        (
            lambda: other_answers(OTHERS, covariates=np.full((N, 1), np.inf)),
            "`covariates` has infin",
        ),
        (lambda: other_answers(OTHERS, sample_weight=-WEIGHT), "`sample_weight` must not be neg"),
        (lambda: other_answers(OTHERS, sample_weight=0 * WEIGHT), "not zero for everybody"),
        (lambda: other_answers(OTHERS, sample_weight=WEIGHT[:5]), "`sample_weight` must have"),
        (lambda: other_answers(OTHERS)(ANSWERS[:5]), r"`answers` must have shape \(60,\)"),
        (lambda: other_answers(OTHERS)(np.full(N, np.nan)), "0 are known; at least two"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
