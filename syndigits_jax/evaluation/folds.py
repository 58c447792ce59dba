"""The compiled pieces of hold-out evaluation: prepare a batch of folds, fit a method to it.

All folds of one direction have one shape, so each piece compiles once. What methods share
(imputation, scaling, second moments, stacks) is prepared once per fold.

Of the settings a piece reads the groups `QUESTIONS`, `USERS` or `FITTING`. Given those alone
(`settings.only(*QUESTIONS)`), it does not compile again for a choice in another group.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.tree_util import Partial
from jaxtyping import Array, Bool, Float, Int

from ..calibration.calibrate import Calibrated, calibrate_question, finish
from ..calibration.calibrators import Calibrator, FitAndTransfer, MatrixCompletion
from ..calibration.imputation import impute_both
from ..calibration.problem import (
    Regression,
    Stack,
    question_regression,
    question_stack,
    user_regression,
)
from ..calibration.problem import user_stack as _user_stack
from ..calibration.settings import Settings
from ..panel import Panel, PanelArrays, Responses
from ..solvers.devices import over_devices
from ..solvers.solution import Status

QUESTIONS = ("imputation", "preparation")
USERS = (*QUESTIONS, "new_users")
FITTING = ("fitting",)


def over_batch(function: Callable, batch: Any, vectorised: bool, mesh: Mesh | None = None) -> Any:
    """`function` over the leading axis: `vmap` on accelerators, one by one on a CPU.

    One by one, a fold's matrices stay in cache, and no fold waits for the slowest.

    **Arguments:** `function`: of one item, see [`over_devices`][]; `batch`: arrays with a leading
    axis of items; `vectorised`: whether on an accelerator; `mesh`: devices, of which every one has
    its share of the batch.
    """

    def each(function, batch):
        return jax.vmap(function)(batch) if vectorised else jax.lax.map(function, batch)

    return over_devices(mesh, Partial(each, function), batch)


def _others(position: Int[Array, ""], count: int) -> Int[Array, " rest"]:
    """All positions but one, in order; the same shape for every fold."""
    index = jnp.arange(count - 1)
    return index + (index >= position).astype(index.dtype)


def without_question(
    panel: PanelArrays, j: Int[Array, ""]
) -> tuple[Responses, Responses, Responses]:
    """Humans and twins on all questions but one, and the twins' answers to that one."""
    rest = _others(j, panel.human.shape[1])
    return panel.human.columns(rest), panel.twin.columns(rest), panel.twin.columns(j)


def without_user(
    panel: PanelArrays, i: Int[Array, ""], weight: Float[Array, " n"] | None = None
) -> tuple[Responses, Responses, Responses, Float[Array, " rest"] | None]:
    """All humans and twins but one, the twin of that one, and the weights of the others."""
    rest = _others(i, panel.human.shape[0])
    others = None if weight is None else weight[rest]
    return panel.human.rows(rest), panel.twin.rows(rest), panel.twin.rows(i), others


def incomplete_columns(panel: Panel) -> int:
    """The most columns of a leave-one-question-out problem that have missing entries.

    In eights, so that panels of one shape that hardly differ share a program.
    """
    missing = np.isnan(panel.human).any(axis=0) | np.isnan(panel.twin).any(axis=0)
    return min(panel.m, 8 * math.ceil((int(missing.sum()) + 1) / 8))


@functools.partial(jax.jit, static_argnames=("vectorised", "mesh", "incomplete"))
def question_regressions(
    panel: PanelArrays,
    targets: Int[Array, " b"],
    weight: Float[Array, " n"] | None,
    settings: Settings,
    vectorised: bool,
    mesh: Mesh | None = None,
    incomplete: int | None = None,
) -> tuple[Regression, Int[Array, " b"]]:
    """Leave-one-question-out regressions for a batch of target columns.

    **Arguments:**

    - `panel`: humans and twins.
    - `targets`: (b,) positions of the questions.
    - `weight`: (n,) weights of the users; `None` if equal.
    - `settings`: see [`Settings`][].
    - `vectorised`, `mesh`: see [`over_batch`][].
    - `incomplete`: see [`incomplete_columns`][]; any number by default.

    **Returns:** the regressions, with a leading axis (b,), and the status of each imputation.
    """

    def prepare(panel, weight, settings, j):
        human, twin, target = without_question(panel, j)
        human, twin, status = impute_both(human, twin, weight, settings, incomplete)
        return question_regression(human, twin, target, weight, settings), status

    return over_batch(Partial(prepare, panel, weight, settings), targets, vectorised, mesh)


@functools.partial(jax.jit, static_argnames="vectorised")
def calibrated_without(
    method: Calibrator,
    human: Float[Array, "n m"],
    twin: Float[Array, "n k"],
    targets: Int[Array, " b"],
    weight: Float[Array, " n"] | None,
    settings: Settings,
    vectorised: bool,
) -> Float[Array, "b t n"]:
    """Fits without one known question each: predictions of it and, after it, of the new ones.

    **Arguments:**

    - `method`: a calibrator.
    - `human`, `twin`: answers to m known questions, the twins' also to those after them, with NaN.
    - `targets`: (b,) positions of the known questions that are left out.
    - `weight`: (n,) weights of the users; `None` if equal.
    - `settings`: see [`Settings`][].
    - `vectorised`: see [`over_batch`][].
    """
    m = human.shape[1]

    def one(j):
        rest = _others(j, m)
        twins = jnp.concatenate([twin[:, rest], twin[:, j][:, None], twin[:, m:]], axis=1)
        return calibrate_question(
            method, human[:, rest], twins, sample_weight=weight, settings=settings
        ).prediction.T

    return over_batch(one, targets, vectorised)


@functools.partial(jax.jit, static_argnames=("vectorised", "mesh", "incomplete"))
def question_stacks(
    panel: PanelArrays,
    targets: Int[Array, " b"],
    weight: Float[Array, " n"] | None,
    settings: Settings,
    vectorised: bool,
    mesh: Mesh | None = None,
    incomplete: int | None = None,
) -> Stack:
    """Leave-one-question-out stacks for a batch of target columns.

    **Arguments:** `panel`, `targets`, `weight`, `settings`, `vectorised`, `mesh`, `incomplete`: as
    in [`question_regressions`][].
    """

    def prepare(panel, weight, settings, j):
        return question_stack(*without_question(panel, j), weight, settings, incomplete)

    return over_batch(Partial(prepare, panel, weight, settings), targets, vectorised, mesh)


@jax.jit
def impute_without(
    panel: PanelArrays,
    held_out: Bool[Array, " n"],
    weight: Float[Array, " n"] | None,
    settings: Settings,
) -> tuple[PanelArrays, Int[Array, ""]]:
    """Impute humans and twins with the row space of the users who are not held out.

    Held-out rows have weight 0: they take no part in the fit and are imputed from it afterwards,
    each from its own answers only.

    **Arguments:**

    - `panel`: humans and twins.
    - `held_out`: (n,) which users are held out.
    - `weight`: (n,) weights of the users; `None` if equal.
    - `settings`: see [`Settings`][].

    **Returns:** the completed humans and twins, and the worse status of the two.
    """
    ones = jnp.ones(held_out.shape, panel.human.dtype) if weight is None else weight
    keep = jnp.where(held_out, 0, ones)
    human, twin, status = impute_both(panel.human, panel.twin, keep, settings)
    return PanelArrays(human, twin), status


@functools.partial(jax.jit, static_argnames=("vectorised", "mesh"))
def user_regressions(
    panel: PanelArrays,
    completed: PanelArrays,
    targets: Int[Array, " b"],
    weight: Float[Array, " n"] | None,
    settings: Settings,
    vectorised: bool,
    mesh: Mesh | None = None,
) -> Regression:
    """Leave-one-user-out regressions for target rows, given the imputed responses of all users.

    **Arguments:**

    - `panel`: humans and twins, from which the targets' twins are taken.
    - `completed`: the same imputed; a target's own row is left out by indexing.
    - `targets`: (b,) positions of the users.
    - `weight`, `settings`, `vectorised`, `mesh`: as in [`question_regressions`][].

    **Returns:** the regressions, with a leading axis (b,).
    """

    def prepare(panel, completed, weight, settings, i):
        human, twin, _, others = without_user(completed, i, weight)
        return user_regression(human, twin, panel.twin.rows(i), others, settings)

    fold = Partial(prepare, panel, completed, weight, settings)
    return over_batch(fold, targets, vectorised, mesh)


@jax.jit
def user_stack(
    panel: PanelArrays,
    targets: Int[Array, " b"],
    real: Bool[Array, " b"],
    weight: Float[Array, " n"] | None,
    settings: Settings,
) -> Stack:
    """One stack with all users of `targets` held out.

    Targets keep their donor column too, fully masked, so that every block has one shape.

    **Arguments:**

    - `panel`: humans and twins.
    - `targets`: (b,) positions of the users.
    - `real`: (b,) false where an entry of `targets` is padding.
    - `weight`: (n,) weights of the users; `None` if equal.
    - `settings`: see [`Settings`][].
    """
    keep = jnp.ones((panel.human.shape[0],), bool).at[targets].set(False)[:, None]
    own = panel.twin.rows(targets).only(real[:, None])
    return _user_stack(panel.human.only(keep), panel.twin.only(keep), own, weight, settings)


@functools.partial(jax.jit, static_argnames=("vectorised", "mesh"))
def fit_batch(
    method: FitAndTransfer | MatrixCompletion,
    problems: Regression | Stack,
    status: Int[Array, " b"],
    settings: Settings,
    vectorised: bool,
    mesh: Mesh | None = None,
) -> Calibrated:
    """Fit a method to a batch of problems; the result is that of [`finish`][], batched.

    **Arguments:**

    - `method`: a calibrator.
    - `problems`: regressions or stacks with a leading axis (b,).
    - `status`: (b,) status of the imputation of each.
    - `settings`: see [`Settings`][].
    - `vectorised`, `mesh`: see [`over_batch`][].
    """

    def solve(method, settings, item):
        problem, code = item  # of the method's kind
        return finish(problem, method.fit(problem, settings), code, None, settings)

    return over_batch(Partial(solve, method, settings), (problems, status), vectorised, mesh)


@jax.jit
def fit_stack(method: MatrixCompletion, problem: Stack, settings: Settings) -> Calibrated:
    """Fit `method` to one stack with all its targets, which are the rows of the prediction."""
    fit = method.fit(problem, settings)
    return finish(problem, fit, jnp.int32(Status.CONVERGED), None, settings).transposed()
