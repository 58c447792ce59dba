"""Files written whole or not at all."""

import contextlib
import contextvars
import errno
import functools
import os
import re
import socket
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

_PARTIAL = ".partial-"
_unfinished: dict[Path, int | None] = {}  # temporary files, with handles of their folders
_tidied: set[Path] = set()  # folders without what killed processes left
_waiting: "contextvars.ContextVar[list[_Temporary] | None]"  # of a block of `together`
_waiting = contextvars.ContextVar("waiting", default=None)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on a clean exit it becomes `path`, else it is removed.

    The temporary file lies in the same folder, so the final step is one rename: a reader sees the
    old file or the new one, never a part. Its name keeps the suffix of `path`, for writers that
    choose a format by it. Missing folders are created, but not folders that disappear later. An
    interrupt (Ctrl-C) counts as a failure. The first file that a process writes into a folder
    removes what killed processes left there. Within [`together`][] the final step waits.

    **Raises:** `OSError` naming `path` if no file can be made there, the disk is full, or the
    folder is removed, moved or replaced before the file is whole.

    **Example:**

        >>> import tempfile
        >>> from pathlib import Path
        >>> from syndigits_jax.results.files import replacing
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "numbers.txt"
        ...     with replacing(path) as temporary:
        ...         _ = Path(temporary).write_text("1 2 3")
        ...     print(path.read_text())
        1 2 3
    """
    new, waiting = _Temporary(path), _waiting.get()
    try:
        with new.errors_named():
            yield new.temporary
        if waiting is None:
            new.place()
        else:
            waiting.append(new)
    finally:
        if waiting is None or new not in waiting:
            new.discard()


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Files that are written in the block take their places at its end: all of them, or none.

    So nothing that is done for one of them, nor a full disk or a kill meanwhile, leaves new files
    beside old ones. What is left then is a rename of each, in the order in which they were written:
    write the one last that readers look at first. Blocks may be nested; the outermost counts.

    **Raises:** as [`replacing`][]; if it is a rename that fails, those before it are done.

    **Example:**

        >>> import tempfile
        >>> from pathlib import Path
        >>> from syndigits_jax.results.files import together, write_text
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     table, summary = Path(folder) / "table.csv", Path(folder) / "summary.txt"
        ...     with together():
        ...         write_text(table, "a,b")
        ...         print(table.exists())
        ...         write_text(summary, "two columns")
        ...     print(table.read_text(), summary.read_text())
        False
        a,b two columns
    """
    if _waiting.get() is not None:
        yield
        return
    written: list[_Temporary] = []
    before = _waiting.set(written)
    try:
        yield
        for new in written:
            new.place()
    finally:
        _waiting.reset(before)
        for new in written:
            new.discard()


class _Temporary:
    """A file that is being written beside the one that it will replace."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path, self.target = path, Path(os.path.abspath(path))
        folder = self.target.parent
        folder.mkdir(parents=True, exist_ok=True)
        if folder not in _tidied:  # once, as a folder may hold many files
            remove_partial(folder)
            _tidied.add(folder)
        prefix = f"{_PARTIAL}{_place()}-{os.getpid()}-"
        try:
            handle, name = tempfile.mkstemp(prefix=prefix, suffix=self.target.suffix, dir=folder)
        except OSError as error:  # name the requested file, not the temporary one
            raise _unwritten(error, path) from error
        self.temporary = Path(name)
        self.folder = _unfinished[self.temporary] = _opened(folder)
        os.close(handle)

    def place(self) -> None:
        """Let it become the file."""
        with self.errors_named():
            # mkstemp makes files private; a result gets the usual permissions of a new file.
            self.temporary.chmod(0o666 & ~_umask())
            os.replace(self.temporary, self.target)

    def discard(self) -> None:
        """Remove it, unless it became the file."""
        _remove(self.temporary, self.folder)
        _unfinished.pop(self.temporary, None)
        if self.folder is not None:
            os.close(self.folder)
            self.folder = None

    @contextlib.contextmanager
    def errors_named(self) -> Iterator[None]:
        """Let errors of the temporary file be of the file."""
        try:
            yield
        except OSError as error:
            name = error.filename
            ours = isinstance(name, str | Path) and str(name) == str(self.temporary)
            if ours and error.errno in (errno.ENOENT, errno.ENOTDIR):
                why = "its folder was removed or moved meanwhile"
                raise _unwritten(error, self.path, why) from error
            if ours or (name is None and error.errno in _NO_ROOM):
                raise _unwritten(error, self.path) from error
            raise


def remove_unfinished() -> None:
    """Remove the temporary files of all [`replacing`][] of this process, which is about to end."""
    for temporary, folder in list(_unfinished.items()):
        with contextlib.suppress(OSError):
            _remove(temporary, folder)


def _unwritten(error: OSError, path: str | os.PathLike[str], why: str | None = None) -> OSError:
    reason = f"cannot be written ({why or error.strerror})"
    return OSError(error.errno, reason, os.fspath(path))


def _opened(folder: Path) -> int | None:
    """A handle of a folder, valid even if it is moved; `None` on systems without such handles."""
    if os.unlink not in os.supports_dir_fd:
        return None
    with contextlib.suppress(OSError):
        return os.open(folder, os.O_RDONLY)
    return None


def _remove(temporary: Path, folder: int | None) -> None:
    gone = contextlib.suppress(FileNotFoundError, NotADirectoryError)
    if folder is not None:
        with gone:
            os.unlink(temporary.name, dir_fd=folder)
    with gone:  # a writer may have made it in a new folder of that name
        temporary.unlink()


def is_damage(error: Exception) -> bool:
    """Whether reading an archive failed by what it holds, not because it could not be opened.

    NumPy and `zipfile` check little of what a damaged file says of itself: a size that no memory
    holds, a header that is no literal, a nesting without end. What they raise then is of any kind.
    """
    return not (isinstance(error, OSError) and error.filename is not None)


def what_failed(error: Exception) -> str:
    """What an error says, without addresses in memory, or its kind where it says nothing."""
    return re.sub(r" object at 0x[0-9a-f]+", "", str(error)) or type(error).__name__


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` (UTF-8) to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def remove_partial(folder: str | os.PathLike[str]) -> None:
    """Delete temporary files that a killed process (not an interrupted one) left behind.

    Those of a process of this machine that has ended; others if they are older than an hour, as
    another process may be writing in the same folder.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:  # gone, or of another user
        for entry in entries:
            if not entry.name.startswith(_PARTIAL) or Path(entry.path) in _unfinished:
                continue
            with contextlib.suppress(OSError):
                if _has_ended(entry.name) or time.time() - entry.stat().st_mtime > 3600:
                    os.unlink(entry.path)


def _has_ended(name: str) -> bool:
    """Whether the process that made a temporary file is known to have ended."""
    place, _, rest = name.removeprefix(_PARTIAL).partition("-")
    number = rest.partition("-")[0]
    if os.name != "posix" or place != _place() or not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)  # sends nothing
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass
    return False


@functools.cache
def _place() -> str:
    """Where numbers of processes mean the same: this machine, and in a container the container."""
    space = ""
    with contextlib.suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return f"{zlib.crc32(f'{socket.gethostname()} {space}'.encode()):08x}"


def _umask() -> int:
    # The only way to read the umask is to set it.
    mask = os.umask(0)
    os.umask(mask)
    return mask
