"""Our side of the Table 2 benchmark, in a process of its own: seconds, memory, predictions."""

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np

from syndigits_jax.calibration import Settings, preset
from syndigits_jax.datasets import load_movielens
from syndigits_jax.evaluation import leave_one_question_out
from syndigits_jax.results.files import replacing


def timed(methods, panel, settings):
    """`(wall seconds, result)` of one evaluation."""
    start = time.perf_counter()
    result = leave_one_question_out(methods, panel, settings=settings)
    return time.perf_counter() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--setting", choices=["reference", "default"], default="reference")
    parser.add_argument("--predictions", type=Path, required=True, help="NPZ to write")
    args = parser.parse_args()
    panel = load_movielens(args.data)
    settings = Settings.reference() if args.setting == "reference" else Settings()
    methods = preset("movielens", "question")
    first, _ = timed(methods, panel, settings)
    steady, result = timed(methods, panel, settings)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    alone = {name: timed({name: method}, panel, settings)[0] for name, method in methods.items()}
    with replacing(args.predictions) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **result.predictions)
    summary = {row["method"]: row["mean"] for row in result.summary()}
    print(
        json.dumps(
            {
                "with_compilation": first,
                "steady": steady,
                "alone": alone,
                "shared_seconds": result.preparation_seconds,
                "own_seconds": result.seconds,
                "peak_gib": peak,
                "pearson": summary,
            }
        )
    )


if __name__ == "__main__":
    main()
