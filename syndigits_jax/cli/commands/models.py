"""The commands that ask language models, and what leads there and on from there."""

from pathlib import Path
from typing import Annotated

import typer

from syndigits_jax.cli.commands.tables_options import MissingOption
from syndigits_jax.cli.engine_options import (
    NO_OPTIONS,
    ConcurrencyOption,
    EngineOption,
    ModelOption,
    MoreOption,
    TimeoutOption,
    UrlOption,
    build_engine,
)
from syndigits_jax.cli.errors import ending_well

models_app = typer.Typer()


@models_app.command()
def respond(
    personas: Annotated[Path, typer.Option(help="Personas: .json, .jsonl or a table.")],
    questions: Annotated[
        Path, typer.Option(help="Questions: .json or a table; with --answers a table of items.")
    ],
    template: Annotated[
        str, typer.Option(help="Prompt: a name (see syndigits templates) or a .toml file.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Store of responses to make or to add to.")
    ] = None,
    engine: EngineOption = None,
    model: ModelOption = None,
    url: UrlOption = NO_OPTIONS,
    readout: Annotated[
        str | None,
        typer.Option(
            help="probabilities (of all answers), choice (the most probable), sample (drawn from "
            "them) or text (parsed); by default the template's."
        ),
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="Of text and samples.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Nucleus of text and samples.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest text.")] = None,
    draws: Annotated[int | None, typer.Option(help="Answers per question.")] = None,
    orders: Annotated[
        int | None,
        typer.Option(help="Orders in which options are shown, over which answers are averaged."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of draws and orders.")] = None,
    ask: Annotated[
        list[str], typer.Option(help="Ask this question, not all of the file; repeatable.")
    ] = NO_OPTIONS,
    block: Annotated[
        list[str], typer.Option(help="Ask the questions of this block only; repeatable.")
    ] = NO_OPTIONS,
    answers: Annotated[
        str | None,
        typer.Option(help="Have items rated: stars (0.5 to 5) or purchase (1 to 5)."),
    ] = None,
    concurrency: ConcurrencyOption = None,
    timeout: TimeoutOption = None,
    engine_option: MoreOption = NO_OPTIONS,
    limit: Annotated[int | None, typer.Option(help="Ask no more than so many requests.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show prompts, count tokens and cost; ask nothing.")
    ] = False,
    input_price: Annotated[
        float | None, typer.Option(help="Price of a million prompt tokens, for --dry-run.")
    ] = None,
    output_price: Annotated[
        float | None, typer.Option(help="Price of a million completion tokens, for --dry-run.")
    ] = None,
) -> None:
    """Ask a language model the questions as each of the personas; keep every answer.

    Whatever interrupts it, the same command asks only what is still missing.
    """
    decoding = {
        "readout": readout,
        "temperature": temperature,
        "top_p": top_p,
        "max_tokens": max_tokens,
        "draws": draws,
        "orders": orders,
        "seed": seed,
    }
    with ending_well("answers are kept; run the same command again to ask the rest"):
        from syndigits_jax.cli.commands.respond import run

        run(
            personas,
            questions,
            template,
            out,
            engine=lambda: build_engine(
                engine,
                model,
                url,
                concurrency=concurrency,
                timeout=timeout,
                options=engine_option,
            ),
            model=model,
            ask=ask,
            block=block,
            answers=answers,
            decoding=decoding,
            limit=limit,
            dry=dry_run,
            input_price=input_price,
            output_price=output_price,
        )


@models_app.command()
def templates() -> None:
    """List the prompts that come with the package: wording's source, slots, defaults."""
    with ending_well("run the same command again"):
        from syndigits_jax.cli.commands.respond import templates as print_templates

        print_templates()


@models_app.command()
def panel(
    store: Annotated[Path, typer.Argument(help="Store that syndigits respond wrote.")],
    out: Annotated[
        Path | None, typer.Option(help="Table to write: a row per persona, a column per question.")
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(help="Which run, if there are several: its number, or words that tell it."),
    ] = None,
    human: Annotated[
        Path | None, typer.Option(help="Table of human answers with which --out is aligned.")
    ] = None,
    join: Annotated[
        str,
        typer.Option(
            help="'inner' drops people and questions that only --human has; what only the store "
            "has is kept as new."
        ),
    ] = "error",
    missing: MissingOption = "",
    tensor: Annotated[
        Path | None,
        typer.Option(help="Array (persona, question, option) of probabilities to write, .npz."),
    ] = None,
    ratings: Annotated[
        Path | None,
        typer.Option(help="Table for syndigits fidelity to write: a row per persona and item."),
    ] = None,
    records: Annotated[
        Path | None, typer.Option(help="Table of all that is known of each response to write.")
    ] = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="All that was ever asked, not what the latest command asked."),
    ] = False,
) -> None:
    """Make tables of responses; without anything to write, say what the store holds."""
    with ending_well("nothing was written; run the same command again"):
        from syndigits_jax.cli.commands.panel import run as make

        make(
            store,
            out,
            run=run,
            human=human,
            join=join,
            missing=missing,
            tensor=tensor,
            ratings=ratings,
            records=records,
            everything=everything,
        )


@models_app.command()
def probes(
    ratings: Annotated[
        Path, typer.Option(help="Table of real ratings, as for syndigits fidelity.")
    ],
    items: Annotated[
        Path, typer.Option(help="Table of items: identifiers first, then texts such as title.")
    ],
    out: Annotated[Path, typer.Option(help="Questions to write (.json).")],
    size: Annotated[int, typer.Option(help="How many items.")] = 100,
    answers: Annotated[
        str, typer.Option(help="Answers: purchase (1 to 5) or stars (0.5 to 5).")
    ] = "purchase",
    embeddings: Annotated[
        Path | None,
        typer.Option(help="Text vectors of the items (.npy, .npz), a row per row of the items."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the choice.")] = 0,
    missing: MissingOption = "",
) -> None:
    """Choose the items that personas are asked to rate: popular and rare ones, of every kind."""
    with ending_well("nothing was written; run the same command again"):
        from syndigits_jax.cli.commands.probes import run

        run(
            ratings, items, out, size=size, answers=answers, embeddings=embeddings, seed=seed,
            missing=missing,
        )  # fmt: skip


@models_app.command()
def pipeline(
    config: Annotated[Path, typer.Argument(help="What to do (.toml).")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show prompts and count tokens; ask nothing.")
    ] = False,
) -> None:
    """Personas, their answers, and calibration or fidelity, with a report: all that a file says.

    Whatever interrupts it, the same command goes on where it was.
    """
    with ending_well("what is done is kept; run the same command again to go on"):
        from syndigits_jax.cli.commands.pipeline import run

        run(config, dry=dry_run)
