"""Every claim of speed on one accelerator, in less than eight minutes, from one process.

First the kernels in float32, judged in float64 on the CPU by the judges of the suite; then the
tables, `auto`, the encoder and placement at the sizes of the papers. Simulated people stand in for
the public data where there are none. A step that would begin after `--budget` seconds is left out,
and the figures are written after every step. `--size small` is the rehearsal on a CPU.

    python -m benchmarks.gpu --out gpu.json
"""

import argparse
import functools
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.encoder_speed import our_speed, products_speed
from benchmarks.encoder_speed import simulate as simulate_ratings
from benchmarks.report import RESULTS, write_report
from benchmarks.ssr_speed import simulate as simulate_placement
from benchmarks.suite.measure import clocked, measured
from benchmarks.suite.rates import rates
from benchmarks.suite.registry import CASES
from syndigits_jax.calibration import Settings, preset
from syndigits_jax.datasets import (
    CONSTRUCTIONS,
    load_movielens,
    load_movielens_distributions,
    load_twin_2k_500,
    simulate_distributions,
    simulate_panel,
)
from syndigits_jax.distribution import DIVERGENCES, Answers, Spec, fit_ensembles
from syndigits_jax.distribution.design import VARIANTS
from syndigits_jax.estimation import hold_out_questions
from syndigits_jax.evaluation import leave_one_question_out, leave_one_user_out
from syndigits_jax.panel import Panel
from syndigits_jax.preferences.pairs import pair_table, sample_pairs
from syndigits_jax.preferences.placement import place_newton, place_ssr
from syndigits_jax.preferences.training import TrainingSettings
from syndigits_jax.schema import Scale

Step = Callable[[], dict[str, Any]]


def kernel(name: str, size: str, machine: Mapping[str, float]) -> dict[str, Any]:
    """Our float32 side of a case on this device, its most exact effort, judged on the CPU."""
    case = CASES[name]
    shape = case.sizes[size]
    problem = dict(case.problem(**shape))
    problem |= case.reference(problem)
    found = {}
    for side_name, side in case.sides.items():
        if not side_name.startswith("ours") or side.dtype != "float32":
            continue
        solve = side.prepare(problem)
        figures, result = measured(
            functools.partial(solve, side.efforts[-1]), least=2, most=5, budget=1.0
        )
        answer = side.answer(problem, result)
        work = case.work(problem, answer)
        floor = work.seconds(machine["operations_per_second"], machine["bytes_per_second"])
        error = float(case.judge(problem, answer)["error"])
        found[side_name] = figures | {
            "error": error,
            "within_target": error <= case.target,
            "operations": work.operations,
            "bytes": work.bytes,
            "share_of_floor": floor / figures["least_seconds"],
        }
    return {"size": dict(shape), "target": case.target, "sides": found}


def twice(run: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Seconds with compilation and steady, and the second result."""
    first, _ = clocked(run)
    again, result = clocked(run)
    return {
        "with_compilation_seconds": first["seconds"],
        "steady_seconds": again["seconds"],
        "programs_first": first["programs"],
        "programs_again": again["programs"],
    }, result


def simulated(people: int, questions: int) -> Panel:
    """Stands in for a panel of the public data."""
    return simulate_panel(
        people, questions, 5, key=0, missing=0.1, noise=0.7, twin_noise=0.5, scale=Scale(1, 5)
    )[0]


def held_out(panel: Panel, dataset: str, users: bool, targets: int | None) -> dict[str, Any]:
    """All ten methods of a table; so many targets, evenly spaced, or all."""
    methods = preset(dataset, "user" if users else "question")
    evaluate = leave_one_user_out if users else leave_one_question_out
    count = panel.n if users else panel.m
    where = np.linspace(0, count - 1, min(targets or count, count)).round().astype(int)
    figures, result = twice(
        lambda: evaluate(methods, panel, settings=Settings.reference(), targets=where)
    )
    summary = {row["method"]: row["mean"] for row in result.summary()}
    return figures | {"targets": len(where), "pearson": summary}


def table6(twins: int, questions: int, data: Path | None) -> dict[str, Any]:
    """21 certified fits of answer distributions."""
    if data is None:
        source, _ = simulate_distributions(twins, questions, 10, key=0)
    else:
        everything = load_movielens_distributions(data)
        source = everything.take(everything.published_split()[0])
    answers = Answers.from_choices(source.choices[:twins], source.counts.shape[1])
    specs = [Spec(name, variant) for name in DIVERGENCES for variant in VARIANTS]
    figures, fits = twice(lambda: fit_ensembles(source.counts, answers, specs))
    statuses = np.asarray([int(fit.status) for fit in fits])
    return figures | {
        "not_converged": int(np.sum(statuses != 0)),
        "worst_gap": max(float(fit.gap) for fit in fits),
    }


def auto(panel: Panel) -> dict[str, Any]:
    """The estimator `auto`, every question held out."""
    figures, held = twice(lambda: hold_out_questions(panel))
    return figures | {"pearson": {row["method"]: row["mean"] for row in held.summary()}}


def encoder(users: int, items: int, steps: int) -> dict[str, Any]:
    """Pairs per second, and those of the bare matrix products."""
    table, vectors = simulate_ratings(0, users, items, 5, 15)
    settings = TrainingSettings()
    pairs = sample_pairs(jax.random.key(0), pair_table(table), None)
    steps = max(1, min(steps, len(pairs) // settings.batch_size))
    return {
        "pairs_per_second": our_speed(pairs, vectors, users, steps, settings),
        "of_products": products_speed(settings.batch_size, steps),
        "steps": steps,
    }


def placement(personas: int, probes: int, steps: int) -> dict[str, Any]:
    """Personas placed by SSR, and to the optimum by Newton's method."""
    _, _, gram, truth, ratings = simulate_placement(0, personas, probes)
    start = jax.random.normal(jax.random.key(1), truth.shape)
    found = {}
    ssr = jax.jit(functools.partial(place_ssr, steps=steps, batch_size=min(1024, personas)))
    newton = jax.jit(functools.partial(place_newton, batch_size=min(1024, personas)))
    for name, run in (
        ("ssr", lambda: ssr(gram, ratings, init=start)),
        ("newton", lambda: newton(gram, ratings)),
    ):
        found[name], placed = twice(run)
        found[name] |= {
            "mean_loss": float(jnp.mean(placed.loss)),
            "converged": float(jnp.mean(placed.status == 0)),
        }
    return found


def steps_of(size: str, data: Path | None, machine: Mapping[str, float]) -> dict[str, Step]:
    """All steps in their order: correctness first, then what matters most."""
    small = size == "small"
    steps: dict[str, Step] = {
        f"kernel {name}": functools.partial(kernel, name, size, machine) for name in CASES
    }

    def movielens() -> Panel:
        if small or data is None:
            return simulated(*((80, 60) if small else (500, 250)))
        return load_movielens(data)

    def twin(construction) -> Panel:
        if small or data is None:
            return simulated(*((80, 60) if small else (2058, 123)))
        return load_twin_2k_500(data, construction)

    folds = 3 if small else None
    steps["table2"] = lambda: held_out(movielens(), "movielens", False, folds)
    for construction in CONSTRUCTIONS[:2]:
        steps[f"table4 {construction.folder}"] = lambda construction=construction: held_out(
            twin(construction), "twin-2k-500", False, folds
        )
    steps["table5"] = lambda: held_out(movielens(), "movielens", True, folds)
    shape = (60, 10) if small else (2058, 250)
    steps["table6"] = lambda: table6(*shape, None if small else data)
    steps["auto"] = lambda: auto(movielens())
    steps["encoder"] = lambda: encoder(*((300, 200, 2) if small else (60_000, 7000, 60)))
    steps["placement"] = lambda: placement(*((16, 8, 5) if small else (10_000, 100, 200)))
    return steps


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=("small", "paper"), default="paper")
    parser.add_argument("--data", type=Path, default=os.environ.get("SYNDIGITS_DATA"))
    parser.add_argument("--budget", type=float, default=360, help="no step begins after so long")
    parser.add_argument("--only", nargs="+", help="steps whose names begin so")
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu.json")
    args = parser.parse_args(arguments)
    began = time.perf_counter()
    device = jax.devices()[0]
    print(f"{device.device_kind} ({device.platform}), JAX {jax.__version__}", flush=True)
    machine = rates(args.size)
    found: dict[str, Any] = {}
    for name, step in steps_of(args.size, args.data, machine).items():
        if args.only and not name.startswith(tuple(args.only)):
            continue
        start = time.perf_counter()
        if start - began > args.budget:
            found[name] = {"left_out": f"would begin after {args.budget:.0f} s"}
        else:
            try:
                found[name] = step()
            except Exception as error:  # the others are still worth their time
                found[name] = {"failed": f"{type(error).__name__}: {error}"[:500]}
        found[name]["whole_seconds"] = time.perf_counter() - start
        print(f"{name}: {json.dumps(found[name], default=str)[:600]}", flush=True)
        write_report(
            args.out, device=device.device_kind, size=args.size, rates=machine, steps=found,
            seconds=time.perf_counter() - began,
        )  # fmt: skip


if __name__ == "__main__":
    main()
