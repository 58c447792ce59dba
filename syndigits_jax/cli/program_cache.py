"""Programs that a command compiles are kept in the user's cache folder, for the next command.

Compiling takes most of a first start. JAX's persistent compilation cache reads a program's machine
code back where the program, the versions, the compiler's options and the machine's processor (its
features are part of the key) are the same, so that a folder on a disk that machines share is safe.

Commands that run at once may share it, without locks. JAX does not write entries atomically: one
that is read half-written, or that a full disk or a killed command left so, does not decompress. JAX
then warns and compiles as without a cache; here the warning is a debug message, and the entry is
removed. Only commands do this, never the package.
"""

import contextlib
import glob
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SWITCH = "SYNDIGITS_CACHE"
"""Environment variable: another folder, or `off` (or nothing) to keep no programs."""
MOST_BYTES = 256 * 2**20
"""The oldest entries beyond so many bytes are removed."""

_OFF = ("", "off", "0", "no", "none", "false")
_OWN = "JAX_COMPILATION_CACHE_DIR"
_LOG_LEVEL, _USUAL = "TF_CPP_MIN_LOG_LEVEL", "1"
_FAILED = re.compile(r"Error (reading|writing) persistent compilation cache entry for '(.+?)'")
_log = logging.getLogger(__name__)


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where compiled programs are kept, or `None` for nowhere.

    It is what [`SWITCH`][] names, and by default the folder `syndigits` of the system's place for
    caches: `$XDG_CACHE_HOME` wherever that is set, else `~/.cache`, `~/Library/Caches` on macOS and
    `%LOCALAPPDATA%` on Windows.
    """
    wanted = environment.get(SWITCH)
    if wanted is not None:
        return None if wanted.strip().lower() in _OFF else Path(wanted).expanduser().absolute()
    places = [environment.get("XDG_CACHE_HOME", "")]
    if sys.platform == "win32":
        places.append(environment.get("LOCALAPPDATA", ""))
    with contextlib.suppress(RuntimeError):  # nobody's home
        home = Path.home()
        places.append(str(home / ("Library/Caches" if sys.platform == "darwin" else ".cache")))
    # The XDG specification has relative paths ignored.
    found = next((place for place in places if Path(place).is_absolute()), None)
    return None if found is None else Path(found) / "syndigits" / "compiled"


@contextlib.contextmanager
def kept_programs() -> Iterator[None]:
    """While a command runs, JAX looks for compiled programs in [`cache_folder`][] and adds to them.

    A cache that the user has told JAX of is used instead, as it is.
    """
    folder = cache_folder()
    if folder is None:
        _log.debug("compiled programs are not kept (%s)", SWITCH)
        yield
        return
    jax = _quiet_jax()
    own = jax.config.jax_compilation_cache_dir
    if own:
        _log.debug("compiled programs are kept in %s (%s)", own, _OWN)
        yield
        return
    try:
        folder.mkdir(0o700, parents=True, exist_ok=True)  # its contents are run
        changed = folder.stat().st_mtime_ns
    except OSError as error:
        _log.debug("compiled programs are not kept: %s", error)
        yield
        return
    _log.debug("compiled programs are kept in %s (%s=off keeps none)", folder, SWITCH)
    failed: set[str] = set()
    try:
        with _set(jax, folder), _failures_added_to(failed):
            yield
    finally:
        with contextlib.suppress(OSError):
            for name in failed:
                for path in folder.glob(f"{glob.escape(name)}-*-cache"):
                    path.unlink(missing_ok=True)
            if folder.stat().st_mtime_ns != changed:
                prune(folder, MOST_BYTES)


def prune(folder: Path, most: int) -> None:
    """Remove entries, those longest unused first, until no more than `most` bytes are left.

    JAX's own bound would read a file per entry for every entry that it writes, under a lock.
    """
    entries = []
    with os.scandir(folder) as found:
        for entry in found:
            with contextlib.suppress(FileNotFoundError):  # another command removes some too
                if entry.name.endswith("-cache") and entry.is_file():
                    state = entry.stat()
                    used = max(state.st_atime_ns, state.st_mtime_ns)
                    entries.append((used, state.st_size, entry.path))
    excess = sum(size for _, size, _ in entries) - most
    for _, size, path in sorted(entries):
        if excess <= 0:
            break
        Path(path).unlink(missing_ok=True)
        excess -= size


def _quiet_jax() -> Any:
    """JAX, its compiler's log messages off unless the user has chosen what to see.

    Since JAX 0.9 the compiler reports an error for every program that is read back on a processor
    with AVX-512: the processor would lack `prefer-no-gather`, which is a preference of the compiler
    and no feature (openxla/xla#44565). The level is read when JAX is first imported.
    """
    chosen = os.environ.get(_LOG_LEVEL, _USUAL)
    if chosen == _USUAL:  # JAX sets it, for processes that it starts too
        os.environ[_LOG_LEVEL] = "3"
    try:
        import jax
    finally:
        os.environ[_LOG_LEVEL] = chosen
    return jax


@contextlib.contextmanager
def _set(jax: Any, folder: Path) -> Iterator[None]:
    from jax.experimental.compilation_cache import compilation_cache

    settings = {
        "jax_compilation_cache_dir": str(folder),
        "jax_compilation_cache_max_size": -1,  # see `prune`
        # A hundred programs of a few hundredths of a second are a quarter of a first start.
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        # What a GPU's compiler tries out is in the programs already, and not pruned.
        "jax_persistent_cache_enable_xla_caches": "none",
    }
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


@contextlib.contextmanager
def _failures_added_to(names: set[str]) -> Iterator[None]:
    """Collect programs that could not be read or written, in place of JAX's warnings of them."""
    show = warnings.showwarning

    def hear(message: Any, category: Any, *where: Any, **more: Any) -> None:
        failure = _FAILED.match(str(message))
        if failure is None:
            show(message, category, *where, **more)
            return
        names.add(failure[2])
        _log.debug("%s", message)

    with warnings.catch_warnings():
        warnings.filterwarnings("always", _FAILED.pattern)
        warnings.showwarning = hear
        yield
