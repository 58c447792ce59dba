"""A mean, share or difference of a population from a user's own tables: few people, many twins."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from syndigits_jax.datasets import read_questions, read_table
from syndigits_jax.estimation import estimate_questions
from syndigits_jax.evaluation import other_answers, person_mean
from syndigits_jax.inference import (
    Basis,
    Estimate,
    cross_fit,
    person_folds,
    ppi_difference,
    ppi_mean,
    ppi_share,
)
from syndigits_jax.panel import Panel
from syndigits_jax.results.keys import Key, random_key
from syndigits_jax.solvers.boundary import Numbers, as_float, listed
from syndigits_jax.tables.cells import MissingCodes
from syndigits_jax.tables.frames import Table, as_backend, import_pandas
from syndigits_jax.workflows.blocks import with_batteries, with_questions
from syndigits_jax.workflows.people import (
    as_label,
    checked_weights,
    design_effect,
    people_column,
    people_labels,
    people_weights,
    without_columns,
)

WHAT = ("mean", "share", "difference")
RAW, CALIBRATED, OTHERS = "raw twins", "calibrated twins", "other answers, no twin"
FOLDS = 5


@dataclass(frozen=True)
class TargetEstimate:
    """What a population would answer, from the people asked and everybody's proxies.

    - `target`, `what`, `level`: what is estimated, and the coverage of intervals.
    - `estimates`: by proxies: [`RAW`][], [`CALIBRATED`][] (the estimate `auto`, made without the
      people's answers to the target) and [`OTHERS`][], what people's other answers say without
      any twin: their mean, and a regression on them that is fitted out of folds. Each has the
      classical estimate beside it.
    - `chosen`: the one to report, decided before any answer to the target is seen: calibrated
      twins, or raw ones where there is nothing to calibrate by.
    - `unavailable`: why others are missing, by proxies.
    - `people`: in the tables; `groups`: the two groups of a difference, first and second;
      `answers`: those whose share it is.
    - `dropped`: as in [`Panel`][]`.dropped`.
    - `design_effect`: of the weights of the people asked (Kish, 1965), n Σw² / (Σw)²: so many of
      them say as much of the mean as one of people with equal weights. 1 without weights.
    """

    target: str
    what: str
    level: float
    estimates: Mapping[str, Estimate]
    chosen: str
    people: int
    groups: tuple[str, ...] = ()
    answers: tuple[float, ...] = ()
    unavailable: Mapping[str, str] = dataclasses.field(default_factory=dict)
    dropped: Mapping[str, int] = dataclasses.field(default_factory=dict)
    design_effect: float = 1.0

    @property
    def estimate(self) -> Estimate:
        """The one to report."""
        return self.estimates[self.chosen]

    @property
    def basis(self) -> Basis:
        """What its interval rests on."""
        return Basis(int(self.estimate.basis))

    def table(self, backend: str = "pandas") -> Any:
        """One row per set of proxies, people alone first, as a data frame.

        **Arguments:** `backend`: its kind, as in [`Panel.to_frames`][].
        """
        rows = {"people alone": self._row(self.estimate.classical)}
        for name, found in self.estimates.items():
            extra = {
                "effective_people": float(found.effective_people),
                "worth": float(found.worth),
                "basis": Basis(int(found.basis)).word,
            }
            rows[name] = self._row(found) | extra
        frame = import_pandas().DataFrame.from_dict(rows, orient="index")
        frame.index.name = "proxies"
        return as_backend(frame, backend)

    @staticmethod
    def _row(one: Any) -> dict[str, Any]:
        names = "value", "standard_error", "lower", "upper"
        return {name: float(getattr(one, name)) for name in names}


def estimate_target(
    panel: Panel,
    target: str,
    *,
    what: str = "mean",
    group: Any = None,
    answers: Iterable[float] = (),
    sample_weight: Numbers | None = None,
    level: float = 0.95,
    finite: bool = False,
    key: Key = 0,
    on_fit: Any = None,
) -> TargetEstimate:
    """Estimate a population's answer to a question that some of its people were asked.

    **Arguments:**

    - `panel`: human and twin answers; the people asked have an answer to `target`. Who was asked
      should be decided at random.
    - `target`: the question.
    - `what`: `"mean"`; `"share"` of people who give one of `answers`; `"difference"` of means (or,
      with `answers`, of shares) between the two groups of `group`, second less first.
    - `group`: (n,) label of each person's group.
    - `sample_weight`: (n,) survey weights of the people; those of weight 0 do not count. They
      count in the calibration, in the regression on people's other answers and in the estimate.
    - `level`: coverage of intervals.
    - `finite`: whether the people of the panel are the population.
    - `key`: of the folds; a JAX random key or an integer.
    - `on_fit`: called with (fits done, fits in all).

    **Raises:** `ValueError` for an unknown target, fewer than two people asked (in a group too),
    groups of other than two kinds, answers that do not go with `what`, or weights that are
    negative, not finite or all zero.
    """
    answers = tuple(answers)
    weight = np.ones(panel.n)
    if sample_weight is not None:
        given = np.asarray(as_float("sample_weight", sample_weight), np.float64)
        weight = checked_weights(given, panel.users, "sample_weight")
        weight = weight / weight.max()
    group = None if group is None else listed(group)
    _check(panel, target, what, group, answers, weight)
    at = panel.questions.index(target)
    truth, twin = np.where(weight > 0, panel.human[:, at], np.nan), panel.twin[:, at]
    if answers:
        truth, twin = (
            np.where(np.isnan(one), np.nan, np.isin(one, answers).astype(float))
            for one in (truth, twin)
        )
    names, members = _groups(panel, group, truth)
    proxies: dict[str, Float[np.ndarray, "n ..."]] = {RAW: twin}
    unavailable: dict[str, str] = {}
    hidden = np.zeros((panel.n, panel.m), bool)
    hidden[:, at] = True
    bare = panel.with_missing(human=hidden) if _others(panel, at) else None
    if bare is None:
        for name in (CALIBRATED, OTHERS):
            unavailable[name] = "fewer than two other questions have human answers"
    else:
        options = {"sample_weight": weight, "key": key, "on_fit": on_fit}
        proxies[CALIBRATED] = _calibrated(bare, target, answers, options)
        if np.sum(~np.isnan(truth)) < 2 * FOLDS:
            unavailable[OTHERS] = f"it takes {2 * FOLDS} people asked"
        else:
            folds = person_folds(random_key(key), truth, FOLDS)
            others = np.delete(panel.human, at, axis=1)
            learn = other_answers(others, sample_weight=weight)
            learnt = np.asarray(cross_fit(learn, truth, folds))
            proxies[OTHERS] = np.stack([person_mean(others, sample_weight=weight), learnt], axis=1)

    def one(proxy: Float[np.ndarray, "n ..."]) -> Estimate:
        options = {"sample_weight": weight, "finite": finite, "level": level}
        if what == "difference":
            return ppi_difference(truth, proxy, members, **options)
        return (ppi_share if what == "share" else ppi_mean)(truth, proxy, **options)

    return TargetEstimate(
        target=target,
        what=what,
        level=level,
        estimates={name: jax.device_get(one(proxy)) for name, proxy in proxies.items()},
        chosen=CALIBRATED if CALIBRATED in proxies else RAW,
        people=panel.n,
        groups=names,
        answers=answers,
        unavailable=unavailable,
        dropped=panel.dropped,
        design_effect=design_effect(weight[~np.isnan(truth)]),
    )


def estimate_target_files(
    human: Table,
    twin: Table,
    target: str,
    *,
    what: str = "mean",
    group: str | None = None,
    answers: Iterable[float] = (),
    weights: str | None = None,
    level: float = 0.95,
    finite: bool = False,
    questions: Table | None = None,
    batteries: bool = False,
    id_column: str | None = None,
    join: str = "error",
    missing: str | Iterable[Any] = (),
    key: Key = 0,
    on_fit: Any = None,
) -> TargetEstimate:
    """[`estimate_target`][] of two tables, matched by identifier.

    **Arguments:** `human`, `twin`, `questions`, `batteries`, `id_column`, `join`, `missing`: as in
    [`estimate_files`][syndigits_jax.workflows.estimate.estimate_files]; `target`, `what`,
    `answers`, `level`, `finite`, `key`, `on_fit`: as in [`estimate_target`][]; `group`: a column of
    `human`, or of `twin`, with two kinds of labels; `weights`: such a column of survey weights.

    **Raises:** `ValueError` as these do, for a column that neither table has, and for weights that
    are missing or no numbers.
    """
    codes = MissingCodes.of(missing)
    tables = {
        name: read_table(path, id_column, numeric=False, questions=questions, argument=name)
        for name, path in (("human", human), ("twin", twin))
    }
    cells: dict[str, dict[str, Any]] = {}
    for option, column in (("group", group), ("weights", weights)):
        if column is None:
            continue
        if column == target:
            raise ValueError(f"`{option}`: {column!r} is the target")
        if option == "weights" and column == group:
            raise ValueError(f"`{option}`: {column!r} is the column of the groups")
        cells[option] = people_column(tables, column, option)
        tables = without_columns(tables, [column])
    panel = Panel.from_frames(
        tables["human"], tables["twin"], join=join, new_questions=True, new_users=True,
        missing=codes,
    )  # fmt: skip
    if questions is not None:
        panel = with_questions(panel, read_questions(questions))
    if batteries and not panel.blocks:
        panel = with_batteries(panel)
    groups = None if group is None else people_labels(cells["group"], panel.users)
    weight = None if weights is None else people_weights(cells["weights"], panel.users)
    return estimate_target(
        panel, target, what=what, group=groups, answers=answers, sample_weight=weight, level=level,
        finite=finite, key=key, on_fit=on_fit,
    )  # fmt: skip


def _check(
    panel: Panel,
    target: str,
    what: str,
    group: Sequence[Any] | None,
    answers: tuple[float, ...],
    weight: Float[np.ndarray, " n"],
) -> None:
    if what not in WHAT:
        raise ValueError(f"`what` must be one of {WHAT}, got {what!r}")
    if target not in panel.questions:
        raise ValueError(f"`target`: {target!r} is no question of both tables")
    if what == "share" and not answers:
        raise ValueError("`answer`: name the answer (or answers) whose share is wanted")
    if what == "mean" and answers:
        raise ValueError("`answer` is for a share or a difference of shares")
    if (what == "difference") != (group is not None):
        raise ValueError("`group` and the difference go together: name the column of the groups")
    if group is not None and len(group) != panel.n:
        raise ValueError(f"`group` must have a label for each of {panel.n} people")
    given = panel.human[:, panel.questions.index(target)]
    counted = int(np.sum(~np.isnan(given) & (weight > 0)))
    if counted < 2 and not np.all(np.isnan(given)):
        who = "one person" if counted == 1 else "nobody"
        counts = "" if weight.all() else " with positive weight"
        raise ValueError(
            f"`target`: {who}{counts} has answered {target!r}; an interval needs at least two"
        )
    if np.all(np.isnan(given)):
        raise ValueError(
            f"`target`: nobody has answered {target!r}; `syndigits calibrate` estimates such "
            "questions"
        )
    never = [value for value in answers if value not in given]
    if len(never) == len(answers) > 0:
        raise ValueError(f"`answer`: nobody gave {', '.join(f'{value:g}' for value in never)}")


def _groups(
    panel: Panel, group: Sequence[Any] | None, truth: Float[np.ndarray, " n"]
) -> tuple[tuple[str, ...], list[str]]:
    """The two groups, and the group of everybody."""
    if group is None:
        return (), []
    labels = [as_label(one) for one in group]
    if lost := sum(not one for one in labels):
        raise ValueError(f"`group`: {lost} of {panel.n} people have no label")
    names = tuple(sorted(set(labels)))
    if len(names) != 2:
        shown = ", ".join(names[:5])
        raise ValueError(f"`group` must have labels of two kinds, got {len(names)}: {shown}")
    for name in names:
        count = sum(one == name and not np.isnan(y) for one, y in zip(labels, truth, strict=True))
        if count < 2:
            raise ValueError(
                f"`group`: {count} people of {name!r} were asked; an interval needs at least two"
            )
    return names, labels


def _others(panel: Panel, at: int) -> bool:
    """Whether there are known questions to calibrate by."""
    return int(np.sum(np.delete(panel.human_mask, at, axis=1).any(axis=0))) >= 2


def _calibrated(
    bare: Panel, target: str, answers: tuple[float, ...], options: Mapping[str, Any]
) -> Float[np.ndarray, " n"]:
    """Everybody's estimated answer, or probability of one of `answers`."""
    found = estimate_questions(bare, [target], expect=False, **options)
    if answers:
        try:
            listed = found.options(target)
        except ValueError:  # no list of options: the estimated answer is a proxy too
            return found.prediction[:, 0]
        chosen = np.isin(np.round(listed, 6), np.round(answers, 6))
        if chosen.any():
            return found.option_probabilities(target)[:, chosen].sum(axis=1)
    return found.prediction[:, 0]
