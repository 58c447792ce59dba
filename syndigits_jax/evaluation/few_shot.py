"""Error against the number k of human answers to the target: what twins are worth in respondents.

A few people may already have answered the new question (or the new user a few questions). Every
method uses such answers (`observed=` of `calibrate_question` and `calibrate_user`), and so can
predictors that use no twins. If such a predictor needs k answers to reach the error that
calibrated twins have without any, the twins are worth k respondents.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..calibration.calibrators import Calibrator
from ..calibration.problem import Regression, Stack
from ..calibration.settings import Settings, resolve
from ..panel import Panel, PanelArrays
from ..solvers.boundary import Numbers, as_float
from ..solvers.checks import check_count, check_squares
from ..solvers.keys import PRNGKey
from . import folds
from ._few_shot_cells import (
    Cells,
    Names,
    Scores,
    control_scores,
    draw_cells,
    method_scores,
    regressions,
    stacks,
)
from .controls import controls
from .holdout import (
    Methods,
    default_batch_size,
    methods_by_kind,
    named_methods,
    padded_targets,
    target_positions,
    threads,
)
from .holdout_run import OnFold, Run
from .metrics import METRICS, summarize

CONTROLS = ("KnownMean", "HumansOnly")
_LESS_IS_BETTER = ("mse", "mae", "wasserstein")


@dataclass(frozen=True, eq=False)
class FewShotCurve:
    """Scores of every prediction at every number of known human answers.

    - `direction`: `"question"` or `"user"`.
    - `ks`: (K,) numbers of known answers.
    - `targets`: (t,) positions of the evaluated questions or users.
    - `scores`: by metric and name, (t, K), each a mean over the repeats. All k are judged on the
      same hidden cells.
    - `methods`: the names that are calibrators; the others are controls.
    """

    direction: str
    ks: Int[np.ndarray, " K"]
    targets: Int[np.ndarray, " t"]
    scores: dict[str, dict[str, Float[np.ndarray, "t K"]]]
    methods: tuple[str, ...]

    def mean(self, metric: str, name: str) -> Float[np.ndarray, " K"]:
        """Mean over targets for every k, of one `metric` and prediction `name`.

        NaN where the predictor needs more answers.
        """
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
        rows: list[dict[str, Any]] = []
        for method in by_name if name is None else [name]:
            for k, column in zip(self.ks, by_name[method].T):
                result = summarize(column)
                row = {"method": method, "metric": metric, "k": int(k)}
                row |= {"mean": float(result.mean), "se": float(result.se)}
                rows.append(row | {"count": int(result.count)})
        return rows


def few_shot_curve(
    methods: Methods,
    panel: Panel,
    ks: Numbers,
    *,
    key: PRNGKey,
    direction: str = "question",
    targets: Iterable[int] | Int[np.ndarray, " t"] | None = None,
    repeats: int = 5,
    metrics: Sequence[str] = ("mse", "pearson"),
    settings: Settings | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    on_progress: OnFold | None = None,
) -> FewShotCurve:
    """Hold targets out, reveal k random human answers, and score what stays hidden.

    **Arguments:**

    - `methods`: one calibrator, a sequence, or a mapping from names.
    - `panel`: humans and their twins.
    - `ks`: (K,) numbers of known answers, increasing, 0 for none. Within one draw, the answers
      known at a smaller k are also known at a larger one; the cells hidden at the largest k are
      judged at every k.
    - `key`: random key for the draws of the known answers.
    - `direction`: `"question"`: k users have answered the target question; `"user"`: the target
      user has answered k questions.
    - `targets`: positions of the targets; by default all with at least max(ks) + 2 human answers.
    - `repeats`: random draws of the known answers per target.
    - `metrics`: names from `METRICS` other than `"accuracy"`. `"r2"` is the scale-free form of
      `"mse"`, for questions in different units.
    - `settings`, `batch_size`, `workers`, `on_progress`: as in [`leave_one_question_out`][].

    **Returns:** a [`FewShotCurve`][]. The scores are those of [`calibrate_question`][] or
    [`calibrate_user`][] with `observed=` and one target at a time; users are never held out in
    blocks. Beside the methods it holds the controls of the hold-out (among them `Baseline`, the
    twins themselves), which use none of the k answers, and

    - `KnownMean`: the mean of the k known answers for everyone; NaN at k = 0;
    - `HumansOnly`: ridge regression of the k answers on the human answers of the donors, without
      any twin. For a new question it is NaN at k = 0; for a new user it shrinks towards the
      others' mean answers, which it predicts at k = 0.

    **Raises:** `ValueError` for unusable methods, ks, targets or metrics.
    """
    named = named_methods(methods)
    counts = _check_counts(ks)
    _check_options(named, direction, metrics, repeats)
    positions = _usable_targets(panel, direction, targets, int(counts.max()))
    for name in ("human", "twin"):
        check_squares(getattr(panel, name), name, jnp.result_type(float))
    vectorised = jax.default_backend() != "cpu"
    size = min(default_batch_size(batch_size, vectorised), len(positions))
    run = Run(named, len(positions), 0, on_progress)
    task = _Task(
        run=run,
        panel=panel.arrays(),
        positions=positions,
        counts=jnp.asarray(counts),
        key=key,
        repeats=repeats,
        direction=direction,
        metrics=tuple(metrics),
        settings=resolve(settings),
        vectorised=vectorised,
    )
    flat = controls(panel, positions, direction)
    shape = (len(positions), len(counts))
    scores = {
        metric: {name: np.full(shape, np.nan) for name in (*flat, *CONTROLS, *named)}
        for metric in metrics
    }

    def batch(slots: Int[np.ndarray, " b"]) -> None:
        def store(name: str, found: Mapping[str, Numbers]) -> None:
            for metric, values in found.items():
                scores[metric][name][slots] = np.asarray(values)[: len(slots)]

        rows = padded_targets(slots, size)
        cells = task.cells(rows)
        prepared = task.judge_methods(named, rows, cells, store)
        for item in task.judge_controls(flat, rows, cells, prepared).items():
            store(*item)
        run.advance(len(slots))

    slots = np.arange(len(positions))
    parts = [slots[i : i + size] for i in range(0, len(slots), size)]
    run.execute(batch, parts, threads(workers))
    return FewShotCurve(direction, counts, positions, scores, tuple(named))


Prepared = tuple[Regression, Int[Array, " b"]]


@dataclass(frozen=True, eq=False)
class _Task:
    """What all batches of targets share; `rows` below are positions among `positions`."""

    run: Run
    panel: PanelArrays
    positions: Int[np.ndarray, " t"]
    counts: Int[Array, " K"]
    key: PRNGKey
    repeats: int
    direction: str
    metrics: Names
    settings: Settings
    vectorised: bool

    def cells(self, rows: Int[np.ndarray, " b"]) -> Cells:
        """The targets' answers, and which of them are known."""
        index = jnp.asarray(self.positions[rows])
        return draw_cells(
            self.panel, index, self.counts, self.key, self.repeats, self.direction, self.vectorised
        )

    def judge_methods(
        self,
        methods: Mapping[str, Calibrator],
        rows: Int[np.ndarray, " b"],
        cells: Cells,
        store: Callable[[str, Mapping[str, Numbers]], None],
    ) -> Prepared:
        """Store the scores of every method; the regressions that were prepared for them."""
        index = jnp.asarray(self.positions[rows])
        fitting, few_shot = (self.settings.only(group) for group in ("fitting", "few_shot"))

        def evaluate(method: Calibrator, problems: Regression | Stack, codes: Array) -> Scores:
            found = folds.fit_batch(method, problems, codes, fitting, self.vectorised)
            return method_scores(
                problems, found.prediction, cells, self.metrics, few_shot, self.vectorised
            )

        options = (self.panel, index, self.direction, self.settings, self.vectorised)
        by_regression, by_completion = methods_by_kind(methods)
        prepared = self.run.prepare(regressions, *options)
        self.run.fit(by_regression, evaluate, prepared, store)
        if by_completion:
            self.run.fit(by_completion, evaluate, self.run.prepare(stacks, *options), store)
        return prepared

    def judge_controls(
        self,
        flat: Mapping[str, Float[np.ndarray, "t s"]],
        rows: Int[np.ndarray, " b"],
        cells: Cells,
        prepared: Prepared,
    ) -> dict[str, Scores]:
        """The scores of all controls: those of `flat`, which use no known answer, and the others.

        For new users they need regressions in the humans' units, whatever the settings say.
        """
        if self.direction == "user" and self.settings.new_users.statistics != "human":
            index = jnp.asarray(self.positions[rows])
            humans = self.settings.change(new_users={"statistics": "human"})
            prepared = self.run.prepare(
                regressions, self.panel, index, self.direction, humans, self.vectorised
            )
        dtype = self.panel.human.dtype
        return control_scores(
            prepared[0],
            {name: jnp.asarray(values[rows], dtype) for name, values in flat.items()},
            cells,
            self.metrics,
            self.direction,
            self.settings.only("few_shot"),
            self.vectorised,
        )


def equivalent_respondents(
    curve: FewShotCurve,
    method: str | None = None,
    *,
    metric: str = "mse",
    control: str = "HumansOnly",
) -> float:
    """How many human answers the control needs to match the method without any.

    **Arguments:**

    - `curve`: what [`few_shot_curve`][] returned, with k = 0 among its numbers.
    - `method`: name of the method; may be omitted if the curve has only one.
    - `metric`: one of the curve's metrics.
    - `control`: name of the prediction it is compared with.

    **Returns:** the first k, interpolated linearly between the curve's, at which the control's
    mean score is as good as the method's at k = 0. It is 0 if the control is as good without any
    answer, infinity if not even the largest k suffices, and NaN if the method has no finite score
    without answers. If the control needs answers to
    predict at all, it is at least the smallest k > 0 of the curve. The unit is respondents asked
    the target question for new questions, and questions asked of the target user for new users.

    **Raises:** `ValueError` if the curve has no k = 0, if it has several methods and `method` is
    not given, or for a metric that is neither an error nor a likeness (`"sd_ratio"`).
    """
    if method is None:
        if len(curve.methods) != 1:
            raise ValueError(f"method: name one of {list(curve.methods)}")
        method = curve.methods[0]
    if curve.ks[0] != 0:
        raise ValueError("the curve needs k = 0, the error without any human answer")
    if metric == "sd_ratio":
        raise ValueError("metric: 'sd_ratio' is best at 1; choose one that only falls or rises")
    # Errors fall with k; metrics that rise (correlations) change sign.
    sign = 1 if metric in _LESS_IS_BETTER else -1
    level = sign * curve.mean(metric, method)[0]
    errors = sign * curve.mean(metric, control)
    if not np.isfinite(level):
        return float("nan")
    reached = np.flatnonzero(errors <= level)  # NaN, no prediction yet, compares false
    if not reached.size:
        return float("inf")
    i = int(reached[0])
    if i == 0 or not np.isfinite(errors[i - 1]):
        return float(curve.ks[i])
    share = (errors[i - 1] - level) / (errors[i - 1] - errors[i])
    return float(curve.ks[i - 1] + share * (curve.ks[i] - curve.ks[i - 1]))


def _check_options(
    named: Mapping[str, Calibrator], direction: str, metrics: Sequence[str], repeats: int
) -> None:
    for name in CONTROLS:
        if name in named:
            raise ValueError(f"methods: {name!r} is the name of a control; choose another")
    if direction not in ("question", "user"):
        raise ValueError(f"direction must be 'question' or 'user', got {direction!r}")
    for metric in metrics:
        if metric not in METRICS or metric == "accuracy":
            raise ValueError(f"metrics: {metric!r} is not a metric that needs no answer range")
    check_count("repeats", repeats)


def _check_counts(ks: Numbers) -> Int[np.ndarray, " K"]:
    counts = np.asarray(as_float("ks", ks))
    if counts.ndim != 1 or counts.size == 0 or not np.all(np.floor(counts) == counts):
        raise ValueError(f"`ks` must be a list of whole numbers such as [0, 5, 20], got {ks}")
    if counts[0] < 0 or np.any(np.diff(counts) <= 0) or not counts[-1] < 2**31:
        raise ValueError(f"ks must increase from 0 or more, and be finite, got {ks}")
    return counts.astype(int)


def _usable_targets(panel: Panel, direction: str, targets, most: int) -> Int[np.ndarray, " t"]:
    """The targets with `most` answers to reveal and two or more to judge."""
    available = panel.human_mask.sum(axis=0 if direction == "question" else 1)
    positions = target_positions(targets, len(available), direction)
    enough = available[positions] >= most + 2
    if targets is not None and not enough.all():
        first = positions[~enough][0]
        raise ValueError(
            f"targets: {direction} {first} has {available[first]} human answers; revealing {most} "
            f"and judging the rest takes at least {most + 2}"
        )
    if not enough.any():
        raise ValueError(f"ks: no {direction} has {most + 2} human answers or more")
    return positions[enough]
