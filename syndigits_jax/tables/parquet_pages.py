"""What the pages of a Parquet file hold, by their own headers.

The file's description is a promise: Arrow expands each page to the size that the page states, and
reads as many values as the page has, whatever the description says of the column. So a column is
judged by its pages. The formats are those of the Parquet specification: Thrift's compact protocol,
and the binary packing of differences.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .compressed import ExpansionError

_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3  # kinds of pages
_INDICES = (2, 8)  # encodings: places in a dictionary
_LENGTHS, _PREFIXES = 6, 7  # encodings: texts after their lengths, and after shared beginnings
_ENTRY = 16  # bytes of a dictionary's entry in memory, beside its text
_DEEPEST = 8  # structures inside one another; a page's header needs three
_NOT_FOLLOWED = "its pages cannot be followed: damaged?"


@dataclass
class Pages:
    """Sums over the pages of a column. `size`: bytes, expanded; `values`: missing ones too;
    `dictionary`: bytes of texts that values may repeat; `prefixes`: whether texts repeat the
    beginnings of others."""

    size: int = 0
    values: int = 0
    dictionary: int = 0
    prefixes: bool = False


def pages_of(content: Any, column: Any, levels: int, most: int) -> Pages:
    """The sums over a column's pages, as far as Arrow reads them.

    **Arguments:** `content`: the file's bytes; `column`: its description of the column; `levels`:
    how many kinds of levels a page has (repetition, definition); `most`: bytes after which it
    is enough.

    **Raises:** [`ExpansionError`][] where pages are damaged, or hold more lengths than values.
    """
    start = column.data_page_offset
    first = column.dictionary_page_offset
    if first is not None and 0 < first < start:
        start = first
    end = start + column.total_compressed_size
    if not 0 <= start <= end <= len(content):
        raise ExpansionError("it describes parts that it does not have: damaged?")
    found = Pages()
    try:
        while start < end and found.values < column.num_values and found.size <= most:
            head, start = _structure(content, start)
            after = start + head[3]
            if after < start or head[2] < 0:
                raise ExpansionError(_NOT_FOLLOWED)
            found.size += head[2]
            if head[1] == _DICTIONARY:
                found.dictionary += head[2]
                found.size += _ENTRY * head[7][1]
            elif head[1] in (_DATA, _DATA_V2):
                told = head[5 if head[1] == _DATA else 8]
                encoding = told[2 if head[1] == _DATA else 4]
                found.values += told[1]
                found.prefixes |= encoding == _PREFIXES
                if encoding in (_LENGTHS, _PREFIXES) and found.size <= most:
                    body = _values(content[start:after], head, column.compression, levels)
                    for count in _counts(body, 1 + (encoding == _PREFIXES), told[1]):
                        if count > told[1]:
                            raise ExpansionError("a page has more lengths than values: damaged?")
            start = after
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, struct.error) as error:
        if isinstance(error, ExpansionError):
            raise
        raise ExpansionError(_NOT_FOLLOWED) from error
    return found


def _values(body: bytes, head: dict[int, Any], codec: str, levels: int) -> bytes:
    """A page's values without the levels before them, expanded."""
    size, before = head[2], 0
    if head[1] == _DATA_V2:
        before = head[8].get(5, 0) + head[8].get(6, 0)
        body, levels = body[before:], 0
    if codec != "UNCOMPRESSED" and head.get(8, {}).get(7, True):
        body = _expanded(body, codec, size - before)
    for _ in range(levels):
        body = body[4 + struct.unpack_from("<I", body)[0] :]
    return body


def _expanded(body: bytes, codec: str, size: int) -> bytes:
    import pyarrow

    name = {"LZ4": "lz4_raw", "LZ4_RAW": "lz4_raw"}.get(codec, codec.lower())
    try:
        return pyarrow.Codec(name).decompress(body, size, asbytes=True)
    except Exception as error:  # Arrow's own classes have nothing else in common
        raise ExpansionError(_NOT_FOLLOWED) from error


def _counts(body: bytes, parts: int, most: int) -> Iterator[int]:
    """How many differences each of the first parts of a page has. The parts after one that has
    more than `most` are not sought."""
    at = 0
    for _ in range(parts):
        block, at = _varint(body, at)
        minis, at = _varint(body, at)
        count, at = _varint(body, at)
        yield count
        _, at = _varint(body, at)
        for done in range(1, count, block):
            _, at = _varint(body, at)
            widths, at = body[at : at + minis], at + minis
            needed = -(-min(block, count - done) // (block // minis))
            at += sum(block // minis * width // 8 for width in widths[:needed])


def _varint(content: Any, at: int) -> tuple[int, int]:
    """(a number, the place after it)."""
    number = shift = 0
    while True:
        byte = content[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7
        if shift > 63:
            raise ValueError("too long a number")


def _structure(content: Any, at: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """(the numbers and structures of a structure by field, the place after it)."""
    if depth > _DEEPEST:
        raise ValueError("too deep a structure")
    found, field = {}, 0
    while content[at]:
        delta, kind = content[at] >> 4, content[at] & 15
        at += 1
        if delta:
            field += delta
        else:
            number, at = _varint(content, at)
            field = (number >> 1) ^ -(number & 1)
        found[field], at = _field(content, at, kind, depth)
    return found, at + 1


def _field(content: Any, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (1, 2):
        return kind == 1, at
    if kind == 3:
        return content[at], at + 1
    if kind in (4, 5, 6):
        number, at = _varint(content, at)
        return (number >> 1) ^ -(number & 1), at
    if kind == 7:
        return None, at + 8
    if kind == 8:
        size, at = _varint(content, at)
        return None, at + size
    if kind in (9, 10):
        count, inner = content[at] >> 4, content[at] & 15
        at += 1
        if count == 15:
            count, at = _varint(content, at)
        for _ in range(count):
            at = at + 1 if inner in (1, 2) else _field(content, at, inner, depth)[1]
        return None, at
    if kind == 12:
        return _structure(content, at, depth + 1)
    raise ValueError(f"an unknown kind of field: {kind}")
