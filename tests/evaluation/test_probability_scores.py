"""Scores of probabilities against scikit-learn, SciPy, closed forms and SimBench's procedure."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from syndigits_jax.evaluation import (
    brier_score,
    from_points,
    log_score,
    probability_losses,
    ranked_probability_score,
    simbench_score,
    skill,
)
from syndigits_jax.evaluation.metrics import crps_from_draws
from syndigits_jax.evaluation.probability_scores import MEANS

T, N, K = 2, 30, 4
VALUES = np.array([1.0, 2.0, 4.0, 4.5])
COMPILED = {name: jax.jit(function) for name, function in MEANS.items()}


def example(seed: int):
    """Forecasts, answers and weights of 2 questions and 30 people."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(K, 0.7), (T, N)) * 0.96 + 0.01
    return p, rng.integers(0, K, (T, N)).astype(float), rng.uniform(0.5, 2, N)


def judged(name, p, y, weight):
    """The score of one question, by others' code or one person after the other."""
    y = y.astype(int)
    if name == "log":
        return sklearn.metrics.log_loss(y, p, sample_weight=weight, labels=np.arange(K))
    losses = []
    for row, chosen in zip(p, y, strict=True):
        hit = np.arange(K) == chosen
        if name == "brier":
            losses.append(np.sum((row - hit) ** 2))
        else:
            losses.append(sum((row[: j + 1].sum() - (chosen <= j)) ** 2 for j in range(K)))
    return np.average(losses, weights=weight)


@pytest.mark.parametrize("name", list(MEANS))
@given(seed=st.integers(0, 10_000))
def test_scores_agree_with_independent_judges(name, seed):
    p, y, weight = example(seed)
    want = [judged(name, p[t], y[t], weight) for t in range(T)]
    got = COMPILED[name](jnp.asarray(p), jnp.asarray(y), sample_weight=jnp.asarray(weight))
    np.testing.assert_allclose(got, want, rtol=2e-5)


@pytest.mark.parametrize("name", list(MEANS))
def test_what_is_missing_or_masked_does_not_count(name):
    p, y, weight = example(0)
    kept = np.arange(N) % 3 > 0
    want = [judged(name, p[t][kept], y[t][kept], weight[kept]) for t in range(T)]
    score = MEANS[name]
    by_mask = score(p, y, mask=np.broadcast_to(kept, (T, N)), sample_weight=weight)
    unknown, minus, gone = np.where(kept, y, np.nan), np.where(kept, y, -1.0), p.copy()
    gone[:, ~kept] = np.nan
    for got in (by_mask, *(score(p, a, sample_weight=weight) for a in (unknown, minus))):
        np.testing.assert_allclose(got, want, rtol=1e-5)
    np.testing.assert_allclose(score(gone, y, sample_weight=weight), want, rtol=1e-5)
    assert np.isnan(score(p, np.full((T, N), np.nan))).all()


@pytest.mark.parametrize("name", list(MEANS))
def test_weights_are_repetitions_and_losses_average_to_scores(name):
    p, y, _ = example(1)
    times = np.arange(N) % 3 + 1
    repeated = MEANS[name](np.repeat(p, times, axis=1), np.repeat(y, times, axis=1))
    np.testing.assert_allclose(
        MEANS[name](p, y, sample_weight=times.astype(float)), repeated, rtol=1e-5
    )
    y[:, :4] = np.nan
    losses = probability_losses(name, p, y)
    assert np.isnan(losses[:, :4]).all()
    np.testing.assert_allclose(np.nanmean(losses, axis=1), MEANS[name](p, y), rtol=1e-5)


def test_two_options_have_twice_the_binary_brier_score():
    rng = np.random.default_rng(2)
    p, y = rng.uniform(size=40), rng.integers(0, 2, 40)
    want = 2 * sklearn.metrics.brier_score_loss(y, p)
    got = brier_score(np.stack([1 - p, p], axis=1), y)
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_the_ranked_score_of_a_point_is_its_distance_and_of_draws_their_crps():
    y = np.array([0.0, 1.0, 3.0, 2.0])
    points = VALUES[[2, 1, 0, 3]]
    got = ranked_probability_score(from_points(points, VALUES), y, values=VALUES)
    np.testing.assert_allclose(got, np.abs(points - VALUES[y.astype(int)]).mean(), rtol=1e-6)
    draws = VALUES[np.random.default_rng(3).integers(0, K, (7, 4))]
    shares = np.stack([(draws == value).mean(axis=0) for value in VALUES], axis=1)
    want = crps_from_draws(draws, VALUES[y.astype(int)], np.ones(4, bool), fair=False)
    np.testing.assert_allclose(ranked_probability_score(shares, y, values=VALUES), want, rtol=1e-5)


@given(seed=st.integers(0, 10_000), name=st.sampled_from(list(MEANS)))
def test_scores_are_proper(seed, name):
    """Whoever forecasts the true probabilities expects the smallest loss."""
    rng = np.random.default_rng(seed)
    true, other = rng.dirichlet(np.ones(K), 2) * 0.96 + 0.01
    everyone = np.arange(K).astype(float)

    def expected(q):
        return COMPILED[name](
            jnp.asarray(np.broadcast_to(q, (K, K)).copy()),
            jnp.asarray(everyone),
            sample_weight=jnp.asarray(true),
        )

    assert expected(true) <= expected(other) + 1e-6


def test_a_surprise_is_infinite_only_where_it_happens():
    p = [[1.0, 0.0], [1.0, 0.0]]
    assert np.isinf(log_score(p, [0, 1]))
    np.testing.assert_allclose(log_score(p, [0, 1], mask=[True, False]), 0)
    assert np.isnan(skill(0.3, log_score(p, [0, 1])))


@pytest.mark.parametrize("name", list(MEANS))
def test_gradients_agree_with_finite_differences(name):
    p, y, _ = example(4)
    logits = jnp.log(jnp.asarray(p[0, :3]))
    score = MEANS[name]

    def loss(x):
        return score(jax.nn.softmax(x, axis=-1), jnp.asarray(y[0, :3]))

    step, direction = 1e-2, jnp.asarray(np.random.default_rng(5).normal(size=logits.shape))
    direction = direction.astype(logits.dtype)
    numeric = (loss(logits + step * direction) - loss(logits - step * direction)) / (2 * step)
    exact = jnp.sum(jax.grad(loss)(logits) * direction)
    np.testing.assert_allclose(exact, numeric, rtol=2e-3)


def test_skill_is_relative_to_the_reference():
    np.testing.assert_allclose(skill([0.0, 0.5, 2.0], [1.0, 1.0, 1.0]), [1, 0.5, -1])
    assert np.isnan(skill(0.1, 0.0))


def test_simbench_scores_are_those_of_its_published_procedure():
    rng = np.random.default_rng(6)
    names = ["a", "b", "a", "b", "a"]
    sizes = [4, 3, 2, 4, 4]
    true, predicted, here = np.zeros((5, 4)), np.zeros((5, 4)), np.zeros((5, 4), bool)
    for j, size in enumerate(sizes):
        true[j, :size], predicted[j, :size] = rng.dirichlet(np.ones(size), 2)
        here[j, :size] = True
    distance = 0.5 * np.abs(true - predicted).sum(axis=1)
    uniform = [0.5 * np.abs(true[j, :k] - 1 / k).sum() for j, k in enumerate(sizes)]
    norm = {g: np.mean([u for u, name in zip(uniform, names) if name == g]) for g in "ab"}
    want = [1 - d / norm[g] for d, g in zip(distance, names, strict=True)]
    got = simbench_score(predicted, true, options=here, groups=names)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    alone = simbench_score(predicted, true, options=here, groups=range(5))
    np.testing.assert_allclose(alone, 1 - distance / uniform, rtol=1e-5)
    even = here / here.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.mean(simbench_score(even, true, options=here)), 0, atol=1e-6)
    np.testing.assert_allclose(simbench_score(true, true, options=here), 1, atol=1e-6)


def test_simbench_has_no_score_where_nothing_is_to_be_gained():
    even = [[0.5, 0.5], [0.5, 0.5]]
    assert np.isnan(simbench_score(even, even)).all()
    true = [[0.9, 0.1], [np.nan, np.nan]]
    got = simbench_score([[0.9, 0.1], [0.5, 0.5]], true)
    assert got[0] == 1 and np.isnan(got[1])


GOOD = [[0.5, 0.5], [0.25, 0.75]]


@pytest.mark.parametrize(
    ("p", "y", "options", "message"),
    [
        ([[0.5, 0.6], [0.5, 0.5]], [0, 1], {}, "`probabilities`: the row at .0. does not sum to 1"),
        ([[3.0, 5.0], [1.0, 0.0]], [0, 1], {}, "are these counts"),
        ([[1.5, -0.5], [0.5, 0.5]], [0, 1], {}, "negative entry: are these log-probabilities"),
        ([[np.nan, 1.0], [0.5, 0.5]], [0, 1], {}, "NaN at some options"),
        ([[np.inf, 0.0], [0.5, 0.5]], [0, 1], {}, "is infinite"),
        ([[1.0], [1.0]], [0, 0], {}, "at least two"),
        ([0.5, 0.5], 0, {}, r"must be \(..., n, k\)"),
        (GOOD, [0], {}, r"`answers` must have shape \(2,\)"),
        (GOOD, [1, 2], {}, "below 2, the number of options, got 2: are they numbered from 1"),
        (GOOD, [0.5, 1], {}, "fractions: `option_positions`"),
        (GOOD, [0, 1], {"mask": [True]}, r"`mask` must have shape \(2,\)"),
        (GOOD, [0, 1], {"mask": [1, 0]}, "`mask` must be boolean"),
        (GOOD, [0, 1], {"sample_weight": [1.0]}, r"`sample_weight` must have shape \(2,\)"),
        (GOOD, [0, 1], {"sample_weight": [1.0, -1.0]}, "must not be negative"),
        (GOOD, [0, 1], {"sample_weight": [0.0, 0.0]}, "zero for every person"),
    ],
)
def test_bad_forecasts_answers_and_weights_are_refused(p, y, options, message):
    with pytest.raises(ValueError, match=message):
        log_score(p, y, **options)


def test_other_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="`score` must be one of log, brier, rps"):
        probability_losses("crps", GOOD, [0, 1])
    with pytest.raises(ValueError, match="ranked probability score only"):
        probability_losses("log", GOOD, [0, 1], values=[1, 2])
    with pytest.raises(ValueError, match="do they have the same options"):
        simbench_score(GOOD, [[0.2, 0.3, 0.5]] * 2)
    with pytest.raises(ValueError, match="question 1 has mass on options"):
        simbench_score(GOOD, [[0.5, 0.5], [1.0, 0.0]], options=[[True, True], [True, False]])
    with pytest.raises(ValueError, match="`groups` must name 2 questions"):
        simbench_score(GOOD, GOOD, groups=["a"])
    with pytest.raises(ValueError, match=r"`options` must have shape \(2, 2\)"):
        simbench_score(GOOD, GOOD, options=[True, True, True])


def test_scores_keep_double_precision(dtype):
    p, y, _ = example(7)
    assert log_score(jnp.asarray(p, dtype), jnp.asarray(y, dtype)).dtype == dtype


def test_the_entropy_is_the_log_score_of_the_truth():
    p = np.array([0.1, 0.2, 0.3, 0.4])
    counts = (p * 100).astype(int)
    y = np.repeat(np.arange(4), counts).astype(float)
    got = log_score(np.broadcast_to(p, (100, 4)), y)
    np.testing.assert_allclose(got, scipy.stats.entropy(p), rtol=1e-5)
