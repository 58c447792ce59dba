"""Tables and figures of groups of people."""

from typing import Any

import numpy as np

from syndigits_jax.inference import SimultaneousIntervals
from syndigits_jax.plots import plot_group_intervals
from syndigits_jax.report import Column, Figure, Table
from syndigits_jax.report.contents import Cell

from ._groups_found import MEASURES, SOURCE, Found, Measure, shown
from .evidence import AUTO, RAW
from .wording import percent


def group_table(found: Found, column: str) -> Table:
    rows: list[dict[str, Cell]] = []
    alone = found.errors.level.contrast(lambda v: v[2])
    control = found.intervals(alone)
    for measure in MEASURES:
        own, drawn = found.intervals(found.twins(measure.name)), found.shrunk(measure.name)
        gain = found.helped(measure) if measure.better else None
        for g, group in enumerate(found.errors.groups):
            row: dict[str, Cell] = {
                "measure": measure.title, "group": group, "people": found.people[g],
            }  # fmt: skip
            for e, key in enumerate(("raw", "calibrated")):
                row |= _cells(key, measure, own, (e, g))
                row[f"{key}_shrunk"] = shown(measure, drawn[e, g])
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
            Column("group", column, "text"),
            Column("people", "People", "count"),
            *_twin_columns("Raw twins", "raw"),
            *_twin_columns("Calibrated", "calibrated"),
            _interval_column("group_means", "Group means alone"),
            Column("calibration", "Calibration", "text"),
        ),
        tuple(rows),
        note,
        SOURCE,
        part="measure",
    )


def pair_table(found: Found, column: str) -> Table:
    rows: list[dict[str, Cell]] = []
    names, pairs = found.errors.groups, found.errors.pairs
    first, second = np.array(pairs).T
    control = found.intervals(found.errors.gap.contrast(lambda v: v[2]))
    for measure in MEASURES:
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
            Column("first", "First", "text"),
            Column("second", "Second", "text"),
            _interval_column("raw", "Raw twins"),
            _interval_column("calibrated", "Calibrated"),
            _interval_column("group_means", "Group means alone"),
        ),
        tuple(rows),
        note,
        SOURCE,
        part="measure",
    )


def group_figure(found: Found, column: str, name: str) -> Figure:
    (measure,) = (one for one in MEASURES if one.name == name)
    own = found.intervals(found.twins(name))
    between = np.asarray(found.average(name).value)
    both = (RAW, AUTO)
    ends = [
        [[shown(measure, cell) for cell in np.asarray(end)[e]] for end in
         (own.value, own.lower, own.upper)] for e in range(2)
    ]  # fmt: skip
    average = {one: shown(measure, between[e]) for e, one in enumerate(both)}
    unit = ", in shares of the answers' range" if measure.square else ""

    def draw(ax: Any) -> Any:
        return plot_group_intervals(
            found.errors.groups,
            dict(zip(both, ends)),
            xlabel=measure.title + unit,
            overall=average,
            overall_label="average",
            counts=found.people,
            interval_label="interval (all hold at once)",
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


def _twin_columns(title: str, key: str) -> tuple[Column, Column]:
    drawn = Column(f"{key}_shrunk", f"{title}, drawn together", "number")
    return _interval_column(key, title), drawn


def _interval_column(key: str, title: str) -> Column:
    return Column(key, title, "number", low=f"{key}_low", high=f"{key}_high")


def _cells(
    key: str, measure: Measure, found: SimultaneousIntervals, at: tuple[int, ...]
) -> dict[str, Cell]:
    """An estimate and the ends of its interval; nothing where there is none."""
    if not float(found.standard_error[at]) > 0:
        return {key: None, f"{key}_low": None, f"{key}_high": None}
    names = {key: found.value, f"{key}_low": found.lower, f"{key}_high": found.upper}
    return {name: shown(measure, values[at]) for name, values in names.items()}


def _verdict(gain: SimultaneousIntervals, g: int) -> str:
    if not float(gain.standard_error[g]) > 0:
        return "cannot be told"
    if float(gain.lower[g]) > 0:
        return "helps"
    return "harms" if float(gain.upper[g]) < 0 else "cannot be told"
