"""Parquet files byte by byte, so that what they say of themselves can differ from what they hold.

A structure of Thrift's compact protocol is a mapping of field numbers to values: `int` (32 bits),
`Long`, `bytes`, `bool`, a list, or another mapping.
"""

import struct

import pyarrow as pa

PLAIN, RLE, DICTIONARY = 0, 3, 8  # encodings
DOUBLE, TEXT, FIXED = 5, 6, 7  # physical types
REQUIRED, OPTIONAL, REPEATED = 0, 1, 2
CODECS = {None: 0, "snappy": 1, "gzip": 2, "zstd": 6}


class Long(int):
    """An integer of 64 bits."""


def varint(number):
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def _kind(value):
    if isinstance(value, bool):
        return 1 if value else 2
    return {int: 5, Long: 6, bytes: 8, list: 9, dict: 12}[type(value)]


def thrift(value):
    if isinstance(value, bool):
        return b""  # its kind says all
    if isinstance(value, int):
        return varint(2 * value if value >= 0 else -2 * value - 1)
    if isinstance(value, bytes):
        return varint(len(value)) + value
    if isinstance(value, list):
        kind = _kind(value[0]) if value else 12
        return bytes([240 | kind]) + varint(len(value)) + b"".join(map(thrift, value))
    out, last = b"", 0
    for field, one in sorted(value.items()):
        out, last = out + bytes([field - last << 4 | _kind(one)]) + thrift(one), field
    return out + b"\0"


def texts(*cells):
    """Texts as the plain encoding has them."""
    return b"".join(struct.pack("<I", len(cell)) + cell for cell in cells)


def run(count, value):
    """A place in the dictionary repeated, as values of one bit."""
    return b"\1" + varint(2 * count) + bytes([value])


def levels(*runs):
    """Levels of one bit, by (count, level), after their length."""
    packed = b"".join(varint(2 * count) + bytes([level]) for count, level in runs)
    return struct.pack("<I", len(packed)) + packed


def page(content, count, encoding=PLAIN, codec=None, dictionary=False):
    """A page with its header."""
    packed = pa.Codec(codec).compress(content, asbytes=True) if codec else content
    head = {1: 2 if dictionary else 0, 2: len(content), 3: len(packed)}
    head |= ({7: {1: count, 2: encoding}} if dictionary else
             {5: {1: count, 2: encoding, 3: RLE, 4: RLE}})  # fmt: skip
    return thrift(head) + packed


def write_parquet(path, pages, rows, *, kind=TEXT, codec=None, values=None, repetition=REQUIRED,
                  width=None, dictionary=b"", columns=1, says_rows=None):  # fmt: skip
    """A file of one row group whose columns all are the same bytes; what it says is free."""
    content = b"PAR1" + dictionary + pages
    size = len(dictionary) + len(pages)
    chunk = {
        1: kind, 2: [PLAIN, RLE], 3: [b"q"], 4: CODECS[codec],
        5: Long(rows if values is None else values),
        6: Long(size), 7: Long(size), 9: Long(4 + len(dictionary)),
    }  # fmt: skip
    if dictionary:
        chunk[11] = Long(4)
    names = [b"q%d" % j for j in range(columns)]
    root = {4: b"schema", 5: columns}
    leaf = {1: kind, 3: repetition}
    leaf |= {2: width} if width else {6: 0} if kind == TEXT else {}
    group = {1: [{2: Long(4), 3: chunk | {3: [name]}} for name in names],
             2: Long(size), 3: Long(rows)}  # fmt: skip
    footer = thrift({1: 1, 2: [root, *({**leaf, 4: name} for name in names)],
                     3: Long(rows if says_rows is None else says_rows),
                     4: [group] if columns else [{1: [], 2: Long(0), 3: Long(rows)}]})  # fmt: skip
    path.write_bytes(content + footer + struct.pack("<I", len(footer)) + b"PAR1")
    return path
