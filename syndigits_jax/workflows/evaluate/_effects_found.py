"""Effects of the arms of experiments among people and twins, with simultaneous intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from syndigits_jax.evaluation import arm_effects
from syndigits_jax.inference import (
    Estimate,
    Resampled,
    SimultaneousIntervals,
    ppi_difference,
)
from syndigits_jax.results.keys import random_key

from .evidence import AUTO, RAW, Evidence

FEWEST_PEOPLE = 10
"""Effects of arms with fewer answers are left out."""
PEOPLE = "people"
TWINS = (RAW, AUTO)
SOURCES = (PEOPLE, *TWINS)
KEYS = {PEOPLE: "people", RAW: "raw", AUTO: "calibrated"}
EFFECTS = "syndigits_jax.evaluation.arm_effects(treated, control, key=key)"
PPI = "syndigits_jax.inference.ppi_difference(truth, proxies, group)"


class Contrast(NamedTuple):
    """An arm against the control, on one outcome: the row of the question, and (n,) masks."""

    row: int
    arm: str
    control: str
    treated: np.ndarray
    untreated: np.ndarray


def control_arm(arms: Sequence[str]) -> str:
    """The arm that is called control, or else the first in order.

    **Arguments:** `arms`: labels, "" for people without one.
    """
    names = sorted(set(arms) - {""})
    return next((name for name in names if name.strip().lower() == "control"), names[0])


def contrasts_of(evidence: Evidence) -> tuple[list[Contrast], list[str]]:
    """Every arm against the control, where both have enough answers; and what was left out."""
    inputs, notes = evidence.inputs, []
    answered = ~np.isnan(evidence.truth) & (evidence.weight > 0)[None]
    for name in TWINS:
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
            contrasts.append(Contrast(row, arm, control, label == arm, label == control))
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
class Found:
    """Effects in shares of the range: of c contrasts, by source.

    - `effects`: (3, c) of people, raw and calibrated twins, with draws; `lower`, `upper`: ends of
      intervals that hold for all effects of people, and for all of both kinds of twins, at once.
    - `apart`: (2, c) twins less people.
    - `combined`: of people who were asked and calibrated twins of all, one per contrast.
    """

    names: tuple[str, ...]
    contrasts: list[Contrast]
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
    def of(cls, evidence: Evidence, contrasts: list[Contrast]) -> "Found":
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
    evidence: Evidence, contrasts: list[Contrast]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(c, n) answers under each arm by source, of people who answered.

    Twins who answered the versions of both arms count in both.
    """
    rows = [one.row for one in contrasts]
    masks = [np.stack([one.treated for one in contrasts])]
    masks.append(np.stack([one.untreated for one in contrasts]))
    units = {name: evidence.units(evidence.predictions[name])[rows] for name in TWINS}
    units[PEOPLE] = evidence.unit_truth[rows]
    there = ~np.any([np.isnan(values) for values in units.values()], axis=0)
    sides = []
    for side, mask in enumerate(masks):
        by_source = {name: np.where(mask & there, units[name], np.nan) for name in SOURCES}
        if evidence.inputs.versions:
            raw = [_version(evidence, one, side) for one in contrasts]
            by_source[RAW] = np.where((masks[0] | masks[1]) & there, np.stack(raw), np.nan)
        sides.append(by_source)
    return sides[0], sides[1]


def _version(evidence: Evidence, one: Contrast, side: int) -> Float[np.ndarray, " n"]:
    """Twins' answers to the version of an arm: 0 treated, 1 control."""
    arm = (one.arm, one.control)[side]
    answers = evidence.inputs.versions[arm][:, evidence.at[one.row]]
    return (answers - evidence.low[one.row]) / evidence.width[one.row]


def _combined(evidence: Evidence, contrasts: list[Contrast]) -> list[Estimate]:
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
