"""Probabilities of options: their means and spread, against closed forms and root finding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from syndigits_jax.estimation import option_probabilities

OPTIONS = np.arange(1, 6.0)
MEANS = np.array([1.4, 2.0, 2.6, 3.1, 3.3, 3.9, 4.4, 4.7])


@jax.jit
def probabilities(mean, sd, options, weight):
    return option_probabilities(mean, sd, options, sample_weight=weight)


def of(mean=MEANS, sd=1.3, options=OPTIONS, weight=None):
    dtype = jnp.result_type(float)
    weight = np.ones(len(mean)) if weight is None else weight
    return probabilities(*(jnp.asarray(a, dtype) for a in (mean, sd, options, weight)))


def spread(p, options=OPTIONS, weight=None):
    """Mean and standard deviation of everybody's answers together."""
    share = np.average(np.asarray(p, np.float64), axis=0, weights=weight)
    mean = share @ options
    return mean, np.sqrt(share @ (options - mean) ** 2)


@pytest.mark.parametrize("sd", [1.15, 1.3, 1.6, 1.8])
def test_rows_are_distributions_of_the_given_means_and_the_population_has_the_spread(sd):
    p = np.asarray(of(sd=sd), np.float64)
    assert np.all(p >= 0)
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(p @ OPTIONS, MEANS, atol=2e-3)
    np.testing.assert_allclose(spread(p)[1], sd, atol=3e-3)


def test_a_spread_that_no_distribution_has_is_met_as_nearly_as_possible():
    largest = np.sqrt((MEANS.mean() - 1) * (5 - MEANS.mean()))  # all answers at the ends
    np.testing.assert_allclose(spread(of(sd=3.0))[1], largest, atol=0.02)
    below, above = np.floor(MEANS), np.ceil(MEANS)  # each person at the two nearest options
    smallest = np.sqrt(np.mean((MEANS - MEANS.mean()) ** 2 + (MEANS - below) * (above - MEANS)))
    np.testing.assert_allclose(spread(of(sd=0.0))[1], smallest, atol=0.02)


@pytest.mark.parametrize("sd", [0.1, 0.4, 2.0])
def test_two_options_are_a_coin(sd):
    means = np.linspace(0.05, 0.95, 8)
    p = np.asarray(of(means, sd, np.array([0.0, 1.0])))
    np.testing.assert_allclose(p[:, 1], means, atol=2e-4)


def test_means_beyond_the_options_are_at_their_ends():
    p = np.asarray(of(np.append(MEANS[:-2], [0.0, 9.0])))
    assert np.all(np.isfinite(p)) and p[-2, 0] > 0.99 and p[-1, -1] > 0.99


def test_the_unit_of_the_options_does_not_matter():
    moved = of(10 * MEANS - 3, 13.0, 10 * OPTIONS - 3)
    np.testing.assert_allclose(moved, of(), atol=2e-4)


def test_weights_count_people():
    weight = np.array([2, 1, 1, 0, 0, 1, 1, 2.0])
    repeated = np.repeat(MEANS, weight.astype(int))
    p, whole = np.asarray(of(sd=1.6, weight=weight)), np.asarray(of(repeated, 1.6))
    np.testing.assert_allclose(p[[0, 7]], whole[[0, 7]], atol=1e-3)
    np.testing.assert_allclose(spread(p, weight=weight)[1], 1.6, atol=3e-3)
    assert np.abs(p - np.asarray(of(sd=1.6))).max() > 0.01


def test_the_gradient_is_that_of_finite_differences_with_the_curve_held_fixed():
    p = np.asarray(of(), np.float64)
    logs = np.log(p)
    curve = np.mean((logs[:, 2] - 2 * logs[:, 1] + logs[:, 0]) / 2)

    def person(mean):
        """Probabilities at the curve found, its slope by root finding."""

        def at(slope):
            powers = slope * OPTIONS + curve * OPTIONS**2
            q = np.exp(powers - powers.max())
            return q / q.sum()

        return at(scipy.optimize.brentq(lambda s: at(s) @ OPTIONS - mean, -60, 60))

    np.testing.assert_allclose(p, [person(mean) for mean in MEANS], atol=1e-3)
    jacobian = jax.jit(jax.jacobian(lambda mean: option_probabilities(mean, 1.3, OPTIONS)))
    found = np.asarray(jacobian(jnp.asarray(MEANS, jnp.result_type(float))))
    step = 1e-5
    for i, mean in enumerate(MEANS):
        expected = (person(mean + step) - person(mean - step)) / (2 * step)
        np.testing.assert_allclose(found[i, :, i], expected, atol=3e-3)
        np.testing.assert_allclose(np.delete(found[i], i, axis=1), 0, atol=1e-6)


def test_under_vmap_every_question_has_its_own_spread():
    dtype = jnp.result_type(float)
    spreads = jnp.asarray([1.2, 1.7], dtype)
    together = jax.jit(
        jax.vmap(lambda sd: option_probabilities(jnp.asarray(MEANS, dtype), sd, OPTIONS))
    )(spreads)
    for row, sd in zip(together, spreads, strict=True):
        np.testing.assert_allclose(row, of(sd=float(sd)), atol=1e-4)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"mean": np.ones((2, 2))}, "`mean` must be"),
        ({"options": np.ones(1)}, "`options`"),
        ({"options": np.ones((2, 2))}, "`options`"),
        ({"sample_weight": np.ones(3)}, "`sample_weight` must have shape"),
    ],
)
def test_shapes_that_do_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        option_probabilities(**({"mean": MEANS, "sd": 1.0, "options": OPTIONS} | change))
