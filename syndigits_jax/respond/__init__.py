"""Language models: from personas and questions to responses."""

from .attributes import (
    DEFAULT_MARGINALS,
    WrittenPersonas,
    backstory_prompts,
    demographic_prompts,
    read_marginals,
    sample_attributes,
    written_personas,
)
from .builders import (
    DEMOGRAPHICS,
    demographics_personas,
    summary_personas,
    survey_personas,
    with_json,
)
from .constructions import PERSONA_CONSTRUCTIONS, PersonaConstruction
from .histories import grounded_prompts, history_personas
from .parsing import Parsed, parse
from .prompts import Prompt, answers_of, blocks_of, check_readout, option_orders, render
from .requests import (
    READOUTS,
    Completion,
    Decoding,
    Engine,
    EngineDied,
    EngineIdentity,
    Failure,
    Message,
    Request,
)
from .templates import Template, find_template, list_templates, read_template

__all__ = [
    "DEFAULT_MARGINALS",
    "DEMOGRAPHICS",
    "PERSONA_CONSTRUCTIONS",
    "READOUTS",
    "Completion",
    "Decoding",
    "Engine",
    "EngineDied",
    "EngineIdentity",
    "Failure",
    "Message",
    "Parsed",
    "PersonaConstruction",
    "Prompt",
    "Request",
    "Template",
    "WrittenPersonas",
    "answers_of",
    "backstory_prompts",
    "blocks_of",
    "check_readout",
    "demographic_prompts",
    "demographics_personas",
    "find_template",
    "grounded_prompts",
    "history_personas",
    "list_templates",
    "option_orders",
    "parse",
    "read_marginals",
    "read_template",
    "render",
    "sample_attributes",
    "summary_personas",
    "survey_personas",
    "with_json",
    "written_personas",
]
