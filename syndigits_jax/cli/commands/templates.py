"""`syndigits templates`: the prompts that come with the package."""

from typing import Annotated, Any

import typer

from syndigits_jax.cli.command import command


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, resume="run the same command again")(templates)


def templates(
    name: Annotated[
        str | None,
        typer.Argument(help="Template to print as TOML, to start one of your own from."),
    ] = None,
) -> dict[str, Any]:
    """List the prompts that come with the package, with their sources, slots and defaults.

    With a name, print that prompt as it is written.
    """
    from syndigits_jax.cli.render.asking import print_templates
    from syndigits_jax.cli.render.console import output
    from syndigits_jax.respond.prompts.templates import list_templates, template_text

    if name is not None:
        text = template_text(name)
        output().print(text, highlight=False, soft_wrap=True, end="")
        return {"template": text}
    print_templates(output())
    return {
        "templates": [
            {"name": one.name, "version": one.version, "slots": list(one.slots)}
            for one in list_templates()
        ]
    }
