"""How time and memory grow with folds, users and questions: all ten methods, simulated panels.

Every size runs twice in a process of its own; the second run is steady state.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.report import RESULTS, write_report
from syndigits_jax.results.files import replacing

BASE = {"folds": 40, "users": 500, "questions": 100}
SWEEPS = {
    "folds": (10, 20, 40, 80),
    "users": (250, 500, 1000, 2000, 4000),
    "questions": (50, 100, 200, 400),
}


def one(folds: int, users: int, questions: int) -> dict[str, float]:
    """Seconds with compilation and in steady state, and peak memory, of one evaluation."""
    from syndigits_jax.calibration import Settings, preset
    from syndigits_jax.datasets import simulate_panel
    from syndigits_jax.evaluation import leave_one_question_out

    panel, _ = simulate_panel(users, questions, 5, key=0, missing=0.2, noise=0.5, twin_noise=0.5)
    methods = preset("twin-2k-500", "question")
    targets = np.linspace(0, questions - 1, folds).round().astype(int)
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        leave_one_question_out(methods, panel, settings=Settings.reference(), targets=targets)
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"with_compilation": seconds[0], "steady": seconds[1], "peak_gib": peak}


def plot(rows: list[dict], slopes: dict[str, float], path: Path) -> None:
    """Steady seconds against each size, on logarithmic axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained")
    for axes, (name, sizes) in zip(figure.subplots(1, 3, sharey=True), SWEEPS.items(), strict=True):
        seconds = [row["steady"] for row in rows if row["sweep"] == name]
        axes.loglog(sizes, seconds, "o-")
        axes.set_xlabel(name)
        axes.set_title(f"exponent {slopes[name]:.2f}", fontsize=9)
        axes.grid(alpha=0.3, which="both")
        if name == "folds":
            axes.set_ylabel("seconds, steady state")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "growth.json")
    parser.add_argument("--one", nargs=3, type=int, help="folds users questions (internal)")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(*args.one)))
        return
    rows = []
    for sweep, sizes in SWEEPS.items():
        for size in sizes:
            shape = {**BASE, sweep: size}
            command = [sys.executable, "-m", "benchmarks.growth", "--one"]
            command += [str(shape[k]) for k in BASE]
            out: str = subprocess.check_output(command, text=True)
            rows.append({"sweep": sweep, **shape, **json.loads(out.splitlines()[-1])})
            row = rows[-1]
            print(
                f"{sweep:<10} {size:5d}: {row['with_compilation']:6.1f} s with compilation, "
                f"{row['steady']:6.1f} s steady, {row['peak_gib']:.2f} GiB"
            )
    slopes = {}
    for sweep, sizes in SWEEPS.items():
        seconds = [row["steady"] for row in rows if row["sweep"] == sweep]
        slopes[sweep] = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
        print(f"seconds grow as {sweep}^{slopes[sweep]:.2f}")
    write_report(args.out, base=BASE, rows=rows, exponents=slopes)
    plot(rows, slopes, args.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
