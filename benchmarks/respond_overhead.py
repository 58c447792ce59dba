"""The package's share of the time of a request, and of the export of a million responses.

An engine that answers at once leaves nothing but our own work: rendering prompts, deriving seeds,
reading answers, committing them. It is measured for a few lengths of persona texts, in requests per
second on one core, together with its parts. The store so filled is then asked for again (which asks
nothing) and read as an array and as a table.

`--requests 1000000` (the default) takes a minute or two and 100 MB of disk.
"""

import argparse
import collections
import math
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import RESULTS, write_report
from syndigits_jax.respond import (
    Completion,
    Decoding,
    EngineIdentity,
    Request,
    find_template,
    make_plan,
    read_frame,
    read_tensor,
)
from syndigits_jax.respond.asking.collect import collect
from syndigits_jax.schema import Option, Persona, Question

LENGTHS = (400, 4_000, 40_000)  # characters of a persona: a summary, a profile, a whole survey
SMALL = 20_000  # requests per length


class Instant:
    """Answers at once, what the seed says."""

    identity = EngineIdentity("instant", "stub", "1")

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        for position, request in enumerate(requests):
            weights = [1 + (request.seed >> shift) % 8 for shift in range(len(request.answers))]
            total = 1.1 * sum(weights)
            logs = tuple(math.log(weight / total) for weight in weights)
            yield position, Completion(request.answers[0], logs, "stop", 100, 1, 80)

    def close(self) -> None:
        pass


def clocked(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def material(people: int, questions: int, length: int) -> tuple[list[Persona], list[Question]]:
    sentence = "They were born in a small town, and moved to the city when they were young. "
    text = (sentence * (length // len(sentence) + 1))[:length]
    options = tuple(Option(value, f"answer number {value}") for value in range(1, 6))
    return (
        [Persona(f"p{i}", f"Number {i}. {text}") for i in range(people)],
        [Question(f"q{j}", f"How do you find thing {j}?", options) for j in range(questions)],
    )


def layer(folder: Path, length: int, requests: int) -> dict[str, float]:
    """Requests per second through all of it, and through its parts by themselves."""
    template, decoding = find_template("survey"), Decoding()
    people, questions = material(max(1, requests // 100), 100, length)
    plan = make_plan(template, people, questions, decoding)
    engine = Instant()

    def rendered() -> Iterator[Request]:
        for i in range(len(people)):
            for task in plan.tasks:
                yield plan.request(i, task, plan.prompt(i, task))

    render = clocked(lambda: collections.deque(rendered(), maxlen=0))[0]
    stub = clocked(lambda: collections.deque(engine.stream(rendered()), maxlen=0))[0] - render
    path = folder / f"{length}.db"
    seconds, report = clocked(lambda: collect(engine, template, people, questions, decoding, path))
    ours = seconds - stub  # the stub's own work is no part of the layer
    print(
        f"{length} characters: {report.asked / ours:,.0f} requests/s, {1e6 * ours / len(plan):.0f} "
        f"microseconds each, of which rendering {1e6 * render / len(plan):.0f}"
    )
    return {
        "characters": length,
        "requests": len(plan),
        "requests_per_second": len(plan) / ours,
        "microseconds_per_request": 1e6 * ours / len(plan),
        "microseconds_of_rendering": 1e6 * render / len(plan),
        "most_requests_per_second_at_5_percent": 0.05 * len(plan) / ours,
    }


def million(folder: Path, requests: int) -> dict[str, Any]:
    """A store of so many records: filled, asked for again, exported."""
    template, decoding = find_template("survey"), Decoding()
    people, questions = material(requests // 100, 100, LENGTHS[0])
    path = folder / "million.db"

    def ask() -> Any:
        return collect(Instant(), template, people, questions, decoding, path)

    filled, _ = clocked(ask)
    resumed, again = clocked(ask)
    tensor, table = clocked(lambda: read_tensor(path))
    frame_seconds, frame = clocked(lambda: read_frame(path))
    values = (table.tensor.probabilities * table.tensor.values[None]).sum(-1)
    error = float(np.abs(np.asarray(values) - frame.to_numpy()).max())
    if again.asked or error > 1e-5:
        raise RuntimeError(f"asked {again.asked} again; the table is {error} from the array")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{requests:,} records: filled in {filled:.1f} s, resumed in {resumed:.1f} s, array in "
        f"{tensor:.1f} s, table in {frame_seconds:.1f} s, {peak:.2f} GiB at most"
    )
    return {
        "records": requests,
        "fill_seconds": filled,
        "resume_seconds": resumed,
        "tensor_seconds": tensor,
        "frame_seconds": frame_seconds,
        "bytes_per_record": os.path.getsize(path) / requests,
        "peak_gib": peak,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--small", type=int, default=SMALL, help="requests per length of persona")
    parser.add_argument("--out", type=Path, default=RESULTS / "respond_overhead.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        layers = [layer(folder, length, args.small) for length in LENGTHS]
        store = million(folder, args.requests)
    write_report(args.out, layer=layers, store=store)


if __name__ == "__main__":
    main()
