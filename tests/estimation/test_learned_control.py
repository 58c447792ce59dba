"""The controls without twins: what they find in simulations, and what they must not see."""

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import Ridge

from syndigits_jax import Panel
from syndigits_jax.estimation import (
    hold_out_learned_control,
    hold_out_questions,
    learned_control,
)
from syndigits_jax.evaluation.controls import controls

N, M, E = 60, 24, 3
BLOCKS = tuple(f"b{j // 6}" for j in range(M))


def simulated(seed: int = 0, missing: float = 0.0):
    """People whose answers depend on what questions are about, which their texts tell."""
    rng = np.random.default_rng(seed)
    texts, people = rng.normal(size=(M, E)), rng.normal(size=(N, E))
    answers = 3 + 0.6 * people @ texts.T + 0.4 * rng.normal(size=(N, M))
    answers = np.clip(np.round(answers), 1, 5)
    hidden = rng.random((N, M)) < missing
    twin = np.clip(np.round(3 + rng.normal(size=(N, M))), 1, 5)
    panel = Panel.from_arrays(np.where(hidden, np.nan, answers), twin, scale=(1, 5, 1))
    return panel, texts, people


@pytest.fixture(scope="module")
def found():
    panel, texts, _ = simulated()
    return panel, texts, hold_out_learned_control(panel, embeddings=texts)


def mean_correlation(held):
    (name,) = held.predictions
    return float(np.mean(held.scores("pearson", name)))


def test_texts_tell_what_the_persons_mean_does_not(found):
    panel, texts, held = found
    assert mean_correlation(held) > 0.6
    noise = np.random.default_rng(1).normal(size=texts.shape)
    without = hold_out_learned_control(panel, embeddings=noise)
    assert mean_correlation(without) < 0.35


def test_without_texts_and_blocks_it_is_the_standardised_person_mean():
    rng = np.random.default_rng(2)
    answers = 3 + 0.5 * rng.normal(size=(N, 1)) + 0.7 * rng.normal(size=(N, M))
    answers = np.clip(np.round(answers), 1, 5)
    panel = Panel.from_arrays(answers, 0 * answers + 3, scale=(1, 5, 1))
    got = hold_out_learned_control(panel)
    twins = panel.replace(twin=panel.human)
    want = controls(twins, np.arange(M), "question")["ZScoredUserMean"]
    for j in range(M):  # the folds leave out a few questions more
        assert np.corrcoef(got.predictions["LearnedControl"][j], want[j])[0, 1] > 0.9


def test_blocks_are_learnt_from():
    """Each block of questions has a factor of its own."""
    rng = np.random.default_rng(3)
    answers = rng.normal(size=(N, 4))[:, np.arange(M) // 6] + 0.5 * rng.normal(size=(N, M))
    answers = np.clip(3 + answers, 1, 5)
    panel = Panel.from_arrays(answers, 0 * answers + 3, scale=(1, 5))
    inside = mean_correlation(hold_out_learned_control(panel, blocks=BLOCKS))
    assert inside > 0.7 > mean_correlation(hold_out_learned_control(panel)) + 0.2


def test_level_and_range_are_those_of_the_questions(found):
    panel, _, held = found
    prediction = held.predictions["LearnedControl"]
    assert prediction.min() >= 1 and prediction.max() <= 5
    assert np.mean(np.abs(prediction.mean(axis=1) - panel.human.mean(axis=0))) < 0.3
    assert np.mean((prediction - held.truth) ** 2) < 0.75 * np.mean(
        (held.truth.mean(axis=1, keepdims=True) - held.truth) ** 2
    )


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("setting", ["known battery", "new survey"])
def test_neither_twins_nor_the_folds_own_answers_are_read(missing, setting):
    panel, texts, people = simulated(4, missing)
    options = {"embeddings": texts, "blocks": BLOCKS, "setting": setting, "covariates": people}
    before = hold_out_learned_control(panel, **options).predictions["LearnedControl"]
    fold = hold_out_folds(panel, setting)
    mine = fold == fold[0]
    rng = np.random.default_rng(5)
    human = np.where(mine[None], np.clip(np.round(3 + rng.normal(size=(N, M))), 1, 5), panel.human)
    changed = panel.replace(human=human, twin=rng.integers(1, 6, (N, M)).astype(float))
    after = hold_out_learned_control(changed, **options).predictions["LearnedControl"]
    np.testing.assert_array_equal(before[mine], after[mine])
    assert not np.array_equal(before[~mine], after[~mine])


def hold_out_folds(panel, setting):
    from syndigits_jax.estimation.questions import prepare

    return prepare(panel, np.zeros(0, np.int64), BLOCKS, None).folds(setting, 0)


def test_folds_are_those_of_the_estimate():
    """A change in one fold moves exactly the other folds' predictions, of both."""
    panel, texts, _ = simulated(6)
    fold = hold_out_folds(panel, "known battery")
    human = panel.human.copy()
    human[:, fold == 1] = 6 - human[:, fold == 1]
    changed = panel.replace(human=human)
    first = [
        hold_out_learned_control(p, embeddings=texts).predictions["LearnedControl"]
        for p in (panel, changed)
    ]
    second = [hold_out_questions(p).predictions["Auto"] for p in (panel, changed)]
    for before, after in (first, second):
        same = (before == after).all(axis=1)
        np.testing.assert_array_equal(same, fold == 1)


def test_covariates_fill_missing_answers():
    panel, texts, people = simulated(7, missing=0.85)
    plain = mean_correlation(hold_out_learned_control(panel, embeddings=texts))
    helped = mean_correlation(hold_out_learned_control(panel, embeddings=texts, covariates=people))
    assert helped > plain + 0.03


def test_a_new_question_is_predicted_from_its_text(found):
    panel, texts, held = found
    got = learned_control(panel, [panel.questions[5]], embeddings=texts)
    assert got.shape == (N, 1)
    assert np.corrcoef(got[:, 0], held.predictions["LearnedControl"][5])[0, 1] > 0.9
    human = panel.human.copy()
    human[:, 5] = np.nan
    hidden = learned_control(panel.replace(human=human), embeddings=texts)
    np.testing.assert_array_equal(got, hidden)


@pytest.mark.parametrize(
    "learner", [Ridge(), GradientBoostingRegressor(n_estimators=10, max_depth=2, random_state=0)]
)
def test_a_learner_keeps_the_fold_out_too(learner):
    panel, texts, people = simulated(8)
    options = {"embeddings": texts, "covariates": people, "learner": learner}
    before = hold_out_learned_control(panel, **options)
    assert mean_correlation(before) > 0.4
    assert not hasattr(learner, "n_features_in_")  # a copy was fitted
    fold = hold_out_folds(panel, "known battery")
    human = np.where((fold == 0)[None], 6 - panel.human, panel.human)
    after = hold_out_learned_control(panel.replace(human=human), **options)
    name = "LearnedControl"
    np.testing.assert_array_equal(
        before.predictions[name][fold == 0], after.predictions[name][fold == 0]
    )


def test_weights_of_zero_are_people_who_are_not_there():
    panel, texts, _ = simulated(9)
    weight = (np.arange(N) < 50).astype(float)
    kept = hold_out_learned_control(panel.take(users=slice(0, 50)), embeddings=texts)
    weighted = hold_out_learned_control(panel, embeddings=texts, sample_weight=weight)
    name = "LearnedControl"
    np.testing.assert_allclose(
        weighted.predictions[name][:, :50], kept.predictions[name], atol=2e-3
    )


PANEL, TEXTS, _ = simulated(11)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embeddings": TEXTS[:5]}, "a vector for each of the 24 questions"),
        ({"embeddings": TEXTS * np.inf}, "the vector of question 0 is not finite"),
        ({"embeddings": np.ones((M, 2))}, "all alike"),
        ({"covariates": np.ones((5, 1))}, "a row for each of the 60 people"),
        ({"covariates": np.full((N, 1), np.inf)}, "has infinities"),
        ({"blocks": ["a"]}, "`blocks` must name the block"),
        ({"setting": "new survey"}, "at least two blocks"),
        ({"learner": "boosting"}, "`learner` must have `fit` and `predict`"),
        ({"sample_weight": np.zeros(N)}, "zero for every user"),
    ],
)
def test_bad_input_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        hold_out_learned_control(PANEL, **options)


def test_unknown_ranges_too_few_questions_and_folds_are_refused():
    with pytest.raises(ValueError, match="range of question 'question_0' is not known"):
        hold_out_learned_control(Panel.from_arrays(PANEL.human, PANEL.twin))
    with pytest.raises(ValueError, match="needs at least three"):
        hold_out_learned_control(PANEL.take(questions=slice(0, 2)))
    with pytest.raises(ValueError, match="has no question 'x'"):
        learned_control(PANEL, ["x"])
