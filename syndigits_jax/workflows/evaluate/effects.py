"""Do twins show the effects of an experiment: people's, twins' and calibrated effects."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from syndigits_jax.evaluation import effect_slope
from syndigits_jax.inference import (
    exact_share_interval,
)
from syndigits_jax.plots import plot_agreement
from syndigits_jax.report import Claim, Column, Figure, Section, Table
from syndigits_jax.report.contents import Cell
from syndigits_jax.results.keys import random_key

from ._effects_found import (
    EFFECTS,
    KEYS,
    PPI,
    SOURCES,
    TWINS,
    Found,
    contrasts_of,
)
from ._effects_found import control_arm as control_arm
from .evidence import Evidence
from .wording import number, percent

FEWEST_OUTCOMES = 5
"""Sizes of effects are compared over so many outcomes or more."""

_SLOPE = "syndigits_jax.evaluation.effect_slope(effects, key=key)"
_SHARE = "syndigits_jax.inference.exact_share_interval(successes, trials)"


def effects_section(evidence: Evidence) -> Section | None:
    """Effects of randomised arms on every judged question; `None` without arms.

    **Arguments:** `evidence`: with `inputs.arms`, or `inputs.outcome_arms`.
    """
    inputs = evidence.inputs
    if inputs.arms is None and not inputs.outcome_arms:
        return None
    contrasts, notes = contrasts_of(evidence)
    title = "Effects of the experiment" if inputs.arms is not None else "Effects of experiments"
    if not contrasts:
        notes.append("No effect can be estimated, as no arm has enough answers.")
        return Section("effects", title, notes=tuple(notes))
    found = Found.of(evidence, contrasts)
    return Section(
        "effects",
        title,
        claims=(*_seen(found), *_signs(found), *_sizes(found, notes), *_misjudged(found)),
        tables=(_table(found),),
        figures=(_figure(found),),
        notes=(*notes, *_remarks(evidence, found)),
    )


def _seen(found: Found) -> list[Claim]:
    """How many effects there are among people."""
    told, count = found.told, len(found.contrasts)
    names = [name for name, sign in zip(found.names, told) if sign]
    text = (
        f"Among people, {len(names)} of {count} effects can be told from 0 "
        f"({percent(found.level)} intervals that hold for all at once)."
    )
    values = {"told": len(names), "effects": count}
    finding = f"effects among people: {', '.join(names)}" if names else ""
    return [Claim("effects.people", text, values, found.level, finding, EFFECTS)]


def _signs(found: Found) -> list[Claim]:
    """Whether twins show the direction of effects that people have."""
    told = found.told
    outcome = np.array([one.row for one in found.contrasts])
    shown = np.unique(outcome[told != 0])
    trials, claims = len(shown), []
    for e, name in enumerate(TWINS, 1):
        key = f"effects.sign_{KEYS[name]}"
        if not trials:
            text = f"Whether {name} show the direction of effects cannot be told: people show none."
            claims.append(Claim(key, text, {}, None, "", _SHARE))
            continue
        # Effects on one outcome are no trials of their own: all of them, or it does not count.
        wrong = (told != 0) & (np.sign(found.value[e]) != told)
        right = trials - len(np.unique(outcome[wrong]))
        low, high = exact_share_interval(right, trials, found.level)
        beyond = " more often than a coin" if low > 0.5 else ""
        text = (
            f"Of the {trials} outcomes with effects among people, {name} show the same direction "
            f"in {right}{beyond}: {percent(right / trials)} ({percent(found.level)} interval for "
            f"other such outcomes {percent(low)} to {percent(high)})."
        )
        finding = f"{name} show the direction" if low > 0.5 else ""
        finding = f"{name} show the wrong direction" if high < 0.5 else finding
        values = {"estimate": right / trials, "lower": low, "upper": high, "outcomes": trials}
        claims.append(Claim(key, text, values, found.level, finding, _SHARE))
    return claims


def _sizes(found: Found, notes: list[str]) -> list[Claim]:
    """Whether effects among twins are as large as those among people."""
    outcomes = [one.row for one in found.contrasts]
    if len(set(outcomes)) < FEWEST_OUTCOMES:
        notes.append(
            f"Sizes of effects are not compared: there are fewer than {FEWEST_OUTCOMES} outcomes."
        )
        return []
    claims = []
    for e, name in enumerate(TWINS, 1):
        pair = found.effects.contrast(lambda v, e=e: v[np.array([0, e])])
        slope = effect_slope(
            pair, key=random_key(found.key + e), outcomes=outcomes, level=found.level
        )
        value, low, high = (float(x) for x in (slope.value, slope.lower, slope.upper))
        key = f"effects.size_{KEYS[name]}"
        if not np.isfinite([value, low, high]).all():
            text = (
                f"How large effects are among {name} cannot be told: those of people are too small."
            )
            claims.append(Claim(key, text, {}, None, "", _SLOPE))
            continue
        finding, said = "", ""
        if low > 1:
            finding, said = f"{name} exaggerate effects", ", larger than those"
        elif high < 0:
            finding, said = f"{name} reverse effects", ", against those"
        elif high < 1:
            finding, said = f"{name} understate effects", ", smaller than those"
        text = (
            f"Effects among {name} are {number(value, 2)} times as large as among people "
            f"({percent(found.level)} interval {number(low, 2)} to {number(high, 2)}{said})."
        )
        values = {"estimate": value, "lower": low, "upper": high}
        claims.append(Claim(key, text, values, found.level, finding, _SLOPE))
    return claims


def _misjudged(found: Found) -> list[Claim]:
    """Which effects of twins cannot be people's."""
    low, high = np.asarray(found.apart.lower), np.asarray(found.apart.upper)
    known = np.asarray(found.apart.standard_error) > 0
    claims = []
    for e, name in enumerate(TWINS):
        wrong = known[e] & ((low[e] > 0) | (high[e] < 0))
        names = [one for one, bad in zip(found.names, wrong) if bad]
        text = (
            f"{name.capitalize()} differ from people in {len(names)} of {len(wrong)} effects by "
            f"more than chance explains{': ' + _some(names) if names else ''}."
        )
        finding = f"{name} misjudge: {', '.join(names)}" if names else ""
        claims.append(
            Claim(
                f"effects.misjudged_{KEYS[name]}", text,
                {"misjudged": len(names), "effects": len(wrong)}, found.level, finding, EFFECTS,
            )
        )  # fmt: skip
    return claims


def _table(found: Found) -> Table:
    rows: list[dict[str, Cell]] = []
    low, high = found.lower, found.upper
    apart = found.apart
    for c, one in enumerate(found.contrasts):
        row: dict[str, Cell] = {"outcome": found.names[c], "arm": one.arm, "control": one.control}
        row |= {"treated": int(found.people[c, 0]), "untreated": int(found.people[c, 1])}
        for s, source in enumerate(SOURCES):
            key = KEYS[source]
            row |= _cells(key, found.value[s, c], low[s, c], high[s, c])
        both = found.combined[c]
        row |= _cells("combined", both.value, both.lower, both.upper)
        for e, source in enumerate(TWINS):
            ends = (end[e, c] for end in (apart.value, apart.lower, apart.upper))
            row |= _cells(f"{KEYS[source]}_apart", *ends)
        rows.append(row)
    note = (
        "An effect is the mean answer in an arm less that in the control, in shares of the answer "
        "range. In brackets: intervals that hold for all effects at once. Calibrated twins are "
        "predicted without anybody's answer to the question. People and twins: the effect from "
        "the people who were asked and the twins of all (prediction-powered), right however bad "
        "twins are."
    )

    def column(key: str, title: str) -> Column:
        return Column(key, title, "number", low=f"{key}_low", high=f"{key}_high")

    return Table(
        "effects",
        "Effects of the arms",
        (
            Column("outcome", "Outcome", "text"),
            Column("control", "Control", "text"),
            Column("treated", "People", "count"),
            Column("untreated", "In control", "count"),
            column("people", "People"),
            column("raw", "Raw twins"),
            column("calibrated", "Calibrated"),
            column("combined", "People and twins"),
        ),
        tuple(rows),
        note,
        f"{EFFECTS}; {PPI}",
    )


def _figure(found: Found) -> Figure:
    low, high = found.lower, found.upper
    series = {name: found.value[e] for e, name in enumerate(TWINS, 1)}
    ends = {name: (low[e], high[e]) for e, name in enumerate(TWINS, 1)}

    def draw(ax: Any) -> Any:
        return plot_agreement(
            found.value[0],
            series,
            xlabel="Effect among people",
            ylabel="Effect among twins",
            x_ends=(low[0], high[0]),
            y_ends=ends,
            names=found.names,
            interval_label="interval (all hold at once)",
            zero=True,
            ax=ax,
        )

    said = "; ".join(
        f"{name}: people {found.value[0, c]:.2f}, raw {found.value[1, c]:.2f}, calibrated "
        f"{found.value[2, c]:.2f}"
        for c, name in enumerate(found.names[:20])
    )
    return Figure(
        "effects",
        "Effects among people and among twins",
        draw,
        "A point is an effect, in shares of the range of the answers; its bars are intervals that "
        f"hold for all effects at once with probability {percent(found.level)}. On the dashed line "
        "twins show the effect of people.",
        f"Effects among people and twins. {said}.",
        size=(5.0, 5.2),
    )


def _remarks(evidence: Evidence, found: Found) -> list[str]:
    notes = []
    if found.versions:
        notes.append(
            "Twins answered the versions of all arms: their effects compare the same twins, and "
            "people and twins together use the answers of every twin to both versions."
        )
    else:
        notes.append(
            "Each twin answered the version of its person. A calibrated prediction knows the arm "
            "only from what the twin answered and from what the person answered elsewhere; levels "
            "are learnt for all arms together, so a calibrated effect says what one would conclude "
            "without asking anybody the question."
        )
        rows = [one.row for one in found.contrasts]
        arm = np.stack([one.treated | one.untreated for one in found.contrasts])
        if not (np.isnan(evidence.truth[rows]) & arm).any():
            notes.append(
                "Everybody in the arms was asked, so twins cannot add to people's answers: people "
                "and twins together are people alone."
            )
    return notes


def _cells(key: str, value: Any, low: Any, high: Any) -> dict[str, Cell]:
    """A number with its interval, or nothing."""
    numbers = [float(x) for x in (value, low, high)]
    if not np.isfinite(numbers).all():
        return {key: None, f"{key}_low": None, f"{key}_high": None}
    return dict(zip((key, f"{key}_low", f"{key}_high"), numbers, strict=True))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
