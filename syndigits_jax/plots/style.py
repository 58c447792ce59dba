"""Colours, labels and legends that all figures share."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's palette, whose colours differ under every common colour-vision deficiency. Each
# series also has its own marker and dash, so that none is identified by colour alone.
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
SKY, YELLOW, PURPLE = "#56B4E9", "#E69F00", "#CC79A7"
INK, GREY, PALE = "#222222", "#8A8A8A", "#DDDDDD"

SERIES: tuple[dict[str, Any], ...] = (
    {"color": BLUE, "marker": "o", "linestyle": "-"},
    {"color": ORANGE, "marker": "s", "linestyle": "--"},
    {"color": GREY, "marker": "^", "linestyle": ":"},
    {"color": GREEN, "marker": "D", "linestyle": "-."},
    {"color": PURPLE, "marker": "v", "linestyle": "--"},
    {"color": SKY, "marker": "P", "linestyle": ":"},
)

LABELS = {
    "Baseline": "Twins, uncalibrated",
    "InContext": "Twins, in-context",
    "UserMean": "User mean",
    "ZScoredUserMean": "User mean, z-scored",
    "ItemMean": "Item mean",
    "KnownMean": "Mean of the known",
    "HumansOnly": "Humans only",
    "ElasticNet": "Elastic net",
    "NeuralNet": "Neural net",
    "SyntheticControl": "Synthetic control",
    "SyntheticIntervention": "Synthetic intervention",
    "HardImpute": "Hard impute",
    "SoftImpute": "Soft impute",
    "AlternatingLeastSquares": "Alternating least squares",
    "SyntheticPrior": "Synthetic prior",
}


def label(name: str) -> str:
    """How a method or control is written on an axis."""
    return LABELS.get(name, name)


def axes_or_new(ax: Axes | None, size: tuple[float, float] = (4.8, 3.4)) -> Axes:
    """`ax` itself, or the Axes of a new figure that opens no window."""
    if ax is None:
        ax = Figure(figsize=size, layout="constrained").subplots()
    return ax


def axes_row(axes: Sequence[Axes] | None, count: int, size: tuple[float, float]) -> list[Axes]:
    """`count` given Axes, or those of a new figure, side by side.

    **Raises:** `ValueError` if another number of Axes is given.
    """
    if axes is None:
        figure = Figure(figsize=size, layout="constrained")
        return list(figure.subplots(1, count, squeeze=False)[0])
    if len(axes) != count:
        raise ValueError(f"axes: this figure has {count} panels, got {len(axes)}")
    return list(axes)


def finish(ax: Axes, *, xlabel: str, ylabel: str, title: str | None, grid: str = "y") -> Axes:
    """Set labels, a light grid and plain spines.

    **Arguments:** `ax`: the Axes; `xlabel`, `ylabel`: labels of the axes; `title`: none if None;
    `grid`: `"x"`, `"y"` or `"both"`, the axes with grid lines, or `""` for none.

    **Returns:** the same Axes.
    """
    ax.set_xlabel(xlabel, color=INK)
    ax.set_ylabel(ylabel, color=INK)
    if title:
        ax.set_title(title, loc="left", fontsize="medium", fontweight="bold", color=INK)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        ax.spines[side].set_color(GREY)
    ax.tick_params(colors=INK, labelsize="small")
    if grid:
        ax.grid(axis=grid, color=PALE, linewidth=0.6)  # pyright: ignore[reportArgumentType]
    ax.set_axisbelow(True)
    return ax


def legend_above(ax: Axes, **options: Any) -> None:
    """Put a legend above the plot, where it hides no data.

    It has fewer columns than `ncols` where the figure is too narrow for them.
    """
    handles = options.get("handles") or ax.get_legend_handles_labels()[0]
    longest = max((len(str(handle.get_label())) for handle in handles), default=0)
    room = float(ax.figure.figure.get_figwidth()) / (0.06 * longest + 0.45)  # inches
    options["ncols"] = max(min(options.get("ncols", 1), int(room)), 1)
    ax.legend(
        frameon=False,
        fontsize="small",
        loc="lower left",
        bbox_to_anchor=(-0.015, 1.0),
        borderaxespad=0.2,
        columnspacing=1.4,
        **options,
    )


def title_above_legend(ax: Axes, title: str) -> None:
    """Set the title of a plot whose legend is above it."""
    ax.set_title(title, loc="left", fontsize="medium", fontweight="bold", color=INK, pad=24)
