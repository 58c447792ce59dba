"""Resumption: units of work, stored under a hash of everything that determines their results."""

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from syndigits_jax.results.files import is_damage, replacing
from syndigits_jax.results.source import code_version
from syndigits_jax.tables.compressed import read_npz

# The code behind a table of calibrated answers, and behind one of weighted ensembles: an edit
# elsewhere leaves their finished units valid. Settings and data are part of every key.
INDIVIDUAL = (
    "evaluation.holdout",
    "studies/syn_digits/scoring.py",
    "studies/syn_digits/tables.py",
)
ENSEMBLES = (
    "distribution.cross_validation",
    "distribution.published",
    "studies/syn_digits/ensembles.py",
)
BEYOND = ("studies/beyond/units.py", "estimation.auto")
UNITS = "units"
"""The folder of finished units inside an output folder."""


def describe(value: Any) -> Any:
    """A JSON-ready description of `value` that is equal for equal content.

    Takes dataclasses (calibrators, settings) by class name and fields, arrays by shape, dtype and
    content, random keys, mappings, sequences and plain values.

    **Raises:** `TypeError` for anything else, so that nothing is silently left out of a key.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return {"key": str(jax.random.key_impl(value)), "of": describe(jax.random.key_data(value))}
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        array = np.ascontiguousarray(value)
        if array.size <= 16:
            return [str(array.dtype), list(array.shape), array.reshape(-1).tolist()]
        digest = hashlib.sha256(array.tobytes()).hexdigest()
        return [str(array.dtype), list(array.shape), digest]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: describe(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"class": type(value).__qualname__, **fields}
    if isinstance(value, Mapping):
        return {str(name): describe(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    raise TypeError(f"value: cannot describe a {type(value).__name__}")


def unit_key(modules: tuple[str, ...], /, **determines: Any) -> str:
    """The name of a unit: a hash of `determines`, the code of `modules`, JAX and its precision.

    `modules`: as in [`code_version`][syndigits_jax.results.source.code_version].
    """
    content = {
        **describe(determines),
        "code": code_version(modules),
        "jax": jax.__version__,
        "x64": bool(jax.config.read("jax_enable_x64")),
        "platform": jax.default_backend(),
    }
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def kept(
    store: "Checkpoints | None",
    key: str | Callable[[], str],
    compute: Callable[[], Mapping[str, np.ndarray]],
) -> tuple[dict[str, np.ndarray], bool]:
    """As [`Checkpoints.get`][] of a `store`; without one (`None`) the arrays are computed.

    `key`: that of the unit, or what makes it, which is only called if there is a store.
    """
    if store is None:
        return dict(compute()), False
    return store.get(key if isinstance(key, str) else key(), compute)


class CheckpointError(RuntimeError):
    """Finished units have disappeared; the message says how many, and what to do."""


class Checkpoints:
    """A folder of finished units, one `.npz` file each.

    Every file is written whole or not at all; one that cannot be read is computed again. Units must
    not disappear while this is used: a folder that is removed, moved or replaced in the meantime is
    an error, and is not made again.

    **Example:**

        >>> import tempfile
        >>> import numpy as np
        >>> from syndigits_jax.results.checkpoints import Checkpoints
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = Checkpoints(folder)
        ...     for _ in range(2):
        ...         arrays, stored = store.get("unit", lambda: {"x": np.arange(3)})
        ...         print(arrays["x"], stored)
        [0 1 2] False
        [0 1 2] True
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(os.path.abspath(folder))
        self._was_there = self.folder.is_dir()
        self._kept: set[str] = set()

    @staticmethod
    def under(out: str | os.PathLike[str] | None) -> "Checkpoints | None":
        """The finished units inside an output folder; `None` without one."""
        return None if out is None else Checkpoints(Path(out) / UNITS)

    def path(self, key: str) -> Path:
        """The file of the unit `key`, whether it exists or not."""
        return self.folder / f"{key}.npz"

    def load(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays of a finished unit, or `None` if there is no such unit."""
        try:
            arrays = read_npz(self.path(key))
        except Exception as error:
            if is_damage(error) or isinstance(error, FileNotFoundError):
                return None
            raise
        self._kept.add(key)
        return arrays

    def save(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Store a finished unit.

        **Raises:** [`CheckpointError`][] if units stored before have disappeared, in which case
        this one is not stored; `OSError` naming the file if it cannot be written.
        """
        self._check(f"unit {key} is not kept; ")
        with replacing(self.path(key)) as temporary:
            np.savez_compressed(temporary, **arrays)  # pyright: ignore[reportArgumentType]
        self._was_there = True
        self._kept.add(key)
        self._check("")

    def get(
        self, key: str, compute: Callable[[], Mapping[str, np.ndarray]]
    ) -> tuple[dict[str, np.ndarray], bool]:
        """(arrays of unit `key`, whether they were stored before); computes them if they were not.

        **Raises:** [`CheckpointError`][], before or after the computation, if units stored before
        have disappeared.
        """
        self._check("")
        stored = self.load(key)
        if stored is not None:
            return stored, True
        arrays = {name: np.asarray(value) for name, value in compute().items()}
        self.save(key, arrays)
        return arrays, False

    def _check(self, lost: str) -> None:
        there: set[str] = set()
        if self._kept:  # one list: of thousands of files, asking for each takes six times as long
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                there.update(os.listdir(self.folder))
        gone = sum(f"{key}.npz" not in there for key in self._kept)
        if gone or (self._was_there and not self.folder.is_dir()):
            raise CheckpointError(
                f"{self.folder}: {gone} of the {len(self._kept)} finished units of this run are "
                "not there any more: the folder was removed, moved or replaced meanwhile; "
                f"{lost}put it back if it was moved, and run the same command again: it computes "
                "what is missing"
            )
