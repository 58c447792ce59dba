"""Texts of figures in fonts that have their characters; what no font has is escaped."""

import functools
import unicodedata
from collections.abc import Iterator
from typing import Any

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import Formatter

from .cells import legible

BASE = "DejaVu Sans"
"""Matplotlib's own font, which is everywhere."""

_LIKELY = (  # looked into first, as a computer may have a thousand fonts
    "Noto Sans CJK", "Noto Sans", "PingFang", "Hiragino", "Microsoft YaHei", "Yu Gothic", "Malgun",
    "WenQuanYi", "Source Han", "Arial Unicode", "Segoe UI", "Nirmala", "FreeSans", "Symbola",
)  # fmt: skip
_NEVER = ("Color", "LastResort", "Last Resort", "Apple Color Emoji")  # bitmaps, or boxes on purpose


def needed_fonts(figure: Figure) -> list[str]:
    """Fonts that have the characters which the base font lacks, those that are found."""
    lacking = frozenset(c for text in _texts(figure) for c in text) - _charmap(_base())
    return list(_found(frozenset(c for c in lacking if _visible(c))))


def escape_unknown(figure: Figure, fonts: list[str]) -> None:
    """Write characters that neither the base font nor `fonts` have as `\\u4e2d`.

    Controls and marks without a shape are removed.
    """
    fonts_have = _charmap(_base()).union(*(_charmap(_path(name)) for name in fonts))
    have = frozenset(c for c in fonts_have if unicodedata.category(c) not in ("Cc", "Cf")) | {"\n"}

    def readable(text: str) -> str:
        if have.issuperset(text):
            return text
        lines = map(legible, text.split("\n"))
        cleaned = "\n".join(
            "".join(c if c in have else _escaped(c) for c in line) for line in lines
        )
        most = max(len(text), 30)
        return cleaned if len(cleaned) <= most else cleaned[: most - 1] + "…"

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if not have.issuperset("".join(t.get_text() for t in axis.get_ticklabels())):
                axis.set_major_formatter(_Readable(axis.get_major_formatter(), readable))
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_text(readable(text.get_text()))


class _Readable(Formatter):
    """Tick labels of another formatter, changed."""

    def __init__(self, inner: Formatter, change: Any) -> None:
        self.inner, self.change = inner, change

    def set_locs(self, locs: Any) -> None:
        self.inner.set_locs(locs)

    def __call__(self, x: Any, pos: Any = None) -> str:
        return self.change(self.inner(x, pos))


def _texts(figure: Figure) -> Iterator[str]:
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            yield from (label.get_text() for label in axis.get_ticklabels())
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        yield text.get_text()


def _visible(character: str) -> bool:
    return unicodedata.category(character)[0] not in "CMZ"


def _escaped(character: str) -> str:
    if not _visible(character):
        return " " if unicodedata.category(character)[0] == "Z" else ""
    return character.encode("ascii", "backslashreplace").decode()


@functools.cache
def _base() -> str:
    return font_manager.findfont(BASE)


def _path(name: str) -> str:
    return font_manager.findfont(name, fallback_to_default=False)


@functools.cache
def _charmap(path: str) -> frozenset[str]:
    return frozenset(map(chr, font_manager.get_font(path).get_charmap()))


@functools.lru_cache(maxsize=64)
def _found(lacking: frozenset[str]) -> tuple[str, ...]:
    """Fonts which together have as many of the characters as any of this computer do."""
    if not lacking:
        return ()
    entries = {one.name: one.fname for one in font_manager.fontManager.ttflist if one.weight == 400}
    names = [name for name in sorted(entries) if not any(word in name for word in _NEVER)]
    names.sort(key=lambda name: next((i for i, w in enumerate(_LIKELY) if w in name), len(_LIKELY)))
    fonts = []
    for name in names:
        try:
            had = lacking & _charmap(entries[name])
            resolved = had and _path(name)
        except (OSError, RuntimeError, ValueError):  # a font that cannot be read
            continue
        if resolved and lacking & _charmap(resolved):
            fonts.append(name)
            lacking -= _charmap(resolved)
        if not lacking:
            break
    return tuple(fonts)
