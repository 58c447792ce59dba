"""How many respondents the twins of MovieLens are worth: error against known human answers."""

import argparse
import os
import time
from pathlib import Path

import jax
import numpy as np

from benchmarks.report import RESULTS, write_report
from syndigits_jax.calibration import preset
from syndigits_jax.datasets import load_movielens
from syndigits_jax.evaluation import equivalent_respondents, few_shot_curve

METHODS = ("Ridge", "ElasticNet", "SyntheticControl", "SoftImpute")
METRICS = ("mse", "pearson")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    found = os.environ.get("SYNDIGITS_DATA")
    parser.add_argument("--data", type=Path, default=found, required=found is None)
    parser.add_argument("--ks", type=int, nargs="+", default=[0, 1, 2, 5, 10, 20, 40, 80])
    parser.add_argument("--repeats", type=int, default=5, help="draws of the known answers")
    parser.add_argument("--targets", type=int, help="the first so many films; all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "few_shot.json")
    args = parser.parse_args()

    panel = load_movielens(args.data)
    methods = {name: preset("movielens", "question")[name] for name in METHODS}
    start = time.perf_counter()
    curve = few_shot_curve(
        methods,
        panel,
        args.ks,
        key=jax.random.key(args.seed),
        targets=None if args.targets is None else range(args.targets),
        repeats=args.repeats,
        metrics=METRICS,
    )
    seconds = time.perf_counter() - start
    print(f"{len(curve.targets)} films, {args.repeats} draws, {seconds:.0f} s")
    for metric in METRICS:
        print(f"\n{metric:<18}" + "".join(f"{k:>8}" for k in curve.ks))
        for name in curve.scores[metric]:
            print(f"{name:<18}" + "".join(f"{x:8.4f}" for x in curve.mean(metric, name)))
    worth = {
        metric: {
            name: equivalent_respondents(curve, name, metric=metric)
            for name in (*METHODS, "Baseline")
        }
        for metric in METRICS
    }
    print("\nworth, in respondents of HumansOnly")
    for metric, values in worth.items():
        print(f"{metric:<10}" + "  ".join(f"{name} {k:.1f}" for name, k in values.items()))
    records = [
        {key: None if value != value else value for key, value in row.items()}  # NaN is not JSON
        for metric in METRICS
        for row in curve.summary(metric)
    ]
    write_report(
        args.out,
        targets=len(curve.targets),
        repeats=args.repeats,
        seed=args.seed,
        seconds=seconds,
        records=records,
        # Infinity, never reached, is not JSON either.
        worth={
            m: {n: k if np.isfinite(k) else None for n, k in v.items()} for m, v in worth.items()
        },
    )


if __name__ == "__main__":
    main()
