"""Choose a penalty without knowing the humans' answers to the new questions.

There are two substitutes for the unknown truth, neither of which uses it:

- the *twins* have answered the new questions: leave a user's twin out, predict it from the others;
- the humans have answered the *known questions*: leave a question out, predict the humans' answers.

`choose_penalty` compares candidates, `tune_penalty` follows the gradient of the twins' error.
"""

import functools
from collections.abc import Iterable, Mapping
from typing import Generic

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from ..calibration.calibrators import FitAndTransfer, NeuralNet
from ..calibration.settings import Settings, resolve
from ..inference.resampling import nan_mean, standard_error
from ..panel import PanelArrays, Responses
from ..solvers.blas import one_blas_thread
from ..solvers.boundary import Numbers, as_float
from ..solvers.checks import check_count
from ..solvers.keys import PRNGKey
from ._penalty_errors import Errors, question_errors, twin_data, twin_errors
from ._penalty_inputs import (
    Method,
    candidates_from,
    default_field,
    fold_masks,
    new_columns,
    panel_inputs,
    scalar_field,
    stacked,
)
from .holdout import target_positions

# The groups of the settings that are read here.
READ = ("imputation", "preparation", "fitting")
# A penalty's gradient is as accurate as the support of the fit.
TOL_FOR_GRADIENTS = 1e-6


class Choice(eqx.Module, Generic[Method]):
    """Candidates, the out-of-sample error of each, and the best of them.

    - `best`: the calibrator with the smallest error.
    - `penalties`: by field, (k,) the candidates' values.
    - `error`: (k,) mean over questions of the squared error relative to the truth's variance (or
      of 1 - correlation). Infinite where a fit failed. The smallest is optimistic, being chosen.
    - `se`: (k,) its standard error: over users if twins were the judge, else over questions.
    - `by_question`: (k, t) the errors that `error` is the mean of. NaN, and left out of the mean,
      for a question that all twins answer alike, or all humans where they are the truth.
    - `converged`: (k,) whether every fit of the candidate converged.
    - `imputation_status`: the worst status of the donors' imputations before those fits.
    """

    best: Method
    penalties: dict[str, Float[Array, " k"]]
    error: Float[Array, " k"]
    se: Float[Array, " k"]
    by_question: Float[Array, "k t"]
    converged: Bool[Array, " k"]
    imputation_status: Int[Array, ""]


def choose_penalty(
    method: Method,
    human: Numbers,
    twin: Numbers,
    penalties: Mapping[str, Numbers] | Numbers,
    *,
    judge: str = "twins",
    metric: str = "mse",
    folds: int | None = None,
    key: PRNGKey | None = None,
    targets: Iterable[int] | None = None,
    sample_weight: Numbers | None = None,
    settings: Settings | None = None,
) -> Choice[Method]:
    """Compare penalties of one method by errors that need no human answer to a new question.

    All candidates run in one compiled program, which another set of as many candidates uses again.
    Traceable, and `error` has derivatives with respect to the penalties, responses and weights.

    **Arguments:**

    - `method`: a calibrator; its other hyperparameters stay as they are.
    - `human`, `twin`: (n, m) and (n, m + q) as for [`calibrate_question`][].
    - `penalties`: (k,) values of the method's `penalty` (or `alpha`), or a mapping from fields to
      values, whose product is tried.
    - `judge`: `"twins"`: predict the twins' own answers to the q new questions, users left out:
      one by one in closed form for `Ridge` and `SyntheticIntervention`, else (or if `folds` is
      given) in folds. It sees these very questions, but not how humans and twins differ.
      `"questions"`: leave the known questions out in turn and predict the humans' answers. It sees
      that difference, but on other questions, and needs several of them.
    - `metric`: `"mse"`, or, only if questions are the judge, `"pearson"`.
    - `folds`: number of folds; 10 by default. User i is in fold i mod `folds`, or in a random one
      if `key` is given.
    - `targets`: which questions to judge on: positions among the q new ones, or (`"questions"`)
      among the m known ones. All by default.
    - `sample_weight`: (n,) weights of the users, in the fits and in the errors.
    - `settings`: see [`Settings`][].

    **Returns:** a [`Choice`][] with k candidates.

    **Raises:** `ValueError` as [`calibrate_question`][], and for a field that is no array of the
    method (ranks and layer sizes shape the program), penalties out of range, or if no candidate
    could be judged.

    **Example:**

        >>> import numpy as np
        >>> from syndigits_jax import Ridge
        >>> from syndigits_jax.evaluation import choose_penalty
        >>> u, v = np.cos(np.arange(24.0)).reshape(12, 2), np.sin(np.arange(10.0)).reshape(2, 5)
        >>> twin = u @ v  # without noise, so that the smallest penalty predicts best
        >>> choice = choose_penalty(Ridge(), twin[:, :4], twin, [0.01, 1.0, 100.0])
        >>> print(choice.error.shape, float(choice.best.penalty))
        (3,) 0.01
    """
    settings = resolve(settings).only(*READ)
    candidates, values = candidates_from(method, penalties)
    if judge not in ("twins", "questions"):
        raise ValueError(f"judge must be 'twins' or 'questions', got {judge!r}")
    if metric not in ("mse", "pearson"):
        raise ValueError(f"metric must be 'mse' or 'pearson', got {metric!r}")
    human, twin, weight = panel_inputs(human, twin, sample_weight)
    vectorised = jax.default_backend() != "cpu"
    if judge == "twins":
        if metric != "mse":
            raise ValueError(
                "metric: twins judge by squared errors; 'pearson' needs judge='questions'"
            )
        columns = new_columns(human, twin, targets)
        held_out = fold_masks(method, folds, key, human.shape[0])
        run = functools.partial(_on_twins, held_out=held_out)
    else:
        if folds is not None or key is not None:
            raise ValueError("folds and key are for judge='twins'; questions are left out singly")
        columns = target_positions(targets, human.shape[1], "question")
        run = functools.partial(_on_questions, metric=metric)
    with one_blas_thread():
        errors = run(candidates, human, twin, columns, weight, settings, vectorised)
        return _choice(candidates, values, errors)


def tune_penalty(
    method: Method,
    human: Numbers,
    twin: Numbers,
    *,
    field: str | None = None,
    steps: int = 60,
    learning_rate: Numbers = 0.3,
    folds: int | None = None,
    key: PRNGKey | None = None,
    targets: Iterable[int] | None = None,
    sample_weight: Numbers | None = None,
    settings: Settings | None = None,
) -> Choice[Method]:
    """Descend from the method's penalty along the gradient of the twins' out-of-sample error.

    The error is that of [`choose_penalty`][] with twins as the judge, differentiated through the
    fits with respect to the logarithm of the penalty. Steps go downhill whatever the size of the
    slope, and their length falls to 0 along a cosine, so that all together they cover at most
    `steps * learning_rate / 2`. The result is a local minimum, which depends on the start. Only
    regressions can be tuned: derivatives of a completion need fits far closer to convergence.

    **Arguments:**

    - `method`: a convex regression.
    - `field`: the penalty to tune, by default `penalty` or `alpha`. It starts from its value in
      `method`, which must be positive.
    - `steps`, `learning_rate`: how many steps, and the length of the first (in log units).
    - `human`, `twin`, `folds`, `key`, `targets`, `sample_weight`, `settings`: as in
      [`choose_penalty`][].

    **Returns:** a [`Choice`][] whose candidates are the penalties of all steps, in order.

    **Raises:** `ValueError` as [`choose_penalty`][], and for another method or field, a start that
    is not positive, or fewer than one step.

    **Example:**

        >>> import numpy as np
        >>> from syndigits_jax import Ridge
        >>> from syndigits_jax.evaluation import tune_penalty
        >>> u, v = np.cos(np.arange(24.0)).reshape(12, 2), np.sin(np.arange(10.0)).reshape(2, 5)
        >>> choice = tune_penalty(Ridge(10.0), (u @ v)[:, :4], u @ v, steps=5)
        >>> print(choice.best.penalty < 10)
        True
    """
    settings = resolve(settings).only(*READ)
    if not isinstance(method, FitAndTransfer) or isinstance(method, NeuralNet):
        raise ValueError(
            f"method: only convex regressions can be tuned, not {type(method).__name__}; compare "
            "candidates with choose_penalty"
        )
    field = default_field(method) if field is None else field
    check_count("steps", steps)
    start = scalar_field(method, field)
    if field == "l1_ratio":
        raise ValueError(
            "field: l1_ratio is bounded, and the descent is in logarithms; compare its values with "
            "choose_penalty"
        )
    if not isinstance(start, Tracer) and not bool(start > 0):
        raise ValueError(f"{field}: the descent starts at a positive value, got {start}")
    human, twin, weight = panel_inputs(human, twin, sample_weight)
    columns = new_columns(human, twin, targets)
    held_out = fold_masks(method, folds, key, human.shape[0])
    tol = jnp.minimum(settings.fitting.regression_tol, TOL_FOR_GRADIENTS)
    settings = settings.change(fitting={"regression_tol": tol})
    vectorised = jax.default_backend() != "cpu"
    rate = as_float("learning_rate", learning_rate).astype(start.dtype)
    with one_blas_thread():
        path, errors = _descend(
            method, rate, human, twin, columns, weight, held_out, field, steps, settings, vectorised
        )
        return _choice(stacked(method, {field: path}), {field: path}, errors)


def _choice(candidates: Method, values: dict[str, Array], errors: Errors) -> Choice[Method]:
    if not isinstance(errors.mean, Tracer) and not bool(jnp.any(jnp.isfinite(errors.mean))):
        raise ValueError(
            "penalties: no candidate could be judged: every fit failed, or no question's answers "
            "vary"
        )
    index = jnp.nanargmin(errors.mean)
    return Choice(jax.tree.map(lambda leaf: leaf[index], candidates), values, *errors)


@functools.partial(jax.jit, static_argnames="vectorised")
def _on_twins(candidates, human, twin, columns, weight, settings, vectorised, held_out) -> Errors:
    data = twin_data(candidates, human, twin, columns, weight, settings)
    return twin_errors(candidates, data, held_out, settings, vectorised)


@functools.partial(jax.jit, static_argnames=("metric", "vectorised"))
def _on_questions(candidates, human, twin, columns, weight, settings, vectorised, metric) -> Errors:
    panel = PanelArrays(Responses.from_nan(human), Responses.from_nan(twin[:, : human.shape[1]]))
    errors, converged, imputation_status = question_errors(
        candidates, panel, columns, weight, metric, settings, vectorised
    )
    by_candidate = errors.T
    mean, se = jax.vmap(nan_mean)(by_candidate), jax.vmap(standard_error)(by_candidate)
    return Errors(mean, se, by_candidate, converged, imputation_status)


@functools.partial(jax.jit, static_argnames=("field", "steps", "vectorised"))
def _descend(
    method, rate, human, twin, columns, weight, held_out, field, steps, settings, vectorised
) -> tuple[Float[Array, " s"], Errors]:
    """The penalties of all steps (steps + 1 of them) and their errors."""
    data = twin_data(method, human, twin, columns, weight, settings)

    def loss(log_penalty):
        candidate = stacked(method, {field: jnp.exp(log_penalty)[None]})
        errors = twin_errors(candidate, data, held_out, settings, vectorised)
        return errors.mean[0], errors

    def step(log_penalty, share):
        slope, errors = jax.grad(loss, has_aux=True)(log_penalty)
        length = rate * (1 + jnp.cos(jnp.pi * share)) / 2
        return log_penalty - length * jnp.sign(slope), (log_penalty, errors)

    start = jnp.log(getattr(method, field))
    shares = jnp.linspace(0, 1, steps + 1, dtype=start.dtype)
    _, (path, errors) = jax.lax.scan(step, start, shares)
    each = errors._replace(imputation_status=None)
    return jnp.exp(path), jax.tree.map(lambda leaf: leaf[:, 0], each)._replace(
        imputation_status=data.imputation_status
    )
