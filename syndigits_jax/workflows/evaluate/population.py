"""Level, spread and joint structure of the population that twins make."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from syndigits_jax.evaluation import (
    Estimated,
    LevelErrors,
    compare_predictions,
    joint_structure,
    level_errors,
)
from syndigits_jax.fidelity import effective_numbers
from syndigits_jax.inference.pigeonhole import wilson_interval
from syndigits_jax.report import Claim, Column, Figure, Section, Table
from syndigits_jax.results.keys import random_key

from .evidence import AUTO, RAW, Evidence
from .wording import above, claim, count, interval, number, percent

HARDLY = 0.25
"""Twins hardly vary on a question if they do less than this share of what people do."""

_MOST = 1500  # people whose likeness is computed, pair by pair
_LEVELS = "syndigits_jax.evaluation.level_errors(prediction, truth)"
_SPREAD = "syndigits_jax.evaluation.compare_predictions(predictions, truth, measure='spread')"
_NUMBERS = "syndigits_jax.fidelity.effective_numbers(human, twin)"
_JOINT = "syndigits_jax.evaluation.joint_structure(human, twin)"


def population_section(evidence: Evidence) -> Section:
    """Means and spreads, how alike twins are, and how their answers hang together.

    **Arguments:** `evidence`.

    **Returns:** the section `population`; what these tables do not allow is left out with a note.
    """
    notes: list[str] = []
    levels = {name: _errors(evidence, name) for name in (RAW, AUTO)}
    claims = [
        *_level_claims(evidence, levels, notes),
        *_spread_claims(evidence, notes),
        *_distinct(evidence, notes),
        *_joint(evidence, notes),
    ]
    moments = _moments(evidence)
    if evidence.probabilities is None:
        notes.append(
            "The spread of calibrated answers is shown for questions with listed options only: "
            "there are none."
        )
    return Section(
        "population",
        "Level, spread and joint structure",
        tuple(claims),
        (_table(evidence, moments, levels),),
        (_figure(moments, evidence.width),),
        tuple(notes),
    )


def _errors(evidence: Evidence, name: str) -> LevelErrors:
    return level_errors(
        evidence.units(evidence.predictions[name]),
        evidence.unit_truth,
        sample_weight=evidence.weight,
        level=evidence.level,
    )


def _level_claims(
    evidence: Evidence, levels: dict[str, LevelErrors], notes: list[str]
) -> list[Claim]:
    out, level = [], evidence.level
    for key, name in (("raw_levels", RAW), ("auto_levels", AUTO)):
        found = levels[name]
        judged = int(np.sum(~np.isnan(np.asarray(found.error))))
        beyond = int(np.sum(np.asarray(found.beyond)))
        if not judged:
            notes.append("Too few people answered to judge the level of twins' answers.")
            return []
        largest = float(np.nanmax(np.abs(np.asarray(found.error))))
        few = f"{name.capitalize()} miss the mean by more than the sampling of people explains "
        text = (
            f"{few}for at least {beyond} of {judged} questions (with {percent(level)} probability "
            f"for all of these); the largest miss is {percent(largest)} of the range."
        )
        if not beyond:
            text = (
                f"For none of {judged} questions do {name} miss the mean by more than the sampling "
                f"of people may explain (at the {percent(level)} level)."
            )
        values = {"estimate": beyond, "lower": beyond, "questions": judged}
        finding = f"{name} miss means" if beyond else ""
        out.append(Claim(f"population.{key}", text, values, level, finding, _LEVELS))
    return out


def _spread_claims(evidence: Evidence, notes: list[str]) -> list[Claim]:
    level = evidence.level
    try:
        found = compare_predictions(
            {RAW: evidence.units(evidence.predictions[RAW])},
            evidence.unit_truth,
            key=random_key(evidence.key),
            measure="spread",
            blocks=evidence.blocks,
            sample_weight=evidence.weight,
            level=level,
        )
    except ValueError:
        notes.append("There are too few answers to compare the spread of twins with people's.")
        return []
    one, ratios = found.score(RAW), found.by_question[0]
    ratios = ratios[~np.isnan(ratios)]
    if not len(ratios):
        notes.append("People do not vary: the spread of twins cannot be compared with theirs.")
        return []
    finding = above(one, "twins vary more than people", "twins vary less than people", 1.0)
    text = (
        f"Raw twins differ from each other {number(one.estimate)} times as much as people do "
        f"({interval(one, level)}; standard deviations, mean over questions)."
    )
    out = [claim("population.spread", text, one, level, _SPREAD, finding)]
    few = int(np.sum(ratios < HARDLY))
    share = few / len(ratios)
    part = Estimated(share, *wilson_interval(share, min(len(ratios), found.units), level))
    ends = interval(part, level, digits=0, share=True)
    text = (
        f"For {few} of {len(ratios)} questions, {percent(share)}, twins vary less than a quarter "
        f"as much as people ({ends} of questions like these)."
    )
    if not few:
        text = (
            f"For none of {len(ratios)} questions do twins vary less than a quarter as much as "
            f"people ({ends} of questions like these)."
        )
    out.append(claim("population.hardly", text, part, level, _SPREAD))
    return out


def _distinct(evidence: Evidence, notes: list[str]) -> list[Claim]:
    weight = np.asarray(evidence.weight)
    people = np.flatnonzero(weight > 0)
    if len(people) > _MOST:
        rng = np.random.default_rng([evidence.key, 2])
        people = np.sort(rng.permutation(people)[:_MOST])
    try:
        found = effective_numbers(
            evidence.truth[:, people].T,
            evidence.twin[:, people].T,
            sample_weight=weight[people],
            level=evidence.level,
        )
    except ValueError:
        notes.append("How many twins are different cannot be told: too few people, or all alike.")
        return []
    one = Estimated(found.ratio, found.lower, found.upper)
    if not all(map(math.isfinite, one)):
        notes.append("How many twins are different cannot be told from so few common answers.")
        return []
    finding = above(
        one, "there are more kinds of twins than of people", "twins are fewer kinds than people",
        1.0,
    )  # fmt: skip
    text = (
        f"On these questions {len(people):,} people amount to {count(found.people)} who differ as "
        f"two people ordinarily do, their twins to {count(found.twins)}: {percent(one.estimate)} "
        f"of that number ({interval(one, evidence.level, digits=0, share=True)})."
    )
    return [claim("population.distinct", text, one, evidence.level, _NUMBERS, finding)]


def _joint(evidence: Evidence, notes: list[str]) -> list[Claim]:
    level = evidence.level
    try:
        if len(evidence.truth) < 3:
            raise ValueError
        found = joint_structure(
            evidence.truth.T, evidence.twin.T, sample_weight=evidence.weight, level=level,
            key=evidence.key,
        )  # fmt: skip
    except ValueError:
        notes.append("There are too few people or questions to compare how answers hang together.")
        return []
    gap, size = found.difference, found.size
    finding = "twins' correlations between questions differ from people's" if gap.lower > 0 else ""
    text = (
        "Correlations between two questions are "
        f"{number(size.estimate)} in size among people ({interval(size, level)}); among raw twins "
        f"they differ from these by {number(gap.estimate)} beyond the noise of sampling "
        f"({interval(gap, level)}; root mean squares over {found.pairs:,} pairs)."
    )
    out = [claim("population.joint", text, gap, level, _JOINT, finding)]
    more = found.factor_gap
    finding = above(
        more, "one factor explains more of twins than of people",
        "one factor explains less of twins than of people",
    )  # fmt: skip
    said = {
        "one factor explains more of twins than of people": "more",
        "one factor explains less of twins than of people": "less",
    }.get(finding)
    ends = more if said != "less" else Estimated(*(-more[i] for i in (0, 2, 1)))
    points = f"{interval([100 * end for end in ends], level, digits=0)}"
    if said:
        text = (
            "One common factor, such as a habit of answering high, explains "
            f"{number(100 * ends.estimate, 0)} points {said} of the variance of twins' answers "
            f"than of people's ({points}, in percent of the variance)."
        )
    else:
        text = (
            "Whether one common factor explains more of twins' answers or of people's cannot be "
            f"told (difference in percent of the variance: {points})."
        )
    out.append(claim("population.factor", text, more, level, _JOINT, finding))
    return out


def _moments(evidence: Evidence) -> dict[str, Float[np.ndarray, " q"]]:
    """Means and standard deviations of people, raw and calibrated twins, in units of answers."""
    out: dict[str, np.ndarray] = {}
    sides = {
        "people": evidence.truth,
        "raw": evidence.predictions[RAW],
        "auto": evidence.predictions[AUTO],
    }
    for name, values in sides.items():
        used = ~(np.isnan(values) | np.isnan(evidence.truth))
        weight = np.where(used, evidence.weight[None, :], 0.0)
        total = weight.sum(axis=1)
        share = weight / np.where(total > 0, total, 1)[:, None]
        filled = np.where(used, values, 0.0)
        mean = (share * filled).sum(axis=1)
        sd = np.sqrt((share * (filled - mean[:, None]) ** 2).sum(axis=1))
        missing = np.where(total > 0, 0.0, np.nan)
        out |= {f"{name}_mean": mean + missing, f"{name}_sd": sd + missing}
    # A prediction is an average: how answers spread about it, only probabilities tell.
    spread = np.full(len(evidence.questions), np.nan)
    found = evidence.probabilities
    if found is not None:
        weight = evidence.weight / evidence.weight.sum()
        for i, (question, options) in enumerate(zip(found.questions, found.options, strict=True)):
            shares = weight @ found.probabilities[i][:, : len(options)]
            middle = shares @ options
            at = evidence.questions.index(question)
            spread[at] = np.sqrt(shares @ (options - middle) ** 2)
    out["auto_spread"] = spread
    return out


def _table(
    evidence: Evidence,
    moments: dict[str, Float[np.ndarray, " q"]],
    levels: dict[str, LevelErrors],
) -> Table:
    rows = []
    for j, question in enumerate(evidence.questions):
        row: dict[str, Any] = {"question": question}
        row |= {name: _cell(values[j]) for name, values in moments.items()}
        row |= {"low": float(evidence.low[j]), "high": float(evidence.high[j])}
        for name, found in (("raw", levels[RAW]), ("auto", levels[AUTO])):
            ends = (("error", found.error), ("low", found.lower), ("high", found.upper))
            row |= {f"{name}_{key}": _cell(float(values[j])) for key, values in ends}
            row[f"{name}_beyond"] = "yes" if bool(found.beyond[j]) else "no"
        rows.append(row)
    order = np.argsort(-np.abs(np.nan_to_num(np.asarray(levels[RAW].error))), kind="stable")
    columns = [
        Column("question", "Question", "text"),
        Column("people_mean", "Mean, people"),
        Column("raw_mean", "Mean, raw twins"),
        Column("auto_mean", "Mean, calibrated"),
        Column("people_sd", "SD, people"),
        Column("raw_sd", "SD, raw twins"),
    ]
    if np.isfinite(moments["auto_spread"]).any():
        columns.append(Column("auto_spread", "SD, calibrated"))
    columns += [
        Column("raw_error", "Raw miss", "share", 0, "raw_low", "raw_high"),
        Column("auto_error", "Calibrated miss", "share", 0, "auto_low", "auto_high"),
    ]
    note = (
        "Means and standard deviations (SD) in units of the answers, over people whose twin "
        "answered too. Calibrated: the mean of predictions, and the spread of the answers that "
        "they stand for. Miss: of the mean, in percent of the answer range, with intervals that "
        f"hold for all questions at once with {percent(evidence.level)} probability; questions "
        "with the largest miss of raw twins first."
    )
    return Table(
        "population_questions", "Level and spread of each question", tuple(columns),
        tuple(rows[i] for i in order), note, _LEVELS,
    )  # fmt: skip


def _figure(moments: dict[str, Float[np.ndarray, " q"]], width: Float[np.ndarray, " q"]) -> Figure:
    spread = {name: moments[name] / width for name in ("people_sd", "raw_sd", "auto_spread")}

    def draw(ax: Any) -> Any:
        from syndigits_jax.plots import plot_agreement

        return plot_agreement(
            spread["people_sd"],
            {"raw twins": spread["raw_sd"]}
            | (
                {"calibrated twins": spread["auto_spread"]}
                if np.isfinite(spread["auto_spread"]).any()
                else {}
            ),
            xlabel="Standard deviation of people's answers",
            ylabel="of twins' answers",
            ax=ax,
        )

    return Figure(
        "population_spread",
        "Spread of answers, by question",
        draw,
        "A point per question: the standard deviation of its answers among people and among twins, "
        "in shares of the answer range. On the dashed line both are equal; below it twins vary "
        "less than people.",
        "A scatter plot of the standard deviations of twins' answers against those of people's.",
        size=(5.0, 4.8),
        data={name: [_cell(float(v)) for v in values] for name, values in spread.items()},
    )


def _cell(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
