"""The picture of the first page: raw and calibrated twins beside people's own mean."""

import json
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from benchmarks.report import RESULTS
from syndigits_jax.plots import plot_dot_intervals
from syndigits_jax.results.files import replacing

FOLDER = Path(__file__).resolve().parents[2] / "docs"
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
    """Draw `docs/picture.svg`, and `docs/picture-narrow.svg` for phones, from committed results."""
    _draw("picture.svg", (8.4, 2.1), (1, len(PANELS)))
    _draw("picture-narrow.svg", (4.0, 5.0), (len(PANELS), 1))


def _draw(file: str, size: tuple[float, float], grid: tuple[int, int]) -> None:
    records = json.loads((RESULTS / "tables" / "beyond.json").read_text())["records"]
    figure = Figure(figsize=size, layout="constrained")
    wide = grid[0] == 1
    axes = figure.subplots(*grid, sharey=wide, sharex=not wide)
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
            intervals, xlabel="", title=title if wide else title.replace("\n", " "),
            controls=["person's mean, no twins"], ax=ax, interval_label="",
        )  # fmt: skip
        ax.set_xlim(-0.06, 0.68)
        ax.set_xticks([0, 0.2, 0.4, 0.6])
    label = "correlation with people's answers,", "mean over questions (95% interval)"
    axes[1 if wide else -1].set_xlabel((" " if wide else "\n").join(label))
    write_svg(figure, FOLDER / file)


def write_svg(figure: Figure, path: Path) -> None:
    """The same bytes for the same figure."""
    fixed: dict[Any, Any] = {"svg.hashsalt": "syndigits_jax", "svg.fonttype": "path"}
    with matplotlib.rc_context(fixed), replacing(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None}, facecolor="white")
