"""The published optimiser against a plain NumPy loop of the same protocol, one fit at a time."""

import jax.numpy as jnp
import numpy as np
import pytest
from small_ensembles import OPTIONS, small_problem

from benchmarks.peer import ensembles as peer
from syndigits_jax.distribution import DIVERGENCES, Answers
from syndigits_jax.distribution.design import VARIANTS, make_design
from syndigits_jax.distribution.published import published_fits, published_slope
from syndigits_jax.distribution.targets import make_targets

STEPS = 200
FITS = [(name, variant) for name in DIVERGENCES for variant in VARIANTS]


@pytest.fixture(scope="module")
def fits():
    """Weights of all fits, by the package and by the peer."""
    targets, choices = small_problem(0)
    answers = Answers.from_choices(choices, OPTIONS)
    truth = make_targets(targets)
    ours = published_fits(truth, make_design(answers, truth.options), FITS, steps=STEPS)
    rows = peer.one_hot(choices, OPTIONS)
    theirs = {f: peer.fit(*f, targets, rows, STEPS) for f in FITS}
    return {f: (np.asarray(row), *theirs[f]) for f, row in zip(FITS, ours)}


@pytest.mark.parametrize(("name", "variant"), FITS)
def test_every_fit_follows_the_plain_loop(fits, name, variant):
    ours, theirs, steps = fits[name, variant]
    assert steps == STEPS
    # Signs of rounded differences part the float32 paths of TV and ℓ1 by a step or two of 0.01 / m.
    rtol, atol = (1e-9, 1e-12) if ours.dtype == np.float64 else (3e-3, 1e-5)
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)
    uniform = peer.fit(name, variant, *_inputs(), 0)[0]
    assert np.abs(theirs - uniform).max() > 30 * atol


def _inputs():
    targets, choices = small_problem(0)
    return targets, peer.one_hot(choices, OPTIONS)


def test_a_frozen_block_keeps_mass(fits):
    for name in DIVERGENCES:
        ours, *_ = fits[name, "dummies"]
        assert ours[:-OPTIONS].sum() > 25 * np.exp(-10) / 2


def test_the_clip_acts_on_the_centred_gradient():
    """χ² of options that nearly no twin chose: a gradient whose norm is far above 10."""
    targets, choices = small_problem(0)
    choices = np.where(choices == 0, 1, choices)
    choices[0, :] = 0
    answers = Answers.from_choices(choices, OPTIONS)
    truth = make_targets(targets)
    rows = peer.one_hot(choices, OPTIONS)
    start = np.append(np.full(len(choices), 1 / len(choices)), np.zeros(OPTIONS))
    twins, _ = peer.gradient(
        "chi2", "personas", targets, rows, start[:-OPTIONS], start[-OPTIONS:], np.arange(1.0, 5)
    )
    assert np.linalg.norm(twins - twins.mean()) > peer.GRADIENT_NORM
    ours = published_fits(
        truth, make_design(answers, truth.options), [("chi2", "personas")], steps=50
    )
    theirs, _ = peer.fit("chi2", "personas", targets, rows, 50)
    np.testing.assert_allclose(ours[0], theirs, rtol=3e-3, atol=1e-5)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_published_slopes(name):
    """One by one, on distributions with empty options."""
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.full(5, 0.5), (2, 7))
    p[0, 1], q[1, 2] = 0, 0
    p, q = (x / x.sum(axis=1, keepdims=True) for x in (p, q))
    ours = published_slope(name, jnp.asarray(p), jnp.asarray(q)[None])[0]
    np.testing.assert_allclose(ours, peer.slope(name, p, q), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["chi2", "kl", "hellinger", "cdf_l1"])
def test_where_the_published_slope_is_right(name):
    """The peer's own slopes against differences of its own divergences."""
    rng = np.random.default_rng(1)
    p, q = rng.dirichlet(np.full(4, 3.0), (2, 6))
    found = peer.slope(name, p, q)
    for k in range(4):
        step = np.zeros(4)
        step[k] = 1e-6
        by_difference = (
            peer.divergence(name, p, q + step) - peer.divergence(name, p, q - step)
        ) / 2e-6
        np.testing.assert_allclose(by_difference, found[:, k], rtol=1e-5, atol=1e-5)
