"""`syndigits pipeline`: personas, their answers, and what these are worth, in one go."""

import contextlib
import inspect
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from syndigits_jax._files import write_text
from syndigits_jax._frames import import_pandas
from syndigits_jax.cli._collecting import print_report, showing_collection
from syndigits_jax.cli._console import output, showing_step
from syndigits_jax.cli._engines import build_engine
from syndigits_jax.cli._fidelity import run as run_fidelity
from syndigits_jax.cli._respond import MISSING, print_dry_run, read_asked
from syndigits_jax.datasets.personas import read_personas, write_personas
from syndigits_jax.datasets.questions import write_questions
from syndigits_jax.datasets.tables import read_table
from syndigits_jax.respond.collect import Report, collect
from syndigits_jax.respond.dry_run import dry_run, find_tokens
from syndigits_jax.respond.export import (
    read_frame,
    read_ratings,
    read_records,
    read_tensor,
    to_panel,
)
from syndigits_jax.respond.plan import make_plan
from syndigits_jax.respond.prompts import blocks_of
from syndigits_jax.respond.requests import Engine
from syndigits_jax.respond.store import ResponseStore
from syndigits_jax.respond.templates import find_template
from syndigits_jax.respond.writing import WRITING_TEMPLATES, write_texts
from syndigits_jax.schema import Persona, Question
from syndigits_jax.studies.own_files import calibrate_panel, write_table
from syndigits_jax.studies.own_holdout import judge_twins
from syndigits_jax.studies.persona_files import KINDS, WRITTEN_KINDS
from syndigits_jax.studies.pipeline_config import (
    Calibrate,
    EngineSource,
    Fidelity,
    PersonaSource,
    Pipeline,
    QuestionSource,
    read_pipeline,
)
from syndigits_jax.studies.pipeline_report import (
    calibration_section,
    fidelity_section,
    responses_section,
)

_WRITING = ("template", "temperature", "top_p", "max_tokens")  # options of how texts are written
_ENGINE = ("model", "url", "concurrency", "timeout")  # the others are passed on


def run(config: Path, *, dry: bool) -> None:
    """Do all that a pipeline has not done yet; with `dry` only show what it would ask."""
    pipeline = read_pipeline(config)
    catalogue = read_asked(pipeline.questions.file, pipeline.questions.answers or None)
    questions = _select(catalogue, pipeline.questions)
    if pipeline.calibrate is not None:  # what comes last fails first
        read_table(pipeline.calibrate.human, pipeline.calibrate.id_column)
    out = pipeline.out
    write_questions(out / "questions.json", questions)
    built = [_built(source, out / "questions.json", questions) for source in pipeline.personas]
    with contextlib.ExitStack() as stack:
        engine = _engine(pipeline.engine)
        stack.callback(engine.close)
        if dry:
            _show(pipeline, built, questions, catalogue)
            return
        store = stack.enter_context(ResponseStore(out / "responses.sqlite"))
        people = _told_apart(
            [
                _written(source, personas, engine, store)
                for source, personas in zip(pipeline.personas, built, strict=True)
            ],
            pipeline.personas,
        )
        write_personas(out / "personas.json", people)
        with showing_collection() as show:
            report = collect(
                engine, pipeline.template, people, questions, pipeline.decoding, store,
                blocks=blocks_of(catalogue), on_progress=show,
            )  # fmt: skip
        _stop_unless_whole(report, out)
    _report(pipeline, report.run, questions)


def _report(pipeline: Pipeline, number: int, questions: Sequence[Question]) -> None:
    """Tables of the answers, what they are worth, and the report of both."""
    out = pipeline.out
    lines = [f"# {out.name}", ""]
    with ResponseStore(out / "responses.sqlite", read_only=True) as store:
        write_table(out / "answers.csv", read_frame(store, number))
        if any(question.options for question in questions):
            table = read_tensor(store, number)
            table.save(out / "answers.npz")
            lines += responses_section(table.run, read_records(store, number), table)
        if pipeline.calibrate is not None:
            lines += _calibrated(pipeline.calibrate, store, number, out)
        if pipeline.fidelity is not None:
            ratings = read_ratings(store, number)
            write_table(out / "ratings.csv", ratings.set_index("persona"))
    if pipeline.fidelity is not None:
        lines += _fidelity(pipeline.fidelity, out)
    write_text(out / "report.md", "\n".join(lines).rstrip() + "\n")
    console = output()
    console.print("\n".join(lines), soft_wrap=True, markup=False)
    console.print(f"written: {out / 'report.md'} and what it is made of", soft_wrap=True)


def _calibrated(settings: Calibrate, store: ResponseStore, run: int, out: Path) -> list[str]:
    human = read_table(settings.human, settings.id_column)
    asked = read_frame(store, run)
    # People without a twin and questions not asked are no part of this.
    human = human.loc[human.index.isin(asked.index), human.columns.isin(asked.columns)]
    panel = to_panel(store, human, run, join="inner", new_questions=True, name=out.name)
    with showing_step("holding out one question after the other ..."):
        quality = judge_twins(panel, settings.methods)
    lines = calibration_section(quality)
    for name, prediction in quality.holdout.predictions.items():
        if name in quality.holdout.methods:
            frame = import_pandas().DataFrame(
                prediction.T, index=list(quality.holdout.panel.users),
                columns=list(quality.holdout.target_ids),
            )  # fmt: skip
            write_table(out / f"held-out-{name}.csv", frame)
    if panel.new_questions:
        tried = [row for row in quality.rows if row["method"] in settings.methods]
        best = str(max(tried, key=lambda row: float(row["correlation"]))["method"])
        found = calibrate_panel(panel, settings.methods[best], "question")
        write_table(out / "predictions.csv", found.predictions)
        lines += [
            f"{len(panel.new_questions)} questions without human answers are predicted by "
            f"`{best}`: predictions.csv.",
            "",
        ]
    return lines


def _fidelity(settings: Fidelity, out: Path) -> list[str]:
    report = run_fidelity(
        settings.ratings, settings.items, out / "ratings.csv", out / "fidelity",
        embeddings=settings.embeddings, epochs=settings.epochs, seed=settings.seed,
        gap=settings.gap, control=settings.control, quick=settings.quick,
    )  # fmt: skip
    reference = "ssr" if "ssr" in report.populations else "trained"
    return fidelity_section(report.records, report.notes, reference)


def _select(catalogue: Sequence[Question], source: QuestionSource) -> tuple[Question, ...]:
    by_name = {question.identifier: question for question in catalogue}
    absent = [name for name in source.ask if name not in by_name]
    if absent:
        raise ValueError(f"[questions]: `ask`: {absent[0]!r} is not in {source.file}")
    blocks = {question.block for question in catalogue if question.block}
    strange = [block for block in source.blocks if block not in blocks]
    if strange:
        raise ValueError(f"[questions]: `blocks`: {source.file} has no block {strange[0]!r}")
    if source.ask:
        return tuple(by_name[name] for name in source.ask)
    return tuple(q for q in catalogue if not source.blocks or q.block in source.blocks)


def _built(
    source: PersonaSource, asked: Path, questions: Sequence[Question]
) -> tuple[Persona, ...]:
    """Personas from files, without what they will be asked; texts may be still to be written."""
    where = f"[[personas]] {source.name}".rstrip()
    if source.kind == "file":
        if set(source.options) != {"file"}:
            raise ValueError(f'{where}: kind = "file" takes `file` and nothing else')
        return read_personas(source.options["file"])
    if source.kind not in KINDS:
        raise ValueError(f"{where}: `kind` must be one of file, {', '.join(KINDS)}")
    takes = inspect.signature(KINDS[source.kind]).parameters
    allowed = [*takes, *(_WRITING if source.kind in WRITTEN_KINDS else ())]
    if source.kind in WRITTEN_KINDS:
        allowed.append("seed")
    for key in source.options:
        if key not in allowed:
            raise ValueError(f"{where}: unknown key `{key}`; it takes {', '.join(allowed)}")
    options = {key: value for key, value in source.options.items() if key in takes}
    if "ask_questions" in takes and not {"ask", "ask_block", "ask_questions"} & options.keys():
        options["ask_questions"] = asked
        if source.kind == "survey" and "questions" in options:
            known = {q.identifier for q in read_asked(Path(options["questions"]), None)}
            if not known & {q.identifier for q in questions}:
                del options["ask_questions"]  # another survey: nothing to leave out
    try:
        return KINDS[source.kind](**options)
    except TypeError as error:  # a required key is not there, or has a value of the wrong kind
        raise ValueError(f"{where}: {error}") from None


def _written(
    source: PersonaSource, personas: tuple[Persona, ...], engine: Engine, store: ResponseStore
) -> tuple[Persona, ...]:
    """The personas with the texts that a model writes, where it is to."""
    if source.kind not in WRITTEN_KINDS:
        return personas
    options = dict(source.options)
    template = find_template(options.pop("template", WRITING_TEMPLATES[source.kind]))
    given = {key: options[key] for key in (*_WRITING, "seed") if key in options}
    with showing_collection() as show:
        written, report = write_texts(
            engine, template, personas, store, template.settings(**given), on_progress=show
        )
    if written is None:
        _stop_unless_whole(report, store.path.parent)
        raise AssertionError("texts are missing from a whole report")
    left_out = len(written.empty) + len(written.refused)
    if left_out:
        output().print(
            f"{source.name or source.kind}: the model wrote nothing, or refused, for {left_out} "
            "personas; they are left out",
            soft_wrap=True,
        )
    return written.personas


def _told_apart(
    groups: Sequence[tuple[Persona, ...]], sources: Sequence[PersonaSource]
) -> tuple[Persona, ...]:
    """All personas, each with its condition where there are several."""
    if len(groups) == 1:
        return groups[0]
    everyone = [persona.identifier for group in groups for persona in group]
    repeated = len(set(everyone)) < len(everyone)
    return tuple(
        replace(
            persona,
            identifier=f"{source.name}-{persona.identifier}" if repeated else persona.identifier,
            attributes={**persona.attributes, "condition": source.name},
        )
        for group, source in zip(groups, sources, strict=True)
        for persona in group
    )


def _engine(source: EngineSource) -> Any:
    options = dict(source.options)
    known: dict[str, Any] = {key: options.pop(key, None) for key in _ENGINE}
    urls = known["url"] or ()
    try:
        return build_engine(
            source.kind, known["model"], [urls] if isinstance(urls, str) else urls,
            concurrency=known["concurrency"], timeout=known["timeout"],
            options=[f"{key}={json.dumps(value)}" for key, value in options.items()],
        )  # fmt: skip
    except ValueError as error:
        raise ValueError(f"[engine]: {error}") from None


def _show(
    pipeline: Pipeline,
    built: Sequence[tuple[Persona, ...]],
    questions: Sequence[Question],
    catalogue: Sequence[Question],
) -> None:
    """What would be asked; texts that a model will write are not there yet."""
    for source, personas in zip(pipeline.personas, built, strict=True):
        name = source.name or source.kind
        output().print(f"\n{name}: {len(personas)} personas", style="bold", markup=False)
        if source.kind in WRITTEN_KINDS:
            template = find_template(source.options.get("template", WRITING_TEMPLATES[source.kind]))
            from syndigits_jax.respond.writing import WRITE

            plan = make_plan(template, personas, [WRITE], template.settings())
        else:
            plan = make_plan(
                pipeline.template, personas, questions, pipeline.decoding, blocks_of(catalogue)
            )
        tokens = find_tokens(pipeline.engine.options.get("model"))
        print_dry_run(output(), dry_run(plan, tokens), None, None)


def _stop_unless_whole(report: Report, out: Path) -> None:
    print_report(output(), report)
    if report.missing:
        output().print(
            f"{report.missing} responses are missing; those that came are in {out}, and the same "
            "command asks only for these",
            soft_wrap=True,
        )
        raise typer.Exit(MISSING)
