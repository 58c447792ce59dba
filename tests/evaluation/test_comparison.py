"""Comparisons of predictions: scores against SciPy, intervals against known truth."""

import jax
import numpy as np
import pytest
import scipy.stats

from syndigits_jax.evaluation import compare_predictions, twin_gain

KEY, T, N = jax.random.key(0), 12, 60


@pytest.fixture(scope="module")
def answers():
    rng = np.random.default_rng(0)
    truth, first, second = rng.normal(size=(3, T, N))
    first, second = 3 + 0.5 * (truth + first), 0.3 * truth + second
    truth[0, :7], first[1, 5:9], second[2, :3] = np.nan, np.nan, np.nan
    return truth, {"first": first, "second": second}


def by_hand(measure, x, y, weight):
    """One question's score by NumPy and SciPy."""
    share = weight / weight.sum()
    if measure == "mean error":
        return abs(share @ (x - y))
    if measure == "mse":
        return share @ (x - y) ** 2
    cov = np.cov(np.stack([x, y]), aweights=weight, ddof=0)
    if measure == "spread":
        return np.sqrt(cov[0, 0] / cov[1, 1])
    return cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1])


@pytest.mark.parametrize("measure", ["pearson", "mean error", "mse", "spread"])
def test_scores_are_those_by_hand(answers, measure):
    truth, predictions = answers
    weight = np.random.default_rng(1).uniform(0.5, 2, N)
    found = compare_predictions(
        predictions, truth, key=KEY, measure=measure, sample_weight=weight, replicates=2
    )
    used = ~np.isnan(truth + predictions["first"] + predictions["second"])
    for c, x in enumerate(predictions.values()):
        want = [
            by_hand(measure, x[t, used[t]], truth[t, used[t]], weight[used[t]]) for t in range(T)
        ]
        np.testing.assert_allclose(found.by_question[c], want, atol=2e-5)
        np.testing.assert_allclose(found.score(found.names[c]).estimate, np.mean(want), atol=1e-5)
    if measure == "pearson" and (weight == 1).all():
        want = scipy.stats.pearsonr(predictions["first"][5], truth[5]).statistic
        np.testing.assert_allclose(found.by_question[0, 5], want, atol=1e-5)


def test_difference_is_the_gate(answers):
    """The same resamples: only the interval is by Student's t here."""
    truth, predictions = answers
    options = {"key": KEY, "replicates": 400}
    found = compare_predictions(predictions, truth, **options)
    gate = twin_gain(predictions["first"], predictions["second"], truth, **options)
    one = found.difference("first", "second")
    np.testing.assert_allclose(one.estimate, gate.estimate, atol=1e-5)
    reach = scipy.stats.t.ppf(0.975, T - 1) * np.sqrt(T / (T - 1)) * float(gate.standard_error)
    np.testing.assert_allclose([one.lower, one.upper], one.estimate + np.array([-reach, reach]),
                               atol=1e-3)  # fmt: skip
    other = found.difference("second", "first")
    np.testing.assert_allclose(other, [-one.estimate, -one.upper, -one.lower])


def test_the_best_of_several_is_not_chosen(answers):
    """To be above the best is to be above every one; errors mirror correlations."""
    truth, predictions = answers
    three = predictions | {"third": predictions["second"][:, ::-1], "none": 0 * truth}
    found = compare_predictions(three, truth, key=KEY, replicates=400)
    gap, name = found.over_best("first", ["second", "third"])
    each = [found.difference("first", other) for other in ("second", "third")]
    assert name == "second"
    assert gap.estimate == pytest.approx(min(one.estimate for one in each))
    assert gap.lower == pytest.approx(min(one.lower for one in each))
    assert gap.upper >= min(one.upper for one in each) - 1e-9
    assert found.score("none") == (0, 0, 0)  # does not vary
    errors = compare_predictions(three, truth, key=KEY, measure="mse", replicates=400)
    gap, name = errors.over_best("first", ["second", "none"], largest=False)
    assert gap.estimate == max(
        errors.difference("first", other).estimate for other in ("second", "none")
    )
    assert gap.lower < gap.estimate < gap.upper


def test_findings_are_wrong_at_most_at_their_level():
    """Few questions, people and questions both random: differences whose truth is 0."""
    rng, panels, wrong = np.random.default_rng(3), 120, np.zeros(2)
    for s in range(panels):
        shape = 8, 40
        truth = rng.normal(size=shape)
        # Each question is easier for one of the two, at random.
        gap = 0.3 * rng.normal(size=(8, 1))
        first = (0.5 + gap) * truth + rng.normal(size=shape)
        second = (0.5 - gap) * truth + rng.normal(size=shape)
        third = 0.5 * truth + rng.normal(size=shape)
        found = compare_predictions(
            {"first": first, "second": second, "third": third}, truth, key=jax.random.key(s),
            replicates=200, level=0.9,
        )  # fmt: skip
        one = found.difference("first", "second")
        wrong[0] += one.lower > 0 or one.upper < 0
        best, _ = found.over_best("first", ["second", "third"])
        wrong[1] += best.lower > 0
    limit = scipy.stats.binom.ppf(0.999, panels, [0.1, 0.05])
    assert (wrong <= limit).all()


GOOD = np.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize(
    ("predictions", "options", "message"),
    [
        ({"a": GOOD}, {"measure": "rank"}, "`measure` must be one of"),
        ({}, {}, "`predictions`: there is none"),
        ({"a": GOOD[:2]}, {}, "must have the shape of `truth`"),
        ({"a": GOOD * np.nan}, {}, "no answer in common"),
        ({"a": GOOD}, {"blocks": ["a"] * 3}, "at least two blocks"),
        ({"a": GOOD}, {"sample_weight": [0.0] * 4}, "nor zero for everybody"),
        ({"a": GOOD}, {"sample_weight": [1.0]}, "`sample_weight` must have shape"),
        ({"a": GOOD}, {"level": 1.0}, "`level` must lie"),
    ],
)
def test_bad_input_is_refused(predictions, options, message):
    with pytest.raises(ValueError, match=message):
        compare_predictions(predictions, GOOD, key=KEY, **options)
