"""Figure 5: accuracy when calibration is used only where the twins' own fit is good."""

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from syndigits_jax.plots.style import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    Figsize,
    axes_or_new,
    finish,
    legend_above,
    sized,
)


@sized
def plot_adaptive_curve(
    thresholds: ArrayLike,
    scores: ArrayLike,
    *,
    baseline: float,
    always: float,
    se: ArrayLike | None = None,
    chosen: float | None = None,
    metric: str = "Mean correlation",
    ax: Axes | None = None,
    figsize: Figsize | None = None,
    fontsize: float | int | None = None,
    title: str | None = None,
) -> Axes:
    """Mean score of the threshold rule against its threshold on the training MSE (Figure 5).

    **Arguments:**

    - `thresholds`, `scores`: (t,) arrays; `se`: standard errors (t,), drawn as a band.
    - `baseline`: score of the uncalibrated twins; `always`: score of calibrating every target.
    - `chosen`: a threshold to mark, such as one chosen on the other questions.
    - `metric`: label of the scores.
    - `ax`: where to draw; a new figure if None, of `figsize`, its width and height in inches (a
      height of `None` fits what is drawn). `fontsize`: of texts, in points. `title`: none if None.

    **Returns:** the Axes. **Raises:** `ValueError` if the arrays are not of one length, no
    score is finite, or `chosen` is not.
    """
    thresholds, scores = np.asarray(thresholds, dtype=float), np.asarray(scores, dtype=float)
    if thresholds.ndim != 1 or thresholds.shape != scores.shape or not scores.size:
        raise ValueError(
            f"scores: expected one per threshold, got {scores.shape} for {thresholds.shape}"
        )
    if not np.isfinite(scores).any():
        raise ValueError("scores: nothing to draw")
    if chosen is not None and not np.isfinite(chosen):
        raise ValueError(f"chosen: must be finite, got {chosen}")
    ax = axes_or_new(ax, figsize)
    if se is not None:
        se = np.asarray(se, dtype=float)
        if se.shape != scores.shape:
            raise ValueError(f"se: expected shape {scores.shape}, got {se.shape}")
        ax.fill_between(
            thresholds, scores - se, scores + se, color=BLUE, alpha=0.15, linewidth=0,
            label="± standard error",
        )  # fmt: skip
    ax.plot(thresholds, scores, color=BLUE, linewidth=1.8, label="Adaptive")
    ax.axhline(always, color=ORANGE, linestyle="--", linewidth=1.4, label="Always calibrate")
    ax.axhline(baseline, color=GREY, linestyle=":", linewidth=1.8, label="Never calibrate")

    best = int(np.nanargmax(scores))
    ax.plot(thresholds[best], scores[best], "o", color=BLUE, markersize=6)
    # The label goes where there is room: left of a maximum in the right half, and to the right of
    # the mark of a chosen threshold that lies close to the maximum.
    left = thresholds[best] > 0.5 * (thresholds[0] + thresholds[-1])
    ax.annotate(
        f"{scores[best]:.3f} at τ = {thresholds[best]:.2f}",
        (thresholds[best] if left else _just_beyond(chosen, thresholds[best]), scores[best]),
        xytext=(-6 if left else 9, 5),
        textcoords="offset points",
        fontsize="small",
        color=INK,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
        ha="right" if left else "left",
        va="bottom",
    )
    if chosen is not None:
        ax.axvline(chosen, color=INK, linewidth=0.9, linestyle=(0, (2, 2)))
        ax.annotate(
            "chosen on the\nother questions",
            (chosen, 0.02),
            xycoords=("data", "axes fraction"),
            xytext=(5, 0),
            textcoords="offset points",
            fontsize="x-small",
            color=INK,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
        )
    # Room for the label above the maximum; the axis need not start at 0.
    ax.margins(x=0.01, y=0.12)
    rows = legend_above(ax)
    xlabel = "Threshold τ on the training MSE"
    return finish(ax, xlabel=xlabel, ylabel=metric, title=title, legend_rows=rows)


def _just_beyond(chosen: float | None, best: float) -> float:
    return chosen if chosen is not None and best <= chosen <= best + 0.15 else best
