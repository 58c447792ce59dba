"""What starting costs: programs compiled, seconds of tracing, lowering and compiling, CPU seconds.

Every command runs in a process of its own, twice with one cache folder that was empty before: the
second start is that of the next day. `calibrate_question` is called once with each of the ten
methods in one process, which has no cache. CPU seconds are those of all threads; the other seconds
are those of the clock, so that nothing else should run.

    python -m benchmarks.compile_times --data DIR

`--checkout FOLDER --label before` measures the package of another checkout and keeps it beside.
"""

import argparse
import atexit
import collections
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from syndigits_jax.datasets.tables import write_table
from syndigits_jax.results.files import write_text

STAGES = {
    "tracing": "/jax/core/compile/jaxpr_trace_duration",
    "lowering": "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "compiling": "/jax/core/compile/backend_compile_duration",
}
HIT = "/jax/compilation_cache/cache_hits"
LONGEST = 6


class Heard:
    """What JAX tells of its compiler, from now on."""

    def __init__(self) -> None:
        import jax

        self._spans: dict[str, list[tuple[float, float]]] = {name: [] for name in STAGES}
        self._programs: dict[str, list[float]] = collections.defaultdict(list)
        self._hits = 0
        self._cpu = time.process_time()
        jax.monitoring.register_event_duration_secs_listener(self._duration)
        jax.monitoring.register_event_listener(self._event)

    def _duration(self, event: str, duration_secs: float, **kwargs: Any) -> None:
        end = time.perf_counter()
        for name, of in STAGES.items():
            if event == of:
                self._spans[name].append((end - duration_secs, end))
        if event == STAGES["compiling"]:
            self._programs[str(kwargs.get("fun_name", "?"))].append(duration_secs)

    def _event(self, event: str, **kwargs: Any) -> None:
        self._hits += event == HIT

    def figures(self) -> dict[str, Any]:
        """Programs, those read from the cache, seconds per stage, and the longest to compile."""
        total = {name: sum(seconds) for name, seconds in self._programs.items()}
        longest = sorted(total, key=lambda name: -total[name])[:LONGEST]
        return {
            "programs": len(self._spans["compiling"]),
            "read_from_cache": self._hits,
            **{f"{name}_seconds": round(_covered(s), 2) for name, s in self._spans.items()},
            "cpu_seconds": round(time.process_time() - self._cpu, 2),
            "longest": {
                name: {"programs": len(self._programs[name]), "seconds": round(total[name], 2)}
                for name in longest
            },
        }


def _covered(spans: list[tuple[float, float]]) -> float:
    """Seconds that at least one span covers: a function is traced while its caller is."""
    seconds, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        seconds += max(end - max(start, reached), 0)
        reached = max(reached, end)
    return seconds


def run_command(folder: Path, words: list[str]) -> None:
    """Run the command line, and write what was heard as it ends."""
    heard = Heard()
    atexit.register(lambda: write_text(folder / "heard.json", json.dumps(heard.figures())))
    from syndigits_jax.cli import main as command_line

    sys.argv = ["syndigits", *words]
    command_line()


def run_methods(folder: Path) -> None:
    """`calibrate_question` with each method: two new questions of the sample panel."""
    import jax

    from syndigits_jax import calibrate_question
    from syndigits_jax.datasets import sample_panel
    from syndigits_jax.studies.demo.calibration import demo_methods

    panel, figures = sample_panel(), {}
    for name, method in demo_methods().items():
        heard = Heard()
        found = calibrate_question(method, panel.human[:, :-2], panel.twin)
        jax.block_until_ready(found.prediction)
        figures[name] = heard.figures()
    write_text(folder / "heard.json", json.dumps(figures))


def write_tables(folder: Path) -> list[str]:
    """Tables of the sample panel, whose last two questions are new; options that name them."""
    from syndigits_jax.datasets import sample_panel

    human, twin = sample_panel().to_frames()
    write_table(folder / "human.csv", human.iloc[:, :-2])
    write_table(folder / "twin.csv", twin)
    return ["--human", str(folder / "human.csv"), "--twin", str(folder / "twin.csv")]


def started(checkout: Path, cache: Path, folder: Path, *case: str) -> dict[str, Any]:
    """What a case hears in a process of its own, and the CPU seconds of the whole process."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "XDG_CACHE_HOME": str(cache)}
    words = [sys.executable, __file__, "--child", str(folder), *case]
    with (folder / "output.txt").open("w") as output:
        child = subprocess.Popen(words, env=environment, stdout=output, stderr=output)
        _, status, used = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(case)} failed:\n{(folder / 'output.txt').read_text()[-3000:]}")
    process = {"process_cpu_seconds": round(used.ru_utime + used.ru_stime, 2)}
    return process | json.loads((folder / "heard.json").read_text())


def measured(
    checkout: Path, data: Path | None, only: list[str], starts: int
) -> Iterator[tuple[str, Any]]:
    """All cases of a checkout, by name, each as soon as it is measured."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        tables = write_tables(folder)
        commands = {
            "calibrate": ["calibrate", *tables, "--out", str(folder / "out.csv")],
            "demo": ["demo", "--out"],
        }
        if data is not None:
            commands["reproduce table2"] = ["reproduce", "table2", "--data", str(data), "--out"]
        for name, words in commands.items():
            if only and name not in only:
                continue
            cache = folder / f"cache of {name}"
            figures = {}
            for start in ("first", "second")[:starts]:
                out = [str(folder / name / start)] if words[-1] == "--out" else []
                figures[start] = started(checkout, cache, folder, *words, *out)
                print(name, start, json.dumps(figures[start]), flush=True)
                yield name, figures
        if not only or "calibrate_question" in only:
            figures = started(checkout, folder, folder, "methods")
            print("calibrate_question", json.dumps(figures), flush=True)
            yield "calibrate_question", figures


def main() -> None:
    from benchmarks.report import RESULTS, write_report

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the published SYN-DIGITS data")
    parser.add_argument("--checkout", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--label", default="now", help="the name of these figures in the file")
    parser.add_argument("--starts", type=int, default=2, help="of each command, one or two")
    parser.add_argument("--only", action="append", default=[], help="a case; repeatable")
    parser.add_argument("--results", type=Path, default=RESULTS / "compile_times.json")
    given = parser.parse_args()
    labels = json.loads(given.results.read_text())["labels"] if given.results.exists() else {}
    if not given.only:
        labels[given.label] = {}
    for name, figures in measured(given.checkout, given.data, given.only, given.starts):
        labels.setdefault(given.label, {})[name] = figures
        write_report(given.results, labels=labels)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        at, case = Path(sys.argv[2]), sys.argv[3:]
        run_methods(at) if case == ["methods"] else run_command(at, case)
    else:
        main()
