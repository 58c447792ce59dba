"""Calibration of probabilities on known questions: temperature, vector and ordinal scaling.

Forecasts may be too sure, or prefer some options. A map with a few numbers, shared by all questions
with the same options, is fitted by maximum likelihood to known answers and applied to new ones.
All three problems are convex. `probabilities` (..., n, k) and `answers` (..., n) are those of
[`option_forecasts`][syndigits_jax.evaluation.option_forecasts], each question with all k options.
"""

import functools
from collections.abc import Iterable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from ..solvers.boundary import Numbers, as_float, concrete
from ..solvers.checks import check_fraction, check_penalty, check_scalar, check_steps
from ..solvers.precision import full_precision
from ..solvers.solution import Solution, status_code
from .option_forecasts import as_probabilities, scored_cells, smoothed

FLOOR = 1e-3
"""The share of the uniform forecast that is mixed in before logarithms are taken."""

_HALVINGS = 40


class Scaling(eqx.Module):
    """A map of probabilities to probabilities, to be called; the identity has slope 1 and shift 0.

    - `slope`, `shift`: of the map: numbers, or (k,) for `"vector"`.
    - `floor`: the share of the uniform forecast that is mixed in first.
    - `kind`: see [`fit_probability_calibration`][].
    """

    slope: Float[Array, "*k"]
    shift: Float[Array, "*k"]
    floor: Float[Array, ""]
    kind: str = eqx.field(static=True)

    def __call__(self, probabilities: Numbers) -> Float[Array, "*rows k"]:
        """Calibrated probabilities (..., k); rows of NaN stay. **Raises:** `ValueError` for what
        is no distribution, or has another number of options.
        """
        p = as_probabilities("probabilities", probabilities).astype(self.floor.dtype)
        if self.kind == "vector" and p.shape[-1] != self.slope.shape[-1]:
            raise ValueError(
                f"`probabilities` have {p.shape[-1]} options, the calibration "
                f"{self.slope.shape[-1]}"
            )
        return jnp.exp(_log_probabilities(self, jnp.log(smoothed(p, self.floor))))


def _log_probabilities(scaling: Scaling, logs: Float[Array, "*rows k"]) -> Float[Array, "*rows k"]:
    """Logarithms of calibrated probabilities from logarithms of given ones."""
    if scaling.kind != "ordinal":
        slope, shift = (jnp.broadcast_to(x, logs.shape) for x in (scaling.slope, scaling.shift))
        return jax.nn.log_softmax(slope * logs + shift, axis=-1)
    # Cumulative logits of every option but the last, from both tails so that neither is lost.
    below = lax.cumlogsumexp(logs, axis=logs.ndim - 1)[..., :-1]
    above = lax.cumlogsumexp(logs, axis=logs.ndim - 1, reverse=True)[..., 1:]
    cut = scaling.slope * (below - above) - scaling.shift
    # σ(u) - σ(v) = σ(u) σ(-v) (1 - exp(v - u)); u is infinite at the last option, -v at the first.
    upper = jnp.pad(jax.nn.log_sigmoid(cut), [(0, 0)] * (cut.ndim - 1) + [(0, 1)])
    lower = jnp.pad(jax.nn.log_sigmoid(-cut), [(0, 0)] * (cut.ndim - 1) + [(1, 0)])
    gap = cut[..., :-1] - cut[..., 1:]
    inner = jnp.log(-jnp.expm1(gap))
    return upper + lower + jnp.pad(inner, [(0, 0)] * (cut.ndim - 1) + [(1, 1)])


def _parameters(kind: str, size: int) -> int:
    return {"temperature": 1, "vector": 2 * size, "ordinal": 2}[kind]


def _scaling(kind: str, free: Float[Array, " p"], floor: Float[Array, ""]) -> Scaling:
    """The map with these deviations from the identity."""
    if kind == "temperature":
        return Scaling(1 + free[0], jnp.zeros_like(free[0]), floor, kind)
    if kind == "ordinal":
        return Scaling(1 + free[0], free[1], floor, kind)
    slope, shift = jnp.split(free, 2)
    return Scaling(1 + slope, shift, floor, kind)


def _newton(kind, logs, y, weight, penalty, floor, tol, max_steps) -> Solution[Scaling]:
    """Newton's method with step halving, from the identity."""
    count = jnp.sum(weight > 0, dtype=logs.dtype)
    share = weight / jnp.where(count > 0, jnp.sum(weight), 1)

    def objective(free):
        found = _log_probabilities(_scaling(kind, free, floor), logs)
        chosen = jnp.take_along_axis(found, y[..., None], axis=-1)[..., 0]
        loss = -jnp.sum(share * jnp.where(share > 0, chosen, 0))
        return loss + penalty / (2 * jnp.maximum(count, 1)) * jnp.sum(free**2)

    slope_of, curvature = jax.grad(objective), jax.hessian(objective)
    start = jnp.zeros((_parameters(kind, logs.shape[-1]),), logs.dtype)
    eye = jnp.eye(start.shape[0], dtype=logs.dtype)
    rounding = 16 * jnp.finfo(logs.dtype).eps

    def body(carry):
        step, free, value, gradient, _ = carry
        hessian = curvature(free)
        ridge = 1e-6 * jnp.trace(hessian) / start.shape[0] + jnp.finfo(logs.dtype).tiny
        move = -jnp.linalg.solve(hessian + ridge * eye, gradient)
        descent = jnp.dot(move, gradient)

        def worse(state):
            halvings, size = state
            reached = objective(free + size * move)
            # Comparisons with NaN are false: outside the domain the step is halved too. Near the
            # optimum the objective does not fall by more than its rounding.
            allowed = value + 1e-4 * size * descent + rounding * jnp.abs(value)
            return (halvings < _HALVINGS) & ~(reached <= allowed)

        def halve(state):
            return state[0] + 1, state[1] / 2

        begin = (jnp.int32(0), jnp.ones((), logs.dtype))
        halvings, size = lax.while_loop(worse, halve, begin)
        moved = halvings < _HALVINGS
        free = jnp.where(moved, free + size * move, free)
        return step + 1, free, objective(free), slope_of(free), moved

    def unfinished(carry):
        step, _, _, gradient, moved = carry
        return (step < max_steps) & moved & (jnp.max(jnp.abs(gradient)) > tol)

    first = (jnp.int32(0), start, objective(start), slope_of(start), jnp.asarray(True))
    step, free, value, gradient, _ = lax.while_loop(unfinished, body, first)
    size = jnp.max(jnp.abs(gradient))
    # Where no step lowers the objective any more, rounding is all that is left.
    converged = size <= jnp.maximum(tol, 64 * jnp.finfo(logs.dtype).eps)
    finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(free)) & (count > 0)
    return Solution(_scaling(kind, free, floor), status_code(converged, finite), step, size)


def _prepared(kind, probabilities, answers, mask, sample_weight, floor, check: bool):
    if kind not in ("temperature", "vector", "ordinal"):
        raise ValueError(f"`kind` must be 'temperature', 'vector' or 'ordinal', got {kind!r}")
    check_scalar("floor", floor)
    check_fraction("floor", floor)
    p, y, weight = scored_cells(probabilities, answers, mask=mask, sample_weight=sample_weight)
    floor = as_float("floor", floor).astype(p.dtype)
    if check and concrete(p) is not None:
        _refuse_degenerate(np.asarray(p), np.asarray(y), np.asarray(weight))
    return jnp.log(smoothed(p, floor)), y, weight, floor


def _refuse_degenerate(p: np.ndarray, y: np.ndarray, weight: np.ndarray) -> None:
    used = weight > 0
    if not used.any():
        raise ValueError("`answers`: no answer with a forecast is left to learn from")
    if np.ptp(y[used]) == 0:
        raise ValueError(
            f"`answers` are all option {y[used][0]}: a calibration that forecasts it for certain "
            "would fit best, so there is nothing to learn"
        )
    rows = p[used]
    if np.all(np.abs(rows - rows[:1]) <= 1e-6):
        raise ValueError(
            "`probabilities` are the same for everybody and every question: the shares of answers "
            "are their calibration"
        )


@full_precision
def fit_probability_calibration(
    kind: str,
    probabilities: Numbers,
    answers: Numbers,
    *,
    mask: Numbers | None = None,
    sample_weight: Numbers | None = None,
    penalty: Numbers = 1.0,
    floor: Numbers = FLOOR,
    tol: float | None = None,
    max_steps: int | Int[Array, ""] = 50,
) -> Solution[Scaling]:
    """Fit a map of probabilities to the known answers by maximum likelihood.

    - `"temperature"`: softmax(slope · log p). One number; 1 / slope is the temperature of Guo et
      al. (2017). It makes forecasts flatter (slope below 1) or sharper.
    - `"vector"`: softmax(slope_k · log p_k + shift_k), their vector scaling: for options that are
      preferred or avoided.
    - `"ordinal"`: logit P(at most j) = slope · logit F_j - shift, F the given distribution
      function: for ordered options, a scale and a shift along them (as in proportional odds).

    **Arguments:**

    - `kind`: which map.
    - `probabilities`: (..., n, k); `answers`: (..., n) positions of options; `mask`: (..., n), true
      for the answers to learn from; `sample_weight`: (n,).
    - `penalty`: of half the squared distance from the identity, where the log score of one answer
      counts 1; not negative.
    - `floor`: the share of the uniform forecast that is mixed in first, as log 0 is infinite.
    - `tol`: the largest derivative of the mean log score at which Newton's method stops; by default
      100 eps. `max_steps`: most of its steps.

    **Returns:** a [`Solution`][syndigits_jax.solvers.Solution] with a [`Scaling`][], to be called
    with other probabilities. `optimality` is the largest derivative.

    **Raises:** `ValueError` for an unknown kind, forecasts, answers, weights or settings that do
    not fit and, where the numbers are known, nothing to learn from: no answer, all answers alike,
    or one forecast for all.

    **Example:**

        >>> from syndigits_jax.evaluation import fit_probability_calibration
        >>> forecasts = [[0.99, 0.01]] * 10 + [[0.01, 0.99]] * 10  # sure, and right in 8 of 10
        >>> answers = [0] * 8 + [1] * 2 + [1] * 8 + [0] * 2
        >>> scaling = fit_probability_calibration("temperature", forecasts, answers).value
        >>> print(scaling([0.99, 0.01]).round(2))
        [0.81 0.19]
    """
    check_scalar("penalty", penalty)
    check_penalty("penalty", penalty)
    check_steps(max_steps)
    logs, y, weight, floor = _prepared(
        kind, probabilities, answers, mask, sample_weight, floor, True
    )
    limit, strength = _settings(tol, penalty, logs.dtype)
    data = logs, y, weight, strength, floor, limit
    return _fitted(*data, jnp.asarray(max_steps, jnp.int32), kind)


@functools.partial(jax.jit, static_argnames="kind")
@full_precision
def _fitted(logs, y, weight, penalty, floor, tol, max_steps, kind: str) -> Solution[Scaling]:
    return _newton(kind, logs, y, weight, penalty, floor, tol, max_steps)


def _settings(tol, penalty, dtype) -> tuple[Array, Array]:
    limit = 100 * float(jnp.finfo(dtype).eps) if tol is None else tol
    return jnp.asarray(limit, dtype), as_float("penalty", penalty).astype(dtype)


@full_precision
def nested_probability_calibration(
    kind: str,
    probabilities: Numbers,
    answers: Numbers,
    groups: Iterable[Any],
    *,
    without: Numbers | None = None,
    mask: Numbers | None = None,
    sample_weight: Numbers | None = None,
    penalty: Numbers = 1.0,
    floor: Numbers = FLOOR,
    tol: float | None = None,
    max_steps: int | Int[Array, ""] = 50,
) -> Solution[Float[Array, "t n k"]]:
    """Every question's forecasts, calibrated on the questions of the other groups.

    No answer of a group plays a part in the calibration of its own forecasts: other answers there
    change nothing, bit for bit. That holds for the result as a whole if the forecasts given were
    made without them. Those of raw twins are; a method that learns from known questions made those
    of one group from the answers of another, and needs `without`.

    **Arguments:**

    - `kind`, `mask`, `sample_weight`, `penalty`, `floor`, `tol`, `max_steps`: as in
      [`fit_probability_calibration`][].
    - `probabilities`: (t, n, k) forecasts of t questions, each made without its own group;
      `answers`: (t, n).
    - `groups`: (t,) which questions are left out together: questions themselves, folds, or blocks
      where new questions come from new ones.
    - `without`: (g, t, n, k) for each group, in sorted order, the forecasts of all questions made
      without that group's answers, from which its calibration is learnt; `probabilities` by
      default.

    **Returns:** a [`Solution`][syndigits_jax.solvers.Solution] of the (t, n, k) calibrated
    forecasts; `status`, `steps` and `optimality` are those of the g fits.

    **Raises:** `ValueError` as [`fit_probability_calibration`][], and for fewer than two groups.

    **Example:**

        >>> from syndigits_jax.evaluation import nested_probability_calibration
        >>> forecasts = [[[0.9, 0.1], [0.2, 0.8]]] * 3  # three questions, two people
        >>> answers = [[0, 1], [0, 0], [0, 1]]
        >>> found = nested_probability_calibration("temperature", forecasts, answers, [0, 1, 2])
        >>> print(found.value.shape, found.status)
        (3, 2, 2) [0 0 0]
    """
    check_scalar("penalty", penalty)
    check_penalty("penalty", penalty)
    check_steps(max_steps)
    logs, y, weight, floor = _prepared(
        kind, probabilities, answers, mask, sample_weight, floor, True
    )
    labels = list(groups)
    if logs.ndim != 3 or len(labels) != logs.shape[0]:
        raise ValueError(
            f"`groups` must name the group of every question of `probabilities` (t, n, k), got "
            f"{len(labels)} for shape {logs.shape}"
        )
    names, member = np.unique(np.asarray(labels), return_inverse=True)
    if len(names) < 2:
        raise ValueError("`groups`: at least two are needed to leave out one at a time")
    limit, strength = _settings(tol, penalty, logs.dtype)
    learnt = None
    if without is not None:
        given = as_probabilities("without", without).astype(logs.dtype)
        if given.shape != (len(names), *logs.shape):
            raise ValueError(
                f"`without` must have shape {(len(names), *logs.shape)}, got {given.shape}"
            )
        # What the answers of the own group decided is not read.
        missing = jnp.isnan(given)
        even = 1 / logs.shape[-1]
        learnt = jnp.log(smoothed(jnp.where(missing, even, given), floor))
    member = jnp.asarray(member)
    steps = jnp.asarray(max_steps, jnp.int32)
    given = as_probabilities("probabilities", probabilities).astype(logs.dtype)
    data = logs, y, weight, strength, floor, limit
    return _without_own(data, learnt, member, given, steps, kind, len(names))


@functools.partial(jax.jit, static_argnames=("kind", "groups"))
@full_precision
def _without_own(data, learnt, member, given, max_steps, kind: str, groups: int):
    """The forecasts `given`, of every group by a fit without it."""
    logs, y, weight, strength, floor, limit = data

    def one(item: tuple) -> Solution[Scaling]:
        group, own = item
        kept = (member != group)[:, None]
        return _newton(
            kind,
            logs if own is None else own,
            jnp.where(kept, y, 0),
            jnp.where(kept, weight, 0),
            strength,
            floor,
            limit,
            max_steps,
        )

    fits = lax.map(one, (jnp.arange(groups), learnt))
    mine = jax.tree.map(lambda leaf: leaf[member], fits.value)
    value = jax.vmap(lambda scaling, p: scaling(p))(mine, given)
    return Solution(value, fits.status, fits.steps, fits.optimality)
