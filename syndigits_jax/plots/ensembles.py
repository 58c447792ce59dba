"""Figures 8 and 9: answer distributions of weighted ensembles; and the gap of their fits."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike

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
)

_HUMANS, _CALIBRATED, _UNIFORM = "Humans", "Calibrated", "Equal weights"
_LOOKS: dict[str, dict[str, Any]] = {
    _HUMANS: {"facecolor": INK, "edgecolor": INK},
    _CALIBRATED: {"facecolor": BLUE, "edgecolor": BLUE},
    _UNIFORM: {"facecolor": "white", "edgecolor": GREY, "hatch": "/////"},
}


@sized
def plot_answer_distribution(
    calibrated: ArrayLike,
    *,
    true: ArrayLike | None = None,
    baseline: ArrayLike | None = None,
    interval: tuple[ArrayLike, ArrayLike] | None = None,
    interval_label: str = "Interval",
    options: Sequence[str] | None = None,
    ax: Axes | None = None,
    figsize: Figsize | None = None,
    fontsize: float | int | None = None,
    title: str | None = None,
) -> Axes:
    """The answers to one question as bars: people, calibrated twins, uncalibrated twins.

    Figure 8.

    **Arguments:**

    - `calibrated`: (K,) predicted shares; `true`: those of people, if they are known; `baseline`:
      those of equally weighted twins.
    - `interval`: lower and upper ends (K,) for the true shares, drawn on the calibrated bars
      and called `interval_label` in the legend.
    - `options`: K labels; 1, 2, ... by default.
    - `ax`: where to draw; a new figure if None, of `figsize`, its width and height in inches (a
      height of `None` fits what is drawn). `fontsize`: of texts, in points. `title`: none if None.

    **Returns:** the Axes. **Raises:** `ValueError` unless everything has K entries, none of them
    infinite.
    """
    k = np.size(calibrated)
    bars = {
        _HUMANS: _shares(true, "true", k),
        _CALIBRATED: _shares(calibrated, "calibrated", k),
        _UNIFORM: _shares(baseline, "baseline", k),
    }
    bars = {name: q for name, q in bars.items() if q is not None}
    labels = [str(i + 1) for i in range(k)] if options is None else list(options)
    if len(labels) != k:
        raise ValueError(f"options: {len(labels)} labels for {k} options")

    ax = axes_or_new(ax, figsize)
    width = 0.8 / len(bars)
    for i, (name, q) in enumerate(bars.items()):
        x = np.arange(k) + (i - (len(bars) - 1) / 2) * width
        ax.bar(x, q, width=0.92 * width, linewidth=0.8, label=name, **_LOOKS[name])
        if name == _CALIBRATED and interval is not None:
            ends = _ends(interval, q)
            ax.errorbar(x, q, yerr=ends, fmt="none", ecolor=GREY, elinewidth=1.4, capsize=3)
    handles: list[Any] = [Patch(label=name, linewidth=0.8, **_LOOKS[name]) for name in bars]
    if interval is not None:
        handles.append(interval_handle(interval_label))
    ax.set_xticks(np.arange(k), labels, parse_math=False)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    rows = legend_above(ax, handles=handles)
    ax.tick_params(axis="x", length=0)
    return finish(ax, xlabel="Answer", ylabel="Share of answers", title=title, legend_rows=rows)


@sized
def plot_variance_ratios(
    calibrated: ArrayLike,
    baseline: ArrayLike,
    *,
    bins: int = 20,
    ax: Axes | None = None,
    figsize: Figsize | None = None,
    fontsize: float | int | None = None,
    title: str | None = None,
) -> Axes:
    """Histograms over questions of the predicted over the true variance; 1 is ideal.

    Figure 9. Twins that all answer alike have ratios near 0.

    **Arguments:**

    - `calibrated`, `baseline`: (q,) ratios, such as those of `variance_ratio`; NaN is left out.
    - `bins`: number of bins, which both share.
    - `ax`: where to draw; a new figure if None, of `figsize`, its width and height in inches (a
      height of `None` fits what is drawn). `fontsize`: of texts, in points. `title`: none if None.

    **Returns:** the Axes. **Raises:** `ValueError` if either has no number, or is not a vector.
    """
    ratios = {
        _CALIBRATED: _numbers(calibrated, "calibrated"),
        _UNIFORM: _numbers(baseline, "baseline"),
    }
    ax = axes_or_new(ax, figsize)
    edges = np.linspace(0, max(1.0, *(r.max() for r in ratios.values())), bins + 1)
    for name, r in ratios.items():
        look = {"color": BLUE, "alpha": 0.75} if name == _CALIBRATED else _outline()
        ax.hist(r, edges.tolist(), label=f"{name} (median {np.median(r):.2f})", **look)
    ax.axvline(1, color=INK, linewidth=0.9, linestyle=(0, (2, 2)), label="As people vary")
    ax.set_xlim(0, edges[-1])
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    rows, xlabel = legend_above(ax), "Predicted variance / true variance"
    return finish(ax, xlabel=xlabel, ylabel="Questions", title=title, legend_rows=rows)


@sized
def plot_gap(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    level: float | None = None,
    xlabel: str = "Seconds",
    xscale: str = "log",
    ax: Axes | None = None,
    figsize: Figsize | None = None,
    fontsize: float | int | None = None,
    title: str | None = None,
) -> Axes:
    """The certified gap against time or steps, with the gap on a logarithmic axis.

    **Arguments:**

    - `curves`: by label, the times (or steps) and the gaps reached by then, both (t,). A gap of 0
      cannot be shown on the axis and is left out.
    - `level`: a gap to mark, such as the one at which fits stop; the legend has it.
    - `xlabel`: label of the times or steps.
    - `xscale`: `"log"` or `"linear"`.
    - `ax`: where to draw; a new figure if None, of `figsize`, its width and height in inches (a
      height of `None` fits what is drawn). `fontsize`: of texts, in points. `title`: none if None.

    **Returns:** the Axes. **Raises:** `ValueError` for no or more than six curves, times and gaps
    that do not match, or if no gap is above 0.
    """
    if not 1 <= len(curves) <= len(SERIES):
        raise ValueError(f"curves: expected 1 to {len(SERIES)}, got {len(curves)}")
    ax = axes_or_new(ax, figsize)
    some = False
    for (name, curve), style in zip(curves.items(), SERIES, strict=False):
        if len(curve) != 2:
            raise ValueError(f"curves: {name!r} is to be times and gaps, got {len(curve)}")
        x, gap = (np.asarray(values, float) for values in curve)
        if x.ndim != 1 or x.shape != gap.shape:
            raise ValueError(f"curves: {name!r} has gaps {gap.shape} at times {x.shape}")
        placed = np.isfinite(x) & (x > 0) if xscale == "log" else np.isfinite(x)
        some = some or bool((placed & np.isfinite(gap) & (gap > 0)).any())
        ax.plot(x, np.where(gap > 0, gap, np.nan), label=name, linewidth=1.6, markersize=4, **style)
    if not some:
        raise ValueError("curves: nothing to draw, no gap above 0 at a time that the axis has")
    if level is not None:
        look = {"color": GREY, "linewidth": 0.9, "linestyle": (0, (2, 2))}
        ax.axhline(level, label=f"gap of {level:g}", **look)  # pyright: ignore[reportArgumentType]
    ax.set_yscale("log")
    ax.set_xscale(xscale)
    rows, ylabel = legend_above(ax), "Gap / improvement"
    return finish(ax, xlabel=xlabel, ylabel=ylabel, title=title, grid="both", legend_rows=rows)


def _shares(q: ArrayLike | None, name: str, k: int) -> Float[np.ndarray, " K"] | None:
    if q is None:
        return None
    q = np.asarray(q, float)
    if q.shape != (k,) or not k:
        raise ValueError(f"{name}: expected {k or 'some'} shares in a row, got {q.shape}")
    if np.isinf(q).any():
        raise ValueError(f"{name}: a share is infinite")
    return q


def _ends(
    interval: tuple[ArrayLike, ArrayLike], q: Float[np.ndarray, " K"]
) -> Float[np.ndarray, "2 K"]:
    """Lengths of the whiskers below and above the bars."""
    if len(interval) != 2:
        raise ValueError(f"interval: expected lower and upper ends, got {len(interval)}")
    lower, upper = (np.asarray(end, float) for end in interval)
    if lower.shape != q.shape or upper.shape != q.shape:
        raise ValueError(
            f"interval: expected two ends of shape {q.shape}, got {lower.shape} and {upper.shape}"
        )
    return np.maximum([q - lower, upper - q], 0)


def _numbers(values: ArrayLike, name: str) -> Float[np.ndarray, " q"]:
    values = np.asarray(values, float)
    if values.ndim != 1 or not np.isfinite(values).any():
        raise ValueError(f"{name}: expected a ratio per question, got shape {values.shape}")
    return values[np.isfinite(values)]


def _outline() -> dict[str, Any]:
    return {"histtype": "step", "edgecolor": GREY, "hatch": "/////", "linewidth": 1.2}
