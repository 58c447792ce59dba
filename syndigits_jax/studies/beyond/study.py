"""The study: every hold-out, resumable, and its records."""

import functools
import os
from collections.abc import Iterable
from pathlib import Path

from syndigits_jax.results.checkpoints import BEYOND, Checkpoints, kept, unit_key
from syndigits_jax.results.progress import OnProgress, Progress
from syndigits_jax.results.records import RESULTS, Record, write_results
from syndigits_jax.studies.beyond.summaries import unit_records
from syndigits_jax.studies.beyond.units import hold_out, load, plan


def run_beyond(
    data_dir: str | os.PathLike[str],
    *,
    datasets: Iterable[str] = (),
    constructions: Iterable[str] = (),
    out: str | os.PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
) -> list[Record]:
    """Hold out questions, surveys and people of the public data, and return the records.

    **Arguments:**

    - `data_dir`, `datasets`, `constructions`: as in `plan`.
    - `out`: a folder for `results.json` and for finished units, which later calls reuse; nothing is
      written if `None`.
    - `on_progress`: called after every fit.

    **Raises:** as `plan` and the readers do; `ValueError` if `results.json` in `out` is not a
    results file.
    """
    units = plan(data_dir, datasets=datasets, constructions=constructions)
    store = Checkpoints.under(out)
    records: list[Record] = []
    panel, loaded = None, None
    for index, unit in enumerate(units):

        def report(done: int, total: int, resumed: bool = False, index=index, unit=unit) -> None:
            if on_progress is not None:
                place = (index, len(units), unit.label)
                on_progress(Progress(*place, done, total, resumed, "fits"))

        source = (unit.dataset, unit.construction)
        if panel is None or source != loaded:
            panel, loaded = load(data_dir, *source), source
        compute = functools.partial(hold_out, unit, panel, report)
        key = functools.partial(
            unit_key, BEYOND, panel=panel, dataset=unit.dataset, setting=unit.setting
        )
        arrays, was_there = kept(store, key, compute)
        if was_there:
            report(1, 1, True)
        records += unit_records(unit, arrays)
    if out is not None:
        write_results(Path(out) / RESULTS, records)
    return records
