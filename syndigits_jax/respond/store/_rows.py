"""The tables of a response store, and the types of their rows."""

import math
import operator
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...schema import Persona, Question

TABLES = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, template TEXT NOT NULL,
    template_version TEXT NOT NULL, template_hash TEXT NOT NULL, model TEXT NOT NULL,
    settings TEXT NOT NULL
);
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs, engine TEXT NOT NULL,
    engine_version TEXT NOT NULL, package_version TEXT NOT NULL, started REAL NOT NULL
);
CREATE TABLE personas (
    id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, identifier TEXT NOT NULL,
    content TEXT NOT NULL
);
CREATE TABLE questions (
    id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, identifier TEXT NOT NULL,
    content TEXT NOT NULL
);
CREATE TABLE grids (
    run INTEGER NOT NULL REFERENCES runs, kind TEXT NOT NULL, position INTEGER NOT NULL,
    id INTEGER NOT NULL, PRIMARY KEY (run, kind, position)
) WITHOUT ROWID;
CREATE TABLE answers (
    run INTEGER NOT NULL REFERENCES runs, question INTEGER NOT NULL REFERENCES questions,
    answers TEXT NOT NULL, PRIMARY KEY (run, question)
) WITHOUT ROWID;
CREATE TABLE responses (
    run INTEGER NOT NULL REFERENCES runs, persona INTEGER NOT NULL REFERENCES personas,
    question INTEGER NOT NULL REFERENCES questions, shown TEXT NOT NULL, draw INTEGER NOT NULL,
    session INTEGER NOT NULL REFERENCES sessions, text TEXT NOT NULL, value REAL,
    status TEXT NOT NULL, probabilities BLOB, outside REAL, finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL, time REAL NOT NULL,
    PRIMARY KEY (run, persona, question, shown, draw)
) WITHOUT ROWID;
"""


class StoreError(RuntimeError):
    """The store cannot be written, is damaged, or was moved while open; the message states which
    answers are safe and what to do."""


class Response(NamedTuple):
    """One answer, as a row of the table `responses`.

    `run`, `persona`, `question` and `session` are numbers of rows in other tables. Runs are
    identified by a hash of template, model and decoding settings; personas and questions by a hash
    of their whole content. The key of a response is (`run`, `persona`, `question`, `shown`,
    `draw`), where `shown` is the order in which options were shown ("": their own).
    `probabilities` are float32, one per answer (table `answers`), renormalised; `outside` is the
    probability of anything else. `time`: seconds since 1970.
    """

    run: int
    persona: int
    question: int
    shown: str
    draw: int
    session: int
    text: str
    value: float | None
    status: str
    probabilities: bytes | None
    outside: float | None
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    time: float


INSERT = (
    f"INSERT INTO responses VALUES ({', '.join('?' * len(Response._fields))}) "
    "ON CONFLICT (run, persona, question, shown, draw) DO NOTHING"
)


def counted(answers: int) -> str:
    """A number of answers as text: `1 answer`, `2 answers`."""
    return f"{answers} answer{'s' * (answers != 1)}"


def storable(response: Response) -> Response:
    """`response` with plain integers, floats, text and bytes, which SQLite stores exactly.

    **Raises:** `ValueError` naming a field that the table cannot hold.
    """
    return Response(*map(_storable, Response._fields, response, _KINDS))


def _storable(name: str, value: Any, kind: str) -> Any:
    try:
        if kind == "integer":
            number = operator.index(value)
            if -(2**63) <= number < 2**63:
                return number
        elif kind == "text":
            if isinstance(value, str):
                value.encode("utf-8")
                return str(value)
        elif value is None:
            if kind.startswith("optional"):
                return None
        elif kind == "optional bytes":
            if isinstance(value, bytes | bytearray | memoryview):
                return bytes(value)
        else:
            number = float(value)
            if kind != "number" or not math.isnan(number):
                return None if math.isnan(number) else number
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"`{name}` of a response must be {_NEEDS[kind]}, got {value!r:.100}")


_KINDS = (
    "integer", "integer", "integer", "text", "integer", "integer", "text", "optional number",
    "text", "optional bytes", "optional number", "text", "integer", "integer", "integer", "number",
)  # fmt: skip
_NEEDS = {
    "integer": "an integer of at most 64 bits",
    "text": "text without unpaired surrogates",
    "optional number": "a number or None",
    "optional bytes": "bytes or None",
    "number": "a number",
}


@dataclass(frozen=True)
class Run:
    """What all responses of a run share: the template, the model and the decoding settings."""

    id: int
    template: str
    template_version: str
    template_hash: str
    model: str
    settings: dict[str, Any]

    @property
    def readout(self) -> str:
        """The read-out: one of [`READOUTS`][syndigits_jax.respond.READOUTS]."""
        return self.settings["readout"]

    def __str__(self) -> str:
        rest = ", ".join(f"{k} {v}" for k, v in self.settings.items() if k != "readout")
        return (
            f"{self.template} {self.template_version} ({self.template_hash[:8]}), "
            f"model {self.model}, readout {self.readout}" + (f", {rest}" if rest else "")
        )


@dataclass(frozen=True)
class Grid:
    """Personas and questions by their numbers in the store, in order; and, by question number, the
    [value, words] of each answer, in the order of the stored probabilities."""

    personas: dict[int, Persona]
    questions: dict[int, Question]
    answers: dict[int, list[list[Any]]]
