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
    groups = ["sex", "age_class"]      # and weights: columns of that table that are no questions

    [fidelity]
    ratings = "ratings.csv"
    items = "items.csv"

Paths are relative to the file; `${NAME}` is replaced by the environment variable of that name. The
parts [calibrate] and [fidelity] are optional.

Some requests always fail, because of a prompt that is too long or a content filter, for example. If
at most the share `allow_missing` of the answers, and of the texts that a model writes for each
[[personas]], is missing after a call, the pipeline continues without them, and its report says so.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model

from syndigits_jax.respond.personas.writing import WRITING_TEMPLATES
from syndigits_jax.respond.prompts.templates import Template, find_template
from syndigits_jax.respond.requests import Decoding
from syndigits_jax.results.names import near
from syndigits_jax.workflows.personas import KINDS
from syndigits_jax.workflows.pipeline.config_values import (
    STRICT,
    Checked,
    File,
    MaybeFile,
    Text,
    Texts,
    field_type,
    read_toml,
)

FILE = "file"
"""The kind of personas that are read from a file as they are."""
_ENGINES = ("vllm", "openai")
_SAID = {"key": "seed"}  # parameters that have another name in the file
_WRITING = {"template": str, "temperature": float, "top_p": float, "max_tokens": int, "seed": int}


@dataclass(frozen=True)
class QuestionSource:
    """`file`: questions, or items to be rated on a `scale` ("stars" or "purchase"). Asked are those
    in `ask` (identifiers) or in the blocks `block`; all by default."""

    file: File
    ask: Texts = ()
    block: Texts = ()
    scale: str = ""

    def __post_init__(self):
        if self.ask and self.block:
            raise ValueError("`ask` and `block` exclude each other")


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
    """`human`: the table of people's answers; `weights`, `groups`: its columns of survey weights
    and of groups; `id_column`: the column of identifiers, by default the first; `missing`: what
    stands for a missing answer."""

    human: File
    weights: str | None = None
    groups: Texts = ()
    id_column: str | None = None
    missing: str = ""
    seed: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that are no questions."""
        return (*self.groups, *(() if self.weights is None else (self.weights,)))


@dataclass(frozen=True)
class Fidelity:
    """The options of `syndigits fidelity`."""

    ratings: File
    items: File
    embeddings: MaybeFile = None
    text_encoder: str = "auto"
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


class _Whole(BaseModel):
    model_config = STRICT

    out: Text
    questions: Any
    personas: Any
    engine: Any
    respond: Any
    calibrate: Any = None
    fidelity: Any = None


class _Engine(BaseModel):
    model_config = STRICT | ConfigDict(extra="allow")

    kind: Text
    model: Text


_CHANGES: dict[str, Any] = {
    name: (hint | None, None) for name, hint in get_type_hints(Decoding).items()
}
_RESPOND: Any = create_model(
    "_Respond",
    __config__=STRICT,
    template=(Text, ...),
    allow_missing=(float, 0.0),
    **_CHANGES,
)


def read_pipeline(path: str | PathLike[str]) -> Pipeline:
    """A pipeline from a TOML file, as this module describes.

    **Raises:** `FileNotFoundError`; `ValueError` naming the file and, of every mistake in it, the
    part and the key.
    """
    path = Path(path)
    try:
        return _pipeline(read_toml(path), path.parent)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _pipeline(content: dict[str, Any], folder: Path) -> Pipeline:
    checked = Checked(folder)
    checked.table(_Whole, content, "", tuple(_Whole.model_fields))
    parts: dict[str, Any] = {
        key: read(checked, content[key])
        for key, read in (
            ("questions", _questions),
            ("engine", _engine),
            ("respond", _respond),
            ("calibrate", _calibrate),
            ("fidelity", _fidelity),
        )
        if key in content
    }
    if "personas" in content:
        parts["personas"] = _personas(checked, content["personas"], "calibrate" in content)
    checked.refuse()
    template, decoding, allow_missing = parts.pop("respond")
    return Pipeline(
        out=folder / content["out"], template=template, decoding=decoding,
        allow_missing=allow_missing, **parts,
    )  # fmt: skip


def _questions(checked: Checked, given: Any) -> QuestionSource | None:
    return checked.record(QuestionSource, given, "[questions]: ")


def _fidelity(checked: Checked, given: Any) -> Fidelity | None:
    return checked.record(Fidelity, given, "[fidelity]: ")


def _calibrate(checked: Checked, given: Any) -> Calibrate | None:
    return checked.record(Calibrate, given, "[calibrate]: ")


def _personas(checked: Checked, given: Any, calibrated: bool) -> tuple[PersonaSource | None, ...]:
    entries = given if isinstance(given, list) else [given]
    if not entries:
        checked.faults.append("[[personas]]: there are none")
    if calibrated and len(entries) > 1:
        checked.faults.append(
            "[calibrate]: twins are compared with people one by one, so there can be only one "
            f"[[personas]], not {len(entries)}"
        )
    sources = []
    for number, entry in enumerate(entries, 1):
        several = len(entries) > 1
        place = f" ({number} of {len(entries)})" if several else ""
        sources.append(_population(checked, entry, f"[[personas]]{place}: ", several=several))
    names = [source.name for source in sources if source is not None]
    if len(set(names)) < len(names):
        checked.faults.append(
            f"[[personas]]: names repeat ({', '.join(names)}); give each a `name`"
        )
    return tuple(sources)


def _population(checked: Checked, given: Any, where: str, *, several: bool) -> PersonaSource | None:
    kind: Any = given.get("kind") if isinstance(given, Mapping) else None
    known = isinstance(kind, str) and (kind == FILE or kind in KINDS)
    if isinstance(kind, str) and kind and not known:
        checked.faults.append(f"{where}no `kind` {kind!r}; {near(kind, (FILE, *KINDS))}")
        return None
    fields = _fields(kind) if known else {}
    model: Any = create_model(
        "_Personas",
        __config__=STRICT if known else STRICT | ConfigDict(extra="allow"),
        kind=(Text, ...),
        name=(Text, str(kind) if several else ""),
        **fields,
    )
    found = checked.table(model, given, where, ("name", *fields))
    if found is None:
        return None
    values: dict[str, Any] = found.model_dump(include=found.model_fields_set - {"kind", "name"})
    writing = {key: values[key] for key in _WRITING if key in values}
    own = _fields(kind, with_writing=False)
    argument: dict[str, str] = {said: name for name, said in _SAID.items()}
    options: dict[str, Any] = {
        argument.get(key, key): value for key, value in values.items() if key in own
    }
    if kind not in WRITING_TEMPLATES:
        return PersonaSource(kind, found.name, options)
    name = writing.pop("template", WRITING_TEMPLATES[kind])
    template = checked.call(where, _template, name, checked.folder)
    if template is None:
        return None
    if template.answer_with != "text" or template.asks:
        checked.faults.append(
            f"{where}`template`: {template.name!r} asks a question; it writes no text"
        )
        return None
    decoding = checked.call(where, template.settings, **writing)
    if decoding is None:
        return None
    return PersonaSource(kind, found.name, options, (template, decoding))


def _fields(kind: str, *, with_writing: bool = True) -> dict[str, Any]:
    """The keys of a kind of personas with their types and defaults, for a model of them."""
    if kind == FILE:
        return {FILE: (File, ...)}
    hints = get_type_hints(KINDS[kind])
    fields: dict[str, Any] = {}
    for name, one in inspect.signature(KINDS[kind]).parameters.items():
        if name != "files":  # what has been read already is no key
            needed = one.default is inspect.Parameter.empty
            hint = int if name == "key" else field_type(hints[name])
            fields[_SAID.get(name, name)] = (hint, ... if needed else one.default)
    if with_writing and kind in WRITING_TEMPLATES:
        fields |= {name: (hint, None) for name, hint in _WRITING.items() if name not in fields}
    return fields


def _engine(checked: Checked, given: Any) -> EngineSource | None:
    found = checked.table(_Engine, given, "[engine]: ", tuple(_Engine.model_fields))
    if found is None:
        return None
    kind, model = found.kind, found.model
    if kind not in _ENGINES:
        checked.faults.append(f"[engine]: no `kind` {kind!r}; {near(kind, _ENGINES)}")
        return None
    # For vLLM, a folder relative to the file, or else a name; on a server, always a name.
    if kind == "vllm" and (checked.folder / model).exists():
        model = str(checked.folder / model)
    return EngineSource(kind, model, found.model_extra or {})


def _respond(checked: Checked, given: Any) -> tuple[Template, Decoding, float] | None:
    where = "[respond]: "
    found = checked.table(_RESPOND, given, where, tuple(_RESPOND.model_fields))
    if found is None:
        return None
    allowed = found.allow_missing
    if not 0 <= allowed < 1:
        checked.faults.append(
            f"{where}`allow_missing` must be a share from 0 to below 1, got {allowed:g}"
        )
    template = checked.call(where, _template, found.template, checked.folder)
    if template is None:
        return None
    if not template.asks:
        checked.faults.append(
            f"{where}`template`: {template.name!r} asks nothing; it writes personas"
        )
    changes = found.model_dump(exclude={"template", "allow_missing"})
    decoding = checked.call(where, template.settings, **changes)
    return None if decoding is None else (template, decoding, allowed)


def _template(name: str, folder: Path) -> Template:
    """A built-in template, or one from a file."""
    own = name.endswith(".toml") or "/" in name
    return find_template(folder / name if own else name)
