"""An elastic-net problem in units of its own, and the `Solution` that its coefficients make."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ._elastic_net_gradient import attach_gradient
from ._elastic_net_loop import Outcome, minimise
from ._quadratic import DesignQuadratic, GramQuadratic, Quadratic
from .gram import gram_matrix
from .linear_model import GramStatistics, LinearModel, centre, extremes
from .solution import Solution, status_code
from .units import LARGEST_RATIO, divided, largest, power_of_two

# The gap of float32 iterates stalls at a few rounding errors of the null objective.
ROUNDING_ERRORS = 10


Data = tuple[Float[Array, "n p"], Float[Array, " n"], Float[Array, " n"] | None]


class Problem(NamedTuple):
    """The loss in units of `x_unit` and `y_unit`, powers of two, and what goes with it.

    - `x_raw` (p,), `y_raw`: mean squares of the data as they were given, in those units, which
      bound what rounding does to the loss
    """

    quadratic: Quadratic
    x_mean: Float[Array, " p"]
    y_mean: Float[Array, ""]
    x_unit: Float[Array, ""]
    y_unit: Float[Array, ""]
    x_raw: Float[Array, " p"]
    y_raw: Float[Array, ""]


def positive(total: Float[Array, ""]) -> Float[Array, ""]:
    """The total weight, or 1 where every weight is zero (the answer is then zero)."""
    return jnp.where(total == 0, 1, total)


def design_unit(unit: Float[Array, ""], l2: Float[Array, "..."]) -> Float[Array, ""]:
    """`unit`, or a larger one where a penalty would be out of range in its squares."""
    top = jnp.sqrt(jnp.max(jax.lax.stop_gradient(l2)))
    return jnp.maximum(unit, power_of_two(top) / LARGEST_RATIO)


def from_gram(stats: GramStatistics, l2: Float[Array, "..."]) -> Problem:
    total = positive(stats.weight_sum)
    gram, cross, square = (moment / total for moment in stats.moments())
    x_raw, y_raw = (square / total for square in stats.raw_squares())
    x_unit = design_unit(power_of_two(jnp.sqrt(jnp.max(jnp.diagonal(gram)))), l2)
    y_unit = power_of_two(jnp.sqrt(square))
    quadratic = GramQuadratic(
        gram / x_unit / x_unit, cross / x_unit / y_unit, square / y_unit / y_unit
    )
    raw = x_raw / x_unit / x_unit, y_raw / y_unit / y_unit
    return Problem(quadratic, stats.x_mean, stats.y_mean, x_unit, y_unit, *raw)


def _range(x, used, x_mean, centred: bool) -> Float[Array, ""]:
    """[`largest`][] of the rows in use about their means, of the extremes that centring finds."""
    top, low = extremes(x, used)
    size = jnp.maximum(top - x_mean, x_mean - low)
    return largest(jnp.where(top == low, 0, size) if centred else size)


def from_data(
    x, y, sample_weight, fit_intercept, l2: Float[Array, "..."], gram: bool | None = None
) -> Problem:
    """The loss as a Gram matrix or as its design; by default the cheaper one, by static shape."""
    xc, yc, w, x_mean, y_mean = centre(x, y, sample_weight, fit_intercept=fit_intercept)
    used = w > 0
    w = w / largest(w)
    w = w / positive(jnp.sum(w))
    x_unit = design_unit(_range(x, used, x_mean, fit_intercept), l2)
    y_unit = largest(jnp.where(used, yc, 0))
    if sample_weight is None:
        xc, yc = xc / x_unit, yc / y_unit
    else:
        xc, yc = divided(xc, x_unit, used[:, None]), divided(yc, y_unit, used)
    linear, constant = (w * yc) @ xc, jnp.dot(w, yc**2)
    if x.shape[0] >= x.shape[1] if gram is None else gram:
        quadratic = GramQuadratic(gram_matrix(w[:, None] * xc, xc), linear, constant)
    else:
        quadratic = DesignQuadratic(xc, yc, w, linear, constant)
    x_raw = w @ (jnp.where(used[:, None], x, 0) / x_unit) ** 2
    y_raw = jnp.dot(w, (jnp.where(used, y, 0) / y_unit) ** 2)
    return Problem(quadratic, x_mean, y_mean, x_unit, y_unit, x_raw, y_raw)


class Limits(NamedTuple):
    """Penalties in units of a problem, and when to stop: `tol` is at least what rounding allows."""

    l1: Float[Array, ""]
    l2: Float[Array, ""]
    tol: Float[Array, ""]
    max_steps: Int[Array, ""]


def limits(problem: Problem, alpha, l1_ratio, tol, max_steps) -> Limits:
    """From the arguments of a public function."""
    x_unit, y_unit = problem.x_unit, problem.y_unit
    eps = float(jnp.finfo(x_unit.dtype).eps)
    # All penalties above every gradient have the same solution. No gradient is above this one,
    # even in units that are too small: the square of its column would not be finite.
    l1 = jnp.minimum(alpha * l1_ratio / x_unit / y_unit, LARGEST_RATIO**2)
    l2 = alpha * (1 - l1_ratio) / x_unit / x_unit
    return Limits(l1, l2, jnp.maximum(tol, ROUNDING_ERRORS * eps), max_steps)


def finished(problem: Problem, limits: Limits, outcome: Outcome, coef) -> Solution[LinearModel]:
    """The result of an outcome, whose coefficients are `coef`, perhaps with derivatives."""
    eps, constant = float(jnp.finfo(coef.dtype).eps), problem.quadratic.constant
    # Rounding changes the loss by |r| |δr|, with δr a third of `eps` of the data. Its distance
    # from the minimum is known up to twice that.
    data = jax.lax.stop_gradient(jnp.dot(coef**2, problem.x_raw) + problem.y_raw)
    floor = 0.6 * eps * jnp.sqrt(outcome.residual * data)
    constant = jax.lax.stop_gradient(constant)
    null = jnp.where(constant > 0, constant, 1)
    optimality = jnp.maximum(outcome.gap, floor) / null
    coef = coef * (problem.y_unit / problem.x_unit)
    return Solution(
        value=LinearModel(coef, problem.y_mean - jnp.dot(problem.x_mean, coef)),
        status=status_code(outcome.converged & (floor <= limits.tol * null), outcome.finite),
        steps=outcome.steps,
        optimality=jnp.where(outcome.finite, optimality, jnp.nan),
    )


def solve(
    problem: Problem,
    alpha: Float[Array, ""],
    l1_ratio: Float[Array, ""],
    tol: Float[Array, ""],
    max_steps: Int[Array, ""],
    start: Float[Array, " p"],
) -> Solution[LinearModel]:
    """From a `start` in units of the problem, with derivatives."""
    known = limits(problem, alpha, l1_ratio, tol, max_steps)
    quadratic, (l1, l2, tol, _) = problem.quadratic, known
    fixed, fixed_l1, fixed_l2, start = jax.lax.stop_gradient((quadratic, l1, l2, start))
    outcome = minimise(fixed, fixed_l1, fixed_l2, start, tol=tol, max_steps=max_steps)
    coef = attach_gradient(outcome.coef, quadratic, l1, l2, outcome.largest)
    return finished(problem, known, outcome, coef)
