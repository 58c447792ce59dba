"""No mass on an option that a question does not have, and no option is guessed silently."""

import jax.numpy as jnp
import numpy as np
import pytest
from small_ensembles import small_problem

from syndigits_jax.distribution import (
    DIVERGENCES,
    Answers,
    Spec,
    fit_blend,
    fit_ensemble,
    fit_large,
    make_design,
    make_targets,
    share_intervals,
    support_of,
)
from syndigits_jax.distribution.cross_validation import cross_fit
from syndigits_jax.distribution.evaluation import mean_distribution, scores, uniform_ensemble
from syndigits_jax.distribution.intervals import intervals_around

K, TWINS, ASKED, NEW = 5, 20, 8, 3
SIZES = np.array([2, 5, 2, 5, 3, 2, 5, 2])
NEW_SIZES = np.array([2, 5, 3])


def first(sizes):
    return np.arange(K)[None] < np.asarray(sizes)[:, None]


@pytest.fixture(scope="module")
def ragged():
    """Counts with NaN where a question has no option, and choices of the same and new questions."""
    rng = np.random.default_rng(0)
    here = first(SIZES)
    counts = np.where(here, rng.integers(5, 200, (ASKED, K)), np.nan)
    choices = np.stack([rng.integers(0, size, TWINS) for size in SIZES], axis=1)
    new = np.stack([rng.integers(0, size, TWINS) for size in NEW_SIZES], axis=1)
    return counts, choices, new


FITS = {
    "fit_ensemble": lambda counts, answers, **o: fit_ensemble(counts, answers, "tv", **o),
    "fit_blend": lambda counts, answers, **o: fit_blend(
        counts, answers, "tv", entropies=(0.0, 0.1), shares=(0.5,), folds=2, **o
    ),
    "fit_large": lambda counts, answers, **o: fit_large(
        counts, answers, Spec("tv"), columns=8, **o
    ),
}


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
def test_predictions_by_every_way_to_state_the_options(ragged, fit):
    counts, choices, new = ragged
    here = first(NEW_SIZES)
    stated = fit(counts, Answers.from_choices(choices, SIZES))
    masked = fit(counts, Answers.from_choices(choices, K, options=first(SIZES)))
    zeros = fit(np.nan_to_num(counts), Answers.from_choices(choices, K), options=first(SIZES))
    blank = fit(counts, Answers.from_choices(choices, K))
    whole = Answers.from_choices(new, K)
    ways = [
        stated.predict(Answers.from_choices(new, NEW_SIZES)),
        masked.predict(Answers.from_choices(new, K, options=here)),
        zeros.predict(whole, options=here),
        blank.predict(whole, options=here),
    ]
    for q in ways:
        assert not np.any(np.asarray(q)[~here])
        assert np.all(np.asarray(q)[here] > 0)
        np.testing.assert_allclose(np.sum(q, axis=1), 1, rtol=1e-5)
        np.testing.assert_allclose(q, ways[0], atol=1e-6)
    for found in (stated, blank):
        with pytest.raises(ValueError, match=r"`options`.*not known"):
            found.predict(whole)


def test_a_fit_of_complete_questions_predicts_complete_ones(ragged):
    _, _, new = ragged
    targets = np.random.default_rng(1).dirichlet(np.ones(K), NEW)
    answers = Answers.from_choices(new, K)
    fit = fit_ensemble(targets, answers, "tv")
    assert fit.all_options
    q = np.asarray(fit.predict(answers))
    assert (q > 0).all()
    two = fit.predict(Answers.from_choices(new[:, :1], K, options=first([2])))
    assert not np.any(two[0, 2:]) and float(jnp.sum(two)) == pytest.approx(1, abs=1e-5)


def test_the_weights_of_dummies_go_to_existing_options(ragged):
    """A dummy of an option that is not there answers evenly among the others."""
    counts, choices, new = ragged
    fit = fit_ensemble(counts, Answers.from_choices(choices, SIZES), "kl", variant="dummies")
    q = np.asarray(fit.predict(Answers.from_choices(new, NEW_SIZES)))
    pi = np.asarray(fit.dummies)
    np.testing.assert_allclose(q[0], [*(pi[:2] + pi[2:].sum() / 2), 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(q[1], pi, atol=1e-6)
    np.testing.assert_allclose(q[2], [*(pi[:3] + pi[3:].sum() / 3), 0, 0], atol=1e-6)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_column_that_no_question_has_changes_nothing(name):
    targets, choices = small_problem(4)
    k = targets.shape[1]
    plain = fit_ensemble(targets, Answers.from_choices(choices, k), name, variant="personas")
    wide = np.concatenate([targets, np.full((len(targets), 2), np.nan)], axis=1)
    padded = Answers.from_choices(choices, k + 2, options=np.arange(k + 2) < k)
    other = fit_ensemble(wide, padded, name, variant="personas")
    slack = 2 * Spec(name).gap * float(plain.start - plain.objective) + 5e-6
    assert float(other.start) == pytest.approx(float(plain.start), abs=5e-6)
    assert float(other.objective) == pytest.approx(float(plain.objective), abs=slack)
    assert not np.any(other.predict(padded)[:, k:])


def test_cross_fits_means_and_intervals(ragged):
    counts, choices, new = ragged
    answers, whole = Answers.from_choices(choices, SIZES), Answers.from_choices(new, K)
    [crossed], means = cross_fit(counts, answers, [Spec("tv")], folds=2)
    for q in (crossed, means, uniform_ensemble(answers)):
        assert not np.any(np.asarray(q)[~first(SIZES)])
        np.testing.assert_allclose(np.sum(q, axis=1), 1, rtol=1e-5)
    here = first(NEW_SIZES)
    blend = FITS["fit_blend"](counts, answers)
    for spec in (Spec("tv"), blend):
        for stated in (
            {"new_answers": Answers.from_choices(new, NEW_SIZES)},
            {"new_answers": whole, "new_options": here},
        ):
            q, interval = share_intervals(counts, answers, spec=spec, folds=2, **stated)
            for part in (q, interval.lower, interval.upper):
                assert not np.any(np.asarray(part)[~here])
        with pytest.raises(ValueError, match=r"`options`.*not known"):
            share_intervals(counts, answers, whole, spec, folds=2)


def test_the_mean_distribution_and_its_errors(ragged):
    counts, _, _ = ragged
    truth = make_targets(counts)
    shares = np.nan_to_num(counts / np.nansum(counts, axis=1, keepdims=True))
    mean = shares.mean(axis=0)
    q = mean_distribution(truth, first([2, 5]))
    np.testing.assert_allclose(q[0], [*(mean[:2] / mean[:2].sum()), 0, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(q[1], mean, rtol=1e-5)
    for options, message in (
        (np.zeros((1, K), bool), "keeps no option"),
        (np.ones((1, K)), "`options` must be boolean"),
        (np.ones((1, K - 1), bool), "new questions x 5"),
    ):
        with pytest.raises(ValueError, match=message):
            mean_distribution(truth, options)


def test_a_design_leaves_out_choices_of_options_that_are_not_there():
    answers = Answers.from_choices([[0], [2], [1], [1]], 3)
    design = make_design(answers, [True, True, False])
    support = support_of("both", 4, 3)
    q = design.mix(jnp.full(7, 1 / 7))
    assert support.all() and float(q[0, 2]) == 0
    # One twin each at 0 and 2 twins at 1; the twin at 2 is missing, the third dummy is even.
    np.testing.assert_allclose(
        q[0, :2], np.array([1 + 1 / 3 + 1.5, 2 + 2 / 3 + 1.5]) / 7, rtol=1e-5
    )


def test_a_mass_that_is_not_there_is_not_scored(ragged):
    counts, _, _ = ragged
    shares = np.nan_to_num(counts / np.nansum(counts, axis=1, keepdims=True))
    assert float(scores(counts, {"true": shares})["true"]["tv"].max()) < 1e-6
    leaking = shares * 0.94 + 0.06 / K
    short, negative, missing = shares * 0.94, shares.copy(), shares.copy()
    negative[1, 0] = -0.5
    missing[2, 0] = np.nan
    for q, message in (
        (leaking, "question 0 has mass on options"),
        (short, "question 0 does not sum to 1"),
        (negative, "question 1 has a negative or missing"),
        (missing, "question 2 has a negative or missing"),
        (shares[:, :4], "has shape"),
    ):
        with pytest.raises(ValueError, match=r"`predictions\['q'\]`.*" + message):
            scores(counts, {"q": q})


def test_which_options_a_question_has_is_checked(ragged):
    counts, choices, _ = ragged
    bad = choices.copy()
    bad[3, 0] = 4
    with pytest.raises(ValueError, match=r"twin 3 chose option 4 of question 0, .* options 0, 1$"):
        Answers.from_choices(bad, SIZES)
    for n_options, options, message in (
        (SIZES[:3], None, "`n_options` must be one number, or one for each of the 8"),
        (SIZES + 0.5, None, "whole"),
        (np.nan, None, "whole"),
        (1, None, "at least 2"),
        (K, np.ones((2, K), bool), "`options` must be a mask"),
        (K, np.zeros(K, bool), "keeps no option"),
        (K, np.ones(K), "`options` must be boolean"),
    ):
        with pytest.raises(ValueError, match=message):
            Answers.from_choices(choices, n_options, options=options)
    answers = Answers.from_choices(choices, SIZES)
    assert answers.questions([1, 0]).options.tolist() == first([5, 2]).tolist()
    assert answers.twins([1, 0]).options.tolist() == first(SIZES).tolist()
    with pytest.raises(ValueError, match="`targets` is NaN at option 2 of question 0"):
        make_targets(counts, options=np.ones(counts.shape, bool))
    # For all questions alike, the mask says what to drop of what they have.
    kept = make_targets(counts, options=[True, True, True, True, False]).options
    np.testing.assert_array_equal(kept, first(SIZES) & (np.arange(K) < 4))
    with pytest.raises(ValueError, match="question 1 has no count"):
        make_targets([[1.0, 2.0], [np.nan, np.nan]])


def test_probabilities_of_options_that_are_not_there():
    rows = np.array([[[0.5, 0.5, np.nan], [0.2, 0.3, 0.5]], [[np.nan] * 3, [0.1, 0.1, 0.8]]])
    here = np.array([[True, True, False], [True, True, True]])
    answers = Answers.from_probabilities(rows, options=here)
    np.testing.assert_allclose(answers.dense()[1, :3], [0.5, 0.5, 0])
    np.testing.assert_array_equal(answers.options, here)
    nobody = Answers.from_probabilities(np.full((2, 1, 3), np.nan), options=here[:1])
    np.testing.assert_allclose(nobody.fallback, [[0.5, 0.5, 0]])
    with pytest.raises(ValueError, match="mass on an option that its question lacks"):
        Answers.from_probabilities(np.nan_to_num(rows, nan=0.4)[:1, :1] / 1.4, options=here[:1])
    with pytest.raises(ValueError, match="NaN for some options"):
        Answers.from_probabilities(rows)


def test_intervals_around_any_prediction(ragged):
    counts, _, _ = ragged
    truth = make_targets(counts)
    crossed = np.asarray(truth.p)
    q = [[0.5, 0.5, 0, 0, 0]]
    interval = intervals_around(q, crossed, truth, alpha=0.5, options=first([2]))
    assert not np.any(interval.upper[0, 2:])
    # Four questions have a third option. With errors of 0.1 in each, half of them are within 0.1;
    # those without the option say nothing of it, though their errors would be 0.
    off = crossed + 0.1 * np.asarray(truth.options)
    wide = intervals_around(q, off, truth, alpha=0.5, options=np.ones(K, bool))
    np.testing.assert_allclose(wide.upper[0], [0.6, 0.6, 0.1, 0.1, 0.1], atol=1e-6)
    for change, message in (
        ({"q": [[0.5, 0.5]]}, "as many options"),
        ({"crossed": crossed[:2]}, "the targets' shape"),
        ({"options": np.ones((2, K), bool)}, "`options` must be a mask"),
    ):
        arguments = {"q": q, "crossed": crossed, "options": first([2])} | change
        with pytest.raises(ValueError, match=message):
            intervals_around(truth=truth, alpha=0.5, **arguments)
