"""A server's list of models, in any of several formats."""

from collections.abc import Mapping
from typing import Any

_LISTS = ("data", "models", "model_list")
_NAMES = ("id", "model", "name")


def served_models(said: Any) -> dict[str, Mapping[str, Any]]:
    """The models by each of their names, from a list or from an object that holds a list.

    An entry may be an object or a name.

    **Raises:** `ValueError` if there is no list.
    """
    if isinstance(said, Mapping):
        lists = [said[name] for name in _LISTS if name in said]
        if not lists:
            raise ValueError("its answer is no list of models")
        said = next((one for one in lists if one), [])
    if isinstance(said, Mapping):  # by their names
        said = [{"id": name, **(more if isinstance(more, Mapping) else {})}
                for name, more in said.items()]  # fmt: skip
    if not isinstance(said, list):
        raise ValueError("its answer is no list of models")
    found: dict[str, Mapping[str, Any]] = {}
    for entry in said:
        entry = {"id": entry} if isinstance(entry, str) else entry
        if isinstance(entry, Mapping):
            for name in _NAMES:
                if isinstance(entry.get(name), str) and entry[name]:
                    found.setdefault(entry[name].removeprefix("models/"), entry)
                    found.setdefault(entry[name], entry)
    return found


def first_names(served: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One name of each model."""
    seen: dict[int, str] = {}
    for name, entry in served.items():
        seen.setdefault(id(entry), name)
    return list(seen.values())
