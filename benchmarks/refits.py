"""What Table 4 is made of: refits of matrix completions, and the least time that they can take.

Runs the four completions on one construction in both settings, and counts their steps and their
operations: in every step the filled matrix is multiplied by a block as wide as the rank, and by
another one back. At the machine's rate of a large product that takes the time that no
implementation of the same steps is below. Imputations and regressions are not in it.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np

from benchmarks.report import RESULTS, write_report
from benchmarks.suite.rates import arithmetic
from syndigits_jax.datasets import DEFAULT_CONSTRUCTION
from syndigits_jax.panel import Panel
from syndigits_jax.studies.syn_digits.protocol import load
from syndigits_jax.studies.syn_digits.tables import run_table

COMPLETIONS = ("HardImpute", "SoftImpute", "AlternatingLeastSquares", "SyntheticPrior")


def operations(name: str, rank: int, panel: Panel) -> float:
    """Of one step: two products of the matrix, humans alone or beside their twins, with a block."""
    sides = 1 if name == "SyntheticPrior" else 2
    return 4.0 * panel.n * panel.m * sides * rank


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    found = os.environ.get("SYNDIGITS_DATA")
    parser.add_argument("--data", type=Path, default=found, required=found is None)
    parser.add_argument("--construction", default=DEFAULT_CONSTRUCTION.folder)
    parser.add_argument("--out", type=Path, default=RESULTS / "refits.json")
    args = parser.parse_args()
    rate, rows = arithmetic(), []
    for repeat in ("compiled", "timed"):
        start = time.perf_counter()
        _, units = run_table(
            "table4",
            args.data,
            constructions=[args.construction],
            methods=COMPLETIONS,
            setting="both",
        )
        wall = time.perf_counter() - start
        print(f"{repeat}: {wall:.1f} s", flush=True)
    for result in units:
        unit = result.unit
        panel = load(args.data, unit.dataset, unit.construction)
        calibrators = unit.calibrators()
        for name in COMPLETIONS:
            steps = int(np.sum(result.arrays[f"{name}/steps"]))
            rows.append(
                {
                    "setting": unit.setting,
                    "method": name,
                    "steps": steps,
                    "operations": steps * operations(name, calibrators[name].rank, panel),
                    "seconds": float(result.arrays[f"{name}/seconds"]),
                }
            )
    for name in COMPLETIONS:
        for setting in dict.fromkeys(row["setting"] for row in rows):
            own = [row for row in rows if (row["method"], row["setting"]) == (name, setting)]
            steps, spent = (sum(row[key] for row in own) for key in ("steps", "seconds"))
            floor = sum(row["operations"] for row in own) / rate
            print(
                f"{name:24} {setting:10} {steps:9,} steps  {spent:6.0f} s of a thread  "
                f"{1e6 * spent / steps:6.0f} us each  floor {floor:5.0f} s on all cores"
            )
    total = sum(row["operations"] for row in rows)
    print(
        f"{total:.3g} operations, at {rate / 1e9:.0f} billion a second {total / rate:.1f} s of "
        f"{wall:.1f} s"
    )
    write_report(
        args.out,
        construction=args.construction,
        wall_seconds=wall,
        operations_per_second=rate,
        rows=rows,
    )


if __name__ == "__main__":
    main()
