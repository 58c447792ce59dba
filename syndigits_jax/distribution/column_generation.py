"""Ensembles of millions of twins: fits to a few thousand of them, certified over all."""

from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from ..solvers.boundary import Numbers
from ..solvers.checks import check_count
from ..solvers.keys import PRNGKey, seed_generator
from ..solvers.precision import full_precision
from ..solvers.simplex import frank_wolfe_gap, uniform_weights
from ..solvers.simplex_convex import minimize_on_simplex
from ..solvers.solution import status_code
from .answers import Answers
from .certified import ERROR_SHARE, FIRST_WIDTH, LAST_WIDTH, NARROWER, floored, rounding_of
from .design import (
    BlockedDesign,
    DenseDesign,
    blocked_design,
    personas_of,
    rows_of,
    spread,
    support_in,
)
from .ensemble import Ensemble, EnsembleWeights, Spec, checked_spec
from .objective import Divergence, as_divergence
from .targets import Targets, shares_of

_INNER_STEPS = 2000


class _Problem(eqx.Module):
    """Everything but the weights; `reached` are the targets without the unreachable cells."""

    divergence: Divergence
    whole: Targets
    reached: Targets
    design: BlockedDesign
    support: Bool[Array, " w"]
    ridge: Float[Array, ""]
    floor: Float[Array, ""]

    def distributions(self, mixed: Array) -> Array:
        return floored(mixed, self.whole, self.floor)


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
    key: PRNGKey | None = None,
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
    - `key`: of the random half of the first twins, a fixed one by default.
    - `mesh`: devices over whose first axis the stored answers and the weights over all twins are
      spread. The twins of a round are chosen on the host, from one number per twin, and fitted on
      every device alike. The returned weights stay spread if the devices divide n.
    - `on_progress`: called with (round, gap) after every round.

    **Returns:** an [`Ensemble`][] over all twins; its gap and bound hold over all of them.

    **Raises:** `ValueError` as [`fit_ensemble`][]; for positive entropy, and for `columns` below 2.
    """
    if spec.entropy > 0:
        raise ValueError("`spec`: fit_large cannot use entropy, with which every twin has weight")
    check_count("columns", columns, least=2)
    keep, whole = checked_spec(targets, answers, options, values, floor)
    weight = jnp.asarray(shares_of(spec.weight, answers.m), whole.p.dtype)
    whole = Targets(whole.p, weight, whole.options, whole.values)
    problem, mixed = _start(spec, whole, answers, floor, mesh)
    key = jax.random.key(0) if key is None else key
    search = _Search.of(problem, mixed, spec.gap)
    carriers = seed_generator(key).permutation(answers.n)[: columns // 2]
    for done in range(max_rounds):
        if search.finished():
            break
        while len(carriers) > 0.7 * columns:
            columns *= 2
        search.advance(_cheapest(search.scores(answers.n), carriers, min(columns, answers.n)))
        carriers = np.flatnonzero(np.asarray(search.weights[: answers.n]))
        if on_progress is not None:
            on_progress(done + 1, search.relative_gap())
    return search.ensemble(answers, all_options=bool(keep.all()))


@dataclass
class _Search:
    """The rounds on the host: the last weights and their prices, and the best ones so far.

    - `weights`, `mixed`, `prices`, `width`: of the last round.
    - `start`, `best`, `bound`: objectives of the uniform ensemble and of `result`, the best weights
      and their mixture; and the largest lower bound.
    - `gap`: the relative gap to reach; `rounding`: what rounding may change.
    """

    problem: _Problem
    gap: float
    rounding: float
    weights: Array
    mixed: Array
    prices: _Prices
    width: Array
    start: float
    best: float
    bound: float
    result: tuple[Array, Array]
    steps: int = 0

    @staticmethod
    def of(problem: _Problem, mixed: Array, gap: float) -> "_Search":
        """From the uniform ensemble, which predicts `mixed`."""
        weights = _uniform(problem)
        width = jnp.full((), FIRST_WIDTH, problem.whole.p.dtype)
        prices = _price(problem, weights, mixed, width)
        rounding = float(rounding_of(problem.divergence, problem.whole, prices.objective))
        start, bound = float(prices.objective), float(prices.bound)
        return _Search(
            problem,
            gap,
            rounding,
            weights,
            mixed,
            prices,
            width,
            start,
            start,
            bound,
            (weights, mixed),
        )

    @property
    def error(self) -> float:
        """By how much rounding may raise a lower bound."""
        return self.rounding / ERROR_SHARE

    def wanted(self) -> float:
        """The absolute gap to reach."""
        return max(self.gap * (self.start - self.best), self.rounding)

    def finished(self) -> bool:
        return self.best - self.bound + self.error <= self.wanted()

    def relative_gap(self) -> float:
        return (self.best - self.bound + self.error) / max(self.start - self.best, self.rounding)

    def scores(self, n: int) -> np.ndarray:
        """The slope of the objective in the weight of every twin."""
        return np.array(self.prices.scores[:n])

    def advance(self, chosen: Int[np.ndarray, " count"]) -> None:
        """One round: fit the `chosen` twins, then price all of them."""
        problem, prices = self.problem, self.prices
        # The part of the gap that is due to smoothing, not to the twins left out.
        lost = float(prices.objective - prices.bound - prices.gap)
        if not problem.divergence.smooth and lost > float(prices.gap):
            self.width = jnp.maximum(self.width * NARROWER, LAST_WIDTH)
        tol = max(0.3 * self.wanted(), 0.1 * (self.best - self.bound))
        tol = jnp.asarray(tol, self.width.dtype)
        self.weights, self.mixed, taken = _solve(problem, self.weights, chosen, self.width, tol)
        self.steps += int(taken)
        self.prices = _price(problem, self.weights, self.mixed, self.width)
        self.bound = max(self.bound, float(self.prices.bound))
        if float(self.prices.objective) < self.best:
            self.best, self.result = float(self.prices.objective), (self.weights, self.mixed)

    def ensemble(self, answers: Answers, *, all_options: bool) -> Ensemble:
        """The best weights, with the constant of the cells left out put back."""
        problem, (weights, mixed) = self.problem, self.result
        q, rows = problem.distributions(mixed), rows_of(problem.design)
        divergence = problem.divergence.value(problem.whole, q)
        constant = divergence - problem.divergence.value(problem.reached, q)
        gap, finite = max(self.best - self.bound, 0.0) + self.error, bool(jnp.isfinite(divergence))
        relative = gap / max(self.start - self.best, self.rounding) if finite else np.inf
        return Ensemble(
            EnsembleWeights(
                personas_of(weights, answers.n, problem.design),
                weights[rows : rows + answers.n_options],
            ),
            status_code(jnp.asarray(gap <= self.wanted()), jnp.asarray(finite)),
            jnp.asarray(self.steps, jnp.int32),
            jnp.asarray(relative, divergence.dtype),
            divergence=divergence,
            objective=self.best + constant,
            lower_bound=min(self.bound, self.best) - self.error + constant,
            start=self.start + constant,
            all_options=all_options,
        )


def _start(
    spec: Spec, whole: Targets, answers: Answers, floor: float, mesh: Mesh | None
) -> tuple[_Problem, Array]:
    """The problem, and the distributions that the uniform ensemble predicts."""
    design = blocked_design(answers, whole.options, mesh)
    support = support_in(spec.variant, answers.n, answers.n_options, design)
    dtype = whole.p.dtype
    mixed = _mix(design, uniform_weights(support, dtype))
    divergence = as_divergence(spec.divergence)
    reached = divergence.reached(whole, mixed > 0)
    ridge, floor_ = (jnp.asarray(x, dtype) for x in (spec.ridge, floor))
    return _Problem(divergence, whole, reached, design, support, ridge, floor_), mixed


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


@jax.jit
@full_precision
def _price(problem: _Problem, weights, mixed, width) -> _Prices:
    """One pass over all twins: bounds and scores at weights that predict `mixed`."""
    divergence, targets, ridge = problem.divergence, problem.reached, problem.ridge
    penalty = ridge * jnp.dot(weights, weights)

    def smooth(mixed):
        return divergence.smoothed(targets, problem.distributions(mixed), width)

    slope = jax.grad(smooth)(mixed)
    twins = problem.design.score(slope)
    dummies = jnp.einsum("mdk,mk->d", problem.design.dummies, slope)
    scores = jnp.concatenate([twins, dummies]) + 2 * ridge * weights
    gap = frank_wolfe_gap(scores, weights, support=problem.support)
    q = problem.distributions(mixed)
    line = divergence.touching(targets, q, width) + penalty
    return _Prices(divergence.value(targets, q) + penalty, line - gap, gap, scores)


@jax.jit
@full_precision
def _solve(problem: _Problem, weights, chosen, width, tol):
    """Weights of the `chosen` twins and the dummies, all others 0; their mixture; steps."""
    answers, dummies = problem.design.answers, problem.design.dummies
    n, shape = answers.n, problem.whole.p.shape
    cells = jnp.arange(shape[0] * shape[1], dtype=jnp.int32).reshape(shape)
    design = DenseDesign(answers.twins(chosen).dense(), cells, dummies)
    active = jnp.concatenate([chosen, jnp.arange(n, weights.shape[0], dtype=chosen.dtype)])

    def smooth(w):
        q = problem.distributions(design.mix(w))
        smooth = problem.divergence.smoothed(problem.reached, q, width)
        return smooth + problem.ridge * jnp.dot(w, w)

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
