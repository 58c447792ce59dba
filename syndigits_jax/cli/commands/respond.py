"""`syndigits respond`: ask a language model, and store every answer."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syndigits_jax.cli.choices import RatingScale, Readout
from syndigits_jax.cli.command import command
from syndigits_jax.cli.exits import INCOMPLETE, Ended
from syndigits_jax.cli.options import (
    NO_OPTIONS,
    Ask,
    Block,
    ConcurrencyOption,
    EngineOption,
    ModelOption,
    MoreOption,
    Questions,
    RetryForOption,
    TimeoutOption,
    UrlOption,
    build_engine,
)

if TYPE_CHECKING:
    from syndigits_jax.respond.asking.collect import Report


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, resume="answers are kept; run the same command again to ask the rest")(respond)


def respond(
    personas: Annotated[
        Path, typer.Option(metavar="FILE", help="Personas: .json, .jsonl or a table.")
    ],
    questions: Questions,
    template: Annotated[
        str, typer.Option(help="Prompt: a name (see `syndigits templates`) or a .toml file.")
    ],
    store: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Store of responses to make or to add to.")
    ] = None,
    engine: EngineOption = None,
    model: ModelOption = None,
    url: UrlOption = NO_OPTIONS,
    readout: Annotated[
        Readout | None,
        typer.Option(
            help="How an answer is read: the probabilities of all options, the most probable one "
            "(choice), a text that is parsed, or a drawn sample; by default as the template says."
        ),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Temperature of texts and samples.")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Nucleus sampling of texts and samples.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest text, in tokens.")] = None,
    draws: Annotated[
        int | None, typer.Option(help="Answers of a persona to each question.")
    ] = None,
    orders: Annotated[
        int | None,
        typer.Option(
            help="In how many orders the options are shown; answers are averaged over them."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of samples and orders.")] = None,
    ask: Ask = NO_OPTIONS,
    block: Block = NO_OPTIONS,
    scale: Annotated[
        RatingScale | None,
        typer.Option(
            help="Where --questions is a table of items to rate: 0.5 to 5 stars, or purchase, "
            "from 1 to 5."
        ),
    ] = None,
    concurrency: ConcurrencyOption = None,
    timeout: TimeoutOption = None,
    retry_for: RetryForOption = None,
    engine_option: MoreOption = NO_OPTIONS,
    limit: Annotated[int | None, typer.Option(help="Most requests that are sent.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show prompts, tokens and cost, and ask nothing.")
    ] = False,
    input_price: Annotated[
        float | None, typer.Option(help="Price of a million prompt tokens, for --dry-run.")
    ] = None,
    output_price: Annotated[
        float | None, typer.Option(help="Price of a million completion tokens, for --dry-run.")
    ] = None,
) -> dict[str, Any]:
    """Ask a language model every question as each of the personas, and store the answers.

    By default all questions of the file are asked. After an interrupt, the same command asks only
    what is still missing.
    """
    from syndigits_jax.cli.render.asking import print_dry_run, print_report, showing_collection
    from syndigits_jax.cli.render.console import output
    from syndigits_jax.datasets.personas import read_personas
    from syndigits_jax.respond.asking.collect import collect_plan
    from syndigits_jax.respond.asking.dry_run import dry_run as count
    from syndigits_jax.respond.asking.dry_run import find_tokens
    from syndigits_jax.respond.asking.plan import make_plan
    from syndigits_jax.respond.prompts.render import blocks_of
    from syndigits_jax.respond.prompts.templates import find_template
    from syndigits_jax.respond.store.responses import ResponseStore
    from syndigits_jax.workflows.questions import read_asked, select_questions

    chosen = find_template(template)
    settings = chosen.settings(
        readout=None if readout is None else str(readout), temperature=temperature, top_p=top_p,
        max_tokens=max_tokens, draws=draws, orders=orders, seed=seed,
    )  # fmt: skip
    catalogue = read_asked(questions, None if scale is None else str(scale))
    asked = select_questions(catalogue, ask, block)
    people = read_personas(personas)
    blocks = blocks_of(catalogue)
    plan = make_plan(chosen, people, asked, settings, blocks)  # says what cannot be asked
    if dry_run:
        found = count(plan, find_tokens(model))
        print_dry_run(output(), found, input_price, output_price)
        return {"requests": found.requests, "prompt_tokens": found.prompt_tokens}
    if store is None:
        raise ValueError("`store` is missing: the file of the responses")
    # Invalid options fail before the store is created, a locked store before the engine starts.
    answering = build_engine(
        engine, model, url,
        concurrency=concurrency, timeout=timeout, retry_for=retry_for, options=engine_option,
    )  # fmt: skip
    if hasattr(answering, "check"):
        answering.check()
    try:
        with ResponseStore(store) as opened, showing_collection() as show:
            report = collect_plan(answering, plan, opened, on_progress=show, limit=limit)
    finally:
        answering.close()
    print_report(output(), report)
    return finish(report, store)


def finish(report: "Report", store: Path) -> dict[str, Any]:
    """Print what the store holds. **Raises:** `Ended` if requests failed or none is answered."""
    from syndigits_jax.cli.render.console import output

    held = report.planned - report.missing
    output().print(f"{held} of {report.planned} responses are in {store}", soft_wrap=True)
    if report.missing:
        why = "too many failures in a row; " if report.gave_up else ""
        line = f"{why}{report.missing} are missing: the same command asks only these"
        if report.failed or not held:
            raise Ended(INCOMPLETE, line)
        output().print(line, soft_wrap=True)
    return {"store": store, "planned": report.planned, "missing": report.missing}
