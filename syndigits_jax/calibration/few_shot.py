"""Error against the number k of human answers to the target: what twins are worth in respondents.

A few people may already have answered the new question (or the new user a few questions). Every
method uses such answers (`observed=` of `calibrate_question`), and so can predictors that have
never met a twin. Where the latter, given k answers, come to the error that calibrated twins have
without any, the twins are worth k respondents.
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..inference.resampling import PRNGKey
from ..panel import Panel
from . import folds
from .calibrators import Calibrator, MatrixCompletion
from .controls import controls
from .folds import over_batch
from .holdout import Methods, _batch_size, _methods, _padded, _targets, _workers
from .known_answers import learn_from_answers
from .metrics import METRICS, summarize
from .problem import Regression, Stack
from .settings import Settings

Direction = Literal["question", "user"]
Names = tuple[str, ...]


@dataclass(frozen=True)
class FewShotCurve:
    """Scores of every prediction at every number of known human answers.

    - `ks`: (K,) numbers of known answers.
    - `targets`: (t,) positions of the evaluated questions or users.
    - `scores`: by metric and name, (t, K), each a mean over the repeats. All k are judged on the
      same hidden cells.
    - `methods`: the names that are calibrators; the others are controls.
    """

    direction: Direction
    ks: Int[np.ndarray, " K"]
    targets: Int[np.ndarray, " t"]
    scores: dict[str, dict[str, Float[np.ndarray, "t K"]]]
    methods: tuple[str, ...]

    def mean(self, metric: str, name: str) -> Float[np.ndarray, " K"]:
        """Mean over targets for every k; NaN where the predictor needs more answers."""
        return np.array([row["mean"] for row in self.summary(metric, name)])

    def se(self, metric: str, name: str) -> Float[np.ndarray, " K"]:
        """Standard error of that mean, targets taken as independent."""
        return np.array([row["se"] for row in self.summary(metric, name)])

    def summary(self, metric: str = "mse", name: str | None = None) -> list[dict]:
        """`method`, `metric`, `k`, `mean`, `se` and `count` of one prediction, or of all.

        **Raises:** `ValueError` for a metric or name that was not computed.
        """
        if metric not in self.scores:
            raise ValueError(f"metric {metric!r} was not computed; there are {list(self.scores)}")
        by_name = self.scores[metric]
        if name is not None and name not in by_name:
            raise ValueError(f"no predictions called {name!r}; there are {list(by_name)}")
        rows = []
        for method in by_name if name is None else [name]:
            for k, column in zip(self.ks, by_name[method].T):
                result = summarize(column)
                row = {"method": method, "metric": metric, "k": int(k)}
                row |= {"mean": float(result.mean), "se": float(result.se)}
                rows.append(row | {"count": int(result.count)})
        return rows


def few_shot_curve(
    methods: Methods | Calibrator,
    panel: Panel,
    ks: Sequence[int],
    key: PRNGKey,
    *,
    direction: Direction = "question",
    targets: Iterable[int] | None = None,
    repeats: int = 5,
    metrics: Sequence[str] = ("mse", "pearson"),
    settings: Settings | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
) -> FewShotCurve:
    """Hold targets out, give k random human answers back, and score what stays hidden.

    **Arguments:**

    - `methods`: one calibrator, a sequence, or a mapping from names.
    - `ks`: numbers of known answers, 0 for none. For one draw of the answers, those known at a
      smaller k are among those known at a larger; the cells hidden at the largest k are the ones
      judged at every k.
    - `direction`: `"question"`: k users have answered the target question; `"user"`: the target
      user has answered k questions.
    - `targets`: positions of the targets; by default all with at least max(ks) + 2 human answers.
    - `repeats`: random draws of the known answers per target.
    - `metrics`: names from `METRICS` other than `"accuracy"`. `"r2"` is the scale-free form of
      `"mse"`, for questions in different units.
    - `batch_size`, `workers`: targets in memory at a time per worker, and workers, as in
      [`leave_one_question_out`][].

    **Returns:** a [`FewShotCurve`][]. Beside the methods it holds the controls of the hold-out
    (`Baseline`, the twins themselves, among them), which know none of the k answers, and

    - `KnownMean`: the mean of the k known answers for everyone; NaN at k = 0;
    - `HumansOnly`: ridge regression of the k answers on the human answers of the donors, without
      any twin. For a new question NaN at k = 0; for a new user about the others' mean answers,
      which is what it predicts at k = 0.

    **Raises:** `ValueError` for unusable methods, ks, targets or metrics.
    """
    named = _methods(methods)
    for name in ("KnownMean", "HumansOnly"):
        if name in named:
            raise ValueError(f"methods: {name!r} is the name of a control; choose another")
    settings = Settings() if settings is None else settings
    if direction not in ("question", "user"):
        raise ValueError(f"direction must be 'question' or 'user', got {direction!r}")
    counts = _check_counts(ks)
    for metric in metrics:
        if metric not in METRICS or metric == "accuracy":
            raise ValueError(f"metrics: {metric!r} is not a metric that needs no answer range")
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    positions = _usable_targets(panel, direction, targets, int(counts.max()))
    arrays, vectorised = panel.arrays(), jax.default_backend() != "cpu"
    size = min(_batch_size(batch_size, vectorised), len(positions))
    limit, names = int(counts.max()), tuple(metrics)
    flat = controls(panel, positions, direction)
    human_settings = dataclasses.replace(settings, new_user_statistics="human")

    def batch(slots: Int[np.ndarray, " b"]) -> dict[str, dict[str, np.ndarray]]:
        rows = _padded(slots, size)
        index = jnp.asarray(positions[rows])
        cells = _cells(
            arrays, index, jnp.asarray(counts), key, repeats, limit, direction, vectorised
        )
        given = {k: jnp.asarray(values[rows], arrays.human.dtype) for k, values in flat.items()}
        donors, _ = _regressions(arrays, index, direction, human_settings, vectorised)
        found = _control_scores(donors, cells, given, names, direction, settings, vectorised)
        prepared = {}
        for name, method in named.items():
            kind = _stacks if isinstance(method, MatrixCompletion) else _regressions
            if kind not in prepared:
                prepared[kind] = kind(arrays, index, direction, settings, vectorised)
            problems, codes = prepared[kind]
            prediction = folds.fit_batch(method, problems, codes, settings, vectorised)[0]
            found[name] = _method_scores(problems, prediction, cells, names, settings, vectorised)
        return jax.tree.map(lambda leaf: np.asarray(leaf)[: len(slots)], found)

    slots = np.arange(len(positions))
    chunks = [slots[i : i + size] for i in range(0, len(slots), size)]
    parts = [batch(chunks[0])]  # alone, so that every program is compiled once
    with ThreadPoolExecutor(_workers(workers)) as pool:
        parts += pool.map(batch, chunks[1:])
    scores = {
        metric: {name: np.concatenate([p[name][metric] for p in parts]) for name in parts[0]}
        for metric in names
    }
    return FewShotCurve(direction, counts, positions, scores, tuple(named))


def equivalent_respondents(
    curve: FewShotCurve,
    method: str | None = None,
    *,
    metric: str = "mse",
    control: str = "HumansOnly",
) -> float:
    """How many human answers the control needs to match the method without any.

    The first k, interpolated linearly between the curve's, at which the control's mean score is
    as good as the method's at k = 0. 0 if it is without any answer; infinity if not even the
    largest k suffices. In the direction of new questions the unit is respondents asked the target
    question; in that of new users, questions asked of the target user.

    **Raises:** `ValueError` if the curve has no k = 0, or several methods and `method` is not
    given.
    """
    if method is None:
        if len(curve.methods) != 1:
            raise ValueError(f"method: name one of {list(curve.methods)}")
        method = curve.methods[0]
    if curve.ks[0] != 0:
        raise ValueError("the curve needs k = 0, the error without any human answer")
    # Errors fall with k; what rises (correlations) is turned round.
    sign = 1 if metric in ("mse", "mae", "wasserstein") else -1
    level = sign * curve.mean(metric, method)[0]
    errors = sign * curve.mean(metric, control)
    reached = np.flatnonzero(errors <= level)  # NaN, no prediction yet, compares false
    if not reached.size:
        return float("inf")
    i = int(reached[0])
    if i == 0 or np.isnan(errors[i - 1]):
        return float(curve.ks[i])
    share = (errors[i - 1] - level) / (errors[i - 1] - errors[i])
    return float(curve.ks[i - 1] + share * (curve.ks[i] - curve.ks[i - 1]))


def _check_counts(ks: Sequence[int]) -> Int[np.ndarray, " K"]:
    counts = np.asarray(ks)
    if counts.ndim != 1 or counts.size == 0 or not np.issubdtype(counts.dtype, np.integer):
        raise ValueError(f"ks must be a list of whole numbers such as [0, 5, 20], got {ks}")
    if counts[0] < 0 or np.any(np.diff(counts) <= 0):
        raise ValueError(f"ks must increase from 0 or more, got {ks}")
    return counts


def _usable_targets(panel: Panel, direction: Direction, targets, most: int):
    axis = 0 if direction == "question" else 1
    available = panel.human_mask.sum(axis=axis)
    positions = _targets(targets, len(available), direction)
    enough = available[positions] >= most + 2
    if targets is not None and not enough.all():
        raise ValueError(
            f"targets: {direction} {positions[~enough][0]} has "
            f"{available[positions[~enough][0]]} human answers; revealing {most} and judging the "
            f"rest takes at least {most + 2}"
        )
    if not enough.any():
        raise ValueError(f"ks: no {direction} has {most + 2} human answers or more")
    return positions[enough]


# --- the compiled pieces; c = repeats x K configurations of one target, s its cells ---------------


def _known_cells(order: Int[Array, "R L"], ks: Int[Array, " K"], mask: Bool[Array, " s"]):
    """Which of the cells are known, (c, s), and which stay hidden throughout, (R, s)."""
    shown = jnp.arange(order.shape[1])[None, :] < ks[:, None]
    nothing = jnp.zeros(mask.shape, bool)

    def one(row):
        known = jax.vmap(lambda some: nothing.at[row].set(some))(shown)
        return known, mask & ~nothing.at[row].set(True)

    known, hidden = jax.vmap(one)(order)
    return known.reshape(-1, mask.shape[0]), hidden


class _Cells(eqx.Module):
    """A target's human answers, and who answers when: `known` (c, s), `hidden` (R, s)."""

    truth: Float[Array, " s"]
    known: Bool[Array, "c s"]
    hidden: Bool[Array, "R s"]

    def observed(self) -> tuple[Float[Array, "s c"], Float[Array, "s c"]]:
        """The known answers and their weights, a column per configuration."""
        weight = self.known.T.astype(self.truth.dtype)
        return jnp.broadcast_to(self.truth[:, None], weight.shape), weight

    def judge(self, prediction: Float[Array, "s c"], metrics: Names) -> dict[str, Array]:
        """Scores (K,) on the hidden cells, mean over the repeats."""
        repeats, cells = self.hidden.shape
        rows = prediction.T.reshape(repeats, -1, cells)

        def score(row, hidden):
            return {m: METRICS[m](row, self.truth, hidden & ~jnp.isnan(row)) for m in metrics}

        scores = jax.vmap(jax.vmap(score, (0, None)))(rows, self.hidden)
        return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), scores)


@functools.partial(jax.jit, static_argnames=("repeats", "limit", "direction", "vectorised"))
def _cells(panel, positions, ks, key, repeats, limit, direction, vectorised) -> _Cells:
    """Random orders in which the targets' answers become known; a batch of targets."""
    axis = 1 if direction == "question" else 0

    def one(position):
        mask = jnp.take(panel.human_mask, position, axis)
        keys = jax.random.split(jax.random.fold_in(key, position), repeats)
        uniform = jax.vmap(lambda k: jax.random.uniform(k, mask.shape))(keys)
        order = jnp.argsort(jnp.where(mask[None, :], uniform, 2), axis=1)[:, :limit]
        return _Cells(jnp.take(panel.human, position, axis), *_known_cells(order, ks, mask))

    return over_batch(one, positions, vectorised)


def _regressions(panel, index, direction: Direction, settings: Settings, vectorised: bool):
    """Leave-one-out regressions of a batch of targets, and their status codes."""
    if direction == "question":
        return folds.question_regressions(panel, index, None, settings, vectorised)
    return _user_regressions(panel, index, settings, vectorised)


@functools.partial(jax.jit, static_argnames=("settings", "vectorised"))
def _user_regressions(panel, index, settings, vectorised):
    def one(i):
        held_out = jnp.arange(panel.human.shape[0]) == i
        human, twin, code = folds.impute_without(panel, held_out, None, settings)
        problem = folds.user_regressions(panel, human, twin, i[None], None, settings, False)
        return jax.tree.map(lambda leaf: leaf[0], problem), code

    return over_batch(one, index, vectorised)


def _stacks(panel, index, direction: Direction, settings: Settings, vectorised: bool):
    """Stacks of a batch of targets, one target each, and their status codes."""
    if direction == "question":
        stacks = folds.question_stacks(panel, index, None, settings, vectorised)
    else:
        stacks = _user_stacks(panel, index, settings, vectorised)
    return stacks, jnp.zeros(index.shape, jnp.int32)


@functools.partial(jax.jit, static_argnames=("settings", "vectorised"))
def _user_stacks(panel, index, settings, vectorised):
    def one(i):
        return folds.user_stack(panel, i[None], jnp.ones((1,), bool), None, settings)

    return over_batch(one, index, vectorised)


@functools.partial(jax.jit, static_argnames=("metrics", "settings", "vectorised"))
def _method_scores(
    problems: Regression | Stack,
    prediction: Float[Array, "b s 1"],
    cells: _Cells,
    metrics: Names,
    settings: Settings,
    vectorised: bool,
) -> dict[str, Float[Array, "b K"]]:
    """Scores of one method's zero-shot predictions, corrected by the known answers."""

    def one(item):
        problem, prediction, cells = item
        answers, weight = cells.observed()
        centre = problem.centre.reshape(-1, 1)
        scale = problem.scale.reshape(-1, 1)
        start = jnp.broadcast_to((prediction - centre) / scale, answers.shape)
        known = (answers - centre) / scale
        corrected = learn_from_answers(start, problem.donors, known, weight, settings)
        return cells.judge(centre + scale * corrected, metrics)

    return over_batch(one, (problems, prediction, cells), vectorised)


# Without twins the donors carry everything: their prior is wider, about the best fixed one on
# Twin-2K-500, MovieLens and simulated panels.
_HUMANS_ONLY = {"few_shot_slope": 0.0, "few_shot_donors": 0.5}


@functools.partial(jax.jit, static_argnames=("metrics", "direction", "settings", "vectorised"))
def _control_scores(
    problems: Regression,
    cells: _Cells,
    flat: dict[str, Float[Array, "b s"]],
    metrics: Names,
    direction: Direction,
    settings: Settings,
    vectorised: bool,
) -> dict[str, dict[str, Float[Array, "b K"]]]:
    """Scores of the controls; `problems` are those with human statistics."""
    # Nothing is known of a new question's level and spread but what the known answers say.
    free = direction == "question"
    settings = dataclasses.replace(settings, **_HUMANS_ONLY)
    if free:
        settings = dataclasses.replace(settings, few_shot_level=10.0)

    def one(item):
        problem, cells, flat = item
        answers, weight = cells.observed()
        count = jnp.sum(weight, axis=0, keepdims=True)
        none = count == 0
        mean = jnp.sum(weight * answers, axis=0, keepdims=True) / jnp.where(none, 1, count)
        centre = mean if free else problem.centre[:, None]
        scale = 1 if free else problem.scale[:, None]
        known = (answers - centre) / scale
        regression = learn_from_answers(
            jnp.zeros_like(answers), problem.x_human, known, weight, settings
        )
        predictions = {name: jnp.broadcast_to(p[:, None], known.shape) for name, p in flat.items()}
        predictions["KnownMean"] = jnp.broadcast_to(jnp.where(none, jnp.nan, mean), known.shape)
        humans = centre + scale * regression
        predictions["HumansOnly"] = jnp.where(none & free, jnp.nan, humans)
        return {name: cells.judge(p, metrics) for name, p in predictions.items()}

    return over_batch(one, (problems, cells, flat), vectorised)
