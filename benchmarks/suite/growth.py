"""How our kernels grow: fitted exponents, and the largest problem in a stated memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.suite.registry import CASES
from benchmarks.suite.run import in_child


@dataclass(frozen=True)
class Sweep:
    """A case's problem with one number changed; `what` it counts, in the words of the field."""

    case: str
    side: str
    what: str
    number: str
    values: Sequence[float]
    shape: Mapping[str, Any]
    doubled: bool = True
    """Whether the largest problem in a stated memory is sought by doubling."""


def _sweeps(small: bool) -> dict[str, Sweep]:
    scale = 10 if small else 1
    half = {"n": 1000 // scale, "m": 250 // scale, "rank": 10, "missing": 0.5}
    ppi = {"questions": 1000 // scale, "people": 1000 // scale, "asked": 20, "timed": 1}
    points = tuple(s // scale for s in (2500, 5000, 10_000, 20_000))
    return {
        "people": Sweep(
            "ridge", "ours", "people", "n", tuple(s // scale for s in (10_000, 20_000, 40_000)),
            {"p": 200 // scale, "penalties": 1},
        ),
        "questions": Sweep(
            "ppi", "ours", "questions", "questions",
            tuple(s // scale for s in (2500, 5000, 10_000)), ppi,
        ),
        "missing share": Sweep(
            "completion", "ours, soft impute", "missing share", "missing", (0.2, 0.5, 0.8, 0.95),
            half, doubled=False,
        ),
        "donors": Sweep(
            "simplex", "ours", "twins as donors", "p", tuple(s // scale for s in (250, 500, 1000)),
            {"n": 2000 // scale},
        ),
        "points": Sweep(
            "prdc", "ours", "points", "size", points, {"width": 64, "projections": 1}
        ),
        "points of MMD": Sweep(
            "mmd", "ours", "points", "size", points, {"width": 64, "projections": 1}
        ),
    }  # fmt: skip


def _one(sweep: Sweep, value: float) -> dict[str, Any]:
    case = CASES[sweep.case]
    shape = {**sweep.shape, sweep.number: value}
    side = case.sides[sweep.side]
    found, _ = in_child(case, sweep.side, side, shape, side.efforts[-1:], "--quick")
    if "failed" in found:
        return {"value": value, **found}
    run = found["runs"][-1]
    keys = ("seconds", "least_seconds", "processor_seconds")
    return {"value": value, "peak_gib": found["peak_gib"], **{k: run[k] for k in keys}}


def exponent(rows: Sequence[Mapping[str, float]]) -> float:
    """The slope of log processor seconds on the logarithm of the value."""
    x = np.log([row["value"] for row in rows])
    return float(np.polyfit(x, np.log([row["processor_seconds"] for row in rows]), 1)[0])


def largest(sweep: Sweep, memory_gib: float, most_seconds: float = 60.0) -> dict[str, Any]:
    """Doubled while peak memory stays within `memory_gib` and one call within `most_seconds`."""
    best: dict[str, Any] = {}
    value = sweep.values[-1]
    while True:
        row = _one(sweep, value)
        if "failed" in row or row["peak_gib"] > memory_gib:
            return best | {"stopped_by": "memory", "next": value}
        best = row
        if row["seconds"] > most_seconds / 4:
            return best | {"stopped_by": "time"}
        value *= 2


def grow(names: Sequence[str], size: str, memory_gib: float) -> dict[str, Any]:
    """Every sweep (of the cases `names`, if there are any)."""
    found = {}
    for name, sweep in _sweeps(size == "small").items():
        if names and sweep.case not in names:
            continue
        rows = [_one(sweep, value) for value in sweep.values]
        found[name] = {"case": sweep.case, "what": sweep.what, "rows": rows}
        if not any("failed" in row for row in rows):
            if sweep.doubled:
                found[name]["exponent"] = exponent(rows)
                print(f"{sweep.case}: grows as {sweep.what}^{found[name]['exponent']:.2f}")
            else:
                print(f"{sweep.case}: {[(r['value'], r['seconds']) for r in rows]}")
        if sweep.doubled and size != "small":
            found[name]["largest"] = largest(sweep, memory_gib) | {"memory_gib": memory_gib}
            print(f"  largest in {memory_gib:g} GiB: {found[name]['largest']}", flush=True)
    return found
