"""What a pipeline found, in plain words and tables (Markdown)."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from syndigits_jax.respond.export import ResponseTable
from syndigits_jax.studies.fidelity_records import FidelityRecord, is_personas
from syndigits_jax.studies.own_holdout import TwinQuality

_METRICS = {  # as the columns of the paper's Table 3, and what our own add
    "frechet": "FPD",
    "mmd2": "MMD²",
    "coverage": "coverage",
    "sliced_wasserstein": "sliced W.",
    "cosine_mean": "mean cosine",
    "fgi_coverage": "FGI coverage",
}


def responses_section(run: Any, records: Any, table: ResponseTable) -> list[str]:
    """What was asked and how it was answered.

    **Arguments:** `records`: all responses of the run, as `read_records` gives them.
    """
    counts = records["status"].value_counts()
    said = ", ".join(f"{count} {name}" for name, count in counts.items())
    lines = [
        "## Responses",
        "",
        f"{len(table.personas)} personas, {len(table.questions)} questions; {run}.",
        "",
        f"- {len(records)} responses: {said}.",
    ]
    outside = records["outside"].mean()
    if math.isfinite(outside):
        lines.append(f"- Probability of anything but an answer: {outside:.3f} on average.")
    tokens, cached = records["prompt_tokens"].sum(), records["cached_tokens"].sum()
    if tokens:
        lines.append(f"- {tokens} prompt tokens, {cached / tokens:.0%} of them from a cache.")
    return [*lines, *(f"- {text}" for text in variety(table)), ""]


def variety(table: ResponseTable) -> list[str]:
    """How much the answers depend on who is asked, and on the question, in one sentence each."""
    tensor = table.tensor
    probability, mask = np.asarray(tensor.probabilities, float), np.asarray(tensor.mask)
    there = np.asarray(tensor.option_mask)
    values = np.where(there, np.asarray(tensor.values, float), np.nan)
    several = there.sum(axis=1) > 1
    if not several.any() or mask.sum(axis=0)[several].max() < 2:
        return []
    values, probability, mask = values[several], probability[:, several], mask[:, several]
    span = np.nanmax(values, axis=1) - np.nanmin(values, axis=1)
    answers = (probability * np.nan_to_num(values)[None]).sum(axis=2) / span[None, :]
    # Two passes over what is there: a question without two answers has no spread.
    count = mask.sum(axis=0)
    mean = np.where(mask, answers, 0.0).sum(axis=0) / np.maximum(count, 1)
    squares = np.where(mask, (answers - mean[None, :]) ** 2, 0.0).sum(axis=0)
    spread = np.sqrt(squares / np.maximum(count, 1))[count > 1]
    shares = probability.sum(axis=(0, 1)) / mask.sum()
    return [
        "Answers to one question differ between personas by a standard deviation of "
        f"{np.median(spread):.3f} of its range (median over questions).",
        f"One option, the {_ordinal(int(shares.argmax()) + 1)} of each question, gets "
        f"{shares.max():.0%} of all answers.",
    ]


def calibration_section(quality: TwinQuality) -> list[str]:
    """The hold-out's verdict and its table."""
    lines = ["## Calibration", "", *(f"- {text}" for text in quality.verdict), ""]
    lines += ["| every question held out in turn | correlation | MSE |", "|---|--:|--:|"]
    for row in quality.rows:
        lines.append(
            f"| `{row['method']}` | {_number(row['correlation'])} ± {_number(row['se'])} | "
            f"{_number(row['mse'])} |"
        )
    people, questions = quality.holdout.panel.n, quality.holdout.panel.m
    note = f"{people} people, {questions} questions; means over questions ± standard error."
    return [*lines, "", note, ""]


def fidelity_section(
    records: Sequence[FidelityRecord], notes: Sequence[str], reference: str = "ssr"
) -> list[str]:
    """Personas beside real users placed alike, shaped like the paper's Table 3."""
    rows: dict[tuple[str, str], dict[str, FidelityRecord]] = {}
    for r in records:
        if r.reference == reference and r.metric in _METRICS:
            rows.setdefault((r.population, r.procedure), {})[r.metric] = r
    lines = ["## Fidelity", ""]
    if not rows:
        lines.append(f"No real users could be placed by {reference}.")
    else:
        lines.append(f"| placed by {reference} | " + " | ".join(_METRICS.values()) + " |")
        lines.append("|---|" + "--:|" * len(_METRICS))
    # Real users first, then personas, then what is there to compare.
    order = {"real": 0}
    for (population, _), row in sorted(
        rows.items(), key=lambda item: order.get(item[0][0], 1 if is_personas(item[0][0]) else 2)
    ):
        cells = " | ".join(_scientific(row.get(name)) for name in _METRICS)
        lines.append(f"| {population.replace('_', ' ')} | {cells} |")
    lines += ["", *(f"- {note}" for note in notes), ""]
    return lines


def _ordinal(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")


def _number(value: Any) -> str:
    return "–" if not math.isfinite(float(value)) else f"{float(value):.3f}"


def _scientific(record: FidelityRecord | None) -> str:
    if record is None or not math.isfinite(record.mean):
        return "–"
    return f"{record.mean:.2e}" if abs(record.mean) < 0.01 and record.mean else f"{record.mean:.3f}"
