"""What a pipeline found, for programs: one JSON file beside the report."""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from syndigits_jax.respond.store.tallies import Tally
from syndigits_jax.results.files import write_text
from syndigits_jax.results.records import finite_or_none, run_description
from syndigits_jax.workflows.evaluate import TwinQuality
from syndigits_jax.workflows.fidelity.records import check_results_path


def write_pipeline_results(
    path: str | os.PathLike[str],
    tally: Tally,
    *,
    quality: TwinQuality | None = None,
    predicted: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Write [`run_description`][], run, responses, hold-out and notes, whole or not.

    `records` are the rows of the hold-out: `method`, `correlation`, `se`, `mse`, `count`.
    `predicted`: the method by question that no human answered. What fidelity measured is in a file
    of its own.

    **Raises:** `ValueError` if `path` holds something that is not a results file: it stays.
    """
    check_results_path(path)
    counted = {
        field.name: getattr(tally, field.name)
        for field in dataclasses.fields(tally)
        if field.name not in ("run", "engines", "responses")
    }
    document: dict[str, Any] = {
        **run_description(),
        "run": {**dataclasses.asdict(tally.run), "engines": list(tally.engines)},
        "responses": {"statuses": dict(tally.responses), **counted},
        "notes": list(notes),
        "records": [],
    }
    if quality is not None:
        document["records"] = [dict(row) for row in quality.rows]
        document["calibration"] = {
            "people": quality.holdout.panel.n,
            "questions": quality.holdout.panel.m,
            "verdict": list(quality.verdict),
            "spread": quality.spread,
            "alike": list(quality.alike),
            "best": quality.best,
            **{
                name: getattr(quality, name)._asdict()
                for name in ("twins", "calibrated", "plain", "gain")
            },
            "predicted": dict(predicted or {}),
        }
    text = json.dumps(finite_or_none(document), indent=1, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")
