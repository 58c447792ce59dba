"""`syndigits fidelity`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from rich.console import Console

from syndigits_jax.cli.commands.tables_options import as_options
from syndigits_jax.cli.render.console import output, showing_progress, showing_step
from syndigits_jax.cli.render.fidelity_figures import save_fidelity_figures
from syndigits_jax.cli.render.fidelity_tables import (
    accuracy_table,
    paired_table,
    placed,
    population_table,
)
from syndigits_jax.preferences.text import MINILM, embed_texts, sentence_encoder
from syndigits_jax.preferences.training import TrainingSettings
from syndigits_jax.results.records import RESULTS
from syndigits_jax.solvers.solution import Status
from syndigits_jax.tables.frames import import_pandas
from syndigits_jax.workflows.calibrate import write_table
from syndigits_jax.workflows.fidelity.files import (
    FidelityData,
    read_embeddings,
    read_fidelity_files,
)
from syndigits_jax.workflows.fidelity.measure import (
    FidelityReport,
    FidelitySettings,
    measure_fidelity,
)
from syndigits_jax.workflows.fidelity.populations import PanelSettings
from syndigits_jax.workflows.fidelity.records import check_results_path, write_fidelity_results

Settings = TypeVar("Settings", bound=FidelitySettings)
_QUICK_EPOCHS = 3
_QUICK = {"replicates": 20, "projections": 50, "permutations": 100, "paired_replicates": 200}


def run(
    ratings: Path,
    items: Path,
    personas: Path,
    out: Path,
    *,
    embeddings: Path | None,
    epochs: int | None,
    seed: int,
    gap: float,
    control: str,
    quick: bool,
    missing: str = "",
) -> FidelityReport:
    """Measure the fidelity of a user's personas; print and write what was found."""
    results = out / RESULTS
    check_results_path(results)
    settings = fidelity_settings(epochs, gap, control, quick)
    with as_options():
        data = read_fidelity_files(ratings, items, personas, missing=missing)
    vectors = item_vectors(data.texts, embeddings, out)
    with showing_progress() as show:
        report = measure_fidelity(
            data.ratings, vectors, data.personas,
            key=jax.random.key(seed), seeds=data.seeds, conditions=data.conditions,
            settings=settings, out=out,
            on_progress=show,
        )  # fmt: skip
    if not data.dated:
        text = "the ratings have no times: their order in the file was taken for that"
        report = dataclasses.replace(report, notes=(text, *report.notes))
    write_fidelity_results(
        results, report.records, counts=report.counts, settings=settings, notes=report.notes
    )
    write_table(out / "personas.csv", _placements(data, report))
    written = [results, out / "personas.csv", *save_fidelity_figures(report, out)]
    _print(output(), report)
    output().print(f"written: {', '.join(map(str, written))}", soft_wrap=True, markup=False)
    return report


def fidelity_settings(
    epochs: int | None, gap: float, control: str, quick: bool
) -> FidelitySettings:
    """The settings that the options stand for. **Raises:** `ValueError` for a bad one."""
    settings = FidelitySettings(training=TrainingSettings(gap=gap), control=control)
    settings = quick_settings(settings) if quick else settings
    if epochs is None:
        return settings
    return dataclasses.replace(
        settings, training=dataclasses.replace(settings.training, epochs=epochs)
    )


def quick_settings(settings: Settings) -> Settings:
    """Few epochs and resamples."""
    training = dataclasses.replace(settings.training, epochs=_QUICK_EPOCHS)
    return dataclasses.replace(settings, training=training, panel=PanelSettings(**_QUICK))


def item_vectors(texts: Sequence[str], embeddings: Path | None, out: Path) -> np.ndarray:
    """Text vectors of the items: those of a file, or encoded, once, and kept under `out`."""
    if embeddings is not None:
        return read_embeddings(embeddings, len(texts))
    if not any(texts):
        raise ValueError(
            "items: the table has no texts, only identifiers; add a column such as title, or give "
            "--embeddings"
        )
    with showing_step(f"encoding {len(texts)} item texts ..."):
        encoder = sentence_encoder()
        return embed_texts(texts, encoder, cache=out / "units" / "texts", name=MINILM)


def _placements(data: FidelityData, report: FidelityReport):
    """A row per persona: whether it could be placed, and how well its ratings determine where."""
    pd = import_pandas()
    told = {"seed": data.seeds, "condition": data.conditions}
    columns: dict[str, Any] = {k: list(v) for k, v in told.items() if v is not None}
    columns["constant"] = np.asarray(report.personas["ssr"].constant)
    columns["pairs"] = np.asarray(report.personas["ssr"].pairs).astype(int)
    for name, people in report.personas.items():
        columns[f"{name}_loss"] = np.asarray(people.loss)
        columns[f"{name}_gradient_norm"] = np.asarray(people.gradient_norm)
    codes = np.asarray(report.personas["newton"].status)
    columns["newton_status"] = [Status(int(code)).name.lower() for code in codes]
    return pd.DataFrame(columns, index=pd.Index(data.personas.users, name="persona"))


def _print(console: Console, report: FidelityReport) -> None:
    counts = report.counts
    console.print(
        f"\n{counts['users']} users ({counts['users_without_pairs']} without a training pair, left "
        f"out), {counts['personas']} personas ({counts['constant_personas']} without a pair of "
        f"ratings, left out), {counts['items']} items",
        soft_wrap=True,
        markup=False,
    )
    if any(r.metric == "pairwise_accuracy" for r in report.records):
        console.print(accuracy_table(report.records))
    for reference in report.populations:
        title = f"against real users, {placed(reference)} (0: as real users, 1: as noise)"
        console.print(f"\n{title}", style="bold", soft_wrap=True, markup=False)
        console.print(population_table(report.records, reference))
    if report.paired:
        title = "personas and their seeds; in brackets with the seeds shuffled"
        console.print(f"\n{title}", style="bold", soft_wrap=True, markup=False)
        console.print(paired_table(report.records, list(report.paired)))
    for note in report.notes:
        console.print(f"note: {note}", soft_wrap=True, markup=False)
