"""The application with all commands; each command is in its own module of `commands`."""

from typing import Annotated

import typer

from syndigits_jax.cli.command import flowing
from syndigits_jax.cli.commands import (
    calibrate,
    calibrate_distribution,
    demo,
    estimate,
    evaluate,
    fidelity,
    panel,
    personas,
    pipeline,
    probes,
    reproduce,
    respond,
    templates,
)
from syndigits_jax.cli.exits import OneLineErrors
from syndigits_jax.version import __version__

app = typer.Typer(
    name="syndigits",
    cls=OneLineErrors,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> bool:
    if wanted:
        print(f"syndigits {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
@flowing
def _entry(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Simulate people with language models, calibrate them against real people, and measure the
    distance between the two.

    Exit codes: 0 done, 1 done but for a part that is missing, 2 bad options or files, 3 failed at
    run time, 130 interrupted, 143 terminated."""


for _module in (
    demo,
    calibrate,
    calibrate_distribution,
    estimate,
    evaluate,
    fidelity,
    personas,
    respond,
    panel,
    templates,
    probes,
    pipeline,
    reproduce,
):
    _module.register(app)
