"""Compressed files: how far they may expand, so that a small one cannot fill the memory.

A file may take [`FACTOR`][] times its size when it is expanded; up to a bound, more. Honest tables
and arrays take five to fifty times their size, and gzip cannot make more than a thousand of one.
Where an archive says how large its contents are, this is checked before anything is read; gzip
does not, and is counted while it is read.
"""

import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

FACTOR = 250
"""Bytes of the contents to one byte of the file, where the contents are more than a bound."""

ARRAYS = 1 << 30
"""Bytes of numbers that any file may hold (1 GiB)."""

TEXT = 1 << 26
"""Bytes of text that any file may hold (64 MiB); its cells take many times as much in memory."""

_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others do not tell how far they expand


class ExpansionError(ValueError):
    """The contents of a file are more than it may have; the message does not name the file."""


def most_expanded(path: Path, *, text: bool = False) -> int:
    """The bytes that a file may have when it is expanded; `text`: whether these are text."""
    return max(TEXT if text else ARRAYS, FACTOR * path.stat().st_size)


def refuse_expanded(path: Path, size: int, *, text: bool = False) -> None:
    """**Raises:** [`ExpansionError`][] if the contents of a file have more bytes than
    [`most_expanded`][]."""
    most = most_expanded(path, text=text)
    if size > most:
        raise ExpansionError(
            f"its contents take more than {most >> 20} MiB, {FACTOR} times what it takes: made to "
            "fill the memory, or damaged? If it is meant, save it uncompressed or in parts"
        )


def opened_bytes(path: Path) -> io.BufferedReader:
    """A file's bytes; those of a `.gz` file expanded, while they are as many as is allowed.

    Reading **raises** [`ExpansionError`][].
    """
    if path.suffix.lower() != ".gz":
        return path.open("rb")
    return io.BufferedReader(_Expanded(path), 1 << 16)


class _Expanded(io.RawIOBase):
    """The contents of a `.gz` file, counted."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path, self._read = path, 0
        self._file = gzip.open(path, "rb")  # noqa: SIM115 (closed with this)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(buffer)
        self._read += count
        refuse_expanded(self._path, self._read, text=True)
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class Archive:
    """A zip archive of arrays and text, open for reading.

    **Raises:** [`ExpansionError`][]; `ValueError`, which does not name the file either, if it is
    compressed in another way than NumPy's; what `zipfile` raises for what is no archive.
    """

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path)
        try:
            members = self._zip.infolist()
            if any(one.compress_type not in _PLAIN for one in members):
                raise ValueError("it is compressed in another way than NumPy does (deflate)")
            refuse_expanded(path, sum(one.file_size for one in members))
        except BaseException:
            self._zip.close()
            raise
        self.names = tuple(one.filename for one in members)

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def content(self, name: str) -> bytes:
        """A member. No more of it is expanded than the archive says that there is."""
        with self._zip.open(name) as member:
            return member.read(self._zip.getinfo(name).file_size)

    def array(self, name: str) -> np.ndarray:
        """A member that is an array (`.npy`)."""
        with self._zip.open(name) as member:
            array = np.lib.format.read_array(member, allow_pickle=False)
            if member.read(1):
                raise ValueError(f"{name} is longer than its shape says")
        return array


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file. **Raises:** as [`Archive`][]."""
    with Archive(path) as stored:
        return {name.removesuffix(".npy"): stored.array(name) for name in stored.names}
