"""Evaluation of the paper's tables on the public data, with all controls; runs can be resumed."""

import functools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from syndigits_jax.calibration import Settings
from syndigits_jax.evaluation import leave_one_question_out, leave_one_user_out
from syndigits_jax.panel import Panel
from syndigits_jax.results.checkpoints import INDIVIDUAL, Checkpoints, unit_key
from syndigits_jax.results.progress import OnProgress, Progress
from syndigits_jax.results.records import RESULTS, Record, write_results
from syndigits_jax.studies.syn_digits import figure5
from syndigits_jax.studies.syn_digits.protocol import Direction, Unit, load, plan
from syndigits_jax.studies.syn_digits.scoring import target_scores, unit_records

_QUESTIONS, _USERS = 64, 512  # targets per part


@dataclass(frozen=True)
class UnitResult:
    """A unit and its per-target scores by `method/metric`; `resumed`: all were already saved."""

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
    """Evaluate a table and return its records, and their per-target scores.

    **Arguments:**

    - `table`, `data_dir`, `constructions`, `methods`, `setting`: as in `plan`.
    - `out`: a folder for `results.json` and for finished units, which later calls reuse; nothing is
      written if `None`.
    - `on_progress`: called after every batch of held-out targets.

    **Raises:** as `plan` and the readers do; `ValueError` if `results.json` in `out` is not a
    results file.
    """
    units = plan(table, data_dir, constructions=constructions, methods=methods, setting=setting)
    store = Checkpoints.under(out)
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
    """Per-target scores of one unit, from `store` or else computed and saved there.

    Large units are saved in parts, so that little is lost by an interrupt.

    **Arguments:**

    - `unit`: for the direction and the label.
    - `panel`: human and twin answers.
    - `methods`: calibrators by name.
    - `settings`: of the calibration.
    - `store`: for finished parts, or `None`.
    - `on_progress`: called after every batch of held-out targets.
    - `place`: the number of the unit and the number of units, for `on_progress`.
    """
    total = panel.m if unit.direction == "question" else panel.n

    def report(done: int, resumed: bool = False) -> None:
        if on_progress is not None:
            on_progress(Progress(*place, unit.label, done, total, resumed))

    def compute(targets: np.ndarray, before: int) -> dict[str, np.ndarray]:
        leave_one_out: Any = leave_one_question_out
        if unit.direction == "user":
            leave_one_out = leave_one_user_out
        holdout = leave_one_out(
            methods,
            panel,
            settings=settings,
            targets=targets,
            on_progress=lambda done, _: report(before + done),
        )
        return target_scores(holdout)

    report(0)
    if store is None:
        return UnitResult(unit, compute(np.arange(total), 0), False)
    content = {"panel": panel, "methods": methods, "settings": settings}
    found, resumed, before = [], True, 0
    for targets in parts(unit.direction, panel, settings):
        key = unit_key(INDIVIDUAL, direction=unit.direction, targets=targets, **content)
        arrays, was_there = store.get(key, functools.partial(compute, targets, before))
        found.append((targets, arrays))
        resumed, before = resumed and was_there, before + len(targets)
        report(before, resumed)
    return UnitResult(unit, _joined(found), resumed)


def parts(direction: Direction, panel: Panel, settings: Settings) -> list[np.ndarray]:
    """The positions of a unit's targets, in the parts in which they are computed and saved.

    Users who are held out together (`settings.new_users.blocks`) are in the same part, as they
    share an imputation.
    """
    if direction == "question":
        return [np.arange(i, min(i + _QUESTIONS, panel.m)) for i in range(0, panel.m, _QUESTIONS)]
    blocks = min(int(settings.new_users.blocks) or panel.n, panel.n)
    count = min(-(-panel.n // _USERS), blocks)
    users = np.arange(panel.n)
    return [users[np.isin(users % blocks, group)] for group in np.array_split(range(blocks), count)]


def _joined(found: list[tuple[np.ndarray, dict[str, np.ndarray]]]) -> dict[str, np.ndarray]:
    """One set of arrays in the order of the targets, with the sum of the seconds."""
    order = np.argsort(np.concatenate([targets for targets, _ in found]))
    joined = {}
    for name in found[0][1]:
        pieces = [arrays[name] for _, arrays in found]
        scalar = pieces[0].ndim == 0
        joined[name] = np.sum(pieces) if scalar else np.concatenate(pieces)[order]
    return joined


def _records(result: UnitResult) -> list[Record]:
    records = unit_records(result.unit, result.arrays)
    if result.unit.table == "figure5":
        records += figure5.records(result.unit, result.arrays)
    return records
