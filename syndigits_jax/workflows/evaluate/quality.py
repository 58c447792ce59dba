"""How good the twins are, raw and calibrated, beside what is known without them."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from syndigits_jax.evaluation import (
    Comparison,
    Estimated,
    compare_predictions,
    mean_reliability,
    retest_reliability,
    share_of_ceiling,
)
from syndigits_jax.inference.pigeonhole import interval_factor
from syndigits_jax.report import Claim, Column, Figure, Section, Table
from syndigits_jax.results.keys import random_key

from .evidence import AUTO, CONTROLS, LEARNED, RAW, Evidence
from .wording import above, claim, interval, number, percent

_COMPARE = "syndigits_jax.evaluation.compare_predictions(predictions, truth, measure={!r})"
_MEASURES = {"correlation": "pearson", "mean_error": "mean error", "mse": "mse"}
_MEAN = CONTROLS["UserMean"]
_NOTE = (
    "Every question was predicted without any human answer to it{}. Correlation: of predictions "
    "and answers over people, averaged over the questions. Error of the mean: how far the mean "
    "answer is missed, in percent of the answer range. Squared error: of single answers, in units "
    "of the range. In brackets: {} intervals, for other people and other {} of this kind, given "
    "what was learnt from these: learnt from others, models would differ somewhat more."
)


def quality_section(evidence: Evidence) -> Section:
    """Correlation, error of the mean and squared error of every prediction, and differences.

    **Arguments:** `evidence`: held-out predictions.

    **Returns:** the section `quality`. What these tables do not allow is left out with a note.
    """
    notes: list[str] = []
    claims, tables, figures = _setting(evidence, evidence.predictions, "", notes)
    if evidence.survey:
        more = _setting(evidence, evidence.survey, "survey_", notes)
        claims, tables, figures = claims + more[0], tables + more[1], figures + more[2]
    claims = claims + _ceilings(evidence, notes)
    return Section(
        "quality", "How good the twins are", claims, tables, figures, tuple(dict.fromkeys(notes))
    )


def compared(evidence: Evidence, measure: str, *, survey: bool = False) -> Comparison | None:
    """All predictions by one measure; `None` where there is nothing to compare.

    **Arguments:** `evidence`; `measure`: of
    [`compare_predictions`][syndigits_jax.evaluation.compare_predictions]; `survey`: predictions
    of whole blocks that were left out.
    """
    predictions = evidence.survey if survey else evidence.predictions
    try:
        return compare_predictions(
            {name: evidence.units(values) for name, values in predictions.items()},
            evidence.unit_truth,
            key=random_key(evidence.key),
            measure=measure,
            blocks=evidence.blocks,
            sample_weight=evidence.weight,
            level=evidence.level,
        )
    except ValueError:  # no answer in common, or a single question
        return None


def _without(evidence: Evidence) -> tuple[str, ...]:
    """Names of predictions without twins; a person's mean of unlike ranges predicts nothing."""
    names = (*CONTROLS.values(), LEARNED)
    return names if _alike(evidence) else tuple(name for name in names if name != _MEAN)


def _alike(evidence: Evidence) -> bool:
    span = float(evidence.high.max() - evidence.low.min())
    return span <= 2 * float(evidence.width.min())  # where ranges are not given, they differ little


def _setting(
    evidence: Evidence, predictions: Mapping[str, Any], prefix: str, notes: list[str]
) -> tuple[tuple[Claim, ...], tuple[Table, ...], tuple[Figure, ...]]:
    """Sentences, tables and the figure of one kind of hold-out."""
    found = {
        name: compared(evidence, measure, survey=bool(prefix))
        for name, measure in _MEASURES.items()
    }
    known = {name: one for name, one in found.items() if one is not None}
    if len(known) < len(found):
        notes.append("There are too few answers to compare predictions with people's answers.")
        return (), (), ()
    if not _alike(evidence):
        notes.append(
            "A person's mean answer is no prediction here, as questions differ in their ranges."
        )
    by_question = known["correlation"].by_question[0]
    count = int(np.sum(~np.isnan(by_question)))
    if known["correlation"].units < 10:
        notes.append(
            f"Intervals rest on {known['correlation'].units} units (questions, blocks of questions "
            "or people, whichever are fewer): they are wide, and only roughly right."
        )
    claims = _claims(evidence, known, prefix, count)
    return claims, _tables(evidence, known, prefix, count), (_figure(evidence, known, prefix),)


def _claims(
    evidence: Evidence, found: Mapping[str, Comparison], prefix: str, count: int
) -> tuple[Claim, ...]:
    level, new = evidence.level, " for a new survey" if prefix else ""
    where = "blocks left out as a whole" if prefix else f"{count} questions"
    r, source = found["correlation"], _COMPARE.format("pearson")
    out = []
    for key, name, words in (
        ("auto", AUTO, f"Calibrated twins correlate with people's answers{new}"),
        ("raw", RAW, f"Raw twins correlate with people's answers{new}"),
    ):
        one = r.score(name)
        end = f", on average over {where}, each predicted without its human answers."
        if name == RAW:
            end = "."
        text = f"{words} at {number(one.estimate)} ({interval(one, level)}){end}"
        finding = above(one, f"{name} know something", f"{name} answer the wrong way round")
        out.append(claim(f"quality.{prefix}{key}_correlation", text, one, level, source, finding))
    best, name = r.over_best(AUTO, _without(evidence))
    plain = name.removesuffix(", no twins")
    for key, found_gap, beside, more, less in (
        ("calibration_gain", r.difference(AUTO, RAW), "that of raw twins",
         "calibration raises the correlation", "calibration lowers the correlation"),
        ("over_best_control", best, f"that of the best prediction without twins, the {plain}",
         "calibrated twins beat every control", "a control beats calibrated twins"),
        ("gate", r.difference(AUTO, LEARNED), "that of a model that learns from people's other "
         "answers alone", "twins add", "twins take away"),
    ):  # fmt: skip
        finding = above(found_gap, more, less)
        size, ends = number(abs(found_gap.estimate)), found_gap
        if finding == less:
            ends = Estimated(-found_gap.estimate, -found_gap.upper, -found_gap.lower)
        said = {more: f"is {size} above {beside} (", less: f"is {size} below {beside} ("}.get(
            finding,
            f"cannot be told from {beside} (difference {number(found_gap.estimate, sign=True)}; ",
        )
        text = f"The correlation of calibrated twins{new} {said}{interval(ends, level)})."
        out.append(claim(f"quality.{prefix}{key}", text, found_gap, level, source, finding))
    miss, source = found["mean_error"], _COMPARE.format("mean error")
    one, raw, less = miss.score(AUTO), miss.score(RAW), miss.difference(AUTO, RAW)
    text = (
        f"Calibrated twins miss a question's mean answer{new} by {percent(one.estimate, 1)} of the "
        f"answer range on average ({interval(one, level, digits=1, share=True)}); raw twins by "
        f"{percent(raw.estimate, 1)} ({interval(raw, level, digits=1, share=True)})."
    )
    finding = above(
        less, "calibration makes means less exact", "calibration makes means more exact"
    )
    out.append(claim(f"quality.{prefix}auto_mean_error", text, one, level, source, finding))
    return tuple(out)


def _tables(
    evidence: Evidence, found: Mapping[str, Comparison], prefix: str, count: int
) -> tuple[Table, ...]:
    survey = bool(prefix)
    heads = {
        "correlation": "Correlation",
        "mean_error": "Error of the mean",
        "mse": "Squared error",
    }
    columns, rows = [Column("prediction", "Prediction", "text")], []
    for key, head in heads.items():
        columns.append(
            Column(key, head, "share" if key == "mean_error" else "number",
                   2 if key == "correlation" else 3,
                   f"{key}_low", f"{key}_high")
        )  # fmt: skip
    names = (AUTO, RAW, *_without(evidence))
    for name in names:
        row: dict[str, Any] = {"prediction": name, "questions": count}
        for key, one in found.items():
            score = one.score(name)
            row |= {key: score.estimate, f"{key}_low": _end(score.lower)}
            row |= {f"{key}_high": _end(score.upper)}
        rows.append(row)
    unit = "surveys" if survey else "blocks" if evidence.blocks else "questions"
    how = ", nor to any other question of its block" if survey else ""
    note = _NOTE.format(how, percent(evidence.level), unit)
    title = "Predictions for a new survey" if survey else "Predictions, raw and calibrated"
    by_measure = "syndigits_jax.evaluation.compare_predictions(predictions, truth, measure=...)"
    first = Table(f"quality_{prefix}scores", title, tuple(columns), tuple(rows), note, by_measure)
    return first, _differences(evidence, found, prefix, title, by_measure)


def _differences(
    evidence: Evidence, found: Mapping[str, Comparison], prefix: str, title: str, source: str
) -> Table:
    rows, without = [], _without(evidence)
    for label, other in (("raw twins", RAW), ("the best control", ""), (LEARNED, LEARNED)):
        row: dict[str, Any] = {"beside": label}
        for key, one in found.items():
            if other:
                gap = one.difference(AUTO, other)
            else:
                gap, name = one.over_best(AUTO, without, largest=key == "correlation")
                row[f"{key}_best"] = name
            row |= {key: gap.estimate, f"{key}_low": _end(gap.lower)}
            row[f"{key}_high"] = _end(gap.upper)
        rows.append(row)
    columns = (
        Column("beside", "Beside", "text"),
        Column("correlation", "Correlation", "number", 2, "correlation_low", "correlation_high"),
        Column("mean_error", "Error of the mean", "share", 3, "mean_error_low", "mean_error_high"),
        Column("mse", "Squared error", "number", 3, "mse_low", "mse_high"),
    )
    note = (
        "Calibrated twins less the prediction named, on the same answers; above 0 is better for "
        "the correlation, below 0 for errors. The interval of the best control holds whichever of "
        f"{len(without)} predictions without twins is the best."
    )
    name = f"quality_{prefix}differences"
    return Table(name, f"{title}: what calibrated twins add", columns, tuple(rows), note, source)


def _figure(evidence: Evidence, found: Mapping[str, Comparison], prefix: str) -> Figure:
    without = _without(evidence)
    scores = {name: found["correlation"].score(name) for name in (AUTO, RAW, *without)}
    rows = {
        name: tuple(one) if math.isfinite(one.lower) else (one.estimate,)
        for name, one in scores.items()
    }

    def draw(ax: Any) -> Any:
        from syndigits_jax.plots import plot_dot_intervals

        return plot_dot_intervals(
            rows, xlabel="Correlation with people's answers", controls=without, reference=0.0,
            interval_label=f"{percent(evidence.level)} interval", ax=ax,
        )  # fmt: skip

    new = " for a new survey" if prefix else ""
    said = ", ".join(f"{name} {number(one.estimate)}" for name, one in scores.items())
    return Figure(
        f"quality_{prefix}correlations",
        f"Correlation with people's answers{new}",
        draw,
        f"Dots: mean correlation with people's answers{new} over questions. Bars: "
        f"{percent(evidence.level)} intervals for other people and questions of this kind. Open "
        "dots use no twin.",
        f"Mean correlations: {said}.",
        size=(6.4, 2.4),
    )


def _ceilings(evidence: Evidence, notes: list[str]) -> tuple[Claim, ...]:
    return (*_retest(evidence, notes), *_halves(evidence, notes))


def _retest(evidence: Evidence, notes: list[str]) -> tuple[Claim, ...]:
    """How people's own second answers correlate with the first, and the share of it reached."""
    if evidence.inputs.retest is None:
        return ()
    second = np.asarray(evidence.inputs.retest, np.float64)[:, evidence.at].T
    level, key = evidence.level, random_key(evidence.key)
    few = "Too few people answered twice to tell how people's own answers repeat."
    try:
        again = retest_reliability(evidence.truth.T, second.T, sample_weight=evidence.weight)
        reliability = np.asarray(again.reliability, np.float64)
        told = ~np.isnan(reliability)
        mean = compare_predictions(
            {"again": evidence.units(np.where(told[:, None], second, np.nan))},
            evidence.unit_truth,
            key=key,
            blocks=evidence.blocks,
            sample_weight=evidence.weight,
            level=level,
        )
    except ValueError:
        notes.append(few)
        return ()
    if told.sum() < 2:
        notes.append(few)
        return ()
    one = mean.score("again")
    source = "syndigits_jax.evaluation.retest_reliability(first, second)"
    text = (
        "People's own second answers correlate with their first at "
        f"{number(one.estimate)} ({interval(one, level)}) on average."
    )
    out = [claim("quality.retest", text, one, level, source)]
    found = compared(evidence, "pearson")
    if found is None:
        return tuple(out)
    scores = found.by_question[found.names.index(AUTO)]
    ceiling = np.where(np.isnan(scores), np.nan, np.sqrt(np.maximum(reliability, 0)))
    if not np.nansum(ceiling) > 0:
        return tuple(out)
    ratio = share_of_ceiling(scores, ceiling, key=key, groups=evidence.blocks, level=level)
    # As of all intervals here: of few questions or blocks a percentile interval is too narrow.
    judged = np.flatnonzero(~np.isnan(ceiling))
    blocks = evidence.blocks
    units = len(judged) if blocks is None else len({blocks[j] for j in judged})
    reach = interval_factor(level, units) * float(ratio.standard_error)
    share = float(ratio.estimate)
    one = Estimated(share, share - reach, share + reach)
    text = (
        f"Calibrated twins reach {percent(one.estimate)} "
        f"({interval(one, level, digits=0, share=True)}) of the correlation that is possible at "
        "all, as people's answers repeat only in part."
    )
    source = "syndigits_jax.evaluation.share_of_ceiling(scores, ceilings)"
    out.append(claim("quality.share_of_ceiling", text, one, level, source))
    return tuple(out)


def _halves(evidence: Evidence, notes: list[str]) -> tuple[Claim, ...]:
    """How the means of questions repeat over people."""
    level = evidence.level
    found = mean_reliability(
        evidence.unit_truth.T, key=random_key(evidence.key), sample_weight=evidence.weight,
        level=level,
    )  # fmt: skip
    one = Estimated(*(max(float(x), 0.0) for x in (found.estimate, found.lower, found.upper)))
    if not all(map(math.isfinite, one)) or not one.estimate > 0:
        notes.append("There are too few people or questions to tell how their means repeat.")
        return ()
    digits = 3 if one.lower > 0.95 else 2
    text = (
        "If as many other people were asked, the means of the questions would correlate with these "
        f"at {number(one.estimate, digits)} ({interval(one, level, digits=digits)}): no prediction "
        "of these means can be judged more exactly."
    )
    source = "syndigits_jax.evaluation.mean_reliability(answers)"
    return (claim("quality.mean_reliability", text, one, level, source),)


def _end(value: float) -> float | None:
    return value if math.isfinite(value) else None
