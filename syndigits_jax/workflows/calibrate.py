"""Calibration of a user's own tables: choice of targets and method, and their predictions."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Float

from syndigits_jax import calibration
from syndigits_jax.calibration import Settings, calibrate_question, calibrate_user
from syndigits_jax.datasets.columns import shortest
from syndigits_jax.estimation.people import effective_weight
from syndigits_jax.evaluation import choose_penalty, choose_threshold
from syndigits_jax.panel import Panel
from syndigits_jax.results.names import Direction, kebab, method_name
from syndigits_jax.solvers.boundary import Numbers
from syndigits_jax.solvers.keys import PRNGKey
from syndigits_jax.solvers.solution import Status
from syndigits_jax.tables.frames import Table, backend_of, import_pandas, with_backend
from syndigits_jax.tables.near_misses import hint, only_in
from syndigits_jax.workflows.panels import read_panel
from syndigits_jax.workflows.people import weights_of

HYPERPARAMETERS = (
    "penalty",
    "alpha",
    "l1_ratio",
    "rank",
    "hidden",
    "weight_decay",
    "epochs",
    "seed",
)
AUTO = "auto"
TWINS_ALIKE = "twins all alike"
# Candidates for an automatic penalty, as multiples of the method's own penalty.
_FACTORS = np.logspace(-2, 2, 9)


@dataclass(frozen=True)
class CalibratedFiles:
    """Predictions and their diagnostics.

    - `predictions`: data frame, respondents x new questions (or new respondents x questions).
    - `report`: data frame with one row per target: number of human answers used, training MSE on
      the twins (scaled units), status, and whether the transfer rule uses the calibrated values. If
      all twins answer alike, the status says so and there is no training MSE. The imputation of
      the donors has its own status.
    - `method`: the calibrator used; `direction`: what was predicted.
    - `thresholds`: (t,) of every target if they were chosen, which the report shows too.
    - `dropped`: the numbers of respondents and questions dropped because only one table has them
      ([`Panel`][]`.dropped`); also in `report.attrs`.
    - `weight`: (n,) survey weights of the people, if there are any.
    """

    predictions: Any
    report: Any
    method: Any
    direction: Direction
    dropped: Mapping[str, int] = dataclasses.field(default_factory=dict)
    thresholds: Float[np.ndarray, " t"] | None = None
    weight: Float[np.ndarray, " n"] | None = None


def build_method(name: str, hyperparameters: Mapping[str, Any] | None = None) -> Any:
    """A calibrator from its name in any spelling, with the given hyperparameters.

    Other hyperparameters have the class's defaults. A penalty may be `"auto"`, to be chosen later:
    the method is then built with its default.

    **Raises:** `ValueError` for an unknown method, a hyperparameter that it does not have, or a
    value that it does not accept.
    """
    cls = getattr(calibration, method_name(name))
    known = hyperparameters_of(cls)
    for given in hyperparameters or {}:
        if given not in known:
            takes = ", ".join(option(field) for field in known)
            raise ValueError(f"{kebab(cls.__name__)} has no {option(given)}; it takes {takes}")
    fixed = {name: value for name, value in (hyperparameters or {}).items() if value != AUTO}
    for name in ("hidden", "epochs"):
        numbers = np.atleast_1d(fixed.get(name, 1))
        if np.any(numbers < 1):
            raise ValueError(f"{option(name)} must be at least 1, got {numbers.min()}")
    if "seed" in fixed:
        fixed["key"] = jax.random.key(fixed.pop("seed"))
    return cls(**fixed)


def hyperparameters_of(cls: type) -> tuple[str, ...]:
    """The hyperparameters of a class of calibrators by their names in commands.

    A command takes a `seed`, of which it makes the calibrator's random `key`.
    """
    names = ("seed" if field.name == "key" else field.name for field in dataclasses.fields(cls))
    return tuple(name for name in names if name in HYPERPARAMETERS)


def method_title(method: Any) -> str:
    """A calibrator and its hyperparameters as on the command line: `ridge --penalty 100`."""
    parts = [kebab(type(method).__name__)]
    for name in hyperparameters_of(type(method)):
        value = _seed(method.key) if name == "seed" else getattr(method, name)
        parts += [f"{option(name)} {float(item):g}" for item in np.atleast_1d(np.asarray(value))]
    return " ".join(parts)


def _seed(key: PRNGKey | None) -> int:
    """The seed that a key was made of; 0 for the default key."""
    return 0 if key is None else int(jax.random.key_data(key)[-1])


def option(hyperparameter: str) -> str:
    """The command-line option of a hyperparameter."""
    return "--" + hyperparameter.replace("_", "-")


def choose_targets(
    panel: Panel, direction: Direction, named: Iterable[str] | None = None
) -> tuple[str, ...]:
    """Identifiers to predict: those `named`, by default all without any human answer.

    **Raises:** `ValueError` if there are none, one is unknown, or fewer than two donors remain.
    """
    everyone = panel.questions if direction == "question" else panel.users
    targets = tuple(dict.fromkeys(named or ()))
    unknown = [name for name in targets if name not in everyone]
    if unknown:
        raise ValueError(
            f"target: the tables have no {direction} '{unknown[0]}'"
            + hint(unknown[:1], only_in(everyone, targets))
        )
    if not targets:
        targets = panel.new_questions if direction == "question" else panel.new_users
    if not targets:
        raise ValueError(
            f"twin: it has no new {direction}: humans answered in every "
            f"{'column' if direction == 'question' else 'row'} that it has; name what to predict "
            "with --target"
        )
    if len(everyone) - len(targets) < 2:
        raise ValueError(f"human: at least two other {direction}s with human answers are needed")
    return targets


def with_targets(
    panel: Panel, direction: Direction, named: Iterable[str] | None = None
) -> tuple[Panel, tuple[str, ...]]:
    """A panel without other questions (or users) that no human answers, and [`choose_targets`][].

    **Raises:** `ValueError` as [`choose_targets`][].
    """
    names = choose_targets(panel, direction, named)
    unseen = panel.new_questions if direction == "question" else panel.new_users
    idle = [name for name in unseen if name not in names]
    return panel.drop(questions=idle) if direction == "question" else panel.drop(users=idle), names


def calibrate_panel(
    panel: Panel,
    method: Any,
    direction: Direction,
    targets: Iterable[str] | None = None,
    *,
    threshold: float | str | None = None,
    choose: str | None = None,
    sample_weight: Numbers | None = None,
    settings: Settings | None = None,
    backend: str = "pandas",
) -> CalibratedFiles:
    """Predict the targets of a panel from its other questions (or users).

    Existing human answers to a target are used (few-shot). Other questions (or users) without any
    human answer are ignored.

    **Arguments:**

    - `panel`: human and twin answers.
    - `method`: a calibrator, such as [`build_method`][] returns.
    - `direction`: `"question"` to predict questions, `"user"` to predict users.
    - `targets`: identifiers to predict; by default all without any human answer.
    - `threshold`: where the training MSE (scaled units) exceeds it, the prediction is the twins'
      own answer; no threshold by default. `"auto"` chooses it by how well the known questions are
      predicted ([`choose_threshold`][syndigits_jax.evaluation.choose_threshold]; questions only),
      whole blocks left out for targets whose block has none.
    - `choose`: the name of a penalty of the method to be chosen from multiples of its value, by how
      well the known questions are predicted
      ([`choose_penalty`][syndigits_jax.evaluation.choose_penalty]; questions only).
    - `sample_weight`: (n,) survey weights of the people, of which only the ratios matter.
    - `settings`: of the calibration; the defaults if `None`.
    - `backend`: the kind of the result's data frames, as in [`Panel.to_frames`][].

    **Raises:** `ValueError` as [`choose_targets`][] and the calibration do; `ImportError` without
    pandas.
    """
    pd = import_pandas()
    everybody = panel.users
    panel, names = with_targets(panel, direction, targets)
    weight = weights_of(panel.users, sample_weight, everybody)
    everyone = panel.questions if direction == "question" else panel.users
    chosen = np.array([everyone.index(name) for name in names])
    donors = np.delete(np.arange(len(everyone)), chosen)
    order = np.concatenate([donors, chosen])

    run: Any
    human, twin = panel.human, panel.twin
    if direction == "question":
        run = calibrate_question
        donor_part, target_part, twin_part = human[:, donors], human[:, chosen], twin[:, order]
    else:
        run = calibrate_user
        donor_part, target_part, twin_part = human[donors], human[chosen], twin[order]
    # A calibrator counts people by their weights, so these become people first.
    counted = None
    if weight is not None:
        counted = effective_weight(weight if direction == "question" else weight[donors])
    options: dict[str, Any] = {"sample_weight": counted, "settings": settings}
    if choose is not None:
        if direction != "question":
            raise ValueError(f"{option(choose)} {AUTO} is for new questions, not new users")
        candidates = {choose: float(getattr(method, choose)) * _FACTORS}
        method = choose_penalty(
            method, donor_part, twin_part, candidates, judge="questions", **options
        ).best
    chosen_threshold = None
    if threshold == AUTO:
        if direction != "question":
            raise ValueError(f"{option('threshold')} {AUTO} is for new questions, not new users")
        blocks = panel.blocks and [panel.blocks[j] for j in order]
        chosen_threshold = _thresholds(method, donor_part, twin_part, blocks, options)
    seen = np.sum(~np.isnan(target_part), axis=0 if direction == "question" else 1)
    observed = target_part if seen.any() else None
    result = run(
        method,
        donor_part,
        twin_part,
        observed=observed,
        threshold=threshold if chosen_threshold is None else chosen_threshold,
        **options,
    )

    prediction = shortest(result.prediction)
    own = twin[:, chosen] if direction == "question" else twin[chosen]
    kept = ~np.asarray(result.transferred)  # the twins' own answers, to the last digit
    kept = kept[None, :] if direction == "question" else kept[:, None]
    prediction = np.where(kept & ~np.isnan(own), own, prediction)
    if direction == "question":
        predictions = pd.DataFrame(prediction, index=list(panel.users), columns=list(names))
    else:
        predictions = pd.DataFrame(prediction, index=list(names), columns=list(panel.questions))
    report = pd.DataFrame(
        {
            "human_answers": seen,
            "training_mse": np.asarray(result.training_mse),
            "status": [*map(_status, np.asarray(result.status), np.asarray(result.twins_alike))],
            "steps": np.asarray(result.steps),
            "optimality": np.asarray(result.optimality),
            "imputation": [*map(_status, np.asarray(result.imputation_status))],
            "twins_alike": np.asarray(result.twins_alike),
            "transferred": np.asarray(result.transferred),
        },
        index=list(names),
    )
    if chosen_threshold is not None:
        report["threshold"] = chosen_threshold
    report.index.name = direction
    report.attrs["dropped"] = dict(panel.dropped)
    out = predictions, report, method, direction, panel.dropped, chosen_threshold, weight
    return with_backend(CalibratedFiles(*out), backend)


def _thresholds(method, human, twin, blocks, options) -> Float[np.ndarray, " t"]:
    """The threshold of every target; `blocks`: of all questions, the known ones first."""
    count = human.shape[1]
    known, of_targets = set(blocks[:count]), blocks[count:] or [None] * (twin.shape[1] - count)
    new_survey = np.array([bool(known) and block not in known for block in of_targets])
    out = np.empty(len(of_targets))
    for new in np.unique(new_survey):
        left_out = blocks[:count] if new else None
        choice = choose_threshold(method, human, twin, blocks=left_out, **options)
        out[new_survey == new] = choice.best
    return out


def calibrate_files(
    human: Table,
    twin: Table,
    method: str,
    *,
    hyperparameters: Mapping[str, Any] | None = None,
    new_users: bool = False,
    targets: Iterable[str] | None = None,
    weights: str | None = None,
    id_column: str | None = None,
    join: Literal["error", "inner"] = "error",
    threshold: float | str | None = None,
    questions: Table | None = None,
    batteries: bool = False,
    settings: Settings | None = None,
    missing: str | Iterable[Any] = (),
    backend: str | None = None,
) -> CalibratedFiles:
    """Read two tables, match them by identifier, and predict what humans have not answered.

    **Arguments:**

    - `human`, `twin`: the tables of human and of twin answers, respondents x questions: paths, or
      data frames of pandas, polars or Arrow.
    - `method`: name of the calibrator, in any spelling.
    - `hyperparameters`: of the calibrator, by name; a penalty may be `"auto"`, to be chosen.
    - `new_users`: predict the twins' new respondents instead of their new questions.
    - `targets`, `threshold`, `settings`: as in [`calibrate_panel`][].
    - `weights`: a column of either table with survey weights of the people.
    - `id_column`: the column of identifiers; by default the first.
    - `join`: as in [`Panel.from_frames`][]; the result's `dropped` counts what `"inner"` drops. The
      twins' new questions (or respondents) are always kept.
    - `questions`, `batteries`: where blocks come from, as in
      [`estimate_files`][syndigits_jax.workflows.estimate.estimate_files]; of use to a threshold
      that is chosen.
    - `missing`: what stands for a missing answer, as in [`Panel.from_frames`][].
    - `backend`: the kind of the result's data frames, as in [`Panel.to_frames`][]; by default that
      of `human`, and pandas for a file.

    **Raises:** `FileNotFoundError`, `ValueError`, `ImportError` as `read_table`,
    `Panel.from_frames`, `build_method` and `calibrate_panel` do.
    """
    direction: Direction = "user" if new_users else "question"
    automatic = [name for name, value in (hyperparameters or {}).items() if value == AUTO]
    calibrator = build_method(method, hyperparameters)
    read = read_panel(
        human, twin, weights=weights, questions=questions, batteries=batteries,
        new_users=new_users, id_column=id_column, join=join, missing=missing,
    )  # fmt: skip
    result = calibrate_panel(
        read.panel,
        calibrator,
        direction,
        targets,
        threshold=threshold,
        choose=automatic[0] if automatic else None,
        sample_weight=read.weight,
        settings=settings,
    )
    result.predictions.index.name = read.index
    return with_backend(result, backend_of(human) if backend is None else backend)


def _status(code: Any, twins_alike: Any = False) -> str:
    status = Status(int(code))
    return TWINS_ALIKE if twins_alike and status != Status.NONFINITE else status.word
