"""The compiled pieces of choosing a penalty: out-of-sample errors of k candidates at once.

Candidates are one calibrator whose array leaves have a leading axis (k,). They run under `vmap` on
accelerators and one after the other in one loop on a CPU; either way they are traced once.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..calibration.calibrate import finish
from ..calibration.calibrators import Calibrator, MatrixCompletion, Ridge, SyntheticIntervention
from ..calibration.imputation import impute_donors
from ..calibration.problem import Regression, Stack, question_regression, question_stack
from ..calibration.settings import Settings
from ..inference.alike import alike
from ..panel import PanelArrays, Responses
from ..solvers.precision import full_precision
from ..solvers.ridge import ridge_loo_residuals
from ..solvers.solution import Status
from . import folds
from .folds import over_batch


class Errors(NamedTuple):
    """Errors of k candidates on t questions (k, t), their mean and its standard error (k,).

    Errors are NaN where the twins, or the humans whose answers are the truth, all answer alike:
    the mean leaves those questions out. `converged` (k,): whether every fit of the candidate
    converged. `imputation_status`: the worst status of the imputations before them.
    """

    mean: Float[Array, " k"]
    se: Float[Array, " k"]
    by_question: Float[Array, "k t"]
    converged: Bool[Array, " k"]
    imputation_status: Int[Array, ""]


class TwinData(NamedTuple):
    """The twins' donors (imputed for regressions) and targets; the humans' donors; user weights.

    `imputation_status`: of the donors' imputation; `CONVERGED` if they need none.
    """

    human: Responses
    donors: Responses
    targets: Responses
    weight: Float[Array, " n"]
    imputation_status: Int[Array, ""]


def has_closed_form(method: Calibrator) -> bool:
    """Whether leave-one-out residuals of the method need no refits."""
    return type(method) in (Ridge, SyntheticIntervention)


def _ended_well(status: Int[Array, "*batch"]) -> Bool[Array, "*batch"]:
    return (status == int(Status.CONVERGED)) | (status == int(Status.FIXED_STEPS))


def twin_data(
    method: Calibrator,
    human: Float[Array, "n m"],
    twin: Float[Array, "n _"],
    targets: Int[Array, " t"],
    weight: Float[Array, " n"] | None,
    settings: Settings,
) -> TwinData:
    """What all candidates share; imputation is the expensive part.

    **Arguments:**

    - `method`: any of the candidates, since only their kind matters.
    - `human`: (n, m) human answers, NaN where missing.
    - `twin`: the twins' answers, the m known questions first.
    - `targets`: columns of `twin`.
    - `weight`: (n,) weights of the users; `None` if equal.
    - `settings`: see [`Settings`][].
    """
    humans, twins = Responses.from_nan(human), Responses.from_nan(twin)
    donors, status = twins.columns(slice(None, human.shape[1])), jnp.int32(Status.CONVERGED)
    if not isinstance(method, MatrixCompletion):
        donors, status = impute_donors(donors, weight, settings)
    weight = jnp.ones((human.shape[0],), human.dtype) if weight is None else weight
    return TwinData(humans, donors, twins.columns(targets), weight, status)


def _twins_in_the_humans_place(
    method: Calibrator, data: TwinData, target: Responses, settings: Settings
) -> tuple[Regression | Stack, Float[Array, " n"]]:
    """A problem whose "human" prediction is that for the twins, and the scaled truth."""
    donors, weight = data.donors, data.weight
    if not isinstance(method, MatrixCompletion):
        problem = question_regression(donors, donors, target, weight, settings)
        return problem, problem.y_twin
    stack = question_stack(data.human, donors, target, weight, settings)
    n = target.shape[0]
    swapped = dataclasses.replace(
        stack, values=jnp.roll(stack.values, n, axis=0), mask=jnp.roll(stack.mask, n, axis=0)
    )
    return swapped, swapped.values[:n, -1]


def _hide(problem: Regression | Stack, out: Bool[Array, " n"]) -> Regression | Stack:
    """The problem without the twins' answers to the target where `out`; shapes stay."""
    if isinstance(problem, Regression):
        kept = jnp.where(out, 0, problem.weight)
        return dataclasses.replace(problem, weight=kept, moments=None).with_moments()
    n = out.shape[0]
    return dataclasses.replace(
        problem, mask=problem.mask.at[:n, -1].set(problem.mask[:n, -1] & ~out)
    )


def _predict_held_out(methods, problem, held_out, settings, vectorised):
    """Every user's prediction from the fit without its fold (k, n), and whether fits converged."""

    def one_fold(out):
        rest = _hide(problem, out)

        def fit(method):
            result = method.fit(rest, settings)
            return jnp.where(out, result.value.prediction[:, 0], 0), _ended_well(result.status)

        return over_batch(fit, methods, vectorised)

    # Folds are disjoint: the sum joins each fold's predictions for its own users.
    prediction, ended_well = jax.lax.map(one_fold, held_out)
    return jnp.sum(prediction, axis=0), jnp.all(ended_well, axis=0)


def _leave_one_out(methods, problem: Regression):
    """Leave-one-user-out residuals (k, n) in closed form, all penalties from one factorisation."""
    x, y, weight = problem.training_set()
    if isinstance(methods, SyntheticIntervention):
        x = x @ methods.directions(problem)
    solution = ridge_loo_residuals(x, y, methods.penalty, sample_weight=weight)
    return solution.value, _ended_well(solution.status)


@full_precision
def twin_errors(
    methods: Calibrator,
    data: TwinData,
    held_out: Bool[Array, "f n"] | None,
    settings: Settings,
    vectorised: bool,
) -> Errors:
    """Out-of-sample errors of the twins' targets, in units of each target's variance.

    A user left out still takes part in the scaling of the columns; only its answer to the target
    is unknown to the fit. The standard error is over users. Differentiable in the leaves of
    `methods`. A target that all twins answer alike has error NaN and is not in the mean, since
    every fit to it is perfect.

    **Arguments:**

    - `methods`: the stacked candidates.
    - `data`: what [`twin_data`][] prepared.
    - `held_out`: (f, n) folds of users, or `None` for leave-one-out in closed form.
    - `settings`: see [`Settings`][].
    - `vectorised`: see [`over_batch`][].
    """

    def one(target: Responses):
        problem, truth = _twins_in_the_humans_place(methods, data, target, settings)
        if held_out is None and isinstance(problem, Regression):
            residual, ended_well = _leave_one_out(methods, problem)
        else:
            prediction, ended_well = _predict_held_out(
                methods, problem, held_out, settings, vectorised
            )
            residual = truth[None, :] - prediction
        weight = jnp.where(target.mask, data.weight, 0)
        square = jnp.where(jnp.isfinite(residual), residual**2, jnp.inf)
        share = weight / jnp.sum(weight)
        counted = jnp.where(weight[None, :] > 0, square, 0)
        error = counted @ share
        return error, share[None, :] * (counted - error[:, None]), ended_well, problem.twins_alike

    error, influence, ended_well, twins_alike = jax.lax.map(one, data.targets.T)
    judged = ~twins_alike.reshape(-1)
    share = judged.astype(error.dtype) / jnp.maximum(jnp.sum(judged, dtype=error.dtype), 1)
    # A weighted mean's influences add up to zero: their spread is its standard error.
    influence = jnp.tensordot(share, jnp.where(judged[:, None, None], influence, 0), 1)
    answered = jnp.any(data.targets.mask & judged[None, :], axis=1)
    users = jnp.sum(answered & (data.weight > 0), dtype=error.dtype)
    spread = jnp.sum(influence**2, axis=1) * users / jnp.maximum(users - 1, 1)
    se = jnp.where(spread > 0, jnp.sqrt(jnp.where(spread > 0, spread, 1)), spread)
    mean = share @ jnp.where(judged[:, None], error, 0)
    mean, se = (jnp.where(jnp.any(judged), value, jnp.nan) for value in (mean, se))
    error = jnp.where(judged[:, None], error, jnp.nan)
    ended_well = jnp.all(ended_well | ~judged[:, None], axis=0)
    return Errors(mean, se, error.T, ended_well, data.imputation_status)


def _centred(values: Float[Array, " n"], share: Float[Array, " n"]):
    """Deviations from the weighted mean, and their variance; 0 if rounding alone explains it."""
    values = jnp.where(share > 0, values, 0)
    deviation = jnp.where(share > 0, values - jnp.dot(share, values), 0)
    deviation = jnp.where(share > 0, deviation - jnp.dot(share, deviation), 0)
    variance = jnp.dot(share, deviation**2)
    rounding = 16 * jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values))
    varies = (variance > rounding**2) & ~alike(values, share > 0, 0)
    return deviation, jnp.where(varies, variance, 0)


def relative_error(prediction, truth, weight, metric: str) -> Float[Array, ""]:
    """Squared error over the truth's variance, or 1 - correlation.

    NaN where the truth does not vary, infinite where the fit failed.
    """
    total = jnp.sum(weight)
    share = weight / jnp.where(total > 0, total, 1)
    y, variance = _centred(truth, share)
    safe = jnp.where(variance > 0, variance, 1)
    if metric == "mse":
        error = jnp.dot(share, jnp.where(share > 0, truth - prediction, 0) ** 2) / safe
    else:
        x, spread = _centred(prediction, share)
        error = 1 - jnp.dot(share, x * y) / jnp.sqrt(safe * jnp.where(spread > 0, spread, 1))
    error = jnp.where(jnp.all(jnp.isfinite(prediction)), error, jnp.inf)
    return jnp.where(variance > 0, error, jnp.nan)


@full_precision
def question_errors(
    methods: Calibrator,
    panel: PanelArrays,
    targets: Int[Array, " t"],
    weight: Float[Array, " n"] | None,
    metric: str,
    settings: Settings,
    vectorised: bool,
) -> tuple[Float[Array, "t k"], Bool[Array, " k"], Int[Array, ""]]:
    """Errors of the predicted human answers to known questions, each left out in turn.

    **Arguments:**

    - `methods`: the stacked candidates.
    - `panel`: humans and twins on the known questions.
    - `targets`: positions of the questions left out.
    - `weight`: (n,) weights of the users; `None` if equal.
    - `metric`: `"mse"` (relative to the truth's variance) or `"pearson"` (1 - correlation).
    - `settings`: see [`Settings`][].
    - `vectorised`: see [`over_batch`][].

    **Returns:** the errors, whether every fit of a candidate converged, and the worst status of
    the imputations.
    """

    def one(j):
        if isinstance(methods, MatrixCompletion):
            batch = folds.question_stacks(panel, j[None], weight, settings, False), jnp.int32([0])
        else:
            batch = folds.question_regressions(panel, j[None], weight, settings, False)
        problem, code = jax.tree.map(lambda leaf: leaf[0], batch)

        def fit(method):
            outcome = finish(problem, method.fit(problem, settings), code, None, settings)
            return outcome.prediction[:, 0], _ended_well(outcome.status[0])

        prediction, ended_well = over_batch(fit, methods, vectorised)
        truth = panel.human.columns(j)
        judged = truth.mask.astype(truth.dtype)
        judged = judged if weight is None else judged * weight
        judge = jax.vmap(lambda row: relative_error(row, truth.values, judged, metric))
        # Where all twins answer alike, no candidate can be judged.
        error = jnp.where(problem.twins_alike, jnp.nan, judge(prediction))
        return error, ended_well, code

    error, ended_well, code = jax.lax.map(one, targets)
    return error, jnp.all(ended_well | jnp.isnan(error), axis=0), jnp.max(code)
