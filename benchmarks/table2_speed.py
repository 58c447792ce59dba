"""Table 2, all ten methods: this package against NumPy, scikit-learn and PyTorch.

The peer (`benchmarks/peer`) runs the same protocol fold by fold on all cores, in two forms: as
published (donors imputed anew for every method) and sharing the imputation. It is timed on a
sample of folds spread over the questions and extrapolated, folds being alike. Ours runs in full,
in a process of its own; every method is also timed alone.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.peer.protocol import PARAMETERS, correlations, leave_one_out, read_panel
from benchmarks.report import RESULTS, write_report


def own(data: Path, predictions: Path) -> dict:
    """Run our side in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.own_table2", "--data", str(data)]
    command += ["--predictions", str(predictions)]
    out: str = subprocess.check_output(command, text=True)
    return json.loads(out.splitlines()[-1])


def peer(panel, parameters: dict, targets: list[int], form: str, jobs: int) -> dict:
    """Seconds for all 250 folds, in all and per method, from a sample of folds."""
    result = leave_one_out(panel, parameters, targets, "question", form, jobs)
    factor = panel.human.shape[1] / len(targets)
    names = [*parameters, *(["Imputation"] if form == "shared" else [])]
    return {
        "seconds": float(result["wall_seconds"]) * factor,
        # A method alone keeps all cores busy, so its share of the wall clock is 1/jobs.
        "alone": {n: float(result[f"seconds/{n}"].sum()) / jobs * factor for n in names},
        "predictions": {n: result[f"prediction/{n}"] for n in parameters},
        "truth": result["truth"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the public data")
    parser.add_argument("--folds", type=int, default=8, help="folds the peer is timed on")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=RESULTS / "table2_speed.json")
    args = parser.parse_args()

    panel = read_panel(args.data, "movielens")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "predictions.npz"
        ours = own(args.data, file)
        predictions = dict(np.load(file))
    print(f"ours: {ours['with_compilation']:.1f} s with compilation, {ours['steady']:.1f} s steady")

    parameters = PARAMETERS["movielens", "question"]
    targets = np.linspace(0, panel.human.shape[1] - 1, args.folds).round().astype(int).tolist()
    # Starts the worker processes and imports their libraries, off the clock.
    leave_one_out(panel, {"Ridge": parameters["Ridge"]}, targets[: args.jobs], "question")
    forms = {}
    for form in ("shared", "published"):
        forms[form] = peer(panel, parameters, targets, form, args.jobs)
        print(f"peer, {form}: {forms[form]['seconds']:.0f} s (from {len(targets)} folds)")

    rows = []
    for name in parameters:
        mine = correlations(predictions[name][targets], forms["published"]["truth"])
        theirs = correlations(forms["published"]["predictions"][name], forms["published"]["truth"])
        row = {
            "method": name,
            "ours_seconds": ours["alone"][name],
            "published_seconds": forms["published"]["alone"][name],
            "ratio": forms["published"]["alone"][name] / ours["alone"][name],
            "correlation_difference": float(np.nanmean(mine - theirs)),
            "largest_difference": float(np.nanmax(np.abs(mine - theirs))),
        }
        rows.append(row)
        print(
            f"{name:<24} ours {row['ours_seconds']:7.2f} s  published "
            f"{row['published_seconds']:8.1f} s  ratio {row['ratio']:6.1f}  "
            f"mean correlation difference {row['correlation_difference']:+.4f}"
        )
    ratios = {
        "published_over_steady": forms["published"]["seconds"] / ours["steady"],
        "published_over_with_compilation": forms["published"]["seconds"] / ours["with_compilation"],
        "shared_over_steady": forms["shared"]["seconds"] / ours["steady"],
        "shared_over_with_compilation": forms["shared"]["seconds"] / ours["with_compilation"],
    }
    for name, ratio in ratios.items():
        print(f"{name.replace('_', ' '):<34} {ratio:6.1f}")
    print(f"peak memory {ours['peak_gib']:.2f} GiB")
    write_report(
        args.out,
        ours=ours,
        peer={form: {"seconds": f["seconds"], "alone": f["alone"]} for form, f in forms.items()},
        peer_folds=targets,
        jobs=args.jobs,
        methods=rows,
        ratios=ratios,
    )


if __name__ == "__main__":
    main()
