"""Persona texts written by a model. They are stored like any response, so writing can resume."""

import os
from collections.abc import Sequence
from typing import Any

from ...schema import Persona, Question
from ..asking.collect import OnCollection, Report, collect_plan
from ..asking.plan import Plan, make_plan
from ..prompts.templates import Template, find_template
from ..requests import Decoding, Engine
from ..store.responses import ResponseStore, reading
from .attributes import WrittenPersonas, written_personas

WRITE = Question("persona")
"""The question of templates that write personas, which show none."""

WRITING_TEMPLATES = {
    "sampled": "persona-demographic",
    "backstory": "persona-backstory",
    "grounded": "persona-grounded",
    "rewritten": "persona-summary",
}
"""The template that writes the personas of each kind."""


def write_texts(
    engine: Engine,
    template: Template | str,
    personas: Sequence[Persona],
    store: ResponseStore | str | os.PathLike[str],
    decoding: Decoding | None = None,
    *,
    on_progress: OnCollection | None = None,
    limit: int | None = None,
    allow_missing: float = 0.0,
) -> tuple[WrittenPersonas | None, Report]:
    """Have a model write the text of every persona.

    Called again, it asks only for the texts that are not in the store.

    **Arguments:**

    - `engine`, `personas`, `store`, `on_progress`, `limit`: as in
      [`collect`][syndigits_jax.respond.asking.collect.collect].
    - `template`: a template that is answered with text, or its name.
    - `decoding`: by default the template's own settings.
    - `allow_missing`: the share of texts, from 0 to 1, that may be missing; their personas are left
      out and listed as missing.

    **Returns:** the personas with their texts, or `None` while a larger share of texts is missing;
    and the report of the call.

    **Raises:** `ValueError` as [`plan_texts`][] does, or if no persona has a text; what `collect`
    raises.
    """
    plan = plan_texts(template, personas, decoding)
    return collect_texts(
        engine, plan, store, on_progress=on_progress, limit=limit, allow_missing=allow_missing
    )


def plan_texts(
    template: Template | str, personas: Sequence[Persona], decoding: Decoding | None = None
) -> Plan:
    """The plan of the requests that write a text for every persona, for [`collect_texts`][].

    **Arguments:** as in [`write_texts`][].

    **Raises:** `ValueError` if the template asks a question or the decoding draws several texts per
    persona; as [`make_plan`][syndigits_jax.respond.asking.plan.make_plan] does.
    """
    template = find_template(template) if isinstance(template, str) else template
    if template.answer_with != "text" or template.asks:
        raise ValueError(
            f"`template`: {template.name!r} asks a question; one that writes personas has "
            'answer_with = "text" and no slot of a question'
        )
    decoding = template.settings() if decoding is None else decoding
    if decoding.draws != 1 or decoding.readout != "text":
        raise ValueError("`decoding` must read one text a persona: readout 'text', `draws` 1")
    return make_plan(template, personas, [WRITE], decoding)


def collect_texts(
    engine: Engine,
    plan: Plan,
    store: ResponseStore | str | os.PathLike[str],
    *,
    on_progress: OnCollection | None = None,
    limit: int | None = None,
    allow_missing: float = 0.0,
) -> tuple[WrittenPersonas | None, Report]:
    """[`write_texts`][] as a plan says, for callers that made one to look at it first.

    **Arguments:** `plan`: as [`plan_texts`][] returns it; `engine`, `store`, `on_progress`,
    `limit`, `allow_missing`: as in [`write_texts`][].

    **Returns:** as [`write_texts`][] does. **Raises:** `ValueError` if no persona has a text; what
    `collect` raises.
    """
    report = collect_plan(engine, plan, store, on_progress=on_progress, limit=limit)
    if report.missing and report.missing / report.planned > allow_missing:
        return None, report
    texts, refused = _texts(store, report.run)
    return written_personas(plan.personas, texts, refused), report


def _texts(store: Any, run: int) -> tuple[dict[str, str], list[str]]:
    """Texts by persona of the latest call, and the personas for which the model refused."""
    query = "SELECT persona, question, text, status FROM responses WHERE run = ?"
    with reading(store) as opened:
        if not opened.read_only:
            opened.flush()
        grid = opened.grid(run)
        rows = list(opened.rows(query, (run,)))
    texts, refused = {}, []
    for persona, question, text, status in rows:
        if persona in grid.personas and question in grid.questions:
            name = grid.personas[persona].identifier
            texts[name] = text
            if status == "refused":
                refused.append(name)
    return texts, refused
