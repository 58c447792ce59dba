"""What the groups of people in one column show, with simultaneous intervals."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from syndigits_jax.evaluation import GroupErrors, group_errors, group_mean_control
from syndigits_jax.evaluation.group_errors import THRESHOLDS
from syndigits_jax.inference import Resampled, SimultaneousIntervals, shrink
from syndigits_jax.results.keys import random_key

from .evidence import AUTO, RAW, Evidence

FEWEST_PEOPLE = 20
"""Groups of fewer people are left out."""
FEWEST_ANSWERS = 10
"""Questions are compared which so many people of every group answered."""
FEWEST_QUESTIONS = 5
"""Groups are compared on so many questions or more."""
MOST_GROUPS = 20
"""Of a column with more groups, the largest are compared."""

GROUP_MEANS = "group means, no twins"
SOURCE = "syndigits_jax.evaluation.group_errors(estimates, truth, groups, key=key)"


class Measure(NamedTuple):
    """`name`: of a field of `GroupErrors`; `better`: +1 if more is, -1 if less, 0 for neither."""

    name: str
    title: str
    words: str
    better: int
    square: bool
    pair: str
    pair_title: str


MEASURES = (
    Measure("level", "Error of the mean", "the error of the mean answer", -1, True,
             "gap", "Error of the difference of means"),
    Measure("spread", "Spread", "the spread", 0, False, "spread", "Difference of spreads"),
    Measure("correlation", "Correlation", "the correlation", 1, False,
             "correlation", "Difference of correlations"),
    Measure("distribution", "Error of the distribution", "the error of the distribution", -1, True,
             "distribution_gap", "Error of the difference of distributions"),
)  # fmt: skip


class Chosen(NamedTuple):
    """Who and what is compared: labels ("" for who is left out), (n,) and (q,) masks; `None` for
    `people` where nothing can be."""

    labels: tuple[str, ...]
    people: Bool[np.ndarray, " n"] | None
    questions: Bool[np.ndarray, " q"]
    notes: tuple[str, ...]


def choose(evidence: Evidence, column: str, labels: Sequence[str]) -> Chosen:
    label = np.array([str(one) for one in labels], dtype=object)
    used = _answered(evidence)
    some = used.any(axis=0)
    notes = []
    if unlabelled := int(np.sum((label == "") & some)):
        notes.append(f"Of {column}, {_people(unlabelled)} without a label do not count.")
    names = sorted(set(label[some]) - {""})
    size = {name: int(np.sum((label == name) & some)) for name in names}
    counts = {name: used[:, label == name].sum(axis=1) for name in names}

    def without(reason: str, kept: Iterable[str]) -> list[str]:
        kept = set(kept)
        out = [f"{name} ({size[name]})" for name in names if name not in kept]
        if out:
            shown = ", ".join(out[:10]) + (f" and {len(out) - 10} more" if len(out) > 10 else "")
            notes.append(
                f"By {column}, groups {reason} are left out (people in brackets): {shown}."
            )
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
        notes.append(f"By {column}, groups cannot be compared, as {what} are left.")
        return Chosen((), None, questions, tuple(notes))
    if (fewer := len(questions) - int(questions.sum())) > 0:
        notes.append(
            f"By {column}, {fewer} of {len(questions)} questions do not count, as a group has "
            f"fewer than {FEWEST_ANSWERS} answers to them."
        )
    kept = np.isin(label, names)
    return Chosen(tuple(np.where(kept, label, "")), kept, questions, tuple(notes))


def _answered(evidence: Evidence) -> Bool[np.ndarray, "q n"]:
    there = ~np.isnan(evidence.truth) & (evidence.weight > 0)[None]
    for name in (RAW, AUTO):
        there &= ~np.isnan(evidence.predictions[name])
    return there


@dataclasses.dataclass(frozen=True)
class Found:
    """What one column of groups shows, with intervals at `level`."""

    errors: GroupErrors
    level: float
    df: float
    people: tuple[int, ...]
    questions: int
    points: bool

    @classmethod
    def of(cls, evidence: Evidence, chosen: Chosen, level: float) -> "Found":
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

    def helped(self, measure: Measure) -> SimultaneousIntervals:
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


def shown(measure: Measure, value: Any) -> float:
    """Roots of squares, 0 where noise is all there is."""
    plain = float(value)
    return float(np.sqrt(np.maximum(plain, 0))) if measure.square else plain


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"
