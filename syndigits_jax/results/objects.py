"""Objects in one file: a zip archive of arrays (`.npy`) and a JSON header; nothing is executed.

The header says what the object is made of: classes by name, fields, containers, numbers and text,
and the arrays by number. Only classes of a given table are written and read.
"""

import dataclasses
import enum
import io
import json
import math
import warnings
import zipfile
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..tables.compressed import Archive
from .files import is_damage, replacing, what_failed

FORMAT = 1
"""Of files that are written; later ones cannot be read."""
_KIND = "syndigits_jax object"
_HEADER = "header.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # so that equal objects make equal files


class SavedFileWarning(UserWarning):
    """A file of an older version lacks something, which has its default now."""


class SavedFileError(ValueError):
    """A file cannot be read; the message names it and says what is different."""


@dataclasses.dataclass(frozen=True)
class Classes:
    """The classes that files may hold.

    **Arguments:** `by_name`: dataclasses, Equinox modules and enumerations; `left_out`: by name of
    a class, fields that no file holds, and what they are after reading; `version`: of the package.
    """

    by_name: Mapping[str, type]
    left_out: Mapping[str, Mapping[str, Any]]
    version: str

    def name_of(self, value: Any) -> str:
        """**Raises:** `ValueError` for an object of another class."""
        for name, one in self.by_name.items():
            if type(value) is one:
                return name
        kind = type(value)
        raise ValueError(
            f"`obj`: cannot save a {kind.__module__}.{kind.__qualname__}; save objects of this "
            "package, arrays, numbers, text, and containers of these"
        )


def write_object(path: str | PathLike[str], value: Any, classes: Classes) -> None:
    """Write `value` to `path`, whole or not at all.

    **Raises:** `ValueError` for what is none of `classes`; `OSError` if it cannot be written.
    """
    arrays: list[np.ndarray] = []
    header = {
        "kind": _KIND,
        "format": FORMAT,
        "version": classes.version,
        "jax": jax.__version__,
        "precision": "float64" if jax.config.read("jax_enable_x64") else "float32",
        "object": _encoded(value, arrays, classes),
    }
    text = json.dumps(header, ensure_ascii=True, allow_nan=False)
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as out:
        _add(out, _HEADER, text.encode())
        for number, array in enumerate(arrays):
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array, allow_pickle=False)
            _add(out, f"{number}.npy", buffer.getvalue())


def read_object(path: str | PathLike[str], classes: Classes) -> Any:
    """What [`write_object`][] wrote.

    **Raises:** `FileNotFoundError`; [`SavedFileError`][] naming the file and what is different.
    **Warns** ([`SavedFileWarning`][]) where a field that the file lacks has its default.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with Archive(path) as stored:
            header = _header(path, stored, classes)
            reading = _Reading(path, stored, header, classes)
            return reading.value(header["object"])
    except zipfile.BadZipFile as error:
        start = path.read_bytes()[:4]
        if start != b"PK\x03\x04":
            raise SavedFileError(f"{path}: is no file that `save` wrote") from None
        raise SavedFileError(f"{path}: is damaged or cut off ({error})") from None
    except SavedFileError:
        raise
    except Exception as error:
        if not is_damage(error):
            raise
        told = what_failed(error)
        raise SavedFileError(f"{path}: is damaged, or not written by `save` ({told})") from error


def _add(out: zipfile.ZipFile, name: str, content: bytes) -> None:
    out.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)


def _header(path: Path, stored: Archive, classes: Classes) -> dict[str, Any]:
    foreign = SavedFileError(f"{path}: is a zip archive, but none that `save` wrote")
    if _HEADER not in stored.names:
        raise foreign
    header = json.loads(stored.content(_HEADER))
    if not isinstance(header, dict) or header.get("kind") != _KIND:
        raise foreign
    if not isinstance(header.get("format"), int) or header["format"] > FORMAT:
        raise SavedFileError(
            f"{path}: has format {header.get('format')!r} of version {header.get('version')}; this "
            f"is version {classes.version}, which reads up to format {FORMAT}: update the package"
        )
    return header


def _encoded(value: Any, arrays: list[np.ndarray], classes: Classes) -> Any:
    """A description of `value` in JSON; its arrays are appended to `arrays`."""

    def inner(one: Any) -> Any:
        return _encoded(one, arrays, classes)

    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return {"enum": classes.name_of(value), "value": value.value}
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        data = np.asarray(jax.random.key_data(value))
        return {"key": _kept(data, arrays), "of": str(jax.random.key_impl(value))}
    if isinstance(value, jax.Array | np.generic) or type(value) is np.ndarray:
        array = np.asarray(value)
        if array.dtype.hasobject:
            raise ValueError(
                f"`obj`: cannot save an array of {array.dtype}; make it numbers or text"
            )
        kind = "jax" if isinstance(value, jax.Array) else "array"
        kind = "scalar" if isinstance(value, np.generic) else kind
        return {kind: _kept(array, arrays), "dtype": array.dtype.name}
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, int | str):
        return value
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return {"list" if isinstance(value, list) else "tuple": [inner(one) for one in value]}
    if isinstance(value, Mapping) and not dataclasses.is_dataclass(value):
        return {"dict": [[inner(name), inner(one)] for name, one in value.items()]}
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        classes.name_of(value)
        raise ValueError(f"`obj`: cannot save {value!r:.80}")
    name = classes.name_of(value)
    fields = {
        one.name: inner(getattr(value, one.name))
        for one in dataclasses.fields(value)
        if one.name not in classes.left_out.get(name, ())
    }
    return {"class": name, "fields": fields}


def _kept(array: np.ndarray, arrays: list[np.ndarray]) -> int:
    arrays.append(array)
    return len(arrays) - 1


class _Reading:
    """A file that is being read."""

    def __init__(self, path: Path, stored: Archive, header: Mapping[str, Any], classes: Classes):
        self.path, self.stored, self.header, self.classes = path, stored, header, classes
        self.kinds: dict[str, Callable[[Mapping[str, Any]], Any]] = {
            "float": lambda node: float(node["float"]),
            "list": lambda node: [self.value(one) for one in node["list"]],
            "tuple": lambda node: tuple(self.value(one) for one in node["tuple"]),
            "dict": lambda node: {self.value(k): self.value(v) for k, v in node["dict"]},
            "array": lambda node: self.array(node["array"], node["dtype"]),
            "scalar": lambda node: self.array(node["scalar"], node["dtype"])[()],
            "jax": lambda node: self.on_device(self.array(node["jax"], node["dtype"])),
            "key": self.random_key,
            "enum": lambda node: self.known(node["enum"])(node["value"]),
            "class": self.instance,
        }

    def value(self, node: Any) -> Any:
        """What a description describes."""
        if not isinstance(node, dict):
            return node
        for kind, read in self.kinds.items():
            if kind in node:
                return read(node)
        raise self.changed(f"holds {sorted(node)}, which this version does not know")

    def changed(self, what: str) -> SavedFileError:
        """An error that says which versions differ."""
        return SavedFileError(
            f"{self.path}: {what} (it was written by version {self.header.get('version')}, this is "
            f"version {self.classes.version})"
        )

    def known(self, name: str) -> Any:
        """A class by name."""
        if name not in self.classes.by_name:
            raise self.changed(f"holds a {name}, which this version does not have")
        return self.classes.by_name[name]

    def array(self, number: int, dtype: str) -> np.ndarray:
        """An array by number."""
        array = self.stored.array(f"{number}.npy")
        return array.view(jnp.dtype(dtype)) if array.dtype.kind == "V" and dtype else array

    def on_device(self, array: np.ndarray) -> jax.Array:
        """A JAX array of the same type."""
        if jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
            raise SavedFileError(
                f"{self.path}: holds {array.dtype} arrays, which JAX would round here; enable "
                "double precision to read it (JAX_ENABLE_X64=1)"
            )
        return jnp.asarray(array)

    def random_key(self, node: Mapping[str, Any]) -> jax.Array:
        """A typed random key."""
        data = self.array(node["key"], "")
        return jax.random.wrap_key_data(jnp.asarray(data), impl=node["of"])

    def instance(self, node: Mapping[str, Any]) -> Any:
        """An object of one of the classes."""
        name, given = node["class"], node["fields"]
        cls = self.known(name)
        fields = {one.name: one for one in dataclasses.fields(cls)}
        replaced = self.classes.left_out.get(name, {})
        if unknown := sorted(given.keys() - fields.keys()):
            raise self.changed(f"{name} has no `{unknown[0]}` in this version")
        values = {key: self.value(one) for key, one in given.items()} | dict(replaced)
        absent = [key for key in fields if key not in values]
        for key in absent:
            values[key] = self.default(name, fields[key])
        try:
            return _built(cls, values)
        except (ValueError, TypeError) as error:
            raise self.changed(f"its {name} is none in this version: {error}") from error

    def default(self, name: str, field: dataclasses.Field) -> Any:
        """The default of a field that the file lacks."""
        if field.default is not dataclasses.MISSING:
            value = field.default
        elif field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        else:
            raise self.changed(f"its {name} has no `{field.name}`, which this version needs")
        warnings.warn(
            f"{self.path}: its {name} has no `{field.name}` yet (it was written by version "
            f"{self.header.get('version')}); it has the default, {value!r:.60}",
            SavedFileWarning,
            stacklevel=2,
        )
        return value


def _built(cls: Any, values: Mapping[str, Any]) -> Any:
    """An object with these fields, checked as a new one is."""
    if not issubclass(cls, eqx.Module):
        return cls(**values)
    made = object.__new__(cls)  # as JAX rebuilds modules: converters would change fields
    for name, value in values.items():
        object.__setattr__(made, name, value)
    for one in reversed(cls.__mro__):
        if "__check_init__" in vars(one):
            vars(one)["__check_init__"](made)
    return made
