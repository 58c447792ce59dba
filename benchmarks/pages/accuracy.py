"""Pictures of the suite: accuracy against time, a panel per iterative kernel."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from benchmarks.pages.picture import FOLDER, write_svg
from benchmarks.pages.suite import size
from benchmarks.report import RESULTS

FEWEST = 3
"""A kernel with a side of so many efforts (tolerances, or steps) is drawn."""
LEAST = 1e-16  # errors of zero, and below, have no logarithm


def draw() -> None:
    """Draw `docs/accuracy-paper.svg` and `docs/accuracy-large.svg` from committed results."""
    for chosen in ("paper", "large"):
        report = json.loads((RESULTS / f"suite-{chosen}.json").read_text(encoding="utf-8"))
        plot_accuracy(report["cases"], FOLDER / f"accuracy-{chosen}.svg")


def plot_accuracy(cases: Mapping[str, Any], path: Path) -> int:
    """Draw every case with a side of `FEWEST` efforts or more; how many there were."""
    drawn = [
        case
        for case in cases.values()
        if any(len(side.get("runs", [])) >= FEWEST for side in case.get("sides", {}).values())
    ]
    if not drawn:
        return 0
    rows = -(-len(drawn) // 3)
    figure = Figure(figsize=(10, 3.2 * rows), layout="constrained")
    axes = figure.subplots(rows, 3, squeeze=False).ravel()
    for ax, case in zip(axes, drawn, strict=False):
        _panel(ax, case)
    for ax in axes[len(drawn) :]:
        ax.set_axis_off()
    write_svg(figure, path)
    return len(drawn)


def _panel(ax: Axes, case: Mapping[str, Any]) -> None:
    times = []
    for name, side in case["sides"].items():
        best = frontier(side.get("runs", []))
        if best:
            style = "o-" if name.startswith("ours") else "s--"
            ax.loglog(*zip(*best, strict=True), style, label=name, markersize=4)
            times += [seconds for seconds, _ in best]
    ax.axhline(case["target"], color="grey", linewidth=0.8, linestyle=":")
    # Whole powers of ten on both sides: labels of parts of them would overlap.
    ax.set_xlim(10 ** math.floor(math.log10(min(times))), 10 ** math.ceil(math.log10(max(times))))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_title(f"{case['name']}\n{size(case['size'])}", fontsize=8)
    ax.set_xlabel("seconds", fontsize=8)
    ax.set_ylabel("error by the judge", fontsize=8)
    ax.legend(fontsize=6)
    ax.grid(alpha=0.3)


def frontier(runs: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """Seconds and errors of the runs that no faster one is as accurate as."""
    found: list[tuple[float, float]] = []
    for run in sorted(runs, key=lambda one: one["seconds"]):
        error = max(run["judged"]["error"], LEAST)
        if not found or error < found[-1][1]:
            found.append((run["seconds"], error))
    return found
