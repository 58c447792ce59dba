"""Soft impute of the donors, the default, beside hard impute of rank 5, paired over the targets.

Every row of Tables 2, 4 and 5 in the default setting whose method reads the imputation, on one
machine with one code. A difference is marked where it is larger than 1.96 of its standard errors,
and so is a row that falls behind the best trivial control. The soft half is `syndigits reproduce`
itself, in the same folders: its `results.json` can be joined into the committed table.
"""

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import RESULTS, write_report
from syndigits_jax.calibration import Settings
from syndigits_jax.calibration.calibrators import FitAndTransfer
from syndigits_jax.results.checkpoints import UNITS, Checkpoints
from syndigits_jax.studies.syn_digits.protocol import Unit, load, plan
from syndigits_jax.studies.syn_digits.scoring import CENTRED, mean_and_se, share_converged
from syndigits_jax.studies.syn_digits.tables import UnitResult, evaluate, run_table

TABLES = ("table2", "table4", "table5")
METHODS = (
    "Ridge",
    "Lasso",
    "ElasticNet",
    "NeuralNet",
    "SyntheticControl",
    "SyntheticIntervention",
)
CONTROLS = ("Baseline", "InContext", "UserMean", "ZScoredUserMean", "ItemMean")
HIGHER = {"pearson": True, CENTRED: True, "mse": False}
HARD = Settings().change(imputation={"method": "hard"})
LEVEL = 1.96


def both(
    table: str, data: Path, out: Path, constructions: list[str]
) -> Iterator[tuple[Unit, UnitResult, UnitResult]]:
    """Every unit of a table with hard and with soft impute, as far as they are not yet in `out`."""
    chosen = constructions if table == "table4" else None
    folder = out / table
    _, soft = run_table(
        table, data, constructions=chosen, methods=METHODS, setting="default", out=folder
    )
    store = Checkpoints(folder / UNITS)
    units = plan(table, data, constructions=chosen, methods=METHODS, setting="default")
    for unit, new in zip(units, soft, strict=True):
        calibrators = unit.calibrators()
        assert all(isinstance(c, FitAndTransfer) for c in calibrators.values())
        panel = load(data, unit.dataset, unit.construction)
        yield unit, evaluate(unit, panel, calibrators, HARD, store), new


def rows_of(
    unit: Unit, hard: dict[str, np.ndarray], soft: dict[str, np.ndarray]
) -> list[dict[str, Any]]:
    """A row per method and metric: both means, and the differences that matter, paired."""
    rows = []
    for metric, higher in HIGHER.items():
        controls = {c: soft[f"{c}/{metric}"] for c in CONTROLS if f"{c}/{metric}" in soft}
        if metric == CENTRED:
            controls.pop("ItemMean", None)
        if not controls:
            continue
        best = (max if higher else min)(controls, key=lambda c: mean_and_se(controls[c])[0])
        for method in METHODS:
            name = f"{method}/{metric}"
            sign = 1 if higher else -1
            gain, gain_se, count = mean_and_se(sign * (soft[name] - hard[name]))
            lead, lead_se, _ = mean_and_se(sign * (soft[name] - controls[best]))
            rows.append(
                {
                    "table": unit.table,
                    "dataset": unit.dataset,
                    "construction": unit.construction,
                    "method": method,
                    "metric": metric,
                    "count": count,
                    "hard": mean_and_se(hard[name])[0],
                    "soft": mean_and_se(soft[name])[0],
                    "soft_se": mean_and_se(soft[name])[1],
                    "gain": gain,
                    "gain_se": gain_se,
                    "best_control": best,
                    "lead": lead,
                    "lead_se": lead_se,
                    "imputed_hard": share_converged(hard[f"{method}/imputation_status"]),
                    "imputed_soft": share_converged(soft[f"{method}/imputation_status"]),
                }
            )
    return rows


def verdict(mean: float, se: float, falls: str = "FALLS", rises: str = "rises") -> str:
    """What a paired difference says beyond its noise."""
    if abs(mean) <= LEVEL * se:
        return ""
    return rises if mean > 0 else falls


def show(rows: list[dict[str, Any]]) -> None:
    """Print the rows of one unit."""
    first = rows[0]
    print(
        f"\n{first['table']}: {first['dataset']}, {first['construction']}; imputed to tolerance: "
    )
    print(f"  hard {first['imputed_hard']:.0%}, soft {first['imputed_soft']:.0%}")
    print(f"  {'':<22}{'':<22}{'hard':>9}{'soft':>9}{'gain':>10}{'±':>8}{'over best control':>32}")
    for row in rows:
        print(
            f"  {row['method']:<22}{row['metric']:<22}{row['hard']:9.4f}{row['soft']:9.4f}"
            f"{row['gain']:+10.4f}{row['gain_se']:8.4f} {verdict(row['gain'], row['gain_se']):<6}"
            f"{row['best_control']:>14}{row['lead']:+9.4f} ±{row['lead_se']:.4f} "
            f"{verdict(row['lead'], row['lead_se'], 'BEHIND', '')}"
        )


def summary(rows: list[dict[str, Any]]) -> None:
    """Print how many rows rise and fall, and which fall or are behind a control."""
    for metric in HIGHER:
        mine = [row for row in rows if row["metric"] == metric]
        words = [verdict(row["gain"], row["gain_se"]) for row in mine]
        gains = [row["gain"] for row in mine]
        if mine:
            print(
                f"\n{metric}: {len(mine)} rows, {words.count('rises')} rise and "
                f"{words.count('FALLS')} fall; gains {min(gains):+.4f} to {max(gains):+.4f}, "
                f"median {np.median(gains):+.4f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    found = os.environ.get("SYNDIGITS_DATA")
    parser.add_argument("--data", type=Path, default=found, required=found is None)
    parser.add_argument("--runs", type=Path, required=True, help="a folder a table, resumable")
    parser.add_argument("--tables", nargs="*", choices=TABLES, default=TABLES)
    parser.add_argument("--construction", nargs="*", default=[], help="of table4; all by default")
    parser.add_argument("--out", type=Path, default=RESULTS / "imputation.json")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for table in args.tables:
        for unit, hard, soft in both(table, args.data, args.runs, args.construction):
            here = rows_of(unit, hard.arrays, soft.arrays)
            show(here)
            rows += here
    summary(rows)
    write_report(args.out, rows=json.loads(json.dumps(rows)))


if __name__ == "__main__":
    main()
