"""Calibrate new questions and new users. Traceable under `jit` and `grad`."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..panel import Responses
from ..solvers.boundary import Numbers
from ..solvers.checks import largest_answer
from ..solvers.precision import full_precision
from ..solvers.solution import Solution, Status
from .calibrators import Calibrator, FitAndTransfer, Fitted, MatrixCompletion
from .imputation import impute_donors_of
from .inputs import (
    answer_matrices,
    check_labels,
    check_method,
    check_missing,
    check_sizes,
    person_weight,
    threshold_per_target,
)
from .known_answers import learn_from_answers
from .problem import (
    Regression,
    Stack,
    question_regression,
    question_stack,
    user_regression,
    user_stack,
)
from .settings import Settings, resolve


class Calibrated(Solution[Float[Array, "..."]]):
    """Calibrated human answers to q new questions, or of q new users: a [`Solution`][] of q fits.

    - `prediction` (the solution's `value`): (n, q) for questions, (q, m) for users, on the scale of
      the answers.
    - `training_mse`: (q,) error of the fit on the twins, in scaled units (variances). NaN where
      `twins_alike`: a fit to a constant has no error and carries no information about the humans
      (`settings.fitting.alike_twins`).
    - `transferred`: (q,) whether the calibrated prediction was used. Where it was not,
      `prediction` is the twins' own answer (adaptive transfer, section 5.3), or the calibrated
      one where a twin gave no answer.
    - `status`, `steps`, `optimality`, `change`: (q,) of the solver for each target, as in
      [`Solution`][].
    - `imputation_status`: (q,) status of the donors' imputation, the worse of the humans' and the
      twins'. `CONVERGED` for matrix completions, which need no imputation.
    - `twins_alike`: (q,) whether the twins' answers to a new question, or a new user's twin's
      answers, are all alike up to rounding (raw, or once every question is scaled), or fewer
      than two. Twins of weight 0 do not count.
    """

    training_mse: Float[Array, " q"]
    transferred: Bool[Array, " q"]
    imputation_status: Int[Array, " q"]
    twins_alike: Bool[Array, " q"]

    def __init__(
        self,
        value: Float[Array, "..."],
        status: Int[Array, " q"],
        steps: Int[Array, " q"],
        optimality: Float[Array, " q"],
        change: Float[Array, " q"],
        *,
        training_mse: Float[Array, " q"],
        transferred: Bool[Array, " q"],
        imputation_status: Int[Array, " q"],
        twins_alike: Bool[Array, " q"],
    ):
        super().__init__(value, status, steps, optimality, change)
        self.training_mse = training_mse
        self.transferred = transferred
        self.imputation_status = imputation_status
        self.twins_alike = twins_alike

    @property
    def prediction(self) -> Any:  # an array; its shape alone under `jax.eval_shape`
        """The predictions: `value`."""
        return self.value

    def transposed(self) -> "Calibrated":
        """The same, with the axes of the predictions exchanged."""
        return dataclasses.replace(self, value=jnp.swapaxes(self.value, -1, -2))


def finish(
    problem: Regression | Stack,
    fit: Solution[Fitted],
    imputation_status: Int[Array, ""],
    observed: tuple[Array, Array] | None,
    settings: Settings,
) -> Calibrated:
    """Map a fit back to the answers' scale, corrected by known human answers.

    **Arguments:**

    - `problem`: what was fitted.
    - `fit`: the calibrator's [`Fitted`][] to it, for t targets.
    - `imputation_status`: of the donors' imputation.
    - `observed`: human answers to the targets and their weights, (s, t) each, with weight 0 where
      an answer is not known; `None` if no answer is known.
    - `settings`: see [`Fitting`][], and [`FewShot`][] where answers are known.

    **Returns:** [`Calibrated`][] with `prediction` (s, t), all of them transferred.
    """
    prediction, mse = fit.value.prediction, fit.value.training_mse
    centre, scale = problem.centre, problem.scale
    if centre.ndim == 1:
        centre, scale = centre[:, None], scale[:, None]
    if observed is not None:
        values, known = observed
        known_answers = (values - centre) / scale
        prediction = learn_from_answers(prediction, problem.donors, known_answers, known, settings)
    prediction = centre + scale * prediction
    finite = jnp.all(jnp.isfinite(prediction), axis=0)
    broken = ~finite | (imputation_status == int(Status.NONFINITE))

    def each(value) -> Array:
        return jnp.broadcast_to(value, mse.shape)

    twins_alike = each(problem.twins_alike)
    if settings.fitting.alike_twins == "unknown":
        mse = jnp.where(twins_alike, jnp.nan, mse)
    return Calibrated(
        prediction,
        jnp.where(broken, int(Status.NONFINITE), fit.status).astype(jnp.int32),
        each(fit.steps),
        each(fit.optimality),
        each(fit.change),
        training_mse=mse,
        transferred=jnp.ones(mse.shape, bool),
        imputation_status=each(jnp.asarray(imputation_status, jnp.int32)),
        twins_alike=twins_alike,
    )


def _differentiable(method: Calibrator, data):
    """The data, without gradient if the method has none: scaling and correction have none then."""
    return data if method.differentiable else jax.lax.stop_gradient(data)


def _decide(result: Calibrated, twin_prediction, threshold, axis) -> Calibrated:
    """The twins' own answers where the training error exceeds the threshold."""
    if threshold is None:
        return result
    transferred = result.training_mse <= threshold  # never for NaN
    keep = transferred[None, :] if axis == 0 else transferred[:, None]
    # A twin that gave no answer leaves nothing to revert to.
    use = keep | jnp.isnan(twin_prediction)
    prediction = jnp.where(use, result.prediction, twin_prediction)
    return dataclasses.replace(result, value=prediction, transferred=transferred)


def _read_by(settings: Settings, *groups: str) -> Settings:
    """The groups that a compiled function of a method reads."""
    return settings.only("preparation", "fitting", "few_shot", *groups)


@full_precision
def calibrate_question(
    method: Calibrator,
    human: Numbers,
    twin: Numbers,
    *,
    observed: Numbers | None = None,
    sample_weight: Numbers | None = None,
    threshold: Numbers | None = None,
    settings: Settings | None = None,
) -> Calibrated:
    """Predict the humans' answers to q new questions (Algorithms 1 and 2).

    **Arguments:**

    - `method`: one of the ten calibrators.
    - `human`: (n, m) human answers to the m known questions, NaN where missing.
    - `twin`: (n, m + q) their twins' answers, the known questions first, in the same order.
    - `observed`: (n, q) the human answers to the new questions that are known, NaN elsewhere
      (few-shot). The prediction is the model's even where an answer is known.
    - `sample_weight`: (n,) weights of the users. A weight of 2 repeats the user, so rescaling all
      weights rescales the penalty. A user of weight 0 is predicted but takes no part in the fit.
    - `threshold`: revert to the twins' answer where the training error exceeds it (section 5.3);
      one for all new questions, or (q,). By default the calibrated prediction is always used.
    - `settings`: see [`Settings`][].

    **Returns:** [`Calibrated`][] with `prediction` (n, q). The new questions do not inform each
    other: each is predicted as if it were the only one.

    Accepted, though of little use: users without any answer (predicted from the questions' means,
    or by the synthetic prior from their twin), known questions and users without any twin answer,
    and constant donors. Where all twins answer a new question alike, that answer is the
    prediction. The exceptions are the network, which only comes close to it, and synthetic
    control, which has no intercept and still predicts a mix of the donors.

    **Raises:** `ValueError` for shapes that do not fit, infinities, answers whose squares overflow
    their floating-point type, complex numbers, text, fewer than two users or questions, a question
    without any human answer, a new question without any twin answer, weights that are negative,
    not finite or all zero, a threshold that is NaN, or a rank beyond the matrix. What depends on
    values is not checked inside `jit`; there, a new question without any twin answer is predicted
    as NaN with status `NONFINITE`, as is everything where squares overflow.

    **Example:**

        >>> from syndigits_jax import Ridge, calibrate_question
        >>> human = [[1.0, 4.0], [2.0, 2.0], [4.0, 1.0], [5.0, 3.0]]
        >>> twin = [[1.0, 4.0, 5.0], [2.0, 2.0, 4.0], [4.0, 1.0, 5.0], [5.0, 3.0, 8.0]]
        >>> calibrated = calibrate_question(Ridge(0.001), human, twin)  # the third question is new
        >>> print(calibrated.prediction[:, 0].round(1), calibrated.training_mse < 0.01)
        [5. 4. 5. 8.] [ True]
    """
    settings = resolve(settings)
    check_method(method)
    check_labels(human, twin, 0)
    human, twin, observed = answer_matrices(human=human, twin=twin, observed=observed)
    n, m = human.shape
    check_sizes(human.shape, "human")
    if twin.shape[0] != n:
        raise ValueError(
            f"twin has {twin.shape[0]} rows and human {n}: both must hold the same users"
        )
    if twin.shape[1] <= m:
        raise ValueError(
            f"twin has {twin.shape[1]} columns and human {m}: twin must hold the human questions "
            "and, after them, at least one new question"
        )
    q = twin.shape[1] - m
    if observed is not None and observed.shape != (n, q):
        raise ValueError(f"`observed` must have shape {(n, q)}, got {observed.shape}")
    weight = person_weight(sample_weight, n, human.dtype)
    threshold = threshold_per_target(threshold, q, human.dtype)
    check_missing(human, twin[:, m:], 0, weight)
    data = _differentiable(method, (human, twin, observed, weight))
    result = _questions(method, *data, _filled(method, data, settings, 1), _read_by(settings))
    return _decide(result, twin[:, m:], threshold, 0)


def _filled(method: Calibrator, data: tuple, settings: Settings, axis: int):
    """The donors of a regression, along `axis`, from a program that all regressions share."""
    if not isinstance(method, FitAndTransfer):
        return None
    human, twin, _, weight = data
    return impute_donors_of(human, twin, weight, settings.only("imputation"), axis)


@jax.jit
def _questions(method, human, twin, observed, weight, filled, settings) -> Calibrated:
    m = human.shape[1]
    humans, twins = Responses.from_nan(human), Responses.from_nan(twin)
    donors, targets = twins.columns(slice(None, m)), twins.columns(slice(m, None)).T
    imputation = jnp.int32(Status.CONVERGED)
    if filled is not None:
        humans, donors, imputation = filled

    def solve(item):
        target, known = item
        build = question_regression if isinstance(method, FitAndTransfer) else question_stack
        problem: Any = build(humans, donors, target, weight, settings)
        seen = jax.tree.map(lambda x: x[:, None], known)
        return finish(problem, method.fit(problem, settings), imputation, seen, settings)

    known = jax.tree.map(jnp.transpose, _known(observed, weight))
    result = jax.tree.map(lambda leaf: leaf[..., 0], jax.lax.map(solve, (targets, known)))
    counted = targets.mask if weight is None else targets.mask & (weight > 0)[None, :]
    return _mark_unanswered(result, counted & _squares_fit(human, twin)).transposed()


def _squares_fit(*matrices):
    """Whether no answer is so large that its square overflows; inside `jit` too."""
    fit = jnp.asarray(True)
    for x in matrices:
        limit = jnp.asarray(largest_answer(x.size, x.dtype), x.dtype)
        fit = fit & ~jnp.any(jnp.abs(x) > limit)  # NaN, a missing answer, is not larger
    return fit


def _mark_unanswered(result: Calibrated, mask: Bool[Array, "q s"]) -> Calibrated:
    """NaN and `NONFINITE` for targets (q, s) without a usable answer, as `jit` cannot raise."""
    answered = jnp.any(mask, axis=1)
    return dataclasses.replace(
        result,
        value=jnp.where(answered[:, None], result.value, jnp.nan),
        training_mse=jnp.where(answered, result.training_mse, jnp.nan),
        status=jnp.where(answered, result.status, jnp.int32(Status.NONFINITE)),
    )


def _known(observed, weight):
    """Known human answers and their weights, 0 where not known; `None` if there are none."""
    if observed is None:
        return None
    seen = Responses.from_nan(observed)
    known = seen.mask.astype(observed.dtype)
    return seen.values, known if weight is None else known * weight[:, None]


@full_precision
def calibrate_user(
    method: Calibrator,
    human: Numbers,
    twin: Numbers,
    *,
    observed: Numbers | None = None,
    sample_weight: Numbers | None = None,
    threshold: Numbers | None = None,
    settings: Settings | None = None,
) -> Calibrated:
    """Predict the answers of q new users to the m questions (section 6).

    As [`calibrate_question`][] with users and questions exchanged.

    **Arguments:**

    - `method`: one of the ten calibrators.
    - `human`: (n, m) answers of the n known users, NaN where missing.
    - `twin`: (n + q, m) answers of the known users' twins, in the same order, and below them of
      the new users' twins.
    - `observed`: (q, m) answers of the new users themselves that are known, NaN elsewhere
      (few-shot).
    - `sample_weight`: (n,) weights of the known users where a mean is taken over people. They do
      not weigh donors, which are columns here: leave out users who must not be donors.
    - `threshold`: as in [`calibrate_question`][]; one for all new users, or (q,).
    - `settings`: see [`Settings`][].

    **Returns:** [`Calibrated`][] with `prediction` (q, m). The regressions predict each new user as
    if it were the only one. The completion methods complete one matrix with all of them, in which
    the new users' twins inform each other.

    **Raises:** `ValueError` as [`calibrate_question`][], and for a known user without any human
    answer, a new user whose twin gave none, and a question without any human answer.

    **Example:**

        >>> from syndigits_jax import Ridge, calibrate_user
        >>> human = [[1.0, 4.0, 2.0, 3.0], [2.0, 2.0, 4.0, 1.0], [4.0, 1.0, 3.0, 5.0]]
        >>> twin = [*human, [1.5, 3.0, 3.0, 2.0]]  # the last twin is that of a new user
        >>> calibrated = calibrate_user(Ridge(0.1), human, twin)
        >>> print(calibrated.prediction.shape, calibrated.transferred)
        (1, 4) [ True]
    """
    settings = resolve(settings)
    check_method(method)
    check_labels(human, twin, 1)
    human, twin, observed = answer_matrices(human=human, twin=twin, observed=observed)
    n, m = human.shape
    check_sizes(human.shape, "human")
    if twin.shape[1] != m:
        raise ValueError(
            f"twin has {twin.shape[1]} columns and human {m}: both must hold the same questions"
        )
    if twin.shape[0] <= n:
        raise ValueError(
            f"twin has {twin.shape[0]} rows and human {n}: twin must hold the human users' twins "
            "and, below them, at least one new user's"
        )
    q = twin.shape[0] - n
    if observed is not None and observed.shape != (q, m):
        raise ValueError(f"`observed` must have shape {(q, m)}, got {observed.shape}")
    weight = person_weight(sample_weight, n, human.dtype)
    threshold = threshold_per_target(threshold, q, human.dtype)
    check_missing(human, twin[n:], 1)
    data = _differentiable(method, (human, twin, observed, weight))
    filled = _filled(method, data, settings, 0)
    result = _users(method, *data, filled, _read_by(settings, "new_users"))
    return _decide(result, twin[n:], threshold, 1)


@jax.jit
def _users(method, human, twin, observed, weight, filled, settings) -> Calibrated:
    n = human.shape[0]
    humans, twins = Responses.from_nan(human), Responses.from_nan(twin)
    donors, targets = twins.rows(slice(None, n)), twins.rows(slice(n, None))
    known = _known(observed, None)
    counted = targets.mask & _squares_fit(human, twin)
    if isinstance(method, MatrixCompletion):
        problem = user_stack(humans, donors, targets, weight, settings)
        seen, fit = jax.tree.map(jnp.transpose, known), method.fit(problem, settings)
        result = finish(problem, fit, jnp.int32(Status.CONVERGED), seen, settings)
        return _mark_unanswered(result.transposed(), counted)
    humans, donors, imputation = filled

    def solve(item):
        target, known = item
        seen = jax.tree.map(lambda x: x[:, None], known)
        problem = user_regression(humans, donors, target, weight, settings)
        return finish(problem, method.fit(problem, settings), imputation, seen, settings)

    result = jax.lax.map(solve, (targets, known))
    return _mark_unanswered(jax.tree.map(lambda leaf: leaf[..., 0], result), counted)
