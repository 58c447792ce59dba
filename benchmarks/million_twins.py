"""A million simulated twins x 500 questions, fitted to a certified gap: seconds and memory.

Twins are of hidden types that answer with their type's probabilities; people are the same types in
other proportions, and their shares of answers are mixed with noise that no reweighting explains.
Choices are drawn block by block as one byte each. Peak memory is that of the whole process.
Beside the JSON lies a picture of the gap against time; `--picture` draws it from a JSON that is
there.
"""

import argparse
import json
import resource
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.report import RESULTS, write_report
from syndigits_jax.cli.render.figures import save_figure
from syndigits_jax.distribution import DIVERGENCES, Answers, Spec, fit_large
from syndigits_jax.distribution.design import VARIANTS
from syndigits_jax.plots import plot_gap

TYPES = 50
BLOCK_ENTRIES = 1 << 21  # answers drawn at a time


def simulate(
    seed: int, twins: int, questions: int, options: int, noise: float
) -> tuple[np.ndarray, np.ndarray]:
    """`targets` (m, K) and `choices` (n, m) int8. `noise`: its share in the targets."""
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet(np.full(options, 0.7), (TYPES, questions))
    cumulative = np.cumsum(rows, axis=2)[:, :, :-1].astype(np.float32)
    choices = np.empty((twins, questions), np.int8)
    block = max(1, BLOCK_ENTRIES // questions)
    for first in range(0, twins, block):
        kind = rng.integers(0, TYPES, min(block, twins - first))
        uniform = rng.random((len(kind), questions), dtype=np.float32)
        part = choices[first : first + block]
        part[:] = 0
        for k in range(options - 1):
            part += uniform > cumulative[kind, :, k]
    people = np.tensordot(rng.dirichlet(np.full(TYPES, 0.5)), rows, 1)
    strange = rng.dirichlet(np.ones(options), questions)
    return (1 - noise) * people + noise * strange, choices


def peak_gib() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def draw(path: Path, fits: Sequence[Mapping[str, Any]], tol: float, twins: int) -> None:
    """The certified gap after every round, against the seconds since the start of the fit."""
    curves = {
        fit["divergence"]: (
            [r["seconds"] for r in fit["rounds"]],
            [r["gap"] for r in fit["rounds"]],
        )
        for fit in fits
    }
    ax = plot_gap(
        curves,
        level=tol,
        xlabel="Seconds, with compilation",
        title=f"{twins:,} twins",
        xscale="linear",
    )
    print(f"written to {save_figure(ax, path)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--twins", type=int, default=1_000_000)
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--options", type=int, default=5)
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--divergences", nargs="+", choices=DIVERGENCES, default=["kl", "tv"])
    parser.add_argument("--variant", choices=VARIANTS, default="both")
    parser.add_argument("--tol", type=float, default=1e-2, help="gap over the improvement")
    parser.add_argument("--columns", type=int, default=4096, help="twins of the first round")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "million_twins.json")
    parser.add_argument("--picture", action="store_true", help="only draw what `--out` records")
    args = parser.parse_args()
    if args.picture:
        found = json.loads(args.out.read_text())
        draw(args.out.with_suffix(".png"), found["fits"], found["tol"], found["twins"])
        return

    start = time.perf_counter()
    targets, choices = simulate(args.seed, args.twins, args.questions, args.options, args.noise)
    answers = Answers.from_choices(choices, args.options)
    del choices
    simulation = time.perf_counter() - start
    print(f"{args.twins:,} twins x {args.questions} questions: simulated in {simulation:.0f} s")
    fits = []
    for name in args.divergences:
        rounds: list[dict[str, float]] = []
        start = time.perf_counter()

        def report(done: int, gap: float, start=start, rounds=rounds) -> None:
            rounds.append({"seconds": time.perf_counter() - start, "gap": gap})
            print(f"  round {done}: {rounds[-1]['seconds']:6.1f} s, gap {gap:.4f}", flush=True)

        spec = Spec(name, args.variant, tol=args.tol)
        fit = fit_large(targets, answers, spec, columns=args.columns, on_progress=report)
        jax.block_until_ready(fit)
        seconds = time.perf_counter() - start
        carriers = int(np.count_nonzero(fit.personas))
        fits.append(
            {
                "divergence": name,
                "seconds_with_compilation": seconds,
                "gap": float(fit.gap),
                "objective": float(fit.objective),
                "lower_bound": float(fit.lower_bound),
                "start": float(fit.start),
                "status": int(fit.status),
                "steps": int(fit.steps),
                "carriers": carriers,
                "peak_gib": peak_gib(),
                "rounds": rounds,
            }
        )
        print(
            f"{name}: {seconds:.1f} s with compilation, gap {float(fit.gap):.4f}, "
            f"{float(fit.start):.4f} to {float(fit.objective):.5f}, {carriers} twins with weight, "
            f"peak {peak_gib():.2f} GiB"
        )
    write_report(
        args.out,
        twins=args.twins,
        questions=args.questions,
        options=args.options,
        noise=args.noise,
        variant=args.variant,
        tol=args.tol,
        columns=args.columns,
        answers_gib=answers.n * answers.m / 2**30,
        simulation_seconds=simulation,
        peak_gib=peak_gib(),
        fits=fits,
    )
    draw(args.out.with_suffix(".png"), fits, args.tol, args.twins)


if __name__ == "__main__":
    main()
