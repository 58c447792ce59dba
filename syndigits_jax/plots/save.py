"""Figures as files: pictures, and vectors whose text is text."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes

from syndigits_jax.results.files import replacing

FORMATS = (".png", ".svg", ".pdf")
VECTORS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text, which journals and readers want
    "pdf.fonttype": 42,  # embedded as TrueType
    "svg.hashsalt": "syndigits",
}
"""Settings of Matplotlib under which vectors are written."""
_ABOUT: dict[str, dict[str, Any]] = {  # a fixed record of creation: equal numbers, equal files
    ".png": {"Software": None},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}


def save_figure(
    ax: Axes | Sequence[Axes], path: str | PathLike[str], *, dpi: float | int = 150
) -> Path:
    """Write the whole figure of an `Axes` to a file, which is replaced as a whole.

    **Arguments:** `ax`: what a plotting function returns; `path`: `.pdf` or `.svg`, whose texts can
    be searched and edited, or `.png`; `dpi`: dots per inch of a `.png`.

    **Returns:** the path. **Raises:** `ValueError` for another suffix.

    **Example:**

        >>> import tempfile
        >>> from pathlib import Path
        >>> from syndigits_jax.plots import plot_methods, save_figure
        >>> ax = plot_methods({"Ridge": 0.5, "Baseline": 0.3}, figsize=(3.3, None), fontsize=8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = save_figure(ax, Path(folder) / "methods.svg")
        ...     print("Ridge</text>" in path.read_text())
        True
    """
    path, one = Path(path), ax if isinstance(ax, Axes) else ax[0]
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path}: figures are written as {', '.join(FORMATS)}")
    figure: Any = one.figure.figure  # the whole figure, also if the Axes are in a subfigure
    with matplotlib.rc_context(VECTORS), replacing(path) as temporary:
        figure.savefig(temporary, dpi=dpi, metadata=_ABOUT[path.suffix.lower()])
    return path
