"""Threads of the linear algebra libraries on the host."""

import importlib
from contextlib import AbstractContextManager
from typing import Any

from threadpoolctl import threadpool_limits


def one_blas_thread(when: bool = True) -> AbstractContextManager[Any]:
    """A context in which BLAS and LAPACK use one thread, in JAX's programs on a CPU too.

    Systems of a few hundred unknowns are no faster on several threads. These wait for one another
    actively, and on a busy machine they take hundreds of times as long.

    **Arguments:** `when`: otherwise the context changes nothing.
    """
    # JAX loads SciPy's LAPACK at its first use, and a limit holds for what is loaded already.
    importlib.import_module("scipy.linalg.cython_lapack")
    return threadpool_limits(1 if when else None, user_api="blas")
