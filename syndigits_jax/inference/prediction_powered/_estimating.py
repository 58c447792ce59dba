"""Estimating equations of regressions with proxies, and Newton's method for them."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ...solvers.solution import Solution, Status, status_code
from ._inputs import Rows
from ._parts import HIGHEST_LEVERAGE, by_cluster

Model = Literal["linear", "logistic"]
_LARGEST_CHANGE = 3.0  # of a linear predictor in one step of Newton's method


class Problem(NamedTuple):
    """A regression of the people asked (weights `share`) among everybody (weights `of_all`)."""

    x: Float[Array, "n d"]
    rows: Rows
    share: Float[Array, " n"]
    of_all: Float[Array, " n"]
    model: Model

    def mean(self, coef: Float[Array, " d"]) -> Float[Array, " n"]:
        eta = self.x @ coef
        return eta if self.model == "linear" else jax.nn.sigmoid(eta)

    def slope(self, mean: Float[Array, " n"]) -> Float[Array, " n"]:
        return jnp.ones_like(mean) if self.model == "linear" else mean * (1 - mean)

    def hessian(self, mean: Float[Array, " n"], weight: Float[Array, " n"]) -> Float[Array, "d d"]:
        return (self.x * (weight * self.slope(mean))[:, None]).T @ self.x

    def weights(self, tuned: Float[Array, " p"]) -> Float[Array, " n"]:
        """The weight of each row's mean in the estimating equations."""
        total = jnp.sum(tuned)
        return (1 - total) * self.share + total * self.of_all

    def score(self, coef: Float[Array, " d"], tuned: Float[Array, " p"]) -> Float[Array, " d"]:
        proxy = self.rows.proxy @ tuned
        target = self.share * (self.rows.answer - proxy) + self.of_all * proxy
        return self.x.T @ (target - self.weights(tuned) * self.mean(coef))


def newton(
    problem: Problem, tuned: Float[Array, " p"], start: Float[Array, " d"], max_steps: int
) -> Solution[Float[Array, " d"]]:
    """Solve the estimating equations: in one step if they are linear, else by damped steps."""
    dtype = start.dtype
    tol = 64 * float(jnp.finfo(dtype).eps)
    weight = problem.weights(tuned)

    def step(coef: Array) -> tuple[Array, Array, Array]:
        mean = problem.mean(coef)
        score = problem.score(coef, tuned)
        move, singular = _solve(problem.hessian(mean, weight), score)
        return move, jnp.sqrt(jnp.maximum(score @ move, 0)), singular

    if problem.model == "linear":
        move, _, singular = step(jnp.zeros_like(start))
        more, decrement, _ = step(move)  # takes out what rounding left
        status = jnp.where(singular, int(Status.SINGULAR), int(Status.CONVERGED))
        coef = jnp.where(singular, jnp.nan, move + more)
        return Solution(coef, status.astype(jnp.int32), jnp.zeros((), jnp.int32), decrement)

    def going(state: tuple[Array, Array, Int[Array, ""], Array]) -> Array:
        _, decrement, steps, singular = state
        return (decrement > tol) & (steps < max_steps) & ~singular

    def body(state: tuple[Array, Array, Int[Array, ""], Array]):
        coef, _, steps, _ = state
        move, decrement, singular = step(coef)
        change = jnp.max(jnp.where(weight != 0, jnp.abs(problem.x @ move), 0))
        damped = move * jnp.minimum(1, _LARGEST_CHANGE / jnp.maximum(change, 1e-30))
        return coef + damped, decrement, steps + 1, singular

    state = (start, jnp.asarray(jnp.inf, dtype), jnp.zeros((), jnp.int32), jnp.zeros((), bool))
    coef, decrement, steps, singular = jax.lax.while_loop(going, body, state)
    # Separated answers: the solution is at infinity, and the decrement dwindles on the way there.
    eta = jnp.max(jnp.where(problem.share > 0, jnp.abs(problem.x @ coef), 0))
    apart = eta > -jnp.log(jnp.finfo(dtype).eps)
    finite = jnp.all(jnp.isfinite(coef)) & ~apart
    status = status_code(decrement <= tol, finite)
    status = jnp.where(singular & finite, int(Status.SINGULAR), status).astype(jnp.int32)
    coef = jnp.where(status == int(Status.CONVERGED), coef, jnp.nan)
    return Solution(coef, status, steps, decrement)


def _solve(matrix: Float[Array, "d d"], right: Float[Array, "d ..."]) -> tuple[Array, Array]:
    """matrix⁻¹ right in units of its diagonal, and whether the matrix is singular."""
    diagonal = jnp.diagonal(matrix)
    size = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1))
    scaled = matrix / size[:, None] / size[None, :]
    smallest = jnp.min(jnp.linalg.eigvalsh(scaled))
    singular = ~(smallest > 8 * scaled.shape[0] * jnp.finfo(matrix.dtype).eps)
    safe = jnp.where(singular, jnp.eye(matrix.shape[0], dtype=matrix.dtype), scaled)
    by = size if right.ndim == 1 else size[:, None]
    return jnp.linalg.solve(safe, right / by) / by, singular


def inverse(problem: Problem, mean: Array, weight: Array) -> Float[Array, "d d"]:
    """The inverse of the Hessian, NaN where it is singular."""
    matrix = problem.hessian(mean, weight)
    found, singular = _solve(matrix, jnp.eye(matrix.shape[0], dtype=matrix.dtype))
    return jnp.where(singular, jnp.nan, found)


def levers(problem: Problem, mean: Float[Array, " n"]) -> Float[Array, " n"]:
    """1 - leverage of every row (of its cluster) in the regression of the people asked."""
    moved = problem.x @ inverse(problem, mean, problem.share)
    lever = problem.share * problem.slope(mean) * jnp.sum(moved * problem.x, axis=1)
    rows = problem.rows
    each = by_cluster(lever, rows)
    each = each if rows.cluster is None else each[rows.cluster]
    return 1 - jnp.minimum(each, HIGHEST_LEVERAGE)
