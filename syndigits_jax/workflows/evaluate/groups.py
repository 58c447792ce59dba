"""For whom the twins hold: errors by group of people, and whether calibration helped a group."""

from typing import Any

import numpy as np

from syndigits_jax.report import Claim, Section

from ._groups_found import MEASURES, SOURCE, Found, Measure, choose, shown
from ._groups_shown import group_figure, group_table, pair_table
from .evidence import AUTO, RAW, Evidence
from .wording import listed, number, percent


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
        chosen = choose(evidence, column, labels)
        notes += chosen.notes
        if chosen.people is None:
            continue
        found = Found.of(evidence, chosen, level)
        claims += _claims(found, column, evidence.level)
        tables += [group_table(found, column), pair_table(found, column)]
        figures += [group_figure(found, column, name) for name in ("level", "correlation")]
    if tables:
        notes += _remarks(evidence, len(given))
    return Section("groups", "For whom", tuple(claims), tuple(tables), tuple(figures), tuple(notes))


def _claims(found: Found, column: str, level: float) -> list[Claim]:
    claims = []
    for measure in MEASURES:
        if not measure.better:
            continue
        for e, name in ((1, AUTO), (0, RAW)):
            claims += _worst(found, column, measure, e, name, level)
        claims += _helped(found, column, measure, level)
    if not any(".calibration_" in claim.name for claim in claims):
        text = f"By {column}, for no group can it be told whether calibration helped or harmed it."
        claims.append(Claim(f"groups.{column}.calibration", text, {}, level, "", SOURCE))
    return claims


def _worst(
    found: Found, column: str, measure: Measure, e: int, name: str, level: float
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
            f"By {column}, no group can be told from the average of the groups in {measure.words} "
            f"of {name} ({say(between)} on average, {percent(level)} interval {ends[0]} to "
            f"{ends[1]})."
        )
        values = _values(measure, mean.value[e], mean.lower[e], mean.upper[e])
        return [Claim(key, text, values, level, "", SOURCE)]
    group = found.errors.groups[worst]
    numbers = [end[e, worst] for end in (own.value, own.lower, own.upper)]
    text = (
        f"By {column}, {name} are worst for {group} in {measure.words}: {say(numbers[0])} "
        f"({percent(level)} interval {say(numbers[1])} to {say(numbers[2])}, which holds for all "
        f"groups at once), against {say(between)} on average over the groups."
    )
    values = _values(measure, *numbers) | {"average": _values(measure, between)["estimate"]}
    return [Claim(key, text, values, level, f"worst group: {group}", SOURCE)]


def _helped(found: Found, column: str, measure: Measure, level: float) -> list[Claim]:
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
        text = f"By {column}, calibration makes {measure.words} {done} for {who}."
        claims.append(
            Claim(
                f"groups.{column}.calibration_{verb}_{measure.name}", text, {}, level,
                f"calibration {verb}: {', '.join(groups)}", SOURCE,
            )
        )  # fmt: skip
    return claims


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


def _values(measure: Measure, *numbers: Any) -> dict[str, float]:
    names = ("estimate", "lower", "upper")
    return {name: shown(measure, one) for name, one in zip(names, numbers)}


def _sayer(measure: Measure) -> Any:
    def say(value: Any) -> str:
        plain = shown(measure, value)
        return percent(plain, 1) if measure.square else number(plain, 2)

    return say
