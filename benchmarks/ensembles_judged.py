"""Certified ensembles on the public data, judged by HiGHS: TV, KS and CDF l1 are linear programs.

The optimum that HiGHS finds has to lie between a fit's lower bound and its divergence. The bound is
of distributions with a floor of 1e-6, which moves each divergence by a few times as much.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linprog

from benchmarks.ensembles_speed import LOADERS, Training, training
from benchmarks.report import RESULTS, write_report
from syndigits_jax.distribution import DIVERGENCES, Spec, fit_ensembles
from syndigits_jax.distribution.design import VARIANTS
from syndigits_jax.distribution.objective import as_divergence

POLYHEDRAL = tuple(name for name in DIVERGENCES if not as_divergence(name).smooth)
FLOOR_MOVES = 2e-5


def linear_program(name: str, variant: str, data: Training, method: str) -> float:
    """The smallest mean divergence over the weights that `variant` allows."""
    n, m = data.choices.shape
    k = data.counts.shape[1]
    targets = data.counts / data.counts.sum(axis=1, keepdims=True)
    rows = np.concatenate([np.eye(k)[data.choices.astype(int)], np.eye(k)[:, None].repeat(m, 1)])
    if name != "tv":
        rows, targets = np.cumsum(rows, axis=2)[:, :, :-1], np.cumsum(targets, axis=1)[:, :-1]
    features = sp.csr_matrix(rows.reshape(n + k, -1).T)
    cells, goal = rows[0].size, targets.ravel()
    if name == "ks":
        to_slack = sp.kron(sp.eye(m), np.ones((k - 1, 1)))
        price = np.full(m, 1 / m)
    else:
        to_slack = sp.eye(cells)
        price = np.full(cells, (0.5 if name == "tv" else 1.0) / m)
    upper = sp.vstack([sp.hstack([features, -to_slack]), sp.hstack([-features, -to_slack])])
    free = np.concatenate([np.full(n, variant != "dummies"), np.full(k, variant != "personas")])
    result = linprog(
        np.concatenate([np.zeros(n + k), price]),
        A_ub=upper.tocsc(),
        b_ub=np.concatenate([goal, -goal]),
        A_eq=sp.csr_matrix(np.concatenate([np.ones(n + k), np.zeros(len(price))])[None]),
        b_eq=[1],
        bounds=[(0, None if ok else 0) for ok in free] + [(0, None)] * len(price),
        method=method,
    )
    if not result.success:
        raise RuntimeError(f"HiGHS on {name}, {variant}: {result.message}")
    return float(result.fun)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the public data")
    parser.add_argument("--datasets", nargs="+", choices=LOADERS, default=list(LOADERS))
    parser.add_argument("--objectives", nargs="+", choices=POLYHEDRAL, default=list(POLYHEDRAL))
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--method", choices=("highs-ds", "highs-ipm"), default="highs-ds")
    parser.add_argument("--out", type=Path, default=RESULTS / "ensembles_judged.json")
    args = parser.parse_args()
    found = []
    for dataset in args.datasets:
        data = training(LOADERS[dataset](args.data))
        pairs = [(name, variant) for name in args.objectives for variant in args.variants]
        fits = fit_ensembles(data.counts, data.answers, [Spec(*pair) for pair in pairs])
        for (name, variant), fit in zip(pairs, fits, strict=True):
            start = time.perf_counter()
            best = linear_program(name, variant, data, args.method)
            row = {
                "dataset": dataset,
                "divergence": name,
                "variant": variant,
                "lower_bound": float(fit.lower_bound),
                "highs": best,
                "fit": float(fit.divergence),
                "start": float(fit.start),
                "highs_seconds": time.perf_counter() - start,
            }
            row["within"] = row["lower_bound"] - FLOOR_MOVES <= best <= row["fit"] + FLOOR_MOVES
            row["above_optimum_over_improvement"] = (row["fit"] - best) / (row["start"] - best)
            found.append(row)
            print(
                f"{dataset:<10} {name:<7} {variant:<9} {row['lower_bound']:.5f} <= "
                f"{best:.5f} <= {row['fit']:.5f}: {'yes' if row['within'] else 'NO'}; "
                f"{row['above_optimum_over_improvement']:.1e} of the improvement above "
                f"({row['highs_seconds']:.0f} s)",
                flush=True,
            )
            # After every program: the larger ones take minutes each.
            write_report(args.out, method=args.method, fits=found)


if __name__ == "__main__":
    main()
