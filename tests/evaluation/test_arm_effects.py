"""Effects of arms, judged by loops in NumPy, a closed form of the bootstrap and simulations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from syndigits_jax.evaluation import arm_effects, effect_slope
from syndigits_jax.inference import Resampled, exact_share_interval

KEY = jax.random.key(0)
C, N = 6, 90


def experiment(seed=0):
    """Answers (c, n) of people and twins, with an arm per person, and which are missing."""
    rng = np.random.default_rng(seed)
    arm = rng.integers(0, 3, N)
    people = rng.normal(size=(C, N)) + 0.5 * (arm == 1)
    twin = 0.5 * people + rng.normal(size=(C, N))
    people[rng.uniform(size=people.shape) < 0.1] = np.nan
    return people, twin, arm


def test_effects_are_differences_of_weighted_means():
    people, twin, arm = experiment()
    weight = np.random.default_rng(1).uniform(0.3, 2, N)
    sides = [
        {"people": np.where(arm == k, people, np.nan), "twins": np.where(arm == k, twin, np.nan)}
        for k in (1, 0)
    ]
    found = arm_effects(*sides, key=KEY, sample_weight=weight, replicates=400)
    errors = np.std(np.asarray(found.effect.draws), axis=0, ddof=1)
    for s, values in enumerate((people, twin)):
        for c in range(C):
            there = ~np.isnan(values[c])
            want, square = 0.0, 0.0
            for k, sign in ((1, 1), (0, -1)):
                mine = there & (arm == k)
                w, y = weight[mine], values[c, mine]
                mean = np.average(y, weights=w)
                want += sign * mean
                square += np.sum(w**2 * (y - mean) ** 2) / w.sum() ** 2
                assert int(found.people[s, c, 0 if k else 1]) == mine.sum()
            np.testing.assert_allclose(found.effect.value[s, c], want, rtol=1e-4, atol=1e-5)
            # The bootstrap's variance is that of linearised means.
            np.testing.assert_allclose(errors[s, c], np.sqrt(square), rtol=0.2)


def test_a_constant_added_to_all_answers_changes_nothing():
    people, _, arm = experiment(2)
    sides = [{"people": np.where(arm == k, people, np.nan)} for k in (1, 0)]
    far = [{"people": one["people"] + 1000} for one in sides]
    found, moved = (arm_effects(*one, key=KEY, replicates=400) for one in (sides, far))
    np.testing.assert_allclose(moved.effect.value, found.effect.value, atol=2e-4)


def slopes(true_slope, seed, noise=0.08, outcomes=12):
    """Effects of people and twins, whose errors go together, with draws of the errors."""
    rng = np.random.default_rng(seed)
    people = 0.2 * rng.normal(size=outcomes)
    truth = np.stack([people, true_slope * people + 0.03 * rng.normal(size=outcomes)])
    mix = noise * np.array([[1.0, 0.0], [0.8, 0.6]])
    value = truth + mix @ rng.normal(size=(2, outcomes))
    draws = value + np.einsum("ab,rbc->rac", mix, rng.normal(size=(300, 2, outcomes)))
    return Resampled(jnp.asarray(value, jnp.float32), jnp.asarray(draws, jnp.float32))


@pytest.mark.parametrize("true_slope", [0.4, 1.0])
def test_slopes_are_not_drawn_to_0_and_their_intervals_hold(true_slope):
    found = [
        effect_slope(slopes(true_slope, seed), key=jax.random.key(seed), level=0.9)
        for seed in range(60)
    ]
    value = np.array([float(one.value) for one in found])
    hit = [bool(one.lower <= true_slope <= one.upper) for one in found]
    assert stats.binomtest(sum(hit), len(hit), 0.9, alternative="less").pvalue > 0.01
    assert abs(np.nanmedian(value) - true_slope) < 0.1
    # Least squares would give 0.4 * 0.86 + 0.11 or 0.86 + 0.11, from errors in both.
    assert np.mean([np.isfinite(float(one.upper)) for one in found]) > 0.9


def test_no_effect_among_people_has_no_slope():
    draws = 0.1 * jax.random.normal(KEY, (300, 2, 12))
    found = effect_slope(Resampled(draws[0], draws), key=KEY)
    assert found.lower == -jnp.inf and found.upper == jnp.inf


def test_effects_on_one_outcome_are_resampled_together():
    effects = slopes(1.0, 3)
    twice = Resampled(jnp.tile(effects.value, (1, 2)), jnp.tile(effects.draws, (1, 1, 2)))
    labels = [*range(12), *range(12)]
    once, both = (
        effect_slope(one, key=KEY, outcomes=names)
        for one, names in ((effects, None), (twice, labels))
    )
    np.testing.assert_allclose(both.lower, once.lower, rtol=1e-3)
    np.testing.assert_allclose(both.value, once.value, rtol=1e-4)


@pytest.mark.parametrize(
    ("successes", "trials", "level"), [(0, 7, 0.95), (9, 10, 0.9), (4, 4, 0.8)]
)
def test_exact_intervals_are_scipys(successes, trials, level):
    want = stats.binomtest(successes, trials).proportion_ci(level, method="exact")
    np.testing.assert_allclose(exact_share_interval(successes, trials, level), want, atol=1e-9)


GOOD = {"a": np.arange(8.0).reshape(2, 4)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: arm_effects(GOOD, {"b": GOOD["a"]}, key=KEY), "the same sources"),
        (lambda: arm_effects(GOOD, {"a": [1.0]}, key=KEY), "all of one shape"),
        (lambda: arm_effects(GOOD, {"a": GOOD["a"] * np.nan}, key=KEY), "outcome 0 has 0 answers"),
        (lambda: arm_effects(GOOD, GOOD, key=KEY, sample_weight=[1.0]), "`sample_weight` must"),
        (lambda: arm_effects(GOOD, GOOD, key=KEY, sample_weight=[-1.0] * 4), "not be negative"),
        (lambda: arm_effects(GOOD, GOOD, key=KEY, replicates=1), "`replicates`"),
        (lambda: effect_slope(Resampled(jnp.ones(3), jnp.ones((2, 3))), key=KEY), r"be \(2, c\)"),
        (lambda: effect_slope(slopes(1.0, 0), key=KEY, outcomes=[1]), "must have 12 labels"),
        (lambda: effect_slope(slopes(1.0, 0), key=KEY, outcomes=[1] * 12), "at least two"),
        (lambda: effect_slope(slopes(1.0, 0), key=KEY, level=1.0), "`level`"),
        (lambda: exact_share_interval(3, 2), "`successes`"),
        (lambda: exact_share_interval(1, 2, 0.0), "`level`"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
