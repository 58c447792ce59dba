"""The predictions of `syndigits calibrate` as a table."""

from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from syndigits_jax.cli.render.console import output
from syndigits_jax.cli.render.missing import dropped_text
from syndigits_jax.estimation.person_intervals import Judged, fewest_units
from syndigits_jax.results.format import fixed
from syndigits_jax.workflows.calibrate import CalibratedFiles, method_title
from syndigits_jax.workflows.estimate import EstimatedFiles
from syndigits_jax.workflows.people import weights_said

_SHOWN = 12  # targets printed; all of them are in --report


def print_calibrated(result: CalibratedFiles, out: Path, *, joined: bool) -> None:
    """Print one row per target; with `joined`, also what was dropped."""
    console = output()
    if joined:
        console.print(dropped_text(result.dropped), soft_wrap=True)
    if result.weight is not None:
        console.print(f"survey weights: {weights_said(result.weight)}", soft_wrap=True)
    console.print(f"\n{method_title(result.method)}", style="bold")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(f"new {result.direction}")
    for name in ("human answers", "training MSE", "status", "used"):
        table.add_column(name, justify="right")
    for name, row in result.report.head(_SHOWN).iterrows():
        error = fixed(row.training_mse)
        table.add_row(str(name), *map(str, (row.human_answers, error, row.status, _used(row))))
    console.print(table)
    if result.thresholds is not None:
        for limit in sorted(set(result.thresholds)):
            count = sum(result.thresholds == limit)
            console.print(
                f"threshold chosen by the known questions: {_limit(limit)} (for {count} of "
                f"{len(result.report)})"
            )
    unfinished = sorted(set(result.report["imputation"]) - {"converged"})
    if unfinished:
        console.print(f"imputation of the other {result.direction}s: {', '.join(unfinished)}")
    rest = len(result.report) - _SHOWN
    if rest > 0:
        console.print(f"... and {rest} more")
    rows, columns = result.predictions.shape
    console.print(f"written: {out} ({rows} x {columns})", soft_wrap=True)


_PLAIN = {
    "Ridge": "ridge",
    "ElasticNet": "elastic net",
    "SyntheticControl": "synthetic control",
    "Twin": "the twin's answer",
    "TwinUnexplained": "the twin's answer, where the fit says little",
    "PersonMean": "the person's mean",
    "Map": "a map from all the twin's answers",
    "MapStronger": "the same, more penalised",
    "MapStrongest": "the same, most penalised",
    "TwinByQuestion": "the twin's answer, by question",
    "TwinMean": "the twin's mean",
}
_CONTROLS = {
    "Baseline": "raw twins",
    "UserMean": "the person's mean",
    "ItemMean": "the question's mean",
    "ZScoredUserMean": "the person's standardised mean",
}


def print_estimated(
    result: EstimatedFiles, out: Path, intervals: float | None, *, joined: bool
) -> None:
    """Print what was estimated, from what, and what to expect of it and of its `intervals`."""
    console = output()
    if joined:
        console.print(dropped_text(result.dropped), soft_wrap=True)
    if result.weight is not None:
        console.print(f"survey weights: {weights_said(result.weight)}", soft_wrap=True)
    estimates = result.estimates
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(f"new {result.direction}")
    shown = {"human answers": lambda row: str(row.human_answers)}
    if result.direction == "question":
        shown |= {
            "twins' mean": lambda row: fixed(row.twin_mean),
            "estimated mean": lambda row: fixed(row["mean"]),
            f"{estimates.level:.0%} interval": lambda row: (
                f"{fixed(row.mean_low)} to {fixed(row.mean_high)}"
            ),
        }
    shown["status"] = lambda row: row.status
    for name in shown:
        table.add_column(name, justify="right")
    for name, row in result.report.head(_SHOWN).iterrows():
        table.add_row(str(name), *(show(row) for show in shown.values()))
    console.print(table)
    rest = len(result.report) - _SHOWN
    if rest > 0:
        console.print(f"... and {rest} more")
    for setting, weights in estimates.weights.items():
        count = estimates.setting.count(setting)
        console.print(f"{setting} ({count} of {len(estimates.setting)})", style="bold")
        parts = [
            f"{weight:.2f} {_PLAIN[name]}" for name, weight in weights.items() if weight > 0.005
        ]
        how = "learnt from" if estimates.learnt[setting] else "fixed, with too few"
        console.print(f"  weights ({how} known {result.direction}s): {', '.join(parts)}")
        if setting in estimates.expected:
            for line in _expectation(estimates.expected[setting], result.direction):
                console.print(f"  {line}")
        for judged in estimates.judged.get(setting, ()):
            for line in promise(judged, setting):
                console.print(f"  {line}", soft_wrap=True)
    unbounded = [
        name
        for name, low, high in zip(estimates.questions, estimates.low, estimates.high, strict=True)
        if intervals is not None and low == high
    ]
    if unbounded:
        console.print(
            f"no interval, as the range is not known and all twins answer alike: "
            f"{', '.join(unbounded[:_SHOWN])}"
        )
    unfinished = sorted(set(result.report["imputation"]) - {"converged"})
    if unfinished:
        console.print(f"imputation of the other {result.direction}s: {', '.join(unfinished)}")
    for setting, learnt in result.joint.items():
        if not learnt and estimates.setting.count(setting) > 1:
            console.print(
                f"draws, {setting}: too few known questions say how a person's errors on two "
                "questions go together; what is usual was assumed"
            )
    rows, columns = result.predictions.shape
    if result.draws is not None:
        rows = f"{len(result.draws)} = {len(result.draws) // rows} draws of {rows}"
    console.print(f"written: {out} ({rows} x {columns})", soft_wrap=True)
    if intervals is not None:
        ends = " and ".join(f"{out.stem}.{end}{out.suffix}" for end in ("lower", "upper"))
        console.print(f"written: {ends}, the ends of {intervals:.0%} intervals", soft_wrap=True)


def promise(judged: Judged, setting: str) -> list[str]:
    """What the intervals for people's answers are worth, and what they promise.

    **Arguments:** `judged`: those of the known questions; `setting`: as in `Estimates.setting`.
    """
    unit = "block" if setting == "new survey" else "question"
    if not judged.enough:
        return [
            f"{judged.level:.0%} intervals for answers are the whole scale: they need "
            f"{fewest_units(judged.level)} known {unit}s, there are {judged.units}"
        ]
    if not judged.judgeable:
        return [f"{judged.level:.0%} intervals for answers: too few known {unit}s to judge them"]
    means = judged.means()
    lines = [
        f"{judged.level:.0%} intervals for answers, on the {len(judged.coverage)} known questions: "
        f"{means['coverage']:.0%} of the answers inside ({judged.coverage.min():.0%} to "
        f"{judged.coverage.max():.0%} by question), {means['width']:.2f} of the scale wide, "
        f"interval score {fixed(means['score'])}; the whole scale has 1"
    ]
    if not judged.useful:
        lines.append("no useful interval: quoting the whole scale scores as well")
    lines.append(
        f"they hold on average over {unit}s like the known ones, not for any one of them, nor for "
        "those chosen because they are hard"
    )
    return lines


def _expectation(expected: Any, direction: str) -> list[str]:
    control = expected.best_control
    lines = [
        f"expected correlation {fixed(expected.correlation)} "
        f"(standard error {fixed(expected.correlation_error)}, {expected.count} known "
        f"{direction}s); raw twins {fixed(expected.controls['Baseline'])}, best control "
        f"{fixed(expected.controls[control])} ({_CONTROLS.get(control, control)})"
    ]
    if direction == "question":
        lines.append(
            f"expected error of a mean {fixed(expected.error)} of the range; "
            f"raw twins {fixed(expected.twin_error)}"
        )
    return lines


def _limit(threshold: float) -> str:
    if threshold == float("inf"):
        return "never keep the twins' answers"
    if threshold == -float("inf"):
        return "always keep the twins' answers"
    return fixed(threshold)


def _used(row: Any) -> str:
    if not row.transferred:
        return "twins as they are"
    if row.twins_alike:
        return "human answers" if row.human_answers else "nothing to learn from"
    return "calibrated"
