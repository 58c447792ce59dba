"""SYN-DIGITS' thirteen persona constructions in terms of builders, templates and settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

_FULL = "survey_personas(..., form={!r})"


@dataclass(frozen=True)
class PersonaConstruction:
    """One row of SYN-DIGITS' Table 3 (details: appendix A.3).

    **Arguments:**

    - `label`: its name in the paper's tables; `model`: the model that answered.
    - `builder`: the call that builds its personas.
    - `template`: the template that asks them. The paper does not print its wording; that of the
      built-in templates was written for this package (see each template's `source`).
    - `decoding`: differences from the template's own settings (temperature 0).
    - `missing`: why it cannot be built here; "" where it can.
    """

    label: str
    model: str
    builder: str
    template: str = "survey"
    decoding: Mapping[str, Any] = field(default_factory=dict)
    missing: str = ""

    @property
    def buildable(self) -> bool:
        """Whether it can be built here, given the model."""
        return not self.missing


_MINI, _GPT, _GEMINI = "GPT-4.1-mini", "GPT-4.1", "Gemini-Flash-2.5"
_PREDICTED = (
    "predicted output is a feature of OpenAI's service that speeds up structured answers; without "
    "it this is the JSON construction"
)
_TUNED = (
    "a model fine-tuned on the answers of 500 people; no model is trained here, but a fine-tuned "
    "one can be asked like any other"
)
_TEXT, _JSON = _FULL.format("text"), _FULL.format("json")

PERSONA_CONSTRUCTIONS: tuple[PersonaConstruction, ...] = (
    PersonaConstruction("Text, GPT-4.1-mini", _MINI, _TEXT),
    PersonaConstruction("Text, Gemini-Flash-2.5", _GEMINI, _TEXT),
    PersonaConstruction("JSON, GPT-4.1-mini", _MINI, _JSON),
    PersonaConstruction("JSON, GPT-4.1", _GPT, _JSON),
    PersonaConstruction("Text + CoT, GPT-4.1-mini", _MINI, _TEXT, "survey-chain-of-thought"),
    PersonaConstruction("Text + repeat, GPT-4.1-mini", _MINI, _TEXT, "survey-repeat"),
    PersonaConstruction(
        "Text, temp=0.7, GPT-4.1-mini", _MINI, _TEXT,
        decoding=MappingProxyType({"temperature": 0.7}),
    ),
    PersonaConstruction("JSON + PO, GPT-4.1-mini", _MINI, _JSON, missing=_PREDICTED),
    PersonaConstruction("JSON + PO, GPT-4.1", _GPT, _JSON, missing=_PREDICTED),
    PersonaConstruction("Fine-tuned GPT-4.1-mini", _MINI, _TEXT, missing=_TUNED),
    PersonaConstruction("Demographics only, GPT-4.1-mini", _MINI, "demographics_personas(...)"),
    PersonaConstruction("Summary, GPT-4.1-mini", _MINI, "summary_personas(...)"),
    PersonaConstruction(
        "Summary + JSON, GPT-4.1-mini", _MINI,
        "with_json(summary_personas(...), survey_personas(..., form='json'))",
    ),
)  # fmt: skip
"""The thirteen constructions of SYN-DIGITS' Table 3, in its order."""
