"""Ordered options with gaps: distances between positions, whichever options a question has."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import rel_entr
from small_ensembles import linear_program

from syndigits_jax.distribution import (
    Answers,
    Spec,
    cdf_l1,
    cdf_l2,
    chi_square,
    fit_ensemble,
    fit_ensembles,
    fit_large,
    hellinger,
    kolmogorov_smirnov,
    kullback_leibler,
    make_targets,
    total_variation,
)
from syndigits_jax.distribution.evaluation import (
    divergence_by_question,
    mean_distribution,
    scores,
    variance_ratio,
)
from syndigits_jax.distribution.objective import as_divergence

MASKS = {
    "all": [1, 1, 1, 1, 1],
    "a gap": [1, 0, 0, 1, 1],
    "the ends of a scale": [1, 0, 0, 0, 1],
    "a gap after the first existing option": [0, 1, 0, 0, 1],
    "the last dropped": [1, 1, 1, 1, 0],
    "the first dropped": [0, 1, 1, 1, 1],
    "two gaps": [1, 0, 1, 0, 1],
}
VALUES = np.array([-1.0, 0, 2.5, 3, 7])


def judges(p, q, here, values):
    """Every divergence of the options that exist, by SciPy or its formula."""
    p, q, at = p[here], q[here], values[here]
    rank = np.flatnonzero(here)
    return {
        total_variation: np.abs(p - q).sum() / 2,
        chi_square: ((p - q) ** 2 / q).sum(),
        kullback_leibler: rel_entr(p, q).sum(),
        hellinger: ((np.sqrt(p) - np.sqrt(q)) ** 2).sum() / 2,
        kolmogorov_smirnov: np.abs(np.cumsum(p - q)).max(),
        cdf_l1: stats.wasserstein_distance(rank, rank, p, q),
        cdf_l2: stats.energy_distance(rank, rank, p, q) ** 2 / 2,
        "values l1": stats.wasserstein_distance(at, at, p, q),
        "values l2": stats.energy_distance(at, at, p, q) ** 2 / 2,
    }


def test_from_one_end_of_the_scale_to_the_other():
    p, q = jnp.asarray([1.0, 0, 0, 0]), jnp.asarray([0.0, 0, 0, 1])
    ends = jnp.asarray([True, False, False, True])
    assert float(cdf_l1(p, q, options=ends)) == 3
    assert float(cdf_l2(p, q, options=ends)) == 3
    assert float(kolmogorov_smirnov(p, q, options=ends)) == 1
    values = jnp.asarray([0.0, 1, 5, 9])
    assert float(cdf_l1(p, q, options=ends, values=values)) == 9


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("seed", range(3))
def test_only_the_options_that_exist_count(mask, seed, dtype):
    """Whatever stands at the others, which a function without the mask would add up."""
    here = np.array(mask, bool)
    rng = np.random.default_rng(seed)
    p, q = np.zeros((2, 5))
    p[here], q[here] = rng.dirichlet(np.ones(here.sum()), 2)
    expected = judges(p, q, here, VALUES)
    p[~here], q[~here] = rng.uniform(1, 2, (2, (~here).sum()))
    x, y, options = jnp.asarray(p, dtype), jnp.asarray(q, dtype), jnp.asarray(here)
    rtol = 1e-5 if dtype == np.float32 else 1e-11
    close = {"rtol": rtol, "atol": rtol}
    for function, wanted in expected.items():
        if not isinstance(function, str):
            np.testing.assert_allclose(function(x, y, options=options), wanted, **close)
    values = jnp.asarray(VALUES, dtype)
    for name, function in (("values l1", cdf_l1), ("values l2", cdf_l2)):
        found = function(x, y, options=options, values=values)
        np.testing.assert_allclose(found, expected[name], **close)


@pytest.mark.parametrize("clipped", [chi_square, kullback_leibler, hellinger])
def test_clipped_divergences_leave_out_what_does_not_exist(clipped):
    p, q = jnp.asarray([0.2, 0.0, 0.8]), jnp.asarray([0.7, 0.0, 0.3])
    here = jnp.asarray([True, False, True])
    junk = jnp.asarray([0.0, 3.0, 0.0])
    found = clipped(p + junk, q + 2 * junk, options=here, clip=1e-6)
    np.testing.assert_allclose(found, clipped(p[::2], q[::2], clip=1e-6), rtol=1e-5)


@pytest.mark.parametrize(("name", "smallest"), [("chi2", 1e-6), ("kl", 1e-6), ("hellinger", 1e-8)])
def test_scores_use_the_published_clip(name, smallest):
    p, q = np.array([0.25, 0.75, 0]), np.array([0.0, 0.5, 0.5])
    floor_p, floor_q = np.maximum(p, smallest), np.maximum(q, smallest)
    expected = {
        "chi2": (p**2 / floor_q).sum() - 1,
        "kl": (floor_p * np.log(floor_p / floor_q)).sum(),
        "hellinger": 1 - np.sqrt(floor_p * floor_q).sum(),
    }[name]
    found = divergence_by_question(name, make_targets(p[None]), q[None])
    assert float(found[0]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_gradients_do_not_see_what_does_not_exist(mask):
    here = jnp.asarray(mask, bool)
    rng = np.random.default_rng(1)
    p, q = (jnp.where(here, jnp.asarray(rng.dirichlet(np.ones(5)), float), 0) for _ in range(2))
    p, q = p / jnp.sum(p), q / jnp.sum(q)
    for function in judges(np.ones(5), np.ones(5), np.ones(5, bool), VALUES):
        if isinstance(function, str):
            continue
        slope = jax.grad(lambda q, f=function: f(p, q, options=here))(q)
        assert not np.any(np.asarray(slope)[~np.asarray(here)]), function
        # Along a transfer from the first option to the last, against a difference.
        a, b = np.flatnonzero(np.asarray(here))[[0, -1]]
        step = jnp.zeros(5).at[a].set(-1).at[b].set(1) * (1e-3 * float(q[a]))
        ahead, behind = function(p, q + step, options=here), function(p, q - step, options=here)
        scale = float(jnp.linalg.norm(step)) / np.sqrt(2)
        expected = float(ahead - behind) / (2 * scale)
        assert float(slope[b] - slope[a]) == pytest.approx(expected, rel=2e-2, abs=2e-2)


def gapped(seed: int, m: int = 10, n: int = 30):
    """Targets and answers on five options, of which most questions lack one to three."""
    rng = np.random.default_rng(seed)
    here = np.array(list(MASKS.values()), bool)[rng.integers(0, len(MASKS), m)]
    targets = np.where(here, rng.dirichlet(np.full(5, 0.7), m), 0)
    targets /= targets.sum(axis=1, keepdims=True)
    choices = np.empty((n, m))
    for j in range(m):
        choices[:, j] = rng.choice(np.flatnonzero(here[j]), n)
    return targets, choices, here


def with_dummies(choices, here):
    """(n + K, m, K) rows: one-hot choices, then constant answers or even ones."""
    twins = np.eye(5)[choices.astype(int)]
    even = here / here.sum(axis=1, keepdims=True)
    dummies = np.where(here[None, :, :, None], np.eye(5)[None, None], even[None, :, None, :])
    return np.concatenate([twins, np.moveaxis(dummies[0], 1, 0)])


@pytest.mark.parametrize("values", [None, VALUES], ids=["ranks", "values"])
@pytest.mark.parametrize("name", ["tv", "ks", "cdf_l1"])
def test_fits_with_gaps_against_highs(name, values):
    targets, choices, here = gapped(0)
    answers = Answers.from_choices(choices, 5)
    given = {"options": here, "values": values, "floor": 0.0}
    spacing = None if values is None else np.diff(values)
    best = linear_program(
        name, targets, with_dummies(choices, here), np.ones(35, bool), spacing=spacing
    )
    whole = fit_ensembles(targets, answers, [Spec(name)], **given)[0]
    large = fit_large(targets, answers, Spec(name), columns=16, **given)
    for fit in (whole, large):
        assert float(fit.lower_bound) <= best + 2e-6
        assert best - 2e-6 <= float(fit.objective)
        assert float(fit.objective) - best <= 1.1e-3 * (float(fit.start) - best) + 2e-6


def test_squared_cdf_fits_with_gaps_against_least_squares():
    """cdf_l2 is a quadratic program on the simplex: its conditions, checked in NumPy."""
    targets, choices, here = gapped(1)
    rows = with_dummies(choices, here)
    fit = fit_ensemble(
        targets, Answers.from_choices(choices, 5), "cdf_l2", options=here, values=VALUES, floor=0.0
    )
    root = np.sqrt(np.diff(VALUES) / len(targets))
    a = (np.cumsum(rows, axis=2)[:, :, :-1] * root).reshape(len(rows), -1).T
    b = (np.cumsum(targets, axis=1)[:, :-1] * root).ravel()
    w = np.concatenate([fit.personas, fit.dummies]).astype(float)
    objective, slope = ((a @ w - b) ** 2).sum(), 2 * a.T @ (a @ w - b)
    assert float(fit.objective) == pytest.approx(objective, rel=1e-4)
    gap = slope @ w - slope.min()
    assert gap <= 1.1e-4 * (float(fit.start) - objective) + 1e-6
    assert float(fit.lower_bound) <= objective


@pytest.mark.parametrize("name", ["tv", "ks", "cdf_l1", "cdf_l2"])
def test_smoothings_and_touching_lines_lie_below(name):
    targets, choices, here = gapped(2)
    divergence = as_divergence(name)
    truth = make_targets(targets, options=here, values=VALUES)
    rows = jnp.asarray(with_dummies(choices, here), truth.p.dtype)
    rng = np.random.default_rng(0)
    for width in (0.3, 0.01, 1e-4):
        width = jnp.asarray(width, truth.p.dtype)
        w, v = jnp.asarray(rng.dirichlet(np.ones(len(rows)), 2), truth.p.dtype)
        q, other = jnp.tensordot(w, rows, 1), jnp.tensordot(v, rows, 1)
        slope = jax.grad(lambda q, h=width: divergence.smoothed(truth, q, h))(q)
        line = divergence.touching(truth, q, width) + jnp.sum(slope * (other - q))
        assert (
            float(divergence.smoothed(truth, q, width)) <= float(divergence.value(truth, q)) + 1e-6
        )
        assert float(line) <= float(divergence.value(truth, other)) + 1e-6
    assert float(divergence.touching(truth, q, width)) == pytest.approx(
        float(divergence.value(truth, q)), rel=0.02
    )


def test_scores_and_variances_with_gaps():
    targets, _, here = gapped(3)
    truth = make_targets(targets, options=here, values=VALUES)
    mean = mean_distribution(truth, here)
    q = np.asarray(mean)
    found = scores(targets, {"mean": mean}, options=here, values=VALUES)["mean"]
    for j in range(len(targets)):
        expected = judges(targets[j], q[j], here[j], VALUES)
        assert found["cdf_l1"][j] == pytest.approx(expected["values l1"], rel=1e-4)
        assert found["cdf_l2"][j] == pytest.approx(expected["values l2"], rel=1e-4)
        assert found["ks"][j] == pytest.approx(expected[kolmogorov_smirnov], rel=1e-4)
        assert found["tv"][j] == pytest.approx(expected[total_variation], rel=1e-4)

    def variance(p):
        mean = (p * VALUES).sum(axis=1)
        return (p * (VALUES - mean[:, None]) ** 2).sum(axis=1)

    np.testing.assert_allclose(
        variance_ratio(truth, mean), variance(q) / variance(targets), rtol=1e-4
    )
    years = make_targets(targets, options=here, values=2000 + VALUES)
    np.testing.assert_allclose(
        variance_ratio(years, mean), variance(q) / variance(targets), rtol=1e-3
    )
    by_question = divergence_by_question("cdf_l1", truth, mean)
    np.testing.assert_allclose(by_question, found["cdf_l1"], rtol=1e-6)
