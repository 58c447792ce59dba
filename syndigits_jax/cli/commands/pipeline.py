"""`syndigits pipeline`: personas, their answers, and what these are worth, in one go."""

import contextlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from syndigits_jax.cli.commands.fidelity import run as run_fidelity
from syndigits_jax.cli.commands.pipeline_checks import (
    build_personas,
    check_asking,
    check_calibration,
    check_fidelity,
    select_asked,
)
from syndigits_jax.cli.commands.respond import MISSING, print_dry_run, read_asked
from syndigits_jax.cli.engine_options import build_engine
from syndigits_jax.cli.render.collecting import print_report, showing_collection
from syndigits_jax.cli.render.console import output, showing_step
from syndigits_jax.datasets.personas import write_personas
from syndigits_jax.datasets.questions import write_questions
from syndigits_jax.datasets.tables import read_table
from syndigits_jax.respond.asking.collect import Report, collect
from syndigits_jax.respond.asking.dry_run import dry_run, find_tokens
from syndigits_jax.respond.asking.plan import make_plan
from syndigits_jax.respond.personas.writing import WRITE, write_texts
from syndigits_jax.respond.prompts.render import blocks_of
from syndigits_jax.respond.requests import Engine
from syndigits_jax.respond.store.export import read_frame, read_ratings, read_tensor, to_panel
from syndigits_jax.respond.store.responses import ResponseStore
from syndigits_jax.respond.store.tallies import tally
from syndigits_jax.results.files import write_text
from syndigits_jax.results.names import kebab
from syndigits_jax.results.records import RESULTS
from syndigits_jax.schema import Persona, Question
from syndigits_jax.tables.frames import import_pandas
from syndigits_jax.workflows.calibrate import calibrate_panel, write_table
from syndigits_jax.workflows.evaluate import TwinQuality, judge_twins
from syndigits_jax.workflows.fidelity.records import check_results_path
from syndigits_jax.workflows.pipeline.config import (
    Calibrate,
    EngineSource,
    Fidelity,
    PersonaSource,
    Pipeline,
    read_pipeline,
)
from syndigits_jax.workflows.pipeline.records import write_pipeline_results
from syndigits_jax.workflows.pipeline.report import (
    calibration_section,
    fidelity_section,
    responses_section,
)

_ENGINE = ("url", "concurrency", "timeout")  # options by name; the others are passed on


def run(config: Path, *, dry: bool) -> None:
    """Do all that a pipeline has not done yet; with `dry` only show what it would ask.

    Nothing is written before everything that the file says was looked at.
    """
    pipeline = read_pipeline(config)
    out = pipeline.out
    check_results_path(out / RESULTS)
    catalogue = read_asked(pipeline.questions.file, pipeline.questions.answers or None)
    questions = select_asked(catalogue, pipeline.questions)
    blocks = blocks_of(catalogue)
    built = [build_personas(source, questions) for source in pipeline.personas]
    check_asking(pipeline, built, questions, blocks)
    if pipeline.calibrate is not None:  # what comes last fails first
        check_calibration(pipeline.calibrate, built[0], questions)
    if pipeline.fidelity is not None:
        check_fidelity(pipeline.fidelity, questions)
    if dry:
        _show(pipeline, built, questions, blocks)
        return
    notes: list[str] = []
    with contextlib.ExitStack() as stack:
        engine = _engine(pipeline.engine)
        stack.callback(engine.close)
        store = stack.enter_context(ResponseStore(out / "responses.sqlite"))
        write_questions(out / "questions.json", questions)
        people = _told_apart(
            [
                _written(source, personas, engine, store, pipeline.allow_missing, notes)
                for source, personas in zip(pipeline.personas, built, strict=True)
            ],
            pipeline.personas,
        )
        write_personas(out / "personas.json", people)
        with showing_collection() as show:
            report = collect(
                engine, pipeline.template, people, questions, pipeline.decoding, store,
                blocks=blocks, on_progress=show,
            )  # fmt: skip
        _stop_unless_enough(report, pipeline.allow_missing, out)
        if report.missing:
            notes.append(f"{_missing(report, 'answers')}. What follows is without them.")
    _report(pipeline, report.run, questions, notes)


def _report(
    pipeline: Pipeline, number: int, questions: Sequence[Question], notes: list[str]
) -> None:
    """Tables of the answers, what they are worth, and the report of both."""
    out = pipeline.out
    quality, predicted, worth = None, {}, []
    with ResponseStore(out / "responses.sqlite", read_only=True) as store:
        answers = read_frame(store, number)
        write_table(out / "answers.csv", answers)
        table = None
        if any(question.options for question in questions):
            table = read_tensor(store, number)
            table.save(out / "answers.npz")
        counted = tally(store, number)
        if pipeline.calibrate is not None:
            quality, predicted, more = _calibrated(
                pipeline.calibrate, store, number, answers, questions, out
            )
            notes += more
            worth += calibration_section(quality)
        if pipeline.fidelity is not None:
            ratings = read_ratings(store, number)
            write_table(out / "ratings.csv", ratings.set_index("persona"))
    if pipeline.fidelity is not None:
        worth += _fidelity(pipeline.fidelity, out)
    lines = [f"# {out.resolve().name}", "", *responses_section(counted, table), *worth]
    if notes:
        lines += ["## Notes", "", *(f"- {note}" for note in notes)]
    write_pipeline_results(
        out / RESULTS, counted, quality=quality, predicted=predicted, notes=notes
    )
    text = "\n".join(lines).rstrip() + "\n"
    write_text(out / "report.md", text)
    console = output()
    console.print(text, soft_wrap=True, markup=False)
    console.print(f"written: {out / 'report.md'} and what it is made of", soft_wrap=True)


def _calibrated(
    settings: Calibrate,
    store: ResponseStore,
    run: int,
    asked: Any,
    questions: Sequence[Question],
    out: Path,
) -> tuple[TwinQuality, dict[str, str], list[str]]:
    """The hold-out, its tables, the method by question predicted, and what there is to note.

    `asked`: the data frame of the run's answers."""
    human = read_table(settings.human, settings.id_column, missing=settings.missing, numeric=False)
    notes = []
    silent = set(asked.columns[asked.isna().all()])
    nominal = {q.identifier for q in questions if q.scale and q.scale.kind == "nominal"}
    for names, why in ((silent, "no twin gave an answer"), (nominal - silent, "answers are codes")):
        if names:
            said = ", ".join(name for name in asked.columns if name in names)
            notes.append(f"Left out of the calibration because {why}: {said}.")
    kept = [name for name in asked.columns if name not in silent | nominal]
    # People without a twin and questions not asked are no part of this.
    apart = (
        int((~human.index.isin(asked.index)).sum()),
        int((~human.columns.isin(asked.columns)).sum()),
    )
    if any(apart):
        notes.append(
            f"Left out of the calibration because they are no twins' or were not asked: {apart[0]} "
            f"people and {apart[1]} questions of {settings.human}."
        )
    human = human.loc[human.index.isin(asked.index), human.columns.isin(kept)]
    panel = to_panel(store, human, run, join="inner", new_questions=True, name=out.name)
    panel = panel.drop(questions=[name for name in panel.questions if name in nominal])
    with showing_step("holding out one question after the other ..."):
        quality = judge_twins(panel, settings.methods)
    index = import_pandas().Index(list(quality.holdout.panel.users), name=asked.index.name)
    for name in quality.holdout.methods:
        frame = import_pandas().DataFrame(
            quality.holdout.predictions[name].T, index, list(quality.holdout.target_ids)
        )
        write_table(out / f"held-out-{kebab(name)}.csv", frame)
    if not panel.new_questions:
        return quality, {}, notes
    best = kebab(quality.best)
    found = calibrate_panel(panel, settings.methods[quality.best], "question")
    found.predictions.index.name = asked.index.name
    write_table(out / "predictions.csv", found.predictions)
    notes.append(
        f"Predicted by {best}, whose correlation is highest (predictions.csv), are the questions "
        f"that no human answered: {', '.join(panel.new_questions)}."
    )
    return quality, dict.fromkeys(panel.new_questions, best), notes


def _fidelity(settings: Fidelity, out: Path) -> list[str]:
    report = run_fidelity(
        settings.ratings, settings.items, out / "ratings.csv", out / "fidelity",
        embeddings=settings.embeddings, epochs=settings.epochs, seed=settings.seed,
        gap=settings.gap, control=settings.control, quick=settings.quick,
        missing=settings.missing,
    )  # fmt: skip
    reference = "ssr" if "ssr" in report.populations else "trained"
    return fidelity_section(report.records, report.notes, reference)


def _engine(source: EngineSource) -> Any:
    options = dict(source.options)
    urls, concurrency, timeout = (options.pop(key, None) for key in _ENGINE)
    try:
        return build_engine(
            source.kind, source.model, [urls] if isinstance(urls, str) else urls or (),
            concurrency=concurrency, timeout=timeout,
            options=[f"{key}={json.dumps(value, default=str)}" for key, value in options.items()],
        )  # fmt: skip
    except (ValueError, TypeError) as error:
        plain = re.sub(r"--(engine-option )?", "", str(error))
        raise ValueError(f"[engine]: {plain}") from None


# --- asking ---------------------------------------------------------------------------------------


def _written(
    source: PersonaSource,
    personas: tuple[Persona, ...],
    engine: Engine,
    store: ResponseStore,
    allowed: float,
    notes: list[str],
) -> tuple[Persona, ...]:
    """The personas with the texts that a model writes, where it is to; notes who got none.

    `allowed`: the share of texts that may be missing."""
    if source.writing is None:
        return personas
    with showing_collection() as show:
        written, report = write_texts(
            engine, source.writing[0], personas, store, source.writing[1],
            on_progress=show, allow_missing=allowed,
        )  # fmt: skip
    if written is None:
        _stop_unless_enough(report, allowed, store.path.parent)
        raise AssertionError("no texts, though enough came")
    if written.missing:
        notes.append(f"{source.title}: {_missing(report, 'texts')}. Their personas are left out.")
    for names, did in ((written.empty, "wrote nothing"), (written.refused, "refused")):
        if names:
            notes.append(
                f"{source.title}: the model {did} for {len(names)} of {len(personas)} personas, "
                "which are left out."
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


def _show(
    pipeline: Pipeline,
    built: Sequence[tuple[Persona, ...]],
    questions: Sequence[Question],
    blocks: dict[str, str],
) -> None:
    """What would be asked; texts that a model will write are not there yet."""
    console, tokens = output(), find_tokens(pipeline.engine.model)
    for source, personas in zip(pipeline.personas, built, strict=True):
        console.print(f"\n{source.title}: {len(personas)} personas", style="bold", markup=False)
        if source.writing is None:
            plan = make_plan(pipeline.template, personas, questions, pipeline.decoding, blocks)
        else:
            plan = make_plan(source.writing[0], personas, [WRITE], source.writing[1])
        print_dry_run(console, dry_run(plan, tokens), None, None)
        if source.writing is not None:
            console.print(
                f"when their texts are written, each is asked {len(questions)} questions",
                soft_wrap=True,
            )


def _stop_unless_enough(report: Report, allowed: float, out: Path) -> None:
    """Exit with 1 where a larger share of the requests than `allowed` has no response."""
    print_report(output(), report)
    share = report.missing / report.planned if report.missing else 0.0
    if share > allowed:
        enough = math.ceil(1000 * share) / 1000
        output().print(
            f"{report.missing} responses are missing; those that came are in {out}, and the same "
            f"command asks only for these; `allow_missing` in [respond] is {allowed:g}"
            + (f", and with {enough:g} it would go on without them" if enough < 1 else ""),
            soft_wrap=True,
            markup=False,
        )
        raise typer.Exit(MISSING)


def _missing(report: Report, what: str) -> str:
    """How many are missing, and why."""
    counts = {
        **report.reasons,
        "other reasons": report.failed - sum(report.reasons.values()),
        "not asked, as nothing but failures came": report.missing - report.failed,
    }
    why = "; ".join(f"{reason} ({count} times)" for reason, count in counts.items() if count)
    return f"{report.missing} of {report.planned} {what} are missing: {why}"
