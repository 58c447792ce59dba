"""Committed tables beside themselves at an earlier commit: every row that changed.

Tables hold no scores of single questions, so that the standard error of a change is not known. Both
columns are about the same questions: their scores correlate, and it is below that of independent
samples. A change beyond 1.96 of those is marked; `benchmarks.imputation` pairs the scores, and
finds smaller ones.
"""

import argparse
import json
import math
import subprocess
from collections.abc import Iterator
from typing import Any

from benchmarks.join_tables import key
from benchmarks.report import RESULTS

TABLES = ("table2", "table4", "table5", "figure5")
METRICS = (
    "pearson", "mse", "pearson_item_centred", "converged", "adaptive_pearson_chosen",
    "adaptive_pearson_best",
)  # fmt: skip
LOWER = ("mse",)


def changes(table: str, commit: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every record of `METRICS` that differs from the one of `commit`, and that one first."""
    path = RESULTS / "tables" / f"{table}.json"
    name = f"{commit}:./{path.name}"
    text = subprocess.check_output(["git", "show", name], cwd=path.parent, text=True)
    before = {key(record): record for record in json.loads(text)["records"]}
    for new in json.loads(path.read_text(encoding="utf-8"))["records"]:
        old = before.get(key(new))
        if old is not None and new["metric"] in METRICS and old["mean"] != new["mean"]:
            yield old, new


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("commit", help="of the earlier tables")
    parser.add_argument("--tables", nargs="*", choices=TABLES, default=TABLES)
    args = parser.parse_args()
    for table in args.tables:
        place = None
        for old, new in changes(table, args.commit):
            if place != (place := (new["dataset"], new["construction"])):
                print(f"\n{table}: {', '.join(place)}")
            change = new["mean"] - old["mean"]
            error = math.hypot(old["se"] or 0, new["se"] or 0)
            worse = change > 0 if new["metric"] in LOWER else change < 0
            mark = ("FALLS" if worse else "rises") if abs(change) > 1.96 * error > 0 else ""
            print(
                f"  {new['setting']:<10}{new['method']:<22}{new['metric']:<24}"
                f"{old['mean']:9.4f} to {new['mean']:9.4f}  {change:+9.4f} ± {error:.4f} {mark}"
            )


if __name__ == "__main__":
    main()
