"""Intervals, ranks and resampling against their definitions, in exact arithmetic where it helps.

Ranks, tails and weights are small whole numbers here, so that being off by one shows.
"""

import itertools
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from syndigits_jax.inference import (
    bootstrap,
    conformal_quantile,
    hierarchical_jackknife_plus,
    hierarchical_quantile,
    jackknife_plus,
    jackknife_plus_half_width,
    leave_one_out_quantiles,
    nan_mean,
    permutation_test,
    question_scores,
    sign_flip_test,
    split_conformal,
    standard_error,
    twin_scale,
)

KEY = jax.random.key(0)
LEVELS = [Fraction(1, 20), Fraction(1, 10), Fraction(1, 5), Fraction(1, 4), Fraction(1, 2)]


def kth_smallest(values, k):
    """Infinite beyond the last."""
    ordered = np.sort(values)
    return math.inf if k > len(ordered) else ordered[k - 1]


# --- ranks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [*LEVELS, Fraction(1, 3), Fraction(3, 7), Fraction(9, 10)])
def test_ranks_of_every_number_of_scores(alpha, dtype):
    """Of 1, 2, ..., t the quantile is the rank itself; a third of all t make it a whole number."""
    most = 199
    scores = np.where(np.tri(most, dtype=bool), np.arange(1, most + 1), np.nan).astype(dtype)
    got = jax.jit(jax.vmap(lambda row: conformal_quantile(row, float(alpha))))(scores)
    ranks = [math.ceil((t + 1) * (1 - alpha)) for t in range(1, most + 1)]
    want = [rank if rank <= t else math.inf for t, rank in enumerate(ranks, start=1)]
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("beta", LEVELS)
def test_the_share_of_cells_inside_is_of_those_there_are(beta):
    """⌈N(1-β)⌉, without the one more that a new score would be."""
    truth = np.where(np.tri(40, dtype=bool), np.arange(1.0, 41), np.nan)
    got = question_scores(
        np.zeros((40, 40)), truth, np.full(40, 2.0), kind="quantile", beta=float(beta)
    )
    want = [math.ceil(n * (1 - beta)) / 2 for n in range(1, 41)]
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_ties_and_missing_scores():
    scores = np.array([2.0, 1, np.nan, 1, 3, 2, 1, np.nan, 3, 1])  # 1 four, 2 two, 3 two times
    for alpha in (0.55, 0.5, 0.4, 0.3, 0.2, 0.15):
        rank = math.ceil(9 * (1 - alpha) - 1e-9)
        want = kth_smallest(scores[~np.isnan(scores)], rank)
        interval = split_conformal(jnp.asarray([10.0, 20.0]), scores, 2.0, alpha)
        np.testing.assert_allclose(interval.lower, np.array([10, 20]) - 2 * want)
        np.testing.assert_allclose(interval.upper, np.array([10, 20]) + 2 * want)
        others = [scores[np.arange(10) != j] for j in range(10)]
        expected = [
            kth_smallest(o[~np.isnan(o)], math.ceil((np.sum(~np.isnan(o)) + 1) * (1 - alpha)))
            for o in others
        ]
        np.testing.assert_allclose(leave_one_out_quantiles(scores, alpha), expected)
    assert conformal_quantile(np.full(4, np.nan), 0.5) == math.inf


def test_the_scale_of_twins_divides_by_how_many_there_are():
    twin = np.array([[1.0, 2, 4, np.nan], [5.0, np.nan, np.nan, 9]])
    np.testing.assert_allclose(
        twin_scale(twin, floor=0.1), [np.std([1, 2, 4]), np.std([5, 9])], rtol=1e-6
    )


# --- jackknife+ ----------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", LEVELS)
def test_jackknife_plus_is_that_of_the_paper(alpha):
    """Barber et al. (2021): from the ⌊α(n+1)⌋-th smallest μ₋ᵢ - Rᵢ to the ⌈(1-α)(n+1)⌉-th
    smallest μ₋ᵢ + Rᵢ, in Rᵢ = score · scale."""
    for n in (9, 19, 20, 7):
        rng = np.random.default_rng(n)
        without, scores = rng.normal(size=(n, 3)), rng.exponential(size=n)
        got = jackknife_plus(jnp.asarray(without), np.append(scores, np.nan)[:n], 1.5, float(alpha))
        low, high = math.floor(alpha * (n + 1)), math.ceil((1 - alpha) * (n + 1))
        for c in range(3):
            lower = np.sort(without[:, c] - 1.5 * scores)
            want = -math.inf if low < 1 else lower[low - 1]
            np.testing.assert_allclose(got.lower[c], want, rtol=1e-5, atol=1e-6)
            want = kth_smallest(without[:, c] + 1.5 * scores, high)
            np.testing.assert_allclose(got.upper[c], want, rtol=1e-5, atol=1e-6)


def test_jackknife_plus_leaves_out_questions_without_a_score():
    rng = np.random.default_rng(3)
    without, scores = rng.normal(size=(21, 2)), rng.exponential(size=21)
    scores[[2, 20]] = np.nan
    kept = ~np.isnan(scores)
    got = jackknife_plus(jnp.asarray(without), scores, 1.0, 0.1)
    want = jackknife_plus(jnp.asarray(without[kept]), scores[kept], 1.0, 0.1)
    np.testing.assert_allclose(got.lower, want.lower, rtol=1e-6)
    np.testing.assert_allclose(got.upper, want.upper, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "distance"),
    [
        ("rmse", lambda d: np.sqrt(np.mean(d**2, axis=1))),
        ("mae", lambda d: np.mean(np.abs(d), axis=1)),
        ("max", lambda d: np.max(np.abs(d), axis=1)),
        ("quantile", lambda d: np.max(np.abs(d), axis=1)),
    ],
)
def test_half_width_by_its_formula(kind, distance):
    rng = np.random.default_rng(4)
    prediction, without = rng.normal(size=5), rng.normal(size=(9, 5))
    scores = rng.exponential(size=9)
    got = jackknife_plus_half_width(
        jnp.asarray(prediction), jnp.asarray(without), scores, 2.0, 0.2, kind=kind
    )
    want = kth_smallest(2 * scores + distance(without - prediction), 8)
    np.testing.assert_allclose(got, want, rtol=1e-5)


# --- questions of unequal size -------------------------------------------------------------------


def ragged(seed, questions=9, cells=6):
    """Residuals with ties, of which some are missing and one question has none."""
    rng = np.random.default_rng(seed)
    residuals = rng.integers(0, 12, (questions, cells)).astype(float)
    mask = rng.random((questions, cells)) < 0.7
    mask[3], mask[5, 0] = False, True
    return residuals, mask


def mass_quantile(values, mask, level):
    """The smallest value with 1 - α of the mass at or below it; a question has 1/(t+1)."""
    counted = [row[seen] for row, seen in zip(values, mask) if seen.any()]
    for value in np.unique(np.concatenate(counted)):
        share = sum(Fraction(int(np.sum(row <= value)), len(row)) for row in counted)
        if share / (len(counted) + 1) >= 1 - level:
            return value
    return math.inf


@pytest.mark.parametrize("level", [*LEVELS, Fraction(2, 9), Fraction(1, 9)])
@pytest.mark.parametrize("seed", range(3))
def test_hierarchical_quantile_by_counting(seed, level):
    residuals, mask = ragged(seed)
    got = hierarchical_quantile(jnp.asarray(residuals), jnp.asarray(mask), float(level))
    assert got == mass_quantile(residuals, mask, level)


@pytest.mark.parametrize("level", [Fraction(1, 9), Fraction(1, 4), Fraction(1, 2)])
def test_hierarchical_jackknife_plus_by_counting(level):
    residuals, mask = ragged(7)
    without = np.random.default_rng(8).integers(-3, 4, (9, 4)).astype(float)
    got = hierarchical_jackknife_plus(
        jnp.asarray(without), jnp.asarray(residuals), jnp.asarray(mask), 2.0, float(level),
        batch_size=3,
    )  # fmt: skip
    for c in range(4):
        above = 2 * residuals + without[:, c, None]
        below = 2 * residuals - without[:, c, None]
        assert got.upper[c] == mass_quantile(above, mask, level)
        assert got.lower[c] == -mass_quantile(below, mask, level)


# --- bootstrap -----------------------------------------------------------------------------------


def test_bootstrap_draws_every_row_equally_often():
    """Row counts are multinomial: a row never drawn, or drawn too often, has another spread."""
    n = 7
    got = jax.jit(
        lambda key: bootstrap(key, lambda d: jnp.sum(d, axis=0), jnp.eye(n), replicates=4000)
    )(KEY)
    np.testing.assert_allclose(got.estimate, 1)
    # The spread of a count with chance p is √(n p (1-p)); its standard error here is about 1.1%.
    np.testing.assert_allclose(got.standard_error, math.sqrt(n * (1 / n) * (1 - 1 / n)), rtol=0.06)
    pairs = jax.jit(
        lambda key: bootstrap(
            key, lambda d: jnp.sum(d, axis=0)[:-1] + jnp.sum(d, axis=0)[1:], jnp.eye(n),
            replicates=4000,
        )
    )(KEY)  # fmt: skip
    # Counts of two rows take from each other, so that their sum is binomial with chance 2/n.
    np.testing.assert_allclose(
        pairs.standard_error, math.sqrt(n * (2 / n) * (1 - 2 / n)), rtol=0.06
    )


@pytest.mark.parametrize("level", [0.6, 0.8, 0.92])
def test_percentile_intervals_have_the_tails_of_a_binomial(level):
    """Half of 20 rows are ones: their number in a replicate is binomial (20, 1/2)."""
    data = jnp.asarray([1.0, 0.0] * 10)
    run = jax.jit(lambda key, x: bootstrap(key, jnp.sum, x, replicates=4000, level=level))
    got, exact = run(KEY, data), scipy.stats.binom(20, 0.5)
    tail = (1 - level) / 2
    # The tails lie well inside a step of the distribution, so that chance does not move them.
    for end in (got.lower, got.upper):
        assert float(end) == int(end)
    assert (got.lower, got.upper) == (exact.ppf(tail), exact.ppf(1 - tail))


def test_the_spread_of_two_replicates():
    """Two values, d apart: the interval of level l is l·d wide and the spread d/√2 (ddof 1)."""
    data = jnp.asarray(np.random.default_rng(5).exponential(size=30))
    got = bootstrap(KEY, nan_mean, data, replicates=2, level=0.6)
    apart = (got.upper - got.lower) / 0.6
    assert apart > 0
    np.testing.assert_allclose(got.standard_error, apart / math.sqrt(2), rtol=1e-5)


def test_replicates_without_a_value_are_left_out():
    def statistic(rows):
        return jnp.where(jnp.any(rows == 0), jnp.nan, jnp.sum(rows))

    got = bootstrap(KEY, statistic, jnp.asarray([0.0, 1, 1, 1]), replicates=500)
    assert jnp.isnan(got.estimate)
    assert got.standard_error == 0 and got.lower == got.upper == 4


def test_batches_and_keys():
    data = jnp.asarray(np.random.default_rng(6).normal(size=40))
    whole = bootstrap(KEY, nan_mean, data, replicates=30)
    parts = bootstrap(KEY, nan_mean, data, replicates=30, batch_size=7)
    np.testing.assert_allclose(whole.standard_error, parts.standard_error, rtol=1e-5)
    other = bootstrap(jax.random.key(1), nan_mean, data, replicates=30)
    assert other.standard_error != whole.standard_error


# --- permutations --------------------------------------------------------------------------------


def product(x, y):
    return jnp.sum(x * y)


def test_permutations_are_all_equally_likely():
    """Four distinct values: the p-value is the share of the 24 orders as extreme."""
    x, y = np.array([0.0, 1, 3, 7]), np.array([1.0, 0.2, 2, 3])
    sums = np.array([x @ np.array(order) for order in itertools.permutations(y)])
    for alternative, want in (
        ("greater", np.mean(sums >= x @ y - 1e-9)),
        ("less", np.mean(sums <= x @ y + 1e-9)),
    ):
        got = permutation_test(
            KEY, product, jnp.asarray(x), y, replicates=6000, alternative=alternative
        )
        assert got.statistic == pytest.approx(x @ y)
        assert got.p_value == pytest.approx(want, abs=0.02)  # three standard errors


def test_the_arrangement_that_was_observed_counts():
    """No permutation is as extreme, and the p-value is 1 / (B + 1), never 0."""
    x = jnp.arange(15.0)
    for alternative, want in (("greater", 1 / 100), ("less", 1.0), ("two-sided", 2 / 100)):
        got = permutation_test(KEY, product, x, x, replicates=99, alternative=alternative)
        assert got.p_value == pytest.approx(want, rel=1e-6)


def test_sign_flips_of_every_difference():
    """All 2⁶ patterns as the judge, whichever tail; the last difference is the largest."""
    differences = np.array([0.5, -0.3, np.nan, 0.2, 0.1, -0.4, 2.0])
    kept = differences[~np.isnan(differences)]
    means = np.array(list(itertools.product([-1, 1], repeat=6))) @ kept / 6
    greater = np.mean(means >= kept.mean() - 1e-9)
    less = np.mean(means <= kept.mean() + 1e-9)
    both = min(1, 2 * min(greater, less))
    for alternative, want in (("greater", greater), ("less", less), ("two-sided", both)):
        got = sign_flip_test(KEY, differences, replicates=6000, alternative=alternative)
        assert got.statistic == pytest.approx(kept.mean())
        assert got.p_value == pytest.approx(want, abs=0.02)
    same = sign_flip_test(KEY, np.zeros(5), replicates=99)
    assert same.p_value == 1
    assert sign_flip_test(KEY, differences, replicates=9).p_value >= 0.1


def test_standard_error_of_two_and_of_one():
    assert standard_error(np.array([1.0, np.nan, 4.0])) == pytest.approx(1.5)
    assert np.isnan(standard_error(np.array([1.0, np.nan])))
    assert np.isnan(nan_mean(np.zeros(0)))
