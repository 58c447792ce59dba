"""Ensemble weights solved to a certificate: an objective and a lower bound on the best one."""

import functools
from typing import Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..solvers.precision import full_precision
from ..solvers.simplex import uniform_weights
from ..solvers.simplex_convex import minimize_on_simplex
from ..solvers.simplex_entropic import entropic_gap, minimize_with_entropy, relative_entropy
from ..solvers.solution import Solution, status_code
from .design import Design, spread
from .objective import Divergence, as_divergence
from .targets import Targets

FIRST_WIDTH = 0.03
NARROWER = 1 / 3
LAST_WIDTH = 1e-6

Value = TypeVar("Value")


class Penalties(eqx.Module):
    """What is added to the divergence: `ridge` · ‖w‖² + `entropy` · KL(w ‖ base).

    `floor`: ε of Q_ε = (1 - Kε) Q + ε, which keeps χ² and KL finite where no twin has an option.
    """

    ridge: Float[Array, "*batch"]
    entropy: Float[Array, "*batch"]
    floor: Float[Array, "*batch"]


class Fit(Solution[Value], Generic[Value]):
    """A [`Solution`][] whose value is weights, and the certificate behind its optimality.

    - `value`, or `weights`: (n + K,) weights over twins and dummies.
    - `status`, `steps`: of the solver, all stages together.
    - `optimality`, or `gap`: (objective - lower_bound) / (start - objective).
    - `objective`: the objective at the weights, penalties included; `divergence`: without them.
    - `lower_bound`: no weights have a smaller objective. A margin for rounding is subtracted, so
      that the gap is never 0.
    - `start`: the objective at the base.
    """

    divergence: Float[Array, "*batch"]
    objective: Float[Array, "*batch"]
    lower_bound: Float[Array, "*batch"]
    start: Float[Array, "*batch"]

    def __init__(
        self,
        value: Value,
        status: Int[Array, "*batch"],
        steps: Int[Array, "*batch"],
        gap: Float[Array, "*batch"],
        *,
        divergence: Float[Array, "*batch"],
        objective: Float[Array, "*batch"],
        lower_bound: Float[Array, "*batch"],
        start: Float[Array, "*batch"],
    ):
        super().__init__(value, status, steps, gap)
        self.divergence = divergence
        self.objective = objective
        self.lower_bound = lower_bound
        self.start = start

    @property
    def weights(self) -> Value:
        """`value`."""
        return self.value

    @property
    def gap(self) -> Float[Array, "*batch"]:
        """`optimality`."""
        return self.optimality


class _Problem(eqx.Module):
    """Everything but the weights.

    - `whole`: the targets; `targets`: without what no weights reach.
    - `base`: where the fit starts and what the entropy is relative to.
    - `entropic`: whether the entropy's penalty is positive; static.
    """

    divergence: Divergence
    whole: Targets
    targets: Targets
    design: Design
    support: Bool[Array, " w"]
    penalties: Penalties
    base: Float[Array, " w"]
    entropic: bool = eqx.field(static=True)

    @staticmethod
    def of(divergence, targets, design, support, penalties, base, entropic) -> "_Problem":
        u = uniform_weights(support, targets.p.dtype) if base is None else base
        u = spread(design, jnp.where(support, u, 0) / jnp.sum(jnp.where(support, u, 0)))
        # Cells that no weight reaches add a constant, which may exceed any improvement a
        # thousandfold.
        reached = divergence.reached(targets, design.mix(u) > 0)
        return _Problem(divergence, targets, reached, design, support, penalties, u, entropic)

    def distributions(self, w: Array) -> Array:
        """What the weights predict, floored."""
        return floored(self.design.mix(w), self.whole, self.penalties.floor)

    def entropy(self, w: Array) -> Array:
        if not self.entropic:
            return jnp.zeros((), w.dtype)
        return self.penalties.entropy * relative_entropy(w, self.base)

    def objective(self, w: Array) -> Array:
        extra = self.penalties.ridge * jnp.dot(w, w) + self.entropy(w)
        return self.divergence.value(self.targets, self.distributions(w)) + extra

    def smooth(self, w: Array, width: Array) -> Array:
        """The objective smoothed, without the entropy."""
        q = self.distributions(w)
        ridge = self.penalties.ridge * jnp.dot(w, w)
        return self.divergence.smoothed(self.targets, q, width) + ridge

    def lower_bound(self, w: Array, width: Array) -> Array:
        """The minimum over all weights of a function that touches the objective from below."""
        gradient = jax.grad(lambda w: self.smooth(w, width))(w)
        touching = self.divergence.touching(self.targets, self.distributions(w), width)
        line = touching + self.penalties.ridge * jnp.dot(w, w)
        if self.entropic:
            gap = entropic_gap(gradient, w, self.penalties.entropy, self.base)
            return line + self.entropy(w) - gap
        lowest = jnp.min(jnp.where(self.support, gradient, jnp.inf))
        return line - jnp.sum(jnp.where(self.support, w * (gradient - lowest), 0))

    def minimise(self, init: Array, width: Array, tol: Array, max_steps) -> Solution[Array]:
        """The smoothed objective at one width, to an absolute gap of `tol`."""

        def fun(w):
            return self.smooth(w, width)

        if self.entropic:
            penalty = self.penalties.entropy
            return minimize_with_entropy(
                fun, init, penalty, base=self.base, tol=tol, max_steps=max_steps
            )
        one = jnp.ones((), init.dtype)
        return minimize_on_simplex(
            fun, init, support=self.support, tol=tol, scale=one, max_steps=max_steps
        )


class _State(eqx.Module):
    weights: Float[Array, " w"]
    objective: Float[Array, ""]
    bound: Float[Array, ""]
    width: Float[Array, ""]
    steps: Int[Array, ""]
    stages: Int[Array, ""]


class _Stages(eqx.Module):
    """The stages of a fit, each with a narrower smoothing: what they start from and aim at."""

    problem: _Problem
    start: Float[Array, ""]
    tol: Float[Array, ""]
    rounding: Float[Array, ""]
    max_steps: Int[Array, ""]
    max_stages: Int[Array, ""]

    @property
    def error(self) -> Array:
        """By how much rounding may raise a lower bound."""
        return self.rounding / ERROR_SHARE

    def wanted(self, state: _State) -> Array:
        """The gap to reach."""
        # Improvements below rounding do not count, so that a start that is optimal has converged.
        return jnp.maximum(self.tol * (self.start - state.objective), self.rounding)

    def first(self) -> _State:
        u, zero = self.problem.base, jnp.zeros((), jnp.int32)
        width = jnp.full((), FIRST_WIDTH, u.dtype)
        bound = self.problem.lower_bound(u, width)
        return _State(u, self.start, bound, width, zero, zero)

    def unfinished(self, state: _State) -> Array:
        gap = state.objective - state.bound + self.error
        some = (state.stages < self.max_stages) & (state.width > LAST_WIDTH)
        return (gap > self.wanted(state)) & some

    def next(self, state: _State) -> _State:
        gap = state.objective - state.bound
        tol = jnp.maximum(0.3 * self.wanted(state), 0.03 * gap)
        solution = self.problem.minimise(state.weights, state.width, tol, self.max_steps)
        w = solution.value
        new = self.problem.objective(w)
        better = new < state.objective
        return _State(
            spread(self.problem.design, jnp.where(better, w, state.weights)),
            jnp.where(better, new, state.objective),
            jnp.maximum(state.bound, self.problem.lower_bound(w, state.width)),
            state.width * NARROWER,
            state.steps + solution.steps,
            state.stages + 1,
        )

    def fit(self, state: _State) -> Fit[Float[Array, " w"]]:
        """The result after the last stage, with the constant of the cells left out put back."""
        problem = self.problem
        gap = jnp.maximum(state.objective - state.bound, 0) + self.error
        improvement = jnp.maximum(self.start - state.objective, self.rounding)
        q = problem.distributions(state.weights)
        divergence = problem.divergence.value(problem.whole, q)
        # With a floor of 0, unreachable cells may make the divergence infinite for all weights.
        finite = jnp.isfinite(divergence) & jnp.all(jnp.isfinite(state.weights))
        constant = divergence - problem.divergence.value(problem.targets, q)
        return Fit(
            spread(problem.design, state.weights),
            status_code(gap <= self.wanted(state), finite),
            state.steps,
            jnp.where(finite, gap / improvement, jnp.inf),
            divergence=divergence,
            objective=state.objective + constant,
            lower_bound=jnp.minimum(state.bound, state.objective) - self.error + constant,
            start=self.start + constant,
        )


@full_precision
def certified_fit(
    divergence: str | Divergence,
    targets: Targets,
    design: Design,
    support: Bool[Array, " w"],
    penalties: Penalties,
    *,
    base: Float[Array, " w"] | None = None,
    entropic: bool = False,
    tol: float | Float[Array, ""] = 1e-3,
    max_steps: int | Int[Array, ""] = 4000,
    max_stages: int | Int[Array, ""] = 12,
) -> Fit[Float[Array, " w"]]:
    """Minimise a divergence over the weights on `support`, to a relative gap of `tol`.

    Smooth divergences are minimised directly; TV, KS and ℓ1 through ever narrower smoothings
    (Nesterov 2005), each started from the last. The lower bound is that of the linear function that
    touches the objective, so it holds whatever the smoothing.

    It is a function of arrays only, for use under `jit` and `vmap`, for instance over question
    weights in `targets.weight`, over `support` and over `penalties`; nothing is checked. The loop
    has no reverse-mode gradient.

    **Arguments:**

    - `divergence`: one of `DIVERGENCES`, or a [`Divergence`][].
    - `targets`, `design`, `support`: from `make_targets`, `make_design` and `support_of`.
    - `penalties`: ridge, entropy and floor, each a scalar.
    - `base`: (n + K,) where the fit starts and what the entropy is relative to; uniform on
      `support` by default.
    - `entropic`: whether `penalties.entropy` is positive; static.
    - `tol`: the gap to reach, relative to the improvement over the start.
    - `max_steps`: most solver steps per stage, that is per width of the smoothing.
    - `max_stages`: most stages.

    `tol`, `max_steps` and `max_stages` may be traced.

    **Returns:** a [`Fit`][]; its `status` says whether the gap was reached.

    **Raises:** `ValueError` for another name of a divergence.

    **Example:**

        >>> import jax.numpy as jnp
        >>> from syndigits_jax.distribution import Answers, Penalties, certified_fit
        >>> from syndigits_jax.distribution import make_design, make_targets, support_of
        >>> design = make_design(Answers.from_choices([[0, 0], [1, 0]], 2), [True, True])
        >>> targets, support = make_targets([[3, 1], [4, 0]]), support_of("personas", 2, 2)
        >>> penalties = Penalties(*jnp.asarray([0.0, 0.0, 1e-6]))
        >>> fit = certified_fit("cdf_l2", targets, design, support, penalties)
        >>> print(fit.gap < 1e-2)
        True
    """
    data = as_divergence(divergence), targets, design, support, penalties, base
    limits = jnp.asarray(max_steps, jnp.int32), jnp.asarray(max_stages, jnp.int32)
    return _certified(data, tol, *limits, entropic)


@functools.partial(jax.jit, static_argnames="entropic")
@full_precision
def _certified(data, tol, max_steps, max_stages, entropic: bool) -> Fit[Float[Array, " w"]]:
    divergence, targets, design, support, penalties, base = data
    problem = _Problem.of(divergence, targets, design, support, penalties, base, entropic)
    start = problem.objective(problem.base)
    stages = _Stages(
        problem,
        start,
        jnp.asarray(tol, start.dtype),
        rounding_of(problem.divergence, problem.targets, start),
        max_steps,
        max_stages,
    )
    last = jax.lax.while_loop(
        lambda s: stages.unfinished(s), lambda s: stages.next(s), stages.first()
    )
    return stages.fit(last)


ERROR_SHARE = 4
"""Rounding may raise a lower bound by [`rounding_of`][] over this."""


def rounding_of(
    divergence: Divergence, targets: Targets, start: Float[Array, ""]
) -> Float[Array, ""]:
    """The largest change that rounding may cause in an objective of value `start` at the base."""
    return jnp.finfo(start.dtype).eps * (32 * jnp.abs(start) + 4 * divergence.unit(targets))


def floored(
    mixed: Float[Array, "m K"], targets: Targets, floor: Float[Array, ""]
) -> Float[Array, "m K"]:
    """(1 - Kε) `mixed` + ε over the K options that each question has, ε being `floor`."""
    options = targets.options.astype(mixed.dtype)
    share = 1 - floor * jnp.sum(options, axis=1, keepdims=True)
    return share * mixed + floor * options
