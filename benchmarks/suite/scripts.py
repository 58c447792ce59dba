"""Claims that a script of `benchmarks` or a command makes: run, timed, and its figures picked."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Figures = dict[str, float]


@dataclass(frozen=True)
class Script:
    """`arguments[size]` follow `python -m MODULE`; DATA and OUT in them are replaced.

    `pick` makes the figures from the JSON at OUT: names that end in `_seconds` are times,
    `times_as_long` is a peer's time over ours.
    """

    what: str
    module: str
    arguments: Mapping[str, Sequence[str]]
    pick: Callable[[Any], Figures] = lambda report: {}


def _table2(report: Any) -> Figures:
    return {
        "steady_seconds": report["ours"]["steady"],
        "with_compilation_seconds": report["ours"]["with_compilation"],
        "peak_gib": report["ours"]["peak_gib"],
        "peer_imputing_once_times_as_long": report["ratios"]["shared_over_steady"],
        "peer_as_published_times_as_long": report["ratios"]["published_over_steady"],
    }


def _ensembles(report: Any) -> Figures:
    found = {}
    for name, data in report["datasets"].items():
        found[f"{name}_default_seconds"] = data["default"]["steady"]
        found[f"{name}_reference_seconds"] = data["reference"]["seconds"]
        ratio = data["ratios"]["peer_with_blas_over_reference"]
        found[f"{name}_numpy_with_blas_times_as_long"] = ratio
    return found


def _million(report: Any) -> Figures:
    found = {f"{f['divergence']}_seconds": f["seconds_with_compilation"] for f in report["fits"]}
    return found | {"peak_gib": report["peak_gib"]}


def _encoder(report: Any) -> Figures:
    against = report["ours_against"]
    return {
        "pairs_per_second": report["pairs_per_second"]["ours"],
        "torch_times_as_long": min(against["torch_loader"], against["torch_arrays"]),
        "share_of_bare_products": against["products"],
    }


def _ssr(report: Any) -> Figures:
    found = {f"{name}_seconds": side["seconds"] for name, side in report["ours"].items()}
    return found | {"torch_loop_times_as_long": report["loop"]["times_slower"]}


def _estimator(report: Any) -> Figures:
    return {
        f"{name.replace(', ', '_')}_seconds": case["wall_seconds"]
        for name, case in report["cases"].items()
    }


def _asking(report: Any) -> Figures:
    store = report["store"]
    return {
        "records": store["records"],
        "records_to_array_seconds": store["tensor_seconds"],
        "fill_seconds": store["fill_seconds"],
    }


def _growth(report: Any) -> Figures:
    return {f"exponent_of_{name}": slope for name, slope in report["exponents"].items()}


def _reproduce(table: str) -> Script:
    arguments = ["reproduce", table, "--setting", "both", "--data", "DATA", "--out", "FOLDER"]
    return Script(
        f"the whole of {table} by `syndigits reproduce`, both settings, compilation included",
        "syndigits_jax.cli",
        {"paper": arguments, "large": arguments},
    )


_TABLE2 = ["--data", "DATA", "--folds", "4", "--out", "OUT"]
_MILLION = ["--twins", "1000000", "--out", "OUT"]
SCRIPTS: dict[str, Script] = {
    "table2": Script(
        "Table 2: ten methods, 250 folds each", "benchmarks.table2_speed",
        {"paper": _TABLE2, "large": _TABLE2}, _table2,
    ),
    "table4": _reproduce("table4"),
    "table5": _reproduce("table5"),
    "table6": _reproduce("table6"),
    "ensembles": Script(
        "21 fits of answer distributions", "benchmarks.ensembles_speed",
        {size: ["--data", "DATA", "--steps", steps, "--peer-steps", "3", "--out", "OUT"]
         for size, steps in (("paper", "500"), ("large", "2000"))}, _ensembles,
    ),
    "million-twins": Script(
        "a million twins x 500 questions", "benchmarks.million_twins",
        {"small": ["--twins", "2000", "--questions", "20", "--columns", "256", "--out", "OUT"],
         "paper": _MILLION, "large": _MILLION}, _million,
    ),
    "auto": Script(
        "the estimator `auto`: missing blocks, sparse answers, new people", "benchmarks.estimator",
        {"paper": ["--no-growth", "--cases", "blocks, battery", "calibrate", "--out", "OUT"],
         "large": ["--no-growth", "--out", "OUT"]}, _estimator,
    ),
    "encoder": Script(
        "pairs per second of the preference encoder", "benchmarks.encoder_speed",
        {"small": ["--users", "0", "--compared-users", "600", "--steps", "2", "--times", "1",
                   "--out", "OUT"],
         "paper": ["--users", "0", "--out", "OUT"], "large": ["--out", "OUT"]}, _encoder,
    ),
    "ssr": Script(
        "personas placed by SSR and Newton's method", "benchmarks.ssr_speed",
        {"small": ["--personas", "64", "--probes", "12", "--steps", "5", "--loop", "2",
                   "--differentiated", "8", "--batch", "32", "--out", "OUT"],
         "paper": ["--out", "OUT"], "large": ["--personas", "100000", "--out", "OUT"]}, _ssr,
    ),
    "asking": Script(
        "requests prepared, read and stored without a model", "benchmarks.respond_overhead",
        {"small": ["--requests", "1000", "--small", "200", "--out", "OUT"],
         "paper": ["--requests", "100000", "--out", "OUT"], "large": ["--out", "OUT"]}, _asking,
    ),
    "growth": Script(
        "all ten methods against folds, people and questions", "benchmarks.growth",
        {"large": ["--out", "OUT"]}, _growth,
    ),
}  # fmt: skip


def run_script(
    script: Script, size: str, data: Path | None, kept: Path | None = None
) -> dict[str, Any]:
    """Its wall and processor seconds and peak memory as a process, and the figures picked.

    What it writes goes to the folder `kept`, which must not exist yet, or else to a temporary one.
    """
    head = {"what": script.what, "script": script.module}
    if size not in script.arguments:
        return head | {"left_out": f"has no size {size}"}
    if kept is not None and kept.exists():
        return head | {"failed": f"{kept} is there already: a resumed run has no time"}
    if "DATA" in script.arguments[size] and data is None:
        return head | {"left_out": "needs the public data (--data)"}
    with tempfile.TemporaryDirectory() as folder:
        written = folder if kept is None else str(kept)
        # A script that writes one file does not make its folder.
        if kept is not None and "OUT" in script.arguments[size]:
            kept.mkdir(parents=True)
        out = Path(written) / "report.json"
        words = {"DATA": str(data), "OUT": str(out), "FOLDER": written}
        command = [sys.executable, "-m", "benchmarks.suite.used", f"{folder}/used"]
        command += [sys.executable, "-m", script.module]
        command += [words.get(word, word) for word in script.arguments[size]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip() or f"exit {done.returncode}"
            return head | {"failed": said.splitlines()[-1]}
        used = json.loads((Path(folder) / "used").read_text(encoding="utf-8"))
        figures = script.pick(json.loads(out.read_text())) if out.exists() else {}
    print(f"\n{script.what}: {used['process_seconds']:.1f} s in all; {figures}", flush=True)
    return head | used | {"figures": figures}
