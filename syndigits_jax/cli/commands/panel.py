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
    store: Annotated[Path, typer.Argument(help="Store that `syndigits respond` wrote.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE", help="Table to write: a row per persona, a column per question."
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            help="Which run, if there are several: its number, or words of its template or model."
        ),
    ] = None,
    human: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE", help="People's answers; --out gets the same order of rows and columns."
        ),
    ] = None,
    join: Annotated[
        Join,
        typer.Option(
            help="What to do with people and questions that only --human has: error stops, inner "
            "drops them. Those that only the store has are kept as new."
        ),
    ] = Join.ERROR,
    missing: Missing = "",
    tensor: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File to write (.npz), with probabilities as an array (persona, question, "
            "option).",
        ),
    ] = None,
    ratings: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="Table to write for `syndigits fidelity`: a row per persona and item.",
        ),
    ] = None,
    records: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE", help="Table to write with all that is known of each response."
        ),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option(
            "--all", help="Take all that was ever asked, not only what the latest command asked."
        ),
    ] = False,
) -> dict[str, Any]:
    """Write tables of stored responses; without a table to write, list the runs of the store."""
    from syndigits_jax.cli.render.store import show_store, write_tables

    if not any((out, tensor, ratings, records, human)):
        return show_store(store)
    return write_tables(
        store, out, run=run, human=human, join=str(join), tensor=tensor, ratings=ratings,
        records=records, everything=everything, missing=missing,
    )  # fmt: skip
