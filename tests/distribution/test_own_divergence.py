"""Divergences as objects: the named ones, and ones that a user adds by writing a class."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from small_ensembles import OPTIONS, rows_of, small_problem

from syndigits_jax.distribution import (
    DIVERGENCES,
    Answers,
    Divergence,
    Penalties,
    Spec,
    certified_fit,
    fit_blend,
    fit_ensemble,
    fit_ensembles,
    fit_large,
    make_design,
    make_targets,
    support_of,
)
from syndigits_jax.distribution.evaluation import divergence_by_question
from syndigits_jax.distribution.objective import KullbackLeibler, TotalVariation, as_divergence
from syndigits_jax.solvers import Solution, Status, raise_on_failure

FLOOR = 1e-6


class Triangular(Divergence):
    """Σ (p - q)² / (p + q)."""

    over_cells = True

    def by_question(self, targets, q):
        total = targets.p + q
        some = targets.options & (total > 0)
        return jnp.sum(jnp.where(some, (targets.p - q) ** 2 / jnp.where(some, total, 1), 0), axis=1)


class PseudoHuber(Divergence):
    """Σ δ (√(δ² + (p - q)²) - δ): squares for differences below δ, absolute values beyond."""

    delta: float = 0.1

    def by_question(self, targets, q):
        x = jnp.where(targets.options, targets.p - q, 0)
        return jnp.sum(self.delta * (jnp.sqrt(self.delta**2 + x**2) - self.delta), axis=1)


class Largest(Divergence):
    """max |p - q|, which has kinks."""

    smooth = False

    def by_question(self, targets, q):
        return jnp.max(jnp.abs(self._both(targets, q)), axis=1)

    def smoothed_by_question(self, targets, q, width):
        both = self._both(targets, q)
        top = jax.scipy.special.logsumexp(both / width, axis=1)
        return width * (top - jnp.log(float(both.shape[1])))

    def touching_by_question(self, targets, q, width):
        both = self._both(targets, q)
        return jnp.sum(jax.nn.softmax(both / width, axis=1) * both, axis=1)

    def _both(self, targets, q):
        x = jnp.where(targets.options, targets.p - q, 0)
        return jnp.concatenate([x, -x], axis=1)


def triangular(p, q):
    return ((p - q) ** 2 / (p + q)).sum(axis=1).mean()


def huber(delta):
    return lambda p, q: (delta * (np.hypot(delta, p - q) - delta)).sum(axis=1).mean()


OWN = {
    "triangular": (Triangular(), triangular),
    "huber 0.1": (PseudoHuber(), huber(0.1)),
    "huber 0.02": (PseudoHuber(0.02), huber(0.02)),
}


@pytest.fixture(scope="module")
def problem():
    targets, choices = small_problem(0)
    answers = Answers.from_choices(choices, OPTIONS)
    return targets, answers, rows_of(answers)


def best_of(judge, targets, rows):
    """The smallest value, by SciPy's SLSQP."""
    size = len(rows)

    def predicted(w):
        return (1 - OPTIONS * FLOOR) * np.tensordot(w, rows, 1) + FLOOR

    found = minimize(
        lambda w: judge(targets, predicted(w)),
        np.full(size, 1 / size),
        method="SLSQP",
        bounds=[(0, 1)] * size,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"maxiter": 400, "ftol": 1e-12},
    )
    return float(found.fun)


@pytest.mark.parametrize("name", OWN)
def test_a_smooth_divergence_of_ones_own_is_fitted_to_a_certificate(problem, name):
    targets, answers, rows = problem
    divergence, judge = OWN[name]
    fit = fit_ensemble(targets, answers, divergence)
    best = best_of(judge, targets, rows)
    scale = float(fit.start) - best
    assert scale > 1e-3
    assert raise_on_failure(fit) is fit
    assert float(fit.objective) <= best + 2e-4 * scale
    assert float(fit.lower_bound) <= best + 1e-5 * scale
    assert float(fit.gap) <= 1e-4
    found = divergence_by_question(divergence, make_targets(targets), fit.predict(answers))
    assert float(jnp.mean(found)) == pytest.approx(float(fit.divergence), rel=1e-3)
    large = fit_large(targets, answers, Spec(divergence), columns=16)
    assert int(large.status) == Status.CONVERGED
    assert float(large.objective) <= best + 2e-4 * scale
    assert float(large.lower_bound) <= best + 1e-5 * scale


def test_one_with_kinks_is_fitted_through_its_smoothings(problem):
    targets, answers, _ = problem
    fit = fit_ensemble(targets, answers, Largest())
    assert int(fit.status) == Status.CONVERGED
    # With two options this is total variation, which has an independent judge of its own.
    two = np.stack([targets[:, 0], 1 - targets[:, 0]], axis=1)
    pair = Answers.from_choices(np.asarray(answers.codes) % 2, 2)
    ours, theirs = fit_ensemble(two, pair, Largest()), fit_ensemble(two, pair, "tv")
    scale = float(theirs.start - theirs.objective)
    assert float(ours.objective) == pytest.approx(float(theirs.objective), abs=2e-3 * scale)


def test_blends_choose_by_it(problem):
    targets, answers, _ = problem
    blend = fit_blend(targets, answers, Triangular(), entropies=(0.01,), folds=2)
    assert blend.spec.divergence == Triangular()
    assert np.isfinite(blend.error).all()


def test_names_and_objects_are_the_same_fit(problem):
    targets, answers, _ = problem
    by_name, by_object = fit_ensembles(targets, answers, [Spec("kl"), Spec(KullbackLeibler())])
    for one, other in zip(jax.tree.leaves(by_name), jax.tree.leaves(by_object)):
        np.testing.assert_array_equal(one, other)


def test_objects_are_compared_by_class_and_numbers():
    assert as_divergence("tv") == TotalVariation() != as_divergence("kl")
    assert PseudoHuber(0.2) == PseudoHuber(0.2) != PseudoHuber(0.3)
    assert len({PseudoHuber(0.2), PseudoHuber(0.2), PseudoHuber(0.3), Triangular()}) == 3
    assert all(isinstance(as_divergence(name), Divergence) for name in DIVERGENCES)
    with pytest.raises(ValueError, match=r"`divergence` must be one of .* or a `Divergence`"):
        Spec("huber")


def test_numbers_of_a_divergence_may_be_traced_or_static(problem):
    targets, answers, _ = problem
    truth = make_targets(targets)
    design, support = make_design(answers, truth.options), support_of("both", answers.n, OPTIONS)
    zero = jnp.zeros((), truth.p.dtype)
    penalties = Penalties(zero, zero, zero + FLOOR)
    traces = []

    @jax.jit
    def traced(divergence):
        traces.append(1)
        return certified_fit(divergence, truth, design, support, penalties, tol=1e-3)

    static = jax.jit(certified_fit, static_argnums=0, static_argnames="entropic")
    for delta in (0.1, 0.02):
        fit = traced(PseudoHuber(delta))
        same = static(PseudoHuber(delta), truth, design, support, penalties, tol=1e-3)
        assert isinstance(fit, Solution)
        gained = float(same.start - same.objective)
        assert float(fit.objective) == pytest.approx(float(same.objective), abs=2e-3 * gained)
    assert len(traces) == 1
