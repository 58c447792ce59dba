"""A lock that admits one writer per file and does not outlive a process that was killed."""

import contextlib
import os
import threading
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

# Locks within one process do not exclude each other, so they are recorded here; by file rather
# than name, as the folder may have been moved and another file may have the old name.
_held: set[tuple[int, ...]] = set()
_guard = threading.Lock()


class WriterLock:
    """Exclusive right to write `path`, held through a file `path.lock` beside it.

    The operating system releases the lock when its process ends, for whatever reason; forked
    processes do not inherit it. The file is removed when the lock is released.

    **Raises:** `BlockingIOError` with the number of the process that holds the lock; `OSError`
    naming `path` if the file cannot be created.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self._file = Path(f"{os.path.realpath(path)}.lock")
        with _guard:
            self._acquire(path)

    def _acquire(self, path: str | os.PathLike[str]) -> None:
        if _key(self._file) in _held:
            raise BlockingIOError("this process")
        while True:
            try:
                self._handle = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError as error:
                raise OSError(error.errno, error.strerror, os.fspath(path)) from error
            try:
                _lock(self._handle)
            except OSError:
                holder = _holder(self._handle)
                os.close(self._handle)
                raise BlockingIOError(f"process {holder or 'unknown'}") from None
            if self._is_current():
                break
            os.close(self._handle)  # the previous holder has just removed the file
        self._key = _key(self._handle)
        _held.add(self._key)
        with contextlib.suppress(OSError):  # the disk may be full
            os.ftruncate(self._handle, 0)
            os.write(self._handle, str(os.getpid()).encode())

    def trouble(self) -> str:
        """What happened to the lock file; "" if it still excludes other writers."""
        if self._is_current():
            return ""
        try:
            handle = os.open(self._file, os.O_RDONLY)
        except OSError:
            return f"its lock file {self._file} was removed, so that another process could write it"
        try:
            holder = _holder(handle)
        finally:
            os.close(handle)
        by = f": process {holder} is writing it too" if holder else ""
        return f"its lock file {self._file} was replaced by another{by}"

    def release(self) -> None:
        """Release the lock and remove its file."""
        if self._key not in _held:
            return
        if self._is_current() and self._key[0] == os.getpid():  # else it is another writer's
            with contextlib.suppress(OSError):
                self._file.unlink()
        os.close(self._handle)
        _held.discard(self._key)

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._file), os.fstat(self._handle))
        except OSError:
            return False


def _key(file: Path | int) -> tuple[int, ...]:
    """The process and the file, if it exists. The file is not opened: closing would unlock it."""
    try:
        status = os.stat(file)
    except OSError:
        return ()
    return (os.getpid(), status.st_dev, status.st_ino)


def _holder(handle: int) -> str:
    return os.pread(handle, 20, 0).decode("ascii", "replace") if fcntl else ""


def _lock(handle: int) -> None:
    if fcntl is not None:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # pyright: ignore
