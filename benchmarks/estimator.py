"""The estimator `auto` on simulated panels: seconds and memory, missing blocks, sparse, growth.

Every case runs twice in a process of its own: the second run is steady state, and what the first
takes longer is compilation. CPU seconds are those of all threads.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import RESULTS, write_report

CONVEX = ("Ridge", "Lasso", "ElasticNet", "SyntheticControl")
GROWTH = {"users": (500, 1000, 2000, 4000), "questions": (40, 80, 160, 320)}
BASE = {"users": 1000, "questions": 80}
CASES = (
    "blocks, methods", "blocks, battery", "blocks, survey", "calibrate", "sparse, methods",
    "sparse", "users",
)  # fmt: skip


def scores(held: Any) -> dict[str, dict[str, float]]:
    """Mean correlation and mean squared error over range² of every prediction, from 1 to 5."""
    out = {}
    for name, prediction in held.predictions.items():
        square = np.nanmean(((prediction - held.truth) / 4) ** 2, axis=1)
        correlation = np.nan_to_num(held.scores("pearson", name))
        out[name] = {"correlation": float(correlation.mean()), "mse": float(square.mean())}
    return out


def statuses(values: dict[str, np.ndarray]) -> dict[str, dict[str, int]]:
    """How many targets of each status, by method."""
    return {
        name: {str(code): int(np.sum(status == code)) for code in np.unique(status)}
        for name, status in values.items()
    }


def judged(held: Any) -> dict[str, Any]:
    return {
        "scores": scores(held),
        "status": statuses(held.status),
        "imputation_status": statuses(held.imputation_status),
    }


def blocks_case(what: str) -> Callable[[], dict[str, Any]]:
    """1,784 people x 163 questions in 19 surveys, 55% missing."""
    from syndigits_jax.calibration import preset
    from syndigits_jax.datasets import simulate_block_panel
    from syndigits_jax.estimation import hold_out_questions
    from syndigits_jax.evaluation import leave_one_question_out

    panel, blocks, _ = simulate_block_panel(key=0)
    if what == "methods":
        methods = {name: preset("twin-2k-500", "question")[name] for name in CONVEX}
        targets = np.linspace(0, panel.m - 1, 10).round().astype(int)
        return lambda: judged(leave_one_question_out(methods, panel, targets=targets))
    if what == "battery":
        return lambda: judged(hold_out_questions(panel, blocks=blocks))
    return lambda: judged(hold_out_questions(panel, setting="new survey", blocks=blocks))


def calibrate_case() -> Callable[[], dict[str, Any]]:
    """2,058 people x 123 questions and one new question, with what to expect of it."""
    from syndigits_jax.datasets import simulate_panel
    from syndigits_jax.estimation import estimate_questions
    from syndigits_jax.schema import Scale

    panel, _ = simulate_panel(
        2058,
        124,
        6,
        noise=0.7,
        twin_noise=0.5,
        bias_spread=0.3,
        missing=0.02,
        scale=Scale(1, 5),
        key=0,
    )
    panel = panel.with_missing(
        human=np.broadcast_to(np.arange(124) == 123, (2058, 124)),
    )

    def run() -> dict[str, Any]:
        found = estimate_questions(panel)
        return {"correlation": found.expected["known battery"].correlation}

    return run


def sparse_case(what: str) -> Callable[[], dict[str, Any]]:
    """1,000 people x 1,600 questions, 95% missing on both sides."""
    from syndigits_jax.calibration import preset
    from syndigits_jax.datasets import simulate_panel
    from syndigits_jax.estimation import hold_out_questions, hold_out_users
    from syndigits_jax.evaluation import leave_one_question_out
    from syndigits_jax.schema import Scale

    panel, _ = simulate_panel(
        1000,
        1600,
        6,
        common=0.8,
        fidelity=0.6,
        mixing=0.3,
        signal=0.8,
        noise=0.8,
        twin_noise=0.6,
        question_spread=0.4,
        bias=0.3,
        bias_spread=0.3,
        missing=0.95,
        twin_missing="same",
        scale=Scale(1, 5, 0.5),
        key=0,
    )
    if what == "sparse, methods":
        methods = {name: preset("movielens", "question")[name] for name in CONVEX}
        targets = np.linspace(0, panel.m - 1, 6).round().astype(int)
        return lambda: judged(leave_one_question_out(methods, panel, targets=targets))
    if what == "users":
        return lambda: judged(hold_out_users(panel))
    return lambda: judged(hold_out_questions(panel))


def growth_case(users: int, questions: int) -> Callable[[], dict[str, Any]]:
    from syndigits_jax.datasets import simulate_panel
    from syndigits_jax.estimation import hold_out_questions

    panel, _ = simulate_panel(users, questions, 5, key=0, missing=0.2, noise=0.5, twin_noise=0.5)

    def run() -> dict[str, Any]:
        hold_out_questions(panel)
        return {}

    return run


def prepared(case: list[str]) -> Callable[[], dict[str, Any]]:
    """What a case runs, its data made."""
    name = case[0]
    if name.startswith("blocks, "):
        return blocks_case(name.removeprefix("blocks, "))
    if name == "calibrate":
        return calibrate_case()
    if name in ("sparse, methods", "sparse", "users"):
        return sparse_case(name)
    return growth_case(int(case[1]), int(case[2]))


def measured(case: list[str]) -> dict[str, Any]:
    """Seconds of two runs and peak memory, and what the second returned."""
    run, cpu, wall, figures = prepared(case), [], [], {}
    for _ in range(2):
        start = time.process_time(), time.perf_counter()
        figures = run()
        cpu.append(time.process_time() - start[0])
        wall.append(time.perf_counter() - start[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "cpu_seconds": cpu[1],
        "wall_seconds": wall[1],
        "compilation_cpu_seconds": cpu[0] - cpu[1],
        "compilation_wall_seconds": wall[0] - wall[1],
        "peak_gib": peak,
        **figures,
    }


def in_own_process(case: list[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.estimator", "--one", *case]
    out: str = subprocess.check_output(command, text=True)
    found = json.loads(out.splitlines()[-1])
    print(
        f"{' '.join(case):<22} {found['cpu_seconds']:7.1f} s CPU, {found['wall_seconds']:7.1f} s, "
        f"compilation {found['compilation_cpu_seconds']:6.1f} s CPU, {found['peak_gib']:.2f} GiB"
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "estimator.json")
    parser.add_argument("--cases", nargs="*", choices=CASES, default=CASES)
    parser.add_argument("--no-growth", action="store_true", help="leave out the sweeps")
    parser.add_argument("--one", nargs="+", help="a case, in this process (internal)")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measured(args.one)))
        return
    cases = {name: in_own_process([name]) for name in args.cases}
    rows, exponents = [], {}
    for sweep, sizes in ({} if args.no_growth else GROWTH).items():
        for size in sizes:
            shape = {**BASE, sweep: size}
            found = in_own_process(["growth", *map(str, shape.values())])
            rows.append({"sweep": sweep, **shape, **found})
        seconds = [row["cpu_seconds"] for row in rows if row["sweep"] == sweep]
        exponents[sweep] = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
        print(f"CPU seconds grow as {sweep}^{exponents[sweep]:.2f}")
    write_report(args.out, cases=cases, base=BASE, growth=rows, exponents=exponents)


if __name__ == "__main__":
    main()
