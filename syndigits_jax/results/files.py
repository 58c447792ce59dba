"""Files written whole or not at all."""

import contextlib
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
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on a clean exit it becomes `path`, else it is removed.

    The temporary file lies in the same folder, so the final step is one rename: a reader sees the
    old file or the new one, never a part. Its name keeps the suffix of `path`, for writers that
    choose a format by it. Missing folders are created, but not folders that disappear later. An
    interrupt (Ctrl-C) counts as a failure. What killed processes left in the folder is removed.

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
    target = Path(os.path.abspath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_partial(target.parent)
    prefix = f"{_PARTIAL}{_place()}-{os.getpid()}-"
    try:
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=target.suffix, dir=target.parent)
    except OSError as error:  # name the requested file, not the temporary one
        raise _unwritten(error, path) from error
    temporary = Path(name)
    folder = _unfinished[temporary] = _opened(target.parent)
    os.close(handle)
    try:
        yield temporary
        # mkstemp makes files private; a result gets the usual permissions of a new file.
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, target)
    except OSError as error:
        ours = isinstance(error.filename, str | Path) and str(error.filename) == name
        if ours and error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise _unwritten(error, path, "its folder was removed or moved meanwhile") from error
        if ours or (error.filename is None and error.errno in _NO_ROOM):
            raise _unwritten(error, path) from error
        raise
    finally:
        _remove(temporary, folder)
        _unfinished.pop(temporary, None)
        if folder is not None:
            os.close(folder)


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
