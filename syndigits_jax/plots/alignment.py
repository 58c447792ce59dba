"""Figures 3, 4, 6 and 7: how far twins and humans share their latent spaces."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from syndigits_jax.plots.style import (
    SERIES,
    Figsize,
    axes_or_new,
    axes_row,
    finish,
    legend_above,
    sized,
)


@sized
def plot_principal_cosines(
    cosines: Mapping[str, ArrayLike],
    *,
    ax: Axes | None = None,
    figsize: Figsize | None = None,
    fontsize: float | int | None = None,
    title: str | None = None,
) -> Axes:
    """Cosines of the principal angles between two leading singular subspaces.

    The left panels of Figures 3 and 4 (row spaces of MovieLens and Twin-2K-500), 6 and 7 (column
    spaces).

    **Arguments:**

    - `cosines`: per comparison, by its label, the cosines (r,) in [0, 1], largest first; the
      twins come first, random baselines after.
    - `ax`: where to draw; a new figure if None, of `figsize`, its width and height in inches (a
      height of `None` fits what is drawn). `fontsize`: of texts, in points. `title`: none if None.

    **Returns:** the Axes. 1 means that a direction is shared exactly.
    **Raises:** `ValueError` if nothing is given, or a series is not one-dimensional.
    """
    ax = axes_or_new(ax, figsize)
    _draw(ax, cosines, "cosines")
    ax.set_ylim(0.0, 1.04)
    rows = legend_above(ax)
    return finish(ax, xlabel="Principal angle", ylabel="Cosine", title=title, legend_rows=rows)


@sized
def plot_projection_distance(
    distances: Mapping[str, ArrayLike],
    *,
    ax: Axes | None = None,
    figsize: Figsize | None = None,
    fontsize: float | int | None = None,
    title: str | None = None,
) -> Axes:
    """Projection-Frobenius norm ||P_a - P_b||_F / sqrt(r) against rank r.

    The right panels of Figures 3, 4, 6 and 7.

    **Arguments:**

    - `distances`: per comparison, by its label, the norm (r,) at ranks 1, 2, ..., r.
    - `ax`: where to draw; a new figure if None, of `figsize`, its width and height in inches (a
      height of `None` fits what is drawn). `fontsize`: of texts, in points. `title`: none if None.

    **Returns:** the Axes. 0 is the same subspace, sqrt(2) an orthogonal one.
    **Raises:** `ValueError` if nothing is given, or a series is not one-dimensional.
    """
    ax = axes_or_new(ax, figsize)
    _draw(ax, distances, "distances")
    ax.set_ylim(0.0, 1.08 * np.sqrt(2.0))
    rows, ylabel = legend_above(ax), "Projection-Frobenius norm"
    return finish(ax, xlabel="Rank", ylabel=ylabel, title=title, legend_rows=rows)


@sized
def plot_alignment(
    cosines: Mapping[str, ArrayLike],
    distances: Mapping[str, ArrayLike],
    *,
    axes: Sequence[Axes] | None = None,
    figsize: Figsize | None = None,
    fontsize: float | int | None = None,
    title: str | None = None,
) -> list[Axes]:
    """Both panels side by side, as in Figures 3, 4 (row spaces), 6 and 7 (column spaces).

    In a figure narrower than 4 inches one is below the other.

    **Arguments:**

    - `cosines`: as in [`plot_principal_cosines`][].
    - `distances`: as in [`plot_projection_distance`][].
    - `axes`: two Axes to draw in; a new figure if None, of `figsize`, its width and height in
      inches (a height of `None` fits what is drawn). `fontsize`: of texts, in points.
    - `title`: of the left panel; none if None.

    **Returns:** the two Axes. **Raises:** `ValueError` unless `axes` is None or two Axes.
    """
    left, right = axes_row(axes, 2, figsize, (8.4, 3.4))
    plot_principal_cosines(cosines, ax=left, title=title)
    plot_projection_distance(distances, ax=right)
    return [left, right]


def _draw(ax: Axes, series: Mapping[str, ArrayLike], argument: str) -> None:
    if not series:
        raise ValueError(f"{argument}: nothing to draw")
    for (name, values), style in zip(series.items(), SERIES, strict=False):
        values = np.asarray(values, dtype=float)
        if values.ndim != 1:
            raise ValueError(f"{argument}: {name!r} has shape {values.shape}, expected (r,)")
        ranks = np.arange(1, values.size + 1)
        ax.plot(ranks, values, label=name, linewidth=1.6, markersize=5, **style)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
