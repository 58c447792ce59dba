"""`syndigits respond` and `syndigits templates`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from syndigits_jax.cli.render.collecting import print_report, short, showing_collection
from syndigits_jax.cli.render.console import output
from syndigits_jax.respond.asking.collect import Report, collect
from syndigits_jax.respond.asking.dry_run import DryRun, dry_run, find_tokens
from syndigits_jax.respond.asking.plan import make_plan
from syndigits_jax.respond.prompts.render import blocks_of
from syndigits_jax.respond.prompts.templates import find_template, list_templates
from syndigits_jax.respond.store.responses import ResponseStore
from syndigits_jax.workflows.questions import read_asked, select_questions

MISSING = 1
"""The exit code where some requests failed."""


def run(
    personas: Path,
    questions: Path,
    template: str,
    out: Path | None,
    *,
    engine: Callable[[], Any],
    model: str | None,
    ask: Sequence[str],
    block: Sequence[str],
    answers: str | None,
    decoding: dict[str, Any],
    limit: int | None,
    dry: bool,
    input_price: float | None,
    output_price: float | None,
) -> None:
    """Ask, or with `dry` show what would be asked."""
    from syndigits_jax.datasets.personas import read_personas

    chosen = find_template(template)
    settings = chosen.settings(**decoding)
    catalogue = read_asked(questions, answers)
    asked = select_questions(catalogue, ask, block)
    people = read_personas(personas)
    blocks = blocks_of(catalogue)
    plan = make_plan(chosen, people, asked, settings, blocks)
    if dry:
        print_dry_run(output(), dry_run(plan, find_tokens(model)), input_price, output_price)
        return
    if out is None:
        raise ValueError("--out is missing: the store of responses")
    # A bad option is found before the store is made, a busy store before the engine starts.
    answering = engine()
    if hasattr(answering, "check"):
        answering.check()
    try:
        with ResponseStore(out) as store, showing_collection() as show:
            report = collect(
                answering, chosen, people, asked, settings, store,
                blocks=blocks, on_progress=show, limit=limit,
            )  # fmt: skip
    finally:
        answering.close()
    finish(output(), report, out)


def finish(console: Console, report: Report, out: Path) -> None:
    """Print a report; exit with 1 where requests failed."""
    print_report(console, report)
    held = report.planned - report.missing
    console.print(f"{held} of {report.planned} responses are in {out}", soft_wrap=True)
    if report.missing:
        why = "too many failures in a row; " if report.gave_up else ""
        console.print(
            f"{why}{report.missing} are missing: the same command asks only these",
            soft_wrap=True,
        )
    if report.failed:
        raise typer.Exit(MISSING)


def print_dry_run(
    console: Console, found: DryRun, input_price: float | None, output_price: float | None
) -> None:
    """A few prompts in full, and the counts."""
    for number, messages in enumerate(found.examples, start=1):
        console.print(f"--- prompt {number} ---", markup=False)
        for message in messages:
            console.print(f"[{message.role}]\n{message.content}", soft_wrap=True, markup=False)
    console.print("---", markup=False)
    of = "" if found.counted == found.requests else f", from {found.counted} of them"
    lines = [
        f"{found.requests} requests",
        f"{short(found.prompt_tokens)} prompt tokens ({found.how}{of}), {found.shared:.0%} of them "
        "as in the prompt before, which a prefix cache need not compute again",
        f"about {short(found.completion_tokens)} completion tokens (full length; answers whose "
        "probabilities are read count as one token each)",
    ]
    if input_price is not None or output_price is not None:
        cost = found.cost(input_price or 0.0, output_price or 0.0)
        lines.append(f"cost: about {cost:.2f}, nothing off for what is cached")
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)


def templates() -> None:
    """Print the built-in templates."""
    console = output()
    for template in list_templates():
        slots = ", ".join(template.slots)
        settings = ", ".join(f"{name} {value}" for name, value in template.decoding.items())
        console.print(f"{template.name} {template.version} ({template.hash[:8]})", style="bold")
        source = " ".join(template.source.split())
        for line in (source, f"slots: {slots}", f"defaults: {settings or 'none'}"):
            console.print(f"  {line}", soft_wrap=True, markup=False)
