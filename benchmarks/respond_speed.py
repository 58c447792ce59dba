"""Asking a real engine: the cost of this package's layer, and the gain from the order of requests.

Personas rate items with the prompt of The Persona Fidelity Gap (template `fidelity-rating`), read
as probabilities.

- **Overhead**: `collect` through `VLLMEngine` into a store, from the first look at the plan to the
  last commit, against vLLM alone in another process with the same settings and the same chats:
  `LLM.chat` in one call, and `LLM.generate` from prompts that are tokens already. They take turns,
  and each repeat has new personas. The judge of both is each other: the same probabilities.
- **Order**: requests persona by persona, as `collect` sends them; shuffled; and persona by persona
  without prefix caching. The cache helps the shuffled ones only as far as it holds all personas
  at once, so that is a question of sizes.

At the default sizes a laptop takes half an hour. On a GPU, take a larger model and more people.
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import RESULTS, write_report
from syndigits_jax.datasets.films import PURCHASE_OPTIONS
from syndigits_jax.respond import (
    Completion,
    Plan,
    VLLMEngine,
    find_template,
    make_plan,
    read_tensor,
)
from syndigits_jax.respond.asking.collect import collect
from syndigits_jax.respond.engines._child_process import ChildProcess
from syndigits_jax.respond.engines.vllm_engine import child_environment
from syndigits_jax.schema import Persona, Question

TEMPLATE = find_template("fidelity-rating")
DECODING = TEMPLATE.settings(readout="probabilities", temperature=0.0, top_p=1.0)
WAIT = 3600.0  # seconds
FACTS = (
    "You grew up in a small town and moved to the city for work.",
    "You watch two films a week, most of them at home.",
    "You like slow stories with few words, and dislike sequels.",
    "You read reviews before you buy a ticket.",
    "You go to the cinema with your sister, who loves musicals.",
    "You have seen every science fiction film of the nineties.",
    "You fall asleep in car chases.",
    "You rate most films with three stars, and few with five.",
    "You prefer actors whom nobody knows yet.",
    "You collect old posters of thrillers.",
)
KINDS = ("Comedy", "Drama", "Documentary", "Thriller", "Science fiction", "Musical", "Western")


def personas(count: int, characters: int, first: int) -> list[Persona]:
    """People who differ from the first word on, so that they share nothing in a cache."""
    people = []
    for i in range(first, first + count):
        order = random.Random(i)
        text = f"{i} is your number in the panel."
        while len(text) < characters:
            text += " " + order.choice(FACTS)
        people.append(Persona(f"p{i}", text[:characters]))
    return people


def items(count: int) -> list[Question]:
    order = random.Random(0)
    return [
        Question(
            f"film{j}",
            options=PURCHASE_OPTIONS,
            item={
                "title": f"The {order.choice(KINDS)} of {1950 + j}",
                "category": order.choice(KINDS),
                "description": " ".join(order.sample(FACTS, 2)),
            },
        )
        for j in range(count)
    ]


class Workload:
    """Plans of the same size, each of people who were not asked before."""

    def __init__(self, people: int, questions: int, characters: int):
        self.people, self.characters, self.questions = people, characters, items(questions)
        self.seen = 1000

    def plan(self, people: int | None = None) -> Plan:
        count = people or self.people
        self.seen += count
        found = personas(count, self.characters, self.seen)
        return make_plan(TEMPLATE, found, self.questions, DECODING)


def requests(plan: Plan) -> list[Any]:
    """All of them, persona by persona."""
    return [
        plan.request(i, task, plan.prompt(i, task))
        for i in range(len(plan.personas))
        for task in plan.tasks
    ]


def figures(seconds: float, count: int, prompt_tokens: int, cached_tokens: int) -> dict[str, float]:
    return {
        "seconds": seconds,
        "requests": count,
        "prompt_tokens": prompt_tokens,
        "requests_per_second": count / seconds,
        "prompt_tokens_per_second": prompt_tokens / seconds,
        "computed_tokens_per_second": (prompt_tokens - cached_tokens) / seconds,
        "cached_share": cached_tokens / prompt_tokens,
    }


def ask_bare(bare: ChildProcess, way: str, plan: Plan) -> tuple[dict[str, float], np.ndarray]:
    chats = [
        [{"role": one.role, "content": one.content} for one in request.messages]
        for request in requests(plan)
    ]
    bare.send({"way": way, "chats": chats})
    said = bare.receive(WAIT)
    numbers = figures(
        said["seconds"], said["requests"], said["prompt_tokens"], said["cached_tokens"]
    )
    return numbers, np.array(said["log_probabilities"])


def ask_ours(engine: VLLMEngine, plan: Plan, store: Path) -> tuple[dict[str, float], np.ndarray]:
    start = time.perf_counter()
    report = collect(engine, TEMPLATE, plan.personas, plan.questions, DECODING, store)
    seconds = time.perf_counter() - start
    if report.asked != len(plan) or report.failed:
        raise RuntimeError(f"{report.failed} of {report.asked} requests failed: {report.reasons}")
    found = read_tensor(store).tensor.probabilities
    numbers = figures(seconds, report.asked, report.prompt_tokens, report.cached_tokens)
    return numbers, np.asarray(found).reshape(len(plan), -1)


def overhead(
    engine: VLLMEngine, bare: ChildProcess, workload: Workload, repeats: int
) -> dict[str, Any]:
    """What `collect` takes beyond `LLM.chat`, and beyond `LLM.generate`."""
    ways = ["collect", "chat", "generate"]
    rounds: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    apart = 0.0
    with tempfile.TemporaryDirectory() as name:
        for repeat in range(-1, repeats):
            # The first round warms all of them up and is not counted.
            plan = workload.plan(None if repeat >= 0 else 4)
            found = {}
            for way in ways[repeat % 3 :] + ways[: repeat % 3]:
                if way == "collect":
                    numbers, found[way] = ask_ours(engine, plan, Path(name) / f"{repeat}.sqlite")
                else:
                    numbers, logs = ask_bare(bare, way, plan)
                    mass = np.exp(logs)
                    found[way] = mass / mass.sum(axis=1, keepdims=True)
                if repeat >= 0:
                    rounds[way].append(numbers)
                    print(f"repeat {repeat + 1}, {way}: {told(numbers)}", flush=True)
            if repeat >= 0 and len({rounds[way][-1]["prompt_tokens"] for way in ways}) > 1:
                raise RuntimeError("they were not asked the same: their prompts differ in tokens")
            apart = max(apart, *(float(np.abs(found[w] - found["collect"]).max()) for w in ways))
    result: dict[str, Any] = {"rounds": rounds, "largest_difference_of_probabilities": apart}
    for way in ways[1:]:
        pairs = zip(rounds["collect"], rounds[way], strict=True)
        ratios = [ours["seconds"] / other["seconds"] for ours, other in pairs]
        result[f"seconds_relative_to_{way}"] = spread(ratios)
        print(f"collect takes {as_ratio(ratios)} times as long as {way}")
    print(f"probabilities differ by {apart:.1e} at most")
    return result


def ordering(
    engine: VLLMEngine, uncached: VLLMEngine, workload: Workload, repeats: int
) -> dict[str, Any]:
    """The engine alone, given the same kind of requests in other orders."""
    ways = ["by persona", "shuffled", "no prefix cache"]
    rounds: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    list(uncached.stream(requests(workload.plan(4))))
    for repeat in range(repeats):
        for way in ways[repeat % 3 :] + ways[: repeat % 3]:
            wanted = requests(workload.plan())
            if way == "shuffled":
                random.Random(repeat).shuffle(wanted)
            asked = uncached if way == "no prefix cache" else engine
            start = time.perf_counter()
            outcomes = [outcome for _, outcome in asked.stream(wanted)]
            seconds = time.perf_counter() - start
            there = list(completions(outcomes))
            numbers = figures(
                seconds,
                len(there),
                sum(one.prompt_tokens for one in there),
                sum(one.cached_tokens for one in there),
            )
            rounds[way].append(numbers)
            print(f"repeat {repeat + 1}, {way}: {told(numbers)}", flush=True)
    result: dict[str, Any] = {"rounds": rounds}
    for way in ways[1:]:
        pairs = zip(rounds[way], rounds["by persona"], strict=True)
        ratios = [other["seconds"] / first["seconds"] for other, first in pairs]
        result[f"seconds_of_{way.replace(' ', '_')}_relative_to_by_persona"] = spread(ratios)
        print(f"{way} takes {as_ratio(ratios)} times as long as by persona")
    return result


def completions(outcomes: Sequence[Any]) -> Iterator[Completion]:
    for outcome in outcomes:
        if not isinstance(outcome, Completion):
            raise RuntimeError(f"a request failed: {outcome.reason}")
        yield outcome


def spread(ratios: Sequence[float]) -> dict[str, float]:
    return {
        "mean": statistics.fmean(ratios),
        "sd": statistics.stdev(ratios) if len(ratios) > 1 else 0.0,
        "least": min(ratios),
        "most": max(ratios),
    }


def as_ratio(ratios: Sequence[float]) -> str:
    found = spread(ratios)
    return f"{found['mean']:.3f} ± {found['sd']:.3f}"


def told(numbers: dict[str, float]) -> str:
    return (
        f"{numbers['requests_per_second']:.1f} requests/s, "
        f"{numbers['prompt_tokens_per_second']:,.0f} tokens/s, {numbers['cached_share']:.0%} cached"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a folder, or a name on the hub")
    parser.add_argument("--people", type=int, default=48)
    parser.add_argument("--items", type=int, default=10)
    parser.add_argument("--characters", type=int, default=2000, help="of a persona's text")
    parser.add_argument("--repeats", type=int, default=5, help="of the overhead")
    parser.add_argument("--order-repeats", type=int, default=2)
    parser.add_argument("--max-model-len", type=int, default=2048)
    parser.add_argument(
        "--memory", type=float, default=0.4, help="share of a GPU for each of the two engines"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "respond_speed.json")
    args = parser.parse_args()
    # On a GPU its memory is vLLM's.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    workload = Workload(args.people, args.items, args.characters)
    settings = {"max_model_len": args.max_model_len, "gpu_memory_utilization": args.memory}
    engine = VLLMEngine(args.model, timeout=WAIT, **settings)
    setup = engine._setup  # what it tells its own process
    with engine:
        identity = engine.identity
        bare = ChildProcess(
            (sys.executable, "-m", "benchmarks.bare_vllm"),
            child_environment(os.environ, args.model, None),
        )
        try:
            bare.send({"setup": setup, "answers": [f"{o.value:g}" for o in PURCHASE_OPTIONS]})
            cache_tokens = bare.receive(WAIT)["cache_tokens"]
            costs = overhead(engine, bare, workload, args.repeats)
        finally:
            bare.kill()
        off = {"enable_prefix_caching": False}
        with VLLMEngine(args.model, timeout=WAIT, engine_arguments=off, **settings) as uncached:
            order = ordering(engine, uncached, workload, args.order_repeats)
    write_report(
        args.out,
        engine={"model": identity.model, "engine": identity.engine, "version": identity.version},
        workload={
            "template": str(TEMPLATE.name),
            "people": args.people,
            "items": args.items,
            "characters_of_a_persona": args.characters,
            "tokens_that_the_cache_holds": cache_tokens,
        },
        overhead=costs,
        order=order,
    )


if __name__ == "__main__":
    main()
