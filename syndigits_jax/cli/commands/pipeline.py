"""`syndigits pipeline`: personas, their answers, and what these are worth, in one go."""

from functools import partial
from pathlib import Path

import typer

from syndigits_jax.cli.commands.fidelity import show_fidelity
from syndigits_jax.cli.commands.respond import MISSING, print_dry_run
from syndigits_jax.cli.render.collecting import print_report, showing_collection
from syndigits_jax.cli.render.console import output, showing_progress, showing_step
from syndigits_jax.workflows.pipeline.config import read_pipeline
from syndigits_jax.workflows.pipeline.run import (
    REPORT,
    IncompleteError,
    Prepared,
    Watching,
    plan_pipeline,
    prepare,
    run_pipeline,
)


def run(config: Path, *, dry: bool) -> None:
    """Do all that a pipeline has not done yet; with `dry` only show what it would ask.

    Nothing is written before everything that the file says was looked at.
    """
    prepared = prepare(read_pipeline(config))
    if dry:
        _show(prepared)
        return
    console = output()
    watching = Watching(
        showing_collection, partial(print_report, console), showing_step, showing_progress
    )
    try:
        found = run_pipeline(prepared, watching=watching)
    except IncompleteError as error:
        console.print(str(error), soft_wrap=True, markup=False)
        raise typer.Exit(MISSING) from None
    if found.fidelity is not None:
        show_fidelity(found.fidelity, found.fidelity_folder)
    console.print(found.report, soft_wrap=True, markup=False)
    console.print(f"written: {found.out / REPORT} and what it is made of", soft_wrap=True)


def _show(prepared: Prepared) -> None:
    console = output()
    for planned in plan_pipeline(prepared):
        title = f"\n{planned.title}: {planned.personas} personas"
        console.print(title, style="bold", markup=False)
        print_dry_run(console, planned.found, None, None)
        if planned.to_write:
            console.print(
                f"when their texts are written, each is asked {planned.questions} questions",
                soft_wrap=True,
            )
