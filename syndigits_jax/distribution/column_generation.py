"""Ensembles of millions of twins: fits to a few thousand of them, certified over all."""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from ..solvers.boundary import Numbers
from ..solvers.precision import full_precision
from ..solvers.simplex import frank_wolfe_gap, uniform_weights
from ..solvers.simplex_convex import minimize_on_simplex
from ..solvers.solution import status_code
from .answers import Answers
from .certified import ERROR_SHARE, FIRST_WIDTH, LAST_WIDTH, NARROWER, rounding_of, without_entropy
from .design import (
    BlockedDesign,
    DenseDesign,
    blocked_design,
    personas_of,
    rows_of,
    spread,
    support_in,
)
from .ensemble import Ensemble, Spec, checked_spec
from .objective import SMOOTH, Targets, shares_of, smoothed, touching, value

_INNER_STEPS = 2000


class _Problem(eqx.Module):
    """Everything but the weights; `reached` are the targets without the unreachable cells."""

    whole: Targets
    reached: Targets
    design: BlockedDesign
    support: Bool[Array, " w"]
    ridge: Float[Array, ""]
    floor: Float[Array, ""]

    def distributions(self, mixed: Array) -> Array:
        options = self.whole.options.astype(mixed.dtype)
        share = 1 - self.floor * jnp.sum(options, axis=1, keepdims=True)
        return share * mixed + self.floor * options


class _Prices(eqx.Module):
    """At some weights: the objective, a lower bound on the best one, the slope of the smoothed
    objective in every weight (`scores`), and its Frank-Wolfe gap.
    """

    objective: Float[Array, ""]
    bound: Float[Array, ""]
    gap: Float[Array, ""]
    scores: Float[Array, " w"]


def fit_large(
    targets: Numbers,
    answers: Answers,
    spec: Spec,
    *,
    options: Numbers = None,
    values: Numbers = None,
    floor: float = 1e-6,
    columns: int = 2048,
    max_rounds: int = 100,
    seed: int = 0,
    mesh: Mesh | None = None,
    on_progress: Callable[[int, float], None] | None = None,
) -> Ensemble:
    """One fit to a population too large to hold as a matrix, by column generation.

    Every round fits `columns` twins, then goes over all twins once: the slope of the objective at
    the fit scores every twin, and the smallest score gives a lower bound on the objective of *any*
    weights. The twins that carry weight stay, the best scores join them, until the gap is below
    `spec.gap`. Memory is that of the answers plus `columns` x m x K numbers.

    **Arguments:**

    - `targets`, `answers`, `options`, `values`, `floor`: as in [`fit_ensemble`][].
    - `spec`: divergence, variant, penalties, question weights and tolerance. `spec.entropy` must be
      0, because with entropy all twins have weight; a large ridge slows rounds for the same reason.
    - `columns`: twins fitted in the first rounds, doubled when those with weight fill most of them.
    - `max_rounds`: largest number of rounds.
    - `seed`: of the random half of the first twins.
    - `mesh`: devices over whose first axis the stored answers and the weights over all twins are
      spread. The twins of a round are chosen on the host, from one number per twin, and fitted on
      every device alike. The returned weights stay spread if the devices divide n.
    - `on_progress`: called with (round, gap) after every round.

    **Returns:** an [`Ensemble`][] over all twins; its gap and bound hold over all of them.

    **Raises:** `ValueError` as [`fit_ensemble`][]; for positive entropy, and for `columns` below 2.
    """
    if spec.entropy > 0:
        raise ValueError("`spec`: fit_large cannot use entropy, with which every twin has weight")
    if columns < 2:
        raise ValueError(f"`columns` must be at least 2, got {columns}")
    keep, whole = checked_spec(targets, answers, options, values, floor)
    weight = jnp.asarray(shares_of(spec.weight, answers.m), whole.p.dtype)
    whole = Targets(whole.p, weight, whole.options, whole.values)
    problem, mixed = _start(spec, whole, answers, floor, mesh)
    design = problem.design
    n, rows, dtype = answers.n, rows_of(design), whole.p.dtype
    weights = _uniform(problem)
    width = jnp.full((), FIRST_WIDTH, dtype)
    prices = _price(spec.divergence, problem, weights, mixed, width)
    start = best = float(prices.objective)
    bound, result, steps = float(prices.bound), (weights, mixed), 0
    carriers = np.random.default_rng(seed).permutation(n)[: columns // 2]
    rounding = float(rounding_of(spec.divergence, whole, prices.objective))
    error = rounding / ERROR_SHARE

    def wanted() -> float:
        return max(spec.gap * (start - best), rounding)

    for done in range(max_rounds):
        if best - bound + error <= wanted():
            break
        # The part of the gap that is due to smoothing, not to the twins left out.
        lost = float(prices.objective - prices.bound - prices.gap)
        if spec.divergence not in SMOOTH and lost > float(prices.gap):
            width = jnp.maximum(width * NARROWER, LAST_WIDTH)
        while len(carriers) > 0.7 * columns:
            columns *= 2
        chosen = _cheapest(np.array(prices.scores[:n]), carriers, min(columns, n))
        tol = jnp.asarray(max(0.3 * wanted(), 0.1 * (best - bound)), dtype)
        weights, mixed, taken = _solve(spec.divergence, problem, weights, chosen, width, tol)
        steps += int(taken)
        carriers = np.flatnonzero(np.asarray(weights[:n]))
        prices = _price(spec.divergence, problem, weights, mixed, width)
        bound = max(bound, float(prices.bound))
        if float(prices.objective) < best:
            best, result = float(prices.objective), (weights, mixed)
        if on_progress is not None:
            on_progress(done + 1, (best - bound + error) / max(start - best, rounding))
    weights, mixed = result
    q = problem.distributions(mixed)
    divergence = value(spec.divergence, problem.whole, q)
    constant = divergence - value(spec.divergence, problem.reached, q)
    gap, finite = max(best - bound, 0.0) + error, bool(jnp.isfinite(divergence))
    return Ensemble(
        personas_of(weights, n, design),
        weights[rows : rows + answers.n_options],
        divergence,
        best + constant,
        min(bound, best) - error + constant,
        start + constant,
        jnp.asarray(gap / max(start - best, rounding) if finite else np.inf, dtype),
        status_code(jnp.asarray(gap <= wanted()), jnp.asarray(finite)),
        jnp.asarray(steps, jnp.int32),
        bool(keep.all()),
    )


def _start(
    spec: Spec, whole: Targets, answers: Answers, floor: float, mesh: Mesh | None
) -> tuple[_Problem, Array]:
    """The problem, and the distributions that the uniform ensemble predicts."""
    design = blocked_design(answers, whole.options, mesh)
    support = support_in(spec.variant, answers.n, answers.n_options, design)
    dtype = whole.p.dtype
    mixed = _mix(design, uniform_weights(support, dtype))
    reached = without_entropy(spec.divergence, whole, mixed > 0)
    ridge, floor_ = (jnp.asarray(x, dtype) for x in (spec.ridge, floor))
    return _Problem(whole, reached, design, support, ridge, floor_), mixed


def _cheapest(scores: np.ndarray, kept: np.ndarray, count: int) -> Int[np.ndarray, " count"]:
    """Positions of `count` twins: those to keep, then those with the smallest scores."""
    scores[kept] = -np.inf
    return np.sort(np.argpartition(scores, count - 1)[:count])


@jax.jit
def _uniform(problem: _Problem) -> Array:
    return spread(problem.design, uniform_weights(problem.support, problem.whole.p.dtype))


@jax.jit
def _mix(design: BlockedDesign, weights: Array) -> Array:
    return design.mix(weights)


@functools.partial(jax.jit, static_argnames=("name",))
@full_precision
def _price(name: str, problem: _Problem, weights, mixed, width) -> _Prices:
    """One pass over all twins: bounds and scores at weights that predict `mixed`."""
    targets, ridge = problem.reached, problem.ridge
    penalty = ridge * jnp.dot(weights, weights)

    def smooth(mixed):
        return smoothed(name, targets, problem.distributions(mixed), width)

    slope = jax.grad(smooth)(mixed)
    twins = problem.design.score(slope)
    dummies = jnp.einsum("mdk,mk->d", problem.design.dummies, slope)
    scores = jnp.concatenate([twins, dummies]) + 2 * ridge * weights
    gap = frank_wolfe_gap(scores, weights, support=problem.support)
    q = problem.distributions(mixed)
    line = touching(name, targets, q, width) + penalty
    return _Prices(value(name, targets, q) + penalty, line - gap, gap, scores)


@functools.partial(jax.jit, static_argnames=("name",))
@full_precision
def _solve(name: str, problem: _Problem, weights, chosen, width, tol):
    """Weights of the `chosen` twins and the dummies, all others 0; their mixture; steps."""
    answers, dummies = problem.design.answers, problem.design.dummies
    n, shape = answers.n, problem.whole.p.shape
    cells = jnp.arange(shape[0] * shape[1], dtype=jnp.int32).reshape(shape)
    design = DenseDesign(answers.twins(chosen).dense(), cells, dummies)
    active = jnp.concatenate([chosen, jnp.arange(n, weights.shape[0], dtype=chosen.dtype)])

    def smooth(w):
        q = problem.distributions(design.mix(w))
        return smoothed(name, problem.reached, q, width) + problem.ridge * jnp.dot(w, w)

    solution = minimize_on_simplex(
        smooth,
        weights[active],
        support=problem.support[active],
        tol=tol,
        scale=jnp.ones((), weights.dtype),
        max_steps=_INNER_STEPS,
    )
    w = solution.value
    everyone = spread(problem.design, jnp.zeros_like(weights).at[active].set(w))
    return everyone, design.mix(w), solution.steps
