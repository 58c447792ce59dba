"""Figures drawn the same way on every computer: as files, and as SVG inside a page."""

import contextlib
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree import ElementTree

from .cells import legible
from .contents import Figure

FIGURE_FORMATS = ("png", "svg", "pdf")
_DPI = 150
_SETTINGS: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "text.parse_math": False,  # a question may contain dollars
}
# Colours that follow the page's theme, by the variables of page.css.
_THEME = {
    "#222222": "ink", "#000000": "ink", "#ffffff": "paper", "#8a8a8a": "grey", "#dddddd": "pale",
    "#0072b2": "blue", "#d55e00": "orange", "#009e73": "green", "#56b4e9": "sky",
    "#e69f00": "yellow", "#cc79a7": "purple",
}  # fmt: skip
_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"


def figure_files(
    figure: Figure,
    formats: Sequence[str],
    width: float | int | None = None,
    fontsize: float | int | None = None,
) -> dict[str, bytes]:
    """The bytes of a figure's files by format: equal numbers give equal bytes.

    **Arguments:** `figure`; `formats`: those wanted; `width`: in inches, such as that of a column
    of a paper; by default the figure's own. `fontsize`: of texts, in points.
    """
    title, alt = legible(figure.title), legible(figure.alt)
    about: dict[str, dict[str, Any]] = {
        "png": {"Software": None, "Title": title, "Description": alt},
        "svg": {"Date": None, "Title": title, "Description": alt},
        "pdf": {"CreationDate": None, "Title": title, "Subject": alt},
    }
    found = {}
    wide, high = figure.size
    with _drawn(
        figure, wide if width is None else width, high, wide if width else 0.0, fontsize=fontsize
    ) as canvas:
        for name in formats:
            stream = io.BytesIO()
            canvas.savefig(stream, format=name, dpi=_DPI, metadata=about[name])
            found[name] = stream.getvalue()
    return found


def inline_svg(figure: Figure, prefix: str, width: float | None = None) -> str:
    """The figure as an `<svg>` element for a page, `width` inches wide.

    Its background is the page's, its colours are variables of the page's style, the identifiers
    in it begin with `prefix`, and it refers to nothing outside itself.
    """
    wide, high = figure.size
    stream = io.BytesIO()
    with _drawn(figure, wide if width is None else width, high, wide, "path") as canvas:
        canvas.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(stream.getvalue())
    _strip(root)
    _rename(root, prefix)
    root.attrib.pop("version", None)
    root.set("aria-hidden", "true")  # its frame has the text alternative
    root.set("focusable", "false")
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


@contextlib.contextmanager
def _drawn(
    figure: Figure,
    width: float | int,
    height: float,
    full: float = 0.0,
    text: str = "none",
    fontsize: float | int | None = None,
) -> Iterator[Any]:
    """A Matplotlib figure, in the settings that it is to be saved in.

    **Arguments:** `full`: the width for which the height is; `text`: how SVG has it: `"none"` as
    text, `"path"` as outlines, which look alike wherever a page is read; `fontsize`: of texts, in
    points.
    """
    import matplotlib

    from ..plots.save import VECTORS
    from ..plots.style import new_figure
    from .glyphs import escape_unknown, needed_fonts

    def draw() -> Any:
        # Of its own height, or in another width or size of text of the height that it needs.
        own = not full and fontsize is None
        canvas = new_figure((width, height if own else None), (width, height), rows=True)
        axes = canvas.subplots()
        figure.draw(axes)
        if full and axes.get_aspect() != "auto":  # a square stays one when it is narrow
            canvas.set_size_inches(width, height * width / full)
        return canvas

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**_SETTINGS, **VECTORS, "svg.fonttype": text})
        if fontsize is not None:
            matplotlib.rcParams["font.size"] = float(fontsize)
        canvas = draw()
        fonts = needed_fonts(canvas)
        if fonts:
            matplotlib.rcParams["font.family"] = [*_SETTINGS["font.family"], *fonts]
            canvas = draw()
        escape_unknown(canvas, fonts)
        canvas.draw_without_rendering()
        canvas.set_layout_engine("none")  # laid out once, for all formats
        yield canvas


def _strip(root: ElementTree.Element) -> None:
    """Drop namespaces, descriptions and style: the page has them, or needs none."""
    for parent in root.iter():
        for child in list(parent):
            if child.tag in (f"{_SVG}metadata", f"{_SVG}style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        if _LINK in element.attrib:
            element.set("href", element.attrib.pop(_LINK))
        element.text = element.text if element.text and element.text.strip() else None
        element.tail = None


def _rename(root: ElementTree.Element, prefix: str) -> None:
    """Identifiers of this figure alone, kept where something refers to them; theme colours."""
    used: set[str] = set()
    for element in root.iter():
        for value in element.attrib.values():
            used.update(re.findall(r"url\(#([^)]+)\)", value))
        if element.attrib.get("href", "").startswith("#"):
            used.add(element.attrib["href"][1:])
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            if key == "id":
                if value in used:
                    element.set(key, prefix + value)
                else:
                    del element.attrib[key]
            elif key == "href" and value.startswith("#"):
                element.set(key, f"#{prefix}{value[1:]}")
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{prefix}"))
            if key == "style":
                element.set(key, _themed(element.attrib[key]))


def _themed(style: str) -> str:
    return re.sub(
        r"#[0-9a-f]{6}",
        lambda m: f"var(--{_THEME[m[0]]},{m[0]})" if m[0] in _THEME else m[0],
        style,
    )
