"""Run of a pipeline: personas, their answers, and the evaluation of these."""

import contextlib
import math
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from syndigits_jax import report as reports
from syndigits_jax.datasets.personas import write_personas
from syndigits_jax.datasets.questions import write_questions
from syndigits_jax.datasets.tables import write_table
from syndigits_jax.respond.asking.collect import OnCollection, Report, collect_plan
from syndigits_jax.respond.asking.dry_run import DryRun, dry_run, find_tokens
from syndigits_jax.respond.asking.plan import Plan, make_plan
from syndigits_jax.respond.engines.build import build_engine
from syndigits_jax.respond.personas.writing import collect_texts
from syndigits_jax.respond.prompts.render import blocks_of
from syndigits_jax.respond.requests import Engine
from syndigits_jax.respond.store.export import read_frame, read_ratings, read_tensor
from syndigits_jax.respond.store.responses import ResponseStore
from syndigits_jax.respond.store.tallies import tally
from syndigits_jax.results.files import together, write_text
from syndigits_jax.results.progress import OnProgress, OnStep, no_step
from syndigits_jax.results.records import RESULTS, check_results_path
from syndigits_jax.schema import Persona, Question
from syndigits_jax.workflows.evaluate.run import check_report_folder
from syndigits_jax.workflows.fidelity.measure import FidelityReport
from syndigits_jax.workflows.files import Files
from syndigits_jax.workflows.pipeline.checks import (
    FidelityInputs,
    HumanAnswers,
    build_personas,
    check_calibration,
    check_fidelity,
    plan_asking,
    select_asked,
)
from syndigits_jax.workflows.pipeline.config import (
    EngineSource,
    PersonaSource,
    Pipeline,
)
from syndigits_jax.workflows.pipeline.records import write_pipeline_results
from syndigits_jax.workflows.pipeline.report import (
    evaluation_section,
    fidelity_section,
    responses_section,
)
from syndigits_jax.workflows.pipeline.worth import EVALUATION, evaluate_twins, measure_personas

REPORT = "report.md"
STORE = "responses.sqlite"
FIDELITY = "fidelity"
_ENGINE = ("url", "concurrency", "timeout")  # options by name; the others are passed on


class IncompleteError(RuntimeError):
    """Too many requests have no response; running the pipeline again asks only these."""


@dataclass(frozen=True)
class Watching:
    """Callbacks of a running pipeline; by default none.

    - `collecting`: returns a context manager, entered while a model is asked, that yields the
      callback of [`collect`][syndigits_jax.respond.asking.collect.collect].
    - `collected`: called with the report of a collection.
    - `step`: returns a context manager for a text, entered while a step of unknown length runs.
    - `measuring`: returns a context manager, entered while twins are evaluated and while fidelity
      is measured, that yields a callback.
    """

    collecting: Callable[[], AbstractContextManager[OnCollection | None]] = nullcontext
    collected: Callable[[Report], None] = lambda report: None
    step: OnStep = no_step
    measuring: Callable[[], AbstractContextManager[OnProgress | None]] = nullcontext


@dataclass(frozen=True)
class PipelineResult:
    """Results of a pipeline.

    - `out`: the folder of all files.
    - `report`: the text of `report.md`.
    - `evaluation`: the report on the twins, if there is a part `[calibrate]`; its files are in
      `evaluation_folder`.
    - `fidelity`: the measurement, if there is a part `[fidelity]`; its files are in
      `fidelity_folder`.
    """

    out: Path
    report: str
    evaluation: reports.Report | None
    fidelity: FidelityReport | None

    @property
    def fidelity_folder(self) -> Path:
        """The folder of the measurement's tables and figures."""
        return self.out / FIDELITY

    @property
    def evaluation_folder(self) -> Path:
        """The folder of the report on the twins."""
        return self.out / EVALUATION


@dataclass(frozen=True)
class Prepared:
    """A pipeline whose files have been read and checked; nothing has been asked or written.

    - `pipeline`: its settings.
    - `questions`: what is asked; `blocks`: the block of each question of the catalogue.
    - `plans`: the requests to each population: those that write its texts where a model does,
      otherwise those for its answers.
    - `human`, `fidelity`: the data of the parts of these names; `None` without the part.
    """

    pipeline: Pipeline
    questions: tuple[Question, ...]
    blocks: dict[str, str]
    plans: tuple[Plan, ...]
    human: HumanAnswers | None = None
    fidelity: FidelityInputs | None = None


def prepare(pipeline: Pipeline) -> Prepared:
    """Read and check all files and settings of a pipeline; nothing is asked or written.

    **Raises:** `ValueError` naming the part and the file; `FileNotFoundError`.
    """
    check_results_path(pipeline.out / RESULTS)
    files = Files()
    catalogue = files.questions(pipeline.questions.file, pipeline.questions.scale or None)
    questions = select_asked(catalogue, pipeline.questions)
    blocks = blocks_of(catalogue)
    built = [build_personas(source, questions, files) for source in pipeline.personas]
    plans = plan_asking(pipeline, built, questions, blocks)
    human = fidelity = None
    if pipeline.calibrate is not None:  # fails early rather than after asking
        check_report_folder(pipeline.out / EVALUATION)
        human = check_calibration(
            pipeline.calibrate, built[0], questions, files, pipeline.questions.file
        )
    if pipeline.fidelity is not None:
        check_results_path(pipeline.out / FIDELITY / RESULTS)
        fidelity = check_fidelity(pipeline.fidelity, questions, files)
    return Prepared(pipeline, questions, blocks, plans, human, fidelity)


@dataclass(frozen=True)
class PlannedAsking:
    """The requests to one population, by `found`; `to_write`: those for writing its texts."""

    title: str
    personas: int
    questions: int
    found: DryRun
    to_write: bool


def plan_pipeline(prepared: Prepared) -> list[PlannedAsking]:
    """The requests of a pipeline; for texts still to be written, the requests for these."""
    tokens, questions = find_tokens(prepared.pipeline.engine.model), len(prepared.questions)
    planned = []
    for source, plan in zip(prepared.pipeline.personas, prepared.plans, strict=True):
        found, writing = dry_run(plan, tokens), source.writing is not None
        planned.append(PlannedAsking(source.title, len(plan.personas), questions, found, writing))
    return planned


def run_pipeline(
    prepared: Prepared, *, watching: Watching | None = None, engine: Engine | None = None
) -> PipelineResult:
    """Run a pipeline; work of earlier runs is reused.

    **Arguments:** `prepared`: as [`prepare`][] returns it; `watching`: callbacks; `engine`: the
    engine to ask, by default the one that the pipeline names. It is closed at the end.

    **Raises:** [`IncompleteError`][] if more requests than the pipeline allows have no response;
    responses received are kept. What the engine raises.
    """
    pipeline, watching = prepared.pipeline, watching or Watching()
    out, questions = pipeline.out, prepared.questions
    notes: list[str] = []
    with contextlib.ExitStack() as stack:
        engine = _engine(pipeline.engine) if engine is None else engine
        stack.callback(engine.close)
        store = stack.enter_context(ResponseStore(out / STORE))
        write_questions(out / "questions.json", questions)
        people = _with_conditions(
            [
                _written(source, plan, engine, store, pipeline.allow_missing, notes, watching)
                for source, plan in zip(pipeline.personas, prepared.plans, strict=True)
            ],
            pipeline.personas,
        )
        write_personas(out / "personas.json", people)
        plan = prepared.plans[0]
        if people != plan.personas or plan.questions != questions:
            plan = make_plan(
                pipeline.template, people, questions, pipeline.decoding, prepared.blocks
            )
        with watching.collecting() as show:
            report = collect_plan(engine, plan, store, on_progress=show)
        watching.collected(report)
        _stop_unless_enough(report, pipeline.allow_missing, out)
        if report.missing:
            notes.append(f"{_missing(report, 'answers')}. What follows is without them.")
    return _report(prepared, report.run, notes, watching)


def _report(
    prepared: Prepared, number: int, notes: list[str], watching: Watching
) -> PipelineResult:
    """Write tables of the answers, their evaluation, and the report on both."""
    pipeline, questions = prepared.pipeline, prepared.questions
    out = pipeline.out
    evaluation, predicted, worth, fidelity = None, (), [], None
    with ResponseStore(out / STORE, read_only=True) as store:
        answers = read_frame(store, number)
        write_table(out / "answers.csv", answers)
        table = None
        if any(question.options for question in questions):
            table = read_tensor(store, number)
            table.save(out / "answers.npz")
        counted = tally(store, number)
        if pipeline.calibrate is not None and prepared.human is not None:
            evaluation, predicted, more = evaluate_twins(
                pipeline.calibrate, prepared.human, store, number, answers, questions, out,
                watching.measuring,
            )  # fmt: skip
            notes += more
            worth += evaluation_section(evaluation, EVALUATION)
        if prepared.fidelity is not None:
            ratings = read_ratings(store, number)
            write_table(out / "ratings.csv", ratings.set_index("persona"))
    if pipeline.fidelity is not None and prepared.fidelity is not None:
        fidelity = measure_personas(
            pipeline.fidelity, prepared.fidelity, out / "ratings.csv", out / FIDELITY,
            measuring=watching.measuring, step=watching.step,
        )  # fmt: skip
        reference = "ssr" if "ssr" in fidelity.populations else "trained"
        worth += fidelity_section(fidelity.records, fidelity.notes, reference)
    lines = [
        f"# {os.path.basename(os.path.realpath(out))}",
        "",
        *responses_section(counted, table),
        *worth,
    ]
    if notes:
        lines += ["## Notes", "", *(f"- {note}" for note in notes)]
    text = "\n".join(lines).rstrip() + "\n"
    with together():
        write_pipeline_results(
            out / RESULTS, counted, evaluation=evaluation, predicted=predicted, notes=notes
        )
        write_text(out / REPORT, text)
    return PipelineResult(out, text, evaluation, fidelity)


def _engine(source: EngineSource) -> Engine:
    options = dict(source.options)
    urls, concurrency, timeout = (options.pop(key, None) for key in _ENGINE)
    try:
        return build_engine(
            source.kind, source.model, [urls] if isinstance(urls, str) else urls or (),
            concurrency=concurrency, timeout=timeout, options=options,
        )  # fmt: skip
    except (ValueError, TypeError) as error:
        raise ValueError(f"[engine]: {error}".replace("`engine_option` ", "")) from None


# --- asking ---------------------------------------------------------------------------------------


def _written(
    source: PersonaSource,
    plan: Plan,
    engine: Engine,
    store: ResponseStore,
    allowed: float,
    notes: list[str],
    watching: Watching,
) -> tuple[Persona, ...]:
    """The personas with their texts, written by a model if necessary; personas without a text are
    added to `notes`. `allowed`: the share of texts that may be missing."""
    if source.writing is None:
        return plan.personas
    with watching.collecting() as show:
        written, report = collect_texts(
            engine, plan, store, on_progress=show, allow_missing=allowed
        )
    watching.collected(report)
    if written is None:
        _stop_unless_enough(report, allowed, store.path.parent)
        raise AssertionError("no texts, though enough were written")
    if written.missing:
        notes.append(f"{source.title}: {_missing(report, 'texts')}. Their personas are left out.")
    for names, did in ((written.empty, "wrote nothing"), (written.refused, "refused")):
        if names:
            notes.append(
                f"{source.title}: the model {did} for {len(names)} of {len(plan.personas)} "
                "personas, which are left out."
            )
    return written.personas


def _with_conditions(
    groups: Sequence[tuple[Persona, ...]], sources: Sequence[PersonaSource]
) -> tuple[Persona, ...]:
    """All personas; with their conditions as attributes if there are several."""
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


def _stop_unless_enough(report: Report, allowed: float, out: Path) -> None:
    share = report.missing / report.planned if report.missing else 0.0
    if share > allowed:
        enough = math.ceil(1000 * share) / 1000
        raise IncompleteError(
            f"{report.missing} responses are missing; the others are in {out}, and the same "
            f"command asks only for the missing ones; `allow_missing` in [respond] is {allowed:g}"
            + (f", and with {enough:g} it would go on without them" if enough < 1 else "")
        )


def _missing(report: Report, what: str) -> str:
    """The number of missing responses and the reasons, as text."""
    counts = {
        **report.reasons,
        "other reasons": report.failed - sum(report.reasons.values()),
        "not asked, after repeated failures": report.missing - report.failed,
    }
    why = "; ".join(f"{reason} ({count} times)" for reason, count in counts.items() if count)
    return f"{report.missing} of {report.planned} {what} are missing: {why}"
