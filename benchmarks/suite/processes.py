"""Processes for peers' loops: one per core."""

import os
from typing import Any


def one_per_core(count: int) -> Any:
    """joblib's pool for so many tasks, in four batches per core."""
    from joblib import Parallel

    cores = os.cpu_count() or 1
    size: Any = max(1, count // (4 * cores))
    return Parallel(n_jobs=cores, batch_size=size)
