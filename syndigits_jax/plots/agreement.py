"""Values of people against those of their twins: means, spreads, effects."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from syndigits_jax.plots._rows import (
    Values,
    characters,
    interval,
    raw_first,
    shortened,
)
from syndigits_jax.plots.style import (
    GREY,
    INK,
    PALE,
    SERIES,
    Figsize,
    axes_or_new,
    finish,
    interval_handle,
    legend_above,
    sized,
)


@sized
def plot_agreement(
    x: Values,
    series: Mapping[str, Values],
    *,
    xlabel: str,
    ylabel: str,
    x_ends: Sequence[Values] | None = None,
    y_ends: Mapping[str, Sequence[Values]] | None = None,
    interval_label: str = "interval",
    names: Sequence[str] | None = None,
    named: int = 3,
    zero: bool = False,
    ax: Axes | None = None,
    figsize: Figsize | None = None,
    fontsize: float | int | None = None,
    title: str | None = None,
) -> Axes:
    """A point per question or outcome: its value among people, and among twins, by series.

    On the dashed line both are equal. Both axes have one scale.

    **Arguments:**

    - `x`: (q,) values of people; `series`: by name, at most six, (q,) values of twins, such as raw
      ones first, then calibrated ones. NaN is left out.
    - `xlabel`, `ylabel`: labels of the axes, with their unit.
    - `x_ends`: (lower, upper), each (q,), of people; `y_ends`: the same by series. Drawn as bars,
      called `interval_label` in the legend.
    - `names`: (q,) of the points; the `named` points of the last series that are farthest from the
      line are labelled.
    - `zero`: also draw lines at 0, for effects, whose sign matters.
    - `ax`: where to draw; a new figure if None, of `figsize`, its width and height in inches (a
      height of `None` fits what is drawn). `fontsize`: of texts, in points. `title`: none if None.

    **Returns:** the Axes. **Raises:** `ValueError` if there is nothing to draw, for other lengths,
    or if a lower end is above its upper end.

    **Example:**

        >>> from syndigits_jax.plots import plot_agreement
        >>> twins = {"raw twins": [2.0, 3.0], "calibrated twins": [1.1, 3.9]}
        >>> ax = plot_agreement([1.0, 4.0], twins, xlabel="Mean of people", ylabel="Mean of twins")
        >>> print(ax.get_xlim() == ax.get_ylim())
        True
    """
    across = np.asarray(x, dtype=float)
    if across.ndim != 1 or not 1 <= len(series) <= len(SERIES):
        raise ValueError(f"series: expected (q,) values and 1 to {len(SERIES)} series")
    count = across.size
    _, left, right = interval(
        "x_ends", (None, *((None, None) if x_ends is None else x_ends)), count
    )
    ax = axes_or_new(ax, figsize, (4.6, 4.8))
    reach = [across, left, right]
    handles: list[Any] = []
    up = across
    for (name, values), look in zip(series.items(), raw_first(len(series))):
        ends = (None, None) if y_ends is None else y_ends.get(name, (None, None))
        up, low, high = interval(f"series: {name}", (values, *ends), count)
        reach += [up[np.isfinite(across)], low, high]
        bars = {"color": look["color"], "linewidth": 1.0, "alpha": 0.6}
        ax.hlines(up, left, right, **bars)
        ax.vlines(across, low, high, **bars)
        point: dict[str, Any] = {"marker": look["marker"], "color": look["color"]}
        ax.plot(across, up, linestyle="none", markersize=4.5, alpha=0.85, **point)
        handles.append(Line2D([], [], label=name, linestyle="none", markersize=5, **point))
    extent = np.concatenate(reach)
    extent = extent[np.isfinite(extent)]
    if not extent.size:
        raise ValueError("series: nothing to draw")
    low, high = _padded(float(extent.min()), float(extent.max()))
    line: dict[str, Any] = {"color": INK, "linewidth": 0.9, "linestyle": (0, (4, 2))}
    ax.plot([low, high], [low, high], zorder=1, **line)
    handles.append(Line2D([], [], label="equal", **line))
    if zero:
        ax.axhline(0.0, color=GREY, linewidth=0.8, zorder=0.9)
        ax.axvline(0.0, color=GREY, linewidth=0.8, zorder=0.9)
    ax.set_xlim(low, high)
    ax.set_ylim(low, high)
    ax.set_aspect("equal", adjustable="box")
    if names is not None:
        _name_farthest(ax, across, up, names, named)
    if x_ends is not None or y_ends:
        handles.append(interval_handle(interval_label))
    rows = legend_above(ax, handles=handles, edge=True)
    return finish(
        ax, xlabel=xlabel, ylabel=ylabel, title=title, grid="both", legend_rows=rows, edge=True
    )


def _padded(low: float, high: float) -> tuple[float, float]:
    pad = 0.05 * (high - low) if high > low else max(0.05 * abs(low), 0.05)
    return low - pad, high + pad


def _name_farthest(
    ax: Axes,
    x: Float[np.ndarray, " q"],
    y: Float[np.ndarray, " q"],
    names: Sequence[str],
    count: int,
) -> None:
    if len(names) != x.size:
        raise ValueError(f"names: expected {x.size}, got {len(names)}")
    away = np.where(np.isfinite(x) & np.isfinite(y), np.abs(x - y), -1.0)
    low, high = ax.get_xlim()
    taken: list[float] = []
    for i in np.argsort(-away, kind="stable"):
        # A label that would lie on another is left out: a table has them all.
        crowded = any(abs(y[i] - other) < 0.06 * (high - low) for other in taken)
        if len(taken) == count or away[i] <= 0:
            break
        if crowded:
            continue
        taken.append(float(y[i]))
        right = x[i] > 0.5 * (low + high)
        ax.annotate(
            shortened(str(names[i]), characters(ax, 0.3)), (x[i], y[i]),
            xytext=(-7 if right else 7, 0), textcoords="offset points", va="center",
            ha="right" if right else "left", fontsize="x-small", color=INK, parse_math=False,
            bbox={"facecolor": "white", "edgecolor": PALE, "linewidth": 0.4, "alpha": 0.85,
                  "pad": 1.2},
        )  # fmt: skip
