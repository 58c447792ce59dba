"""Calibrate new questions and new users: the product. Traceable under `jit` and `grad`."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from ..solvers._precision import full_precision
from ..solvers.completion import hard_impute
from ..solvers.solution import Status
from ._inputs import (
    _check_labels,
    _check_method,
    _check_missing,
    _check_sizes,
    _matrix,
    _threshold,
    _user_weight,
    largest_answer,
)
from .calibrators import Calibrator, FitAndTransfer, MatrixCompletion
from .known_answers import learn_from_answers
from .problem import (
    moments_over,
    question_regression,
    question_stack,
    user_regression,
    user_stack,
)
from .settings import Settings, resolve


class Calibrated(eqx.Module):
    """Calibrated human answers to q new questions, or of q new users.

    - `prediction`: (n, q) for questions, (q, m) for users, on the scale of the answers.
    - `training_mse`: (q,) error of the fit on the twins, in scaled units (variances).
    - `transferred`: (q,) whether the calibrated prediction was used; where not, `prediction` is
      the twins' own answer (adaptive transfer, section 5.3), and still the calibrated one where a
      twin gave none.
    - `status`, `steps`, `optimality`: (q,) of the solver behind each target, the last one NaN where
      there is no certificate. The status is `MAX_STEPS` too where the imputation before it ran out
      of steps.
    """

    prediction: Float[Array, "..."]
    training_mse: Float[Array, " q"]
    transferred: Bool[Array, " q"]
    status: Int[Array, " q"]
    steps: Int[Array, " q"]
    optimality: Float[Array, " q"]


class Answers(eqx.Module):
    """Responses with missing ones replaced by 0, and the mask that says which are real."""

    values: Float[Array, "..."]
    mask: Bool[Array, "..."]


def answers(x: Float[Array, "..."]) -> Answers:
    """Split NaN-coded responses into finite values and a mask."""
    mask = ~jnp.isnan(x)
    return Answers(jnp.where(mask, x, 0), mask)


def impute_donors(
    donors: Answers, settings: Settings, sample_weight: Float[Array, " n"] | None = None
) -> tuple[Float[Array, "n p"], Int[Array, ""]]:
    """Hard impute of donor responses (users x questions), and its status.

    Every question counts alike (`settings.imputation_scale`). The rank is lowered to one less than
    the smaller side, beyond which nothing is learnt.
    """
    rank = max(1, min(settings.imputation_rank, min(donors.values.shape) - 1))
    values, mean, std = donors.values, None, None
    if settings.imputation_scale == "standardised":
        seen = donors.mask.astype(values.dtype)
        seen = seen if sample_weight is None else seen * sample_weight[:, None]
        mean, std = moments_over(values, seen, 0, 0.0)
        values = jnp.where(donors.mask, (values - mean) / std, 0)
    solution = hard_impute(
        values,
        donors.mask,
        rank,
        sample_weight=sample_weight,
        tol=settings.imputation_tol,
        max_steps=settings.imputation_max_steps,
    )
    completed = solution.value.completed
    if mean is not None and std is not None:
        completed = jnp.where(donors.mask, donors.values, mean + std * completed)
    return completed, solution.status


def impute_both(
    human: Answers,
    twin: Answers,
    settings: Settings,
    sample_weight: Float[Array, " n"] | None = None,
) -> tuple[Float[Array, "n p"], Float[Array, "n p"], Int[Array, ""]]:
    """[`impute_donors`][] of humans and of twins, each by itself, and the worse status."""
    # In one loop, one after the other: XLA would run two loops at once on the few threads of a
    # CPU's pool, which the other batches of folds need.
    both = jax.tree.map(lambda a, b: jnp.stack([a, b]), human, twin)
    completed, status = jax.lax.map(lambda d: impute_donors(d, settings, sample_weight), both)
    return completed[0], completed[1], jnp.max(status)


def finish(problem, fit, status, observed: tuple[Array, Array] | None, settings: Settings):
    """Map a fit back to the answers' scale, corrected by what known human answers say.

    `observed`: human answers to the targets and their weights, (s, t), weight 0 where not known.
    Returns (prediction (s, t), training_mse, status, steps, optimality); from the second on (t,).
    """
    prediction = fit.prediction
    centre, scale = problem.centre, problem.scale
    if centre.ndim == 1:
        centre, scale = centre[:, None], scale[:, None]
    if observed is not None:
        values, known = observed
        known_answers = (values - centre) / scale
        prediction = learn_from_answers(prediction, problem.donors, known_answers, known, settings)
    prediction = centre + scale * prediction
    finite = jnp.all(jnp.isfinite(prediction), axis=0)
    broken = ~finite | (status == int(Status.NONFINITE))
    ended_well = (fit.status == int(Status.CONVERGED)) | (fit.status == int(Status.FIXED_STEPS))
    unfinished = ended_well & (status == int(Status.MAX_STEPS))
    code = jnp.where(unfinished, int(Status.MAX_STEPS), fit.status)
    code = jnp.where(broken, int(Status.NONFINITE), code).astype(jnp.int32)
    t = prediction.shape[1]
    steps = jnp.broadcast_to(fit.steps, (t,))
    optimality = jnp.broadcast_to(fit.optimality, (t,))
    return prediction, fit.training_mse, code, steps, optimality


def _differentiable(method: Calibrator, data):
    """The data, constant where the method has no gradient: nor have scaling and correction."""
    return data if method.differentiable else jax.lax.stop_gradient(data)


def _decide(calibrated, twin_prediction, training_mse, threshold, axis):
    if threshold is None:
        transferred = jnp.ones(training_mse.shape, bool)
        return calibrated, transferred
    transferred = training_mse <= threshold
    keep = transferred[None, :] if axis == 0 else transferred[:, None]
    # A twin that gave no answer leaves nothing to revert to.
    use = keep | jnp.isnan(twin_prediction)
    return jnp.where(use, calibrated, twin_prediction), transferred


@full_precision
def calibrate_question(
    method: Calibrator,
    human: ArrayLike,
    twin: ArrayLike,
    *,
    observed: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    threshold: ArrayLike | None = None,
    settings: Settings | None = None,
) -> Calibrated:
    """Predict the humans' answers to q new questions (Algorithms 1 and 2).

    **Arguments:**

    - `method`: one of the ten calibrators.
    - `human`: (n, m) human answers to the m known questions, NaN where missing.
    - `twin`: (n, m + q) their twins' answers, the known questions first, in the same order.
    - `observed`: (n, q) the human answers to the new questions that are known, NaN elsewhere
      (few-shot). The prediction is the model's even where an answer is known.
    - `sample_weight`: (n,) weights of the users. A weight of 2 repeats the user, so that rescaling
      all weights rescales the penalty; one of weight 0 is predicted but teaches nothing.
    - `threshold`: revert to the twins' answer where the training error exceeds it (section 5.3);
      one for all new questions, or (q,).
    - `settings`: see [`Settings`][].

    **Returns:** [`Calibrated`][] with `prediction` (n, q). The new questions do not inform each
    other: each is predicted as if it were the only one.

    Legal, if of little use: users who answered nothing (predicted from the questions' means, by
    the synthetic prior from their twin), known questions and users that no twin answered, constant
    donors. Where the twins all answer a new question alike, that answer is the prediction; the
    network's only nearly, and not synthetic control's, which has no intercept and remains a mix.

    **Raises:** `ValueError` for shapes that do not fit, infinities, answers whose squares overflow
    their floating-point type, complex numbers, text, fewer than two users or questions, a question
    without any human answer, a new question without any twin answer, weights that are negative,
    not finite or all zero, a threshold that is NaN, or a rank beyond the matrix. What depends on
    values is not checked inside `jit`; there, a new question without any twin answer is predicted
    as NaN with status `NONFINITE`, as is everything where squares overflow.
    """
    settings = resolve(settings)
    _check_method(method)
    _check_labels(human, twin, 0)
    human, twin = _matrix(human, "human"), _matrix(twin, "twin")
    twin = twin.astype(human.dtype)
    n, m = human.shape
    _check_sizes(human.shape, "human")
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
    if observed is not None:
        observed = _matrix(observed, "observed").astype(human.dtype)
        if observed.shape != (n, q):
            raise ValueError(f"observed must have shape {(n, q)}, got {observed.shape}")
    weight = _user_weight(sample_weight, n, human.dtype)
    threshold = _threshold(threshold, q, human.dtype)
    _check_missing(human, twin[:, m:], 0, weight)
    data = _differentiable(method, (human, twin, observed, weight))
    result = _questions(method, *data, settings)
    prediction, mse, status, steps, optimality = result
    prediction, transferred = _decide(prediction, twin[:, m:], mse, threshold, 0)
    return Calibrated(prediction, mse, transferred, status, steps, optimality)


@functools.partial(jax.jit, static_argnames=("settings",))
def _questions(method, human, twin, observed, weight, settings):
    m = human.shape[1]
    humans, twins = answers(human), answers(twin)
    donors = Answers(twins.values[:, :m], twins.mask[:, :m])
    ones = jnp.ones((human.shape[0],), human.dtype)
    if isinstance(method, FitAndTransfer):
        x_human, x_twin, status = impute_both(humans, donors, settings, weight)

    def solve(target):
        values, mask, known = target
        seen = jax.tree.map(lambda x: x[:, None], known)
        if isinstance(method, FitAndTransfer):
            problem = question_regression(
                x_human,
                x_twin,
                values,
                mask,
                user_weight=ones if weight is None else weight,
                min_std=settings.min_std,
                drop_missing=settings.missing_target == "drop",
            )
            outcome = finish(problem, method.fit(problem, settings), status, seen, settings)
        else:
            problem = question_stack(
                humans.values,
                humans.mask,
                donors.values,
                donors.mask,
                values,
                mask,
                user_weight=weight,
                min_std=settings.min_std,
            )
            outcome = finish(problem, method.fit(problem, settings), jnp.int32(0), seen, settings)
        return outcome

    known = jax.tree.map(jnp.transpose, _known(observed, weight))
    targets = (twins.values[:, m:].T, twins.mask[:, m:].T, known)
    prediction, *rest = jax.lax.map(solve, targets)
    counted = targets[1] if weight is None else targets[1] & (weight > 0)[None, :]
    counted = counted & _squares_fit(human, twin)
    prediction, rest = _mark_unanswered(prediction[:, :, 0], [r[:, 0] for r in rest], counted)
    return prediction.T, *rest


def _squares_fit(*matrices):
    """Whether no answer is so large that its square overflows; inside `jit` too."""
    fit = jnp.asarray(True)
    for x in matrices:
        limit = jnp.asarray(largest_answer(x.size, x.dtype), x.dtype)
        fit = fit & ~jnp.any(jnp.abs(x) > limit)  # NaN, a missing answer, is not larger
    return fit


def _mark_unanswered(prediction, rest, mask):
    """NaN and `NONFINITE` for targets (q, s) without any usable answer, as `jit` cannot refuse."""
    answered = jnp.any(mask, axis=1)
    mse, status, *others = rest
    prediction = jnp.where(answered[:, None], prediction, jnp.nan)
    status = jnp.where(answered, status, jnp.int32(Status.NONFINITE))
    return prediction, (mse, status, *others)


def _known(observed, weight):
    """Known human answers and their weights, 0 where not known; `None` if there are none."""
    if observed is None:
        return None
    seen = answers(observed)
    known = seen.mask.astype(observed.dtype)
    return seen.values, known if weight is None else known * weight[:, None]


@full_precision
def calibrate_user(
    method: Calibrator,
    human: ArrayLike,
    twin: ArrayLike,
    *,
    observed: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    threshold: ArrayLike | None = None,
    settings: Settings | None = None,
) -> Calibrated:
    """Predict the answers of q new users to the m questions (section 6).

    As [`calibrate_question`][] with users and questions exchanged: `twin` holds the twins of the n
    known users and, below them, of the q new ones; `observed` (q, m) what the new users themselves
    answered, NaN elsewhere; `sample_weight` weighs the known users where a mean is taken over
    people (as donors they are columns, not cases: leave out who must not be one). `prediction` is
    (q, m).

    The regressions predict each new user as if it were the only one. The completion methods
    complete one matrix with all of them, in which the new users' twins inform each other.

    **Raises:** `ValueError` as there: for a known user without any human answer, a new user whose
    twin gave none, and a question that no human answered, whose level nobody knows.
    """
    settings = resolve(settings)
    _check_method(method)
    _check_labels(human, twin, 1)
    human, twin = _matrix(human, "human"), _matrix(twin, "twin")
    twin = twin.astype(human.dtype)
    n, m = human.shape
    _check_sizes(human.shape, "human")
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
    if observed is not None:
        observed = _matrix(observed, "observed").astype(human.dtype)
        if observed.shape != (q, m):
            raise ValueError(f"observed must have shape {(q, m)}, got {observed.shape}")
    weight = _user_weight(sample_weight, n, human.dtype)
    threshold = _threshold(threshold, q, human.dtype)
    _check_missing(human, twin[n:], 1)
    data = _differentiable(method, (human, twin, observed, weight))
    result = _users(method, *data, settings)
    prediction, mse, status, steps, optimality = result
    prediction, transferred = _decide(prediction, twin[n:], mse, threshold, 1)
    return Calibrated(prediction, mse, transferred, status, steps, optimality)


@functools.partial(jax.jit, static_argnames=("settings",))
def _users(method, human, twin, observed, weight, settings):
    n = human.shape[0]
    humans, twins = answers(human), answers(twin)
    donors = Answers(twins.values[:n], twins.mask[:n])
    targets = Answers(twins.values[n:], twins.mask[n:])
    known = _known(observed, None)
    ones = jnp.ones((n,), human.dtype) if weight is None else weight
    counted = targets.mask & _squares_fit(human, twin)
    human_statistics = settings.new_user_statistics == "human"
    if isinstance(method, MatrixCompletion):
        problem = user_stack(
            humans.values,
            humans.mask,
            donors.values,
            donors.mask,
            targets.values,
            targets.mask,
            user_weight=ones,
            min_std=settings.min_std,
            human_statistics=human_statistics,
            outlier_limit=settings.outlier_limit,
            layout=settings.new_user_stack,
        )
        seen = jax.tree.map(jnp.transpose, known)
        fit = method.fit(problem, settings)
        prediction, *rest = finish(problem, fit, jnp.int32(0), seen, settings)
        prediction, rest = _mark_unanswered(prediction.T, rest, counted)
        return prediction, *rest
    x_human, x_twin, status = impute_both(humans, donors, settings, weight)

    def solve(target):
        values, mask, known = target
        seen = jax.tree.map(lambda x: x[:, None], known)
        problem = user_regression(
            x_human,
            x_twin,
            values,
            mask,
            user_weight=ones,
            min_std=settings.min_std,
            drop_missing=settings.missing_target == "drop",
            human_statistics=human_statistics,
            outlier_limit=settings.outlier_limit,
        )
        return finish(problem, method.fit(problem, settings), status, seen, settings)

    prediction, *rest = jax.lax.map(solve, (targets.values, targets.mask, known))
    rest = [r[:, 0] for r in rest]
    prediction, rest = _mark_unanswered(prediction[:, :, 0], rest, counted)
    return prediction, *rest
