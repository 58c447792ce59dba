"""Personas, questions and settings as they are stored: JSON, and hashes of all their content."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ..schema import Option, Persona, Question, Scale
from .requests import Decoding


def content_hash(content: str) -> bytes:
    """128 bits that are equal for equal content."""
    return hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def persona_json(persona: Persona) -> str:
    """Everything that a persona says, in a canonical order."""
    return _canonical(
        {
            "identifier": persona.identifier,
            "text": persona.text,
            "attributes": {str(k): str(v) for k, v in persona.attributes.items()},
            "answers": {str(k): str(v) for k, v in persona.answers.items()},
        }
    )


def persona_from_json(text: str) -> Persona:
    """Back from [`persona_json`][]."""
    return Persona(**json.loads(text))


def question_json(question: Question) -> str:
    """Everything that a question says, in a canonical order."""
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
    """Back from [`question_json`][]."""
    fields = json.loads(text)
    fields["options"] = tuple(Option(*option) for option in fields["options"])
    fields["scale"] = fields["scale"] and Scale(*fields["scale"])
    return Question(**fields)


def settings_json(decoding: Decoding) -> str:
    """The settings that change an answer, and no others, so that no change of another asks anew.

    Answer probabilities and the greedy choice depend on none but the read-out. How many draws and
    orders are wanted is no part: more of them add to those there are.
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
