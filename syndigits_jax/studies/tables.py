"""The paper's tables run on the public data, resumably, with every control beside every method."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from syndigits_jax.calibration import Settings, leave_one_question_out, leave_one_user_out
from syndigits_jax.panel import Panel
from syndigits_jax.studies import figure5
from syndigits_jax.studies.checkpoint import Checkpoints, unit_key
from syndigits_jax.studies.protocol import Unit, load, plan
from syndigits_jax.studies.records import Record, write_results
from syndigits_jax.studies.scoring import target_scores, unit_records

RESULTS = "results.json"
UNITS = "units"  # folder of finished units inside the output folder


@dataclass(frozen=True)
class Progress:
    """How far a table is: unit `unit` of `units` (from 0), `done` of its `total` targets.

    `resumed` says that the unit was found finished.
    """

    unit: int
    units: int
    label: str
    done: int
    total: int
    resumed: bool = False


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class UnitResult:
    """A unit and its per-target scores by `method/metric`."""

    unit: Unit
    arrays: dict[str, np.ndarray]
    resumed: bool


def run_table(
    table: str,
    data_dir: str | os.PathLike[str],
    *,
    constructions: Iterable[str] | None = None,
    methods: Iterable[str] | None = None,
    setting: str = "reference",
    out: str | os.PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[list[Record], list[UnitResult]]:
    """Evaluate a table and return its records, and the per-target scores behind them.

    **Arguments:** `table`, `constructions`, `methods`, `setting` as in `plan`; `out`: a folder for
    `results.json` and for finished units, which a second call finds and does not compute again
    (none is written if None); `on_progress`: called after every batch of held-out targets.

    **Raises:** as `plan` and the readers do; `ValueError` if `out` holds a foreign
    `results.json`.
    """
    units = plan(table, data_dir, constructions=constructions, methods=methods, setting=setting)
    store = None if out is None else Checkpoints(Path(out) / UNITS)
    results, panel, loaded = [], None, None
    for index, unit in enumerate(units):
        source = (unit.dataset, unit.construction)
        if panel is None or source != loaded:
            panel, loaded = load(data_dir, *source), source
        place = (index, len(units))
        calibrators = unit.calibrators()
        results.append(
            evaluate(unit, panel, calibrators, unit.settings(), store, on_progress, place)
        )
    records = [record for result in results for record in _records(result)]
    if out is not None:
        write_results(Path(out) / RESULTS, records)
    return records, results


def evaluate(
    unit: Unit,
    panel: Panel,
    methods: Mapping[str, Any],
    settings: Settings,
    store: Checkpoints | None = None,
    on_progress: OnProgress | None = None,
    place: tuple[int, int] = (0, 1),
) -> UnitResult:
    """Per-target scores of one unit, from `store` if they are there, else computed and kept."""
    total = panel.m if unit.direction == "question" else panel.n

    def report(done: int, total: int, resumed: bool = False) -> None:
        if on_progress is not None:
            on_progress(Progress(*place, unit.label, done, total, resumed))

    def compute() -> dict[str, np.ndarray]:
        leave_one_out: Any = leave_one_question_out
        if unit.direction == "user":
            leave_one_out = leave_one_user_out
        return target_scores(leave_one_out(methods, panel, settings=settings, on_progress=report))

    report(0, total)
    if store is None:
        return UnitResult(unit, compute(), False)
    key = unit_key(panel=panel, direction=unit.direction, methods=methods, settings=settings)
    arrays, resumed = store.get(key, compute)
    report(total, total, resumed)
    return UnitResult(unit, arrays, resumed)


def _records(result: UnitResult) -> list[Record]:
    records = unit_records(result.unit, result.arrays)
    if result.unit.table == "figure5":
        records += figure5.records(result.unit, result.arrays)
    return records
