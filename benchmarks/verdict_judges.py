"""What every finding of a report means, and whether it is true of simulated twins.

A finding is wrong if what it says is not so for people and questions of the same law, or, where it
is about these questions alone, for other people. A direction is wrong if the truth is the other one
or exactly none. Of a list (questions, groups, effects) one wrong member is enough, as all of a list
are asserted at once.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

Numbers = dict[str, Any]

UNJUDGED = (
    "population.auto_levels",  # what is learnt of a level is never exactly right
    "effects.misjudged_calibrated",  # nor is what is learnt of an effect
)
"""Findings that cannot be wrong here."""


class Truths(NamedTuple):
    """Of the law, of the drawn questions, and of the procedure (`benchmarks.verdict_truths`)."""

    law: Numbers
    drawn: Numbers
    procedure: Numbers


class Judged(NamedTuple):
    """`truth`: of what the interval is for, NaN where unknown; `right`: of a finding."""

    truth: float = math.nan
    right: bool | None = None


def judged(record: Numbers, law: Numbers, procedure: Numbers) -> dict[str, Numbers]:
    """By sentence: whether its finding is right, and whether its interval holds the truth.

    **Arguments:** `record`: of `benchmarks.verdicts.observed`; the truths as there. **Returns:**
    `right` and `held`, `None` where nothing was found, or has no known truth.
    """
    truths, out = Truths(law, record["truth"], procedure), {}
    for name, claim in record["claims"].items():
        if name in UNJUDGED or (judge := _judge(name)) is None:
            assert name in UNJUDGED or not claim["finding"], f"no judge of {name}"
            continue
        found = judge(claim, truths, record)
        right = found.right if claim["finding"] else None
        out[_kind(name)] = {"right": right, "held": _held(name, claim, found.truth)}
    # Sentences that are only there when they assert something can be wrong in every panel.
    for name in ALWAYS:
        out.setdefault(name, {"right": None, "held": None})
    return out


def _held(name: str, claim: Numbers, truth: float) -> bool | None:
    if math.isnan(truth) or not ("lower" in claim or "upper" in claim):
        return None
    return claim.get("lower", -math.inf) <= truth <= claim.get("upper", math.inf)


def _kind(name: str) -> str:
    """Groups that were helped and groups that were harmed are one kind of sentence."""
    for verb in ("helps", "harms"):
        name = name.replace(f"calibration_{verb}_", "calibration_changes_")
    return name


def direction(truth: Callable[[Truths], float], up: str, down: str = "", than: float = 0.0) -> Any:
    """A finding that a number is above, or below, another one; both begin as given."""

    def judge(claim: Numbers, truths: Truths, record: Numbers) -> Judged:
        value, found = truth(truths), claim["finding"]
        if not found:
            return Judged(value)
        assert up in found or (down and down in found), found
        return Judged(value, value > than if up in found else value < than)

    return judge


def of(part: str, name: str) -> Callable[[Truths], float]:
    return lambda truths: float(getattr(truths, part)[name])


def score(truths: Truths, *names: str) -> float:
    """The correlation of calibrated twins less the best of the others."""
    scores = truths.procedure["scores"]
    return scores["calibrated twins"] - max(scores[name] for name in names)


def _over_controls(truths: Truths) -> float:
    without = [name for name in truths.procedure["scores"] if "no twins" in name]
    return score(truths, *without)


def _adds(claim: Numbers, truths: Truths, record: Numbers) -> Judged:
    """Predictions from twins are better, or worse, than others; useless twins add nothing."""
    found = direction(of("procedure", "quality.gate"), "twins add", "twins take away")
    gap, right = found(claim, truths, record)
    useless = record["kind"] == "useless" and "add" in claim["finding"]
    return Judged(gap, right and not useless)


def _worth(part: str, name: str) -> Any:
    """Worth more than a person: a smaller squared error than the variance of one's answers."""

    def truth(truths: Truths) -> float:
        relative = float(getattr(truths, part)[name])
        return 1 / relative if relative > 0 else math.inf

    return direction(truth, "are worth more than a person", "a single person beats", 1.0)


def _levels(claim: Numbers, truths: Truths, record: Numbers) -> Judged:
    """Twins miss the mean of the questions that are marked."""
    marked = [
        _position(row["question"])
        for row in record["rows"]["population_questions"] if row["raw_beyond"] == "yes"
    ]  # fmt: skip
    return Judged(right=all(truths.drawn["level"][j] for j in marked))


def _listed(kind: str) -> Any:
    """Questions that are named, after a colon, have an effect, or one that twins do not have."""

    def judge(claim: Numbers, truths: Truths, record: Numbers) -> Judged:
        names = claim["finding"].partition(": ")[2].split(", ")
        return Judged(right=all(truths.drawn[kind][_position(name)] for name in names if name))

    return judge


def _position(question: str) -> int:
    return int(question.removeprefix("question_"))


def _size(part: str, name: str) -> Any:
    """Effects of twins in units of people's: above 1, from 0 to 1, or of the other sign."""

    def judge(claim: Numbers, truths: Truths, record: Numbers) -> Judged:
        slope, found = float(getattr(truths, part)[name]), claim["finding"]
        right = (
            slope > 1 if "exaggerate" in found else slope < 0 if "reverse" in found else slope < 1
        )
        return Judged(slope, right)

    return judge


def _worst(measure: str, part: str) -> Any:
    """The group is worse than the other one."""

    def judge(claim: Numbers, truths: Truths, record: Numbers) -> Judged:
        values = getattr(truths, part)
        gap = values[f"{measure} south"] - values[f"{measure} north"]
        if record["kind"] != "group-biased":  # the groups have one law
            return Judged(right=False)
        worse = (gap < 0) == (measure == "correlation")
        return Judged(right=("south" if worse else "north") in claim["finding"])

    return judge


def _changes(measure: str) -> Any:
    """Calibration makes twins better, or worse, for all groups that are named."""

    def judge(claim: Numbers, truths: Truths, record: Numbers) -> Judged:
        verb, _, names = claim["finding"].partition(": ")
        sign = 1 if "helps" in verb else -1
        gains = [truths.procedure[f"gain {measure} {group}"] for group in names.split(", ")]
        return Judged(right=all(sign * gain > 0 for gain in gains))

    return judge


def _joint(claim: Numbers, truths: Truths, record: Numbers) -> Judged:
    """Correlations between questions differ at all."""
    return Judged(truths.drawn["joint"], truths.drawn["joint"] > 0)


def _mean_error(claim: Numbers, truths: Truths, record: Numbers) -> Judged:
    """Calibrated twins miss means by more, or less, than raw ones: of the difference of both."""
    gap = truths.procedure["mean_error"]
    return Judged(right=gap < 0 if "more exact" in claim["finding"] else gap > 0)


_R, _P, _D = "law", "procedure", "drawn"
JUDGES: dict[str, Any] = {
    "quality.auto_correlation": direction(
        of(_P, "quality.auto_correlation"), "know something", "wrong way"),
    "quality.raw_correlation": direction(of(_R, "correlation"), "know something", "wrong way"),
    "quality.calibration_gain": direction(of(_P, "quality.calibration_gain"), "raises", "lowers"),
    "quality.over_best_control": direction(
        _over_controls, "twins beat every control", "a control beats"),
    "quality.gate": _adds,
    "quality.auto_mean_error": _mean_error,
    "left_to_twins.lift": direction(of(_P, "left_to_twins.lift"), "tells questions", "misleads"),
    "left_to_twins.raw": direction(
        of(_P, "left_to_twins.raw"), "twins are better", "twins are worse"),
    "worth.alone": _worth(_P, "worth.alone"),
    "worth.raw_alone": _worth(_R, "relative"),
    "worth.beside": direction(of(_P, "worth.beside"), "count for more"),
    "worth.trial": direction(
        of(_P, "worth.trial"), "twins save people", "twins cost precision", 50.0),
    "population.raw_levels": _levels,
    "population.spread": direction(of(_R, "spread"), "vary more", "vary less", 1.0),
    "population.distinct": direction(of(_D, "distinct"), "more kinds", "fewer kinds", 1.0),
    "population.joint": _joint,
    "population.factor": direction(of(_D, "factor"), "explains more", "explains less"),
    "effects.people": _listed("effect"),
    "effects.sign_raw": direction(
        of(_R, "direction"), "show the direction", "wrong direction", 0.5),
    "effects.sign_calibrated": direction(
        of(_P, "effects.sign_calibrated"), "show the direction", "wrong direction", 0.5),
    "effects.size_raw": _size(_R, "slope"),
    "effects.size_calibrated": _size(_P, "effects.size_calibrated"),
    "effects.misjudged_raw": _listed("apart"),
}  # fmt: skip

_MEASURES = ("level", "correlation", "distribution")
for _name in _MEASURES:
    JUDGES[f"groups.region.{_name}_raw"] = _worst(_name, _R)
    JUDGES[f"groups.region.{_name}_calibrated"] = _worst(_name, _P)
    for _verb in ("helps", "harms"):
        JUDGES[f"groups.region.calibration_{_verb}_{_name}"] = _changes(_name)

ALWAYS = tuple(
    name for one in _MEASURES
    for name in (f"groups.region.{one}_raw", f"groups.region.calibration_changes_{one}")
)  # fmt: skip
"""Sentences that stand in a report only with a finding, but could stand in every one."""


def _judge(name: str) -> Any:
    return JUDGES.get(name)
