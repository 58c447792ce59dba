"""Arrays in files that are written whole or not at all."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..results.files import is_damage, replacing, what_failed
from ..tables.compressed import read_npz


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write `arrays` as one `.npz`: a reader sees the old file or the new one, never a part."""
    # To an open file, because NumPy appends its own suffix to other paths.
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file that `write_arrays` wrote.

    **Raises:** `FileNotFoundError`; `ValueError` naming the file if it is damaged or another.
    """
    try:
        return read_npz(path)
    except Exception as error:
        if not is_damage(error):
            raise
        told = what_failed(error)
        raise ValueError(f"{path}: is damaged, or no archive of arrays ({told})") from error
