"""For whom the twins hold: errors by group of people, and whether calibration helped a group."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from syndigits_jax.evaluation import GroupErrors, group_errors, group_mean_control
from syndigits_jax.evaluation.group_errors import THRESHOLDS
from syndigits_jax.inference import Resampled, SimultaneousIntervals, shrink
from syndigits_jax.plots import plot_group_intervals
from syndigits_jax.report import Claim, Column, Figure, Section, Table
from syndigits_jax.report.contents import Cell
from syndigits_jax.results.keys import random_key

from .evidence import AUTO, RAW, Evidence
from .wording import listed, number, percent

FEWEST_PEOPLE = 20
"""Groups of fewer people are left out."""
FEWEST_ANSWERS = 10
"""Questions are compared which so many people of every group answered."""
FEWEST_QUESTIONS = 5
"""Groups are compared on so many questions or more."""
MOST_GROUPS = 20
"""Of a column with more groups, the largest are compared."""

GROUP_MEANS = "group means, no twins"
_SOURCE = "syndigits_jax.evaluation.group_errors(estimates, truth, groups, key=key)"


class _Measure(NamedTuple):
    """`name`: of a field of `GroupErrors`; `better`: +1 if more is, -1 if less, 0 for neither."""

    name: str
    title: str
    words: str
    better: int
    square: bool
    pair: str
    pair_title: str


_MEASURES = (
    _Measure("level", "Error of the mean", "the error of the mean answer", -1, True,
             "gap", "Error of the difference of means"),
    _Measure("spread", "Spread", "the spread", 0, False, "spread", "Difference of spreads"),
    _Measure("correlation", "Correlation", "the correlation", 1, False,
             "correlation", "Difference of correlations"),
    _Measure("distribution", "Error of the distribution", "the error of the distribution", -1, True,
             "distribution_gap", "Error of the difference of distributions"),
)  # fmt: skip


def groups_section(evidence: Evidence) -> Section | None:
    """Errors per group and pair of groups, for every column of groups; `None` without one.

    **Arguments:** `evidence`: with `inputs.groups`.
    """
    given = evidence.inputs.groups
    if not given:
        return None
    # One family of intervals over all columns.
    level = 1 - (1 - evidence.level) / len(given)
    claims, tables, figures, notes = [], [], [], []
    for column, labels in given.items():
        chosen = _chosen(evidence, column, labels)
        notes += chosen.notes
        if chosen.people is None:
            continue
        found = _Found.of(evidence, chosen, level)
        claims += _claims(found, column, evidence.level)
        tables += [_table(found, column), _pair_table(found, column)]
        figures += [_figure(found, column, name) for name in ("level", "correlation")]
    if tables:
        notes += _remarks(evidence, len(given))
    return Section("groups", "For whom", tuple(claims), tuple(tables), tuple(figures), tuple(notes))


class _Chosen(NamedTuple):
    """Who and what is compared: labels ("" for who is left out), (n,) and (q,) masks; `None` for
    `people` where nothing can be."""

    labels: tuple[str, ...]
    people: Bool[np.ndarray, " n"] | None
    questions: Bool[np.ndarray, " q"]
    notes: tuple[str, ...]


def _chosen(evidence: Evidence, column: str, labels: Sequence[str]) -> _Chosen:
    label = np.array([str(one) for one in labels], dtype=object)
    used = _answered(evidence)
    some = used.any(axis=0)
    notes = []
    if unlabelled := int(np.sum((label == "") & some)):
        notes.append(f"{column}: {_people(unlabelled)} without a label do not count.")
    names = sorted(set(label[some]) - {""})
    size = {name: int(np.sum((label == name) & some)) for name in names}
    counts = {name: used[:, label == name].sum(axis=1) for name in names}

    def without(reason: str, kept: Iterable[str]) -> list[str]:
        kept = set(kept)
        out = [f"{name} ({size[name]})" for name in names if name not in kept]
        if out:
            shown = ", ".join(out[:10]) + (f" and {len(out) - 10} more" if len(out) > 10 else "")
            notes.append(f"{column}: left out, {reason} (people): {shown}.")
        return [name for name in names if name in kept]

    names = without(
        f"with fewer than {FEWEST_PEOPLE} people", [k for k in names if size[k] >= FEWEST_PEOPLE]
    )
    enough = {name: counts[name] >= FEWEST_ANSWERS for name in names}
    half = max(FEWEST_QUESTIONS, len(evidence.questions) / 2)
    names = without(
        f"with fewer than {FEWEST_ANSWERS} answers to most questions",
        [k for k in names if enough[k].sum() >= half],
    )
    largest = sorted(names, key=lambda name: -size[name])[:MOST_GROUPS]
    names = without(f"beyond the {MOST_GROUPS} largest groups", largest)
    questions = np.all([enough[name] for name in names], axis=0) if names else np.zeros(0, bool)
    if len(names) < 2 or questions.sum() < FEWEST_QUESTIONS:
        what = "fewer than two groups" if len(names) < 2 else "too few questions that all answered"
        notes.append(f"{column}: groups cannot be compared, as {what} are left.")
        return _Chosen((), None, questions, tuple(notes))
    if (fewer := len(questions) - int(questions.sum())) > 0:
        notes.append(
            f"{column}: {fewer} of {len(questions)} questions do not count, as a group has fewer "
            f"than {FEWEST_ANSWERS} answers to them."
        )
    kept = np.isin(label, names)
    return _Chosen(tuple(np.where(kept, label, "")), kept, questions, tuple(notes))


def _answered(evidence: Evidence) -> Bool[np.ndarray, "q n"]:
    there = ~np.isnan(evidence.truth) & (evidence.weight > 0)[None]
    for name in (RAW, AUTO):
        there &= ~np.isnan(evidence.predictions[name])
    return there


@dataclasses.dataclass(frozen=True)
class _Found:
    """What one column of groups shows, with intervals at `level`."""

    errors: GroupErrors
    level: float
    df: float
    people: tuple[int, ...]
    questions: int
    points: bool

    @classmethod
    def of(cls, evidence: Evidence, chosen: _Chosen, level: float) -> "_Found":
        assert chosen.people is not None
        rows, people = np.flatnonzero(chosen.questions), np.flatnonzero(chosen.people)

        def part(values: np.ndarray) -> np.ndarray:
            return values[np.ix_(rows, people)]

        labels = [chosen.labels[i] for i in people]
        block = None if evidence.block is None else [evidence.block[j] for j in rows]
        if block is not None and len(set(block)) < FEWEST_QUESTIONS:
            block = None
        truth, weight = evidence.unit_truth, evidence.weight[people]
        # Of all questions: those that are not compared here are known too.
        control = group_mean_control(truth[:, people], labels, sample_weight=weight)[rows]
        estimates = {name: part(evidence.units(evidence.predictions[name])) for name in (RAW, AUTO)}
        estimates[GROUP_MEANS] = control
        shapes = _distributions(evidence, rows, people, estimates)
        found = group_errors(
            estimates, part(truth), labels, key=random_key(evidence.key), blocks=block,
            sample_weight=weight, **shapes,
        )  # fmt: skip
        used = part(_answered(evidence)).any(axis=0)
        counts = [int(np.sum(used & (np.array(labels) == name))) for name in found.groups]
        units = len(rows) if block is None else len(set(block))
        return cls(found, level, float(units - 1), tuple(counts), len(rows), not shapes)

    def twins(self, name: str) -> Resampled:
        """Raw and calibrated twins: (2, g) or (2, p)."""
        return getattr(self.errors, name).contrast(lambda v: v[:2])

    def intervals(self, found: Resampled) -> SimultaneousIntervals:
        return found.intervals(self.level, df=self.df)

    @functools.cached_property
    def share(self) -> Any:
        return self.errors.share

    def average(self, name: str) -> Resampled:
        """(2,) over the groups, by their people."""
        return self.twins(name).contrast(lambda v: v @ self.share)

    def from_average(self, name: str) -> Resampled:
        """(2, g) a group's value less the average over groups."""
        return self.twins(name).contrast(lambda v: v - (v @ self.share)[:, None])

    def helped(self, measure: _Measure) -> SimultaneousIntervals:
        """(g,) how much better calibrated twins are than raw ones."""
        sign = float(measure.better)
        return self.intervals(self.twins(measure.name).contrast(lambda v: sign * (v[1] - v[0])))

    def shrunk(self, name: str) -> Float[np.ndarray, "2 g"]:
        """The groups drawn to their average."""
        centre = np.asarray(self.average(name).value)
        away = self.intervals(self.from_average(name))
        rows = [
            shrink(away.value[e], away.standard_error[e], centre=0.0).value + centre[e]
            for e in range(2)
        ]
        return np.asarray(rows, np.float64)


def _distributions(
    evidence: Evidence, rows: np.ndarray, people: np.ndarray, estimates: Mapping[str, Any]
) -> dict[str, Any]:
    """Variances about the estimates, and cumulative shares at the thresholds, where the calibrated
    twins' probabilities of options are known; nothing where they are of no question."""
    known = evidence.probabilities
    if known is None:
        return {}
    place = {question: i for i, question in enumerate(known.questions)}
    shape = (len(rows), len(people))
    within = {name: np.zeros(shape) for name in estimates}
    cumulative = {
        name: (np.asarray(values)[..., None] <= THRESHOLDS).astype(float)
        for name, values in estimates.items()
    }
    cumulative[AUTO] = np.full((*shape, len(THRESHOLDS)), np.nan)
    for at, j in enumerate(rows):
        i = place.get(evidence.questions[j])
        if i is None:
            continue
        unit = (np.asarray(known.options[i]) - evidence.low[j]) / evidence.width[j]
        chance = known.probabilities[i, people, : len(unit)]
        cumulative[AUTO][at] = chance @ (unit[:, None] <= THRESHOLDS[None])
        within[AUTO][at] = np.maximum(chance @ unit**2 - (chance @ unit) ** 2, 0)
    if np.isnan(cumulative[AUTO]).all(axis=(1, 2)).all():
        return {}
    return {"within": within, "cumulative": cumulative}


def _claims(found: _Found, column: str, level: float) -> list[Claim]:
    claims = []
    for measure in _MEASURES:
        if not measure.better:
            continue
        for e, name in ((1, AUTO), (0, RAW)):
            claims += _worst(found, column, measure, e, name, level)
        claims += _helped(found, column, measure, level)
    if not any(".calibration_" in claim.name for claim in claims):
        text = f"{column}: for no group can it be told whether calibration helped or harmed it."
        claims.append(Claim(f"groups.{column}.calibration", text, {}, level, "", _SOURCE))
    return claims


def _worst(
    found: _Found, column: str, measure: _Measure, e: int, name: str, level: float
) -> list[Claim]:
    """The worst group, if it can be told from the average of the groups; of raw twins only then."""
    own, average = found.intervals(found.twins(measure.name)), found.average(measure.name)
    away = found.intervals(found.from_average(measure.name))
    mean, between = found.intervals(average), np.asarray(average.value)[e]
    sign, say = -measure.better, _sayer(measure)
    ends = (own.lower, away.lower) if sign > 0 else (own.upper, away.upper)
    beyond = (sign * (np.asarray(ends[0])[e] - between) > 0) & (sign * np.asarray(ends[1])[e] > 0)
    beyond &= np.asarray(own.standard_error)[e] > 0
    worst = int(np.argmax(np.where(beyond, sign * np.asarray(own.value)[e], -np.inf)))
    key = f"groups.{column}.{measure.name}_{'calibrated' if e else 'raw'}"
    if not beyond[worst]:
        if not e:
            return []
        ends = say(mean.lower[e]), say(mean.upper[e])
        text = (
            f"{column}: no group can be told from the average of the groups in {measure.words} of "
            f"{name} ({say(between)} on average, {percent(level)} interval {ends[0]} to {ends[1]})."
        )
        values = _values(measure, mean.value[e], mean.lower[e], mean.upper[e])
        return [Claim(key, text, values, level, "", _SOURCE)]
    group = found.errors.groups[worst]
    numbers = [end[e, worst] for end in (own.value, own.lower, own.upper)]
    text = (
        f"{column}: {name} are worst for {group} in {measure.words}: {say(numbers[0])} "
        f"({percent(level)} interval {say(numbers[1])} to {say(numbers[2])}, which holds for all "
        f"groups at once), against {say(between)} on average over the groups."
    )
    values = _values(measure, *numbers) | {"average": _values(measure, between)["estimate"]}
    return [Claim(key, text, values, level, f"worst group: {group}", _SOURCE)]


def _helped(found: _Found, column: str, measure: _Measure, level: float) -> list[Claim]:
    gain = found.helped(measure)
    sure = np.asarray(gain.standard_error) > 0
    claims = []
    for verb, done, told in (
        ("helps", "better", np.asarray(gain.lower) > 0),
        ("harms", "worse", np.asarray(gain.upper) < 0),
    ):
        groups = [g for g, one in zip(found.errors.groups, told & sure) if one]
        if not groups:
            continue
        everybody = len(groups) == len(found.errors.groups)
        who = f"every group ({listed(groups)})" if everybody else listed(groups)
        text = f"{column}: calibration makes {measure.words} {done} for {who}."
        claims.append(
            Claim(
                f"groups.{column}.calibration_{verb}_{measure.name}", text, {}, level,
                f"calibration {verb}: {', '.join(groups)}", _SOURCE,
            )
        )  # fmt: skip
    return claims


def _table(found: _Found, column: str) -> Table:
    rows: list[dict[str, Cell]] = []
    alone = found.errors.level.contrast(lambda v: v[2])
    control = found.intervals(alone)
    for measure in _MEASURES:
        own, drawn = found.intervals(found.twins(measure.name)), found.shrunk(measure.name)
        gain = found.helped(measure) if measure.better else None
        for g, group in enumerate(found.errors.groups):
            row: dict[str, Cell] = {
                "measure": measure.title, "group": group, "people": found.people[g],
            }  # fmt: skip
            for e, key in enumerate(("raw", "calibrated")):
                row |= _cells(key, measure, own, (e, g))
                row[f"{key}_shrunk"] = _shown(measure, drawn[e, g])
            if measure.name == "level":
                row |= _cells("group_means", measure, control, (g,))
            if gain is not None:
                row["calibration"] = _verdict(gain, g)
                for end in ("value", "lower", "upper"):
                    row[f"gain_{end}"] = float(getattr(gain, end)[g])
            rows.append(row)
    note = (
        "Errors are in shares of the range of the answers, typical for a question (root mean "
        "square), less what the sampling of people alone gives; 0 where nothing is left. Spread: "
        "standard deviation of twins over that of people. Intervals in brackets hold for all "
        "groups, and for raw and calibrated twins, at once. Drawn together: the same, moved "
        "towards the average of the groups as far as chance explains their differences, the best "
        "guess for one group. Calibration: whether it makes the group's twins better, where that "
        "can be told."
    )
    return Table(
        f"groups_{column}",
        f"Twins by {column}",
        (
            Column("measure", "Measure", "text"),
            Column("group", column, "text"),
            Column("people", "People", "count"),
            *_twin_columns("Raw twins", "raw"),
            *_twin_columns("Calibrated", "calibrated"),
            _interval_column("group_means", "Group means alone"),
            Column("calibration", "Calibration", "text"),
        ),
        tuple(rows),
        note,
        _SOURCE,
    )


def _pair_table(found: _Found, column: str) -> Table:
    rows: list[dict[str, Cell]] = []
    names, pairs = found.errors.groups, found.errors.pairs
    first, second = np.array(pairs).T
    control = found.intervals(found.errors.gap.contrast(lambda v: v[2]))
    for measure in _MEASURES:
        values = found.twins(measure.pair)
        if not measure.square:
            values = values.contrast(lambda v: v[:, first] - v[:, second])
        own = found.intervals(values)
        for p, (g, h) in enumerate(pairs):
            row: dict[str, Cell] = {
                "measure": measure.pair_title, "first": names[g], "second": names[h],
            }  # fmt: skip
            for e, key in enumerate(("raw", "calibrated")):
                row |= _cells(key, measure, own, (e, p))
            if measure.pair == "gap":
                row |= _cells("group_means", measure, control, (p,))
            rows.append(row)
    note = (
        "How wrong twins are about the difference between two groups of people: of their mean "
        "answers, and of their distributions of answers; and how much the spread and the "
        "correlation of twins of the first group are above those of the second. Units and "
        "intervals as above; they hold for all pairs at once."
    )
    return Table(
        f"group_pairs_{column}",
        f"Differences between groups, by {column}",
        (
            Column("measure", "Measure", "text"),
            Column("first", "First", "text"),
            Column("second", "Second", "text"),
            _interval_column("raw", "Raw twins"),
            _interval_column("calibrated", "Calibrated"),
            _interval_column("group_means", "Group means alone"),
        ),
        tuple(rows),
        note,
        _SOURCE,
    )


def _figure(found: _Found, column: str, name: str) -> Figure:
    (measure,) = (one for one in _MEASURES if one.name == name)
    own = found.intervals(found.twins(name))
    between = np.asarray(found.average(name).value)
    both = (RAW, AUTO)
    ends = [
        [[_shown(measure, cell) for cell in np.asarray(end)[e]] for end in
         (own.value, own.lower, own.upper)] for e in range(2)
    ]  # fmt: skip
    average = {one: _shown(measure, between[e]) for e, one in enumerate(both)}
    unit = ", in shares of the answers' range" if measure.square else ""

    def draw(ax: Any) -> Any:
        return plot_group_intervals(
            found.errors.groups,
            dict(zip(both, ends)),
            xlabel=measure.title + unit,
            overall=average,
            overall_label="average",
            counts=found.people,
            ax=ax,
        )

    best = "more is better" if measure.better > 0 else "less is better"
    said = "; ".join(
        f"{group}: {ends[0][0][g]:.2f} raw, {ends[1][0][g]:.2f} calibrated"
        for g, group in enumerate(found.errors.groups)
    )
    return Figure(
        f"groups_{column}_{name}",
        f"{measure.title} by {column}",
        draw,
        f"A dot is the value of a group, and its bar an interval; the bars hold at once with "
        f"probability {percent(found.level, 1).replace('.0%', '%')} for all groups and both kinds "
        f"of twins. Vertical lines: averages of the groups. {best.capitalize()}. In brackets: "
        "people.",
        f"{measure.title} by {column}. {said}.",
        size=(6.4, min(1.2 + 0.45 * len(found.people), 8.0)),
    )


def _remarks(evidence: Evidence, columns: int) -> list[str]:
    notes = []
    if columns > 1:
        notes.append(f"Intervals of groups hold for all {columns} columns of groups at once.")
    if evidence.probabilities is None:
        notes.append(
            "The options of no question can be listed, so spread and distribution of calibrated "
            "twins are those of their expected answers, which vary less than answers do."
        )
    notes.append(
        "Group means alone: everybody is expected to answer as high as their group does on the "
        "other questions on average. It uses no twin and none of the question's answers."
    )
    return notes


def _twin_columns(title: str, key: str) -> tuple[Column, Column]:
    drawn = Column(f"{key}_shrunk", f"{title}, drawn together", "number")
    return _interval_column(key, title), drawn


def _interval_column(key: str, title: str) -> Column:
    return Column(key, title, "number", low=f"{key}_low", high=f"{key}_high")


def _cells(
    key: str, measure: _Measure, found: SimultaneousIntervals, at: tuple[int, ...]
) -> dict[str, Cell]:
    """An estimate and the ends of its interval; nothing where there is none."""
    if not float(found.standard_error[at]) > 0:
        return {key: None, f"{key}_low": None, f"{key}_high": None}
    names = {key: found.value, f"{key}_low": found.lower, f"{key}_high": found.upper}
    return {name: _shown(measure, values[at]) for name, values in names.items()}


def _shown(measure: _Measure, value: Any) -> float:
    """Roots of squares, 0 where noise is all there is."""
    plain = float(value)
    return float(np.sqrt(np.maximum(plain, 0))) if measure.square else plain


def _values(measure: _Measure, *numbers: Any) -> dict[str, float]:
    names = ("estimate", "lower", "upper")
    return {name: _shown(measure, one) for name, one in zip(names, numbers)}


def _sayer(measure: _Measure) -> Any:
    def say(value: Any) -> str:
        shown = _shown(measure, value)
        return percent(shown, 1) if measure.square else number(shown, 2)

    return say


def _verdict(gain: SimultaneousIntervals, g: int) -> str:
    if not float(gain.standard_error[g]) > 0:
        return "cannot be told"
    if float(gain.lower[g]) > 0:
        return "helps"
    return "harms" if float(gain.upper[g]) < 0 else "cannot be told"


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"
