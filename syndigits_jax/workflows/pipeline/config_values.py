"""Values of a TOML configuration: read, validated by pydantic, and what is wrong said in words.

Pydantic finds all that is wrong in a table at once; here its findings become sentences that name
the part, the key and, for a key that is unknown, the nearest known one.
"""

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from pydantic import BeforeValidator, ConfigDict, ValidationError, create_model

from syndigits_jax.datasets.text_tables import parse_toml
from syndigits_jax.results.names import near

Record = TypeVar("Record")
STRICT = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)
"""Of all tables: no unknown keys, and a text is no number."""

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_WANTED = {"int": "a whole number", "float": "a number", "string": "text", "bool": "true or false"}
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")


def _inside(value: Any, info: Any) -> Path:
    if not isinstance(value, str) or not value:
        raise ValueError(f"`{info.field_name}` must be a path, got {value!r}")
    return (info.context or {})["folder"] / value


def _some_text(value: Any, info: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"`{info.field_name}` must be text, got {value!r}")
    return value


def _list_of_texts(value: Any, info: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"`{info.field_name}` must be a list of texts, got {value!r}")
    return tuple(value)


File = Annotated[Path, BeforeValidator(_inside)]
"""A path, relative to the folder of the configuration."""
MaybeFile = Annotated[Path | None, BeforeValidator(_inside)]
"""The same of a key that may be left out."""
Text = Annotated[str, BeforeValidator(_some_text)]
"""A text that is not empty."""
Texts = Annotated[tuple[str, ...], BeforeValidator(_list_of_texts)]
"""A list of texts."""


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a file, with `${NAME}` replaced by environment variables.

    **Raises:** `FileNotFoundError`; `ValueError`, which does not name the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    return _expanded(parse_toml(path.read_bytes()))


def field_type(hint: Any) -> Any:
    """The type of a key for a parameter of a function: paths are [`File`][], lists of texts
    [`Texts`][], others as they are."""
    if hint == Sequence[str]:
        return Texts
    kinds = set(get_args(hint) or {hint})
    if kinds & {Path, os.PathLike[str]}:
        return MaybeFile if NoneType in kinds else File
    return hint


class Checked:
    """Validates the tables of a configuration and collects what is wrong with them.

    **Arguments:** `folder`: the folder to which paths are relative.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.faults: list[str] = []

    def table(self, model: Any, given: Any, where: str, known: Sequence[str]) -> Any:
        """A table as an instance of a pydantic model; `None` where it is at fault.

        **Arguments:** `model`: the class; `given`: the content; `where`: its place, the
        beginning of messages; `known`: the keys that it may have.
        """
        if not isinstance(given, Mapping):
            self.faults.append(f"{where}must be a table of keys and values, got {given!r}")
            return None
        try:
            return model.model_validate(dict(given), context={"folder": self.folder})
        except ValidationError as error:
            self.faults += [f"{where}{_in_words(one, known)}" for one in error.errors()]
            return None

    def record(self, cls: type[Record], given: Any, where: str) -> Record | None:
        """A table as a dataclass, whose hints may be [`File`][], [`Text`][] and [`Texts`][]."""
        hints = get_type_hints(cls, include_extras=True)
        fields: dict[str, Any] = {
            one.name: (hints[one.name], ... if one.default is MISSING else one.default)
            for one in dataclasses.fields(cls)  # pyright: ignore[reportArgumentType]
        }
        model = create_model(cls.__name__, __config__=STRICT, **fields)
        found = self.table(model, given, where, tuple(fields))
        if found is None:
            return None
        return self.call(where, cls, **{name: getattr(found, name) for name in fields})

    def call(self, where: str, function: Any, *arguments: Any, **options: Any) -> Any:
        """The result of a function; `None`, and a fault, where it raises a `ValueError`."""
        try:
            return function(*arguments, **options)
        except ValueError as error:
            self.faults.append(f"{where}{error}")
            return None

    def refuse(self) -> None:
        """**Raises:** `ValueError` with all faults, if there are any."""
        if len(self.faults) == 1:
            raise ValueError(self.faults[0])
        if self.faults:
            listed = "; ".join(f"({i}) {fault}" for i, fault in enumerate(self.faults, 1))
            raise ValueError(f"{len(self.faults)} mistakes: {listed}")


def _in_words(error: Any, known: Sequence[str]) -> str:
    """A finding of pydantic, without the place of the table."""
    kind, key = error["type"], error["loc"][0] if error["loc"] else ""
    if kind == "missing":
        return f"no `{key}`"
    if kind in _UNKNOWN:
        return f"unknown key `{key}`; {near(str(key), known)}"
    if kind == "value_error":
        return str(error["ctx"]["error"])
    wanted = _WANTED.get(kind.removesuffix("_type").split("_")[0])
    said = f"must be {wanted}" if wanted else error["msg"]
    return f"`{key}` {said}, got {error['input']!r}"


def _expanded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _expanded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_expanded(item) for item in value]
    return _VARIABLE.sub(_variable, value) if isinstance(value, str) else value


def _variable(found: re.Match[str]) -> str:
    if found[1] not in os.environ:
        raise ValueError(f"there is no environment variable {found[1]}")
    return os.environ[found[1]]
