"""What a pipeline is told: a TOML file, checked to the last key before anything is done.

    out = "out/survey"                 # folder of all that is made

    [questions]
    file = "questions.json"            # or a table of films or products, with `answers`
    blocks = ["Pricing"]               # or ask = ["Q1", "Q2"]; by default all

    [[personas]]                       # once, or once per condition
    kind = "survey"                    # a command of `syndigits personas`, or "file"
    answers = "human.csv"              # and that command's options

    [engine]
    kind = "vllm"                      # or "openai"
    model = "models/smollm2"           # and the engine's options

    [respond]
    template = "survey"
    readout = "probabilities"          # and what else `Decoding` has

    [calibrate]                        # or [fidelity], or both, or neither
    human = "human.csv"
    methods = ["ridge", { name = "elastic-net", alpha = 0.1 }]

    [fidelity]
    ratings = "ratings.csv"
    items = "items.csv"

Paths are relative to the file; `${NAME}` is the environment variable of that name. A part that is
not there is not done.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from syndigits_jax.respond.requests import Decoding
from syndigits_jax.respond.templates import Template, find_template
from syndigits_jax.studies.own_files import build_method

Part = TypeVar("Part")


@dataclass(frozen=True)
class QuestionSource:
    """`file`: questions, or items to be rated with `answers` ("stars" or "purchase"). Of these all,
    or those in `ask` (identifiers), or those of `blocks`."""

    file: Path
    ask: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    answers: str = ""


@dataclass(frozen=True)
class PersonaSource:
    """How one population of personas is made: `kind`, and `options` of that kind.

    `name`: of the condition, where there are several.
    """

    kind: str
    name: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EngineSource:
    """`kind`: "vllm" or "openai"; `options`: of that engine."""

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Calibrate:
    """`human`: the table of people's answers; `methods`: calibrators by name."""

    human: Path
    methods: Mapping[str, Any]
    id_column: str | None = None


@dataclass(frozen=True)
class Fidelity:
    """As the options of `syndigits fidelity`."""

    ratings: Path
    items: Path
    embeddings: Path | None = None
    epochs: int | None = None
    gap: float = 1.0
    control: str = "held_out"
    quick: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Pipeline:
    """A whole pipeline. `out`: the folder of all that it makes."""

    out: Path
    questions: QuestionSource
    personas: tuple[PersonaSource, ...]
    engine: EngineSource
    template: Template
    decoding: Decoding
    calibrate: Calibrate | None = None
    fidelity: Fidelity | None = None


def read_pipeline(path: str | PathLike[str]) -> Pipeline:
    """A pipeline from a TOML file, as this module describes.

    **Raises:** `FileNotFoundError`; `ValueError` naming the file, the part and the key.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a TOML file in UTF-8 ({error})") from None
    try:
        return _pipeline(_expanded(content), path.parent)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _expanded(value: Any) -> Any:
    """All texts with their environment variables put in."""
    if isinstance(value, dict):
        return {key: _expanded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_expanded(item) for item in value]
    return _VARIABLE.sub(_variable, value) if isinstance(value, str) else value


def _variable(found: re.Match[str]) -> str:
    if found[1] not in os.environ:
        raise ValueError(f"there is no environment variable {found[1]}")
    return os.environ[found[1]]


_VARIABLE = re.compile(r"\$\{(\w+)\}")
_PARTS = ("out", "questions", "personas", "engine", "respond", "calibrate", "fidelity")


def _pipeline(content: Mapping[str, Any], folder: Path) -> Pipeline:
    _known(content, _PARTS, "")
    for key in _PARTS[:5]:
        if key not in content:
            raise ValueError(f"no `{key}`" if key == "out" else f"no part [{key}]")
    if not isinstance(content["out"], str) or not content["out"]:
        raise ValueError(f"`out` must be a folder, got {content['out']!r}")
    questions = _part(QuestionSource, content["questions"], "[questions]", folder)
    if questions.ask and questions.blocks:
        raise ValueError("[questions]: `ask` and `blocks` exclude each other")
    template, decoding = _respond(_table(content["respond"], "[respond]"), folder)
    parts = {}
    if "calibrate" in content:
        parts["calibrate"] = _calibrate(_table(content["calibrate"], "[calibrate]"), folder)
    if "fidelity" in content:
        parts["fidelity"] = _part(Fidelity, content["fidelity"], "[fidelity]", folder)
    return Pipeline(
        out=folder / content["out"],
        questions=questions,
        personas=_personas(content["personas"], folder, calibrated="calibrate" in parts),
        engine=_engine(_table(content["engine"], "[engine]"), folder),
        template=template,
        decoding=decoding,
        **parts,
    )


def _personas(given: Any, folder: Path, *, calibrated: bool) -> tuple[PersonaSource, ...]:
    entries = given if isinstance(given, list) else [given]
    if not entries:
        raise ValueError("[[personas]]: there are none")
    sources = []
    for number, entry in enumerate(entries, 1):
        where = f"[[personas]] ({number} of {len(entries)})"
        entry = dict(_table(entry, where))
        kind = _required(entry, "kind", where)
        name = entry.pop("name", "" if len(entries) == 1 else kind)
        if not isinstance(name, str):
            raise ValueError(f"{where}: `name` must be text, got {name!r}")
        sources.append(PersonaSource(kind, name, _relative(entry, folder)))
    names = [source.name for source in sources]
    if len(set(names)) < len(names):
        raise ValueError(f"[[personas]]: names repeat ({', '.join(names)}); give each a `name`")
    if calibrated and len(sources) > 1:
        raise ValueError(
            "[calibrate]: twins are compared with people one by one, so there can be only one "
            f"[[personas]], not {len(sources)}"
        )
    return tuple(sources)


def _engine(given: Mapping[str, Any], folder: Path) -> EngineSource:
    given = dict(given)
    return EngineSource(_required(given, "kind", "[engine]"), _relative(given, folder))


def _respond(given: Mapping[str, Any], folder: Path) -> tuple[Template, Decoding]:
    given = dict(given)
    name = _required(given, "template", "[respond]")
    own = folder / name
    template = find_template(own if own.is_file() else name)
    hints = get_type_hints(Decoding)
    _known(given, tuple(hints), "[respond]")
    changes = {key: _typed(value, hints[key], key, "[respond]") for key, value in given.items()}
    try:
        return template, template.settings(**changes)
    except ValueError as error:
        raise ValueError(f"[respond]: {error}") from None


def _calibrate(given: Mapping[str, Any], folder: Path) -> Calibrate:
    given = dict(given)
    methods = given.pop("methods", ["ridge", "elastic-net", "synthetic-control"])
    if not isinstance(methods, list) or not methods:
        raise ValueError(f"[calibrate]: `methods` must be a list of names, got {methods!r}")
    built = {}
    for entry in methods:
        options = dict(entry) if isinstance(entry, dict) else {"name": entry}
        name = _required(options, "name", "[calibrate] methods")
        try:
            method = build_method(name, options)
        except (ValueError, TypeError) as error:
            raise ValueError(f"[calibrate]: method {name!r}: {error}") from None
        if type(method).__name__ in built:
            raise ValueError(f"[calibrate]: method {name!r} is there twice")
        built[type(method).__name__] = method
    return _part(Calibrate, {**given, "methods": built}, "[calibrate]", folder)


def _part(cls: type[Part], given: Any, where: str, folder: Path) -> Part:
    """A dataclass from a table: keys are known, required ones there, values of their types."""
    given = _table(given, where)
    hints = get_type_hints(cls)
    _known(given, tuple(hints), where)
    for one in fields(cls):  # pyright: ignore[reportArgumentType]
        absent = one.default is MISSING and one.default_factory is MISSING
        if absent and one.name not in given:
            raise ValueError(f"{where}: no `{one.name}`")
    values = {key: _typed(value, hints[key], key, where) for key, value in given.items()}
    for key, value in values.items():
        if isinstance(value, Path):
            values[key] = folder / value
    return cls(**values)


def _typed(value: Any, hint: Any, key: str, where: str) -> Any:
    if hint == tuple[str, ...]:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise ValueError(f"{where}: `{key}` must be a list of texts, got {value!r}")
    if hint in (Path, Path | None):
        if isinstance(value, str):
            return Path(value)
        raise ValueError(f"{where}: `{key}` must be a path, got {value!r}")
    kind = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    wanted = {int | None: int, str | None: str}.get(hint, hint)
    if wanted not in kind:
        return value
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise ValueError(f"{where}: `{key}` must be {kind[wanted]}, got {value!r}")
    return value


def _table(given: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise ValueError(f"{where} must be a table of keys and values, got {given!r}")
    return given


def _required(given: dict[str, Any], key: str, where: str) -> str:
    value = given.pop(key, None)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{where}: `{key}` must be text" + (f", got {value!r}" if value else ""))
    return value


def _known(given: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in given:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f"; did you mean `{close[0]}`?" if close else f"; it takes {', '.join(known)}"
            raise ValueError(f"{where + ': ' if where else ''}unknown key `{key}`{hint}")


def _relative(options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Texts that name a file or folder beside the configuration, as paths to it."""

    def path(value: Any) -> Any:
        there = isinstance(value, str) and value and (folder / value).exists()
        return str(folder / value) if there else value

    return {
        key: [path(item) for item in value] if isinstance(value, list) else path(value)
        for key, value in options.items()
    }
