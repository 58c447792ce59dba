"""Fidelity of a user's own personas: files read, measured, and results written."""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from syndigits_jax.datasets.tables import write_table
from syndigits_jax.plots import save_figure
from syndigits_jax.preferences.training import TrainingSettings
from syndigits_jax.results.files import together
from syndigits_jax.results.keys import Key, random_key
from syndigits_jax.results.progress import OnProgress, OnStep, no_step
from syndigits_jax.results.records import RESULTS, check_results_path
from syndigits_jax.solvers.solution import Status
from syndigits_jax.tables.frames import Table, import_pandas
from syndigits_jax.workflows.fidelity.figures import fidelity_figures
from syndigits_jax.workflows.fidelity.files import (
    FidelityData,
    read_fidelity_files,
)
from syndigits_jax.workflows.fidelity.measure import (
    FidelityReport,
    FidelitySettings,
    measure_fidelity,
)
from syndigits_jax.workflows.fidelity.populations import PanelSettings
from syndigits_jax.workflows.fidelity.records import write_fidelity_results
from syndigits_jax.workflows.fidelity.texts import AUTO, ItemVectors, item_vectors

PERSONAS = "personas.csv"
Settings = TypeVar("Settings", bound=FidelitySettings)
_Path = str | PathLike[str]
_QUICK_EPOCHS = 3
_QUICK = {
    "replicates": 20, "projections": 50, "permutations": 100, "paired_replicates": 200,
    "samplers": ("dirichlet",),
}  # fmt: skip


def run_fidelity(
    ratings: Table,
    items: Table,
    personas: Table,
    out: _Path,
    *,
    settings: FidelitySettings,
    embeddings: _Path | None = None,
    text_encoder: str = AUTO,
    missing: str = "",
    key: Key = 0,
    showing_progress: Callable[[], AbstractContextManager[OnProgress | None]] = nullcontext,
    on_step: OnStep = no_step,
) -> FidelityReport:
    """Measure the fidelity of a user's personas and write the results and figures under `out`.

    Finished epochs, placements and comparisons are saved there, so that an interrupted measurement
    can be resumed. All files of results are whole before the first takes its place, and
    `results.json` comes last.

    **Arguments:**

    - `ratings`, `items`, `personas`: tables as
      [`read_fidelity_files`][syndigits_jax.workflows.fidelity.files.read_fidelity_files] takes.
    - `out`: the folder for results.
    - `settings`: of the measurement, such as [`fidelity_settings`][] returns.
    - `embeddings`: path of vectors of the items' texts; by default the texts are encoded, once.
    - `text_encoder`: how they are encoded, as in [`item_vectors`][].
    - `missing`: what stands for a missing rating, as in
      [`read_table`][syndigits_jax.datasets.read_table].
    - `key`: a JAX random key or an integer, of training, placement and resampling.
    - `showing_progress`: a function that returns a context manager, entered while the measurement
      runs; it yields the callback for progress.
    - `on_step`: entered while the texts are encoded.

    **Raises:** `ValueError` naming the file or argument, before anything is written.
    """
    out = Path(out)
    check_results_path(out / RESULTS)
    data = read_fidelity_files(ratings, items, personas, missing=missing)
    vectors = item_vectors(data.texts, embeddings, out, on_step, text_encoder)
    return measure_and_write(
        data, vectors, out, settings=settings, key=key, showing_progress=showing_progress
    )


def measure_and_write(
    data: FidelityData,
    vectors: ItemVectors,
    out: _Path,
    *,
    settings: FidelitySettings,
    key: Key = 0,
    showing_progress: Callable[[], AbstractContextManager[OnProgress | None]] = nullcontext,
) -> FidelityReport:
    """[`run_fidelity`][] with what has been read already.

    **Arguments:** `data`: ratings of real people and personas; `vectors`: of the items' texts;
    `out`: the folder for results, without a results file of something else; `settings`,
    `key`, `showing_progress`: as in [`run_fidelity`][].

    **Raises:** `ValueError` as `measure_fidelity` does, before anything is written.
    """
    out = Path(out)
    with showing_progress() as show:
        report = measure_fidelity(
            data.ratings, vectors.values, data.personas,
            key=random_key(key), seeds=data.seeds, conditions=data.conditions,
            settings=settings, out=out,
            on_progress=show,
        )  # fmt: skip
    notes = [*quick_notes(settings), *vectors.notes]
    if not data.dated:
        notes.append("the ratings have no times: their order in the file was used instead")
    report = dataclasses.replace(report, notes=(*notes, *report.notes))
    figures = {out / f"fidelity-{name}.png": ax for name, ax in fidelity_figures(report).items()}
    with together():  # no old figure beside new numbers
        for path, ax in figures.items():
            save_figure(ax, path)
        write_table(out / PERSONAS, _placements(data, report))
        write_fidelity_results(
            out / RESULTS, report.records,
            counts=report.counts, settings=settings, notes=report.notes,
        )  # fmt: skip
    return dataclasses.replace(report, files=(out / RESULTS, out / PERSONAS, *figures))


def fidelity_settings(
    epochs: int | None = None, gap: float = 1.0, control: str = "held_out", quick: bool = False
) -> FidelitySettings:
    """Settings from the options of a command.

    **Arguments:** `epochs`: of training, the default of
    [`TrainingSettings`][syndigits_jax.preferences.TrainingSettings] if `None`; `gap`: the least
    difference of two ratings that form a pair; `control`: as in [`FidelitySettings`][]; `quick`:
    few epochs and resamples.

    **Raises:** `ValueError` for an invalid value.
    """
    settings = FidelitySettings(training=TrainingSettings(gap=gap), control=control)
    settings = quick_settings(settings) if quick else settings
    if epochs is None:
        return settings
    return dataclasses.replace(
        settings, training=dataclasses.replace(settings.training, epochs=epochs)
    )


def quick_settings(settings: Settings) -> Settings:
    """Settings for a first look: few epochs and resamples, one procedure, one baseline."""
    training = dataclasses.replace(settings.training, epochs=_QUICK_EPOCHS)
    return dataclasses.replace(
        settings, training=training, panel=PanelSettings(**_QUICK), procedures=("ssr",), quick=True
    )


def quick_notes(settings: FidelitySettings) -> list[str]:
    """What a quick measurement left out; nothing for one that is not quick."""
    if not settings.quick:
        return []
    usual = FidelitySettings()
    less = [
        f"{few} {name} in place of {many}"
        for name, few, many in (
            ("epochs", settings.training.epochs, usual.training.epochs),
            ("bootstrap replicates", settings.panel.replicates, usual.panel.replicates),
            ("projections", settings.panel.projections, usual.panel.projections),
            ("permutations", settings.panel.permutations, usual.panel.permutations),
        )
        if few < many
    ]
    methods = [
        f"placement by {name}" for name in usual.procedures if name not in settings.procedures
    ]
    samplers = [name for name in usual.panel.samplers if name not in settings.panel.samplers]
    left = [*methods, *(f"the baseline {name.replace('_', ' ')}" for name in samplers)]
    return [
        f"a first look (quick): {', '.join(less)}; without {', '.join(left)}. Intervals are rough "
        "and the encoder may not be trained out: measure what you report without `quick`"
    ]


def _placements(data: FidelityData, report: FidelityReport):
    """A table with one row per persona: whether it could be placed, and how well."""
    pd = import_pandas()
    told = {"seed": data.seeds, "condition": data.conditions}
    columns: dict[str, Any] = {k: list(v) for k, v in told.items() if v is not None}
    one = next(iter(report.personas.values()))
    columns["constant"] = np.asarray(one.constant)
    columns["pairs"] = np.asarray(one.pairs).astype(int)
    for name, people in report.personas.items():
        columns[f"{name}_loss"] = np.asarray(people.loss)
        columns[f"{name}_gradient_norm"] = np.asarray(people.gradient_norm)
    if "newton" in report.personas:
        codes = np.asarray(report.personas["newton"].status)
        columns["newton_status"] = [Status(int(code)).word for code in codes]
    return pd.DataFrame(columns, index=pd.Index(data.personas.users, name="persona"))
