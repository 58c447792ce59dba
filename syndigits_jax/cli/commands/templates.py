"""`syndigits templates`."""

from typing import Any

import typer

from syndigits_jax.cli.command import command


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, resume="run the same command again")(templates)


def templates() -> dict[str, Any]:
    """List the prompts that come with the package: wording's source, slots, defaults."""
    from syndigits_jax.cli.render.asking import print_templates
    from syndigits_jax.cli.render.console import output
    from syndigits_jax.respond.prompts.templates import list_templates

    print_templates(output())
    return {
        "templates": [
            {"name": one.name, "version": one.version, "slots": list(one.slots)}
            for one in list_templates()
        ]
    }
