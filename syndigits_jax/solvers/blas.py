"""Threads of the linear algebra libraries on the host."""

import contextlib
import functools
import importlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

from threadpoolctl import OpenBLASController, ThreadpoolController

_lock = threading.Lock()
_inside = 0  # contexts that are open, in all threads
_limit: Any = None  # what the first of them has set


@functools.lru_cache(maxsize=1)
def _libraries(modules: int) -> ThreadpoolController:
    """Those that are loaded. To look for them takes longer than a small fit, and new ones come with
    new `modules`."""
    return ThreadpoolController()


def _set_by_any_thread() -> None:
    """From version 3.8 on a limit of OpenBLAS belongs to the thread that has set it first."""
    let_go = getattr(OpenBLASController, "clear_controlling_thread", None)
    if let_go is not None:
        let_go()


@contextlib.contextmanager
def one_blas_thread(when: bool = True) -> Iterator[None]:
    """A context in which BLAS and LAPACK use one thread, in JAX's programs on a CPU too.

    Systems of a few hundred unknowns are no faster on several threads. These wait for one another
    actively, and on a busy machine they take hundreds of times as long. The limit holds for the
    whole process; of contexts that overlap, in several threads say, the last to end lifts it.

    **Arguments:** `when`: otherwise the context changes nothing.
    """
    global _inside, _limit
    if not when:
        yield
        return
    # JAX loads SciPy's LAPACK at its first use, and a limit holds for what is loaded already.
    importlib.import_module("scipy.linalg.cython_lapack")
    with _lock:
        if not _inside:
            _limit = _libraries(len(sys.modules)).limit(limits=1, user_api="blas")
            _set_by_any_thread()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _limit.restore_original_limits()
                _set_by_any_thread()
