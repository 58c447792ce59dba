"""Fits to a few twins at a time: as good as fits to all of them, with a bound over all of them."""

import dataclasses

import numpy as np
import pytest
from small_ensembles import linear_program, rows_of

from syndigits_jax.distribution import DIVERGENCES, Answers, Spec, column_generation, fit_ensemble
from syndigits_jax.distribution.column_generation import fit_large
from syndigits_jax.distribution.design import VARIANTS, support_of

POPULATION, ASKED, CHOICES = 400, 12, 4
COLUMNS = 48
CONVERGED, MAX_STEPS = 0, 1


@pytest.fixture(scope="module")
def problem():
    """Targets (m, K) outside the twins' hull, and answers, some of them missing."""
    rng = np.random.default_rng(3)
    targets = rng.dirichlet(np.full(CHOICES, 0.6), ASKED)
    lean = rng.integers(0, CHOICES, POPULATION)
    noise = rng.integers(0, CHOICES, (POPULATION, ASKED))
    choices = np.where(rng.random(noise.shape) < 0.6, lean[:, None], noise).astype(float)
    choices[rng.random(choices.shape) < 0.05] = np.nan
    return targets, Answers.from_choices(choices, CHOICES)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_as_good_as_a_fit_to_everyone(problem, name):
    targets, answers = problem
    spec = Spec(name, tol=2e-3)
    large = fit_large(targets, answers, spec, columns=COLUMNS)
    whole = fit_ensemble(targets, answers, name, tol=1e-4 if name != "ks" else 5e-4)
    assert int(large.status) == CONVERGED
    assert 0 <= float(large.gap) <= spec.gap
    gained = float(whole.start) - float(whole.objective)
    assert float(large.start) == pytest.approx(float(whole.start), rel=1e-4)
    assert float(large.objective) <= float(whole.objective) + 2.1e-3 * gained
    assert float(large.lower_bound) <= float(whole.objective) + 1e-4 * gained
    assert float(large.lower_bound) >= float(large.objective) - 2.1e-3 * gained
    weights = np.concatenate([large.personas, large.dummies])
    assert weights.shape == (POPULATION + CHOICES,)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("name", "variant"), list(zip(["tv", "ks", "cdf_l1"], VARIANTS)))
def test_bounds_against_highs(problem, name, variant):
    targets, answers = problem
    large = fit_large(targets, answers, Spec(name, variant, tol=1e-2), columns=COLUMNS)
    allowed = np.asarray(support_of(variant, POPULATION, CHOICES))
    best = linear_program(name, targets, rows_of(answers), allowed)
    gained = float(large.start) - best
    assert float(large.lower_bound) <= best + 5e-5
    assert float(large.objective) - best <= 1.05e-2 * gained + 5e-5
    other = {"personas": large.dummies, "dummies": large.personas, "both": np.zeros(1)}[variant]
    assert not np.any(other)


def test_few_twins_a_round(problem, monkeypatch):
    targets, answers = problem
    sizes, gaps = [], []
    cheapest = column_generation._cheapest

    def counted(scores, kept, count):
        chosen = cheapest(scores, kept, count)
        assert set(kept) <= set(chosen)
        sizes.append(len(set(chosen)))
        return chosen

    monkeypatch.setattr(column_generation, "_cheapest", counted)
    fit_large(
        targets,
        answers,
        Spec("kl", tol=1e-3),
        columns=8,
        on_progress=lambda done, gap: gaps.append((done, gap)),
    )
    # Eight twins do not suffice: the first rounds have so many, later ones more, none nearly all.
    assert sizes[0] == 8
    assert 8 < sizes[-1] <= POPULATION // 4
    assert sizes == sorted(sizes)
    assert [done for done, _ in gaps] == list(range(1, len(sizes) + 1))
    assert gaps[-1][1] <= 1e-3 < gaps[0][1]


def test_ridge_and_question_weights(problem):
    targets, answers = problem
    weight = np.linspace(0, 2, ASKED)
    spec = Spec("cdf_l2", "personas", ridge=0.05, weight=weight, tol=1e-3)
    large = fit_large(targets, answers, spec, columns=COLUMNS)
    whole = fit_ensemble(
        targets, answers, "cdf_l2", variant="personas", ridge=0.05, weight=weight, tol=1e-5
    )
    gained = float(whole.start) - float(whole.objective)
    assert int(large.status) == CONVERGED
    assert float(large.objective) == pytest.approx(float(whole.objective), abs=1.1e-3 * gained)
    assert float(large.lower_bound) <= float(whole.objective) + 1e-5 * gained
    sizes = [float(fit.effective_sample_size) for fit in (large, whole)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)


def test_dropped_options_and_unreached_cells():
    """No twin chooses option 3, and option 2 is not compared."""
    rng = np.random.default_rng(5)
    targets = rng.dirichlet(np.ones(4), 8)
    answers = Answers.from_choices(rng.integers(0, 3, (200, 8)), 4)
    keep = np.array([True, True, False, True])
    for name in ("chi2", "kl"):
        large = fit_large(targets, answers, Spec(name, "personas"), options=keep, columns=16)
        whole = fit_ensemble(targets, answers, name, variant="personas", options=keep)
        # What the unreached cells add is orders of magnitude more than what can be gained.
        gained = float(whole.start) - float(whole.objective)
        slack = 4e-4 * gained + 1e-6 * float(whole.objective)
        assert float(large.gap) <= 1e-4
        assert float(large.objective) == pytest.approx(float(whole.objective), abs=slack)
        assert float(large.divergence) == pytest.approx(float(large.objective), rel=1e-5)


def test_rounds_that_do_not_suffice_are_reported(problem):
    targets, answers = problem
    large = fit_large(targets, answers, Spec("kl", tol=1e-4), columns=8, max_rounds=1)
    assert int(large.status) == MAX_STEPS
    assert float(large.gap) > 1e-4
    whole = fit_ensemble(targets, answers, "kl")
    assert float(large.lower_bound) <= float(whole.objective)


def test_bad_input_is_named(problem):
    targets, answers = problem
    spec = Spec("tv")
    with pytest.raises(ValueError, match="entropy"):
        fit_large(targets, answers, dataclasses.replace(spec, entropy=0.1))
    with pytest.raises(ValueError, match="columns"):
        fit_large(targets, answers, spec, columns=1)
    with pytest.raises(ValueError, match="same questions"):
        fit_large(targets[:3], answers, spec)
    with pytest.raises(ValueError, match="floor"):
        fit_large(targets, answers, spec, floor=0.5)
    with pytest.raises(ValueError, match="variant"):
        fit_large(targets, answers, Spec("tv", "all"))
