"""Choices on the training questions alone, and intervals that cover."""

import jax
import numpy as np
import pytest

from syndigits_jax.datasets import simulate_distributions
from syndigits_jax.distribution import Answers, Spec, fit_blend, fit_ensembles, share_intervals
from syndigits_jax.distribution.cross_validation import cross_fit, question_folds

OPTIONS = 4


def simulated(seed: int, questions: int = 40, sample: int | None = 200):
    data, truth = simulate_distributions(
        key=seed, twins=60, questions=questions, options=OPTIONS, types=6, sample=sample
    )
    return data, truth


def test_folds_are_balanced_and_checked():
    fold = question_folds(11, 3)
    assert sorted(np.bincount(fold)) == [3, 4, 4]
    again, other = (question_folds(11, 3, key=jax.random.key(seed)) for seed in (0, 1))
    np.testing.assert_array_equal(fold, again)
    assert np.any(fold != other)
    with pytest.raises(ValueError, match="`folds` must lie"):
        question_folds(5, 6)


def test_cross_fits_are_fits_without_the_fold():
    data, _ = simulated(0, questions=12)
    answers = Answers.from_choices(data.choices, OPTIONS)
    specs = [Spec("kl"), Spec("kl", "dummies")]
    predictions, means = cross_fit(data.counts, answers, specs, folds=3)
    fold = question_folds(12, 3)
    out, kept = np.flatnonzero(fold == 1), np.flatnonzero(fold != 1)
    alone = fit_ensembles(data.counts[kept], answers.questions(kept), specs)
    for i, fit in enumerate(alone):
        expected = fit.predict(answers.questions(out))
        np.testing.assert_allclose(predictions[i][out], expected, atol=0.01)
    shares = data.counts / data.counts.sum(1, keepdims=True)
    np.testing.assert_allclose(means[out[0]], shares[kept].mean(0), rtol=1e-5)


def test_the_blend_takes_the_mean_where_twins_know_nothing():
    data, _ = simulated(1)
    answers = Answers.from_choices(data.choices, OPTIONS)
    rng = np.random.default_rng(0)
    noise = Answers.from_choices(rng.integers(0, OPTIONS, data.choices.shape), OPTIONS)
    grid = {"entropies": (0.0, 0.01), "folds": 4}
    informed = fit_blend(data.counts, answers, "kl", **grid)
    ignorant = fit_blend(data.counts, noise, "kl", variant="personas", **grid)
    assert informed.share < ignorant.share
    assert informed.error.shape == (2, 5)
    assert informed.error.min() < ignorant.error.min()
    assert informed.spec in informed.specs
    q = informed.predict(answers.questions(np.array([0, 1])))
    np.testing.assert_allclose(q.sum(1), 1, rtol=1e-4)
    with pytest.raises(ValueError, match="`shares` must lie"):
        fit_blend(data.counts, answers, shares=(2.0,))
    with pytest.raises(ValueError, match="`shares` must not be empty"):
        fit_blend(data.counts, answers, entropies=())


def test_intervals_cover_new_questions():
    """Every option at 90%, and whole questions at 90% where asked for."""
    inside, whole = [], []
    for seed in range(6):
        data, _ = simulated(seed, questions=60)
        answers = Answers.from_choices(data.choices, OPTIONS)
        old, new = np.arange(40), np.arange(40, 59)
        arguments = (data.counts[old], answers.questions(old), answers.questions(new), Spec("tv"))
        observed = data.counts[new] / data.counts[new].sum(1, keepdims=True)
        q, interval = share_intervals(*arguments, folds=4)
        assert np.all((interval.lower <= q + 1e-6) & (q <= interval.upper + 1e-6))
        inside.append((interval.lower <= observed) & (observed <= interval.upper))
        _, together = share_intervals(*arguments, folds=4, simultaneous=True)
        whole.append(((together.lower <= observed) & (observed <= together.upper)).all(axis=1))
        assert np.all(together.half_width.mean() > interval.half_width.mean())
    # 114 questions in all: three standard errors of a proportion.
    assert 0.9 - 0.085 <= np.mean(inside) <= 0.985
    assert np.mean(whole) >= 0.9 - 0.085
