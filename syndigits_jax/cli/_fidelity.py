"""`syndigits fidelity`."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from syndigits_jax._frames import import_pandas
from syndigits_jax.cli._console import output, showing_progress, showing_step
from syndigits_jax.cli._fidelity_figures import save_fidelity_figures
from syndigits_jax.fidelity.text import MINILM, embed_texts, sentence_encoder
from syndigits_jax.fidelity.training import TrainingSettings
from syndigits_jax.solvers.solution import Status
from syndigits_jax.studies.fidelity import FidelityReport, FidelitySettings, measure_fidelity
from syndigits_jax.studies.fidelity_files import FidelityData, read_embeddings, read_fidelity_files
from syndigits_jax.studies.fidelity_populations import PanelSettings
from syndigits_jax.studies.fidelity_records import (
    FidelityRecord,
    check_results_path,
    write_fidelity_results,
)
from syndigits_jax.studies.own_files import write_table
from syndigits_jax.studies.tables import RESULTS

_QUICK_EPOCHS = 3
_QUICK = {"replicates": 20, "projections": 50, "permutations": 100, "paired_replicates": 200}
_INDEX = {
    "fgi_frechet": "FGI\nFréchet",
    "fgi_mmd2": "FGI\nMMD²",
    "fgi_sliced_wasserstein": "FGI\nsliced W.",
    "fgi_coverage": "FGI\ncoverage",
}
_PLAIN = {
    "coverage": "coverage",
    "cosine_mean": "mean\ncosine",
    "norm_ratio": "norm\nratio",
    "mmd_p": "MMD\np",
}
_PAIRED = {
    "paired_cosine_distance": "cosine distance",
    "paired_distance": "distance",
    "paired_norm_ratio": "norm ratio (median)",
    "rank_accuracy": "rank accuracy",
    "rating_correlation": "rating correlation",
}


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
) -> None:
    """Measure the fidelity of a user's personas; print and write what was found."""
    results = out / RESULTS
    check_results_path(results)
    settings = fidelity_settings(epochs, gap, control, quick)
    data = read_fidelity_files(ratings, items, personas)
    vectors = _vectors(data, embeddings, out)
    with showing_progress() as show:
        report = measure_fidelity(
            data.ratings, vectors, data.personas,
            key=jax.random.key(seed), seeds=data.seeds, settings=settings, out=out,
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


def fidelity_settings(
    epochs: int | None, gap: float, control: str, quick: bool
) -> FidelitySettings:
    """The settings that the options stand for. **Raises:** `ValueError` for a bad one."""
    training = TrainingSettings(gap=gap)
    if epochs is not None or quick:
        training = dataclasses.replace(training, epochs=_QUICK_EPOCHS if epochs is None else epochs)
    panel = PanelSettings(**_QUICK) if quick else PanelSettings()
    return FidelitySettings(training=training, panel=panel, control=control)


def _vectors(data: FidelityData, embeddings: Path | None, out: Path) -> np.ndarray:
    if embeddings is not None:
        return read_embeddings(embeddings, len(data.texts))
    if not any(data.texts):
        raise ValueError(
            "items: the table has no texts, only identifiers; add a column such as title, or give "
            "--embeddings"
        )
    with showing_step(f"encoding {len(data.texts)} item texts ..."):
        encoder = sentence_encoder()
        return embed_texts(data.texts, encoder, cache=out / "units" / "texts", name=MINILM)


def _placements(data: FidelityData, report: FidelityReport):
    """A row per persona: whether it could be placed, and how well its ratings determine where."""
    pd = import_pandas()
    columns: dict[str, Any] = {} if data.seeds is None else {"seed": list(data.seeds)}
    columns["constant"] = np.asarray(report.personas["ssr"].constant)
    columns["pairs"] = np.asarray(report.personas["ssr"].pairs).astype(int)
    for name, placed in report.personas.items():
        columns[f"{name}_loss"] = np.asarray(placed.loss)
        columns[f"{name}_gradient_norm"] = np.asarray(placed.gradient_norm)
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
    accuracy = [r for r in report.records if r.metric == "pairwise_accuracy"]
    if accuracy:
        table = _table("held-out pairwise accuracy", "mean")
        for r in accuracy:
            table.add_row(r.population.replace("_", " "), _cell(r, digits=3))
        console.print(table)
    for reference in report.populations:
        title = f"against real users, {_placed(reference)} (0: as real users, 1: as noise)"
        console.print(f"\n{title}", style="bold", soft_wrap=True, markup=False)
        console.print(_population_table(report.records, reference))
    if report.paired:
        title = "personas and their seeds; in brackets with the seeds shuffled"
        console.print(f"\n{title}", style="bold", soft_wrap=True, markup=False)
        console.print(_paired_table(report))
    for note in report.notes:
        console.print(f"note: {note}", soft_wrap=True, markup=False)


def _population_table(records: Sequence[FidelityRecord], reference: str) -> Table:
    rows: dict[tuple[str, str], dict[str, FidelityRecord]] = {}
    for r in records:
        if r.reference == reference:
            rows.setdefault((r.population, r.procedure), {}).setdefault(r.metric, r)
    table = _table("population", *_INDEX.values(), *_PLAIN.values())
    for (population, procedure), row in rows.items():
        name = population.replace("_", " ")
        if population == "personas" or procedure != reference:
            name += f", {_placed(procedure)}"
        # Of floor and ceiling the index is 0 and 1 by definition.
        fixed = population in ("real", "noise") and procedure == reference
        index = [_number(row.get(m)) if fixed else _cell(row.get(m)) for m in _INDEX]
        table.add_row(name, *index, *(_number(row.get(m)) for m in _PLAIN))
    return table


def _paired_table(report: FidelityReport) -> Table:
    found: Mapping[tuple[str, str, str], FidelityRecord] = {
        (r.procedure, r.reference, r.metric): r
        for r in report.records
        if r.population == "personas"
    }
    table = _table("", *(f"{_placed(p)}, seeds {_placed(r)}" for p, r in report.paired))
    for metric, label in _PAIRED.items():
        cells = []
        for pair in report.paired:
            mine, other = found.get((*pair, metric)), found.get((*pair, f"{metric}_shuffled"))
            cells.append(f"{_number(mine, 3)} ({_number(other, 3)})")
        table.add_row(label, *cells)
    return table


def _placed(procedure: str) -> str:
    return "as trained" if procedure == "trained" else f"by {procedure}"


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _number(record: FidelityRecord | None, digits: int = 2) -> str:
    """Undefined or unstable numbers are a dash."""
    if record is None or not math.isfinite(record.mean):
        return "-"
    return _fixed(record.mean, digits)


def _cell(record: FidelityRecord | None, digits: int = 2) -> str:
    text = _number(record, digits)
    if record is None or text == "-" or not math.isfinite(record.low):
        return text
    return f"{text}\n{_fixed(record.low, digits)}..{_fixed(record.high, digits)}"


def _fixed(value: float, digits: int) -> str:
    """So many decimals, and no minus before a zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"
