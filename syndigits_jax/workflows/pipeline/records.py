"""The results of a pipeline for programs: one JSON file beside the report."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from syndigits_jax.report import Report
from syndigits_jax.respond.store.tallies import Tally
from syndigits_jax.results.records import RESULTS, check_results_path, write_document
from syndigits_jax.workflows.pipeline.worth import EVALUATION


def write_pipeline_results(
    path: str | os.PathLike[str],
    tally: Tally,
    *,
    evaluation: Report | None = None,
    predicted: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> None:
    """Write a results file, which is replaced as a whole.

    Numbers of the report on the twins, and of a fidelity measurement, are in files of their own. A
    [`run_description`][] is added.

    **Arguments:**

    - `path`: the file.
    - `tally`: counts of the responses.
    - `evaluation`: the report on the twins, if there was a calibration.
    - `predicted`: the questions without human answers, which were estimated.
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
    if evaluation is not None:
        content["calibration"] = {
            "facts": dict(evaluation.facts),
            "summary": [claim.text for claim in evaluation.summary],
            "numbers": f"{EVALUATION}/{RESULTS}",
            "predicted": list(predicted),
        }
    write_document(path, content)
