"""Identifiers that nearly match, and their differences."""

import itertools
import re
import unicodedata
from collections.abc import Callable, Sequence

_MOST_HINTS = 3
_DASHES = dict.fromkeys(map(ord, "‐‑‒–—―−"), "-")
_QUOTES = dict.fromkeys(map(ord, "‘’‚‛`´"), "'") | dict.fromkeys(map(ord, "“”„‟"), '"')
_WHOLE = re.compile(r"([+-]?)0*([0-9]+)")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?")


def _visible(text: str) -> str:
    """`text` without zero-width characters, byte-order marks and control characters."""
    return "".join(c for c in text if c.isspace() or unicodedata.category(c) not in ("Cf", "Cc"))


def _one_form(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _compatible(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _plain_spaces(text: str) -> str:
    return "".join(" " if c.isspace() else c for c in text)


def _plain_marks(text: str) -> str:
    return text.translate(_DASHES | _QUOTES)


def _no_leading_zeros(text: str) -> str:
    found = _WHOLE.fullmatch(text)
    return found[1] + found[2] if found else text


def _no_decimals(text: str) -> str:
    return re.sub(r"^([+-]?[0-9]+)\.0*$", r"\1", text)


def _number(text: str) -> str:
    if not _NUMBER.fullmatch(text):
        return text
    value = float(text)
    return str(int(value)) if value.is_integer() and abs(value) < 2**63 else text


# Differences between two identifiers, and functions that remove them; the simplest first.
_DIFFERENCES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("surrounding spaces", str.strip),
    ("the kind of space (such as a non-breaking one)", _plain_spaces),
    ("spaces", _spaced),
    ("case", str.casefold),
    ("leading zeros", _no_leading_zeros),
    ("a decimal point", _no_decimals),
    ("how a number is written", _number),
    ("invisible characters", _visible),
    ("composed against decomposed Unicode", _one_form),
    ("look-alike Unicode characters", _compatible),
    ("kinds of dash or quote", _plain_marks),
)
# Each may expose a difference that another removes.
_CANONICAL = (_visible, _compatible, _plain_marks, _spaced, _number, _no_leading_zeros)


def nearly(ours: Sequence[str], theirs: Sequence[str]) -> str:
    """How identifiers that only one side has nearly match, as text for error messages, or "".

    The number of pairs per kind of difference, with an example each. Identifiers are never matched
    by this.

    **Arguments:** `ours`, `theirs`: identifiers that the other side does not have.

    **Example:**

        >>> from syndigits_jax.tables.near_misses import nearly
        >>> print(nearly(["Q1", "Q2"], ["q1", "q2"]))
        2 differ only in case ('Q1' against 'q1')
    """
    known: dict[str, str] = {}
    for name in theirs:
        known.setdefault(_canonical(name), name)
    pairs: dict[str, list[tuple[str, str]]] = {}
    for name in ours:
        other = known.get(_canonical(name))
        if other is not None and other != name:
            pairs.setdefault(_difference(name, other), []).append((name, other))
    said = []
    for difference, found in sorted(pairs.items(), key=lambda one: -len(one[1]))[:_MOST_HINTS]:
        a, b = (_told_apart(*found[0])[k] for k in (0, 1))
        count = "1 differs" if len(found) == 1 else f"{len(found)} differ"
        said.append(f"{count} only in {difference} ({a} against {b})")
    return "; ".join(said)


def hint(ours: Sequence[str], theirs: Sequence[str]) -> str:
    """[`nearly`][] as the tail of a sentence, or ""."""
    said = nearly(ours, theirs)
    return f"; {said}" if said else ""


def only_in(ours: Sequence[str], theirs: Sequence[str]) -> list[str]:
    """Those of `ours` that are not among `theirs`, in order."""
    known = set(theirs)
    return [name for name in ours if name not in known]


def _canonical(text: str) -> str:
    for step in _CANONICAL:
        text = step(text)
    return _one_form(text.casefold())


def _difference(a: str, b: str) -> str:
    """The smallest set of differences, the simplest first, whose removal makes both equal."""
    for count in range(1, 5):
        for chosen in itertools.combinations(_DIFFERENCES, count):
            if _alike(a, b, [step for _, step in chosen]):
                return " and ".join(name for name, _ in chosen)
    return "spelling"


def _alike(a: str, b: str, steps: Sequence[Callable[[str], str]]) -> bool:
    for _ in range(2):
        for step in steps:
            a, b = step(a), step(b)
    return a == b


def _told_apart(a: str, b: str) -> tuple[str, str]:
    """Both as text that shows their difference."""
    shown = repr(a), repr(b)
    if _compatible(_visible(a)) == _compatible(_visible(b)) or shown[0] == shown[1]:
        shown = ascii(a), ascii(b)
    return shown
