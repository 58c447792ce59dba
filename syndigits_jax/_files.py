"""Files written whole or not at all."""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_PARTIAL = ".partial-"


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on a clean exit it becomes `path`, else it is removed.

    The temporary file lies in the same folder, so the final step is one rename: a reader sees the
    old file or the new one, never a part. Its name keeps the suffix of `path`, for writers that
    choose a format by it. Missing folders are made. An interrupt (Ctrl-C) counts as a failure.

    **Raises:** `OSError` naming `path` if no file can be made there.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle, name = tempfile.mkstemp(prefix=_PARTIAL, suffix=target.suffix, dir=target.parent)
    except OSError as error:  # name the file that was asked for, not one that nobody knows of
        reason = f"cannot be written ({error.strerror})"
        raise OSError(error.errno, reason, os.fspath(target)) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private; a result should be as readable as any other new file.
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` (UTF-8) to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def remove_partial(folder: str | os.PathLike[str]) -> None:
    """Delete temporary files that a killed process (not merely an interrupted one) left behind.

    Only those older than an hour go: another process may be writing in the same folder.
    """
    for stale in Path(folder).glob(f"{_PARTIAL}*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - stale.stat().st_mtime > 3600:
                stale.unlink()


def _umask() -> int:
    # The only way to read the umask is to set it.
    mask = os.umask(0)
    os.umask(mask)
    return mask
