"""The gate against closed forms, and its bootstrap against known variances."""

import jax
import numpy as np
import pytest
import scipy.stats

from syndigits_jax.evaluation import twin_gain

KEY, T, N = jax.random.key(0), 12, 60


@pytest.fixture(scope="module")
def answers():
    """Truth; a control that knows a part of it, and an estimate that knows another."""
    rng = np.random.default_rng(0)
    known, own, rest = rng.normal(size=(3, T, N))
    truth = known + own + rest
    return truth, known + rng.normal(size=(T, N)), own + rng.normal(size=(T, N))


def test_gains_are_those_of_scipy(answers):
    truth, control, estimate = (a.copy() for a in answers)
    estimate[0, :10], truth[1, 5:9] = np.nan, np.nan
    both = [
        twin_gain(estimate, control, truth, key=KEY, comparison=c, replicates=2)
        for c in ("pearson", "partial", "mse")
    ]
    for t in range(T):
        used = ~np.isnan(estimate[t] + truth[t])
        x, z, y = estimate[t, used], control[t, used], truth[t, used]
        plain = scipy.stats.pearsonr(x, y).statistic - scipy.stats.pearsonr(z, y).statistic
        np.testing.assert_allclose(both[0].by_question[t], plain, atol=1e-5)
        lines = [scipy.stats.linregress(z, a) for a in (x, y)]
        left = [a - line.slope * z - line.intercept for a, line in zip((x, y), lines, strict=True)]
        partial = scipy.stats.pearsonr(*left).statistic
        np.testing.assert_allclose(both[1].by_question[t], partial, atol=1e-4)
        square = np.mean((z - y) ** 2) - np.mean((x - y) ** 2)
        np.testing.assert_allclose(both[2].by_question[t], square, rtol=1e-3, atol=1e-4)
    for found in both:
        np.testing.assert_allclose(found.estimate, np.mean(found.by_question), rtol=1e-4)


def test_weights_are_repetitions(answers):
    truth, control, estimate = answers
    times = np.arange(N) % 3
    repeated = (np.repeat(a, times, axis=1) for a in (estimate, control, truth))
    want = twin_gain(*repeated, key=KEY, replicates=2).by_question
    got = twin_gain(
        estimate, control, truth, key=KEY, replicates=2, sample_weight=times.astype(float)
    )
    np.testing.assert_allclose(got.by_question, want, atol=1e-5)


def test_verdicts(answers):
    truth, control, estimate = answers

    def verdict(x, z, **options):
        return twin_gain(x, z, truth, key=KEY, replicates=200, **options).verdict

    assert verdict(truth + estimate, control) == "twins add"
    assert verdict(control, truth + estimate) == "twins take away"
    assert verdict(control + 0, control) == "no gain shown"
    # No better alone, but it knows something else.
    assert verdict(0.5 * estimate, control, comparison="partial") == "twins add"
    noise = np.random.default_rng(1).normal(size=(T, N))
    assert verdict(noise, control, comparison="partial") == "no gain shown"
    assert verdict(control, control, comparison="partial") == "no gain shown"


def test_the_bootstrap_knows_that_people_and_questions_vary():
    """The variance of means of a_i + b_t + e_it, in which σe² counts thrice (Owen, 2007)."""
    rng = np.random.default_rng(2)
    people, questions, a, b, e = 150, 100, 1.0, 0.7, 1.0
    ratios = []
    for _ in range(3):
        loss = a * rng.normal(size=people)[None] + b * rng.normal(size=questions)[:, None]
        loss = loss + e * rng.normal(size=loss.shape)
        found = twin_gain(0 * loss, loss, key=KEY, comparison="loss", replicates=300)
        np.testing.assert_allclose(found.estimate, loss.mean(), atol=1e-5)
        ratios.append(float(found.standard_error))
    want = np.sqrt(a**2 / people + b**2 / questions + 3 * e**2 / (people * questions))
    np.testing.assert_allclose(np.mean(ratios), want, rtol=0.12)


def test_blocks_are_resampled_as_a_whole():
    rng = np.random.default_rng(3)
    block = np.repeat(np.arange(10), 6)
    loss = rng.normal(size=10)[block][:, None] + 0.1 * rng.normal(size=(60, 30))
    options = {"key": KEY, "comparison": "loss", "replicates": 300}
    alone = twin_gain(0 * loss, loss, **options)
    together = twin_gain(0 * loss, loss, blocks=block.tolist(), **options)
    np.testing.assert_allclose(together.estimate, alone.estimate, rtol=1e-5)
    np.testing.assert_allclose(
        together.standard_error / alone.standard_error, np.sqrt(6), rtol=0.35
    )


GOOD = np.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ((GOOD, GOOD, GOOD[:2]), {}, "of one shape"),
        ((GOOD, GOOD), {}, "`truth` is needed"),
        ((GOOD, GOOD + np.inf, GOOD), {}, "`control` is infinite somewhere"),
        ((GOOD, GOOD, GOOD), {"comparison": "loss"}, "`truth` is needed, except for"),
        ((GOOD, GOOD, GOOD), {"comparison": "rank"}, "`comparison` must be"),
        ((GOOD, GOOD, GOOD * np.nan), {}, "no answer in common"),
        ((GOOD, GOOD, GOOD), {"blocks": ["a", "b"]}, "`blocks` must name 3 questions"),
        ((GOOD, GOOD, GOOD), {"blocks": ["a"] * 3}, "at least two blocks"),
        ((GOOD, GOOD, GOOD), {"sample_weight": [1.0]}, "`sample_weight` must have shape"),
        ((GOOD, GOOD, GOOD), {"sample_weight": [-1.0, 1, 1, 1]}, "must not be negative"),
        ((GOOD, GOOD, GOOD), {"replicates": 1}, "`replicates` must be at least 2"),
        ((GOOD, GOOD, GOOD), {"level": 1.0}, "`level` must lie"),
    ],
)
def test_bad_input_is_refused(args, options, message):
    with pytest.raises(ValueError, match=message):
        twin_gain(*args, key=KEY, **options)
