"""Error against the number of people asked: how many people the twins are worth."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from syndigits_jax.plots._rows import Values, interval
from syndigits_jax.plots.style import (
    GREY,
    INK,
    SERIES,
    Figsize,
    axes_or_new,
    band_handle,
    finish,
    legend_above,
    room,
    sized,
)


@sized
def plot_error_by_people(
    people: Values,
    series: Mapping[str, Sequence[Values | None]],
    *,
    ylabel: str,
    xlabel: str = "People asked per question",
    interval_label: str = "interval",
    levels: Mapping[str, float | int] | None = None,
    worth: float | int | None = None,
    worth_ends: Sequence[float | int] | None = None,
    worth_label: str = "",
    ax: Axes | None = None,
    figsize: Figsize | None = None,
    fontsize: float | int | None = None,
    title: str | None = None,
) -> Axes:
    """Error against the number of people asked, with bands, beside what needs no people.

    **Arguments:**

    - `people`: (k,) numbers of people, increasing.
    - `series`: by name, at most six, (errors, lower ends, upper ends), each (k,) or `None` for
      ends, which are drawn as a band, called `interval_label` in the legend; NaN is not drawn.
    - `ylabel`, `xlabel`: labels of the axes, with the unit of the error.
    - `levels`: by name, errors without any person asked, drawn as horizontal lines.
    - `worth`: the number of people at which people alone reach the twins, marked by a vertical
      line; `worth_ends`: its interval, drawn as a grey band; `worth_label`: its name in the legend.
    - `ax`: where to draw; a new figure if None, of `figsize`, its width and height in inches (a
      height of `None` fits what is drawn). `fontsize`: of texts, in points. `title`: none if None.

    **Returns:** the Axes. **Raises:** `ValueError` if there is nothing to draw, for other lengths,
    or if a lower end is above its upper end.

    **Example:**

        >>> from syndigits_jax.plots import plot_error_by_people
        >>> curves = {"people alone": ([0.3, 0.2, 0.1], None, None)}
        >>> ax = plot_error_by_people([5, 10, 20], curves, ylabel="Error", levels={"twins": 0.15})
        >>> print(ax.get_xlabel())
        People asked per question
    """
    at = np.asarray(people, dtype=float)
    if at.ndim != 1 or not at.size or not 1 <= len(series) <= len(SERIES):
        raise ValueError(f"series: expected numbers of people and 1 to {len(SERIES)} series")
    ax = axes_or_new(ax, figsize, (6.0, 3.6))
    handles: list[Any] = []
    any_band = worth_ends is not None
    for (name, values), look in zip(series.items(), SERIES):
        error, low, high = interval(f"series: {name}", (*values, None, None)[:3], at.size)
        any_band = any_band or np.isfinite(low).any()
        ax.fill_between(at, low, high, color=look["color"], alpha=0.15, linewidth=0)
        handles += ax.plot(at, error, label=name, linewidth=1.8, markersize=4.5, **look)
    dashes = ((0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (8, 3)))
    for i, (name, level) in enumerate((levels or {}).items()):
        line: dict[str, Any] = {"color": INK, "linewidth": 1.2, "linestyle": dashes[i % 4]}
        ax.axhline(level, **line)
        handles.append(Line2D([], [], label=name, **line))
    if worth_ends is not None:
        if len(worth_ends) != 2:
            raise ValueError(f"worth_ends: expected a lower and an upper end, got {worth_ends}")
        first, last = (float(np.clip(end, at[0], at[-1])) for end in worth_ends)
        ax.axvspan(first, last, color=GREY, alpha=0.15, linewidth=0)
    if worth is not None and at[0] <= worth <= at[-1]:
        mark: dict[str, Any] = {"color": GREY, "linewidth": 1.2, "linestyle": "-"}
        ax.axvline(worth, **mark)
        if worth_label:
            handles.append(Line2D([], [], label=worth_label, **mark))
    if at.size > 1 and at[0] > 0 and at[-1] / at[0] > 20:
        ax.set_xscale("log")
        ticks = _apart(ax, at)
        ax.set_xticks(ticks, [f"{value:g}" for value in ticks], minor=False)
        ax.set_xticks([], minor=True)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylim(bottom=0.0)
    if any_band:
        handles.append(band_handle(interval_label, GREY))
    rows = legend_above(ax, handles=handles, edge=True)
    return finish(ax, xlabel=xlabel, ylabel=ylabel, title=title, legend_rows=rows, edge=True)


def _apart(ax: Axes, at: np.ndarray) -> list[float]:
    """Numbers whose labels do not touch on a logarithmic axis, the first among them."""
    width = 0.75 * room(ax)[0] / np.log(at[-1] / at[0])
    kept = [float(at[0])]
    for value in map(float, at[1:]):
        if width * np.log(value / kept[-1]) > 0.08 * len(f"{value:g}") + 0.08:
            kept.append(value)
    return kept
