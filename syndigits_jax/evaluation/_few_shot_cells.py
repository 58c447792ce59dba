"""The compiled pieces of the few-shot curve, for a batch of targets at a time.

A target has s cells (users who might answer a question, or questions a user might answer) and
c = R x K configurations of known ones: R random orders of its answers, K numbers of them.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..calibration.imputation import impute_both
from ..calibration.known_answers import learn_from_answers
from ..calibration.problem import Regression, Stack, user_regression, user_stack
from ..calibration.settings import Settings
from ..panel import PanelArrays
from ..solvers.keys import PRNGKey
from . import folds
from .metrics import METRICS

Names = tuple[str, ...]
Scores = dict[str, Float[Array, "b K"]]


class Cells(eqx.Module):
    """A target's human answers: `truth`, 0 where missing.

    `known`: which are known in each order at each number of known answers. `hidden`: which are
    known in no configuration of an order, and so are judged.
    """

    truth: Float[Array, " s"]
    known: Bool[Array, "R K s"]
    hidden: Bool[Array, "R s"]

    def observed(self) -> tuple[Float[Array, "s c"], Float[Array, "s c"]]:
        """The answers and their weights, 0 where not known; a column per configuration."""
        weight = self.known.reshape(-1, self.truth.size).T.astype(self.truth.dtype)
        return jnp.broadcast_to(self.truth[:, None], weight.shape), weight

    def judge(self, prediction: Float[Array, "s c"], metrics: Names) -> dict[str, Array]:
        """Scores (K,) on the hidden cells that have a prediction, mean over the orders."""
        rows = prediction.T.reshape(self.known.shape)

        def score(row, hidden):
            return {m: METRICS[m](row, self.truth, hidden & ~jnp.isnan(row)) for m in metrics}

        scores = jax.vmap(jax.vmap(score, (0, None)))(rows, self.hidden)
        return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), scores)


@functools.partial(jax.jit, static_argnames=("repeats", "direction", "vectorised"))
def draw_cells(
    panel: PanelArrays,
    targets: Int[Array, " b"],
    ks: Int[Array, " K"],
    key: PRNGKey,
    repeats: int,
    direction: str,
    vectorised: bool,
) -> Cells:
    """Random orders in which the targets' answers become known; in each the first k, for k in `ks`.

    **Arguments:**

    - `panel`: humans and twins.
    - `targets`: positions of the questions or users of a batch.
    - `ks`: numbers of known answers, increasing.
    - `key`: random key; draws depend on a target's position in the panel, not on the batch.
    - `repeats`: orders per target.
    - `direction`: `"question"` or `"user"`.
    - `vectorised`: see [`folds.over_batch`][].
    """
    axis = 1 if direction == "question" else 0

    def one(target):
        own = panel.human.columns(target) if axis else panel.human.rows(target)
        mask = own.mask
        # By position in the panel and in one precision, so that neither a subset of the targets
        # nor float64 changes the draws.
        keys = jax.random.split(jax.random.fold_in(key, target), repeats)
        uniform = jax.vmap(lambda k: jax.random.uniform(k, mask.shape, jnp.float32))(keys)
        order = jnp.argsort(jnp.where(mask[None, :], uniform, 2), axis=1)
        turn = jnp.argsort(order, axis=1)
        return Cells(
            truth=own.values,
            known=turn[:, None, :] < ks[None, :, None],
            hidden=mask[None, :] & (turn >= ks[-1]),
        )

    return folds.over_batch(one, targets, vectorised)


def regressions(
    panel: PanelArrays,
    targets: Int[Array, " b"],
    direction: str,
    settings: Settings,
    vectorised: bool,
) -> tuple[Regression, Int[Array, " b"]]:
    """Leave-one-out regressions of a batch of targets, and their status codes."""
    if direction == "question":
        preparing = settings.only(*folds.QUESTIONS)
        return folds.question_regressions(panel, targets, None, preparing, vectorised)
    return _user_regressions(panel, targets, settings.only(*folds.USERS), vectorised)


def stacks(
    panel: PanelArrays,
    targets: Int[Array, " b"],
    direction: str,
    settings: Settings,
    vectorised: bool,
) -> tuple[Stack, Int[Array, " b"]]:
    """Stacks of a batch of targets, one target each, and their status codes."""
    if direction == "question":
        preparing = settings.only(*folds.QUESTIONS)
        prepared = folds.question_stacks(panel, targets, None, preparing, vectorised)
    else:
        prepared = _user_stacks(panel, targets, settings.only(*folds.USERS), vectorised)
    return prepared, jnp.zeros(targets.shape, jnp.int32)


@functools.partial(jax.jit, static_argnames="vectorised")
def _user_regressions(panel, targets, settings, vectorised):
    def prepare(i):
        human, twin, target, _ = folds.without_user(panel, i)
        human, twin, status = impute_both(human, twin, None, settings)
        return user_regression(human, twin, target, None, settings), status

    return folds.over_batch(prepare, targets, vectorised)


@functools.partial(jax.jit, static_argnames="vectorised")
def _user_stacks(panel, targets, settings, vectorised):
    def prepare(i):
        human, twin, _, _ = folds.without_user(panel, i)
        return user_stack(human, twin, panel.twin.rows(i[None]), None, settings)

    return folds.over_batch(prepare, targets, vectorised)


@functools.partial(jax.jit, static_argnames=("metrics", "vectorised"))
def method_scores(
    problems: Regression | Stack,
    prediction: Float[Array, "b s 1"],
    cells: Cells,
    metrics: Names,
    settings: Settings,
    vectorised: bool,
) -> Scores:
    """Scores of one method's predictions without answers, corrected by the known ones."""

    def one(item):
        problem, prediction, cells = item
        answers, weight = cells.observed()
        centre = problem.centre.reshape(-1, 1)
        scale = problem.scale.reshape(-1, 1)
        start = jnp.broadcast_to((prediction - centre) / scale, answers.shape)
        known = (answers - centre) / scale
        corrected = learn_from_answers(start, problem.donors, known, weight, settings)
        return cells.judge(centre + scale * corrected, metrics)

    return folds.over_batch(one, (problems, prediction, cells), vectorised)


# Without twins the donors carry all information, so their prior is wider; there is no slope on a
# prediction that is 0 for everyone.
_HUMANS_ONLY = {"slope": 0.0, "donors": 0.5}


@functools.partial(jax.jit, static_argnames=("metrics", "direction", "vectorised"))
def control_scores(
    problems: Regression,
    flat: dict[str, Float[Array, "b s"]],
    cells: Cells,
    metrics: Names,
    direction: str,
    settings: Settings,
    vectorised: bool,
) -> dict[str, Scores]:
    """Scores of `flat`, predictions that use no known answer, of `KnownMean` and of `HumansOnly`.

    The `problems` must have the humans' statistics.
    """
    settings = settings.change(few_shot=_HUMANS_ONLY)
    new_question = direction == "question"
    if new_question:
        # Only the known answers inform the level of a new question.
        settings = settings.change(few_shot={"level": 10.0})

    def one(item):
        problem, flat, cells = item
        answers, weight = cells.observed()
        count = jnp.sum(weight, axis=0, keepdims=True)
        none = count == 0
        mean = jnp.sum(weight * answers, axis=0, keepdims=True) / jnp.where(none, 1, count)
        centre = mean if new_question else problem.centre[:, None]
        scale = 1 if new_question else problem.scale[:, None]
        known = (answers - centre) / scale
        nothing = jnp.zeros_like(answers)
        fitted = learn_from_answers(nothing, problem.donors, known, weight, settings)
        predictions = {name: p[:, None] for name, p in flat.items()}
        predictions["KnownMean"] = jnp.where(none, jnp.nan, mean)
        humans = centre + scale * fitted
        predictions["HumansOnly"] = jnp.where(none & new_question, jnp.nan, humans)
        # Stacked, they are judged by one program.
        rows = jnp.stack([jnp.broadcast_to(p, known.shape) for p in predictions.values()])
        scores = jax.lax.map(lambda row: cells.judge(row, metrics), rows)
        return {
            name: {metric: values[i] for metric, values in scores.items()}
            for i, name in enumerate(predictions)
        }

    return folds.over_batch(one, (problems, flat, cells), vectorised)
