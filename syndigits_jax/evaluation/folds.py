"""The compiled pieces of hold-out evaluation: prepare a batch of folds, fit a method to it.

All folds of one direction have one shape, so each piece compiles once. What methods share
(imputation, scaling, second moments, stacks) is prepared once per fold.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..calibration.calibrate import finish
from ..calibration.imputation import Answers, impute_both
from ..calibration.problem import (
    Regression,
    Stack,
    question_regression,
    question_stack,
    user_regression,
)
from ..calibration.problem import user_stack as _user_stack
from ..calibration.settings import Settings
from ..panel import PanelArrays


def over_batch(function: Callable, batch: Any, vectorised: bool) -> Any:
    """`function` over the leading axis: `vmap` on accelerators, one by one on a CPU.

    One by one, a fold's matrices stay in cache, and no fold waits for the slowest.
    """
    return jax.vmap(function)(batch) if vectorised else jax.lax.map(function, batch)


def _others(position: Int[Array, ""], count: int) -> Int[Array, " rest"]:
    """All positions but one, in order; the same shape for every fold."""
    index = jnp.arange(count - 1)
    return index + (index >= position).astype(index.dtype)


@functools.partial(jax.jit, static_argnames=("settings", "vectorised"))
def question_regressions(
    panel: PanelArrays,
    targets: Int[Array, " b"],
    weight: Float[Array, " n"] | None,
    settings: Settings,
    vectorised: bool,
) -> tuple[Regression, Int[Array, " b"]]:
    """Leave-one-question-out regressions for a batch of target columns.

    **Arguments:**

    - `panel`: humans and twins.
    - `targets`: (b,) positions of the questions.
    - `weight`: (n,) weights of the users; `None` if equal.
    - `settings`: see [`Settings`][].
    - `vectorised`: see [`over_batch`][].

    **Returns:** the regressions, with a leading axis (b,), and the status of each imputation.
    """
    n, m = panel.human.shape
    ones = jnp.ones((n,), panel.human.dtype)

    def prepare(j):
        rest = _others(j, m)
        human = Answers(panel.human[:, rest], panel.human_mask[:, rest])
        twin = Answers(panel.twin[:, rest], panel.twin_mask[:, rest])
        x_human, x_twin, status = impute_both(human, twin, settings, weight)
        problem = question_regression(
            x_human,
            x_twin,
            panel.twin[:, j],
            panel.twin_mask[:, j],
            user_weight=ones if weight is None else weight,
            min_std=settings.min_std,
            drop_missing=settings.missing_target == "drop",
        )
        return problem, status

    return over_batch(prepare, targets, vectorised)


@functools.partial(jax.jit, static_argnames=("settings", "vectorised"))
def question_stacks(
    panel: PanelArrays,
    targets: Int[Array, " b"],
    weight: Float[Array, " n"] | None,
    settings: Settings,
    vectorised: bool,
) -> Stack:
    """Leave-one-question-out stacks for a batch of target columns.

    **Arguments:** `panel`, `targets`, `weight`, `settings`, `vectorised`: as in
    [`question_regressions`][].
    """
    m = panel.human.shape[1]

    def prepare(j):
        rest = _others(j, m)
        return question_stack(
            panel.human[:, rest],
            panel.human_mask[:, rest],
            panel.twin[:, rest],
            panel.twin_mask[:, rest],
            panel.twin[:, j],
            panel.twin_mask[:, j],
            user_weight=weight,
            min_std=settings.min_std,
        )

    return over_batch(prepare, targets, vectorised)


@functools.partial(jax.jit, static_argnames=("settings",))
def impute_without(
    panel: PanelArrays,
    held_out: Bool[Array, " n"],
    weight: Float[Array, " n"] | None,
    settings: Settings,
) -> tuple[Float[Array, "n m"], Float[Array, "n m"], Int[Array, ""]]:
    """Impute humans and twins with the row space of the users who are not held out.

    Held-out rows have weight 0: they take no part in the fit and are imputed from it afterwards,
    each from its own answers only.

    **Arguments:**

    - `panel`: humans and twins.
    - `held_out`: (n,) which users are held out.
    - `weight`: (n,) weights of the users; `None` if equal.
    - `settings`: see [`Settings`][].

    **Returns:** the completed humans, the completed twins, and the worse status of the two.
    """
    ones = jnp.ones(held_out.shape, panel.human.dtype) if weight is None else weight
    keep = jnp.where(held_out, 0, ones)
    human = Answers(panel.human, panel.human_mask)
    twin = Answers(panel.twin, panel.twin_mask)
    return impute_both(human, twin, settings, keep)


@functools.partial(jax.jit, static_argnames=("settings", "vectorised"))
def user_regressions(
    panel: PanelArrays,
    human: Float[Array, "n m"],
    twin: Float[Array, "n m"],
    targets: Int[Array, " b"],
    weight: Float[Array, " n"] | None,
    settings: Settings,
    vectorised: bool,
) -> Regression:
    """Leave-one-user-out regressions for target rows, given the imputed responses of all users.

    **Arguments:**

    - `panel`: humans and twins, from which the targets' twins are taken.
    - `human`, `twin`: (n, m) imputed responses; a target's own row is left out by indexing.
    - `targets`: (b,) positions of the users.
    - `weight`, `settings`, `vectorised`: as in [`question_regressions`][].

    **Returns:** the regressions, with a leading axis (b,).
    """
    n = panel.human.shape[0]
    ones = jnp.ones((n,), panel.human.dtype) if weight is None else weight

    def prepare(i):
        rest = _others(i, n)
        return user_regression(
            human[rest],
            twin[rest],
            panel.twin[i],
            panel.twin_mask[i],
            user_weight=ones[rest],
            min_std=settings.min_std,
            drop_missing=settings.missing_target == "drop",
            human_statistics=settings.new_user_statistics == "human",
            outlier_limit=settings.outlier_limit,
        )

    return over_batch(prepare, targets, vectorised)


@functools.partial(jax.jit, static_argnames=("settings",))
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
    n = panel.human.shape[0]
    ones = jnp.ones((n,), panel.human.dtype) if weight is None else weight
    held_out = jnp.zeros((n,), bool).at[targets].set(True)
    keep = ~held_out[:, None]
    return _user_stack(
        panel.human,
        panel.human_mask & keep,
        panel.twin,
        panel.twin_mask & keep,
        panel.twin[targets],
        panel.twin_mask[targets] & real[:, None],
        user_weight=ones,
        min_std=settings.min_std,
        human_statistics=settings.new_user_statistics == "human",
        outlier_limit=settings.outlier_limit,
        layout=settings.new_user_stack,
    )


@functools.partial(jax.jit, static_argnames=("settings", "vectorised"))
def fit_batch(method, problems, status, settings: Settings, vectorised: bool):
    """Fit a method to a batch of problems; the result is that of [`finish`][], batched.

    **Arguments:**

    - `method`: a calibrator.
    - `problems`: regressions or stacks with a leading axis (b,).
    - `status`: (b,) status of the imputation of each.
    - `settings`: see [`Settings`][].
    - `vectorised`: see [`over_batch`][].
    """

    def solve(item):
        problem, code = item
        return finish(problem, method.fit(problem, settings), code, None, settings)

    return over_batch(solve, (problems, status), vectorised)


@functools.partial(jax.jit, static_argnames=("settings",))
def fit_stack(method, problem: Stack, settings: Settings):
    """Fit `method` to one stack with all its targets."""
    return finish(problem, method.fit(problem, settings), jnp.int32(0), None, settings)
