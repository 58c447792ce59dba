"""What a pipeline's answers are worth: twins held against people, personas against raters."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from syndigits_jax.datasets.tables import write_table
from syndigits_jax.report import Report
from syndigits_jax.respond.store.export import to_panel
from syndigits_jax.respond.store.responses import ResponseStore
from syndigits_jax.results.progress import OnProgress, OnStep
from syndigits_jax.schema import Question
from syndigits_jax.workflows.estimate import estimate_panel
from syndigits_jax.workflows.evaluate.checks import inputs_of
from syndigits_jax.workflows.evaluate.run import evaluate_panel
from syndigits_jax.workflows.fidelity.files import read_persona_ratings
from syndigits_jax.workflows.fidelity.measure import FidelityReport
from syndigits_jax.workflows.fidelity.run import fidelity_settings, measure_and_write
from syndigits_jax.workflows.fidelity.texts import item_vectors
from syndigits_jax.workflows.people import people_column, people_labels, people_weights
from syndigits_jax.workflows.pipeline.checks import (
    FidelityInputs,
    HumanAnswers,
)
from syndigits_jax.workflows.pipeline.config import (
    Calibrate,
    Fidelity,
)

EVALUATION = "evaluation"
"""The folder of the report on the twins, inside that of the pipeline."""


def evaluate_twins(
    settings: Calibrate,
    given: HumanAnswers,
    store: ResponseStore,
    run: int,
    asked: Any,
    questions: Sequence[Question],
    out: Path,
    measuring: Callable[[], AbstractContextManager[OnProgress | None]],
) -> tuple[Report, tuple[str, ...], list[str]]:
    """The report on the twins, whose files are written; the predicted questions; and notes.

    **Arguments:** `settings`: the part [calibrate]; `given`: people's answers; `store`, `run`:
    where the twins' are, and `asked` as a data frame; `questions`: what they were asked; `out`: the
    folder of results; `measuring`: entered while questions are held out.
    """
    human, notes = given.frame, []
    apart = (
        int((~human.index.isin(asked.index)).sum()),
        int((~human.columns.isin([*asked.columns, *settings.columns])).sum()),
    )
    if any(apart):
        notes.append(
            f"Left out of the calibration: {apart[0]} people without a twin and {apart[1]} "
            f"questions that were not asked, of {settings.human}."
        )
    silent = set(asked.columns[asked.isna().all()])
    nominal = {q.identifier for q in questions if q.scale and q.scale.kind == "nominal"}
    for names, why in ((silent, "no twin gave an answer"), (nominal - silent, "answers are codes")):
        if names:
            said = ", ".join(name for name in asked.columns if name in names)
            notes.append(f"Left out of the calibration because {why}: {said}.")
    kept = [name for name in asked.columns if name not in silent | nominal]
    # Without people who have no twin and questions that were not asked.
    answers = human.loc[human.index.isin(asked.index), human.columns.isin(kept)]
    panel = to_panel(
        store, answers, run, join="inner", new_questions=True, name=out.name, missing=given.codes,
    )  # fmt: skip
    panel = panel.drop(questions=[name for name in panel.questions if name in nominal])
    panel = panel.drop(users=panel.new_users)
    blocks = {q.identifier: q.block for q in questions if q.identifier in panel.questions}
    if any(blocks.values()):
        panel = panel.with_blocks({name: block or None for name, block in blocks.items()})
    cells = {name: people_column({"human": human}, name, "groups") for name in settings.groups}
    weight = None
    if settings.weights is not None:
        found = people_column({"human": human}, settings.weights, "weights")
        weight = people_weights(found, panel.users)
    inputs = inputs_of(
        panel,
        weights=weight,
        groups={name: people_labels(found, panel.users) for name, found in cells.items()},
        names={"human": Path(settings.human).name},
    )
    with measuring() as on_progress:
        report = evaluate_panel(
            inputs, out=out / EVALUATION, key=settings.seed, on_progress=on_progress
        )
    if not panel.new_questions:
        return report, (), notes
    estimated = estimate_panel(panel, "question", sample_weight=weight, key=settings.seed)
    estimated.predictions.index.name = asked.index.name
    write_table(out / "predictions.csv", estimated.predictions)
    notes.append(
        "Answers to questions that no human answered are estimated from the others "
        f"(predictions.csv): {', '.join(panel.new_questions)}."
    )
    return report, panel.new_questions, notes


def measure_personas(
    settings: Fidelity,
    given: FidelityInputs,
    ratings: Path,
    out: Path,
    *,
    measuring: Callable[[], AbstractContextManager[OnProgress | None]],
    step: OnStep,
) -> FidelityReport:
    """Measure the fidelity of a pipeline's personas, and write tables and figures.

    **Arguments:** `settings`: the part [fidelity]; `given`: its data; `ratings`: the table of the
    personas' ratings; `out`: the folder of results; `measuring`, `step`: entered while fidelity is
    measured, and while texts are encoded.
    """
    data = read_persona_ratings(ratings, given.rated)
    vectors = given.embeddings
    if vectors is None:
        vectors = item_vectors(data.texts, None, out, step, settings.text_encoder)
    return measure_and_write(
        data, vectors, out,
        settings=fidelity_settings(
            settings.epochs, settings.gap, settings.control, settings.quick
        ),
        key=settings.seed, showing_progress=measuring,
    )  # fmt: skip
