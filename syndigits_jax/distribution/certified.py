"""Ensemble weights solved to a certificate: an objective and a lower bound on the best one."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..solvers.precision import full_precision
from ..solvers.simplex import uniform_weights
from ..solvers.simplex_convex import minimize_on_simplex
from ..solvers.simplex_entropic import entropic_gap, minimize_with_entropy
from ..solvers.solution import status_code
from .design import Design, spread
from .objective import Targets, smoothed, touching, unit_of, value

FIRST_WIDTH = 0.03
NARROWER = 1 / 3
LAST_WIDTH = 1e-6


class Penalties(eqx.Module):
    """What is added to the divergence: `ridge` · ‖w‖² + `entropy` · KL(w ‖ base).

    `floor`: ε of Q_ε = (1 - Kε) Q + ε, which keeps χ² and KL finite where no twin has an option.
    """

    ridge: Float[Array, "*batch"]
    entropy: Float[Array, "*batch"]
    floor: Float[Array, "*batch"]


class Fit(eqx.Module):
    """Weights over twins and dummies, and what is known of their optimality.

    - `weights`: (n + K,).
    - `objective`: the objective at the weights, penalties included; `divergence`: without them.
    - `lower_bound`: no weights have a smaller objective. A margin for rounding is subtracted.
    - `start`: the objective at the base.
    - `status`, `steps`: of the solver, all stages together.
    - `gap`: (objective - lower_bound) / (start - objective).
    """

    weights: Float[Array, "*batch w"]
    objective: Float[Array, "*batch"]
    divergence: Float[Array, "*batch"]
    lower_bound: Float[Array, "*batch"]
    start: Float[Array, "*batch"]
    status: Int[Array, "*batch"]
    steps: Int[Array, "*batch"]
    gap: Float[Array, "*batch"]


class _State(eqx.Module):
    weights: Float[Array, " w"]
    objective: Float[Array, ""]
    bound: Float[Array, ""]
    width: Float[Array, ""]
    steps: Int[Array, ""]
    stages: Int[Array, ""]


@full_precision
def certified_fit(
    name: str,
    targets: Targets,
    design: Design,
    support: Bool[Array, " w"],
    penalties: Penalties,
    *,
    base: Float[Array, " w"] | None = None,
    entropic: bool = False,
    tol: float | Float[Array, ""] = 1e-3,
    max_steps: int = 4000,
    max_stages: int = 12,
) -> Fit:
    """Minimise a divergence over the weights on `support`, to a relative gap of `tol`.

    Smooth divergences are minimised directly; TV, KS and ℓ1 through ever narrower smoothings
    (Nesterov 2005), each started from the last. The lower bound is that of the linear function that
    touches the objective, so it holds whatever the smoothing.

    It is a function of arrays only, for use under `jit` and `vmap`, for instance over question
    weights in `targets.weight`, over `support` and over `penalties`; nothing is checked. The loop
    has no reverse-mode gradient.

    **Arguments:**

    - `name`: the divergence, one of `DIVERGENCES`; static.
    - `targets`, `design`, `support`: from `make_targets`, `make_design` and `support_of`.
    - `penalties`: ridge, entropy and floor, each a scalar.
    - `base`: (n + K,) where the fit starts and what the entropy is relative to; uniform on
      `support` by default.
    - `entropic`: whether `penalties.entropy` is positive; static.
    - `tol`: the gap to reach, relative to the improvement over the start.
    - `max_steps`: largest number of solver steps per stage, that is per width of the smoothing.
    - `max_stages`: largest number of stages.

    **Returns:** a [`Fit`][]; its `status` says whether the gap was reached.

    **Raises:** `ValueError` for another `name`.

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
    u = uniform_weights(support, targets.p.dtype) if base is None else base
    u = spread(design, jnp.where(support, u, 0) / jnp.sum(jnp.where(support, u, 0)))
    tol = jnp.asarray(tol, u.dtype)
    options = targets.options.astype(u.dtype)
    # Cells that no weight reaches add a constant, which may exceed any improvement a thousandfold.
    reached = design.mix(u) > 0
    whole, targets = targets, without_entropy(name, targets, reached)

    def distributions(w):
        share = 1 - penalties.floor * jnp.sum(options, axis=1, keepdims=True)
        return share * design.mix(w) + penalties.floor * options

    def entropy(w):
        if not entropic:
            return jnp.zeros((), w.dtype)
        return penalties.entropy * _kl(w, u)

    def objective(w):
        extra = penalties.ridge * jnp.dot(w, w) + entropy(w)
        return value(name, targets, distributions(w)) + extra

    def smooth(w, width):
        q = distributions(w)
        return smoothed(name, targets, q, width) + penalties.ridge * jnp.dot(w, w)

    def lower_bound(w, width):
        gradient = jax.grad(smooth)(w, width)
        line = touching(name, targets, distributions(w), width) + penalties.ridge * jnp.dot(w, w)
        if entropic:
            return line + entropy(w) - entropic_gap(gradient, w, penalties.entropy, u)
        lowest = jnp.min(jnp.where(support, gradient, jnp.inf))
        return line - jnp.sum(jnp.where(support, w * (gradient - lowest), 0))

    start = objective(u)
    # Improvements below rounding do not count, so that a start that is optimal has converged.
    rounding = rounding_of(name, targets, start)
    error = rounding / ERROR_SHARE

    def wanted(state: _State) -> Array:
        return jnp.maximum(tol * (start - state.objective), rounding)

    def going(state: _State) -> Array:
        gap = state.objective - state.bound + error
        return (gap > wanted(state)) & (state.stages < max_stages) & (state.width > LAST_WIDTH)

    def stage(state: _State) -> _State:
        gap = state.objective - state.bound
        inner = jnp.maximum(0.3 * wanted(state), 0.03 * gap)

        def fun(w):
            return smooth(w, state.width)

        if entropic:
            solution = minimize_with_entropy(
                fun, state.weights, penalties.entropy, base=u, tol=inner, max_steps=max_steps
            )
        else:
            solution = minimize_on_simplex(
                fun,
                state.weights,
                support=support,
                tol=inner,
                scale=jnp.ones((), u.dtype),
                max_steps=max_steps,
            )
        w = solution.value
        new = objective(w)
        better = new < state.objective
        return _State(
            spread(design, jnp.where(better, w, state.weights)),
            jnp.where(better, new, state.objective),
            jnp.maximum(state.bound, lower_bound(w, state.width)),
            state.width * NARROWER,
            state.steps + solution.steps,
            state.stages + 1,
        )

    zero = jnp.zeros((), jnp.int32)
    width = jnp.full((), FIRST_WIDTH, u.dtype)
    state = _State(u, start, lower_bound(u, width), width, zero, zero)
    state = jax.lax.while_loop(going, stage, state)
    gap = jnp.maximum(state.objective - state.bound, 0) + error
    improvement = jnp.maximum(start - state.objective, rounding)
    divergence = value(name, whole, distributions(state.weights))
    # With a floor of 0, unreachable cells may make the divergence infinite for all weights.
    finite = jnp.isfinite(divergence) & jnp.all(jnp.isfinite(state.weights))
    constant = divergence - value(name, targets, distributions(state.weights))
    return Fit(
        spread(design, state.weights),
        state.objective + constant,
        divergence,
        jnp.minimum(state.bound, state.objective) - error + constant,
        start + constant,
        status_code(gap <= wanted(state), finite),
        state.steps,
        jnp.where(finite, gap / improvement, jnp.inf),
    )


ERROR_SHARE = 4
"""Rounding may raise a lower bound by [`rounding_of`][] over this."""


def rounding_of(name: str, targets: Targets, start: Float[Array, ""]) -> Float[Array, ""]:
    """The largest change that rounding may cause in an objective of value `start` at the base."""
    return jnp.finfo(start.dtype).eps * (32 * jnp.abs(start) + 4 * unit_of(name, targets))


def without_entropy(name: str, targets: Targets, reached: Bool[Array, "m K"]) -> Targets:
    """For divergences that are sums over cells, `targets` with shares of 0 where not `reached`."""
    if name not in ("chi2", "kl", "hellinger"):
        return targets
    p = jnp.where(reached, targets.p, 0)
    return Targets(p, targets.weight, targets.options, targets.values)


def _kl(w: Array, u: Array) -> Array:
    positive = (w > 0) & (u > 0)
    ratio = jnp.where(positive, w, 1) / jnp.where(positive, u, 1)
    return jnp.sum(jnp.where(positive, w * jnp.log(ratio), 0))
