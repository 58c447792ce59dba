"""Checks of a pipeline's files and settings before anything is asked or written."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np

from syndigits_jax.datasets.personas import read_personas
from syndigits_jax.respond.asking.plan import Plan, make_plan
from syndigits_jax.respond.personas.writing import plan_texts
from syndigits_jax.schema import Persona, Question
from syndigits_jax.tables.cells import MissingCodes, refuse_unusable
from syndigits_jax.tables.near_misses import hint, only_in
from syndigits_jax.workflows.fidelity.files import RatedItems, read_embeddings, read_rated_items
from syndigits_jax.workflows.fidelity.run import fidelity_settings
from syndigits_jax.workflows.fidelity.texts import ItemVectors, check_text_encoder
from syndigits_jax.workflows.files import Files
from syndigits_jax.workflows.people import people_column, people_weights
from syndigits_jax.workflows.personas import FROM_FILES, KINDS
from syndigits_jax.workflows.pipeline.config import (
    FILE,
    Calibrate,
    Fidelity,
    PersonaSource,
    Pipeline,
    QuestionSource,
)
from syndigits_jax.workflows.questions import select_questions


def select_asked(catalogue: Sequence[Question], source: QuestionSource) -> tuple[Question, ...]:
    """The questions that a pipeline asks. **Raises:** `ValueError` for an unknown one."""
    try:
        if source.ask:
            return select_questions(catalogue, source.ask)
        return select_questions(catalogue, (), source.block)
    except ValueError as error:
        raise ValueError(f"[questions]: {error} ({source.file})") from None


def build_personas(
    source: PersonaSource, questions: Sequence[Question], files: Files
) -> tuple[Persona, ...]:
    """Personas from files, without what they will be asked; some kinds still lack their texts."""
    options = dict(source.options)
    where = f"[[personas]] {source.name}".rstrip()
    try:
        if source.kind == FILE:
            return read_personas(options[FILE])
        if source.kind == "survey":  # another survey may have none of what is asked
            asked = _within(questions, files.questions(options["questions"]))
            options["ask"] = [*options.get("ask", ()), *asked]
        elif source.kind in ("history", "grounded"):
            options["ask"] = [*options.get("ask", ()), *(q.identifier for q in questions)]
        if source.kind in FROM_FILES:
            options["files"] = files
        return KINDS[source.kind](**options)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _within(questions: Sequence[Question], catalogue: Sequence[Question]) -> list[str]:
    """Identifiers of the catalogue's questions that are asked, under any identifier."""
    names = {question.identifier for question in questions}
    words = {" ".join(question.text.split()) for question in questions} - {""}
    return [
        q.identifier
        for q in catalogue
        if q.identifier in names or " ".join(q.text.split()) in words
    ]


def plan_asking(
    pipeline: Pipeline,
    built: Sequence[tuple[Persona, ...]],
    questions: Sequence[Question],
    blocks: dict[str, str],
) -> tuple[Plan, ...]:
    """The requests of a pipeline to each population: for its texts where a model writes them,
    otherwise for its answers. The requests that follow the writing are checked too.

    **Arguments:** `pipeline`: its settings; `built`: the personas of each source; `questions`: what
    is asked; `blocks`: the block of each question by identifier.

    **Raises:** `ValueError` as [`make_plan`][syndigits_jax.respond.asking.plan.make_plan] does.
    """

    def asking(personas: Sequence[Persona]) -> Plan:
        return make_plan(pipeline.template, personas, questions, pipeline.decoding, blocks)

    plans = []
    for source, personas in zip(pipeline.personas, built, strict=True):
        if source.writing is None:
            plans.append(asking(personas))
        else:
            template, decoding = source.writing
            plans.append(plan_texts(template, personas, decoding))
            asking([replace(personas[0], text="(to be written)")])
    return tuple(plans)


@dataclass(frozen=True)
class HumanAnswers:
    """`frame`: people's answers by person and question, missing ones blank; `codes`: of missing
    answers, which the twins' answers may hold too."""

    frame: Any
    codes: MissingCodes


def check_calibration(
    settings: Calibrate,
    personas: Sequence[Persona],
    questions: Sequence[Question],
    files: Files | None = None,
    catalogue: str | PathLike[str] | None = None,
) -> HumanAnswers:
    """The human answers for calibration, checked.

    **Arguments:** `settings`: where they are; `personas`: the twins; `questions`: what these are
    asked; `files`: what has been read already; nothing by default; `catalogue`: the file of
    questions, as [`read_table`][syndigits_jax.datasets.read_table] uses it.

    **Raises:** `ValueError` if there are too few, or some are outside of a question's scale.
    """
    where = f"[calibrate]: {settings.human}"
    answers = HumanAnswers(
        *(files or Files()).answers(settings.human, settings.id_column, settings.missing, catalogue)
    )
    human = answers.frame
    try:
        for column in settings.groups:
            people_column({"human": human}, column, "groups")
        if settings.weights is not None:
            found = people_column({"human": human}, settings.weights, "weights")
            wanted = {persona.identifier for persona in personas}
            users = [str(who) for who in human.index if str(who) in wanted]
            if users:
                people_weights(found, users)
    except ValueError as error:
        raise ValueError(f"[calibrate]: {error}") from None
    names, known = [persona.identifier for persona in personas], list(map(str, human.index))
    human = human.loc[human.index.isin(names)]
    if len(human) < 2:
        raise ValueError(
            f"{where} has {len(human)} of the {len(personas)} personas; they need the identifiers "
            "of the people they stand for" + hint(only_in(known, names), only_in(names, known))
        )
    asked = [question.identifier for question in questions]
    refuse_unusable(human.loc[:, human.columns.isin(asked)], where)
    answered = 0
    for question in questions:
        if question.identifier not in human.columns:
            continue
        values = human[question.identifier].to_numpy(float, na_value=np.nan)
        values = values[np.isfinite(values) & (values != _refusal(question))]
        scale = question.scale
        ordered = scale is None or scale.kind != "nominal"
        answered += bool(len(values)) and ordered
        if (
            scale is not None
            and len(values)
            and not scale.low <= values.min() <= values.max() <= scale.high
        ):
            raise ValueError(
                f"{where}: answers to {question.identifier} are not from {scale.low:g} to "
                f"{scale.high:g}"
            )
    if answered < 3:
        raise ValueError(
            f"{where} has answers to {answered} of the questions asked; to hold one out at least "
            "3 are needed"
        )
    return answers


def _refusal(question: Question) -> float:
    return math.nan if question.refusal is None else question.refusal


@dataclass(frozen=True)
class FidelityInputs:
    """`rated`: real people's ratings and the items; `embeddings`: vectors of the items' texts, or
    `None` where these are to be encoded."""

    rated: RatedItems
    embeddings: ItemVectors | None


def check_fidelity(
    settings: Fidelity, questions: Sequence[Question], files: Files | None = None
) -> FidelityInputs:
    """The files for fidelity, checked. **Arguments:** as in [`check_calibration`][].

    **Raises:** `ValueError` for settings or files that `syndigits fidelity` would reject.
    """
    try:
        fidelity_settings(settings.epochs, settings.gap, settings.control, settings.quick)
        rated = read_rated_items(
            settings.ratings, settings.items, missing=MissingCodes.of(settings.missing),
            read=(files or Files()).columns,
        )  # fmt: skip
        check_text_encoder(settings.text_encoder, settings.embeddings)
        embeddings = None
        if settings.embeddings is not None:
            embeddings = ItemVectors(read_embeddings(settings.embeddings, len(rated.texts)))
        elif not any(rated.texts):
            raise ValueError(f"{settings.items} has no texts; give `embeddings`")
    except ValueError as error:
        raise ValueError(f"[fidelity]: {error}") from None
    known = set(rated.ratings.items)
    absent = [question.identifier for question in questions if question.identifier not in known]
    if absent:
        raise ValueError(
            f"[fidelity]: {settings.items} does not have what is asked: {absent[0]!r}"
            + (f" and {len(absent) - 1} others" if len(absent) > 1 else "")
        )
    return FidelityInputs(rated, embeddings)
