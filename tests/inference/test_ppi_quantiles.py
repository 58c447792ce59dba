"""Prediction-powered quantiles: order statistics, units, and coverage."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from syndigits_jax.inference import Basis, ppi_quantile

N, K = 200, 40
RNG = np.random.default_rng(3)
FULL = RNG.normal(size=N)
TWIN = FULL + 0.4 * RNG.normal(size=N)
ASKED = np.arange(N) < K
TRUTH = np.where(ASKED, FULL, np.nan)


@pytest.mark.parametrize("q", [0.1, 0.5, 0.8])
def test_people_alone_are_order_statistics(q):
    """The score interval of the share: the ends are the answers of these ranks."""
    found = ppi_quantile(TRUTH, TWIN, q, tuning=0.0, level=0.9)
    ordered = np.sort(FULL[ASKED])
    assert float(found.value) == np.float32(ordered[int(np.ceil(q * K)) - 1])
    half = scipy.stats.t.ppf(0.95, K - 1) * np.sqrt(q * (1 - q) / (K - 1))
    share = np.arange(1, K + 1) / K
    low = ordered[np.argmax(share >= q - half)]
    high = ordered[np.argmax(share > q + half)]
    np.testing.assert_allclose([found.lower, found.upper], [low, high], rtol=1e-5)
    assert found.classical.lower == found.lower and found.classical.upper == found.upper


def test_good_twins_make_it_narrower_and_bad_ones_no_wider():
    good, bad = (ppi_quantile(TRUTH, x, 0.5) for x in (TWIN, RNG.normal(size=N)))
    assert good.half_width < good.classical.half_width and good.worth > 10
    assert bad.half_width <= 1.1 * bad.classical.half_width
    assert int(good.basis) == Basis.TWINS


def test_ends_are_infinite_where_people_do_not_bound_the_quantile():
    """Five people: the largest of them may well be below the 0.95-quantile."""
    few = np.where(np.arange(N) < 5, FULL, np.nan)
    found = ppi_quantile(few, TWIN, 0.95)
    assert np.isposinf(found.upper) and np.isfinite(found.lower)
    assert np.isneginf(ppi_quantile(few, TWIN, 0.05).lower)


def test_steps_of_a_scale():
    """On a scale of five options the ends are options, and ties count together."""
    scale = np.clip(np.round(3 + FULL), 1, 5)
    found = ppi_quantile(np.where(ASKED, scale, np.nan), np.clip(np.round(3 + TWIN), 1, 5), 0.5)
    assert {float(found.lower), float(found.value), float(found.upper)} <= {2.0, 3.0, 4.0}
    same = ppi_quantile(np.where(ASKED, 3.0, np.nan), TWIN, 0.5)
    assert int(same.basis) == Basis.ALIKE and float(same.value) == 3


def test_traced_answers_give_the_same():
    one = ppi_quantile(TRUTH, TWIN, 0.4)
    table = jnp.stack([jnp.asarray(TRUTH), jnp.where(ASKED, jnp.round(FULL), jnp.nan)])
    many = jax.jit(jax.vmap(lambda y: ppi_quantile(y, jnp.asarray(TWIN), 0.4)))(table)
    other = ppi_quantile(table[1], TWIN, 0.4)
    for name in ("value", "lower", "upper", "standard_error"):
        np.testing.assert_allclose(getattr(many, name)[0], getattr(one, name), rtol=1e-4)
        np.testing.assert_allclose(getattr(many, name)[1], getattr(other, name), rtol=1e-4)


def test_coverage():
    """Median of a skewed population, n = 40, good and useless twins; 1,000 repeats."""
    keys = jax.random.split(jax.random.key(0), 2)
    y = jnp.exp(jax.random.normal(keys[0], (1000, 120)))
    noise = jax.random.normal(keys[1], (1000, 120))
    truth = jnp.where(jnp.arange(120) < K, y, jnp.nan)
    run = jax.jit(jax.vmap(lambda t, x: ppi_quantile(t, x, 0.5, level=0.9)))
    for twin, limit in ((y * jnp.exp(0.3 * noise), 0.95), (jnp.exp(noise), 1.03)):
        found = run(truth, twin)
        cover = float(np.mean((found.lower <= 1) & (found.upper >= 1)))
        alone = float(np.mean((found.classical.lower <= 1) & (found.classical.upper >= 1)))
        assert cover > min(0.9, alone) - 3 * np.sqrt(0.09 / 1000)
        assert np.mean(found.half_width) < limit * np.mean(found.classical.half_width)


@pytest.mark.parametrize("q", [0.0, 1.0, [0.2, 0.3]])
def test_bad_quantiles_are_named(q):
    with pytest.raises(ValueError, match="`quantile` must be a number"):
        ppi_quantile(TRUTH, TWIN, q)
