"""`syndigits fidelity`: the distance between personas and real users."""

from pathlib import Path
from typing import Annotated, Any

import typer

from syndigits_jax.cli.choices import Control, TextEncoder
from syndigits_jax.cli.command import command
from syndigits_jax.cli.options import (
    Embeddings,
    Items,
    Missing,
    OutFolder,
    Ratings,
    Seed,
    TextEncoderOption,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, resume="finished steps are kept; run the same command again to resume")(fidelity)


def fidelity(
    ratings: Ratings,
    items: Items,
    personas: Annotated[
        Path,
        typer.Option(
            metavar="TABLE",
            help="Persona ratings: columns persona, item, rating; seed, if personas were made from "
            "real users; condition, if they were made in several ways.",
        ),
    ],
    out: OutFolder,
    embeddings: Embeddings = None,
    text_encoder: TextEncoderOption = TextEncoder.AUTO,
    missing: Missing = "",
    epochs: Annotated[int | None, typer.Option(help="Most epochs of the encoder.")] = None,
    gap: Annotated[
        float, typer.Option(help="Difference of two ratings that counts as a preference.")
    ] = 1.0,
    control: Annotated[
        Control,
        typer.Option(help="Ratings that place real users as personas are placed."),
    ] = Control.HELD_OUT,
    seed: Seed = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few epochs and resamples, for a first look.")
    ] = False,
) -> dict[str, Any]:
    """Measure how far the preferences of your personas are from those of real users.

    An encoder of preferences is trained on the real ratings; personas are placed in its space and
    compared with real users, with baselines and, where they have seeds, with those.
    """
    from syndigits_jax.cli.render.console import showing_progress, showing_step
    from syndigits_jax.cli.render.fidelity import show_fidelity
    from syndigits_jax.workflows.fidelity.run import fidelity_settings, run_fidelity

    report = run_fidelity(
        ratings, items, personas, out,
        settings=fidelity_settings(epochs, gap, str(control), quick),
        embeddings=embeddings, text_encoder=str(text_encoder), missing=missing, key=seed,
        showing_progress=showing_progress, on_step=showing_step,
    )  # fmt: skip
    return {"written": show_fidelity(report, out), "counts": report.counts, "notes": report.notes}
