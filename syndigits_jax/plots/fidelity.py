"""Figures 2 to 7 of The Persona Fidelity Gap: gaps, collapse, local and global, projections."""

import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from syndigits_jax.plots.style import (
    GREY,
    HATCHES,
    INK,
    SERIES,
    Figsize,
    axes_or_new,
    finish,
    interval_handle,
    legend_above,
    sized,
)
from syndigits_jax.solvers.keys import PRNGKey, host_generator

_MOST = 3000  # points of a population that are drawn
_PROJECTIONS = ("pca", "umap")


@sized
def plot_fidelity_gap(
    gaps: Mapping[str, Mapping[str, float]],
    intervals: Mapping[str, Mapping[str, tuple[float, float]]] | None = None,
    *,
    interval_label: str = "interval",
    ax: Axes | None = None,
    figsize: Figsize | None = None,
    fontsize: float | int | None = None,
    title: str | None = None,
) -> Axes:
    """The Fidelity Gap Index as bars: a group per population, a bar per metric.

    Figure 2. 0 is the index of fresh real users, 1 that of the ceiling; both are marked. An index
    that is NaN (unstable) is drawn as a cross on the axis, not as a bar.

    **Arguments:**

    - `gaps`: by population, then by metric; a metric that a population lacks counts as NaN.
    - `intervals`: (low, high) by population, then by metric; no whisker if NaN or absent.
      `interval_label`: what the legend calls them.
    - `ax`: where to draw; a new figure if None, of `figsize`, its width and height in inches (a
      height of `None` fits what is drawn). `fontsize`: of texts, in points. `title`: none if None.

    **Returns:** the Axes. **Raises:** `ValueError` for no population or more than six metrics.
    """
    metrics = list(dict.fromkeys(metric for values in gaps.values() for metric in values))
    if not 1 <= len(metrics) <= len(SERIES):
        raise ValueError(f"gaps: expected 1 to {len(SERIES)} metrics, got {len(metrics)}")
    ax = axes_or_new(ax, figsize, (max(4.8, 1.1 * len(gaps)), 3.6))
    width, places = 0.8 / len(metrics), np.arange(len(gaps))
    any_whisker, any_cross, looks = False, False, []
    for i, (metric, style) in enumerate(zip(metrics, SERIES, strict=False)):
        x = places + (i - (len(metrics) - 1) / 2) * width
        heights = np.array([values.get(metric, np.nan) for values in gaps.values()], float)
        known = np.isfinite(heights)
        bar: dict[str, Any] = {"facecolor": style["color"], "edgecolor": "white", "linewidth": 0}
        looks.append(bar | {"hatch": HATCHES[i], "label": metric})
        ax.bar(x[known], heights[known], 0.92 * width, **looks[-1])
        ax.plot(x[~known], np.zeros((~known).sum()), "x", color=style["color"], markersize=4)
        ends = np.array(
            [(intervals or {}).get(name, {}).get(metric, (np.nan, np.nan)) for name in gaps], float
        )
        drawn = known & np.isfinite(ends).all(axis=1)
        any_whisker, any_cross = any_whisker or drawn.any(), any_cross or not known.all()
        if drawn.any():
            whiskers = np.maximum(
                [heights[drawn] - ends[drawn, 0], ends[drawn, 1] - heights[drawn]], 0
            )
            ax.errorbar(x[drawn], heights[drawn], whiskers, fmt="none", ecolor=INK, elinewidth=0.9)
    look: dict[str, Any] = {"color": GREY, "linewidth": 0.9, "linestyle": (0, (2, 2))}
    for level in (0, 1):
        ax.axhline(level, **look)
    ax.set_xticks(places, list(gaps), rotation=25, ha="right", parse_math=False)
    # A metric without any bar keeps its colour here.
    handles: list[Any] = [Patch(**look) for look in looks]
    if any_whisker:
        handles.append(interval_handle(interval_label))
    if any_cross:
        handles.append(Line2D([], [], color=INK, linestyle="none", marker="x", label="unstable"))
    handles.append(Line2D([], [], label="0: real users, 1: ceiling", **look))
    rows = legend_above(ax, handles=handles)
    return finish(ax, xlabel="", ylabel="Fidelity Gap Index", title=title, legend_rows=rows)


@sized
def plot_collapse(
    values: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float]] | None = None,
    *,
    interval_label: str = "interval",
    reference: str | None = None,
    xlabel: str = "Mean cosine within the population",
    ax: Axes | None = None,
    figsize: Figsize | None = None,
    fontsize: float | int | None = None,
    title: str | None = None,
) -> Axes:
    """One number per population as horizontal bars, such as homogeneity or coverage.

    Figure 3 shows `coverage` and `cosine_mean` in this way, Figure 7 `norm_ratio`.

    **Arguments:**

    - `values`: by population. `intervals`: (low, high) by population, NaN or absent for none, which
      the legend calls `interval_label`.
    - `reference`: the population whose value is marked across the plot, such as real users.
    - `xlabel`: label of the values.
    - `ax`: where to draw; a new figure if None, of `figsize`, its width and height in inches (a
      height of `None` fits what is drawn). `fontsize`: of texts, in points. `title`: none if None.

    **Returns:** the Axes. **Raises:** `ValueError` if nothing or something infinite is given, or
    `reference` is not in `values`.
    """
    if not values:
        raise ValueError("values: nothing to draw")
    if reference is not None and reference not in values:
        raise ValueError(f"reference: {reference!r} is none of {list(values)}")
    if np.isinf([*values.values()]).any():
        raise ValueError("values: one is infinite")
    ax = axes_or_new(ax, figsize, (4.8, max(2.2, 0.36 * len(values) + 0.9)))
    places, handles = np.arange(len(values))[::-1], []
    for y, (name, value) in zip(places, values.items(), strict=True):
        color = SERIES[2 if name == reference else 0]["color"]
        ax.barh(y, value, 0.7, color=color)
        low, high = (intervals or {}).get(name, (np.nan, np.nan))
        if np.isfinite([value, low, high]).all():
            ends = [[max(value - low, 0)], [max(high - value, 0)]]
            ax.errorbar([value], [y], xerr=ends, fmt="none", ecolor=INK, elinewidth=0.9)
            handles = handles or [interval_handle(interval_label)]
    if reference is not None:
        look: dict[str, Any] = {"color": GREY, "linewidth": 0.9, "linestyle": (0, (2, 2))}
        ax.axvline(values[reference], **look)
        handles.append(Line2D([], [], label=reference, **look))
    ax.set_yticks(places, list(values), parse_math=False)
    rows = legend_above(ax, handles=handles, edge=True) if handles else 0
    return finish(ax, xlabel=xlabel, ylabel="", title=title, grid="x", legend_rows=rows, edge=True)


@sized
def plot_local_against_global(
    local: Mapping[str, float],
    coverage: Mapping[str, float],
    *,
    xlabel: str = "Local fidelity (precision)",
    ylabel: str = "Global fidelity (coverage)",
    ax: Axes | None = None,
    figsize: Figsize | None = None,
    fontsize: float | int | None = None,
    title: str | None = None,
) -> Axes:
    """A point per population: local against global fidelity.

    Figure 4. The paper's pattern of collapse is the lower right corner: every persona is
    plausible, but most real users have none near them.

    **Arguments:**

    - `local`, `coverage`: by population, both in [0, 1].
    - `xlabel`, `ylabel`: labels of the two.
    - `ax`: where to draw; a new figure if None, of `figsize`, its width and height in inches (a
      height of `None` fits what is drawn). `fontsize`: of texts, in points. `title`: none if None.

    **Returns:** the Axes. **Raises:** `ValueError` if nothing is given or populations differ.
    """
    if not local or set(local) != set(coverage):
        raise ValueError(
            f"coverage: populations {list(coverage)} are not those of local, {list(local)}"
        )
    ax = axes_or_new(ax, figsize, (5.4, 3.8))
    for i, name in enumerate(local):
        style = SERIES[i % len(SERIES)]
        # Beyond six, markers repeat hollow.
        face = style["color"] if i < len(SERIES) else "none"
        ax.plot(
            [local[name]], [coverage[name]], linestyle="none", marker=style["marker"],
            markersize=7, color=style["color"], markerfacecolor=face, label=name,
        )  # fmt: skip
    ax.set_xlim(-0.04, 1.04)
    ax.set_ylim(-0.04, 1.04)
    rows = legend_above(ax, edge=True)
    return finish(
        ax, xlabel=xlabel, ylabel=ylabel, title=title, grid="both", legend_rows=rows, edge=True
    )


@sized
def plot_projection(
    populations: Mapping[str, ArrayLike],
    *,
    method: str = "pca",
    key: PRNGKey | None = None,
    ax: Axes | None = None,
    figsize: Figsize | None = None,
    fontsize: float | int | None = None,
    title: str | None = None,
) -> Axes:
    """Populations projected to two dimensions (Figure 5).

    **Arguments:**

    - `populations`: by name, (n, d) embeddings; the first are real users. At most 3000 of each
      are drawn.
    - `method`: `"pca"` takes the principal axes of the first population and shows their shares of
      its variance; `"umap"` takes all populations together and needs umap-learn. Distances between
      clusters of UMAP mean little.
    - `key`: for the choice of the points drawn, and for UMAP; `jax.random.key(0)` if None.
    - `ax`: where to draw; a new figure if None, of `figsize`, its width and height in inches (a
      height of `None` fits what is drawn). `fontsize`: of texts, in points. `title`: none if None.

    **Returns:** the Axes. **Raises:** `ValueError` for no or more than six populations, unequal
    widths, NaN, or another method; `ImportError` for `"umap"` without umap-learn.
    """
    if not 1 <= len(populations) <= len(SERIES):
        raise ValueError(f"populations: expected 1 to {len(SERIES)}, got {len(populations)}")
    if method not in _PROJECTIONS:
        raise ValueError(f"method must be one of {_PROJECTIONS}, got {method!r}")
    rng = host_generator(jax.random.key(0) if key is None else key)
    points = {name: _points(name, values) for name, values in populations.items()}
    if len({z.shape[1] for z in points.values()}) > 1:
        raise ValueError(f"populations differ in width: {[z.shape for z in points.values()]}")
    drawn = {
        name: z if len(z) <= _MOST else z[rng.choice(len(z), _MOST, replace=False)]
        for name, z in points.items()
    }
    if method == "pca":
        flat, labels = _principal(next(iter(points.values())), drawn)
    else:
        flat, labels = _umap(drawn, int(rng.integers(2**31)))
    ax = axes_or_new(ax, figsize)
    for (name, z), style in zip(flat.items(), SERIES, strict=False):
        look = {"color": style["color"], "marker": style["marker"]}
        ax.plot(
            z[:, 0], z[:, 1], linestyle="none", markersize=3, alpha=0.5, markeredgewidth=0,
            label=name, **look,
        )  # fmt: skip
    rows = legend_above(ax, markerscale=2)
    xlabel, ylabel = labels
    return finish(ax, xlabel=xlabel, ylabel=ylabel, title=title, grid="", legend_rows=rows)


def has_umap() -> bool:
    """Whether umap-learn is installed."""
    return importlib.util.find_spec("umap") is not None


@sized
def plot_histograms(
    values: Mapping[str, ArrayLike],
    *,
    xlabel: str = "Distance to the seed",
    ylabel: str = "Personas",
    bins: int = 30,
    ax: Axes | None = None,
    figsize: Figsize | None = None,
    fontsize: float | int | None = None,
    title: str | None = None,
) -> Axes:
    """Histograms of one quantity in several groups, each as shares of its group, on shared bins.

    For distances to a persona's own seed and to another's seed (Figure 6), and for lengths of
    embeddings, of which the paper's Figure 7 shows the mean.

    **Arguments:**

    - `values`: by group, vectors; NaN is left out.
    - `xlabel`: label of the values; `ylabel`: what is counted.
    - `bins`: number of bins.
    - `ax`: where to draw; a new figure if None, of `figsize`, its width and height in inches (a
      height of `None` fits what is drawn). `fontsize`: of texts, in points. `title`: none if None.

    **Returns:** the Axes. **Raises:** `ValueError` for no or more than six groups, or one without a
    number.
    """
    if not 1 <= len(values) <= len(SERIES):
        raise ValueError(f"values: expected 1 to {len(SERIES)} groups, got {len(values)}")
    groups = {}
    for name, group in values.items():
        array = np.asarray(group, float)
        if array.ndim != 1 or not np.isfinite(array).any():
            raise ValueError(f"values: {name!r} has no number, or is not a vector: {array.shape}")
        groups[name] = array[np.isfinite(array)]
    ax = axes_or_new(ax, figsize)
    edges = np.histogram_bin_edges(np.concatenate(list(groups.values())), bins)
    for (name, group), style in zip(groups.items(), SERIES, strict=False):
        ax.hist(
            group, edges.tolist(), weights=np.full(len(group), 1 / len(group)), histtype="step",
            linewidth=1.6, color=style["color"], linestyle=style["linestyle"],
            label=f"{name} (median {np.median(group):.2f})",
        )  # fmt: skip
    rows, ylabel = legend_above(ax), f"Share of {ylabel.lower()}"
    return finish(ax, xlabel=xlabel, ylabel=ylabel, title=title, legend_rows=rows)


def _points(name: str, values: ArrayLike) -> Float[np.ndarray, "n d"]:
    points = np.asarray(values, float)
    if points.ndim != 2 or not points.size or not np.isfinite(points).all():
        raise ValueError(f"populations: {name!r} must be finite embeddings, got {points.shape}")
    return points


def _principal(first: Float[np.ndarray, "n d"], drawn: Mapping[str, np.ndarray]):
    centre = first.mean(axis=0)
    _, spread, axes = np.linalg.svd(first - centre, full_matrices=False)
    variance = np.zeros(2)
    variance[: min(2, len(spread))] = spread[:2] ** 2
    share = variance / max(float(np.sum(spread**2)), np.finfo(float).tiny)
    axes = np.pad(axes[:2], ((0, max(0, 2 - len(axes))), (0, 0)))
    labels = [f"Principal axis {i + 1} ({share[i]:.0%})" for i in range(2)]
    return {name: (z - centre) @ axes.T for name, z in drawn.items()}, labels


def _umap(drawn: Mapping[str, np.ndarray], seed: int):
    try:
        umap = importlib.import_module("umap")
    except ImportError as error:
        raise ImportError(
            "UMAP projections need umap-learn, which is not installed: pip install umap-learn"
        ) from error
    points = np.concatenate(list(drawn.values()))
    neighbours = max(2, min(15, len(points) - 1))  # 15 is the library's own choice
    together = umap.UMAP(neighbours, random_state=seed, n_jobs=1).fit_transform(points)
    ends = np.cumsum([len(z) for z in drawn.values()])[:-1]
    return dict(zip(drawn, np.split(together, ends), strict=True)), ["UMAP 1", "UMAP 2"]
