"""Do twins show the effects of an experiment: people's, twins' and calibrated effects."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from syndigits_jax.evaluation import arm_effects, effect_slope
from syndigits_jax.inference import (
    Estimate,
    Resampled,
    SimultaneousIntervals,
    exact_share_interval,
    ppi_difference,
)
from syndigits_jax.plots import plot_agreement
from syndigits_jax.report import Claim, Column, Figure, Section, Table
from syndigits_jax.report.contents import Cell
from syndigits_jax.results.keys import random_key

from .evidence import AUTO, RAW, Evidence
from .wording import number, percent

FEWEST_PEOPLE = 10
"""Effects of arms with fewer answers are left out."""
FEWEST_OUTCOMES = 5
"""Sizes of effects are compared over so many outcomes or more."""

PEOPLE = "people"
_TWINS = (RAW, AUTO)
_SOURCES = (PEOPLE, *_TWINS)
_KEYS = {PEOPLE: "people", RAW: "raw", AUTO: "calibrated"}
_EFFECTS = "syndigits_jax.evaluation.arm_effects(treated, control, key=key)"
_SLOPE = "syndigits_jax.evaluation.effect_slope(effects, key=key)"
_SHARE = "syndigits_jax.inference.exact_share_interval(successes, trials)"
_PPI = "syndigits_jax.inference.ppi_difference(truth, proxies, group)"


class _Contrast(NamedTuple):
    """An arm against the control, on one outcome: the row of the question, and (n,) masks."""

    row: int
    arm: str
    control: str
    treated: np.ndarray
    untreated: np.ndarray


def effects_section(evidence: Evidence) -> Section | None:
    """Effects of randomised arms on every judged question; `None` without arms.

    **Arguments:** `evidence`: with `inputs.arms`, or `inputs.outcome_arms`.
    """
    inputs = evidence.inputs
    if inputs.arms is None and not inputs.outcome_arms:
        return None
    contrasts, notes = _contrasts(evidence)
    title = "Effects of the experiment" if inputs.arms is not None else "Effects of experiments"
    if not contrasts:
        notes.append("No effect can be estimated, as no arm has enough answers.")
        return Section("effects", title, notes=tuple(notes))
    found = _Found.of(evidence, contrasts)
    return Section(
        "effects",
        title,
        claims=(*_seen(found), *_signs(found), *_sizes(found, notes), *_misjudged(found)),
        tables=(_table(found),),
        figures=(_figure(found),),
        notes=(*notes, *_remarks(evidence, found)),
    )


def control_arm(arms: Sequence[str]) -> str:
    """The arm that is called control, or else the first in order.

    **Arguments:** `arms`: labels, "" for people without one.
    """
    names = sorted(set(arms) - {""})
    return next((name for name in names if name.strip().lower() == "control"), names[0])


def _contrasts(evidence: Evidence) -> tuple[list[_Contrast], list[str]]:
    """Every arm against the control, where both have enough answers; and what was left out."""
    inputs, notes = evidence.inputs, []
    answered = ~np.isnan(evidence.truth) & (evidence.weight > 0)[None]
    for name in _TWINS:
        answered &= ~np.isnan(evidence.predictions[name])
    contrasts, few = [], []
    for row, question in enumerate(evidence.questions):
        arms = inputs.outcome_arms.get(question, inputs.arms)
        if arms is None:
            continue
        label = np.array([str(one) for one in arms], dtype=object)
        size = {k: int(np.sum(answered[row] & (label == k))) for k in sorted(set(label) - {""})}
        if len(size) < 2:
            few.append(question)
            continue
        control = control_arm(tuple(size))
        for arm in size:
            if arm == control:
                continue
            if min(size[arm], size[control]) < FEWEST_PEOPLE:
                few.append(f"{question} ({arm})")
                continue
            contrasts.append(_Contrast(row, arm, control, label == arm, label == control))
    if few:
        shown = ", ".join(few[:10]) + (f" and {len(few) - 10} more" if len(few) > 10 else "")
        notes.append(f"Left out, with fewer than {FEWEST_PEOPLE} answers in an arm: {shown}.")
    if inputs.arms is not None and (without := sum(arm == "" for arm in inputs.arms)):
        who = (
            "1 person has no arm and does"
            if without == 1
            else f"{without} people have no arm and do"
        )
        notes.append(f"{who} not count.")
    return contrasts, notes


@dataclass(frozen=True)
class _Found:
    """Effects in shares of the range: of c contrasts, by source.

    - `effects`: (3, c) of people, raw and calibrated twins, with draws; `lower`, `upper`: ends of
      intervals that hold for all effects of people, and for all of both kinds of twins, at once.
    - `apart`: (2, c) twins less people.
    - `combined`: of people who were asked and calibrated twins of all, one per contrast.
    """

    names: tuple[str, ...]
    contrasts: list[_Contrast]
    effects: Resampled
    lower: Float[np.ndarray, "3 c"]
    upper: Float[np.ndarray, "3 c"]
    apart: SimultaneousIntervals
    people: Float[np.ndarray, "c 2"]
    combined: list[Estimate]
    versions: bool
    level: float
    key: int

    @classmethod
    def of(cls, evidence: Evidence, contrasts: list[_Contrast]) -> "_Found":
        treated, control = _answers(evidence, contrasts)
        found = arm_effects(
            treated, control, key=random_key(evidence.key), sample_weight=evidence.weight
        )
        people = np.asarray(found.people[0])
        level, df = evidence.level, float(people.min() - 1)
        apart = found.effect.contrast(lambda v: v[1:] - v[:1])
        people_only, twins = (
            found.effect.contrast(lambda v, part=part: v[part]).intervals(level, df=df)
            for part in (slice(0, 1), slice(1, 3))
        )
        several = len({one.arm for one in contrasts}) > 1 or evidence.inputs.outcome_arms
        return cls(
            tuple(
                f"{evidence.questions[one.row]}: {one.arm}"
                if several
                else evidence.questions[one.row]
                for one in contrasts
            ),
            contrasts,
            found.effect,
            np.concatenate([np.asarray(one.lower) for one in (people_only, twins)]),
            np.concatenate([np.asarray(one.upper) for one in (people_only, twins)]),
            apart.intervals(level, df=df),
            people,
            _combined(evidence, contrasts),
            bool(evidence.inputs.versions),
            level,
            evidence.key,
        )

    @property
    def told(self) -> np.ndarray:
        """(c,) sign of people's effects that can be told from 0, else 0."""
        low, high = self.lower[0], self.upper[0]
        return np.where(high <= low, 0, np.where(low > 0, 1, np.where(high < 0, -1, 0)))

    @property
    def value(self) -> Float[np.ndarray, "3 c"]:
        return np.asarray(self.effects.value, np.float64)


def _answers(
    evidence: Evidence, contrasts: list[_Contrast]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(c, n) answers under each arm by source, of people who answered.

    Twins who answered the versions of both arms count in both.
    """
    rows = [one.row for one in contrasts]
    masks = [np.stack([one.treated for one in contrasts])]
    masks.append(np.stack([one.untreated for one in contrasts]))
    units = {name: evidence.units(evidence.predictions[name])[rows] for name in _TWINS}
    units[PEOPLE] = evidence.unit_truth[rows]
    there = ~np.any([np.isnan(values) for values in units.values()], axis=0)
    sides = []
    for side, mask in enumerate(masks):
        by_source = {name: np.where(mask & there, units[name], np.nan) for name in _SOURCES}
        if evidence.inputs.versions:
            raw = [_version(evidence, one, side) for one in contrasts]
            by_source[RAW] = np.where((masks[0] | masks[1]) & there, np.stack(raw), np.nan)
        sides.append(by_source)
    return sides[0], sides[1]


def _version(evidence: Evidence, one: _Contrast, side: int) -> Float[np.ndarray, " n"]:
    """Twins' answers to the version of an arm: 0 treated, 1 control."""
    arm = (one.arm, one.control)[side]
    answers = evidence.inputs.versions[arm][:, evidence.at[one.row]]
    return (answers - evidence.low[one.row]) / evidence.width[one.row]


def _combined(evidence: Evidence, contrasts: list[_Contrast]) -> list[Estimate]:
    """Prediction-powered effects, which all hold at once (Bonferroni).

    A row per person and arm: people's answers where they were asked, and proxies for everybody who
    has one under that arm. Where twins answered the versions of both arms, the proxy is their
    answer, else the calibrated prediction of people in that arm.
    """
    n = len(evidence.weight)
    level = 1 - (1 - evidence.level) / len(contrasts)
    group, person = np.repeat([1, 0], n), np.tile(np.arange(n), 2)
    found = []
    for one in contrasts:
        masks = np.concatenate([one.treated, one.untreated])
        truth = np.where(masks, np.tile(evidence.unit_truth[one.row], 2), np.nan)
        if evidence.inputs.versions:
            proxy = np.concatenate([_version(evidence, one, side) for side in (0, 1)])
            masks = np.tile(one.treated | one.untreated, 2)
        else:
            proxy = np.tile(evidence.units(evidence.predictions[AUTO])[one.row], 2)
        weight = np.where(masks, np.tile(evidence.weight, 2), 0)
        found.append(
            ppi_difference(
                truth, np.where(masks, proxy, np.nan), group, sample_weight=weight,
                clusters=person, level=level,
            )
        )  # fmt: skip
    return found


def _seen(found: _Found) -> list[Claim]:
    """How many effects there are among people."""
    told, count = found.told, len(found.contrasts)
    names = [name for name, sign in zip(found.names, told) if sign]
    text = (
        f"Among people, {len(names)} of {count} effects can be told from 0 "
        f"({percent(found.level)} intervals that hold for all at once)."
    )
    values = {"told": len(names), "effects": count}
    finding = f"effects among people: {', '.join(names)}" if names else ""
    return [Claim("effects.people", text, values, found.level, finding, _EFFECTS)]


def _signs(found: _Found) -> list[Claim]:
    """Whether twins show the direction of effects that people have."""
    told = found.told
    outcome = np.array([one.row for one in found.contrasts])
    shown = np.unique(outcome[told != 0])
    trials, claims = len(shown), []
    for e, name in enumerate(_TWINS, 1):
        key = f"effects.sign_{_KEYS[name]}"
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


def _sizes(found: _Found, notes: list[str]) -> list[Claim]:
    """Whether effects among twins are as large as those among people."""
    outcomes = [one.row for one in found.contrasts]
    if len(set(outcomes)) < FEWEST_OUTCOMES:
        notes.append(
            f"Sizes of effects are not compared: there are fewer than {FEWEST_OUTCOMES} outcomes."
        )
        return []
    claims = []
    for e, name in enumerate(_TWINS, 1):
        pair = found.effects.contrast(lambda v, e=e: v[np.array([0, e])])
        slope = effect_slope(
            pair, key=random_key(found.key + e), outcomes=outcomes, level=found.level
        )
        value, low, high = (float(x) for x in (slope.value, slope.lower, slope.upper))
        key = f"effects.size_{_KEYS[name]}"
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


def _misjudged(found: _Found) -> list[Claim]:
    """Which effects of twins cannot be people's."""
    low, high = np.asarray(found.apart.lower), np.asarray(found.apart.upper)
    known = np.asarray(found.apart.standard_error) > 0
    claims = []
    for e, name in enumerate(_TWINS):
        wrong = known[e] & ((low[e] > 0) | (high[e] < 0))
        names = [one for one, bad in zip(found.names, wrong) if bad]
        text = (
            f"{name.capitalize()} differ from people in {len(names)} of {len(wrong)} effects by "
            f"more than chance explains{': ' + _some(names) if names else ''}."
        )
        finding = f"{name} misjudge: {', '.join(names)}" if names else ""
        claims.append(
            Claim(
                f"effects.misjudged_{_KEYS[name]}", text,
                {"misjudged": len(names), "effects": len(wrong)}, found.level, finding, _EFFECTS,
            )
        )  # fmt: skip
    return claims


def _table(found: _Found) -> Table:
    rows: list[dict[str, Cell]] = []
    low, high = found.lower, found.upper
    apart = found.apart
    for c, one in enumerate(found.contrasts):
        row: dict[str, Cell] = {"outcome": found.names[c], "arm": one.arm, "control": one.control}
        row |= {"treated": int(found.people[c, 0]), "untreated": int(found.people[c, 1])}
        for s, source in enumerate(_SOURCES):
            key = _KEYS[source]
            row |= _cells(key, found.value[s, c], low[s, c], high[s, c])
        both = found.combined[c]
        row |= _cells("combined", both.value, both.lower, both.upper)
        for e, source in enumerate(_TWINS):
            ends = (end[e, c] for end in (apart.value, apart.lower, apart.upper))
            row |= _cells(f"{_KEYS[source]}_apart", *ends)
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
        f"{_EFFECTS}; {_PPI}",
    )


def _figure(found: _Found) -> Figure:
    low, high = found.lower, found.upper
    series = {name: found.value[e] for e, name in enumerate(_TWINS, 1)}
    ends = {name: (low[e], high[e]) for e, name in enumerate(_TWINS, 1)}

    def draw(ax: Any) -> Any:
        return plot_agreement(
            found.value[0],
            series,
            xlabel="Effect among people",
            ylabel="Effect among twins",
            x_ends=(low[0], high[0]),
            y_ends=ends,
            names=found.names,
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


def _remarks(evidence: Evidence, found: _Found) -> list[str]:
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
