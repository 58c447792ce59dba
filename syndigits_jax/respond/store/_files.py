"""Checks that the files of an open store are still those that its path names.

A file that is removed, moved or replaced stays open, and what is written to it is lost without an
error. SQLite does not check this in WAL mode. The store does, before and after each commit.
"""

import collections
import contextlib
import os
import sqlite3
import struct
import sys
import threading
from pathlib import Path
from typing import NamedTuple

try:
    import fcntl
except ImportError:  # Windows, where no open file can be removed, moved or replaced
    fcntl = None

_HEADER = 100  # bytes of an SQLite file before its tables
_FRAME = 24  # bytes of a frame of the journal before its page, 32 before the first frame
_INDEX = 104  # bytes of the journal's index that are read


class Trouble(NamedTuple):
    """A problem with a store's files, as parts of a message.

    - `what`: what happened to which file.
    - `fate`: whether the committed answers are safe.
    - `advice`: what to do.
    - `otherwise`: instead of `fate`, if `mergeable` and the journal could not be merged.
    - `mergeable`: whether the journal belongs to the open file and may be merged into it.
    - `foreign`: whether the files in place belong to another program and must not be changed.
    """

    what: str
    fate: str
    advice: str
    otherwise: str = ""
    mergeable: bool = False
    foreign: bool = False


_AGAIN = "run the same command again: it asks only what is missing"
_MAYBE = "the latest of which may be lost"


class StoreFiles:
    """The database file of an open store and its journal, as they were when it was opened.

    Handles are closed only when no store of this process has the file open: closing one would
    release all locks of this process on the file, including SQLite's.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(os.path.abspath(path))
        self._real = os.path.realpath(path)
        handle = os.open(self.path, os.O_RDONLY)
        self._database = handle
        status = os.fstat(handle)
        self._key = (os.getpid(), status.st_dev, status.st_ino)
        self._journal: dict[str, int] = {}
        self._settled: tuple[bytes, int, bytes] | None = None
        with _guard:
            _users[self._key] += 1
            _handles[self._key].append(handle)

    def watch_journal(self) -> None:
        """From now on check the write-ahead journal and its index too, if there is one."""
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                self._journal[suffix] = os.open(f"{self._real}{suffix}", os.O_RDONLY)
        with _guard:
            _handles[self._key].extend(self._journal.values())
        self.settle()

    def settle(self) -> None:
        """Record the current content of the file as written by this store or by SQLite."""
        if "-shm" in self._journal:
            self._settled = (*self._content(), self._index())

    def release(self) -> None:
        """Close the handles, once SQLite has closed its own."""
        with _guard:
            _users[self._key] -= 1
            if _users[self._key]:
                return
            del _users[self._key]
            for handle in _handles.pop(self._key):
                os.close(handle)

    def trouble(self) -> Trouble | None:
        """A problem with the database file or its journal, if there is one."""
        return self.database_trouble() or self._overwritten() or self._journal_trouble()

    def database_trouble(self) -> Trouble | None:
        """A problem with the path of the database file, if there is one."""
        held = os.fstat(self._database)
        try:
            replaced = not os.path.samestat(os.stat(self.path), held)
        except (FileNotFoundError, NotADirectoryError):
            replaced = False
        except OSError as error:
            return Trouble(
                f"the file cannot be reached any more ({(error.strerror or '').lower()})",
                "safe as long as it is",
                f"Make it accessible and {_AGAIN}",
            )
        else:
            if not replaced:
                return None
        there = ", and another file is in its place" if replaced else ""
        now = _name_now(self._database)
        if now is not None:
            return Trouble(
                f"the file was moved to {now} while it was open{there}",
                f"safe in {now}",
                f"Move it back and {_AGAIN}",
                otherwise=f"in {now} and the journal that was beside it",
                mergeable=True,
            )
        if held.st_nlink:
            return Trouble(
                f"the file was moved elsewhere while it was open{there}",
                "safe in it, wherever it is",
                f"Move it back and {_AGAIN}",
                mergeable=True,
            )
        return Trouble(
            f"the file was removed while it was open{there}",
            "gone with it",
            f"Restore it from a copy if there is one, and {_AGAIN}",
        )

    def _overwritten(self) -> Trouble | None:
        """Whether another program wrote to the database file directly.

        With a journal, the file only changes when the journal is merged, by this store in a commit
        or by another program; in the latter case the journal's index shows it.
        """
        if self._settled is None or self._settled[2] != self._index():
            self.settle()
            return None
        page, size = self._content()
        if (page, size) == self._settled[:2]:
            return None
        how = "truncated" if size < self._settled[1] else "overwritten"
        return Trouble(
            f"the file was {how} by another program while it was open",
            "lost in part or as a whole",
            f"Move it and its journal aside, restore it from a copy if there is one, and {_AGAIN}",
            foreign=True,
        )

    def _journal_trouble(self) -> Trouble | None:
        for suffix, handle in self._journal.items():
            name = f"{self._real}{suffix}"
            held = os.fstat(handle)
            try:
                replaced = not os.path.samestat(os.stat(name), held)
            except OSError:
                return Trouble(
                    f"its journal {name} was removed while it was open",
                    "safe in it",
                    _AGAIN.capitalize(),
                    otherwise=_MAYBE,
                    mergeable=True,
                )
            if replaced:
                what = f"its journal {name} was replaced by another file while it was open"
                end = f"End whatever else writes it, and {_AGAIN}"
                return Trouble(what, _MAYBE, end, foreign=True)
            if suffix == "-wal" and held.st_size < self._journal_size():
                what = f"its journal {name} was truncated while it was open"
                return Trouble(what, _MAYBE, _AGAIN.capitalize(), foreign=True)
        return None

    def _content(self) -> tuple[bytes, int]:
        """The first page of the database file, which every change updates, and the file's size."""
        header = os.pread(self._database, _HEADER, 0)
        size = int.from_bytes(header[16:18], "big")
        page = os.pread(self._database, 65536 if size == 1 else max(size, _HEADER), 0)
        return page, os.fstat(self._database).st_size

    def _index(self) -> bytes:
        """The beginning of the journal's index: its valid length, merged length and identity."""
        return os.pread(self._journal["-shm"], _INDEX, 0) if "-shm" in self._journal else b""

    def _journal_size(self) -> int:
        """The journal's length in bytes by its index (https://www.sqlite.org/walformat.html)."""
        index = self._index()
        if len(index) < _INDEX or not index[12]:
            return 0
        page, frames = struct.unpack("=HI", index[14:20])
        return 32 + frames * (_FRAME + (65536 if page == 1 else page)) if frames else 0


def watched(path: str | os.PathLike[str]) -> StoreFiles | None:
    """The files of the open store at `path`; None on systems where open files cannot be moved."""
    return None if fcntl is None else StoreFiles(path)


def is_open(path: Path) -> bool:
    """Whether a store of this process has the file at `path` open."""
    status = path.stat()
    with _guard:
        return (os.getpid(), status.st_dev, status.st_ino) in _users


def close_unmerged(connection: sqlite3.Connection) -> None:
    """Close a connection without merging the journal, which may be another program's."""
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
        connection.close()
        return
    # Python 3.11 lacks this setting. The connection stays open until the process ends.
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _name_now(handle: int) -> str | None:
    """The current path of an open file, if the system can tell it."""
    try:
        macos = getattr(fcntl, "F_GETPATH", None)
        if fcntl is not None and macos is not None:
            found = fcntl.fcntl(handle, macos, bytes(1024)).rstrip(b"\0").decode()
        else:
            found = os.readlink(f"/proc/self/fd/{handle}")
        return found if os.path.samestat(os.stat(found), os.fstat(handle)) else None
    except (OSError, ValueError):
        return None


_guard = threading.Lock()
_users: collections.Counter[tuple[int, int, int]] = collections.Counter()
_handles: dict[tuple[int, int, int], list[int]] = collections.defaultdict(list)
