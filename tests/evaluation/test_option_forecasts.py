"""What becomes a forecast: points, draws, marginals of others; and positions of answers."""

import numpy as np
import pytest

from syndigits_jax.evaluation import (
    from_draws,
    from_points,
    marginal_of_others,
    option_positions,
    smoothed,
)

OPTIONS = [0.5, 1.0, 2.0]


def test_answers_have_positions():
    got = option_positions([[2.0, np.nan], [0.5, 1.0]], OPTIONS)
    np.testing.assert_array_equal(got, [[2, np.nan], [0, 1]])
    with pytest.raises(ValueError, match=r"the answer 1\.5 is none of the options"):
        option_positions([0.5, 1.5], OPTIONS)
    with pytest.raises(ValueError, match="ascending"):
        option_positions([0.5], [1.0, 1.0])
    with pytest.raises(ValueError, match="at least two"):
        option_positions([0.5], [1.0])


def test_points_choose_the_nearest_option():
    got = from_points([0.0, 0.74, 0.76, 1.5, 9.0, np.nan], OPTIONS)
    want = np.eye(3)[[0, 0, 1, 1, 2]]
    np.testing.assert_array_equal(got[:5], want)
    assert np.isnan(got[5]).all()


def test_draws_become_shares_of_those_there_are():
    draws = [[0.5, 2.0, np.nan], [0.5, 1.0, np.nan], [np.nan, 1.1, np.nan], [2.0, 0.5, np.nan]]
    got = from_draws(draws, OPTIONS)
    np.testing.assert_allclose(got[:2], [[2 / 3, 0, 1 / 3], [0.25, 0.5, 0.25]], rtol=1e-6)
    assert np.isnan(got[2]).all()
    with pytest.raises(ValueError, match="a draw at least"):
        from_draws(np.zeros((0, 3)), OPTIONS)


def test_smoothing_mixes_the_uniform_over_the_options_there_are():
    np.testing.assert_allclose(smoothed([1.0, 0, 0, 0], 0.2), [0.85, 0.05, 0.05, 0.05], rtol=1e-6)
    here = [True, True, False, False]
    np.testing.assert_allclose(smoothed([1.0, 0, 0, 0], 0.2, options=here), [0.9, 0.1, 0, 0])
    with pytest.raises(ValueError, match="between 0 and 1"):
        smoothed([0.5, 0.5], 1.5)


def test_the_marginal_is_that_of_the_others():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, (2, 12)).astype(float)
    y[1, :3] = np.nan
    weight = rng.uniform(0.5, 2, 12)
    got = marginal_of_others(y, 3, sample_weight=weight, prior=1.5)
    for t in range(2):
        for i in range(12):
            counts = np.full(3, 1.5 * weight.mean() / 3)
            for j in range(12):
                if j != i and not np.isnan(y[t, j]):
                    counts[int(y[t, j])] += weight[j]
            np.testing.assert_allclose(got[t, i], counts / counts.sum(), rtol=1e-5)


def test_nothing_of_the_own_answer_is_in_the_marginal():
    rng = np.random.default_rng(1)
    y, weight = rng.integers(0, 4, 200), rng.uniform(0.1, 3, 200)
    before = marginal_of_others(y, 4, sample_weight=weight)
    y[77] = (y[77] + 1) % 4
    after = marginal_of_others(y, 4, sample_weight=weight)
    np.testing.assert_array_equal(before[77], after[77])
    assert not np.array_equal(before[78], after[78])


def test_options_that_a_question_lacks_stay_empty():
    got = marginal_of_others([[0, 1, 1], [0, 2, 2]], 3, options=[[True, True, False], [True] * 3])
    np.testing.assert_array_equal(got[0, :, 2], 0)
    np.testing.assert_allclose(np.sum(got, axis=-1), 1, rtol=1e-6)
    alone = marginal_of_others([[np.nan, np.nan]], 2, prior=0.0)
    np.testing.assert_array_equal(alone, np.full((1, 2, 2), 0.5))
    with pytest.raises(ValueError, match="`prior` must not be negative"):
        marginal_of_others([0, 1], 2, prior=-1.0)
