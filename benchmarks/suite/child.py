"""One side of one case in a process of its own.

`python -m benchmarks.suite.child CASE SIDE SHAPE EFFORTS`: `SHAPE` is JSON, what the case's
`problem` is called with, and `EFFORTS` a list in JSON. The side's answers are left in a file for
the judge; its figures are the last line printed.
"""

import argparse
import contextlib
import io
import json
import math
import os
import pickle
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from benchmarks.suite.case import Case, Side
from benchmarks.suite.measure import measured, peak_gib
from benchmarks.suite.registry import CASES

LONG = 2.0
"""Seconds of a call from which on a peer is no longer tried with all cores and with one."""


def run_side(
    case: Case, side: Side, shape: dict[str, Any], quick: bool, efforts: Sequence[Any]
) -> tuple[list[dict[str, Any]], list[Any], float]:
    """Figures and answers for every effort, and the memory before the first.

    After a call of more than `LONG` seconds, harder efforts have the threads that were faster.
    """
    problem = case.problem(**shape)
    solve, before = side.prepare(problem), peak_gib()
    figures, answers = [], []
    own = any(side is one for name, one in case.sides.items() if name.startswith("ours"))
    repeats = {"least": 2, "most": 2} if quick else {}
    share, counts = side.share(problem), threads_of(own, quick)
    for effort in efforts:
        walls = []
        for threads in counts:
            with contextlib.redirect_stdout(io.StringIO()), threadpool_limits(threads):
                found, result = measured(lambda: solve(effort), **repeats)  # noqa: B023
            walls.append(found["seconds"])
            for name in ("seconds", "least_seconds", "processor_seconds"):
                found[name] /= share
            if side.processes:
                found["processor_seconds"] = math.nan
            figures.append({"effort": effort, "threads": threads, "share_timed": share, **found})
            answers.append(side.answer(problem, result))
        if max(walls) > LONG:
            counts = (counts[walls.index(min(walls))],)
    return figures, answers, before


def threads_of(own: bool, quick: bool) -> tuple[int | None, ...]:
    """How many threads libraries may use: peers with all cores and with one, whichever is best.

    Small products are slower with several. Ours decides for itself.
    """
    return (None,) if quick or own else (os.cpu_count() or 1, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("case", choices=CASES)
    parser.add_argument("side")
    parser.add_argument("shape", type=json.loads)
    parser.add_argument("efforts", type=json.loads)
    parser.add_argument("--quick", action="store_true", help="two repeats")
    parser.add_argument("--answers", type=Path, required=True)
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # a peer that stops at its number of steps is judged
    case = CASES[args.case]
    side = case.sides[args.side]
    figures, answers, before = run_side(case, side, args.shape, args.quick, args.efforts)
    with args.answers.open("wb") as file:
        pickle.dump(answers, file)
    found = {"runs": figures, "peak_gib": peak_gib(), "peak_gib_before": before}
    print(json.dumps(found | {"load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
