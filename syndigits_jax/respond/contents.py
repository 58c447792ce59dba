"""Personas, questions and settings as they are stored: JSON, and hashes of all their content."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ..schema import Option, Persona, Question, Scale
from .requests import Decoding


def content_hash(content: str) -> bytes:
    """A 128-bit BLAKE2b digest of the text."""
    return hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def persona_json(persona: Persona) -> str:
    """All fields of a persona as JSON with sorted keys."""
    return _canonical(
        {
            "identifier": persona.identifier,
            "text": persona.text,
            "attributes": {str(k): str(v) for k, v in persona.attributes.items()},
            "answers": {str(k): str(v) for k, v in persona.answers.items()},
        }
    )


def persona_from_json(text: str) -> Persona:
    """The inverse of [`persona_json`][]."""
    return Persona(**json.loads(text))


def question_json(question: Question) -> str:
    """All fields of a question as JSON with sorted keys."""
    scale = question.scale
    return _canonical(
        {
            "identifier": question.identifier,
            "text": question.text,
            "options": [[option.value, option.label] for option in question.options],
            "scale": scale and [scale.low, scale.high, scale.step, scale.kind],
            "refusal": None if question.refusal is None else float(question.refusal),
            "reverse_coded": question.reverse_coded,
            "block": question.block,
            "item": {str(k): str(v) for k, v in question.item.items()},
        }
    )


def question_from_json(text: str) -> Question:
    """The inverse of [`question_json`][]."""
    fields = json.loads(text)
    fields["options"] = tuple(Option(*option) for option in fields["options"])
    fields["scale"] = fields["scale"] and Scale(*fields["scale"])
    return Question(**fields)


def settings_json(decoding: Decoding) -> str:
    """The settings that can change an answer, as JSON; part of the key of a run.

    Settings that do not change answers are left out: changing them sends no request again.
    Answer probabilities and the greedy choice depend on the read-out only. The numbers of draws and
    orders are left out too: increasing them adds responses to the same run.
    """
    settings: dict[str, Any] = {"readout": decoding.readout}
    if decoding.readout == "text":
        settings |= {"temperature": float(decoding.temperature), "max_tokens": decoding.max_tokens}
    if decoding.readout == "sample":
        settings |= {"temperature": float(decoding.temperature)}
    if settings.get("temperature", 0.0) > 0:
        settings |= {"top_p": float(decoding.top_p), "seed": decoding.seed}
    return _canonical(settings)


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))
