"""Elastic nets and lassos, one and thousands, against scikit-learn and celer at an equal gap.

The judge is the duality gap that NumPy computes in float64 from the coefficients alone, relative to
the variance of the target: every solver gets the loosest of a few tolerances at which the gap is at
most 1e-4. Seconds are medians of repeats, compilation apart; processor seconds (all threads) are
the least of the repeats, and hardly depend on what else the machine does. Long loops of peers are
timed on their first problems and extrapolated. celer is used where it is installed.
"""

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from joblib import delayed
from sklearn.linear_model import ElasticNet
from threadpoolctl import threadpool_limits

from benchmarks.report import RESULTS, write_report
from benchmarks.suite.processes import one_per_core
from syndigits_jax.solvers import critical_alpha, elastic_net, elastic_nets
from syndigits_jax.solvers._coordinate_descent import BLOCK
from syndigits_jax.solvers._elastic_net_loop import soft

try:
    import celer
except ImportError:
    celer = None

SHAPES = ((100, 20), (500, 249), (600, 6000), (2000, 20000))
BATCHES = ((60, 500, 249, 0.01), (2000, 50, 200, 0.001), (20000, 50, 200, 0.001))
GAP = 1e-4
TOLERANCES = (1e-2, 3e-3, 1e-3, 3e-4, 2.5e-4, 2e-4, 1.5e-4, 1e-4, 3e-5)
SWEEPS = 100_000
MOST_GRAM = 2048  # columns

Fit = Callable[[np.ndarray, np.ndarray, float, float, float], np.ndarray]


def one_problem(n: int, p: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Independent normal columns, of which one in fifty (at least three) matters; noise of half."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, p), dtype=np.float32)
    coef = np.zeros(p)
    count = max(3, p // 50)
    coef[rng.choice(p, count, replace=False)] = rng.standard_normal(count)
    y = x @ coef
    return x, (y + 0.5 * np.std(y) * rng.standard_normal(n)).astype(np.float32)


def many_problems(batch: int, n: int, p: int) -> tuple[np.ndarray, np.ndarray]:
    """As `one_problem`, one column in ten matters."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, n, p), dtype=np.float32)
    coef = rng.standard_normal((batch, p)) * (rng.random((batch, p)) < 0.1)
    y = np.einsum("bnp,bp->bn", x, coef.astype(np.float32))
    noise = 0.5 * np.std(y, axis=1, keepdims=True) * rng.standard_normal(y.shape)
    return x, (y + noise).astype(np.float32)


def judged(x, y, coef, alpha: float, l1_ratio: float) -> float:
    """The relative duality gap in float64: the smaller of two certificates of the residual."""
    x, y, b = (np.asarray(a, np.float64) for a in (x, y, coef))
    x, y = x - x.mean(axis=0), y - y.mean()
    l1, l2 = alpha * l1_ratio, alpha * (1 - l1_ratio)
    r = y - x @ b
    v = x.T @ r / len(y)
    g = v - l2 * b
    steepest = np.abs(g).max()
    shrink = min(1.0, l1 / steepest) if steepest > 0 else 1.0
    square = r @ r / len(y) + l2 * b @ b
    gap = 0.5 * (1 - shrink) ** 2 * square + np.sum(l1 * np.abs(b) - shrink * b * g)
    if l2 > 0:
        excess = np.maximum(np.abs(v) - l1, 0)
        fenchel = l1 * np.abs(b) + 0.5 * l2 * b**2 + excess**2 / (2 * l2) - b * v
        gap = min(gap, np.sum(fenchel))
    return float(gap / np.mean(y**2))


def scikit_learn(x, y, alpha, l1_ratio, tol) -> np.ndarray:
    model = ElasticNet(alpha=alpha, l1_ratio=l1_ratio, tol=tol, max_iter=SWEEPS)
    return model.fit(x, y).coef_


def by_celer(x, y, alpha, l1_ratio, tol) -> np.ndarray:
    assert celer is not None
    if l1_ratio == 1:
        return celer.Lasso(alpha=alpha, tol=tol).fit(x, y).coef_
    return celer.ElasticNet(alpha=alpha, l1_ratio=l1_ratio, tol=tol).fit(x, y).coef_


def peers() -> dict[str, Fit]:
    return {"scikit-learn": scikit_learn} | ({} if celer is None else {"celer": by_celer})


def timed(run: Callable[[], Any], repeats: int) -> tuple[dict[str, float], Any]:
    """Seconds (median) and processor seconds (least), and the last result."""
    walls, processor, result = [], [], None
    for _ in range(repeats):
        wall, used = time.perf_counter(), time.process_time()
        result = run()
        walls.append(time.perf_counter() - wall)
        processor.append(time.process_time() - used)
    return {"seconds": statistics.median(walls), "processor_seconds": min(processor)}, result


def loosest(fit: Fit, problems: list, alpha: float, l1_ratio: float) -> float:
    """The loosest tolerance at which every problem's gap is at most `GAP`."""
    for tol in TOLERANCES:
        gaps = (judged(x, y, fit(x, y, alpha, l1_ratio, tol), alpha, l1_ratio) for x, y in problems)
        if all(gap <= GAP for gap in gaps):
            return tol
    return TOLERANCES[-1]


def compare_one(n: int, p: int, l1_ratio: float, share: int, repeats: int) -> dict[str, Any]:
    """One problem at the critical penalty over `share`."""
    x, y = one_problem(n, p)
    alpha = float(critical_alpha(x, y, l1_ratio)) / share
    arrays = jnp.asarray(x), jnp.asarray(y)

    def ours():
        return jax.block_until_ready(elastic_net(*arrays, alpha, l1_ratio, tol=GAP))

    first, _ = timed(ours, 1)
    figures, solution = timed(ours, repeats)
    coef = np.asarray(solution.value.coef)
    figures |= {
        "compilation_seconds": first["seconds"] - figures["seconds"],
        "gap": judged(x, y, coef, alpha, l1_ratio),
        "claimed_gap": float(solution.optimality),
        "steps": int(solution.steps),
        "support": int(np.sum(coef != 0)),
    }
    rows = {"ours": figures}
    fortran = np.asfortranarray(x)  # which saves the peers a copy
    for name, fit in peers().items():
        tol = loosest(fit, [(fortran, y)], alpha, l1_ratio)
        figures, coef = timed(lambda: fit(fortran, y, alpha, l1_ratio, tol), repeats)  # noqa: B023
        rows[name] = figures | {"tol": tol, "gap": judged(x, y, coef, alpha, l1_ratio)}
    case = {"n": n, "p": p, "l1_ratio": l1_ratio, "alpha": alpha, "alpha_is_critical_over": share}
    blocks = -(-np.count_nonzero(np.asarray(solution.value.coef)) // BLOCK)
    floor = one_floor(n, p) | measured_floor(*arrays, repeats)
    moves = moves_floor(int(solution.steps) * int(blocks) * BLOCK, repeats)
    return case | {"solvers": rows, "floor": floor | moves}


def one_floor(n: int, p: int) -> dict[str, float]:
    """What no method avoids: the design is read for the gradient at zero and for the last gap."""
    return {"bytes": 2.0 * 4 * n * p, "operations": 4.0 * n * p}


def measured_floor(x: jax.Array, y: jax.Array, repeats: int) -> dict[str, float]:
    """Seconds of what a fit by JAX is made of: a program that does nothing, one pass over the
    design, and the Gram matrix of all columns (of `MOST_GRAM` columns at most)."""
    parts = {
        "empty_program": (jax.jit(lambda y: y[0] + 1), (y,)),
        "pass": (jax.jit(lambda x, y: y @ x), (x, y)),
        "gram": (jax.jit(lambda x: x.T @ x), (x[:, :MOST_GRAM],)),
    }
    floor: dict[str, float] = {"gram_columns": min(x.shape[1], MOST_GRAM)}
    for name, (program, arguments) in parts.items():
        jax.block_until_ready(program(*arguments))
        run = lambda: jax.block_until_ready(program(*arguments))  # noqa: B023, E731
        floor[f"{name}_seconds"] = timed(run, repeats)[0]["seconds"]
    return floor


def moves_floor(count: int, repeats: int) -> dict[str, float]:
    """Seconds of so many moves of one coordinate in a compiled loop, one after the other.

    A move is that of coordinate descent within a block: it reads what the move before has written.
    """
    gram = 500 * np.eye(BLOCK, dtype=np.float32) + 20
    moves = jnp.asarray(np.concatenate([-np.eye(BLOCK, dtype=np.float32), gram], axis=1))

    @jax.jit
    def run(both, count):
        def move(i, both):
            j = i % BLOCK
            moved = soft(both[BLOCK + j] + 520 * both[j], jnp.ones(())) / 520
            return both - (moved - both[j]) * moves[j]

        return jax.lax.fori_loop(0, count, move, both)

    start = jnp.ones(2 * BLOCK)
    jax.block_until_ready(run(start, count))
    figures, _ = timed(lambda: jax.block_until_ready(run(start, count)), repeats)
    return {"moves": count, "moves_seconds": figures["seconds"]}


def compare_many(batch: int, n: int, p: int, alpha: float, timed_problems: int) -> dict[str, Any]:
    """A batch of elastic nets with `l1_ratio` .5."""
    x, y = many_problems(batch, n, p)
    few = list(zip(x[:timed_problems], y[:timed_problems], strict=True))

    def ours(x=x, y=y):
        return jax.block_until_ready(elastic_nets(x, y, alpha, 0.5, tol=GAP))

    first, _ = timed(ours, 1)
    figures, solution = timed(ours, 3)
    coefs = np.asarray(solution.value.coef)
    checked = np.linspace(0, batch - 1, min(batch, 200)).astype(int)
    figures |= {
        "compilation_seconds": first["seconds"] - figures["seconds"],
        "worst_gap": max(judged(x[i], y[i], coefs[i], alpha, 0.5) for i in checked),
        "worst_claimed_gap": float(jnp.max(solution.optimality)),
        "not_converged": int(jnp.sum(solution.status != 0)),
        "median_steps": float(jnp.median(solution.steps.astype(jnp.float32))),
    }
    rows = {"ours": figures}
    for name, fit in peers().items():
        tol = loosest(fit, few, alpha, 0.5)
        with threadpool_limits(1):
            alone, coefs = timed(lambda: [fit(*one, alpha, 0.5, tol) for one in few], 1)  # noqa: B023
        gaps = [judged(*one, coef, alpha, 0.5) for one, coef in zip(few, coefs, strict=True)]
        with one_per_core(len(few)) as pool:
            tasks = [delayed(fit)(*one, alpha, 0.5, tol) for one in few]
            pool(tasks[: 2 * pool.n_jobs])
            shared, _ = timed(lambda: pool(tasks), 1)  # noqa: B023
        scale = batch / len(few)
        rows[name] = {
            "tol": tol,
            "timed_problems": len(few),
            "worst_gap": max(gaps),
            "loop_seconds": alone["seconds"] * scale,
            "processor_seconds": alone["processor_seconds"] * scale,
            "joblib_seconds": shared["seconds"] * scale,
        }
    case = {"batch": batch, "n": n, "p": p, "l1_ratio": 0.5, "alpha": alpha}
    return case | {"solvers": rows, "floor": many_floor(batch, n, p)}


def many_floor(batch: int, n: int, p: int) -> dict[str, float]:
    """The data are read once; one exact solve forms and factorises the smaller Gram matrix."""
    m, most = min(n, p), max(n, p)
    return {"bytes": 4.0 * batch * n * p, "operations": batch * (2.0 * m * m * most + m**3 / 3)}


def show(case: dict[str, Any]) -> None:
    """One row per solver."""
    print({key: value for key, value in case.items() if key not in ("solvers", "floor")})
    for name, row in case["solvers"].items():
        print(f"  {name:<13}", {k: float(f"{v:.3g}") for k, v in row.items()}, flush=True)
    print("  floor        ", {k: float(f"{v:.3g}") for k, v in case["floor"].items()}, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7, help="of one small problem")
    parser.add_argument("--timed", type=int, default=100, help="problems of a batch for peers")
    parser.add_argument("--largest", type=int, default=20000, help="columns of one problem")
    parser.add_argument("--out", type=Path, default=RESULTS / "nets.json")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # peers that stop at their number of sweeps are judged
    one, many = [], []
    load = os.getloadavg()

    def kept(rows: list, case: dict[str, Any]) -> None:
        """Write after every case: the largest take minutes."""
        rows.append(case)
        show(case)
        loads = {"load_before": list(load), "load_after": list(os.getloadavg())}
        write_report(args.out, gap=GAP, **loads, one=one, many=many)

    for batch, n, p, alpha in BATCHES:
        kept(many, compare_many(batch, n, p, alpha, min(batch, args.timed)))
    for n, p in SHAPES:
        for l1_ratio in (1.0, 0.5):
            for share in (10, 100):
                if p <= args.largest:
                    repeats = args.repeats if n * p < 1e7 else 1
                    kept(one, compare_one(n, p, l1_ratio, share, repeats))


if __name__ == "__main__":
    main()
