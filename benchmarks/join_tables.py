"""Put the records of a partial run into a committed table, and say in the file that they are.

`syndigits reproduce table2 --setting default --method ridge --out RUN` computes some rows of a
table. `python -m benchmarks.join_tables table2 RUN/results.json` puts them in the place of those in
`results/tables/table2.json`. The description of the run goes to `joined`, with what it computed;
the machine and versions at the head of the file stay those of all other records.
"""

import argparse
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS
from syndigits_jax.results.records import read_results, write_document

KEY = (
    "table", "dataset", "construction", "direction", "method", "setting", "metric", "objective",
    "variant",
)  # fmt: skip
RUN = ("machine", "versions", "commit", "date")


def key(record: dict[str, Any]) -> tuple[str, ...]:
    """What identifies a record."""
    return tuple(record.get(name) or "" for name in KEY)


def place(record: dict[str, Any]) -> tuple[str, ...]:
    """What one run computes as a whole."""
    names = ("dataset", "construction", "direction", "setting", "method")
    return tuple(record[name] for name in names)


def join(
    table: dict[str, Any], run: dict[str, Any], kept: Collection[str] = (), note: str = ""
) -> dict:
    """`table` with the records of `run` in it, all but those of the methods `kept`.

    All records of a method on a panel are replaced together. New ones follow those they replace.
    """
    fresh: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for record in run["records"]:
        if record["method"] not in kept:
            fresh.setdefault(place(record), []).append(record)
    described = {name: run.get(name) for name in RUN}
    described |= {"note": note} if note else {}
    described["records"] = [", ".join(where) for where in fresh]
    # An earlier run whose records are all replaced is no longer part of the table.
    joined = []
    for earlier in table.get("joined", []):
        left = [where for where in earlier["records"] if where not in described["records"]]
        joined += [{**earlier, "records": left}] if left else []
    records, done = [], set()
    for record in table["records"]:
        where = place(record)
        if where not in fresh:
            records.append(record)
        elif where not in done:
            done.add(where)
            records += fresh[where]
    records += [r for where, rest in fresh.items() if where not in done for r in rest]
    if len({key(record) for record in records}) != len(records):
        raise ValueError("two records have the same table, data, method and metric")
    head = {name: table.get(name) for name in RUN if name in table}
    return {**head, "joined": [*joined, described], "records": records}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", help="such as table2")
    parser.add_argument("run", type=Path, help="results.json of a run")
    parser.add_argument("--keep", nargs="*", default=[], help="methods whose records stay")
    parser.add_argument("--note", default="", help="what a reader must know of the run")
    args = parser.parse_args()
    path = RESULTS / "tables" / f"{args.table}.json"
    read_results(args.run)  # refuses what is no results file
    table, run = (json.loads(p.read_text(encoding="utf-8")) for p in (path, args.run))
    # A control does not depend on the calibrators: what stands in the table stays.
    controls = {r["method"] for r in run["records"]} - {
        r["method"] for r in run["records"] if r["metric"] == "converged"
    }
    found = join(table, run, {*controls, *args.keep}, args.note)
    write_document(path, found, {})
    print(f"{len(found['joined'][-1]['records'])} methods joined into {path}")


if __name__ == "__main__":
    main()
