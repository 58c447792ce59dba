"""The results of a pipeline for programs: one JSON file beside the report."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from syndigits_jax.respond.store.tallies import Tally
from syndigits_jax.results.records import check_results_path, write_document
from syndigits_jax.workflows.twin_quality import TwinQuality


def write_pipeline_results(
    path: str | os.PathLike[str],
    tally: Tally,
    *,
    quality: TwinQuality | None = None,
    predicted: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Write a results file, which is replaced as a whole.

    Its `records` are the rows of the hold-out: `method`, `correlation`, `se`, `mse`, `count`.
    Results of a fidelity measurement are in a separate file. A [`run_description`][] is added.

    **Arguments:**

    - `path`: the file.
    - `tally`: counts of the responses.
    - `quality`: the hold-out, if there was a calibration.
    - `predicted`: for each question without human answers, the method that predicted it.
    - `notes`: sentences.

    **Raises:** `ValueError` if `path` exists and is not a results file; it is not changed.
    """
    check_results_path(path)
    counted = {
        field.name: getattr(tally, field.name)
        for field in dataclasses.fields(tally)
        if field.name not in ("run", "engines", "responses")
    }
    content: dict[str, Any] = {
        "run": {**dataclasses.asdict(tally.run), "engines": list(tally.engines)},
        "responses": {"statuses": dict(tally.responses), **counted},
        "notes": list(notes),
        "records": [],
    }
    if quality is not None:
        content["records"] = [dict(row) for row in quality.rows]
        content["calibration"] = {
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
    write_document(path, content)
