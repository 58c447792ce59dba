"""The estimate `auto` on a user's own tables: predictions, means, shares and what to expect."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from syndigits_jax.datasets.columns import shortest
from syndigits_jax.estimation import Estimates, estimate_questions, estimate_users
from syndigits_jax.panel import Panel
from syndigits_jax.results.keys import Key
from syndigits_jax.results.names import Direction
from syndigits_jax.solvers.boundary import Numbers
from syndigits_jax.solvers.checks import check_count
from syndigits_jax.solvers.solution import Status
from syndigits_jax.tables.frames import Table, backend_of, import_pandas, with_backend
from syndigits_jax.workflows.calibrate import with_targets
from syndigits_jax.workflows.panels import read_panel
from syndigits_jax.workflows.people import weights_of

MOST_OPTIONS = 21
"""Questions with more options than this have no shares."""


@dataclass(frozen=True)
class EstimatedFiles:
    """Estimates as data frames.

    - `predictions`: respondents x new questions (or new respondents x questions).
    - `report`: one row per target. For questions: the setting, how many human answers were used,
      the twins' mean, the estimated mean and standard deviation with the ends of the mean's
      interval, and the statuses. For people: the setting and the statuses.
    - `shares`: one row per question and option, with the estimated share of people and the ends
      of its interval; questions without a short list of options have none.
    - `lower`, `upper`: of every prediction, the ends of the interval for the person's answer, as
      tables of the same rows and columns; `None` if intervals were not asked for.
    - `draws`: if asked for, one row per respondent and draw: its number from 1 (`draw`), and an
      answer to every question; `joint`: by setting, whether enough known questions decided how a
      person's errors on different questions go together.
    - `estimates`: all that was estimated; `direction`: what was estimated.
    - `dropped`: as in [`Panel`][]`.dropped`.
    - `weight`: (n,) survey weights of the people, if there are any.
    """

    predictions: Any
    report: Any
    shares: Any
    estimates: Estimates
    direction: Direction
    dropped: Mapping[str, int] = dataclasses.field(default_factory=dict)
    lower: Any = None
    upper: Any = None
    draws: Any = None
    joint: Mapping[str, bool] = dataclasses.field(default_factory=dict)
    weight: Float[np.ndarray, " n"] | None = None


def estimate_panel(
    panel: Panel,
    direction: Direction = "question",
    targets: Iterable[str] | None = None,
    *,
    intervals: float | None = None,
    draws: int | None = None,
    sample_weight: Numbers | None = None,
    key: Key = 0,
    on_fit: Any = None,
    backend: str = "pandas",
) -> EstimatedFiles:
    """Estimate the targets of a panel.

    **Arguments:**

    - `panel`: human and twin answers; its `blocks` say which questions are of one battery.
    - `direction`: `"question"` to estimate questions, `"user"` to estimate people.
    - `targets`: identifiers to estimate; by default all without any human answer. Human answers to
      a named question are used.
    - `intervals`: the share of answers that intervals cover; none by default. For questions only.
    - `draws`: how many answers to draw for every person and question; none by default.
    - `sample_weight`: (n,) survey weights of the people, of which only the ratios matter.
    - `key`: decides the folds and the draws; a JAX random key or an integer.
    - `on_fit`: called with (fits done, fits in all).
    - `backend`: the kind of the result's data frames, as in [`Panel.to_frames`][].

    **Raises:** `ValueError` as [`with_targets`][], the estimators and `Estimates.draws` do, for
    intervals or draws of people, and for a question called `draw`; `ImportError` without pandas.
    """
    pd = import_pandas()
    _check_direction(direction, intervals, draws)
    everybody = panel.users
    panel, names = with_targets(panel, direction, targets)
    if draws is not None and "draw" in names:
        raise ValueError("`draws`: a question is called 'draw', as is the column of their numbers")
    weight = weights_of(panel.users, sample_weight, everybody)
    options = {"sample_weight": weight, "key": key, "on_fit": on_fit}
    if direction == "question":
        levels = () if intervals is None else (intervals,)
        estimates = estimate_questions(panel, names, intervals=levels, **options)
    else:
        estimates = estimate_users(panel, names, **options)

    def table(values: Any) -> Any:
        axes = {"index": list(estimates.users), "columns": list(estimates.questions)}
        return pd.DataFrame(shortest(values), **axes)

    predictions, lower, upper = table(estimates.prediction), None, None
    if intervals is not None:
        interval = estimates.intervals(intervals)
        lower, upper = table(interval.lower), table(interval.upper)
    report = pd.DataFrame(
        {
            "setting": list(estimates.setting),
            "human_answers": estimates.known_answers,
            **(_levels(panel, estimates) if direction == "question" else {}),
            "status": [Status(int(code)).word for code in estimates.status],
            "imputation": [Status(int(code)).word for code in estimates.imputation_status],
        },
        index=list(names),
    )
    report.index.name = direction
    columns = ["question", "option", "share", "low", "high"]
    shares = pd.DataFrame(_shares(estimates), columns=columns)
    drawn, joint = None, {}
    if draws is not None:
        drawn, joint = _drawn(estimates, draws, key), estimates.answer_model()[1]
    out = predictions, report, shares, estimates, direction, panel.dropped
    return with_backend(EstimatedFiles(*out, lower, upper, drawn, joint, weight), backend)


def estimate_files(
    human: Table,
    twin: Table,
    *,
    new_users: bool = False,
    targets: Iterable[str] | None = None,
    weights: str | None = None,
    questions: Table | None = None,
    batteries: bool = False,
    id_column: str | None = None,
    join: Literal["error", "inner"] = "error",
    missing: str | Iterable[Any] = (),
    intervals: float | None = None,
    draws: int | None = None,
    key: Key = 0,
    on_fit: Any = None,
    backend: str | None = None,
) -> EstimatedFiles:
    """Read two tables, match them by identifier, and estimate what people have not answered.

    **Arguments:**

    - `human`, `twin`: the tables of human and of twin answers, respondents x questions: paths, or
      data frames of pandas, polars or Arrow.
    - `new_users`: estimate the twins' new respondents instead of their new questions.
    - `targets`, `intervals`, `draws`, `key`, `on_fit`: as in [`estimate_panel`][].
    - `weights`, `questions`, `batteries`, `id_column`, `join`, `missing`: as in [`read_panel`][].
    - `backend`: the kind of the result's data frames, as in [`Panel.to_frames`][]; by default that
      of `human`, and pandas for a file.

    **Returns:** an [`EstimatedFiles`][]. **Raises:** `ValueError` for tables or questions that
    cannot be used, and as [`estimate_panel`][].
    """
    direction: Direction = "user" if new_users else "question"
    _check_direction(direction, intervals, draws)
    read = read_panel(
        human, twin, weights=weights, questions=questions, batteries=batteries,
        new_users=new_users, id_column=id_column, join=join, missing=missing,
    )  # fmt: skip
    options = {"intervals": intervals, "draws": draws, "key": key, "on_fit": on_fit}
    found = estimate_panel(read.panel, direction, targets, sample_weight=read.weight, **options)
    for table in (found.predictions, found.lower, found.upper, found.draws):
        if table is not None:
            table.index.name = read.index
    return with_backend(found, backend_of(human) if backend is None else backend)


def _levels(panel: Panel, estimates: Estimates) -> dict[str, Any]:
    at = [panel.questions.index(name) for name in estimates.questions]
    return {
        "twin_mean": np.nanmean(panel.twin[:, at], axis=0),
        "mean": estimates.mean,
        "mean_low": np.asarray(estimates.mean_interval.lower),
        "mean_high": np.asarray(estimates.mean_interval.upper),
        "sd": estimates.sd,
    }


def _check_direction(direction: Direction, intervals: float | None, draws: int | None) -> None:
    if draws is not None:
        check_count("draws", draws)
    if direction == "question":
        return
    if intervals is not None:
        raise ValueError("`intervals` are for new questions, not for new people")
    if draws is not None:
        raise ValueError("`draws` are of new questions, not of new people")


def _drawn(estimates: Estimates, draws: int, key: Key) -> Any:
    """A row per respondent and draw, respondents in the order of the predictions in every draw."""
    pd = import_pandas()
    values = estimates.draws(draws, key=key)
    table = pd.DataFrame(
        shortest(values.reshape(-1, len(estimates.questions))),
        index=list(estimates.users) * draws,
        columns=list(estimates.questions),
    )
    table.insert(0, "draw", np.repeat(np.arange(1, draws + 1), len(estimates.users)))
    return table


def _shares(estimates: Estimates) -> list[tuple[Any, ...]]:
    rows = []
    if estimates.direction == "question":
        for name in estimates.questions:
            try:
                options = estimates.options(name)
            except ValueError:
                continue
            if 2 <= len(options) <= MOST_OPTIONS:
                ends = estimates.shares_interval(name)
                columns = options, estimates.shares(name), ends.lower, ends.upper
                rows += [(name, *map(float, row)) for row in zip(*columns, strict=True)]
    return rows
