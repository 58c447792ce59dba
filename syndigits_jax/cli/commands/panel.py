"""`syndigits panel`: tables from a store of responses."""

from pathlib import Path
from typing import Annotated, Any

import typer

from syndigits_jax.cli.choices import Join
from syndigits_jax.cli.command import command
from syndigits_jax.cli.options import Missing


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, resume="nothing was written; run the same command again")(panel)


def panel(
    store: Annotated[Path, typer.Argument(help="Store that syndigits respond wrote.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE", help="Table to write: a row per persona, a column per question."
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(help="Which run, if there are several: its number, or words that tell it."),
    ] = None,
    human: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="People's answers, with which --out is aligned."),
    ] = None,
    join: Annotated[
        Join,
        typer.Option(
            help="inner: drop people and questions that only --human has; what only the store has "
            "is kept as new."
        ),
    ] = Join.ERROR,
    missing: Missing = "",
    tensor: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Array (persona, question, option) of probabilities to write, .npz.",
        ),
    ] = None,
    ratings: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="Table for syndigits fidelity to write: a row per persona and item.",
        ),
    ] = None,
    records: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="Table of all that is known of each response to write."),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="All that was ever asked, not what the latest command asked."),
    ] = False,
) -> dict[str, Any]:
    """Make tables of responses; without any table to write, list the runs of the store."""
    from syndigits_jax.cli.render.store import show_store, write_tables

    if not any((out, tensor, ratings, records, human)):
        return show_store(store)
    return write_tables(
        store, out, run=run, human=human, join=str(join), tensor=tensor, ratings=ratings,
        records=records, everything=everything, missing=missing,
    )  # fmt: skip
