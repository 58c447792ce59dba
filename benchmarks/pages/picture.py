"""The picture of the first page: raw and calibrated twins beside people's own mean."""

import json
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from benchmarks.report import RESULTS
from syndigits_jax.plots import plot_dot_intervals
from syndigits_jax.results.files import replacing

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "picture.svg"
NAMES = {
    "Baseline": "raw twins",
    "ZScoredUserMean": "person's mean, no twins",
    "Auto": "calibrated twins",
}
PANELS = (
    ("movielens", "known battery", "New films\n(MovieLens)"),
    ("twin-2k-500", "known battery", "New questions\n(Twin-2K-500)"),
    ("twin-2k-500", "new survey", "New surveys\n(Twin-2K-500)"),
)


def draw() -> None:
    """Draw `docs/picture.svg` from the committed results."""
    records = json.loads((RESULTS / "tables" / "beyond.json").read_text())["records"]
    figure = Figure(figsize=(8.4, 2.1), layout="constrained")
    axes = figure.subplots(1, len(PANELS), sharey=True)
    for ax, (dataset, setting, title) in zip(axes, PANELS, strict=True):
        found = [
            record
            for record in records
            if (record["dataset"], record["setting"], record["metric"])
            == (dataset, setting, "pearson")
        ]
        first = found[0]["construction"]  # the default one
        values = {record["method"]: record for record in found if record["construction"] == first}
        intervals = {}
        for method, name in NAMES.items():
            mean, reach = values[method]["mean"], 1.96 * values[method]["se"]
            intervals[name] = mean, mean - reach, mean + reach
        plot_dot_intervals(
            intervals, xlabel="", title=title, controls=["person's mean, no twins"], ax=ax,
            interval_label="",
        )  # fmt: skip
        ax.set_xlim(-0.06, 0.68)
        ax.set_xticks([0, 0.2, 0.4, 0.6])
    axes[1].set_xlabel("correlation with people's answers, mean over questions (95% interval)")
    fixed: dict[Any, Any] = {"svg.hashsalt": "syndigits_jax", "svg.fonttype": "path"}
    with matplotlib.rc_context(fixed), replacing(PICTURE) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None}, facecolor="white")
