"""Language models: from personas and questions to responses."""

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
    "READOUTS",
    "Completion",
    "Decoding",
    "Engine",
    "EngineDied",
    "EngineIdentity",
    "Failure",
    "Message",
    "Parsed",
    "Prompt",
    "Request",
    "Template",
    "answers_of",
    "blocks_of",
    "check_readout",
    "find_template",
    "list_templates",
    "option_orders",
    "parse",
    "read_template",
    "render",
]
