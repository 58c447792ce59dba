"""Questions as rows, sorted by a value: which are predicted well, and which are not."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from syndigits_jax.plots._rows import (
    Values,
    dots,
    interval,
    name_rows,
    row_height,
)
from syndigits_jax.plots.style import (
    BLUE,
    INK,
    ORANGE,
    Figsize,
    axes_or_new,
    finish,
    legend_above,
    sized,
    text_scale,
)

_NAMED = 30  # more rows than this cannot be read one by one
_ROW = 0.2


@sized
def plot_questions(
    names: Sequence[str],
    estimate: Values,
    lower: Values | None = None,
    upper: Values | None = None,
    *,
    xlabel: str,
    observed: Values | None = None,
    observed_label: str = "observed",
    estimate_label: str = "expected, with its interval",
    threshold: float | int | None = None,
    threshold_label: str = "",
    named: int = _NAMED,
    ax: Axes | None = None,
    figsize: Figsize | None = None,
    fontsize: float | int | None = None,
    title: str | None = None,
) -> Axes:
    """A dot and interval per question, the largest estimate on top.

    More than `named` questions are drawn as a dense band of rows without names: the figure then
    shows the pattern, and a table the questions.

    **Arguments:**

    - `names`: (q,) questions; `estimate`: (q,) values; NaN is left out.
    - `lower`, `upper`: (q,) ends of intervals, or `None`; NaN is not drawn.
    - `xlabel`: what is estimated, with its unit.
    - `observed`: (q,) what came true, drawn as a diamond; `observed_label`, `estimate_label`: names
      of both in the legend.
    - `threshold`: a value marked by a dashed vertical line, called `threshold_label`.
    - `named`: the most rows that are named.
    - `ax`: where to draw; a new figure if None, of `figsize`, its width and height in inches (a
      height of `None` fits what is drawn). `fontsize`: of texts, in points. `title`: none if None.

    **Returns:** the Axes. **Raises:** `ValueError` if there is nothing to draw, for other lengths,
    or if a lower end is above its upper end.

    **Example:**

        >>> from syndigits_jax.plots import plot_questions
        >>> ax = plot_questions(["a", "b"], [0.2, 0.5], xlabel="Expected correlation")
        >>> print([label.get_text() for label in ax.get_yticklabels()])
        ['b', 'a']
    """
    values, low, high = interval("estimate", (estimate, lower, upper), len(names))
    truth = interval("observed", (observed, None, None), len(names))[0]
    order = np.argsort(-values, kind="stable")
    order = order[np.isfinite(values[order])]
    if not order.size:
        raise ValueError("estimate: nothing to draw")
    dense = order.size > named
    row = 0.03 if dense else row_height(names, figsize, _ROW)
    ax = axes_or_new(ax, figsize, (6.0, 0.9 * text_scale() + max(row * order.size, 0.8)), rows=True)
    at = np.arange(order.size, dtype=float)
    shown: dict[str, Any] = {"color": BLUE, "marker": "o"}
    dots(ax, values[order], low[order], high[order], at, size=2.5 if dense else 5, **shown)
    if dense:
        for lines in ax.collections:
            lines.set_linewidth(0.9)
            lines.set_alpha(0.55)
    handles: list[Any] = []
    if observed is not None or np.isfinite(low).any():
        handles.append(Line2D([], [], label=estimate_label, linewidth=1.8, **shown))
    if observed is not None:
        seen: dict[str, Any] = {"marker": "D", "color": "none", "markeredgecolor": ORANGE}
        seen |= {"markerfacecolor": "white", "markersize": 2.5 if dense else 4.5}
        ax.plot(truth[order], at, linestyle="none", markeredgewidth=0.8 if dense else 1.3, **seen)
        seen["markersize"] = 5
        handles.append(Line2D([], [], label=observed_label, **seen))
    if threshold is not None:
        line: dict[str, Any] = {"color": INK, "linewidth": 1.0, "linestyle": (0, (4, 2))}
        ax.axvline(threshold, **line)
        if threshold_label:
            handles.append(Line2D([], [], label=threshold_label, **line))
    if dense:
        ax.set_yticks([])
        ax.set_ylim(order.size - 0.2, -0.8)
        ylabel = f"{order.size} questions, sorted"
    else:
        name_rows(ax, [names[int(i)] for i in order])
        ylabel = ""
    rows = legend_above(ax, handles=handles, edge=True) if handles else 0
    finish(ax, xlabel=xlabel, ylabel=ylabel, title=title, grid="x", legend_rows=rows, edge=True)
    ax.tick_params(axis="y", length=0)
    return ax
