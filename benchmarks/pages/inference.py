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
        f"How many more people would have had to be asked for an equally small error of the "
        f"estimated mean, in percent of the people asked; and in parentheses the share of "
        f"{100 * study['level']:.0f}% intervals that contained the mean of all people who have "
        f"answered. Averages over {' and '.join(counts)}."
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
        f"Strongly skewed answers (log-normal, simulated) are harder. Of 90% intervals from 20 and "
        f"from 100 people, {both('coverage')} contain the mean with twins, and "
        f"{both('coverage_people')} without. For the usual t interval it would be "
        f"{both('coverage_t')} with twins, and {both('coverage_people_t')} without. For normal "
        f"answers of 20 people it is {usual['coverage']:.3f} with twins and "
        f"{usual['coverage_people']:.3f} without; these intervals without twins are "
        f"{usual['width_ratio_to_t_people']:.2f} times as wide as the t interval.",
    ]
