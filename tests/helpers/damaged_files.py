"""Files that went wrong on their way, and what a reader may do with them: read, or refuse by name.

Bytes are cut off, flipped, put in and left out; text is encoded otherwise; and any value in a JSON
document may be replaced by any other.
"""

import copy
import warnings

from hypothesis import strategies as st

OURS = ("builtins", "syndigits_jax")
ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp1252", "utf-7")
DEEP = "[" * 100_000


def read_or_refuse(reader, path, also=()):
    """What the reader returns, or `None` where it refuses the file: with an error of its own kind,
    which names the file and takes one line. Warnings are no matter here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            return reader(path)
        except (ValueError, *also) as error:
            said = f"{type(error).__module__}.{type(error).__qualname__}: {error}"
            assert type(error).__module__.split(".")[0] in OURS, said
            assert path.name in str(error), said
            assert "Traceback" not in said and "object at 0x" not in said, said
            return None


@st.composite
def damage(draw, text=False):
    """A function that damages bytes; with `text` also by another encoding, or an odd character."""
    kinds = ["cut", "flipped", "put in", "left out", "repeated"]
    kind = draw(st.sampled_from([*kinds, "encoded", "odd"] if text else kinds))
    share = draw(st.floats(0, 1))
    some = draw(st.binary(min_size=1, max_size=6))
    encoding = draw(st.sampled_from(ENCODINGS))
    odd = draw(st.sampled_from(["\0", "\ufeff", "é", '"', "\r", "\u2028", "\U0001f600", "9" * 400,
                                "1e999", "nan", "=1+1", ",", ";", "\n\n", "{", "[[["]))  # fmt: skip

    def damaged(content: bytes) -> bytes:
        at = int(share * len(content))
        if kind == "cut":
            return content[:at]
        if kind == "flipped":
            flipped = bytes(a ^ (b or 1) for a, b in zip(content[at:], some, strict=False))
            return content[:at] + flipped + content[at + len(flipped) :]
        if kind == "put in":
            return content[:at] + some + content[at:]
        if kind == "left out":
            return content[:at] + content[at + 1 + len(some) :]
        if kind == "repeated":
            return content[:at] + content[at // 2 : at] + content[at:]
        words = content.decode()
        if kind == "encoded":
            return (words + "é").encode(encoding, "replace")
        at = int(share * len(words))
        return (words[:at] + odd + words[at:]).encode()

    return damaged


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([10**400, -1.5, 1e308, -1e308]),
    st.sampled_from(["", "x", "1", "\0", "é", "../../x", "=1+1", "nan"]),
    st.sampled_from([[], {}, [[]], [None], {"": None}, ["a", "a"], [1, "1"], {"1": {"2": []}}]),
)  # fmt: skip


def places(tree, at=()):
    """The paths of all values in a JSON document."""
    yield at
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from places(value, (*at, key))


@st.composite
def changed(draw, tree):
    """The document with one or two values replaced by others, or left out."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, 2))):
        found = [at for at in places(tree) if at]
        if not found:
            break
        *parents, last = draw(st.sampled_from(found))
        inside = tree
        for key in parents:
            inside = inside[key]
        if draw(st.booleans()) and isinstance(inside, dict):
            del inside[last]
        else:
            inside[last] = copy.deepcopy(draw(VALUES))
    return tree
