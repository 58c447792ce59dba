"""What a first and a second start cost, and what work costs on several devices."""

import json
from typing import Any

from benchmarks.pages.suite import duration
from benchmarks.pages.tables import head, row
from benchmarks.report import RESULTS

_COMMANDS = ("calibrate", "demo", "reproduce table2")
_WORKS = {
    "hold_out": "hold-out of questions",
    "auto": "hold-out of `auto`",
    "fits": "certified fits of twins' weights",
    "ssr": "placement by SSR",
    "newton": "placement by Newton's method",
    "prdc": "PRDC",
    "mmd": "MMD",
    "training": "encoder training",
}


def starts() -> list[str]:
    """Processor seconds of first and second starts, and of `calibrate_question`."""
    labels = json.loads((RESULTS / "compile_times.json").read_text(encoding="utf-8"))["labels"]
    before, now = labels["before"], labels["after"]
    columns = ["processor seconds", "first start, before", "first start", "second start"]
    lines = head(columns)
    for name in _COMMANDS:
        found = (before[name]["first"], now[name]["first"], now[name]["second"])
        cells = (f"{one['process_cpu_seconds']:.0f}" for one in found)
        lines.append(row([f"`syndigits {name}`", *cells]))
    lines += ["", *head(["`calibrate_question`, processor seconds", "before", "now"])]
    for name, figures in now["calibrate_question"].items():
        if isinstance(figures, dict):
            spent = (before["calibrate_question"][name]["cpu_seconds"], figures["cpu_seconds"])
            lines.append(row([f"`{name}`", *(f"{seconds:.1f}" for seconds in spent)]))
    return [
        *lines,
        "",
        "A start is a process of its own; the first has an empty cache of programs, the second is "
        "that of the next day. *Before* there was no cache. `calibrate_question` is the first call "
        f"for a new shape, without a cache. XLA's compiler takes {_compiler(now)} of what tracing, "
        "lowering and compiling take in a first start.",
        "",
        f"Before: {before['note']}",
    ]


def _compiler(label: dict[str, Any]) -> str:
    """The least and the largest share of the compiler in what makes the programs of a command."""
    shares = []
    for name in _COMMANDS:
        found = label[name]["first"]
        spent = [found[f"{stage}_seconds"] for stage in ("tracing", "lowering", "compiling")]
        shares.append(spent[-1] / sum(spent))
    return f"{100 * min(shares):.0f} to {100 * max(shares):.0f}%"


def devices() -> list[str]:
    """Seconds on two simulated devices, and bytes exchanged by eight."""
    report = json.loads((RESULTS / "sharding.json").read_text(encoding="utf-8"))
    lines = head(["", "one core", "one device, both cores", "two devices, a core each"])
    for name, timed in report["seconds"].items():
        kinds = ("one device, one core", "one device", "two devices")
        lines.append(row([_WORKS[name], *(duration(timed[kind]["seconds"]) for kind in kinds)]))
    lines += ["", *head([f"bytes between {report['devices_counted']} devices", "in all programs"])]
    for name, programs in report["bytes_between_devices"].items():
        total = sum(sum(kinds.values()) for kinds in programs.values())
        lines.append(row([_WORKS[name], f"{total:,}" if total else "none"]))
    size = report["bytes_of_parameters"] / 1e6
    return [
        *lines,
        "",
        "Seconds are of a compiled run. Bytes are what a device gets from the others each time "
        "that a program, or the body of its loop, runs; they are counted in the compiled programs "
        f"of small problems. Training exchanges the gradients of its {size:.1f} MB of parameters "
        "in every step.",
    ]
