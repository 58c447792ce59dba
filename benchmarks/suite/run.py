"""All sides of a case measured, judged and compared."""

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.suite.case import Case, Side

_THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)  # fmt: skip


def in_child(
    case: Case,
    name: str,
    side: Side,
    shape: Mapping[str, Any],
    efforts: Sequence[Any],
    *options: str,
) -> tuple[dict[str, Any], list[Any]]:
    """Figures and answers of a side, from a process of its own with every core."""
    cores = str(os.cpu_count() or 1)
    environment = os.environ | dict.fromkeys(_THREADS, cores)
    environment["OMP_WAIT_POLICY"] = "PASSIVE"  # threads that spin take cores from one another
    environment["JAX_ENABLE_X64"] = "1" if side.dtype == "float64" else "0"
    with tempfile.TemporaryDirectory() as folder:
        answers = Path(folder) / "answers"
        command = [sys.executable, "-m", "benchmarks.suite.child", case.name, name]
        command += [json.dumps(dict(shape)), json.dumps(efforts), "--answers", str(answers)]
        done = subprocess.run(
            [*command, *options],
            capture_output=True, text=True, check=False, env=environment,
        )  # fmt: skip
        if done.returncode:
            reason = (done.stderr.strip() or f"ended by signal {-done.returncode}").splitlines()[-1]
            return {"failed": reason}, []
        return json.loads(done.stdout.splitlines()[-1]), pickle.loads(answers.read_bytes())


def best(runs: list[dict[str, Any]], target: float) -> dict[str, Any] | None:
    """The fastest run whose error is at most the target."""
    enough = [run for run in runs if run["judged"]["error"] <= target]
    return min(enough, key=lambda run: run["seconds"], default=None)


def run_case(case: Case, size: str, machine: Mapping[str, float]) -> dict[str, Any]:
    """Everything about one case, for JSON."""
    problem = dict(case.problem(**case.sizes[size]))
    problem |= case.reference(problem)
    sides: dict[str, dict[str, Any]] = {}
    quick = ["--quick"] if size == "small" else []
    for name, side in case.sides.items():
        if reason := side.why_not(size):
            sides[name] = {"left_out": reason}
            continue
        efforts = side.efforts_at.get(size, side.efforts)
        found, answers = in_child(case, name, side, case.sizes[size], efforts, *quick)
        sides[name] = found | {"dtype": side.dtype}
        for run, answer in zip(found.get("runs", []), answers, strict=True):
            run["judged"] = {k: float(v) for k, v in case.judge(problem, answer).items()}
            work = case.work(problem, answer)
            run |= {"operations": work.operations, "bytes": work.bytes}
            run["floor_seconds"] = work.seconds(
                machine["operations_per_second"], machine["bytes_per_second"]
            )
            run["share_of_floor"] = run["floor_seconds"] / run["least_seconds"]
    return {
        "name": case.name,
        "what": case.what,
        "size": dict(case.sizes[size]),
        "target": case.target,
        "why": case.why,
        "sides": sides,
        "chosen": {
            name: best(found["runs"], case.target)
            for name, found in sides.items()
            if "runs" in found
        },
    }


def ratios(result: Mapping[str, Any], key: str = "seconds") -> dict[str, float]:
    """How many times as long as our fastest side every peer takes; {} where we miss the target."""
    chosen = {name: run for name, run in result["chosen"].items() if run is not None}
    ours = [run[key] for name, run in chosen.items() if name.startswith("ours")]
    if not ours:
        return {}
    return {n: run[key] / min(ours) for n, run in chosen.items() if not n.startswith("ours")}
