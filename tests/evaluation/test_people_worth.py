"""What predictions are worth in people, against populations whose truth is known."""

import jax
import numpy as np
import pytest
import scipy.stats

from syndigits_jax.evaluation import people_worth

T, N = 20, 60


def test_worth_against_known_populations():
    """Unbiased mean squares, and ends that are wrong at most as often as they say."""
    rng, panels = np.random.default_rng(0), 100
    variance, bias = 0.5**2 + 0.3**2, 0.3
    people = variance / bias**2
    explained = (0.5 * variance) ** 2 / (0.25 * variance + 0.25**2) / variance
    squares, shares, wrong = [], [], np.zeros(4)
    for s in range(panels):
        truth = 0.5 * rng.normal(size=(T, N)) + 0.3 * rng.normal(size=N)
        prediction = 0.5 * truth + 0.25 * rng.normal(size=(T, N))
        prediction = prediction + bias * rng.normal(size=(T, 1))
        found = people_worth(prediction, truth, key=jax.random.key(s), replicates=200)
        squares.append(found.squared_error.estimate)
        shares.append(found.explained.estimate)
        wrong += [
            people < found.alone.lower, people > found.alone.upper,
            explained < found.explained.lower, explained > found.explained.upper,
        ]  # fmt: skip
    # The level is 95%: 2.5% on each side, with room for the chance of so few panels.
    assert (wrong <= scipy.stats.binom.ppf(0.999, panels, 0.05)).all()
    np.testing.assert_allclose(np.mean(shares), explained, atol=0.01)
    np.testing.assert_allclose(np.mean(squares), bias**2, atol=0.012)


def test_worth_by_hand():
    """One set of answers with gaps and weights, by plain loops."""
    rng = np.random.default_rng(1)
    truth, weight = rng.normal(size=(4, 30)), np.repeat([1.0, 2.0], 15)
    prediction = 0.4 * truth + rng.normal(size=(4, 30)) + 1
    truth[0, :5], prediction[1, 3] = np.nan, np.nan
    found = people_worth(
        prediction, truth, key=jax.random.key(0), sample_weight=weight, replicates=2
    )
    rows = []
    for x, y in zip(prediction, truth, strict=True):
        there = ~np.isnan(x + y)
        x, y, w = x[there], y[there], weight[there]
        n = w.sum() ** 2 / (w**2).sum()
        cov = np.cov(np.stack([x, y]), aweights=w, ddof=0) * n / (n - 1)
        gap = np.average(x - y, weights=w)
        between = cov[0, 0] + cov[1, 1] - 2 * cov[0, 1]
        error = gap**2 - between / n + cov[0, 0] / n
        rest = (cov[1, 1] - cov[0, 1] ** 2 / cov[0, 0]) * (n - 1) / (n - 2)
        rows.append([error, rest, cov[1, 1]])
    np.testing.assert_allclose(found.by_question, rows, rtol=2e-4)
    error, rest, variance = np.mean(rows, axis=0)
    np.testing.assert_allclose(found.alone.estimate, variance / error, rtol=1e-4)
    np.testing.assert_allclose(found.explained.estimate, 1 - rest / variance, rtol=1e-3)
    factor = 1 / (1 - (1 - rest / variance) * (1 - 10 / 40))
    np.testing.assert_allclose(found.times(10, 40).estimate, factor, rtol=1e-4)


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ((np.ones((2, 5)), np.ones((3, 5))), {}, "must have the shape of `truth`"),
        ((np.ones((3, 5)), np.ones((3, 5))), {}, "`truth` does not vary"),
        ((np.ones((3, 2)), np.ones((3, 2))), {}, "no question has three answers"),
        ((np.ones((3, 5)), np.ones((3, 5))), {"sample_weight": np.zeros(5)}, "nor zero"),
        ((np.ones((3, 5)), np.ones((3, 5))), {"level": 0.0}, "`level` must lie"),
    ],
)
def test_bad_input_is_refused(args, options, message):
    with pytest.raises(ValueError, match=message):
        people_worth(*args, key=jax.random.key(0), replicates=options.pop("replicates", 2),
                     **options)  # fmt: skip
