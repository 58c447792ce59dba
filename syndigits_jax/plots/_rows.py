"""Plots with a row per name: labels that fit, dots with intervals, legends on top."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.transforms import blended_transform_factory
from numpy.typing import ArrayLike

from syndigits_jax.plots.style import GREY, INK, SERIES, finish

Values = ArrayLike | Sequence[Any]
"""Numbers: an array, or a sequence of any kind."""

ROW = 0.27
"""Height of a row, in inches."""
_CHARACTER = 0.07  # mean width of a character of a tick label, in inches


def shortened(text: str, length: int) -> str:
    """`text` on one line, of at most `length` characters: what is cut out is in its middle."""
    text = " ".join(text.split())
    if len(text) <= length:
        return text
    tail = (length - 1) // 3
    return f"{text[: length - 1 - tail].rstrip()}…{text[-tail:].lstrip() if tail else ''}"


def characters(ax: Axes, share: float) -> int:
    """How many characters fit into a share of the figure's width."""
    return max(int(share * _width(ax) / _CHARACTER), 8)


def name_rows(ax: Axes, names: Sequence[str], notes: Sequence[str] | None = None) -> None:
    """Label the rows 0, 1, ... from top to bottom; `notes` follow the names and are never cut."""
    notes = [""] * len(names) if notes is None else [f"  {note}" for note in notes]
    room = characters(ax, 0.42)
    lines = 2 if (_height(ax) - 1.0) / len(names) > 0.25 else 1
    fitted = [_folded(name, room, lines, note) for name, note in zip(names, notes)]
    ax.set_yticks(np.arange(len(names)), fitted, parse_math=False)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)


def _folded(name: str, room: int, lines: int, note: str) -> str:
    """A name on one line if it fits, else on `lines` lines, the note behind its last."""
    name = " ".join(name.split())
    if lines == 1 or len(name) + len(note) <= room:
        return shortened(name, room - len(note)) + note
    folded = textwrap.wrap(shortened(name, lines * (room - 4) - len(note)), room)
    if len(folded[-1]) + len(note) > room:
        folded.append("")
    return "\n".join([*folded[:-1], (folded[-1] + note).strip()])


def interval(
    name: str,
    values: Sequence[Values | None],
    count: int,
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """(n,) estimates, lower and upper ends; NaN where an end is not given.

    **Raises:** `ValueError` naming `name` for other lengths or ends on the wrong side.
    """
    found = []
    for one in values:
        one = np.full(count, np.nan) if one is None else np.asarray(one, dtype=float)
        if one.shape != (count,):
            raise ValueError(f"{name}: expected {count} values, got shape {one.shape}")
        found.append(one)
    estimate, lower, upper = found
    if (lower > upper).any():
        raise ValueError(f"{name}: a lower end is above its upper end")
    return estimate, lower, upper


def dots(
    ax: Axes,
    estimate: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    at: np.ndarray,
    **look: Any,
) -> None:
    """Horizontal intervals at heights `at`, with a dot at each estimate."""
    color, marker = look["color"], look.get("marker", "o")
    ax.hlines(at, lower, upper, color=color, linewidth=1.8)
    ax.plot(
        estimate, at, linestyle="none", marker=marker, color=color, markersize=look.get("size", 6),
        markerfacecolor=look.get("face", color), markeredgewidth=1.3,
    )  # fmt: skip


def legend_on_top(ax: Axes, handles: Sequence[Any]) -> None:
    """A legend above the plot from the left edge of the figure, in as many columns as fit."""
    if not handles:
        return
    room = _width(ax)
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = int(room / (longest * _CHARACTER + 0.7))
    legend = ax.legend(
        handles=list(handles),
        frameon=False,
        fontsize="small",
        loc="lower left",
        bbox_to_anchor=(0.005, 1.0),
        bbox_transform=blended_transform_factory(ax.figure.transFigure, ax.transAxes),
        borderaxespad=0.4,
        columnspacing=1.4,
        labelcolor=INK,
        ncols=min(max(columns, 1), len(handles)),
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def raw_first(count: int) -> list[dict[str, Any]]:
    """Looks of `count` series: the first of several is grey, the one after it blue."""
    grey, others = SERIES[2], [look for look in SERIES if look["color"] != GREY]
    return [grey, *others][:count] if count > 1 else [others[0]]


def label_axes(ax: Axes, xlabel: str, ylabel: str, grid: str) -> None:
    """Labels on as many lines as they need, a light grid and plain spines."""
    across = max(int(0.65 * _width(ax) / 0.083), 12)
    along = max(int((_height(ax) - 1.7) / 0.085), 12)
    lines = [_balanced(text, room) for text, room in ((xlabel, across), (ylabel, along))]
    finish(ax, xlabel=lines[0], ylabel=lines[1], title=None, grid=grid)
    ax.xaxis.label.set_parse_math(False)
    ax.yaxis.label.set_parse_math(False)


def _balanced(text: str, room: int) -> str:
    """`text` on as few lines as it needs, of about equal length."""
    lines = len(textwrap.wrap(text, room))
    for narrower in range(len(text) // max(lines, 1), room):
        if narrower and len(found := textwrap.wrap(text, narrower)) <= lines:
            return "\n".join(found)
    return "\n".join(textwrap.wrap(text, room))


def title_on_top(ax: Axes, title: str | None, legend: bool) -> None:
    """The title of a plot, over its legend if it has one."""
    if title:
        pad = 24 if legend else 6
        ax.set_title(title, loc="left", fontsize="medium", fontweight="bold", color=INK, pad=pad)


def _height(ax: Axes) -> float:
    return float(_figure(ax).get_figheight())


def _width(ax: Axes) -> float:
    return float(_figure(ax).get_figwidth())


def _figure(ax: Axes) -> Any:
    """The whole figure, also if `ax` is in a subfigure."""
    return ax.figure.figure
