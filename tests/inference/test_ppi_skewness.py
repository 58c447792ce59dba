"""Intervals of means that follow the skewness of the answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from syndigits_jax.inference import ppi_difference, ppi_mean, ppi_means

N, K, LEVEL = 200, 40, 0.9
RNG = np.random.default_rng(2)
FULL = RNG.exponential(size=N)
TWIN = np.log(FULL) + RNG.normal(size=N)
TRUTH = np.where(np.arange(N) < K, FULL, np.nan)


def hall(errors, df, level):
    """The ends in standard errors where Hall's g is the quantile, found by bisection."""
    z = errors / np.sqrt(np.sum(errors**2))
    n = df + 1
    skewness = np.sqrt(n * df) / (df - 1) * np.sum(z**3)
    t = scipy.stats.t.ppf((1 + level) / 2, df)
    t += t * (2 * t**2 + 1) / 6 * max(0, np.sum(z**4) - 3 / n - 1.5 * skewness**2)

    def g(x, at):
        return x + skewness * (1 + 2 * x**2) / 6 + skewness**2 * x**3 / 27 - at

    low, high = (scipy.optimize.brentq(g, -500, 500, args=(at,)) for at in (-t, t))
    return -high, -low


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("shape", ["skewed", "other way", "heavy tails"])
def test_people_alone_have_halls_interval(shape, level):
    answers = {"skewed": FULL, "other way": -FULL, "heavy tails": np.tan(FULL)}[shape]
    found = ppi_mean(np.where(np.arange(N) < K, answers, np.nan), TWIN, level=level).classical
    errors = answers[:K] - answers[:K].mean()
    ends = answers[:K].mean() + scipy.stats.sem(answers[:K]) * np.array(hall(errors, K - 1, level))
    np.testing.assert_allclose([found.lower, found.upper], ends, rtol=2e-3, atol=1e-3)


def test_answers_turned_round_turn_the_interval_round():
    found, turned = ppi_mean(TRUTH, TWIN), ppi_mean(5 - 2 * TRUTH, TWIN)
    np.testing.assert_allclose(turned.lower, 5 - 2 * found.upper, rtol=1e-4)
    np.testing.assert_allclose(turned.upper, 5 - 2 * found.lower, rtol=1e-4)
    assert found.upper - found.value > 1.1 * (found.value - found.lower)


def test_without_the_correction_it_is_the_t_interval():
    """Also for differences and for a table of questions; two people have no skewness."""
    group = np.arange(N) % 2
    for one in (
        ppi_mean(TRUTH, TWIN, skewness_corrected=False),
        ppi_difference(TRUTH, TWIN, group, skewness_corrected=False),
        ppi_means(TRUTH[:, None], TWIN[:, None], skewness_corrected=False),
    ):
        for found in (one, one.classical):
            np.testing.assert_allclose(found.upper + found.lower, 2 * found.value, rtol=1e-4)
    two = np.where(np.arange(N) < 2, FULL, np.nan)
    usual, found = (ppi_mean(two, TWIN, skewness_corrected=flag) for flag in (False, True))
    np.testing.assert_allclose(found.classical.upper, usual.classical.upper, rtol=1e-4)


def test_twins_are_corrected_by_the_skewness_of_what_they_leave():
    """Answers that are skewed by what the twins know: normal residuals, and a symmetric interval.

    The population is finite, so that the draw of the twins adds nothing.
    """
    left = RNG.permutation(scipy.stats.norm.ppf((np.arange(K) + 0.5) / K))
    truth = np.concatenate([3 * FULL[:K] + 0.3 * left, np.full(N - K, np.nan)])
    found = ppi_mean(truth, FULL, finite=True)
    above = (found.upper - found.value) / (found.value - found.lower)
    people = found.classical
    assert (people.upper - people.value) / (people.value - people.lower) > 1.2
    assert 0.9 < above < 1.1


def test_skewed_answers_are_covered_better_and_others_as_before():
    """Log-normal and normal answers of 20 people, with twins and without."""
    repeats, size, n = 4000, 120, 20
    keys = jax.random.split(jax.random.key(0), 2)
    latent, noise = (jax.random.normal(key, (repeats, size)) for key in keys)
    twin = 0.8 * latent + 0.6 * noise
    error = np.sqrt(LEVEL * (1 - LEVEL) / repeats)
    run = jax.jit(
        jax.vmap(
            lambda *arrays: [
                ppi_mean(*arrays, level=LEVEL, skewness_corrected=flag) for flag in (True, False)
            ]
        )
    )
    for skewed, answer, target in ((True, jnp.exp(latent), np.exp(0.5)), (False, latent, 0.0)):
        found, usual = run(jnp.where(jnp.arange(size) < n, answer, jnp.nan), twin)
        for one, other in ((found, usual), (found.classical, usual.classical)):
            covers, before = (
                float(np.mean((each.lower <= target) & (target <= each.upper)))
                for each in (one, other)
            )
            wider = float(jnp.mean(one.half_width) / jnp.mean(other.half_width))
            missed = [float(jnp.mean(each.upper < target)) for each in (one, other)]
            if skewed:
                assert covers > before + 4 * error and covers > 0.84
                assert missed[0] < 0.75 * missed[1]
            else:
                assert abs(covers - before) < 0.01
                assert wider < 1.06
