"""Expected against realised values of questions: by NumPy, and the chance of being wrong."""

import jax
import numpy as np
import pytest
import scipy.stats

from syndigits_jax.evaluation import judge_expectations

KEY = jax.random.key(0)


def test_numbers_are_those_of_scipy():
    rng = np.random.default_rng(0)
    expected = rng.normal(size=31)
    realised = 0.3 + 0.7 * expected + 0.4 * rng.normal(size=31)
    expected[4], realised[7] = np.nan, np.nan
    found = judge_expectations(
        expected, realised, key=KEY, lower=expected - 0.5, upper=expected + 0.5, replicates=200
    )
    used = ~np.isnan(expected + realised)
    x, y = expected[used], realised[used]
    line = scipy.stats.linregress(x, y)
    np.testing.assert_allclose(found.correlation.estimate, line.rvalue, rtol=1e-4)
    np.testing.assert_allclose(found.slope.estimate, line.slope, rtol=1e-4)
    best = x > np.median(x)
    np.testing.assert_allclose(found.upper_half.estimate, y[best].mean(), rtol=1e-4)
    np.testing.assert_allclose(found.lift.estimate, y[best].mean() - y[~best].mean(), rtol=1e-3)
    np.testing.assert_allclose(found.coverage.estimate, np.mean(abs(x - y) <= 0.5), rtol=1e-4)
    assert found.count == 29
    assert found.slope.lower < 0.7 < found.slope.upper


def test_a_lift_is_claimed_at_most_at_its_level():
    """Expectations that mean nothing, of questions that stand together in blocks."""
    rng, panels, wrong = np.random.default_rng(1), 80, 0
    blocks = np.repeat(np.arange(8), 3)
    for s in range(panels):
        realised, expected = (rng.normal(size=8)[blocks] + rng.normal(size=24) for _ in range(2))
        found = judge_expectations(
            expected, realised, key=jax.random.key(s), groups=blocks.tolist(), replicates=200,
            level=0.9,
        )  # fmt: skip
        wrong += found.lift.lower > 0 or found.lift.upper < 0
    assert wrong <= scipy.stats.binom.ppf(0.999, panels, 0.1)


def test_nothing_varies():
    found = judge_expectations(np.ones(5), np.arange(5.0), key=KEY, replicates=50)
    assert np.isnan(found.correlation.estimate) and np.isinf(found.lift.upper)
    with pytest.raises(ValueError, match="2 questions can be judged"):
        judge_expectations([1.0, 2.0], [1.0, 2.0], key=KEY)
    with pytest.raises(ValueError, match="`groups` must name 3"):
        judge_expectations([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], key=KEY, groups=["a"])
