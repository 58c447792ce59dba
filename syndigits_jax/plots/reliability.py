"""Reliability diagrams: how often what was forecast with probability p happened."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from syndigits_jax.evaluation import Reliability
from syndigits_jax.plots.style import (
    GREY,
    SERIES,
    Figsize,
    axes_or_new,
    finish,
    label,
    legend_above,
    sized,
)

_BAND = 1.96  # standard errors


@sized
def plot_reliability(
    diagrams: Reliability | Mapping[str, Reliability],
    *,
    ax: Axes | None = None,
    figsize: Figsize | None = None,
    fontsize: float | int | None = None,
    xlabel: str = "Forecast probability",
    ylabel: str = "Share that happened",
    title: str | None = None,
) -> Axes:
    """Share of events that happened against their forecast probability, bin by bin.

    On the diagonal forecasts are calibrated; below it they are too high. Bands are 95% intervals of
    each share, bars at the bottom the share of all forecasts in each bin: a bin without a bar says
    little.

    **Arguments:**

    - `diagrams`: one of [`reliability`][syndigits_jax.evaluation.reliability], or up to six by
      name, whose calibration errors the legend shows.
    - `xlabel`, `ylabel`: labels of the axes.
    - `ax`: where to draw; a new figure if None, of `figsize`, its width and height in inches (a
      height of `None` fits what is drawn). `fontsize`: of texts, in points. `title`: none if None.

    **Returns:** the Axes. **Raises:** `ValueError` for no diagram, more than six, or one without
    events.
    """
    named = {"": diagrams} if isinstance(diagrams, Reliability) else dict(diagrams)
    if not 1 <= len(named) <= len(SERIES):
        raise ValueError(f"`diagrams`: expected 1 to {len(SERIES)}, got {len(named)}")
    ax = axes_or_new(ax, figsize, (4.4, 4.6))
    ax.axline((0, 0), slope=1, color=GREY, linewidth=0.9, linestyle=(0, (2, 2)))
    handles: list[Any] = []
    for i, ((name, diagram), style) in enumerate(zip(named.items(), SERIES, strict=False)):
        forecast, frequency, error, share, edges = (
            np.asarray(values, float)
            for values in (
                diagram.forecast,
                diagram.frequency,
                diagram.error,
                diagram.share,
                diagram.edges,
            )
        )
        some = share > 0
        if not some.any():
            raise ValueError(f"`diagrams`: {name or 'the diagram'} has no event")
        x, y, half = forecast[some], frequency[some], _BAND * error[some]
        ax.fill_between(
            x,
            np.maximum(y - half, 0),
            np.minimum(y + half, 1),
            color=style["color"],
            alpha=0.15,
            linewidth=0,
        )
        ax.plot(x, y, linewidth=1.6, markersize=4.5, **style)
        width = np.diff(edges) / len(named)
        ax.bar(
            edges[:-1] + i * width,
            share,
            width=0.9 * width,
            align="edge",
            color=style["color"],
            alpha=0.35,
        )
        gap = float(diagram.calibration_error)
        text = f"{label(name)} (error {gap:.3f})" if name else f"Forecasts (error {gap:.3f})"
        handles.append(Line2D([], [], label=text, linewidth=1.6, markersize=4.5, **style))
    handles.append(Patch(facecolor=GREY, alpha=0.25, label="Band: 95% interval of a bin's share"))
    handles.append(Patch(facecolor=GREY, alpha=0.6, label="Bar: share of forecasts in the bin"))
    handles.append(Line2D([], [], color=GREY, linestyle=(0, (2, 2)), label="Calibrated"))
    rows = legend_above(ax, handles=handles, ncols=1)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    return finish(ax, xlabel=xlabel, ylabel=ylabel, title=title, grid="both", legend_rows=rows)
