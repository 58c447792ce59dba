"""Panels of many questions: fewer donors and fewer moments, from the same nested estimate."""

import jax
import jax.numpy as jnp
import numpy as np
from kinds_of_twins import QUESTIONS, SCALE, twins_of_kind

from syndigits_jax.datasets import simulate_panel
from syndigits_jax.estimation import AUTO, hold_out_questions, questions
from syndigits_jax.estimation import components as module
from syndigits_jax.estimation.components import donors
from syndigits_jax.estimation.grouping import random_folds
from syndigits_jax.estimation.questions import responses_of
from syndigits_jax.estimation.stack import fold_moments
from syndigits_jax.estimation.weights import FIXED_WEIGHTS, FOLDS

PEOPLE, MANY = 200, 60
SMALL = twins_of_kind("informative", 0, missing=0.1)


def sparse_panel():
    """200 people who answered a quarter of 60 questions, their twins the same."""
    panel, _ = simulate_panel(
        PEOPLE,
        MANY,
        3,
        common=0.8,
        fidelity=0.7,
        noise=0.7,
        twin_noise=0.5,
        bias=0.3,
        missing=0.75,
        twin_missing="same",
        scale=SCALE,
        key=0,
    )
    return panel


def judged(held, name):
    """By question, the correlation (0 where undefined) and the mean squared error."""
    error = np.nanmean((held.predictions[name] - held.truth) ** 2, axis=1)
    return np.nan_to_num(held.scores("pearson", name)), error


def test_donors_of_many_questions_are_those_with_most_answers(monkeypatch):
    responses = responses_of(SMALL, None)
    used = np.arange(QUESTIONS) % 4 != 0
    whole = donors(responses, jnp.asarray(used))
    monkeypatch.setattr(module, "MOST_DONORS", 10)
    fewer = jax.jit(lambda *given: donors.__wrapped__(*given))
    few = fewer(responses, jnp.asarray(used))
    answers = np.where(used, (SMALL.human_mask.astype(int) + SMALL.twin_mask).sum(0), -1)
    chosen = np.argsort(-answers, kind="stable")[:10]
    assert np.all(np.asarray(few.used))
    # All questions take part in filling the gaps of these, and in the person's mean.
    np.testing.assert_allclose(few.twin, np.asarray(whole.twin)[:, chosen], atol=1e-4)
    np.testing.assert_allclose(few.human, np.asarray(whole.human)[:, chosen], atol=1e-4)
    np.testing.assert_allclose(few.user_mean, whole.user_mean, atol=1e-5)


def test_of_large_pairs_some_questions_decide_the_weights():
    fold = random_folds(QUESTIONS, FOLDS, 0)
    responses = responses_of(SMALL, None)
    known = np.arange(QUESTIONS)
    whole, some = (fold_moments(responses, known, fold, most=most) for most in (None, 4))
    np.testing.assert_allclose(some.values, whole.values, atol=1e-4)
    for f in range(FOLDS):
        assert np.all(some.size[f][fold == f] == 0)
        assert 0 < np.sum(some.size[f] > 0) < np.sum(whole.size[f] > 0)
        both = some.size[f] > 0
        np.testing.assert_allclose(some.gram[f][both], whole.gram[f][both], atol=1e-3)
    # Weights that may use every question do.
    np.testing.assert_allclose(
        some.weights(FIXED_WEIGHTS)[0], whole.weights(FIXED_WEIGHTS)[0], atol=1e-2
    )


def test_sparse_answers_to_many_questions_are_estimated_and_nested(monkeypatch):
    """With limits as far below this panel's size as the real ones are below a large one's."""
    monkeypatch.setattr(module, "MOST_DONORS", 30)
    monkeypatch.setattr(questions, "MANY_QUESTIONS", 40)
    monkeypatch.setattr(questions, "MOST_OF_A_PAIR", 6)
    panel = sparse_panel()
    held = hold_out_questions(panel)
    assert held.status[AUTO].max() == held.imputation_status[AUTO].max() == 0
    for name in ("Baseline", "UserMean"):
        for sign, ours, theirs in zip((1, -1), judged(held, AUTO), judged(held, name), strict=True):
            gain = sign * (ours - theirs)
            assert gain.mean() > -2 * gain.std(ddof=1) / np.sqrt(MANY)
    inside = random_folds(MANY, FOLDS, 0) == 2
    other = np.where(inside[None, :], 8 - panel.human, panel.human)
    after = hold_out_questions(panel.replace(human=other)).predictions[AUTO]
    np.testing.assert_array_equal(after[inside], held.predictions[AUTO][inside])
    assert not np.all(after[~inside] == held.predictions[AUTO][~inside], axis=1).any()
