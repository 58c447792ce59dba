"""Accuracy against time, one panel per iterative case."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from syndigits_jax.results.files import replacing


def plot_accuracy(cases: Mapping[str, Any], path: Path, fewest: int) -> bool:
    """Draw every case with a side of at least `fewest` efforts; whether there was one."""
    from matplotlib.figure import Figure

    drawn = [
        case
        for case in cases.values()
        if any(len(side.get("runs", [])) >= fewest for side in case.get("sides", {}).values())
    ]
    if not drawn:
        return False
    rows = -(-len(drawn) // 3)
    figure = Figure(figsize=(10, 3.2 * rows), layout="constrained")
    axes = figure.subplots(rows, 3, squeeze=False).ravel()
    for ax, case in zip(axes, drawn, strict=False):
        for name, side in case["sides"].items():
            points = sorted(
                (run["seconds"], max(run["judged"]["error"], 1e-16)) for run in side.get("runs", [])
            )
            if points:
                style = "o-" if name.startswith("ours") else "s--"
                ax.loglog(*zip(*points, strict=True), style, label=name, markersize=4)
        ax.axhline(case["target"], color="grey", linewidth=0.8, linestyle=":")
        ax.set_title(case["name"], fontsize=9)
        ax.set_xlabel("seconds")
        ax.set_ylabel("error by the judge")
        ax.legend(fontsize=6)
        ax.grid(alpha=0.3)
    for ax in axes[len(drawn) :]:
        ax.set_axis_off()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)
    return True
