"""Fidelity of a user's own personas: files read, measured, and results written."""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from syndigits_jax.datasets.tables import write_table
from syndigits_jax.preferences.text import MINILM, embed_texts, sentence_encoder
from syndigits_jax.preferences.training import TrainingSettings
from syndigits_jax.results.checkpoints import UNITS
from syndigits_jax.results.keys import Key, random_key
from syndigits_jax.results.progress import OnProgress, OnStep, no_step
from syndigits_jax.results.records import RESULTS, check_results_path
from syndigits_jax.solvers.solution import Status
from syndigits_jax.tables.frames import Table, import_pandas
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
from syndigits_jax.workflows.fidelity.records import write_fidelity_results

PERSONAS = "personas.csv"
Settings = TypeVar("Settings", bound=FidelitySettings)
_Path = str | PathLike[str]
_QUICK_EPOCHS = 3
_QUICK = {"replicates": 20, "projections": 50, "permutations": 100, "paired_replicates": 200}


def run_fidelity(
    ratings: Table,
    items: Table,
    personas: Table,
    out: _Path,
    *,
    settings: FidelitySettings,
    embeddings: _Path | None = None,
    missing: str = "",
    key: Key = 0,
    showing_progress: Callable[[], AbstractContextManager[OnProgress | None]] = nullcontext,
    on_step: OnStep = no_step,
) -> FidelityReport:
    """Measure the fidelity of a user's personas and write the results under `out`.

    Finished epochs are saved there, so that an interrupted measurement can be resumed.

    **Arguments:**

    - `ratings`, `items`, `personas`: tables as
      [`read_fidelity_files`][syndigits_jax.workflows.fidelity.files.read_fidelity_files] takes.
    - `out`: the folder for results.
    - `settings`: of the measurement, such as [`fidelity_settings`][] returns.
    - `embeddings`: path of vectors of the items' texts; by default the texts are encoded, once.
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
    vectors = item_vectors(data.texts, embeddings, out, on_step)
    return measure_and_write(
        data, vectors, out, settings=settings, key=key, showing_progress=showing_progress
    )


def measure_and_write(
    data: FidelityData,
    vectors: Float[np.ndarray, "m e"],
    out: _Path,
    *,
    settings: FidelitySettings,
    key: Key = 0,
    showing_progress: Callable[[], AbstractContextManager[OnProgress | None]] = nullcontext,
) -> FidelityReport:
    """[`run_fidelity`][] with what has been read already.

    **Arguments:** `data`: ratings of real people and personas; `vectors`: (m, e) of the items'
    texts; `out`: the folder for results, without a results file of something else; `settings`,
    `key`, `showing_progress`: as in [`run_fidelity`][].

    **Raises:** `ValueError` as `measure_fidelity` does, before anything is written.
    """
    out = Path(out)
    with showing_progress() as show:
        report = measure_fidelity(
            data.ratings, vectors, data.personas,
            key=random_key(key), seeds=data.seeds, conditions=data.conditions,
            settings=settings, out=out,
            on_progress=show,
        )  # fmt: skip
    if not data.dated:
        text = "the ratings have no times: their order in the file was used instead"
        report = dataclasses.replace(report, notes=(text, *report.notes))
    write_fidelity_results(
        out / RESULTS, report.records, counts=report.counts, settings=settings, notes=report.notes
    )
    write_table(out / PERSONAS, _placements(data, report))
    return report


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
    """The settings with few epochs and resamples, for a quick run."""
    training = dataclasses.replace(settings.training, epochs=_QUICK_EPOCHS)
    return dataclasses.replace(settings, training=training, panel=PanelSettings(**_QUICK))


def item_vectors(
    texts: Sequence[str], embeddings: _Path | None, out: _Path, on_step: OnStep = no_step
) -> Float[np.ndarray, "m d"]:
    """Text vectors of the items, (m, e).

    **Arguments:** `texts`: of the m items; `embeddings`: path of a file of vectors, or `None` to
    encode the texts; `out`: a folder where encoded vectors are saved; `on_step`: entered while the
    texts are encoded.

    **Raises:** `ValueError` if all texts are empty, or as `read_embeddings` does.
    """
    if embeddings is not None:
        return read_embeddings(embeddings, len(texts))
    if not any(texts):
        raise ValueError(
            "items: the table has no texts, only identifiers; add a column such as title, or give "
            "`embeddings`"
        )
    with on_step(f"encoding {len(texts)} item texts ..."):
        encoder = sentence_encoder()
        return embed_texts(texts, encoder, cache=Path(out) / UNITS / "texts", name=MINILM)


def _placements(data: FidelityData, report: FidelityReport):
    """A table with one row per persona: whether it could be placed, and how well."""
    pd = import_pandas()
    told = {"seed": data.seeds, "condition": data.conditions}
    columns: dict[str, Any] = {k: list(v) for k, v in told.items() if v is not None}
    columns["constant"] = np.asarray(report.personas["ssr"].constant)
    columns["pairs"] = np.asarray(report.personas["ssr"].pairs).astype(int)
    for name, people in report.personas.items():
        columns[f"{name}_loss"] = np.asarray(people.loss)
        columns[f"{name}_gradient_norm"] = np.asarray(people.gradient_norm)
    codes = np.asarray(report.personas["newton"].status)
    columns["newton_status"] = [Status(int(code)).word for code in codes]
    return pd.DataFrame(columns, index=pd.Index(data.personas.users, name="persona"))
