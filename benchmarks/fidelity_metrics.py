"""Fidelity metrics of two populations of up to 50,000 points in 128 dimensions: seconds and memory.

PRDC and MMD are judged by the `prdc` package at every size it manages within `--memory-gib`. Every
run is a process of its own: its peak memory is all of that process, interpreter and compiler too.
"""

import argparse
import contextlib
import io
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

METRICS = ("prdc", "coverage", "mmd", "mmd_permutations", "sliced_wasserstein", "frechet")
PEER = "prdc_package"


def populations(seed: int, size: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Normal points, the second population a little narrower."""
    rng = np.random.default_rng(seed)
    spread = np.linspace(0.5, 1.5, width, dtype=np.float32)
    x, y = (rng.standard_normal((size, width), dtype=np.float32) * spread for _ in range(2))
    return x, 0.9 * y


def peer(x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """The `prdc` package: no compilation, one timed run."""
    from prdc import compute_prdc

    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        values = compute_prdc(x, y, 5)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "values": {name: float(v) for name, v in values.items()}}


def own(metric: str, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """One of ours, with and without compilation."""
    import jax

    from syndigits_jax import fidelity

    key = jax.random.key(0)
    functions: dict[str, Callable] = {
        "prdc": lambda x, y: vars(fidelity.prdc(x, y)),
        "coverage": lambda x, y: {"coverage": fidelity.coverage(x, y)},
        "mmd": lambda x, y: {"mmd2": fidelity.mmd2_unbiased(x, y)},
        "mmd_permutations": lambda x, y: vars(fidelity.mmd_permutation_test(key, x, y)),
        "sliced_wasserstein": lambda x, y: {"w1": fidelity.sliced_wasserstein(key, x, y)},
        "frechet": lambda x, y: {"frechet": fidelity.frechet_distance(x, y)},
    }
    function = jax.jit(functions[metric])
    x, y = jax.device_put((x, y))
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        values = jax.block_until_ready(function(x, y))
        seconds.append(time.perf_counter() - start)
    return {
        "seconds_with_compilation": seconds[0],
        "seconds": seconds[1],
        "values": {name: float(v) for name, v in values.items()},
    }


def measure(name: str, size: int, width: int) -> None:
    """Run in a fresh process: print what was measured as the last line."""
    x, y = populations(0, size, width)
    found = peer(x, y) if name == PEER else own(name, x, y)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"name": name, "size": size, **found, "peak_gib": peak}))


def in_process(name: str, size: int, width: int, memory_gib: float) -> dict[str, Any] | None:
    """[`measure`][] in a process of its own; None where it fails, as when memory runs out."""
    command = [sys.executable, "-m", "benchmarks.fidelity_metrics", "--width", str(width)]
    command += ["--measure", name, "--sizes", str(size), "--memory-gib", str(memory_gib)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    if name != PEER:
        raise RuntimeError(done.stderr)
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 5000, 20_000, 50_000])
    parser.add_argument("--peer-sizes", type=int, nargs="+", default=[500, 5000, 20_000, 30_000])
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--metrics", nargs="+", choices=METRICS, default=METRICS)
    parser.add_argument("--permutations-to", type=int, default=5000, help="largest size for them")
    parser.add_argument("--memory-gib", type=float, default=20, help="that the package may take")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS / "fidelity_metrics.json")
    args = parser.parse_args()

    if args.measure:
        if args.measure == PEER:
            limit = int(args.memory_gib * 2**30)
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        measure(args.measure, args.sizes[0], args.width)
        return
    runs: list[dict[str, Any]] = []
    wanted = [(PEER, size) for size in args.peer_sizes]
    for name in args.metrics:
        # Ours at the package's sizes too, for the ratio.
        sizes = sorted({*args.sizes, *(args.peer_sizes if name in ("prdc", "mmd") else [])})
        if name == "mmd_permutations":
            sizes = [size for size in sizes if size <= args.permutations_to]
        wanted += [(name, size) for size in sizes]
    for name, size in wanted:
        run = in_process(name, size, args.width, args.memory_gib)
        if run is None:
            print(f"{name:<20} {size:>7,} points: not within {args.memory_gib:g} GiB")
            continue
        runs.append(run)
        print(
            f"{name:<20} {size:>7,} points: {run['seconds']:9.3f} s, peak {run['peak_gib']:6.2f} "
            f"GiB, {', '.join(f'{k} {v:.5g}' for k, v in run['values'].items())}",
            flush=True,
        )
    seconds = {(run["name"], run["size"]): run["seconds"] for run in runs}
    ratios = {
        name: {
            str(size): seconds[PEER, size] / own_seconds
            for (of, size), own_seconds in seconds.items()
            if of == name and (PEER, size) in seconds
        }
        for name in ("prdc", "mmd")
    }
    for name, by_size in ratios.items():
        for size, ratio in by_size.items():
            print(f"{name}: {ratio:.1f} times as fast as the prdc package at {int(size):,} points")
    write_report(args.out, width=args.width, k=5, runs=runs, times_as_fast_as_prdc_package=ratios)


if __name__ == "__main__":
    main()
