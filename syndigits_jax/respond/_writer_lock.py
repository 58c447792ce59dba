"""One writer per file, also after the last one was killed."""

import contextlib
import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

# Locks of a process do not exclude each other within it.
_held: set[tuple[int, str]] = set()


class WriterLock:
    """Exclusive right to write `path`, held through a file `path.lock` beside it.

    The operating system releases it at the holder's death, however that came; processes that the
    holder forked do not inherit it. The file goes when the lock is released.

    **Raises:** `BlockingIOError` with the holder's process number, if there is a holder; `OSError`
    naming `path` if no file can be made there.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self._file = Path(f"{os.path.realpath(path)}.lock")
        self._key = (os.getpid(), str(self._file))
        if self._key in _held:
            raise BlockingIOError("this process")
        while True:
            try:
                self._handle = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError as error:
                raise OSError(error.errno, error.strerror, os.fspath(path)) from error
            try:
                _lock(self._handle)
            except OSError:
                holder = os.pread(self._handle, 20, 0) if fcntl else b""
                os.close(self._handle)
                raise BlockingIOError(f"process {holder.decode() or 'unknown'}") from None
            if self._is_current():
                break
            os.close(self._handle)  # the holder before us removed the file as it left
        _held.add(self._key)
        with contextlib.suppress(OSError):  # on a full disk there is no room for a number
            os.ftruncate(self._handle, 0)
            os.write(self._handle, str(os.getpid()).encode())

    def release(self) -> None:
        """Let others write."""
        if self._key not in _held:
            return
        with contextlib.suppress(OSError):
            self._file.unlink()
        os.close(self._handle)
        _held.discard(self._key)

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._file), os.fstat(self._handle))
        except FileNotFoundError:
            return False


def _lock(handle: int) -> None:
    if fcntl is not None:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # pyright: ignore
