"""Which questions may be left to twins: what is to be expected of each, and how well that holds."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from syndigits_jax.estimation import ExpectedQuality
from syndigits_jax.estimation.expected_quality import FEATURES
from syndigits_jax.evaluation import (
    Estimated,
    ExpectationsJudged,
    compare_predictions,
    judge_expectations,
)
from syndigits_jax.report import Claim, Column, Figure, Section, Table
from syndigits_jax.results.keys import random_key

from .evidence import AUTO, RAW, Evidence
from .quality import compared
from .wording import above, claim, interval, listed, number, percent

_SOURCE = "syndigits_jax.estimation.hold_out_quality(panel)"
_JUDGED = "syndigits_jax.evaluation.judge_expectations(expected, realised)"
_NAMES = {AUTO: "calibrated", RAW: "raw"}


def left_to_twins_section(evidence: Evidence) -> Section:
    """Expected quality of every question, learnt from the others, beside what came true.

    **Arguments:** `evidence`: with `expected`.

    **Returns:** the section `left_to_twins`; a note where there are too few questions to learn
    from.
    """
    name, title = "left_to_twins", "Which questions may be left to twins"
    found = evidence.expected
    if found is None or not np.isfinite(found.expected["calibrated correlation"]).any():
        few = "There are too few questions to learn from which ones twins answer well."
        return Section(name, title, notes=(few,))
    rows = _Rows(evidence, found)
    notes = []
    claims, judged = _claims(rows, notes)
    tables = [_table(rows, new) for new in (True, False) if rows.some(new)]
    if judged:
        tables.append(_held(rows, judged))
    if not all(found.known):
        notes.append(
            f"{int(np.sum(~found.known))} questions have no human answers yet; their table stands "
            "first."
        )
    figures = (_figure(rows),) if rows.realised else ()
    return Section(name, title, claims, tuple(tables), figures, tuple(notes))


class _Rows:
    """Expected and realised quality of the questions, and which twins are recommended."""

    def __init__(self, evidence: Evidence, found: ExpectedQuality):
        self.evidence, self.found = evidence, found
        self.count = len(evidence.questions)
        expected = found.expected
        self.raw = expected["raw correlation"] > expected["calibrated correlation"]
        self.realised: dict[str, Float[np.ndarray, " q"]] = {}
        for word, measure in (("correlation", "pearson"), ("error", "mean error")):
            one = compared(evidence, measure)
            if one is not None:
                for name, short in _NAMES.items():
                    self.realised[f"{short} {word}"] = one.by_question[one.names.index(name)]

    def some(self, new: bool) -> bool:
        return bool(np.any(self.found.known != new))

    def chosen(self, values: Mapping[str, np.ndarray], word: str) -> Float[np.ndarray, " q"]:
        """Of the twins that are recommended for each question."""
        raw, calibrated = values[f"raw {word}"], values[f"calibrated {word}"]
        return np.where(self.raw[: len(raw)], raw, calibrated)

    def judge(self, outcome: str) -> ExpectationsJudged | None:
        """How well one outcome was expected; `None` where that cannot be told."""
        known = slice(self.count)
        try:
            return judge_expectations(
                self.found.expected[outcome][known],
                self.realised[outcome],
                key=random_key(self.evidence.key),
                lower=self.found.lower[outcome][known],
                upper=self.found.upper[outcome][known],
                groups=self.evidence.blocks,
                level=self.evidence.level,
            )
        except (KeyError, ValueError):
            return None


def _claims(
    rows: _Rows, notes: list[str]
) -> tuple[tuple[Claim, ...], dict[str, ExpectationsJudged]]:
    level = rows.evidence.level
    out = [_best(rows)]
    found = {name: rows.judge(name) for name in rows.found.expected}
    judged = {name: one for name, one in found.items() if one is not None}
    one = judged.get("calibrated correlation")
    if one is None or not math.isfinite(one.lift.estimate):
        notes.append("How well these expectations hold cannot be told: too few questions, or no "
                     "differences between them.")  # fmt: skip
        return tuple(out), judged
    finding = above(one.lift, "expected quality tells questions apart", "expected quality misleads")
    text = (
        "The half of the questions with the higher expected correlation reached "
        f"{number(one.upper_half.estimate)}, the other half {number(one.lower_half.estimate)}: a "
        f"difference of {number(one.lift.estimate, sign=True)} ({interval(one.lift, level)})"
    )
    text += "." if finding else ", which is too uncertain to choose questions by."
    out.append(claim("left_to_twins.lift", text, one.lift, level, _JUDGED, finding))
    if math.isfinite(one.correlation.estimate):
        text = (
            "Over the questions, expected and realised correlations of calibrated twins correlate "
            f"at {number(one.correlation.estimate)} ({interval(one.correlation, level)}); where "
            "0.10 more was expected, "
            f"{number(0.1 * one.slope.estimate)} more came true "
            f"({interval([0.1 * end for end in one.slope], level)})."
        )
        out.append(claim("left_to_twins.held", text, one.correlation, level, _JUDGED))
    if np.isfinite(rows.found.upper["calibrated correlation"][: rows.count]).any():
        text = (
            f"{percent(level)} intervals for single questions held "
            f"{percent(one.coverage.estimate)} of them "
            f"({interval(one.coverage, level, digits=0, share=True)})."
        )
        out.append(claim("left_to_twins.coverage", text, one.coverage, level, _JUDGED))
    else:
        notes.append(
            f"A {percent(level)} interval for a single question needs more questions: "
            f"{math.ceil(1 / (1 - level) - 1)} besides those held out with it."
        )
    return (*out, *_choice(rows)), judged


def _best(rows: _Rows) -> Claim:
    """The questions of which most is to be expected."""
    expected = rows.chosen(rows.found.expected, "correlation")
    low, high = (rows.chosen(ends, "correlation") for ends in (rows.found.lower, rows.found.upper))
    order = np.argsort(-np.nan_to_num(expected, nan=-2.0), kind="stable")[:3]
    level = rows.found.level

    def said(j: int) -> str:
        one = Estimated(expected[j], low[j], high[j])
        return (
            f"{rows.found.questions[j]} (correlation {number(expected[j])}, {interval(one, level)})"
        )

    text = (
        f"The highest correlations are expected for {listed([said(int(j)) for j in order])}; each "
        "expectation is learnt from the other questions."
    )
    j = int(order[0])
    one = Estimated(float(expected[j]), float(low[j]), float(high[j]))
    return claim("left_to_twins.best", text, one, level, _SOURCE)


def _choice(rows: _Rows) -> tuple[Claim, ...]:
    """What is gained by raw twins where they are expected to do better."""
    evidence, raw = rows.evidence, rows.raw[: rows.count]
    level = evidence.level
    auto, twin = (evidence.units(evidence.predictions[name]) for name in (AUTO, RAW))
    chosen = np.where(raw[:, None], twin, auto)
    number_raw = int(raw.sum())
    if not number_raw:
        text = "For no question are raw twins expected to correlate better than calibrated ones."
        return (Claim("left_to_twins.raw", text, {"estimate": 0}, source=_SOURCE),)
    try:
        found = compare_predictions(
            {"recommended": chosen, AUTO: auto, RAW: twin},
            evidence.unit_truth,
            key=random_key(evidence.key),
            blocks=evidence.blocks,
            sample_weight=evidence.weight,
            level=level,
        )
    except ValueError:
        return ()
    gain = found.difference("recommended", AUTO)
    finding = above(
        gain, "raw twins are better where they are expected to be",
        "raw twins are worse where they are expected to be better",
    )  # fmt: skip
    text = (
        f"Raw twins are expected to correlate better than calibrated ones for {number_raw} of "
        f"{rows.count} questions; to use them there changes the mean correlation by "
        f"{number(gain.estimate, 3, sign=True)} ({interval(gain, level, digits=3)})."
    )
    source = "syndigits_jax.evaluation.compare_predictions(predictions, truth)"
    return (claim("left_to_twins.raw", text, gain, level, source, finding),)


def _table(rows: _Rows, new: bool) -> Table:
    found = rows.found
    expected = {w: rows.chosen(found.expected, w) for w in ("correlation", "error")}
    ends = {
        w: (rows.chosen(found.lower, w), rows.chosen(found.upper, w))
        for w in ("correlation", "error")
    }
    order = np.argsort(-np.nan_to_num(expected["correlation"], nan=-2.0), kind="stable")
    out = []
    for j in order:
        if found.known[j] == new:
            continue
        row: dict[str, Any] = {
            "question": found.questions[j],
            "twins": "raw" if rows.raw[j] else "calibrated",
        }
        for word, values in expected.items():
            row[word] = _cell(values[j])
            row |= {f"{word}_low": _cell(ends[word][0][j]), f"{word}_high": _cell(ends[word][1][j])}
            if not new and rows.realised:
                row[f"realised_{word}"] = _cell(rows.chosen(rows.realised, word)[j])
        for name, values in found.expected.items():
            row[f"expected {name}"] = _cell(values[j])
        for name, value in zip(FEATURES, found.features[j], strict=True):
            row[name] = _cell(value)
        out.append(row)
    columns = [
        Column("question", "Question", "text"),
        Column("twins", "Use", "text"),
        Column("correlation", "Expected correlation", "number", 2, "correlation_low",
               "correlation_high"),
        Column("realised_correlation", "Realised"),
        Column("error", "Expected error of the mean", "share", 3, "error_low", "error_high"),
        Column("realised_error", "Realised error", "share", 3),
    ]  # fmt: skip
    if new or not rows.realised:
        columns = [one for one in columns if not one.name.startswith("realised")]
    note = (
        "Use: the twins, raw or calibrated, that are expected to correlate better. Expected values "
        "are learnt from the other questions, without any human answer to the question itself. In "
        f"brackets: the range that holds for {percent(found.level)} of questions like these. "
        "Errors of the mean are in percent of the answer range."
    )
    name = "left_to_twins_new" if new else "left_to_twins_questions"
    title = "Questions without human answers" if new else "Questions, the best first"
    return Table(name, title, tuple(columns), tuple(out), note, _SOURCE)


def _held(rows: _Rows, judged: Mapping[str, ExpectationsJudged]) -> Table:
    out = []
    for name, one in judged.items():
        row: dict[str, Any] = {"what": name, "questions": one.count}
        fields = {"correlation": one.correlation, "slope": one.slope, "lift": one.lift}
        fields |= {"coverage": one.coverage}
        for key, value in fields.items():
            row |= {key: _cell(value.estimate), f"{key}_low": _cell(value.lower)}
            row[f"{key}_high"] = _cell(value.upper)
        out.append(row)
    columns = (
        Column("what", "Expected", "text"),
        Column("correlation", "Correlation with what came true", "number", 2, "correlation_low",
               "correlation_high"),
        Column("slope", "Slope", "number", 2, "slope_low", "slope_high"),
        Column("lift", "Upper half less the rest", "number", 2, "lift_low", "lift_high"),
        Column("coverage", "In their intervals", "share", 0, "coverage_low", "coverage_high"),
    )  # fmt: skip
    note = (
        "Each question's quality was expected from the other questions. Slope: how much more came "
        "true for 1 more that was expected. Of errors, the upper half are the questions of which "
        f"large errors were expected. In brackets: {percent(rows.evidence.level)} intervals over "
        f"{'blocks' if rows.evidence.blocks else 'questions'}."
    )
    return Table(
        "left_to_twins_held", "How well the expectations held", columns, tuple(out), note, _JUDGED
    )


def _figure(rows: _Rows) -> Figure:
    x = {
        short: rows.found.expected[f"{short} correlation"][: rows.count]
        for short in ("raw", "calibrated")
    }
    y = {short: rows.realised[f"{short} correlation"] for short in x}

    def draw(ax: Any) -> Any:
        from syndigits_jax.plots.style import INK, SERIES, finish, legend_above

        for (short, expected), look in zip(x.items(), (SERIES[2], SERIES[0]), strict=True):
            ax.plot(expected, y[short], linestyle="none", marker=look["marker"], markersize=4,
                    color=look["color"], alpha=0.8, label=f"{short} twins")  # fmt: skip
        every = np.concatenate([*x.values(), *y.values()])
        every = every[np.isfinite(every)]
        low, high = float(every.min()), float(every.max())
        pad = 0.05 * max(high - low, 0.1)
        ends = [low - pad, high + pad]
        ax.plot(ends, ends, color=INK, linewidth=0.9, linestyle=(0, (4, 2)), label="as expected")
        ax.set_xlim(*ends)
        ax.set_ylim(*ends)
        rows = legend_above(ax)
        return finish(ax, xlabel="Expected correlation", ylabel="Realised correlation", title=None,
                      grid="both", legend_rows=rows)  # fmt: skip

    return Figure(
        "left_to_twins_expected",
        "Expected and realised correlations",
        draw,
        "A point per question and kind of twins: the correlation that was expected from the other "
        "questions, and the one that came true. On the dashed line both are equal.",
        "A scatter plot of realised against expected correlations of raw and calibrated twins.",
        size=(5.2, 4.4),
        data={
            f"{kind} {short}": [_cell(v) for v in values]
            for kind, part in (("expected", x), ("realised", y))
            for short, values in part.items()
        },
    )


def _cell(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
