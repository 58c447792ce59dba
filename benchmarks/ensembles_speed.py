"""Weighted ensembles: all 21 fits against a plain NumPy loop, and the certified default.

Reference setting: the published 100,000 steps, timed on `--steps` of them after compilation and
extrapolated, or in full with `--full`; steps are alike. The peer (`benchmarks/peer/ensembles.py`)
runs one fit at a time, its products as written or handed to BLAS on all cores; every fit is timed
on a few steps.
"""

import argparse
import functools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.peer import ensembles as peer
from benchmarks.report import RESULTS, write_report
from benchmarks.suite.rates import arithmetic, bandwidth
from syndigits_jax.datasets import load_movielens_distributions, load_opinionqa
from syndigits_jax.distribution import DIVERGENCES, Answers, Spec, fit_ensembles
from syndigits_jax.distribution.design import VARIANTS, DenseDesign, make_design
from syndigits_jax.distribution.objective import as_divergence
from syndigits_jax.distribution.published import STEPS, published_fits
from syndigits_jax.distribution.targets import make_targets

LOADERS: dict[str, Callable] = {
    "movielens": load_movielens_distributions,
    "opinionqa": functools.partial(load_opinionqa, drop_refused=False),
}
FITS = [(name, variant) for name in DIVERGENCES for variant in VARIANTS]


@dataclass(frozen=True, eq=False)
class Training:
    """Training questions of the published split: counts (m, K) and choices (n, m)."""

    counts: np.ndarray
    choices: np.ndarray

    @property
    def answers(self) -> Answers:
        return Answers.from_choices(self.choices, self.counts.shape[1])


def training(data, twins: int | None = None) -> Training:
    """The first so many twins' answers to the training questions; all by default."""
    seen = data.take(data.published_split()[0])
    return Training(seen.counts, seen.choices[:twins])


def clocked(run: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and the result once it is there."""
    start = time.perf_counter()
    result = jax.block_until_ready(run())
    return time.perf_counter() - start, result


def reference(data: Training, steps: int) -> dict[str, Any]:
    """Our own run of the published procedure, all fits side by side."""
    truth = make_targets(data.counts)
    design = make_design(data.answers, truth.options)
    assert isinstance(design, DenseDesign)
    first, _ = clocked(lambda: published_fits(truth, design, FITS, steps=1))
    again, _ = clocked(lambda: published_fits(truth, design, FITS, steps=1))
    seconds, _ = clocked(lambda: published_fits(truth, design, FITS, steps=steps))
    (n, cells), size = design.matrix.shape, design.matrix.dtype.itemsize
    # Two products go over the matrix; the weights are read and written, the cells too.
    weights, mixed = len(FITS) * (n + truth.p.shape[1]), len(FITS) * truth.p.size
    return {
        "compilation_seconds": first - again,
        "timed_steps": steps,
        "timed_seconds": seconds,
        "seconds": seconds / steps * STEPS,
        "matrix_bytes": n * cells * size,
        "bytes_per_step": (2 * n * cells + 2 * weights + 2 * mixed) * size,
        "operations_per_step": 4 * len(FITS) * n * cells,
    }


def plain(data: Training, steps: int) -> dict[str, Any]:
    """The peer, extrapolated from a few steps of every fit."""
    targets = data.counts / data.counts.sum(axis=1, keepdims=True)
    answers = peer.one_hot(data.choices, targets.shape[1])
    n, _, k = answers.shape
    w, pi, values = np.full(n, 1 / n), np.zeros(k), np.arange(1.0, k + 1)
    per_step, bare, blas = {}, 0.0, 0.0
    for name, variant in FITS:
        fit = functools.partial(peer.fit, name, variant, targets, answers)
        fit(1)
        seconds, _ = clocked(functools.partial(fit, steps, blas=False))
        per_step[f"{name}/{variant}"] = seconds / steps
        seconds, _ = clocked(functools.partial(fit, steps))
        blas += seconds / steps
        arguments = (name, variant, targets, answers, w, pi, values)
        seconds, _ = clocked(lambda: [peer.gradient(*arguments) for _ in range(steps)])  # noqa: B023
        bare += seconds / steps
    return {
        "timed_steps_per_fit": steps,
        "seconds_per_step": per_step,
        "seconds": sum(per_step.values()) * STEPS,
        "seconds_with_blas": blas * STEPS,
        # What the latter would take if the objective of its stopping test cost nothing.
        "seconds_of_gradients_alone": bare * STEPS,
    }


def certified(data: Training) -> dict[str, Any]:
    """The default: all fits to a certificate, from arrays to weights."""
    specs = [Spec(name, variant) for name, variant in FITS]
    first, _ = clocked(lambda: fit_ensembles(data.counts, data.answers, specs))
    steady, fits = clocked(lambda: fit_ensembles(data.counts, data.answers, specs))
    gaps = {"smooth": 0.0, "polyhedral": 0.0}
    for spec, fit in zip(specs, fits, strict=True):
        kind = "smooth" if as_divergence(spec.divergence).smooth else "polyhedral"
        gaps[kind] = max(gaps[kind], float(fit.gap))
    return {
        "with_compilation": first,
        "steady": steady,
        "worst_gap": gaps,
        "not_converged": [
            f"{s.divergence}/{s.variant}"
            for s, fit in zip(specs, fits, strict=True)
            if int(fit.status)
        ],
        "steps": {f"{s.divergence}/{s.variant}": int(f.steps) for s, f in zip(specs, fits)},
    }


def floors(ours: dict[str, Any], bytes_per_second: float, operations: float) -> dict[str, Any]:
    """What a step of the reference loop must take, and how far from it we are."""
    measured = ours["timed_seconds"] / ours["timed_steps"]
    by_memory = ours["bytes_per_step"] / bytes_per_second
    by_arithmetic = ours["operations_per_step"] / operations
    return {
        "milliseconds_per_step": 1e3 * measured,
        "memory_floor_milliseconds": 1e3 * by_memory,
        "arithmetic_floor_milliseconds": 1e3 * by_arithmetic,
        "over_memory_floor": measured / by_memory,
        "over_higher_floor": measured / max(by_memory, by_arithmetic),
        "bytes_per_second": ours["bytes_per_step"] / measured,
    }


def report(name: str, result: dict[str, Any], full: bool) -> None:
    """Print what was found for one data set."""
    ours, other, default = result["reference"], result["peer"], result["default"]
    step, gaps = result["step"], default["worst_gap"]
    how = "timed" if full else f"from {ours['timed_steps']} steps"
    print(f"\n{name}: {len(FITS)} fits, {STEPS:,} steps")
    print(
        f"reference {ours['seconds']:9.1f} s ({how}; "
        f"compilation {ours['compilation_seconds']:.1f} s)"
    )
    print(
        f"peer      {other['seconds']:9.0f} s ({other['timed_steps_per_fit']} steps of every fit)"
    )
    print(
        f"default   {default['steady']:9.1f} s ({default['with_compilation']:.1f} s with "
        f"compilation); worst gaps smooth {gaps['smooth']:.1e}, polyhedral "
        f"{gaps['polyhedral']:.1e}; not converged: {default['not_converged'] or 'none'}"
    )
    print(
        f"a step    {step['milliseconds_per_step']:9.2f} ms, "
        f"{ours['bytes_per_step'] / 1e6:.0f} MB moved; floor by memory "
        f"{step['memory_floor_milliseconds']:.2f} ms, by arithmetic "
        f"{step['arithmetic_floor_milliseconds']:.2f} ms; {step['over_higher_floor']:.1f} times "
        "the higher one"
    )
    for label, ratio in result["ratios"].items():
        print(f"{label.replace('_', ' '):<42} {ratio:8.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the public data")
    parser.add_argument("--datasets", nargs="+", choices=LOADERS, default=list(LOADERS))
    parser.add_argument("--steps", type=int, default=2000, help="timed steps of the reference")
    parser.add_argument("--full", action="store_true", help="time all 100,000 steps")
    parser.add_argument("--peer-steps", type=int, default=10, help="of every fit of the peer")
    parser.add_argument("--twins", type=int, help="the first so many; all by default")
    parser.add_argument("--out", type=Path, default=RESULTS / "ensembles_speed.json")
    args = parser.parse_args()

    cores = os.cpu_count() or 1
    rates, operations = bandwidth(cores), arithmetic()
    fastest = max(rates.values())
    print("  ".join(f"{name} {rate / 1e9:.1f} GB/s" for name, rate in rates.items()), end="  ")
    print(f"product {operations / 1e9:.0f} Gflop/s")
    results = {}
    for name in args.datasets:
        data = training(LOADERS[name](args.data), args.twins)
        ours = reference(data, STEPS if args.full else args.steps)
        default = certified(data)
        other = plain(data, args.peer_steps)
        step = floors(ours, fastest, operations)
        ratios = {
            "peer_over_reference": other["seconds"] / ours["seconds"],
            "peer_over_reference_with_compilation": other["seconds"]
            / (ours["seconds"] + ours["compilation_seconds"]),
            "peer_with_blas_over_reference": other["seconds_with_blas"] / ours["seconds"],
            "peer_gradients_alone_with_blas_over_reference": other["seconds_of_gradients_alone"]
            / ours["seconds"],
            "reference_over_default": ours["seconds"] / default["steady"],
            "reference_over_default_with_compilation": (
                ours["seconds"] + ours["compilation_seconds"]
            )
            / default["with_compilation"],
        }
        results[name] = {
            "twins": data.choices.shape[0],
            "questions": data.choices.shape[1],
            "options": data.counts.shape[1],
            "reference": ours,
            "step": step,
            "default": default,
            "peer": other,
            "ratios": ratios,
        }
        report(name, results[name], args.full)
    write_report(
        args.out,
        steps=STEPS,
        full=args.full,
        bytes_per_second=rates,
        operations_per_second=operations,
        datasets=results,
    )


if __name__ == "__main__":
    main()
