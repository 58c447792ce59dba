"""Colours, labels and legends that all figures share."""

import functools
import textwrap
import weakref
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import blended_transform_factory

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

# Bars have neither: their hatches differ.
HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "++")

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


Figsize = tuple[float | int, float | int | None]
"""Width and height of a new figure, in inches; a height of `None` fits what is drawn."""

_P = ParamSpec("_P")
_R = TypeVar("_R")


# New figures without a height of their own: they grow with what stands above and below the plot.
_FITTING: "weakref.WeakSet[Figure]" = weakref.WeakSet()
_LINE, _ROW = 0.19, 0.18  # inches of a line of text, and of a row of a legend


def sized(plot: Callable[_P, _R]) -> Callable[_P, _R]:
    """A plotting function whose texts have the `fontsize` it is called with."""

    @functools.wraps(plot)
    def drawn(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        size: Any = kwargs.get("fontsize")
        if size is not None and not (np.isfinite(size) and size > 0):
            raise ValueError(f"`fontsize` must be a positive number of points, got {size}")
        with matplotlib.rc_context({} if size is None else {"font.size": float(size)}):
            return plot(*args, **kwargs)

    return drawn


def text_scale() -> float:
    """The size of texts, 1 for Matplotlib's own 10 points."""
    return float(matplotlib.rcParams["font.size"]) / 10


def axes_or_new(
    ax: Axes | None,
    figsize: Figsize | None = None,
    size: tuple[float, float] = (4.8, 3.4),
    *,
    rows: bool = False,
) -> Axes:
    """`ax` itself, or the Axes of a new figure that opens no window.

    **Arguments:** `figsize`: of a new figure; `size`: where that is `None`; `rows`: whether the
    height of `size` fits rows of text, whatever the width.

    **Raises:** `ValueError` for a `figsize` that is not positive, or given beside `ax`.
    """
    if ax is not None:
        if figsize is not None:
            raise ValueError("`figsize` is of a new figure: that of `ax` has a size")
        return ax
    return new_figure(figsize, size, rows=rows).subplots()


def new_figure(figsize: Figsize | None, size: tuple[float, float], *, rows: bool = False) -> Figure:
    """An empty figure that opens no window; arguments and errors as of [`axes_or_new`][]."""
    wide, high = figsize or (size[0], None)
    if high is None:
        high = size[1] if rows or not figsize else max(size[1] * min(wide / size[0], 1), 0.4 * wide)
    if not (0 < wide < np.inf and 0 < high < np.inf):
        raise ValueError(f"`figsize` must be a width and a height in inches, got {figsize}")
    figure = Figure(figsize=(wide, high), layout="constrained")
    if figsize is None or figsize[1] is None:
        _FITTING.add(figure)
    return figure


def axes_row(
    axes: Sequence[Axes] | None,
    count: int,
    figsize: Figsize | None,
    size: tuple[float, float],
) -> list[Axes]:
    """`count` given Axes, or those of a new figure: side by side, or one below the other where it
    is narrow.

    **Arguments:** `axes`: those given; `figsize`, `size`: as of [`axes_or_new`][].

    **Raises:** `ValueError` if another number of Axes is given.
    """
    if axes is None:
        narrow = figsize is not None and figsize[0] < 2 * count
        if narrow:
            size = (size[0] / count, size[1] * count)
        figure = new_figure(figsize, size)
        shape = (count, 1) if narrow else (1, count)
        return list(figure.subplots(*shape, squeeze=False).flat)
    if len(axes) != count:
        raise ValueError(f"axes: this figure has {count} panels, got {len(axes)}")
    return list(axes)


def room(ax: Axes) -> tuple[float, float]:
    """Width and height of the part of the figure that is for `ax`, in inches, for 10-point text."""
    figure: Any = ax.figure.figure  # the whole figure, also if `ax` is in a subfigure
    wide, high = figure.get_figwidth(), figure.get_figheight()
    place = ax.get_subplotspec()
    if place is not None:
        grid = place.get_gridspec()
        wide *= len(place.colspan) / grid.ncols
        high *= len(place.rowspan) / grid.nrows
    return float(wide) / text_scale(), float(high) / text_scale()


def finish(
    ax: Axes,
    *,
    xlabel: str,
    ylabel: str,
    title: str | None,
    grid: str = "y",
    legend_rows: int = 0,
    edge: bool = False,
) -> Axes:
    """Set labels, on as many lines as they need, a light grid and plain spines.

    **Arguments:** `ax`: the Axes; `xlabel`, `ylabel`: labels of the axes; `title`: none if None;
    `grid`: `"x"`, `"y"` or `"both"`, the axes with grid lines, or `""` for none; `legend_rows`: of
    the legend between the plot and its title; `edge`: whether the title starts at the left edge of
    the figure, rather than of the plot.

    **Returns:** the same Axes.
    """
    wide, edge = room(ax)[0], edge and _alone(ax)
    below = balanced(xlabel, max(int(0.65 * wide / 0.083), 12))
    above = balanced(title or "", max(int(wide / (0.1 if edge else 0.12)), 12))
    lines = 1 + above.count("\n") if title else 0
    _grow(ax, _ROW * max(legend_rows - 1, 0) + _LINE * (below.count("\n") + lines))
    ax.set_xlabel(below, color=INK, fontsize="medium")
    high = room(ax)[1] - _ROW * legend_rows - _LINE * lines
    ax.set_ylabel(balanced(ylabel, max(int((high - 0.7) / 0.08), 12)), color=INK, fontsize="medium")
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set_parse_math(False)
    if title:
        pad = 2 + (8 + 13 * legend_rows) * text_scale() if legend_rows else 6
        look: dict[str, Any] = {"fontsize": "medium", "fontweight": "bold", "color": INK}
        shown = ax.set_title(above, loc="left", pad=pad, **look)
        shown.set_parse_math(False)
        if edge:
            offset: Any = ax.titleOffsetTrans  # pyright: ignore[reportAttributeAccessIssue]
            shown.set_transform(_from_edge(ax) + offset)
            shown.set_x(0.012)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        ax.spines[side].set_color(GREY)
    # In points: ticks are made later, when other settings may hold.
    ax.tick_params(colors=INK, labelsize=8.33 * text_scale())
    if grid:
        ax.grid(axis=grid, color=PALE, linewidth=0.6)  # pyright: ignore[reportArgumentType]
    ax.set_axisbelow(True)
    return ax


def balanced(text: str, room: int) -> str:
    """`text` on as few lines of `room` characters as it needs, of about equal length; its own
    line breaks are kept."""
    if "\n" in text:
        return "\n".join(balanced(line, room) for line in text.split("\n"))
    lines = len(textwrap.wrap(text, room))
    for narrower in range(len(text) // max(lines, 1), room):
        if narrower and len(found := textwrap.wrap(text, narrower)) <= lines:
            return "\n".join(found)
    return "\n".join(textwrap.wrap(text, room))


def legend_above(ax: Axes, *, edge: bool = False, **options: Any) -> int:
    """Put a legend above the plot, where it hides no data, in as many columns as fit.

    **Arguments:** `edge`: whether it starts at the left edge of the figure, rather than of the
    plot; `options`: of Matplotlib's legend; `ncols`: the most columns.

    **Returns:** its number of rows; 0 without a label.
    """
    handles = options.pop("handles", None) or ax.get_legend_handles_labels()[0]
    if not handles:
        return 0
    longest, edge = max(len(str(handle.get_label())) for handle in handles), edge and _alone(ax)
    place = ax.get_position()
    wide = room(ax)[0] * (1.0 if edge else min(place.width + 1 - place.x1, 1.0))
    fitting = int(wide / (0.065 * longest + (0.6 if edge else 0.5)))
    columns = max(min(options.pop("ncols", len(handles)), fitting, len(handles)), 1)
    if edge:
        options |= {"bbox_to_anchor": (0.005, 1.0), "bbox_transform": _from_edge(ax)}
    legend = ax.legend(
        handles=handles,
        frameon=False,
        fontsize="small",
        loc="lower left",
        **{"bbox_to_anchor": (-0.015, 1.0), **options},
        borderaxespad=0.3,
        columnspacing=1.4,
        labelcolor=INK,
        ncols=columns,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return -(-len(handles) // columns)


def _alone(ax: Axes) -> bool:
    """Whether no other plot is beside it, so that the figure's left edge is its own."""
    place = ax.get_subplotspec()
    return place is None or place.get_gridspec().ncols == 1


def _from_edge(ax: Axes) -> Any:
    return blended_transform_factory(ax.figure.figure.transFigure, ax.transAxes)


def _grow(ax: Axes, inches: float) -> None:
    """Make a new figure without a height of its own higher."""
    figure: Any = ax.figure.figure
    if figure in _FITTING:
        figure.set_figheight(figure.get_figheight() + inches * text_scale())


def interval_handle(label: str, **look: Any) -> Line2D:
    """What an interval is, for a legend: a bar with ends."""
    return Line2D([], [], color=INK, linewidth=1.1, marker="|", markersize=6, label=label, **look)


def band_handle(label: str, color: str = BLUE) -> Patch:
    """What a band is, for a legend."""
    return Patch(facecolor=color, alpha=0.25, linewidth=0, label=label)
