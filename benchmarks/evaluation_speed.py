"""How long `syndigits evaluate` takes: CPU seconds of each part, first with and then without
compilation, and the most memory.

People of Twin-2K-500 (the first `--people` of a construction) and their 123 questions, in blocks
by name, with weights, two columns of groups and arms that are drawn at random: all parts are there.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from syndigits_jax import report
from syndigits_jax.datasets import load_twin_2k_500
from syndigits_jax.workflows.blocks import with_batteries
from syndigits_jax.workflows.evaluate import run
from syndigits_jax.workflows.evaluate.checks import inputs_of
from syndigits_jax.workflows.evaluate.evidence import Inputs


def inputs(data: Path, people: int, construction: str) -> Inputs:
    """The tables, with columns of people drawn at random."""
    panel = load_twin_2k_500(data, construction).take(users=slice(0, people))
    rng = np.random.default_rng(0)
    groups = {"two": list("ab"), "four": list("cdef")}
    return inputs_of(
        with_batteries(panel),
        weights=rng.uniform(0.5, 2, panel.n),
        groups={name: rng.choice(labels, panel.n).tolist() for name, labels in groups.items()},
        arms=rng.choice(["one", "other"], panel.n).tolist(),
    )


def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which prints its CPU and wall seconds when it is called."""

    def call(*args: Any, **options: Any) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        found = function(*args, **options)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        print(f"  {name:<14} {cpu:7.1f} s CPU {wall:7.1f} s", flush=True)
        return found

    return call


def main() -> None:
    """Print the times of two runs in one process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--people", type=int, default=760)
    parser.add_argument("--construction", default="Text Persona - GPT4.1-mini")
    given = parser.parse_args()
    tables = inputs(given.data, given.people, given.construction)
    run.SECTIONS.update({name: timed(name, make) for name, make in run.SECTIONS.items()})
    run.gather_evidence = timed("hold-outs", run.gather_evidence)
    report.write_report = timed("files", report.write_report)
    for title in ("with compilation", "compiled"):
        print(f"{title}: {tables.panel.n} people, {tables.panel.m} questions")
        with tempfile.TemporaryDirectory() as folder:
            timed("all", run.evaluate_panel)(tables, out=Path(folder) / "report")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"at most {most:.2f} GiB")


if __name__ == "__main__":
    main()
