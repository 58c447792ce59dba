"""`python -m benchmarks [NAME ...] --size small|paper|large`: measured, judged, written, told."""

import argparse
import importlib.metadata
import json
import os
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS, write_report
from benchmarks.suite.case import SIZES
from benchmarks.suite.growth import grow
from benchmarks.suite.rates import rates
from benchmarks.suite.registry import CASES
from benchmarks.suite.run import ratios, run_case
from benchmarks.suite.scripts import SCRIPTS, run_script
from syndigits_jax.results.records import run_description


def peer_versions() -> dict[str, str]:
    """Versions of the installed libraries that sides of the kernels need."""
    modules = {
        name for case in CASES.values() for side in case.sides.values() for name in side.needs
    }
    known = importlib.metadata.packages_distributions()
    names = {known[module][0] for module in modules if module in known}
    return {name: importlib.metadata.version(name) for name in sorted(names)}


def show(result: dict[str, Any]) -> None:
    """A line per side."""
    print(f"\n{result['name']}: {result['what']}, {result['size']}")
    for name, side in result["sides"].items():
        run = result["chosen"].get(name)
        if "left_out" in side or "failed" in side:
            print(f"  {name:<28} {side.get('left_out') or side['failed']}")
        elif run is None:
            errors = [f"{run['judged']['error']:.1e}" for run in side["runs"]]
            print(f"  {name:<28} not within {result['target']:g}: {', '.join(errors)}")
        else:
            print(
                f"  {name:<28} {run['seconds']:9.4f} s ± {100 * run['spread']:.0f}%  processor "
                f"{run['processor_seconds']:9.4f} s  compilation {run['compilation_seconds']:5.1f} "
                f"s  error {run['judged']['error']:.1e}  {100 * run['share_of_floor']:.0f}% of the "
                f"floor's rate  {side['peak_gib']:.2f} GiB",
                flush=True,
            )
    for name, ratio in ratios(result).items():
        print(f"  {name}: takes {ratio:.2f} times as long as ours")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = [*CASES, *SCRIPTS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--size", choices=SIZES, default="paper")
    parser.add_argument("--data", type=Path, default=os.environ.get("SYNDIGITS_DATA"))
    parser.add_argument("--no-scripts", action="store_true", help="the kernels alone")
    parser.add_argument("--growth", action="store_true", help="how our kernels grow, nothing else")
    parser.add_argument("--memory-gib", type=float, default=2, help="for the largest problem")
    parser.add_argument("--out", type=Path, help="JSON; what it holds of other cases is kept")
    parser.add_argument("--runs", type=Path, help="folder to keep in what scripts write")
    args = parser.parse_args(arguments)
    if unknown := set(args.names) - set(names):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    wanted = args.names or [*CASES, *([] if args.no_scripts else SCRIPTS)]
    out = args.out or RESULTS / f"suite-{args.size}.json"
    before = json.loads(out.read_text()) if out.exists() else {}
    cases: dict[str, Any] = before.get("cases", {})
    if args.growth:
        growth = grow(args.names, args.size, args.memory_gib)
        kept = {name: before[name] for name in ("rates", "cases") if name in before}
        write_report(out, size=args.size, **kept, growth=before.get("growth", {}) | growth)
        return
    machine = rates(args.size)
    # Other work slows them down: the best of all runs is what the machine can do.
    machine = {k: max(rate, before.get("rates", {}).get(k, 0)) for k, rate in machine.items()}
    print("  ".join(f"{name} {rate:.3g}" for name, rate in machine.items()))
    for name in wanted:
        load = os.getloadavg()[0]
        if name in SCRIPTS:
            kept = args.runs / name if args.runs else None
            cases[name] = run_script(SCRIPTS[name], args.size, args.data, kept)
        else:
            cases[name] = run_case(CASES[name], args.size, machine)
            show(cases[name])
        # A later run of other cases keeps this one, with its own origin.
        cases[name] |= {
            "rates": machine, "load_before": load, "load_after": os.getloadavg()[0],
            "run": run_description() | {"peers": peer_versions()},
        }  # fmt: skip
        order = {name: cases[name] for name in names if name in cases}
        kept = {"growth": before["growth"]} if "growth" in before else {}
        write_report(out, size=args.size, rates=machine, cases=order, **kept)
