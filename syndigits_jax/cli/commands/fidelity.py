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
            help="The personas' ratings: columns persona, item, rating; seed (the user), if "
            "personas were made from real users; condition, if they were made in several ways.",
        ),
    ],
    out: OutFolder,
    embeddings: Embeddings = None,
    text_encoder: TextEncoderOption = TextEncoder.AUTO,
    missing: Missing = "",
    epochs: Annotated[int | None, typer.Option(help="Most training epochs of the encoder.")] = None,
    gap: Annotated[
        float, typer.Option(help="Least difference of two ratings that counts as a preference.")
    ] = 1.0,
    control: Annotated[
        Control,
        typer.Option(
            help="Ratings by which real users are placed in the way that personas are: those held "
            "out of training, or all."
        ),
    ] = Control.HELD_OUT,
    seed: Seed = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Take few epochs and resamples, for a first look.")
    ] = False,
) -> dict[str, Any]:
    """Measure how far the preferences of your personas are from those of real users.

    An encoder learns a space of preferences from the real ratings. Personas are placed in it and
    compared with real users. So are simple simulated populations, as baselines. A persona that was
    made from a real user is also compared with that user.
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
    return {"written": show_fidelity(report), "counts": report.counts, "notes": report.notes}
