"""How a side is measured: first call, repeats, programs compiled, processor time, memory."""

import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from jax import monitoring

_COMPILED = "/jax/core/compile/backend_compile_duration"
_counted = {"programs": 0}


def _count(event: str, duration_secs: float, **_: Any) -> None:
    if event == _COMPILED:
        _counted["programs"] += 1


monitoring.register_event_duration_secs_listener(_count)


def clocked(run: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Wall and processor seconds (all threads), programs compiled, and the result, computed."""
    programs = _counted["programs"]
    wall, processor = time.perf_counter(), time.process_time()
    result = jax.block_until_ready(run())
    return {
        "seconds": time.perf_counter() - wall,
        "processor_seconds": time.process_time() - processor,
        "programs": _counted["programs"] - programs,
    }, result


def measured(
    run: Callable[[], Any], least: int = 3, most: int = 15, budget: float = 2.0
) -> tuple[dict[str, Any], Any]:
    """Steady seconds of `run`, compilation apart.

    Repeated `least` times, up to `most` while within `budget` seconds; a run longer than five
    times the budget is not repeated. `spread` is half the distance between the quartiles over the
    median. `compilation_seconds` is what the first call takes longer than the median.
    """
    first, result = clocked(run)
    runs: list[dict[str, float]] = []
    while len(runs) < most:
        found, result = clocked(run)
        runs.append(found)
        spent = sum(one["seconds"] for one in runs)
        if found["seconds"] > 5 * budget or (len(runs) >= least and spent > budget):
            break
    walls = [one["seconds"] for one in runs]
    median = statistics.median(walls)
    quartiles = statistics.quantiles(walls, n=4) if len(walls) > 1 else [median] * 3
    return {
        "seconds": median,
        "least_seconds": min(walls),
        "spread": (quartiles[2] - quartiles[0]) / 2 / median,
        "repeats": len(walls),
        "processor_seconds": min(one["processor_seconds"] for one in runs),
        "compilation_seconds": max(0.0, first["seconds"] - median),
        "programs_first": first["programs"],
        "programs_again": sum(one["programs"] for one in runs),
    }, result


def peak_gib() -> float:
    """Largest resident memory of this process so far.

    On Linux from its own record: `ru_maxrss` of a child is never below what its parent held.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
