"""Values of a TOML configuration: reading, and checks that name the key at fault."""

import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from syndigits_jax.results.names import near

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_KINDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a file, with `${NAME}` replaced by environment variables.

    **Raises:** `FileNotFoundError`; `ValueError`, which does not name the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not a TOML file in UTF-8 ({error})") from None
    return _expanded(content)


def check_keys(given: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """**Raises:** `ValueError` for an unknown key, with the nearest known one."""
    known = list(known)
    for key in given:
        if key not in known:
            raise ValueError(f"{where}unknown key `{key}`; {near(key, known)}")


def table(given: Any, where: str) -> dict[str, Any]:
    """A copy of a table. **Raises:** `ValueError` for anything else."""
    if not isinstance(given, Mapping):
        raise ValueError(f"{where}must be a table of keys and values, got {given!r}")
    return dict(given)


def required(given: dict[str, Any], key: str, where: str) -> str:
    """Remove a text from a table and return it. **Raises:** `ValueError` if absent or no text."""
    if key not in given:
        raise ValueError(f"{where}no `{key}`")
    value = given.pop(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{where}`{key}` must be text, got {value!r}")
    return value


def typed(value: Any, hint: Any, key: str, where: str, folder: Path) -> Any:
    """A value converted to a type.

    **Arguments:** `value`: from a TOML file; `hint`: the type; `key`, `where`: the value's place,
    for error messages; `folder`: the folder to which paths are relative.

    **Raises:** `ValueError` naming the key.
    """
    if hint in (tuple[str, ...], Sequence[str]):
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise ValueError(f"{where}`{key}` must be a list of texts, got {value!r}")
    wanted = (set(get_args(hint)) or {hint}) - {NoneType}
    if wanted & {Path, os.PathLike[str]}:
        if isinstance(value, str) and value:
            return folder / value
        raise ValueError(f"{where}`{key}` must be a path, got {value!r}")
    (wanted,) = wanted
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted in _KINDS and type(value) is not wanted:
        raise ValueError(f"{where}`{key}` must be {_KINDS[wanted]}, got {value!r}")
    return value


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
