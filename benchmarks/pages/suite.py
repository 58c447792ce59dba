"""The page of the suite: every kernel beside its peers, its floor, and what keeps it from there."""

import json
import textwrap
from collections.abc import Mapping
from typing import Any

from benchmarks.pages.tables import head, records_of, row
from benchmarks.report import RESULTS
from benchmarks.suite.case import Work

_SIZES = {
    "batch": "{:,} problems",
    "n": "{:,} rows",
    "p": "{:,} columns",
    "m": "{:,} columns",
    "penalties": "penalties: {:,}",
    "l1_ratio": "l1 ratio {:g}",
    "alpha": "penalty {:g}",
    "incomplete": "{:,} of them with gaps",
    "rank": "rank {:,}",
    "missing": "{:.0%} missing",
    "size": "{:,} points",
    "width": "{:,} dimensions",
    "questions": "{:,} questions",
    "people": "{:,} people",
    "asked": "{:,} asked",
}

_SHORT = {
    "nets": "thousands of elastic nets",
    "simplex": "synthetic control",
    "completion": "matrix completion",
    "ridge-path": "a path of ridge penalties",
    "prdc": "precision, recall, density and coverage",
    "ppi": "prediction-powered intervals",
}


def suite() -> list[str]:
    """Tables of times, floors and growth at the papers' sizes."""
    report, kernels = _measured("paper")
    if not report:
        return []
    parts = [peers(kernels), floors(kernels, report), scripts(report["cases"])]
    if report.get("growth"):
        parts.append(growth(report["growth"]))
    lines: list[str] = []
    for part in filter(None, parts):
        lines += [*part, ""]
    return lines[:-1]


def in_short() -> list[str]:
    """A sentence for the first page: every kernel beside its fastest peer at the papers' sizes."""
    report, kernels = _measured("paper")
    if not report:
        return []
    ratios = _ratios(kernels)
    told = ", ".join(f"{what} {_ratio(ratios[name])}" for name, what in _SHORT.items())
    sentences = (
        f"On {report['machine']['cores']} CPU cores and problems of the papers' sizes, ours is so "
        f"many times as fast as the fastest other program that we know for the task: {told}."
    )
    _, largest = _measured("large")
    for when, found in ((" at these sizes", kernels), (" at the largest sizes", largest)):
        slower = {name: ratio for name, ratio in _ratios(found).items() if is_slower(ratio)}
        listed = [f"{found[name]['what']} ({ratio:.2f})" for name, ratio in slower.items()]
        if found is kernels:
            listed += slower_nets()
        if listed:
            sentences += f" Slower than the fastest{when}: {', '.join(listed)}."
    sentences += " All tasks, programs and sizes are under [Speed](docs/benchmarks.md)."
    return textwrap.wrap(sentences, 125, break_long_words=False, break_on_hyphens=False)


def slower_nets() -> list[str]:
    """How many single lassos and elastic nets of `nets.json` a peer is faster in, and how much."""
    path = RESULTS / "nets.json"
    if not path.exists():
        return []
    ones = json.loads(path.read_text(encoding="utf-8"))["one"]
    found = [beside_fastest_solver(one["solvers"]) for one in ones]
    slower = sorted(ratio for ratio in found if is_slower(ratio))
    if not slower:
        return []
    between = " to ".join(f"{ratio:.2f}" for ratio in dict.fromkeys((slower[0], slower[-1])))
    return [
        f"in a run of their own {len(slower)} of {len(found)} single lassos and nets ({between})"
    ]


def beside_fastest_solver(solvers: Mapping[str, Any]) -> float:
    """How many times as fast as the fastest peer we are, in a case of `nets.json`."""
    peers = [peer["seconds"] for name, peer in solvers.items() if name != "ours"]
    return min(peers) / solvers["ours"]["seconds"]


def _ratios(kernels: Mapping[str, Any]) -> dict[str, float]:
    """[`_beside_fastest`][] of every kernel that has such a peer."""
    found = {name: _beside_fastest(case) for name, case in kernels.items()}
    return {name: ratio for name, ratio in found.items() if ratio is not None}


def _beside_fastest(case: Mapping[str, Any]) -> float | None:
    """How many times as fast as the fastest peer we are, where both get to the target."""
    mine = ours(case)
    peers = [
        run["seconds"]
        for name, run in case["chosen"].items()
        if run is not None and not name.startswith("ours")
    ]
    return None if mine is None or not peers else min(peers) / mine["seconds"]


def suite_large() -> list[str]:
    """The table of times at the largest sizes."""
    report, kernels = _measured("large")
    return peers(kernels) if report else []


def _measured(size: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The suite's report at this size and its kernels; empty while it has not been run."""
    path = RESULTS / f"suite-{size}.json"
    if not path.exists():
        return {}, {}
    report = json.loads(path.read_text(encoding="utf-8"))
    return report, {name: case for name, case in report["cases"].items() if "sides" in case}


def ours(case: Mapping[str, Any]) -> dict[str, Any] | None:
    """Our fastest side within the target, by its name.

    One program serves all tolerances of a side: the first that was run has compiled it.
    """
    found = []
    for name, run in case["chosen"].items():
        if run is not None and name.startswith("ours"):
            side = case["sides"][name]
            compilation = max(one["compilation_seconds"] for one in side["runs"])
            whole = {"compilation_seconds": compilation, "peak_gib": side["peak_gib"]}
            found.append({"name": name} | run | whole)
    return min(found, key=lambda run: run["seconds"], default=None)


def duration(seconds: float) -> str:
    """Three digits or whole numbers, in seconds or milliseconds."""
    if seconds < 1:
        return f"{1e3 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:,.0f} s"


def _ratio(ratio: float) -> str:
    return f"{ratio:.{1 if ratio >= 1 else 2}f}"


def is_slower(ratio: float) -> bool:
    """Whether a peer is faster, by what a ratio of two decimals shows."""
    return ratio < 0.995


def beside_peer(name: str, ratio: float, processor: float | None = None) -> str:
    """How many times as fast as a peer we are, also in processor time; in words if it is faster."""
    word = f"{name} {_ratio(ratio)}"
    if processor is not None:
        word += f" ({_ratio(processor)})"
    return f"{word}, **{name} is faster**" if is_slower(ratio) else word


def beside(case: Mapping[str, Any], mine: Mapping[str, Any] | None) -> str:
    """How many times as fast as each peer we are, and in words where the peer is faster."""
    words = []
    for name, side in case["sides"].items():
        if name.startswith("ours"):
            continue
        run = case["chosen"].get(name)
        if "left_out" in side or "failed" in side:
            words.append(f"{name}: {side.get('left_out', 'failed')}")
        elif run is None:
            closest = min(side["runs"], key=lambda one: one["judged"]["error"])
            error, spent = closest["judged"]["error"], duration(closest["seconds"])
            words.append(f"{name} does not get there ({error:.1e} after {spent})")
        elif mine is not None:
            processor = run["processor_seconds"]
            if processor is not None:
                processor /= mine["processor_seconds"]
            words.append(beside_peer(name, run["seconds"] / mine["seconds"], processor))
    return "; ".join(words)


def peers(kernels: Mapping[str, Any]) -> list[str]:
    """A row per kernel: our time to the target, compilation, memory, and the peers."""
    loads = [case[when] for case in kernels.values() for when in ("load_before", "load_after")]
    lines = [
        "Times are medians of repeated calls; ± is half the distance between the quartiles. The "
        "fourth column says how many times as fast as each peer we are. In parentheses is the "
        "ratio of processor times (all threads, least of the repeats), which other work on the "
        "machine hardly changes; peers that work in several processes have none. Names in "
        "parentheses beside our times say which of our functions is the fastest; *inside jit* is "
        "a call that is part of a compiled program."
        f"{_extrapolated(kernels)} The machine's load was "
        f"{min(loads):.0f} to {max(loads):.0f}: where that is above the number of cores, other "
        "work was going on and times are longer than they need be.",
        "",
    ]
    columns = ["", "size", "ours", "times as fast as", "error at most", "compilation", "memory"]
    lines += head(columns, words=("size", "times as fast as"))
    for name, case in kernels.items():
        mine = ours(case)
        time, compilation, memory = "not reached", "–", "–"
        if mine is not None:
            spread = f" ± {100 * mine['spread']:.0f}%"
            which = "" if mine["name"] == "ours" else f" ({mine['name'].removeprefix('ours, ')})"
            time = duration(mine["seconds"]) + spread + which
            compilation = f"{mine['compilation_seconds']:.1f} s"
            memory = f"{mine['peak_gib']:.2f} GiB"
        cells = [f"`{name}`: {case['what']}", size(case["size"]), time, beside(case, mine)]
        lines.append(row([*cells, f"{case['target']:g}", compilation, memory]))
    return [*lines, *measured_on(kernels)]


def _extrapolated(kernels: Mapping[str, Any]) -> str:
    """Which peers are timed on a part of the problem."""
    shares = {
        name: min((run["share_timed"] for run in case["chosen"].values() if run), default=1)
        for name, case in kernels.items()
    }
    told = ", ".join(f"`{name}` {100 * share:.2g}%" for name, share in shares.items() if share < 1)
    return told and f" Peers' long loops are timed in part and extrapolated (timed: {told})."


def measured_on(kernels: Mapping[str, Any]) -> list[str]:
    """Which kernels were measured on which commit, where that is not one for all."""
    commits: dict[str, list[str]] = {}
    for name, case in kernels.items():
        if "run" in case:
            commits.setdefault(case["run"]["commit"]["hash"][:9], []).append(f"`{name}`")
    if len(commits) < 2:
        return []
    said = "; ".join(f"{commit}: {', '.join(names)}" for commit, names in commits.items())
    return ["", f"Measured on these commits: {said}."]


def size(given: Mapping[str, float]) -> str:
    """The size of a problem in words."""
    return ", ".join(_SIZES[name].format(value) for name, value in given.items() if name in _SIZES)


def floors(kernels: Mapping[str, Any], report: Mapping[str, Any]) -> list[str]:
    """Operations and bytes that no method avoids, and our share of the machine's rate."""
    rates = report["rates"]
    lines = [
        f"The machine moves {rates['bytes_per_second'] / 1e9:.0f} GB a second and does "
        f"{rates['operations_per_second'] / 1e9:.0f} billion float32 operations a second (products "
        "and sums of a matrix product; the best of all runs of the suite). The "
        "*floor* is the time that the "
        "operations and bytes that no method avoids take at these rates; the *share* is the floor "
        "divided by the time of our fastest call.",
        "",
        *head(
            ["", "operations", "bytes", "floor", "share", "why less than half"],
            ["why less than half"],
        ),
    ]
    for name, case in kernels.items():
        mine = ours(case)
        if mine is None:
            continue
        work = Work(mine["operations"], mine["bytes"])
        floor = work.seconds(rates["operations_per_second"], rates["bytes_per_second"])
        share = floor / mine["least_seconds"]
        cells = [
            f"`{name}`",
            f"{mine['operations']:.2g}",
            f"{mine['bytes']:.2g}",
            duration(floor),
            f"{100 * share:.2g}%",
            "" if share >= 0.5 else case["why"],
        ]
        lines.append(row(cells))
    return lines


def scripts(cases: Mapping[str, Any]) -> list[str]:
    """Figures of the claims that scripts make, a row each."""
    done = {name: case for name, case in cases.items() if "process_seconds" in case}
    if not done:
        return []
    lines = [
        "Scripts that make one claim, each a process of its own, with compilation. *Load* is that "
        "of the machine before and after, ours included.",
        "",
    ]
    columns = ["", "whole process", "processor", "memory", "load", "commit", "figures"]
    lines += head(columns, words=("commit", "figures"))
    for name, case in done.items():
        figures = "; ".join(
            f"{key.replace('_', ' ')} {value:.3g}" for key, value in case["figures"].items()
        )
        seconds = (duration(case[key]) for key in ("process_seconds", "processor_seconds"))
        load = f"{case['load_before']:.0f} to {case['load_after']:.0f}"
        commit = case["run"]["commit"]["hash"][:9]
        memory = f"{case['peak_gib']:.1f} GiB"
        lines.append(row([f"`{name}`: {case['what']}", *seconds, memory, load, commit, figures]))
    if "table4" in done:
        lines += ["", where_table4_goes(done["table4"])]
    return lines


def where_table4_goes(case: Mapping[str, Any]) -> str:
    """The shares of its methods, and its aim."""
    spent: dict[str, float] = {}
    for record in records_of("table4"):
        # Every metric of a method repeats its seconds.
        if record["metric"] == "pearson" and record["seconds"]:
            spent[record["method"]] = spent.get(record["method"], 0) + record["seconds"]
    whole = sum(spent.values())
    first = sorted(spent, key=spent.__getitem__, reverse=True)[:4]
    shares = ", ".join(f"{name} {100 * spent[name] / whole:.0f}%" for name in first)
    cores, seconds = case["run"]["machine"]["cores"], case["process_seconds"]
    processor = case["processor_seconds"]
    return (
        f"Table 4 takes {seconds / 60:.1f} minutes; the aim was 15. Of the methods' thread "
        f"seconds: {shares}. These repeat one step until it changes nothing: a product "
        "of the filled matrix with a thin block and back, and algebra of the block's width. What "
        "methods share (imputed donors above all) and compilation are the rest, "
        f"{100 * (1 - whole / processor):.0f}% of the processor time. The cores are busy "
        f"{100 * processor / (cores * seconds):.0f}% of the time.{least_of_table4()}"
    )


def least_of_table4() -> str:
    """The steps of its completions, and the least time that their products can take."""
    path = RESULTS / "refits.json"
    if not path.exists():
        return ""
    found = json.loads(path.read_text(encoding="utf-8"))
    steps, operations = (sum(one[key] for one in found["rows"]) for key in ("steps", "operations"))
    least, wall = operations / found["operations_per_second"], found["wall_seconds"]
    return (
        f" On one of the eight constructions the completions take {steps / 1e3:,.0f} thousand "
        f"steps in {wall:.0f} s. Their products with blocks as wide as the ranks alone would take "
        f"{least:.0f} s at the rate of a large product in the same run "
        f"({found['operations_per_second'] / 1e9:.0f} billion operations a second), which is the "
        "floor of the steps of that construction. The "
        "blocks have ten columns more, as convergence needs, products with them run below that "
        "rate, and a step has the fit, its change and the algebra of the block besides."
    )


def growth(sweeps: Mapping[str, Any]) -> list[str]:
    """Fitted exponents, and the largest problem in a stated memory."""
    lines = head(["processor time grows with", "kernel", "as", "largest tried that fits"])
    for sweep in sweeps.values():
        if "exponent" not in sweep:
            continue
        largest = sweep.get("largest", {})
        fits = "–"
        if "value" in largest:
            limit = f"limit {largest['memory_gib']:g} GiB"
            if largest.get("stopped_by") == "time":
                limit = f"no more tried, to save time; {limit}"
            fits = (
                f"{largest['value']:,.0f} in {largest['peak_gib']:.1f} GiB, "
                f"{duration(largest['seconds'])} ({limit})"
            )
        power = f"{sweep['what']}^{sweep['exponent']:.2f}"
        lines.append(row([sweep["what"], f"`{sweep['case']}`", power, fits]))
    lines += ["", " ".join(filter(None, [by_missing_share(sweeps), hold_outs()]))]
    return lines


def by_missing_share(sweeps: Mapping[str, Any]) -> str:
    """How long a completion takes when more is missing."""
    if "missing share" not in sweeps:
        return ""
    rows = sweeps["missing share"]["rows"]
    told = ", ".join(f"{duration(one['seconds'])} at {one['value']:.0%}" for one in rows)
    return f"Soft impute of 1,000 x 250 takes {told} missing."


def hold_outs() -> str:
    """How all ten methods of a hold-out grow, by `benchmarks.growth`."""
    path = RESULTS / "growth.json"
    if not path.exists():
        return ""
    report = json.loads(path.read_text(encoding="utf-8"))
    powers = ", ".join(f"{name}^{power:.2f}" for name, power in report["exponents"].items())
    largest = max(report["rows"], key=lambda one: one["users"] * one["questions"])
    return (
        f"The time of a hold-out of all ten methods in the reference setting grows as {powers}; "
        f"the largest tried, {largest['users']:,} people and {largest['questions']:,} questions in "
        f"{largest['folds']:,} folds, takes {duration(largest['steady'])} and "
        f"{largest['peak_gib']:.1f} GiB."
    )
