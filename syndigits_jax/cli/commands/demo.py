"""`syndigits demo`: a demonstration on simulated people."""

from pathlib import Path
from typing import Any

import typer

from syndigits_jax.cli.command import command
from syndigits_jax.cli.options import OutFolder


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, resume="run the same command again to start where it stopped")(demo)


def demo(out: OutFolder = Path("syndigits-out")) -> dict[str, Any]:
    """Demonstrate calibration, answer distributions and persona fidelity on simulated people."""
    from syndigits_jax.cli.render.demo import show_demo

    return {"written": show_demo(out)}
