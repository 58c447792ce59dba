"""Plain text of what a survey tool keeps as HTML with piped fields."""

import re
from collections.abc import Mapping
from html.parser import HTMLParser

_BREAKS = frozenset(
    ("br", "p", "div", "li", "ul", "ol", "tr", "table", "h1", "h2", "h3", "h4", "h5", "h6", "hr",
     "blockquote", "section")
)  # fmt: skip
_UNSEEN = frozenset(("script", "style", "head", "title", "noscript"))
_PIPED = re.compile(r"\$\{([a-z]+)://([^}]*)\}")
_LOOP_FIELD = re.compile(r"Field/(.+)")
_QUESTION = re.compile(r"QID\d+")


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN:
            self.unseen += 1
        elif tag == "img":
            told = " ".join((dict(attrs).get("alt") or "").split())
            self.parts.append(f" [image: {told}] " if told else " [image] ")
        elif tag in _BREAKS:
            self.parts.append("\n")
        elif tag == "td":
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self.unseen = max(0, self.unseen - 1)
        elif tag in _BREAKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self.unseen:
            self.parts.append(data)


def plain(markup: object, *, lines: bool = False) -> str:
    """HTML as text: tags removed, entities resolved, images as "[image]", one line by default.

    `lines`: keep line breaks, without empty lines.
    """
    if not isinstance(markup, str):
        return "" if markup is None else str(markup)
    if "<" in markup or "&" in markup:
        parser = _Text()
        parser.feed(markup)
        parser.close()
        markup = "".join(parser.parts)
    markup = markup.encode("utf-8", "ignore").decode()  # half a character: JSON can hold it
    rows = [" ".join(row.split()) for row in markup.splitlines()]
    return ("\n" if lines else " ").join(row for row in rows if row)


def filled(text: str, fields: Mapping[str, str], tags: Mapping[str, str]) -> str:
    """A text with the fields of its loop put in, and what differs by person as "[...]".

    **Arguments:** `fields`: of the loop, by name; `tags`: the names of questions by identifier.
    """

    def put(match: re.Match[str]) -> str:
        kind, what = match.groups()
        loop = _LOOP_FIELD.fullmatch(what) if kind == "lm" else None
        if loop:
            return fields.get(loop[1], f"[Field-{loop[1]}]")
        if kind == "q" and (question := _QUESTION.search(what)):
            return f"[{tags.get(question[0], question[0])}]"
        if kind == "e":
            return f"[{what.removeprefix('Field/')}]"
        return f"[{what.split('?')[0].split('/')[-1] or kind}]"

    return _PIPED.sub(put, text)


def is_piped(text: str) -> bool:
    """Whether a text has fields that differ by person."""
    return _PIPED.search(text) is not None


def comparable(text: str) -> str:
    """A label for comparison: regardless of markup, spaces and case."""
    return plain(text).casefold()
