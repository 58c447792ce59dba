"""The configuration of a pipeline: a TOML file, which is checked completely before any work.

    out = "out/survey"                 # folder for all results

    [questions]
    file = "questions.json"            # or a table of films or products, with `scale`
    block = ["Pricing"]                # or ask = ["Q1", "Q2"]; by default all

    [[personas]]                       # once, or once per condition
    kind = "survey"                    # a command of `syndigits personas`, or "file"
    human = "human.csv"                # and other options of that command

    [engine]
    kind = "vllm"                      # or "openai"
    model = "models/smollm2"           # and other options of the engine

    [respond]
    template = "survey"
    readout = "probabilities"          # and other fields of `Decoding`
    allow_missing = 0.05               # go on without this share of responses; by default 0

    [calibrate]                        # or [fidelity], or both, or neither
    human = "human.csv"
    missing = "refused,-99"            # what stands for a missing answer beside empty cells
    methods = ["ridge", { name = "elastic-net", alpha = 0.1 }]

    [fidelity]
    ratings = "ratings.csv"
    items = "items.csv"

Paths are relative to the file; `${NAME}` is replaced by the environment variable of that name. The
parts [calibrate] and [fidelity] are optional.

Some requests always fail, because of a prompt that is too long or a content filter, for example. If
at most the share `allow_missing` of the answers, and of the texts that a model writes for each
[[personas]], is missing after a call, the pipeline continues without them, and its report says so.
"""

import dataclasses
import inspect
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from syndigits_jax import calibration
from syndigits_jax.respond.personas.writing import WRITING_TEMPLATES
from syndigits_jax.respond.prompts.templates import Template, find_template
from syndigits_jax.respond.requests import Decoding
from syndigits_jax.results.names import method_name, near
from syndigits_jax.workflows.calibrate import AUTO, HYPERPARAMETERS, build_method
from syndigits_jax.workflows.personas import KINDS
from syndigits_jax.workflows.pipeline.config_values import (
    check_keys,
    read_toml,
    required,
    table,
    typed,
)

Part = TypeVar("Part")
FILE = "file"
"""The kind of personas that are read from a file as they are."""
_ENGINES = ("vllm", "openai")
_ALLOW = "allow_missing"
_WRITING = {"template": str, "temperature": float, "top_p": float, "max_tokens": int, "seed": int}


@dataclass(frozen=True)
class QuestionSource:
    """`file`: questions, or items to be rated on a `scale` ("stars" or "purchase"). Asked are those
    in `ask` (identifiers) or in the blocks `block`; all by default."""

    file: Path
    ask: tuple[str, ...] = ()
    block: tuple[str, ...] = ()
    scale: str = ""


@dataclass(frozen=True)
class PersonaSource:
    """How one population of personas is made: its `kind`, and `options` of the function for it.

    `name`: of the condition, if there are several. `writing`: the template and the decoding with
    which a model writes the texts; `None` if it does not.
    """

    kind: str
    name: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    writing: tuple[Template, Decoding] | None = None

    @property
    def title(self) -> str:
        """The name for messages: `name`, or else `kind`."""
        return self.name or self.kind


@dataclass(frozen=True)
class EngineSource:
    """`kind`: "vllm" or "openai"; `model`: its name or folder; `options`: further settings."""

    kind: str
    model: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Calibrate:
    """`human`: the table of people's answers; `methods`: calibrators by name; `id_column`: the
    column of identifiers, by default the first; `missing`: what stands for a missing answer."""

    human: Path
    methods: Mapping[str, Any]
    id_column: str | None = None
    missing: str = ""


@dataclass(frozen=True)
class Fidelity:
    """The options of `syndigits fidelity`."""

    ratings: Path
    items: Path
    embeddings: Path | None = None
    epochs: int | None = None
    gap: float = 1.0
    control: str = "held_out"
    quick: bool = False
    seed: int = 0
    missing: str = ""


@dataclass(frozen=True)
class Pipeline:
    """A whole pipeline. `out`: the folder for all results; `allow_missing`: the largest share of
    missing responses, at least 0 and below 1, with which it continues."""

    out: Path
    questions: QuestionSource
    personas: tuple[PersonaSource, ...]
    engine: EngineSource
    template: Template
    decoding: Decoding
    calibrate: Calibrate | None = None
    fidelity: Fidelity | None = None
    allow_missing: float = 0.0


def read_pipeline(path: str | PathLike[str]) -> Pipeline:
    """A pipeline from a TOML file, as this module describes.

    **Raises:** `FileNotFoundError`; `ValueError` naming the file, the part and the key.
    """
    path = Path(path)
    try:
        return _pipeline(read_toml(path), path.parent)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


_PARTS = ("out", "questions", "personas", "engine", "respond", "calibrate", "fidelity")


def _pipeline(content: dict[str, Any], folder: Path) -> Pipeline:
    check_keys(content, _PARTS, "")
    for key in _PARTS[:5]:
        if key not in content:
            raise ValueError(f"no `{key}`" if key == "out" else f"no part [{key}]")
    out = required(content, "out", "")
    questions = _part(QuestionSource, content["questions"], "[questions]: ", folder)
    if questions.ask and questions.block:
        raise ValueError("[questions]: `ask` and `block` exclude each other")
    template, decoding, allow_missing = _respond(table(content["respond"], "[respond]: "), folder)
    parts = {}
    if "calibrate" in content:
        parts["calibrate"] = _calibrate(table(content["calibrate"], "[calibrate]: "), folder)
    if "fidelity" in content:
        parts["fidelity"] = _part(Fidelity, content["fidelity"], "[fidelity]: ", folder)
    return Pipeline(
        out=folder / out,
        questions=questions,
        personas=_personas(content["personas"], folder, calibrated="calibrate" in parts),
        engine=_engine(table(content["engine"], "[engine]: "), folder),
        template=template,
        decoding=decoding,
        allow_missing=allow_missing,
        **parts,
    )


def _personas(given: Any, folder: Path, *, calibrated: bool) -> tuple[PersonaSource, ...]:
    entries = given if isinstance(given, list) else [given]
    if not entries:
        raise ValueError("[[personas]]: there are none")
    if calibrated and len(entries) > 1:
        raise ValueError(
            "[calibrate]: twins are compared with people one by one, so there can be only one "
            f"[[personas]], not {len(entries)}"
        )
    sources = []
    for number, entry in enumerate(entries, 1):
        where = f"[[personas]] ({number} of {len(entries)}): " if len(entries) > 1 else ""
        where = where or "[[personas]]: "
        sources.append(_population(table(entry, where), where, folder, several=len(entries) > 1))
    names = [source.name for source in sources]
    if len(set(names)) < len(names):
        raise ValueError(f"[[personas]]: names repeat ({', '.join(names)}); give each a `name`")
    return tuple(sources)


def _population(given: dict[str, Any], where: str, folder: Path, *, several: bool) -> PersonaSource:
    kind = required(given, "kind", where)
    if kind != FILE and kind not in KINDS:
        raise ValueError(f"{where}no `kind` {kind!r}; {near(kind, (FILE, *KINDS))}")
    name = kind if several else ""
    if "name" in given:
        name = required(given, "name", where)
    builder = {FILE: Path} if kind == FILE else get_type_hints(KINDS[kind])
    for key in ("return", "files"):
        builder.pop(key, None)
    writing = _WRITING if kind in WRITING_TEMPLATES else {}
    check_keys(given, (*builder, *writing), where)
    values = {
        key: typed(value, (builder | writing)[key], key, where, folder)
        for key, value in given.items()
    }
    needed = (FILE,) if kind == FILE else _without_default(KINDS[kind])
    for key in needed:
        if key not in values:
            raise ValueError(f"{where}no `{key}`")
    options = {key: value for key, value in values.items() if key in builder}
    if not writing:
        return PersonaSource(kind, name, options)
    template = _template(values.pop("template", WRITING_TEMPLATES[kind]), where, folder)
    if template.answer_with != "text" or template.asks:
        raise ValueError(f"{where}`template`: {template.name!r} asks a question; it writes no text")
    decoding = {key: value for key, value in values.items() if key in writing}
    return PersonaSource(kind, name, options, (template, _settings(template, decoding, where)))


def _without_default(builder: Any) -> tuple[str, ...]:
    parameters = inspect.signature(builder).parameters.values()
    return tuple(one.name for one in parameters if one.default is inspect.Parameter.empty)


def _engine(given: dict[str, Any], folder: Path) -> EngineSource:
    kind, model = (required(given, key, "[engine]: ") for key in ("kind", "model"))
    if kind not in _ENGINES:
        raise ValueError(f"[engine]: no `kind` {kind!r}; {near(kind, _ENGINES)}")
    # For vLLM, a folder relative to the file, or else a name; on a server, always a name.
    if kind == "vllm" and (folder / model).exists():
        model = str(folder / model)
    return EngineSource(kind, model, given)


def _respond(given: dict[str, Any], folder: Path) -> tuple[Template, Decoding, float]:
    where = "[respond]: "
    name = required(given, "template", where)
    hints = get_type_hints(Decoding) | {_ALLOW: float}
    check_keys(given, hints, where)
    changes = {key: typed(value, hints[key], key, where, folder) for key, value in given.items()}
    allowed = changes.pop(_ALLOW, 0.0)
    if not 0 <= allowed < 1:
        raise ValueError(f"{where}`{_ALLOW}` must be a share from 0 to below 1, got {allowed:g}")
    template = _template(name, where, folder)
    if not template.asks:
        raise ValueError(f"{where}`template`: {template.name!r} asks nothing; it writes personas")
    return template, _settings(template, changes, where), allowed


def _template(name: str, where: str, folder: Path) -> Template:
    """A built-in template, or one from a file."""
    try:
        own = name.endswith(".toml") or "/" in name
        return find_template(folder / name if own else name)
    except ValueError as error:
        raise ValueError(f"{where}{error}") from None


def _settings(template: Template, changes: Mapping[str, Any], where: str) -> Decoding:
    try:
        return template.settings(**changes)
    except ValueError as error:
        raise ValueError(f"{where}{error}") from None


def _calibrate(given: dict[str, Any], folder: Path) -> Calibrate:
    where = "[calibrate]: "
    methods = given.pop("methods", ["ridge", "elastic-net", "synthetic-control"])
    if not isinstance(methods, list) or not methods:
        raise ValueError(f"{where}`methods` must be a list of names, got {methods!r}")
    built = {}
    for entry in methods:
        options = dict(entry) if isinstance(entry, dict) else {"name": entry}
        name = required(options, "name", f"{where}`methods`: ")
        method = _method(name, options, where)
        if type(method).__name__ in built:
            raise ValueError(f"{where}`methods`: {name!r} is there twice")
        built[type(method).__name__] = method
    return _part(Calibrate, {**given, "methods": built}, where, folder)


def _method(name: str, options: Mapping[str, Any], where: str) -> Any:
    where = f"{where}`methods`: {name}: "
    try:
        cls = getattr(calibration, method_name(name))
    except ValueError as error:
        raise ValueError(f"{where}{error}") from None
    known = [one.name for one in dataclasses.fields(cls) if one.name in HYPERPARAMETERS]
    check_keys(options, known, where)
    if AUTO in options.values():
        raise ValueError(f"{where}{AUTO!r} is for `syndigits calibrate`; give a number")
    try:
        return build_method(name, options)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}{error}") from None


def _part(cls: type[Part], given: Any, where: str, folder: Path) -> Part:
    """A dataclass from a table, after checks of unknown and required keys and of types."""
    given = table(given, where)
    hints = get_type_hints(cls)
    check_keys(given, hints, where)
    for one in dataclasses.fields(cls):  # pyright: ignore[reportArgumentType]
        absent = one.default is MISSING and one.default_factory is MISSING
        if absent and one.name not in given:
            raise ValueError(f"{where}no `{one.name}`")
    values = {
        # Methods are already built.
        key: value if key == "methods" else typed(value, hints[key], key, where, folder)
        for key, value in given.items()
    }
    return cls(**values)
