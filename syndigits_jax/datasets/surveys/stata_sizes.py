"""Stata files: how much they would hold in memory, found before it is taken.

ReadStat takes memory for the number of people that the header states, and copies a long text
(strL) for each person who refers to it. The format is Stata's own: `help dta`.
"""

import re
import struct
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from ...tables.compressed import ExpansionError, refuse_expanded

_OLD = range(103, 116)  # releases whose header has fixed places
_NEW = re.compile(
    rb"<stata_dta><header><release>(\d{3})</release><byteorder>([LM])SF</byteorder>"
    rb"<K>(.{2}|.{4})</K><N>(.{4}|.{8})</N><label>",
    re.DOTALL,
)
_LONG, _WIDEST = 32768, 2045  # types: a reference to a long text; the widest other text
_WIDTHS = {_LONG: 8, 65526: 8, 65527: 4, 65528: 4, 65529: 2, 65530: 1}
_VARIABLE = {117: 4, 119: 3, 121: 3}  # bytes of a reference that are its variable; else 2
_BATCH = 1 << 22  # bytes of answers that are looked through at a time


def refuse_expanding_stata(path: Path) -> None:
    """**Raises:** `ExpansionError` for a Stata file that has fewer bytes than its people's answers
    take, or whose long texts take too much memory. What is no such file is left to its reader."""
    with path.open("rb") as file:
        start = file.read(200)
        if len(start) > 10 and start[0] in _OLD:
            variables, people = struct.unpack_from("<HI" if start[1] == 2 else ">HI", start, 4)
            _refuse_people(path, people, variables)
        elif found := _NEW.match(start):
            order = "little" if found[2] == b"L" else "big"
            variables, people = (int.from_bytes(found[i], order) for i in (3, 4))
            _refuse_people(path, people, variables)
            file.seek(found.end())
            refuse_expanded(path, _Long(file, int(found[1]), order).size(path, people, variables))


def _refuse_people(path: Path, people: int, row: int) -> None:
    """`row`: bytes of a person's answers, or the fewest that these can have."""
    size = path.stat().st_size
    if people * max(1, row) > size:
        raise ExpansionError(
            f"its header says that it has {people:,} people, whose answers take at least {row:,} "
            f"bytes each, but the file has {size:,}: damaged, or cut off?"
        )


class _Long:
    """The long texts of a file that is open after `<label>`."""

    def __init__(self, file: BinaryIO, release: int, order: Literal["little", "big"]) -> None:
        self.file, self.release = file, release
        self.order: Literal["little", "big"] = order
        self.one: Literal["<", ">"] = "<" if order == "little" else ">"

    def size(self, path: Path, people: int, variables: int) -> int:
        """The bytes of all answers that are long texts; 0 where the file is not as it should be,
        which its reader will say. **Raises:** as [`refuse_expanding_stata`][]."""
        wide = 1 if self.release == 117 else 2
        if not (self._skip(wide, b"</label><timestamp>") and self._skip(1, b"</timestamp>")):
            return 0
        head, types = b"</header><map>", b"</map><variable_types>"
        start = self.file.read(len(head) + 14 * 8 + len(types))
        if not (start.startswith(head) and start.endswith(types)):
            return 0
        places = struct.unpack_from(self.one + "14Q", start, len(head))
        kinds = np.frombuffer(self.file.read(2 * variables)[: 2 * variables], self.one + "u2")
        if len(kinds) < variables or not variables:
            return 0
        widths = [_WIDTHS.get(kind, kind if kind <= _WIDEST else 0) for kind in kinds.tolist()]
        ends = np.cumsum(widths)
        _refuse_people(path, people, int(ends[-1]))
        if not np.any(kinds == _LONG):
            return 0
        return self._sum(places[9], self._lengths(places[10]), people, ends, kinds == _LONG)

    def _skip(self, wide: int, tags: bytes) -> bool:
        """Past a text after its length; whether `tags` follow."""
        self.file.seek(int.from_bytes(self.file.read(wide), self.order), 1)
        return self.file.read(len(tags)) == tags

    def _lengths(self, at: int) -> dict[int, int]:
        """The lengths of the long texts, by the references to them as whole numbers."""
        file, head = self.file, struct.Struct(self.one + f"3sI{'IQ'[self.release != 117]}BI")
        bits = 8 * _VARIABLE.get(self.release, 2)
        found: dict[int, int] = {}
        file.seek(min(at, 1 << 62))
        if file.read(7) != b"<strls>":
            return found
        while len(start := file.read(head.size)) == head.size and start.startswith(b"GSO"):
            _, variable, person, _, length = head.unpack(start)
            key = variable | person << bits if self.one == "<" else variable << 64 - bits | person
            found[key % 2**64] = max(length, found.get(key % 2**64, 0))
            file.seek(length, 1)
        return found

    def _sum(
        self, at: int, lengths: dict[int, int], people: int, ends: np.ndarray, long: np.ndarray
    ) -> int:
        keys = np.array(sorted(lengths), np.uint64)
        sizes = np.array([lengths[int(key)] for key in keys], np.int64)
        self.file.seek(min(at, 1 << 62))
        if not len(keys) or self.file.read(6) != b"<data>":
            return 0
        row, total, step = int(ends[-1]), 0, max(1, _BATCH // int(ends[-1]))
        for done in range(0, people, step):
            rows = self.file.read(row * min(step, people - done))
            cells = np.frombuffer(rows[: len(rows) // row * row], np.uint8).reshape(-1, row)
            for end in ends[long]:
                held = np.ascontiguousarray(cells[:, end - 8 : end]).view(self.one + "u8")[:, 0]
                held = held.astype(np.uint64)
                place = np.minimum(np.searchsorted(keys, held), len(keys) - 1)
                total += int(sizes[place][keys[place] == held].sum())
        return total
