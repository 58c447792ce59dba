"""Figure 10: cumulative variance of the leading directions."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike

from syndigits_jax.plots.style import (
    GREY,
    SERIES,
    Figsize,
    axes_or_new,
    finish,
    legend_above,
    sized,
)


@sized
def plot_cumulative_variance(
    shares: Mapping[str, ArrayLike],
    *,
    level: float | None = 0.9,
    ax: Axes | None = None,
    figsize: Figsize | None = None,
    fontsize: float | int | None = None,
    title: str | None = None,
) -> Axes:
    """Cumulative share of variance explained by the leading singular values (Figure 10).

    **Arguments:**

    - `shares`: by label ("Humans", "Twins"), the cumulative shares (k,), in [0, 1], at 1, 2, ...
      components.
    - `level`: a share to mark; the legend gives the number of components that each series needs
      to reach it. None marks none.
    - `ax`: where to draw; a new figure if None, of `figsize`, its width and height in inches (a
      height of `None` fits what is drawn). `fontsize`: of texts, in points. `title`: none if None.

    **Returns:** the Axes. **Raises:** `ValueError` if nothing is given, or a series is not
    one-dimensional.
    """
    if not shares:
        raise ValueError("shares: nothing to draw")
    ax = axes_or_new(ax, figsize)
    for (name, values), style in zip(shares.items(), SERIES, strict=False):
        values = np.asarray(values, dtype=float)
        if values.ndim != 1 or not values.size:
            raise ValueError(f"shares: {name!r} has shape {values.shape}, expected (k,)")
        text = name
        if level is not None and values[-1] >= level:
            needed = int(np.argmax(values >= level)) + 1
            text = f"{name} ({needed} for {level:.0%})"
        line = {key: style[key] for key in ("color", "linestyle")}
        ax.plot(np.arange(1, values.size + 1), values, label=text, linewidth=1.8, **line)
    if level is not None:
        line = {"color": GREY, "linewidth": 0.8, "linestyle": (0, (2, 2))}
        ax.axhline(level, label=f"{level:.0%} of variance", **line)
    ax.set_ylim(0.0, 1.02)
    ax.set_xlim(left=0.0)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    rows, ylabel = legend_above(ax), "Cumulative variance"
    return finish(ax, xlabel="Components", ylabel=ylabel, title=title, legend_rows=rows)
