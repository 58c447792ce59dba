"""Weighted ensembles: certificates against independent solvers, and what fits must satisfy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from small_ensembles import OPTIONS, QUESTIONS, TWINS, linear_program, rows_of, small_problem

from syndigits_jax.distribution import (
    DIVERGENCES,
    Answers,
    Penalties,
    Spec,
    Targets,
    certified_fit,
    fit_ensemble,
    fit_ensembles,
    fit_large,
    make_design,
    make_targets,
    support_of,
)
from syndigits_jax.distribution.design import VARIANTS
from syndigits_jax.solvers import Status, raise_on_failure

POLYHEDRAL = ("tv", "ks", "cdf_l1")
FLOOR = 1e-6
SPECS = [Spec(d, v) for d in DIVERGENCES for v in VARIANTS]
CONVERGED = 0


@pytest.fixture(scope="module")
def problem():
    targets, choices = small_problem(0)
    answers = Answers.from_choices(choices, OPTIONS)
    return targets, answers, rows_of(answers)


@pytest.fixture(scope="module")
def fits(problem):
    targets, answers, _ = problem
    return dict(zip(SPECS, fit_ensembles(targets, answers, SPECS)))


def test_all_fits_are_certified(fits):
    for spec, fit in fits.items():
        assert int(fit.status) == CONVERGED, spec
        assert 0 <= float(fit.gap) <= spec.gap
        assert float(fit.lower_bound) - 1e-6 <= float(fit.objective) <= float(fit.start) + 1e-6
        weights = np.concatenate([fit.personas, fit.dummies])
        assert weights.min() >= 0
        assert weights.sum() == pytest.approx(1, abs=1e-5)
        if spec.variant != "both":
            other = fit.dummies if spec.variant == "personas" else fit.personas
            assert not np.any(other)


@pytest.mark.parametrize("name", POLYHEDRAL)
@pytest.mark.parametrize("variant", VARIANTS)
def test_polyhedral_fits_against_highs(problem, fits, name, variant):
    targets, answers, rows = problem
    fit = fits[Spec(name, variant)]
    allowed = np.asarray(support_of(variant, answers.n, OPTIONS))
    best = linear_program(name, targets, rows, allowed)
    # The floor moves distributions by Kε.
    assert float(fit.lower_bound) <= best + 5e-5
    assert float(fit.objective) - best <= 1.1e-3 * (float(fit.start) - best) + 5e-5


def generic(name: str, targets, rows) -> float:
    """The smallest smooth divergence, by SciPy's SLSQP from several starts."""
    m, k = targets.shape

    def value(w):
        q = (1 - k * FLOOR) * np.tensordot(w, rows, 1) + FLOOR
        match name:
            case "chi2":
                return (targets**2 / q).sum() / m - 1
            case "kl":
                return (targets * np.log(targets / q)).sum() / m
            case "hellinger":
                return 1 - np.sqrt(targets * q).sum() / m
            case _:
                return (np.cumsum(targets - q, 1)[:, :-1] ** 2).sum() / m

    size = len(rows)
    best = np.inf
    for seed in range(2):
        start = np.random.default_rng(seed).dirichlet(np.ones(size))
        found = minimize(
            value,
            start,
            method="SLSQP",
            bounds=[(0, 1)] * size,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
            options={"maxiter": 400, "ftol": 1e-12},
        )
        best = min(best, float(found.fun))
    return best


@pytest.mark.parametrize("name", ["chi2", "kl", "hellinger", "cdf_l2"])
def test_smooth_fits_against_a_generic_solver(problem, fits, name):
    targets, _, rows = problem
    fit = fits[Spec(name, "both")]
    best = generic(name, targets, rows)
    scale = float(fit.start) - best
    assert float(fit.objective) <= best + 2e-4 * scale
    assert float(fit.lower_bound) <= best + 1e-5 * scale


def test_prediction_is_the_mixture(problem, fits):
    _, answers, rows = problem
    fit = fits[Spec("kl", "both")]
    weights = np.concatenate([fit.personas, fit.dummies])
    expected = np.tensordot(weights, rows, 1)
    np.testing.assert_allclose(fit.predict(answers), expected, atol=1e-6)
    np.testing.assert_allclose(
        fit.predict(answers.questions(np.array([3])))[0], expected[3], atol=1e-6
    )
    assert float(fit.effective_sample_size) == pytest.approx(1 / np.sum(weights**2), rel=1e-5)
    who, how_much = fit.carriers(3)
    assert how_much[0] == fit.personas.max() == fit.personas[who[0]]


def both(targets, choices, name="kl", **options):
    fit = fit_ensemble(targets, Answers.from_choices(choices, OPTIONS), name, **options)
    return fit, float(fit.objective)


@given(seed=st.integers(0, 100))
def test_order_of_twins_and_questions_does_not_matter(seed):
    targets, choices = small_problem(seed)
    rng = np.random.default_rng(seed)
    twins, questions = rng.permutation(TWINS), rng.permutation(QUESTIONS)
    first, value = both(targets, choices)
    second, moved = both(targets[questions], choices[twins][:, questions])
    assert moved == pytest.approx(value, rel=2e-3)
    predicted = first.predict(Answers.from_choices(choices, OPTIONS))
    again = second.predict(Answers.from_choices(choices[twins], OPTIONS))
    np.testing.assert_allclose(predicted, again, atol=0.02)


@given(seed=st.integers(0, 100))
def test_another_twin_never_hurts(seed):
    targets, choices = small_problem(seed)
    other = small_problem(seed + 1)[1][:1]
    fit, value = both(targets, choices, "cdf_l2")
    more, better = both(targets, np.concatenate([choices, other]), "cdf_l2")
    assert better <= value + 1e-4 * (float(fit.start) - value) + 1e-6
    assert float(more.lower_bound) <= value + 1e-6


@given(seed=st.integers(0, 100), entropy=st.sampled_from([0.003, 0.03]))
def test_duplicates_change_nothing_if_the_base_is_split(seed, entropy):
    targets, choices = small_problem(seed)
    base = np.full(TWINS + OPTIONS, 1.0)
    fit, value = both(targets, choices, "kl", entropy=entropy, base=base)
    twice = np.concatenate([choices, choices])
    halves = np.concatenate([np.full(2 * TWINS, 0.5), np.ones(OPTIONS)])
    split, same = both(targets, twice, "kl", entropy=entropy, base=halves)
    assert same == pytest.approx(value, rel=1e-3)
    together = np.asarray(split.personas).reshape(2, TWINS).sum(0)
    np.testing.assert_allclose(together, fit.personas, atol=2e-3)


@given(seed=st.integers(0, 100))
def test_a_mixture_of_twins_is_found(seed):
    _, choices = small_problem(seed)
    answers = Answers.from_choices(choices, OPTIONS)
    mixture = np.random.default_rng(seed).dirichlet(np.ones(TWINS + OPTIONS))
    targets = np.tensordot(mixture, rows_of(answers), 1)
    fit = fit_ensemble(targets, answers, "hellinger", tol=1e-3)
    assert float(fit.divergence) <= 2e-3 * float(fit.start) + 1e-6


def test_the_uniform_ensemble_is_recognised_as_optimal():
    choices = np.repeat(np.arange(OPTIONS)[:, None], QUESTIONS, 1)
    targets = np.full((QUESTIONS, OPTIONS), 1 / OPTIONS)
    for name in DIVERGENCES:
        fit, value = both(targets, choices, name)
        assert int(fit.status) == CONVERGED
        assert value == pytest.approx(0, abs=1e-5)


def test_question_weights_are_repeats(problem):
    targets, answers, _ = problem
    weight = np.ones(QUESTIONS)
    weight[0], weight[1] = 2, 0
    positions = np.array([0, 0, *range(2, QUESTIONS)])
    weighted = fit_ensemble(targets, answers, "kl", weight=weight)
    repeated = fit_ensemble(targets[positions], answers.questions(positions), "kl")
    assert float(weighted.objective) == pytest.approx(float(repeated.objective), rel=1e-3)


def test_entropy_draws_weights_to_the_base(problem):
    targets, answers, _ = problem
    specs = [Spec("kl", "personas", entropy=e) for e in (1e-4, 1e-2, 1.0, 100.0)]
    sizes = [float(f.effective_sample_size) for f in fit_ensembles(targets, answers, specs)]
    assert np.all(np.diff(sizes) > 0)
    assert sizes[-1] == pytest.approx(TWINS, rel=0.01)
    ridged = fit_ensembles(targets, answers, [Spec("kl", "personas", ridge=r) for r in (1e-3, 1e3)])
    assert float(ridged[1].effective_sample_size) == pytest.approx(TWINS, rel=0.01)


def test_calibration_to_margins_is_a_special_case():
    """Small entropy with an attainable target is raking: IPF gives the same weights."""
    rng = np.random.default_rng(0)
    choices = rng.integers(0, 2, (40, 2))
    targets = np.array([[0.35, 0.65], [0.7, 0.3]])
    fit = fit_ensemble(
        targets,
        Answers.from_choices(choices, 2),
        "kl",
        variant="personas",
        entropy=1e-4,
        tol=1e-5,
        floor=0.0,
    )
    raked = np.full(40, 1 / 40)
    for _ in range(200):
        for j in range(2):
            for k in range(2):
                member = choices[:, j] == k
                raked[member] *= targets[j, k] / raked[member].sum()
    np.testing.assert_allclose(fit.personas, raked, rtol=0.05)


def test_bad_input_is_named(problem):
    targets, answers, _ = problem
    cases = [
        ({"targets": -targets}, "`targets` must be counts"),
        ({"targets": np.where(np.arange(QUESTIONS)[:, None] == 2, 0, targets)}, "question 2"),
        ({"targets": np.full_like(targets, np.nan)}, "`targets` must be finite"),
        ({"targets": targets[:3]}, "same questions"),
        ({"targets": targets[:, :3]}, "same options"),
        ({"weight": np.zeros(QUESTIONS)}, "weight"),
        ({"weight": np.ones(1)}, "weight"),
        ({"options": np.zeros(OPTIONS, bool)}, "`options`.*keeps no option"),
        ({"options": np.ones(3, bool)}, "`options` must be a mask"),
        ({"values": np.array([1, 1, 2, 3])}, "`values` must be"),
        ({"divergence": "l3"}, "`divergence` must be one of"),
        ({"variant": "all"}, "`variant` must be one of"),
        ({"ridge": -1.0}, "ridge"),
        ({"entropy": np.inf}, "entropy"),
        ({"floor": 0.5}, "floor"),
        ({"tol": 0.0}, "tol"),
        ({"base": np.ones(3)}, "base"),
    ]
    for change, message in cases:
        arguments = {"targets": targets, "answers": answers} | change
        with pytest.raises(ValueError, match=message):
            fit_ensemble(**arguments)
    with pytest.raises(ValueError, match="`specs` is empty"):
        fit_ensembles(targets, answers, [])
    with pytest.raises(ValueError, match="twins with"):
        fit_ensemble(targets, answers).predict(answers.twins(jnp.arange(3)))


def test_the_traceable_function_is_named():
    targets, choices = small_problem()
    answers = Answers.from_choices(choices, OPTIONS)

    def objective(p: Any) -> jax.Array:
        return fit_ensemble(p, answers, "kl").objective

    def large(p: Any) -> jax.Array:
        return fit_large(p, answers, Spec("kl")).objective

    def weighted(w: Any) -> jax.Array:
        return fit_ensemble(targets, answers, weight=w).objective

    p = jnp.asarray(targets)
    for call in (jax.jit(objective), jax.grad(objective), jax.jit(large)):
        with pytest.raises(ValueError, match="certified_fit"):
            call(p)
    with pytest.raises(ValueError, match="certified_fit"):
        jax.vmap(weighted)(jnp.ones((2, QUESTIONS)))


def test_certified_fit_under_jit_and_vmap():
    """Bootstrap weights of questions in one program, against one checked fit after another."""
    targets, choices = small_problem()
    answers = Answers.from_choices(choices, OPTIONS)
    truth = make_targets(targets)
    design = make_design(answers, truth.options)
    support = support_of("both", answers.n, OPTIONS)
    draws = np.random.default_rng(0).multinomial(QUESTIONS, np.full(QUESTIONS, 0.1), 3)
    weights = jnp.asarray(draws / QUESTIONS, truth.p.dtype)
    zero = jnp.zeros((), truth.p.dtype)
    penalties = Penalties(zero + 0.01, zero, zero + 1e-6)

    @jax.jit
    @jax.vmap
    def resampled(weight):
        some = Targets(truth.p, weight, truth.options, truth.values)
        return certified_fit("kl", some, design, support, penalties, tol=1e-3)

    fits = resampled(weights)
    assert not np.any(fits.status)
    for row in range(3):
        one = fit_ensemble(targets, answers, "kl", ridge=0.01, weight=draws[row], tol=1e-3)
        gained = float(one.start - one.objective)
        assert float(fits.objective[row]) == pytest.approx(float(one.objective), abs=2e-3 * gained)
        assert float(fits.lower_bound[row]) <= float(one.objective) + 1e-5


def test_other_limits_of_a_certified_fit_compile_nothing(problem):
    targets, answers, _ = problem
    truth = make_targets(targets)
    design, support = make_design(answers, truth.options), support_of("both", answers.n, OPTIONS)
    zero = jnp.zeros((), truth.p.dtype)
    traces = []

    @jax.jit
    def counted(tol, max_steps, max_stages):
        traces.append(1)
        penalties = Penalties(zero, zero, zero + FLOOR)
        limits = {"tol": tol, "max_steps": max_steps, "max_stages": max_stages}
        return certified_fit("tv", truth, design, support, penalties, **limits)

    fit = counted(1e-2, 4000, 12)
    few, one = counted(1e-4, 5, 12), counted(1e-4, 4000, 1)
    assert len(traces) == 1
    assert raise_on_failure(fit) is fit
    np.testing.assert_array_equal(fit.value, fit.weights)
    assert float(fit.gap) == float(fit.optimality) <= 1e-2
    assert int(few.steps) <= 5 * 12
    for unfinished in (few, one):
        assert int(unfinished.status) == Status.MAX_STEPS
        with pytest.raises(RuntimeError, match="ensemble: 1 of 1 problems reached `max_steps`"):
            raise_on_failure(unfinished, name="ensemble")


@pytest.mark.parametrize("fit", ["whole", "large"])
def test_an_infinite_divergence_has_not_converged(fit):
    """No twin has the last option, people do, and nothing is floored."""
    rng = np.random.default_rng(0)
    targets = rng.dirichlet(np.ones(OPTIONS), 6)
    answers = Answers.from_choices(rng.integers(0, OPTIONS - 1, (20, 6)), OPTIONS)
    if fit == "whole":
        found = fit_ensemble(targets, answers, "kl", variant="personas", floor=0.0)
    else:
        found = fit_large(targets, answers, Spec("kl", "personas"), floor=0.0, columns=8)
    assert np.isinf(float(found.divergence))
    assert int(found.status) == Status.NONFINITE
    assert np.isinf(float(found.gap))
    floored = fit_ensemble(targets, answers, "kl", variant="personas")
    assert int(floored.status) == Status.CONVERGED
