"""Estimates with their intervals, one row per name: methods, and groups under two methods."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from syndigits_jax.plots._rows import (
    Values,
    dots,
    interval,
    name_rows,
    raw_first,
    row_height,
)
from syndigits_jax.plots.style import (
    BLUE,
    GREY,
    INK,
    SERIES,
    Figsize,
    axes_or_new,
    finish,
    interval_handle,
    legend_above,
    sized,
    text_scale,
)
from syndigits_jax.results.format import whole

_REFERENCE: dict[str, Any] = {"color": INK, "linewidth": 1.0, "linestyle": (0, (4, 2))}


@sized
def plot_dot_intervals(
    intervals: Mapping[str, Values],
    *,
    xlabel: str,
    interval_label: str = "interval",
    controls: Sequence[str] = (),
    reference: float | int | None = None,
    reference_label: str = "",
    digits: int | None = 2,
    ax: Axes | None = None,
    figsize: Figsize | None = None,
    fontsize: float | int | None = None,
    title: str | None = None,
) -> Axes:
    """A dot with its interval per name, from top to bottom in the order given.

    **Arguments:**

    - `intervals`: by name, (estimate, lower end, upper end), or the estimate alone as (estimate,).
      Ends that are NaN are not drawn; names whose estimate is NaN are left out.
    - `xlabel`: what is estimated, with its unit. `interval_label`: what the legend calls intervals;
      empty for none.
    - `controls`: names drawn as open grey dots: what the others are to be compared with.
    - `reference`: a value marked by a dashed vertical line, called `reference_label` in a legend.
    - `digits`: decimals of the estimate written beside its interval; `None` writes none.
    - `ax`: where to draw; a new figure if None, of `figsize`, its width and height in inches (a
      height of `None` fits what is drawn). `fontsize`: of texts, in points. `title`: none if None.

    **Returns:** the Axes. **Raises:** `ValueError` if there is nothing to draw, or a lower end is
    above its upper end.

    **Example:**

        >>> from syndigits_jax.plots import plot_dot_intervals
        >>> found = {"calibrated twins": (0.42, 0.37, 0.47), "person's mean": (0.31, 0.26, 0.36)}
        >>> ax = plot_dot_intervals(found, xlabel="Correlation", controls=["person's mean"])
        >>> print([label.get_text() for label in ax.get_yticklabels()])
        ['calibrated twins', "person's mean"]
    """
    rows = {name: np.ravel(np.asarray(row, float)) for name, row in intervals.items()}
    rows = {name: row for name, row in rows.items() if row.size and np.isfinite(row[0])}
    if not rows:
        raise ValueError("intervals: nothing to draw")
    if any(len(row) not in (1, 3) for row in rows.values()):
        raise ValueError("intervals: expected (estimate, lower, upper) or (estimate,) per name")
    ax = axes_or_new(
        ax,
        figsize,
        (6.0, 0.8 * text_scale() + row_height(list(rows), figsize) * len(rows)),
        rows=True,
    )
    columns = zip(*(row if len(row) == 3 else (row[0], np.nan, np.nan) for row in rows.values()))
    estimate, lower, upper = interval("intervals", [np.array(c) for c in columns], len(rows))
    at = np.arange(len(rows), dtype=float)
    control = np.array([name in controls for name in rows])
    for chosen, look in ((~control, {"color": BLUE}), (control, {"color": GREY, "face": "white"})):
        if chosen.any():
            dots(ax, estimate[chosen], lower[chosen], upper[chosen], at[chosen], **look)
    if digits is not None:
        for row, (value, end) in enumerate(zip(estimate, np.fmax(estimate, upper))):
            ax.annotate(
                f"{round(value, digits) + 0.0:.{digits}f}", (end, row), xytext=(7, 0),
                textcoords="offset points", va="center", fontsize="small", color=INK,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.8},
            )  # fmt: skip
    handles: list[Any] = []
    if interval_label and np.isfinite(lower).any():
        handles.append(interval_handle(interval_label))
    if reference is not None:
        ax.axvline(reference, **_REFERENCE)
        if reference_label:
            handles.append(Line2D([], [], label=reference_label, **_REFERENCE))
    name_rows(ax, list(rows))
    ax.margins(x=0.05)
    if digits is not None:  # room for the numbers
        low, high = ax.get_xlim()
        ax.set_xlim(low, high + 0.12 * (high - low))
    return _finished(ax, xlabel, title, handles)


@sized
def plot_group_intervals(
    names: Sequence[str],
    series: Mapping[str, Sequence[Values | None]],
    *,
    xlabel: str,
    interval_label: str = "interval",
    overall: Mapping[str, float | int] | float | int | None = None,
    overall_label: str = "everyone",
    counts: Values | None = None,
    ax: Axes | None = None,
    figsize: Figsize | None = None,
    fontsize: float | int | None = None,
    title: str | None = None,
) -> Axes:
    """Groups of people as rows, with an interval per series side by side: raw and calibrated.

    **Arguments:**

    - `names`: (g,) groups, from top to bottom.
    - `series`: by name, at most six, (estimates, lower ends, upper ends), each (g,) or `None` for
      ends; NaN is not drawn.
    - `xlabel`: what is estimated, with its unit. `interval_label`: what the legend calls intervals;
      empty for none.
    - `overall`: the value of all people, one or by series, marked by vertical lines;
      `overall_label`: what it is called in the legend.
    - `counts`: (g,) people in each group, written behind its name.
    - `ax`: where to draw; a new figure if None, of `figsize`, its width and height in inches (a
      height of `None` fits what is drawn). `fontsize`: of texts, in points. `title`: none if None.

    **Returns:** the Axes. **Raises:** `ValueError` if there is nothing to draw, for other lengths,
    or if a lower end is above its upper end.

    **Example:**

        >>> from syndigits_jax.plots import plot_group_intervals
        >>> raw = ([0.3, 0.2], [0.2, 0.1], [0.4, 0.3])
        >>> calibrated = ([0.4, 0.35], [0.3, 0.25], [0.5, 0.45])
        >>> series = {"raw twins": raw, "calibrated twins": calibrated}
        >>> ax = plot_group_intervals(["women", "men"], series, xlabel="Correlation", counts=[9, 8])
        >>> print([label.get_text() for label in ax.get_yticklabels()])
        ['women  (9)', 'men  (8)']
    """
    if not names or not 1 <= len(series) <= len(SERIES):
        raise ValueError(f"series: expected names and 1 to {len(SERIES)} series")
    height = row_height(names, figsize) * len(names) * max(0.6 * len(series), 1)
    ax = axes_or_new(ax, figsize, (6.0, 1.0 * text_scale() + height), rows=True)
    looks = raw_first(len(series))
    shift = 0.28 * (np.arange(len(series)) - (len(series) - 1) / 2)
    everyone = float(overall) if isinstance(overall, float | int) else None
    by_name = overall if isinstance(overall, Mapping) else {}
    handles: list[Any] = []
    any_interval = False
    for (name, values), look, offset in zip(series.items(), looks, shift):
        ends = (*values, None, None)[:3]
        at = np.arange(len(names)) + offset
        found = interval(f"series: {name}", ends, len(names))
        any_interval = any_interval or np.isfinite(found[1]).any()
        dots(ax, *found, at, size=5, **look)
        handles.append(Line2D([], [], label=name, linewidth=1.8, markersize=5, **look))
        if name in by_name:
            line: dict[str, Any] = {
                "color": look["color"],
                "linewidth": 1.0,
                "linestyle": look["linestyle"],
            }
            ax.axvline(by_name[name], zorder=0.9, **line)
            handles.append(Line2D([], [], label=f"{name}, {overall_label}", **line))
    if everyone is not None:
        ax.axvline(everyone, **_REFERENCE)
        handles.append(Line2D([], [], label=overall_label, **_REFERENCE))
    for handle in handles:  # a dot's line is the interval, whatever the series' dash
        if handle.get_marker() not in (None, "", "None"):
            handle.set_linestyle("-")
    if interval_label and any_interval:
        handles.append(interval_handle(interval_label))
    notes = None if counts is None else [f"({whole(float(n))})" for n in np.asarray(counts)]
    name_rows(ax, list(names), notes)
    for row in range(1, len(names)):
        ax.axhline(row - 0.5, color=GREY, linewidth=0.4, alpha=0.5)
    return _finished(ax, xlabel, title, handles)


def _finished(ax: Axes, xlabel: str, title: str | None, handles: Sequence[Any]) -> Axes:
    rows = legend_above(ax, handles=handles, edge=True) if handles else 0
    finish(ax, xlabel=xlabel, ylabel="", title=title, grid="x", legend_rows=rows, edge=True)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    return ax
