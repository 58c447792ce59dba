"""Error against the number of known human answers, and how many of these the twins are worth."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from syndigits_jax.evaluation import FewShotCurve, equivalent_respondents
from syndigits_jax.plots.style import (
    GREY,
    INK,
    SERIES,
    Figsize,
    axes_or_new,
    finish,
    label,
    legend_above,
    sized,
)

_METRICS = {"mse": "Mean squared error", "mae": "Mean absolute error", "pearson": "Correlation"}
_UNITS = {"question": "respondents", "user": "questions asked"}
# Grey and ink are for controls, which are drawn thin and distinguished by their dashes.
_LOOKS = tuple(look for look in SERIES if look["color"] != GREY)
_DASHES = ((0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 3)))


@sized
def plot_few_shot(
    curve: FewShotCurve,
    *,
    metric: str = "mse",
    methods: Sequence[str] | None = None,
    worth: str | None = None,
    control: str = "HumansOnly",
    ax: Axes | None = None,
    figsize: Figsize | None = None,
    fontsize: float | int | None = None,
    title: str | None = None,
) -> Axes:
    """Mean score against the number of known human answers: methods in colour, controls in grey.

    **Arguments:**

    - `curve`: what [`few_shot_curve`][] returned.
    - `metric`: one of those the curve holds.
    - `methods`: names to draw, at most five; by default all of the curve's methods.
    - `worth`: the method whose score without any answer is marked where `control` reaches it (see
      [`equivalent_respondents`][]); by default the first of `methods`.
    - `ax`: where to draw; a new figure if None, of `figsize`, its width and height in inches (a
      height of `None` fits what is drawn). `fontsize`: of texts, in points. `title`: none if None.

    **Returns:** the Axes. **Raises:** `ValueError` for a metric or name that the curve does not
    hold, no or more than five methods, or a curve without k = 0.
    """
    methods = list(curve.methods if methods is None else methods)
    if not 1 <= len(methods) <= len(_LOOKS):
        raise ValueError(f"methods: choose 1 to {len(_LOOKS)} of {list(curve.methods)}")
    worth = methods[0] if worth is None else worth
    number = equivalent_respondents(curve, worth, metric=metric, control=control)

    ax = axes_or_new(ax, figsize, (5.6, 3.6))
    for name, style in zip(methods, _LOOKS, strict=False):
        values = curve.mean(metric, name)
        ax.plot(curve.ks, values, label=label(name), linewidth=1.6, markersize=4, **style)
    others = [name for name in curve.scores[metric] if name not in curve.methods]
    others.sort(key=lambda name: name != control)
    for i, name in enumerate(others):
        look = {"color": INK if name == control else GREY, "linestyle": _DASHES[i % len(_DASHES)]}
        ax.plot(curve.ks, curve.mean(metric, name), label=label(name), linewidth=1.2, **look)
    if not np.isnan(number):
        _mark(ax, curve, number, curve.mean(metric, worth))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlim(left=-0.02 * curve.ks[-1])
    rows = legend_above(ax)
    unit = "users" if curve.direction == "question" else "questions"
    xlabel = f"Known human answers ({unit} per {curve.direction})"
    ylabel = _METRICS.get(metric, metric)
    return finish(ax, xlabel=xlabel, ylabel=ylabel, title=title, legend_rows=rows)


def _mark(ax: Axes, curve: FewShotCurve, number: float, values: Float[np.ndarray, " K"]) -> None:
    """A line from the score without answers to where the control reaches it, and its length."""
    unit, last, level = _UNITS[curve.direction], float(curve.ks[-1]), float(values[0])
    reached = np.isfinite(number)
    end = number if reached else last
    ax.plot([0, end], [level, level], color=INK, linewidth=0.9, linestyle=(0, (2, 2)))
    if reached:
        ax.plot(end, level, marker="X", color=INK, markersize=7, linestyle="none")
    left = end < 0.6 * last
    below = values[-1] > level  # where the method's own curve is not
    ax.annotate(
        f"worth {number:.0f} {unit}" if reached else f"worth more than {last:.0f} {unit}",
        (end, level),
        xytext=(8 if left else -8, -6 if below else 6),
        textcoords="offset points",
        ha="left" if left else "right",
        va="top" if below else "bottom",
        fontsize="small",
        color=INK,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0},
    )
