"""Reports of `syndigits evaluate` on public data: MovieLens, and two constructions of Twin-2K-500.

    python -m benchmarks.reports --data DIR --out DIR

writes a folder for each, to be looked at, and prints how long it took. Versions of the experiments
of Twin-2K-500 are merged into one question each, and its questions are in blocks by their names.
With `--twice` every report is made again, for the time without compilation.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from syndigits_jax.datasets import (
    DEFAULT_CONSTRUCTION,
    TWIN_2K_500_EXPERIMENTS,
    load_movielens,
    load_twin_2k_500,
    merge_versions,
)
from syndigits_jax.report import write_report
from syndigits_jax.workflows.blocks import with_batteries
from syndigits_jax.workflows.evaluate.checks import inputs_of
from syndigits_jax.workflows.evaluate.evidence import Inputs
from syndigits_jax.workflows.evaluate.run import evaluate_panel

CONSTRUCTIONS = {
    "twin-2k-500-text": DEFAULT_CONSTRUCTION.folder,
    "twin-2k-500-demographics": "Demographics Only - GPT4.1-mini",
}


def movielens(data: Path, people: int) -> Inputs:
    """Ratings of films."""
    return inputs_of(load_movielens(data).take(users=slice(0, people)))


def twin_2k_500(data: Path, people: int, construction: str) -> Inputs:
    """Answers to a survey with experiments between people."""
    found = merge_versions(load_twin_2k_500(data, construction), TWIN_2K_500_EXPERIMENTS)
    panel = with_batteries(found.panel.take(users=slice(0, people)))
    inputs = inputs_of(panel)
    arms = {
        name: arm[:people] for name, arm in found.arms.items() if name in inputs.panel.questions
    }
    return Inputs(inputs.panel, outcome_arms=arms, notes=inputs.notes)


def main() -> None:
    """Write the reports, and print their first sentences and times."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--people", type=int, default=760, help="the first so many")
    parser.add_argument("--only", nargs="+", choices=["movielens", *CONSTRUCTIONS])
    parser.add_argument("--twice", action="store_true")
    args = parser.parse_args()
    tables: dict[str, tuple[str, Callable[[], Inputs]]] = {
        "movielens": ("MovieLens: twins of raters", lambda: movielens(args.data, args.people))
    }
    for name, folder in CONSTRUCTIONS.items():
        title = f"Twin-2K-500: {folder}"
        tables[name] = title, lambda folder=folder: twin_2k_500(args.data, args.people, folder)
    for name in args.only or tables:
        title, inputs_of_panel = tables[name]
        inputs = inputs_of_panel()
        for _ in range(2 if args.twice else 1):
            wall, cpu = time.perf_counter(), time.process_time()
            report = evaluate_panel(inputs, title=title)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            panel = inputs.panel
            print(f"{name}: {panel.n} people x {panel.m} questions, {cpu:.0f} s CPU, {wall:.0f} s")
        write_report(report, args.out / name)
        for claim in report.summary:
            print(f"  {claim.text}", flush=True)


if __name__ == "__main__":
    main()
