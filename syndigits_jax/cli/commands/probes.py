"""`syndigits probes`: the items that personas are asked to rate."""

from pathlib import Path
from typing import Annotated, Any

import typer

from syndigits_jax.cli.choices import RatingScale, TextEncoder
from syndigits_jax.cli.command import command
from syndigits_jax.cli.options import Embeddings, Items, Missing, Ratings, Seed, TextEncoderOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, resume="nothing was written; run the same command again")(probes)


def probes(
    ratings: Ratings,
    items: Items,
    out: Annotated[Path, typer.Option(metavar="FILE", help="File of questions to write (.json).")],
    count: Annotated[int, typer.Option(help="How many items.")] = 100,
    scale: Annotated[
        RatingScale,
        typer.Option(help="Scale of the ratings: 0.5 to 5 stars, or purchase, from 1 to 5."),
    ] = RatingScale.PURCHASE,
    embeddings: Embeddings = None,
    text_encoder: TextEncoderOption = TextEncoder.AUTO,
    missing: Missing = "",
    seed: Seed = 0,
) -> dict[str, Any]:
    """Choose the items that personas are asked to rate: popular and rare ones, of every kind."""
    from syndigits_jax.cli.render.console import output, showing_step
    from syndigits_jax.workflows.fidelity.probes import choose_probes

    chosen, rated = choose_probes(
        ratings, items, out,
        count=count, scale=str(scale), embeddings=embeddings, text_encoder=str(text_encoder),
        missing=missing, key=seed, on_step=showing_step,
    )  # fmt: skip
    output().print(
        f"{chosen.size} of {int((rated > 0).sum())} rated items, with {rated[chosen].min()} to "
        f"{rated[chosen].max()} ratings each; written: {out}",
        soft_wrap=True,
    )
    return {"written": [out], "items": chosen.size}
