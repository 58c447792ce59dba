"""`syndigits evaluate`: a report on a user's own twins."""

from pathlib import Path
from typing import Annotated, Any

import typer

from syndigits_jax.cli.choices import Join
from syndigits_jax.cli.command import command
from syndigits_jax.cli.options import (
    NO_OPTIONS,
    Batteries,
    Human,
    IdColumn,
    Missing,
    Seed,
    Twin,
    Weights,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, resume="what is done is kept; run the same command again to go on")(evaluate)


def evaluate(
    human: Human,
    twin: Twin,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="FOLDER", help="Folder for the report and its numbers."),
    ],
    questions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Questions, for their ranges, options and blocks (.json, .csv)."
        ),
    ] = None,
    people: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="Table of the people, with columns of weights, groups and arms; without it they "
            "are columns of --human or --twin.",
        ),
    ] = None,
    weights: Weights = None,
    groups: Annotated[
        list[str],
        typer.Option(
            metavar="COLUMN", help="Column of groups that are judged one by one; repeatable."
        ),
    ] = NO_OPTIONS,
    blocks: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Column of --questions that says of which survey or battery a question is; by "
            "default block.",
        ),
    ] = None,
    batteries: Batteries = False,
    arms: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Column of the arm to which a person was assigned at random."
        ),
    ] = None,
    retest: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="The same people's answers when asked again."),
    ] = None,
    intervals: Annotated[
        float, typer.Option(help="Intervals that cover this share of the truth.")
    ] = 0.95,
    figure_width: Annotated[
        float | None,
        typer.Option(metavar="INCHES", help="Width of the files of figures: 3.3 for a column."),
    ] = None,
    font_size: Annotated[
        float | None, typer.Option(metavar="POINTS", help="Size of their texts.")
    ] = None,
    id_column: IdColumn = None,
    missing: Missing = "",
    join: Annotated[
        Join,
        typer.Option(
            help="inner: drop people who have no twin, and questions that the twins did not answer."
        ),
    ] = Join.ERROR,
    seed: Seed = 0,
) -> dict[str, Any]:
    """Report how good your twins are, for which questions and for whom, and what you may claim.

    Every question that people answered is predicted without their answers to it; the report says
    how well that worked, for single questions and groups, how many people the twins are worth, and
    what these tables cannot show. It opens with three sentences.

    OUT/report.html is one file that needs no network; beside it are the same as Markdown, all
    numbers (results.json, tables), and every figure.
    """
    from syndigits_jax.cli.render.console import showing_progress
    from syndigits_jax.cli.render.evaluation import print_evaluation
    from syndigits_jax.workflows.evaluate.run import evaluate as run

    with showing_progress() as show:
        found = run(
            human, twin, questions=questions, people=people, weights=weights, groups=groups,
            blocks=blocks, arms=arms, retest=retest, id_column=id_column, join=str(join),
            missing=missing, batteries=batteries, out=out, level=intervals, key=seed,
            figure_width=figure_width, font_size=font_size, on_progress=show,
        )  # fmt: skip
    print_evaluation(found, out)
    return {
        "out": out,
        "report": out / "report.html",
        "facts": dict(found.facts),
        "summary": [claim.text for claim in found.summary],
        "notes": list(found.notes),
    }
