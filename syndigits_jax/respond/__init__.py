"""Language models answer questions as personas: prompts, engines, and stored responses."""

from .asking.collect import CollectionProgress, Report, collect, collect_plan
from .asking.dry_run import DryRun, dry_run, find_tokens
from .asking.plan import Plan, make_plan
from .engines.openai_engine import OpenAIEngine
from .engines.vllm_engine import VLLMEngine
from .personas.attributes import (
    DEFAULT_MARGINALS,
    WrittenPersonas,
    backstory_prompts,
    demographic_prompts,
    read_marginals,
    sample_attributes,
    written_personas,
)
from .personas.builders import (
    DEMOGRAPHICS,
    demographics_personas,
    summary_personas,
    survey_personas,
    with_json,
)
from .personas.histories import grounded_prompts, history_personas
from .personas.writing import WRITING_TEMPLATES, collect_texts, plan_texts, write_texts
from .prompts.constructions import PERSONA_CONSTRUCTIONS, PersonaConstruction
from .prompts.render import Prompt, answers_of, blocks_of, check_readout, option_orders, render
from .prompts.templates import Template, find_template, list_templates, read_template, template_text
from .readouts.parsing import Parsed, parse
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
from .store.export import (
    ResponseTable,
    ResponseTensor,
    choose_run,
    read_frame,
    read_ratings,
    read_records,
    read_tensor,
    to_panel,
)
from .store.responses import Response, ResponseStore, Run, StoreError

__all__ = [
    "DEFAULT_MARGINALS",
    "DEMOGRAPHICS",
    "PERSONA_CONSTRUCTIONS",
    "READOUTS",
    "WRITING_TEMPLATES",
    "CollectionProgress",
    "Completion",
    "Decoding",
    "DryRun",
    "Engine",
    "EngineDied",
    "EngineIdentity",
    "Failure",
    "Message",
    "OpenAIEngine",
    "Parsed",
    "PersonaConstruction",
    "Plan",
    "Prompt",
    "Report",
    "Request",
    "Response",
    "ResponseStore",
    "ResponseTable",
    "ResponseTensor",
    "Run",
    "StoreError",
    "Template",
    "VLLMEngine",
    "WrittenPersonas",
    "answers_of",
    "backstory_prompts",
    "blocks_of",
    "check_readout",
    "choose_run",
    "collect",
    "collect_plan",
    "collect_texts",
    "demographic_prompts",
    "demographics_personas",
    "dry_run",
    "find_template",
    "find_tokens",
    "grounded_prompts",
    "history_personas",
    "list_templates",
    "make_plan",
    "option_orders",
    "parse",
    "plan_texts",
    "read_frame",
    "read_marginals",
    "read_ratings",
    "read_records",
    "read_template",
    "read_tensor",
    "render",
    "sample_attributes",
    "summary_personas",
    "survey_personas",
    "template_text",
    "to_panel",
    "with_json",
    "write_texts",
    "written_personas",
]
