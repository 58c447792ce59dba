"""The methods of a table as bars, beside the trivial predictors."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from syndigits_jax.plots.style import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    Figsize,
    axes_or_new,
    finish,
    interval_handle,
    label,
    legend_above,
    sized,
    text_scale,
)

CONTROLS = ("Baseline", "InContext", "UserMean", "ZScoredUserMean", "ItemMean")


@sized
def plot_methods(
    means: Mapping[str, float],
    errors: Mapping[str, float] | None = None,
    *,
    paper: Mapping[str, float] | None = None,
    xlabel: str = "Mean correlation",
    ax: Axes | None = None,
    figsize: Figsize | None = None,
    fontsize: float | int | None = None,
    title: str | None = None,
) -> Axes:
    """Horizontal bars from worst to best: calibrators in blue, controls hatched in grey.

    **Arguments:**

    - `means`: by method name, the mean score; NaN is left out. `errors`: standard errors, drawn
      as whiskers. `paper`: published means, drawn as diamonds.
    - `xlabel`: label of the scores.
    - `ax`: where to draw; a new figure if None, of `figsize`, its width and height in inches (a
      height of `None` fits what is drawn). `fontsize`: of texts, in points. `title`: none if None.

    **Returns:** the Axes. **Raises:** `ValueError` if there is no finite mean to draw, or for a
    negative error.
    """
    finite = {name: float(mean) for name, mean in means.items() if np.isfinite(mean)}
    if not finite:
        raise ValueError("means: nothing to draw")
    errors, paper = errors or {}, paper or {}
    if any(error < 0 for error in errors.values()):
        raise ValueError("errors: a standard error is negative")
    names = sorted(finite, key=lambda name: finite[name])
    ax = axes_or_new(ax, figsize, (6.0, (0.9 + 0.29 * len(names)) * text_scale()), rows=True)

    reach = max(max(finite.values()), 0.0)
    for row, name in enumerate(names):
        mean, error = finite[name], errors.get(name, np.nan)
        control = name in CONTROLS
        look: dict[str, Any] = {"color": BLUE, "edgecolor": BLUE}
        if control:
            look = {"color": "white", "edgecolor": GREY, "hatch": "/////"}
        ax.barh(row, mean, height=0.62, linewidth=0.8, **look)
        whisker = error if np.isfinite(error) else 0.0
        if whisker:
            ax.errorbar(mean, row, xerr=whisker, color=INK, linewidth=1.1, capsize=2.5)
        published = paper.get(name, np.nan)
        edge = max(mean + whisker, 0.0)
        if np.isfinite(published):
            ax.plot(published, row, marker="D", color="white", mec=ORANGE, mew=1.4, markersize=5)
            edge = max(edge, published)
        ax.annotate(
            f"{mean:.3f}",
            (edge, row),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize="small",
            color=INK,
        )
        reach = max(reach, edge)
    ax.set_yticks(np.arange(len(names)), [label(name) for name in names], parse_math=False)
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.set_xlim(min(0.0, 1.1 * min(finite.values())), 1.14 * reach)
    published, whiskers = (
        any(np.isfinite(values.get(name, np.nan)) for name in names) for values in (paper, errors)
    )
    rows = _legend(ax, names, published, whiskers)
    finish(ax, xlabel=xlabel, ylabel="", title=title, grid="x", legend_rows=rows, edge=True)
    ax.tick_params(axis="y", length=0)
    return ax


@sized
def plot_score_differences(
    calibrated: ArrayLike,
    baseline: ArrayLike,
    *,
    ax: Axes | None = None,
    figsize: Figsize | None = None,
    fontsize: float | int | None = None,
    xlabel: str = "Uncalibrated twins",
    ylabel: str = "Calibrated",
    title: str | None = None,
) -> Axes:
    """One dot per held-out target: its calibrated score against its uncalibrated one.

    Targets below the diagonal lose by calibration, which a mean does not show.

    **Arguments:**

    - `calibrated`, `baseline`: (t,) scores; NaN is left out.
    - `xlabel`, `ylabel`: labels of the baseline's and of the calibrated scores.
    - `ax`: where to draw; a new figure if None, of `figsize`, its width and height in inches (a
      height of `None` fits what is drawn). `fontsize`: of texts, in points. `title`: none if None.

    **Returns:** the Axes. **Raises:** `ValueError` if the scores differ in shape.
    """
    calibrated, baseline = np.asarray(calibrated, float), np.asarray(baseline, float)
    if calibrated.shape != baseline.shape:
        raise ValueError(
            f"calibrated: shape {calibrated.shape} does not match baseline {baseline.shape}"
        )
    ax = axes_or_new(ax, figsize, (3.8, 3.8))
    keep = np.isfinite(calibrated) & np.isfinite(baseline)
    better = int(np.sum(calibrated[keep] > baseline[keep]))
    ax.axline((0, 0), slope=1, color=GREY, linewidth=0.9, linestyle=(0, (2, 2)), label="equal")
    ax.scatter(baseline[keep], calibrated[keep], s=16, color=BLUE, alpha=0.55, linewidths=0)
    ax.annotate(
        f"{better} of {int(keep.sum())} improve",
        (0.03, 0.97),
        xycoords="axes fraction",
        va="top",
        fontsize="small",
        color=INK,
    )
    ax.set_aspect("equal", adjustable="datalim")
    rows = legend_above(ax)
    return finish(ax, xlabel=xlabel, ylabel=ylabel, title=title, grid="both", legend_rows=rows)


def _legend(ax: Axes, names: list[str], with_paper: bool, with_errors: bool) -> int:
    handles: list[Any] = []
    if any(name not in CONTROLS for name in names):
        handles.append(Patch(facecolor=BLUE, label="Calibrated"))
    if any(name in CONTROLS for name in names):
        handles.append(Patch(facecolor="white", edgecolor=GREY, hatch="/////", label="Control"))
    if with_paper:
        look: dict[str, Any] = {"color": "none", "marker": "D", "markerfacecolor": "white"}
        handles.append(Line2D([], [], markeredgecolor=ORANGE, label="Paper", **look))
    if with_errors:
        handles.append(interval_handle("± standard error"))
    return legend_above(ax, handles=handles, edge=True)
