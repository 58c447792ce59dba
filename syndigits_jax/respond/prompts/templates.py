"""Prompt templates as versioned data: the built-in ones, and users' own TOML files.

A template is a chat with slots in braces, a name, a version and a hash of its content, so that
stored answers identify exactly what was asked. A template is added as a TOML file:

    name = "my-survey"
    version = "1"
    source = "Written for the pilot study."
    answer_with = "value"              # or "letter", "label", "text"

    [decoding]                         # defaults, as in `Decoding`
    temperature = 0.0
    max_tokens = 8
    readout = "text"

    [[messages]]
    role = "system"
    content = "You are the following person. {persona}"

    [[messages]]
    role = "user"
    content = \"\"\"
    {question}
    {options}
    Respond with one number, {option_range}.\"\"\"

Slots are listed in [`render`][syndigits_jax.respond.prompts.render]; `{{` and `}}` are literal
braces. Optional keys: `marker` (for example `"Answer:"`) if the model writes freely first and its
answer follows that marker; `scale` (`low`, `high`, `step`) if the wording itself names the scale.

Two of the strategies of SYN-DIGITS, Table 3, are not templates: *predicted output* is a feature of
OpenAI's service that returns the same answers faster, and the *fine-tuned* construction asks
another model with the same wording. Temperature 0.7 is a decoding setting; text, JSON, demographics
and summaries are texts of personas.

Templates are checked here rather than by a library: most checks are of what texts contain (slots,
braces, control tokens), and they are the same for a template that is made in Python.
"""

import functools
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from ...datasets.text_tables import parse_toml
from ...results.names import nearest
from ...schema import Scale
from ..requests import READOUTS, Decoding, Message
from .control_tokens import find_control_token

ANSWERS_WITH = ("value", "letter", "label", "text")
"""What a model answers with: the option's number, a letter by the position shown, the option's
label, or free text that is not an answer on a scale (a persona, a summary)."""

ROLES = ("system", "user", "assistant")
QUESTION_SLOTS = ("question", "options", "options_list", "option_range")
"""Slots that the question fills."""
ITEM_SLOTS = ("title", "genre", "tags", "category", "description")
"""Slots that the fields of a rated item fill."""
PERSONA_SLOTS = ("persona", "profile", "history", "attributes")
"""Slots that the persona fills; any other name is one of the persona's attributes or, failing
that, a further field of the item."""

SLOT = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")
_DECODING = {"temperature": float, "top_p": float, "max_tokens": int, "readout": str}
_KEYS = {
    "name": str,
    "version": str,
    "source": str,
    "answer_with": str,
    "messages": list,
    "decoding": dict,
    "marker": str,
    "scale": dict,
}
_REQUIRED = ("name", "version", "source", "answer_with", "messages")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_BUILTIN = Path(__file__).parent / "builtin_templates"


@dataclass(frozen=True)
class Template:
    """A prompt with slots.

    **Arguments:**

    - `name`, `version`: letters, digits, `-`, `_`, `.`.
    - `source`: the origin of the wording.
    - `messages`: the chat; the last message is the user's.
    - `answer_with`: one of [`ANSWERS_WITH`][].
    - `decoding`: defaults of `temperature`, `top_p`, `max_tokens` and `readout`.
    - `marker`: if not empty, the model writes freely first, and its answer follows this text.
    - `scale`: the scale that the wording names; `None` to use the question's own.

    **Raises:** `ValueError` naming the argument.

    **Example:**

        >>> from syndigits_jax.respond import Message, Template
        >>> message = Message("user", "{persona} {question} {options} Answer {option_range}.")
        >>> template = Template("pilot", "1", "Written for a pilot study.", (message,))
        >>> print(template.slots)
        ('persona', 'question', 'options', 'option_range')
    """

    name: str
    version: str
    source: str
    messages: tuple[Message, ...]
    answer_with: str = "value"
    decoding: Mapping[str, Any] = field(default_factory=dict)
    marker: str = ""
    scale: Scale | None = None

    def __post_init__(self):
        for key in ("name", "version"):
            if not _NAME.fullmatch(getattr(self, key)):
                raise ValueError(
                    f"`{key}` must be letters, digits, '-', '_' or '.', got {getattr(self, key)!r}"
                )
        if self.answer_with not in ANSWERS_WITH:
            raise ValueError(
                f"`answer_with` must be one of {ANSWERS_WITH}, got {self.answer_with!r}"
            )
        if not self.messages:
            raise ValueError("`messages` is empty: a template needs at least a user's message")
        messages = tuple(Message(m.role, _normal(m.content)) for m in self.messages)
        object.__setattr__(self, "messages", messages)
        object.__setattr__(self, "decoding", _decoding(self.decoding))
        for number, message in enumerate(messages, 1):
            _check_message(message, f"`messages` ({number} of {len(messages)})")
        if messages[-1].role != "user":
            raise ValueError(
                f"`messages`: the last one must be the user's, which the model answers; its role "
                f"is {messages[-1].role!r}"
            )
        readout = self.settings().readout
        if readout not in self.readouts:
            raise ValueError(
                f"`decoding`: read-out {readout!r} reads the first words, but the answer is "
                + ("free text" if self.answer_with == "text" else f"behind {self.marker!r}")
                + "; it must be 'text'"
            )

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of all slots, in order of first appearance."""
        found = (name for m in self.messages for name in SLOT.findall(m.content) if name)
        return tuple(dict.fromkeys(found))

    @functools.cached_property
    def hash(self) -> str:
        """SHA-256 (hexadecimal) of everything that affects what is asked or how the answer is read:
        name, version, messages, `answer_with`, marker and scale. Source and decoding defaults are
        not included."""
        scale = self.scale
        content = {
            "name": self.name,
            "version": self.version,
            "answer_with": self.answer_with,
            "messages": [[m.role, m.content] for m in self.messages],
            "marker": self.marker,
            "scale": None if scale is None else [scale.low, scale.high, scale.step],
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def asks(self) -> bool:
        """Whether the template asks a question; templates that write a persona do not."""
        return any(name in QUESTION_SLOTS or name in ITEM_SLOTS for name in self.slots)

    @property
    def prefix_slots(self) -> tuple[str, ...]:
        """The slots before the first one that the question fills. Prompts of one persona are equal
        up to that slot, so an engine computes this part once. An exception are `{history}` and
        `{profile}`, which leave out what is asked, if the persona has answered the question.
        """
        names = self.slots
        for position, name in enumerate(names):
            if name in QUESTION_SLOTS or name in ITEM_SLOTS:
                return names[:position]
        return names

    @property
    def readouts(self) -> tuple[str, ...]:
        """The possible read-outs: only `"text"` if the model writes before it answers."""
        return ("text",) if self.marker or self.answer_with == "text" else READOUTS

    def settings(self, **changes: Any) -> Decoding:
        """This template's decoding, with `changes` (fields of [`Decoding`][]; `None` is ignored).

        The read-out `"sample"` has temperature 1 unless another is given.

        **Raises:** `ValueError` as `Decoding` does.
        """
        given = {key: value for key, value in changes.items() if value is not None}
        try:
            settings: dict[str, Any] = {"readout": self.readouts[0]} | dict(self.decoding) | given
            # A template's temperature of 0 only applies to its own read-out.
            own = dict(self.decoding) if self.decoding.get("readout") == "sample" else {}
            if settings["readout"] == "sample" and "temperature" not in own | given:
                settings["temperature"] = settings.get("temperature") or 1.0
            return Decoding(**settings)
        except TypeError as error:
            raise ValueError(f"`decoding`: {error}") from None


def read_template(path: str | PathLike[str]) -> Template:
    """A template from a TOML file, as this module describes.

    **Raises:** `FileNotFoundError` if there is no such file; `ValueError` naming the file, the key
    and the likely mistake.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        content = parse_toml(path.read_bytes())
    except ValueError as error:
        raise ValueError(f'{path}: {error}; texts go in quotes, long ones in three: """') from None
    try:
        return _template(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


@functools.cache
def list_templates() -> tuple[Template, ...]:
    """The built-in templates, by name and version.

    **Example:**

        >>> from syndigits_jax.respond import list_templates
        >>> print("survey" in {template.name for template in list_templates()})
        True
    """
    found = [read_template(path) for path in _BUILTIN.glob("*.toml")]
    return tuple(sorted(found, key=_age))


def find_template(name_or_path: str | PathLike[str]) -> Template:
    """A built-in template by name (its latest version) or `name@version`, or a file by its path.

    **Raises:** `ValueError` listing the built-in templates if there is no such name; for a path
    (with a folder, or ending in `.toml`) as [`read_template`][] does.

    **Example:**

        >>> from syndigits_jax.respond import find_template
        >>> template = find_template("survey")
        >>> print(template.slots, template.asks)
        ('profile', 'question', 'options', 'option_range') True
    """
    name = str(name_or_path)
    if isinstance(name_or_path, PathLike) or name.endswith(".toml") or re.search(r"[/\\]", name):
        return read_template(name_or_path)
    wanted, _, version = name.partition("@")
    found = [t for t in list_templates() if t.name == wanted and version in ("", t.version)]
    if not found:
        names = tuple(dict.fromkeys(t.name for t in list_templates()))
        raise ValueError(
            f"`template`: no built-in template {name!r}{_near(wanted, names)}; there are "
            f"{', '.join(names)}; a file of your own ends in .toml"
        )
    return found[-1]


def template_text(name_or_path: str | PathLike[str]) -> str:
    """The TOML text of a template, to start one's own from; named as for [`find_template`][].

    **Raises:** as [`find_template`][] does.

    **Example:**

        >>> from syndigits_jax.respond import template_text
        >>> print(template_text("survey").splitlines()[0])
        name = "survey"
    """
    template = find_template(name_or_path)
    for path in _BUILTIN.glob("*.toml"):
        if read_template(path) == template:
            return path.read_text(encoding="utf-8")
    return Path(name_or_path).read_text(encoding="utf-8")


def _template(content: Mapping[str, Any]) -> Template:
    for key, value in content.items():
        if key not in _KEYS:
            raise ValueError(f"unknown key `{key}`{_near(key, tuple(_KEYS))}")
        if not isinstance(value, _KEYS[key]):
            hint = "; put it in quotes" if _KEYS[key] is str else ""
            if key == "messages":
                hint = "; each message begins with a line [[messages]]"
            raise ValueError(f"`{key}` is {type(value).__name__}, not {_KEYS[key].__name__}{hint}")
    for key in _REQUIRED:
        if key not in content:
            raise ValueError(f"no key `{key}` (keys after a line in brackets belong to that part)")
    messages = []
    for number, message in enumerate(content["messages"], 1):
        where = f"`messages` ({number} of {len(content['messages'])})"
        if not isinstance(message, dict):
            raise ValueError(f"{where}: needs a `role` and a `content`, got {message!r}")
        for key in message:
            if key not in ("role", "content"):
                raise ValueError(f"{where}: unknown key `{key}`; it takes `role` and `content`")
        for key in ("role", "content"):
            if not isinstance(message.get(key), str):
                raise ValueError(f"{where}: no text `{key}`")
        messages.append(Message(message["role"], message["content"]))
    scale = None
    if "scale" in content:
        scale = _scale(content["scale"])
    rest = {key: content[key] for key in content if key not in ("messages", "scale")}
    return Template(messages=tuple(messages), scale=scale, **rest)


def _decoding(given: Mapping[str, Any]) -> dict[str, Any]:
    checked = {}
    for key, value in given.items():
        if key not in _DECODING:
            raise ValueError(f"`decoding` has no {key!r}{_near(key, tuple(_DECODING))}")
        kind = _DECODING[key]
        if kind is float and type(value) is int:
            value = float(value) if abs(value) < 10**300 else math.inf
        if type(value) is not kind:
            name = {float: "a number", int: "a whole number", str: "a text"}[kind]
            raise ValueError(f"`decoding`: `{key}` must be {name}, got {value!r}")
        checked[key] = value
    return checked


def _scale(given: Mapping[str, Any]) -> Scale:
    for key in given:
        if key not in ("low", "high", "step"):
            raise ValueError(f"`scale` has no {key!r}; it takes `low`, `high` and `step`")
    for key in ("low", "high"):
        if key not in given:
            raise ValueError(f"`scale` needs `{key}`")
    if any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in given.values()):
        raise ValueError(f"`scale` takes numbers, without quotes, got {dict(given)}")
    return Scale(**given)


def _check_message(message: Message, where: str) -> None:
    if message.role not in ROLES:
        raise ValueError(f"{where}: `role` must be one of {ROLES}, got {message.role!r}")
    if not message.content:
        raise ValueError(f"{where}: `content` is empty")
    rest = SLOT.sub("", message.content)
    brace = re.search(r"[{}]", rest)
    if brace:
        near = rest[max(0, brace.start() - 20) : brace.start() + 20]
        raise ValueError(
            f"{where}: a brace that belongs to no slot, near {near!r}; slots are one word in "
            "braces, and literal braces are doubled: {{ and }}"
        )
    token = find_control_token(message.content)
    if token is not None:
        raise ValueError(
            f"{where}: contains the control token {token!r}; roles are marked by the model's own "
            "chat template: write plain text"
        )


def _normal(content: str) -> str:
    """The text without differences in line ends and surrounding space."""
    return content.replace("\r\n", "\n").replace("\r", "\n").strip()


def _near(name: str, names: tuple[str, ...]) -> str:
    close = nearest(name, names)
    return f"; did you mean {close[0]!r}?" if close else ""


def _age(template: Template) -> tuple[str, tuple[tuple[int, str], ...]]:
    parts = re.findall(r"\d+|[^\d.]+", template.version)
    return template.name, tuple((int(p), "") if p.isdigit() else (-1, p) for p in parts)
