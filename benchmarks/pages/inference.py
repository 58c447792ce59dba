"""Figures of prediction-powered inference, from the committed results."""

import json
from typing import Any

from benchmarks.pages.tables import head, row
from benchmarks.report import RESULTS

PANELS = {"movielens": "MovieLens", "Text Persona - GPT4.1-mini": "Twin-2K-500"}
PROXIES = {
    "raw twin": "raw twins",
    "auto": "calibrated twins",
    "no twin: both": "other answers, no twin",
}


def prediction_powered() -> list[str]:
    """What proxies are worth to k people asked, coverage, and skewed answers."""
    study = json.loads((RESULTS / "prediction_powered_study.json").read_text())
    rows = {(one["panel"], one["proxies"], one["k"]): one for one in study["rows"]}
    asked = sorted({k for _, _, k in rows})
    columns = [
        "people asked",
        *(f"{title}: {name}" for title in PANELS.values() for name in PROXIES.values()),
    ]
    lines = head(columns)
    for k in asked:
        found = [rows[panel, proxies, k] for panel in PANELS for proxies in PROXIES]
        cells = [f"{100 * one['worth_realised']:+.0f}% ({one['coverage']:.2f})" for one in found]
        lines.append(row([str(k), *cells]))
    counts = [
        f"{rows[panel, 'raw twin', asked[0]]['questions']} questions of {title}"
        for panel, title in PANELS.items()
    ]
    said = (
        f"How many more people the proxies were worth, by the errors of the estimated mean, and in "
        f"brackets the share of {100 * study['level']:.0f}% intervals that held the mean of all "
        f"people who have answered: {' and '.join(counts)}, of which so many people were drawn."
    )
    return [*lines, "", said, *skewed()]


def skewed() -> list[str]:
    """What is covered of the mean of strongly skewed answers; nothing without such results."""
    coverage = json.loads((RESULTS / "prediction_powered_coverage.json").read_text())["rows"]
    of = {(row["what"], row["twins"], row["n"], row["level"]): row for row in coverage}
    found = [of.get(("skewed mean", "good", n, 0.9), {}) for n in (20, 100)]
    if not all("coverage_t" in row for row in found):
        return []

    def both(key: str) -> str:
        return " and ".join(f"{row[key]:.3f}" for row in found)

    usual: dict[str, Any] = of["mean", "good", 20, 0.9]
    return [
        "",
        f"Answers that are strongly skewed (log-normal, simulated): of 90% intervals from 20 and "
        f"100 people {both('coverage')} hold the mean with twins and {both('coverage_people')} "
        f"without, where the usual t interval would have {both('coverage_t')} and "
        f"{both('coverage_people_t')}. Of normal answers of 20 people it is "
        f"{usual['coverage']:.3f} and {usual['coverage_people']:.3f}, with intervals "
        f"{usual['width_ratio_to_t_people']:.2f} times as wide as the t interval of people alone.",
    ]
