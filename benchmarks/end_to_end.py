"""Results of two pipelines with a real, small model: a survey calibrated, personas measured.

First run both, as the files in `benchmarks/pipelines` say; this reads what they wrote:

    python -m benchmarks.end_to_end --out benchmarks/pipelines/out
"""

import argparse
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS, write_report
from syndigits_jax.respond.store.responses import ResponseStore
from syndigits_jax.respond.store.tallies import tally

METRICS = ("frechet", "mmd2", "sliced_wasserstein", "coverage", "cosine_mean", "fgi_coverage")
PAIRED = ("rank_accuracy", "rank_accuracy_shuffled", "rating_correlation")


def responses(path: Path) -> list[dict[str, Any]]:
    """How many answers each run of a store has, of what kind, and how long they took."""
    with ResponseStore(path, read_only=True) as store:
        found = [tally(store, run.id) for run in store.runs()]
    return [
        {
            "run": str(one.run),
            **{k: v for k, v in dataclasses.asdict(one).items() if k not in ("run", "engines")},
            "engines": list(one.engines),
            "outside": None if math.isnan(one.outside) else one.outside,
        }
        for one in found
    ]


def survey(out: Path) -> dict[str, Any]:
    """The calibrated survey."""
    document = json.loads((out / "results.json").read_text())
    return {
        "responses": responses(out / "responses.sqlite"),
        "records": document["records"],
        "calibration": document["calibration"],
    }


def films(out: Path, reference: str = "ssr") -> dict[str, Any]:
    """The three conditions beside real users placed alike."""
    document = json.loads((out / "fidelity" / "results.json").read_text())
    kept = [
        record
        for record in document["records"]
        if record["reference"] == reference and record["metric"] in (*METRICS, *PAIRED)
    ]
    return {
        "responses": responses(out / "responses.sqlite"),
        "counts": document["counts"],
        "reference": reference,
        "records": kept,
        "notes": document["notes"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="holds survey and films")
    parser.add_argument("--results", type=Path, default=RESULTS / "end_to_end.json")
    given = parser.parse_args()
    found = {"survey": survey(given.out / "survey"), "films": films(given.out / "films")}
    for line in found["survey"]["calibration"]["summary"]:
        print(line)
    for record in found["films"]["records"]:
        if record["metric"] == "coverage":
            print(f"{record['population']}: coverage {record['mean']:.3f}")
    write_report(given.results, **found)


if __name__ == "__main__":
    main()
