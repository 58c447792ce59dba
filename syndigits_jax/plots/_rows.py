"""Plots with a row per name: labels that fit, dots with intervals."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from syndigits_jax.plots.style import GREY, SERIES, Figsize, room, text_scale

Values = ArrayLike | Sequence[Any]
"""Numbers: an array, or a sequence of any kind."""

_CHARACTER = 0.07  # mean width of a character of a tick label, in inches


def row_height(names: Sequence[str], figsize: Figsize | None, inches: float = 0.27) -> float:
    """The height of a row, in inches, for the size of texts: where names do not fit into a narrow
    figure they are folded."""
    fitting = np.inf if figsize is None else 0.42 * figsize[0] / (_CHARACTER * text_scale())
    folded = max(map(len, names), default=0) > fitting
    return (max(inches, 0.36) if folded else inches) * text_scale()


def shortened(text: str, length: int) -> str:
    """`text` on one line, of at most `length` characters: what is cut out is in its middle."""
    text = " ".join(text.split())
    if len(text) <= length:
        return text
    tail = (length - 1) // 3
    return f"{text[: length - 1 - tail].rstrip()}…{text[-tail:].lstrip() if tail else ''}"


def characters(ax: Axes, share: float) -> int:
    """How many characters fit into a share of the figure's width."""
    return max(int(share * room(ax)[0] / _CHARACTER), 8)


def name_rows(ax: Axes, names: Sequence[str], notes: Sequence[str] | None = None) -> None:
    """Label the rows 0, 1, ... from top to bottom; `notes` follow the names and are never cut."""
    notes = [""] * len(names) if notes is None else [f"  {note}" for note in notes]
    most = characters(ax, 0.42)
    lines = 2 if (room(ax)[1] - 1.0) / len(names) > 0.25 else 1
    fitted = [_folded(name, most, lines, note) for name, note in zip(names, notes)]
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
    if len(values) != 3:
        raise ValueError(f"{name}: expected estimates, lower and upper ends, got {len(values)}")
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


def raw_first(count: int) -> list[dict[str, Any]]:
    """Looks of `count` series: the first of several is grey, the one after it blue."""
    grey, others = SERIES[2], [look for look in SERIES if look["color"] != GREY]
    return [grey, *others][:count] if count > 1 else [others[0]]
