"""What a pipeline's answers are worth: twins held against people, personas against raters."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from syndigits_jax.datasets.tables import write_table
from syndigits_jax.respond.store.export import to_panel
from syndigits_jax.respond.store.responses import ResponseStore
from syndigits_jax.results.names import kebab
from syndigits_jax.results.progress import OnProgress, OnStep
from syndigits_jax.schema import Question
from syndigits_jax.tables.frames import import_pandas
from syndigits_jax.workflows.calibrate import calibrate_panel
from syndigits_jax.workflows.fidelity.files import read_persona_ratings
from syndigits_jax.workflows.fidelity.measure import FidelityReport
from syndigits_jax.workflows.fidelity.run import (
    fidelity_settings,
    item_vectors,
    measure_and_write,
)
from syndigits_jax.workflows.pipeline.checks import (
    FidelityInputs,
    HumanAnswers,
)
from syndigits_jax.workflows.pipeline.config import (
    Calibrate,
    Fidelity,
)
from syndigits_jax.workflows.twin_quality import TwinQuality, judge_twins


def hold_out_twins(
    settings: Calibrate,
    given: HumanAnswers,
    store: ResponseStore,
    run: int,
    asked: Any,
    questions: Sequence[Question],
    out: Path,
    step: OnStep,
) -> tuple[TwinQuality, dict[str, str], list[str]]:
    """The hold-out, whose tables are written; the method of each predicted question; and notes.

    **Arguments:** `settings`: the part [calibrate]; `given`: people's answers; `store`, `run`:
    where the twins' are, and `asked` as a data frame; `questions`: what they were asked; `out`: the
    folder of results; `step`: entered while questions are held out.
    """
    human, notes = given.frame, []
    apart = (
        int((~human.index.isin(asked.index)).sum()),
        int((~human.columns.isin(asked.columns)).sum()),
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
    human = human.loc[human.index.isin(asked.index), human.columns.isin(kept)]
    panel = to_panel(
        store, human, run, join="inner", new_questions=True, name=out.name,
        missing=given.codes,
    )  # fmt: skip
    panel = panel.drop(questions=[name for name in panel.questions if name in nominal])
    with step("holding out one question after the other ..."):
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
        f"Questions without human answers are predicted by {best}, whose correlation is highest "
        f"(predictions.csv): {', '.join(panel.new_questions)}."
    )
    return quality, dict.fromkeys(panel.new_questions, best), notes


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
        vectors = item_vectors(data.texts, None, out, step)
    return measure_and_write(
        data, vectors, out,
        settings=fidelity_settings(
            settings.epochs, settings.gap, settings.control, settings.quick
        ),
        key=settings.seed, showing_progress=measuring,
    )  # fmt: skip
