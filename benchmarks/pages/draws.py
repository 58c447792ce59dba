"""Figures of draws: are twins, calibrated means and draws a population of people?"""

import json
from collections.abc import Sequence
from typing import Any

from benchmarks.pages.tables import head, number, row
from benchmarks.report import RESULTS

_METRICS = {
    "wasserstein": "Wasserstein / range",
    "correlation_distance": "correlations",
    "sd_ratio": "spread",
    "crps": "CRPS / range",
    "energy": "energy score",
}
_POPULATIONS = ("twins", "calibrated means", "draws", "former draws")
_AGAINST = ("twins", "calibrated means")


def draws() -> list[str]:
    """A table with every panel, and what it shows in words; [] without the benchmark."""
    path = RESULTS / "draws.json"
    if not path.is_file():
        return []
    panels = json.loads(path.read_text())["panels"]
    lines = head(["", *_METRICS.values(), "coverage", "index of coverage"])
    for panel in panels:
        where = _where(panel)
        for name in _POPULATIONS:
            figures = panel["figures"].get(name)
            if figures is None:
                continue
            cells = [number(figures[metric]["mean"], 3) for metric in _METRICS]
            cells.append(number(figures["coverage"]["mean"]))
            cells.append(number(figures["coverage_index"]["mean"]))
            lines.append(row([f"{where}: {name}", *cells]))
    people = [number(panel["figures"]["people"]["coverage"]["mean"]) for panel in panels]
    noise = [number(panel["figures"]["noise"]["coverage"]["mean"]) for panel in panels]
    return [
        *lines,
        "",
        f"{_counted(panels, 'wasserstein', 'the Wasserstein distance of a question')} "
        f"{_counted(panels, 'correlation_distance', 'the distance of correlations')} "
        f"{_counted(panels, 'crps', 'the CRPS')} {_counted(panels, 'energy', 'the energy score')} "
        f"Spread relative to people's: {_span(panels, 'sd_ratio')}. "
        f"Coverage by other people is {_ends(people)}, by noise of the same variances "
        f"{_ends(noise)}; the index of coverage is lower for draws than for raw twins in "
        f"{_lower_index(panels)} of {len(panels)} hold-outs.",
    ]


def _where(panel: dict[str, Any]) -> str:
    name = "MovieLens" if panel["panel"] == "movielens" else panel["panel"].split(" - ")[0]
    return name if panel["panel"] == "movielens" else f"{name}, {panel['setting']}"


def _counted(panels: Sequence[dict], metric: str, title: str) -> str:
    """In how many panels draws are lower than both others, and by how much."""
    lower = clear = 0
    shares = []
    for panel in panels:
        less = [panel["draws_less"][name][metric] for name in _AGAINST]
        lower += all(one["mean"] < 0 for one in less)
        clear += all(one["mean"] < -2 * one["se"] for one in less)
        best = min(panel["figures"][name][metric]["mean"] for name in _AGAINST)
        shares.append(panel["figures"]["draws"][metric]["mean"] / best)
    return (
        f"{title[0].upper()}{title[1:]} is lower for draws than for both raw twins and calibrated "
        f"means in {lower} of {len(panels)} hold-outs, in {clear} by more than two standard "
        f"errors; it is {min(shares):.2f} to {max(shares):.2f} times that of the better of the two."
    )


def _span(panels: Sequence[dict], metric: str) -> str:
    parts = []
    for name in ("twins", "calibrated means", "draws"):
        values = [number(panel["figures"][name][metric]["mean"]) for panel in panels]
        parts.append(f"{name} {_ends(values)}")
    return ", ".join(parts)


def _lower_index(panels: Sequence[dict]) -> int:
    def index(panel: dict, name: str) -> float:
        return panel["figures"][name]["coverage_index"]["mean"]

    return sum(index(panel, "draws") < index(panel, "twins") for panel in panels)


def _ends(values: Sequence[str]) -> str:
    low, high = min(values), max(values)
    return low if low == high else f"{low} to {high}"
