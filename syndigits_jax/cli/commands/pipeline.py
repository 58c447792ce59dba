"""`syndigits pipeline`: personas, their answers, and the evaluation of these."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from syndigits_jax.cli.command import command
from syndigits_jax.cli.exits import INCOMPLETE, Ended

if TYPE_CHECKING:
    from syndigits_jax.workflows.pipeline.run import Prepared


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, resume="what is done is kept; run the same command again to go on")(pipeline)


def pipeline(
    config: Annotated[Path, typer.Argument(help="Configuration file (.toml).")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show prompts and count tokens; ask nothing.")
    ] = False,
) -> dict[str, Any]:
    """Run a configuration file: personas, their answers, then evaluation or fidelity, in a report.

    After an interrupt, the same command continues where it stopped.
    """
    from syndigits_jax.cli.render.asking import print_report, showing_collection
    from syndigits_jax.cli.render.console import output, showing_progress, showing_step
    from syndigits_jax.cli.render.fidelity import show_fidelity
    from syndigits_jax.workflows.pipeline.config import read_pipeline
    from syndigits_jax.workflows.pipeline.run import (
        REPORT,
        IncompleteError,
        Watching,
        prepare,
        run_pipeline,
    )

    prepared = prepare(read_pipeline(config))
    if dry_run:
        return _planned(prepared)
    console = output()
    watching = Watching(
        showing_collection, partial(print_report, console), showing_step, showing_progress
    )
    try:
        found = run_pipeline(prepared, watching=watching)
    except IncompleteError as error:
        raise Ended(INCOMPLETE, str(error)) from None
    if found.fidelity is not None:
        show_fidelity(found.fidelity)
    console.print(found.report, soft_wrap=True)
    console.print(f"written: {found.out / REPORT} and what it is made of", soft_wrap=True)
    return {"out": found.out, "report": found.out / REPORT}


def _planned(prepared: "Prepared") -> dict[str, Any]:
    from syndigits_jax.cli.render.asking import print_dry_run
    from syndigits_jax.cli.render.console import output
    from syndigits_jax.workflows.pipeline.run import plan_pipeline

    console, requests = output(), {}
    for planned in plan_pipeline(prepared):
        title = f"\n{planned.title}: {planned.personas} personas"
        console.print(title, style="bold")
        print_dry_run(console, planned.found, None, None)
        if planned.to_write:
            console.print(
                f"when their texts are written, each is asked {planned.questions} questions",
                soft_wrap=True,
            )
        requests[planned.title] = planned.found.requests
    return {"requests": requests}
