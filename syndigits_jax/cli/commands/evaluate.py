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
            help="Table of the people, with columns of weights, groups and arms; without it these "
            "columns are looked for in --human and --twin.",
        ),
    ] = None,
    weights: Weights = None,
    groups: Annotated[
        list[str],
        typer.Option(
            metavar="COLUMN",
            help="Column of groups, each of which is judged by itself; repeatable.",
        ),
    ] = NO_OPTIONS,
    blocks: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Column of --questions that names the survey or battery of each question; by "
            "default `block`.",
        ),
    ] = None,
    batteries: Batteries = False,
    arms: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Column with the arm of an experiment to which each person was assigned at "
            "random.",
        ),
    ] = None,
    retest: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="The same people's answers when they were asked again."),
    ] = None,
    intervals: Annotated[float, typer.Option(help="Confidence level of the intervals.")] = 0.95,
    figure_width: Annotated[
        float | None,
        typer.Option(
            metavar="INCHES", help="Width of the figures' files, such as 3.3 for a column."
        ),
    ] = None,
    font_size: Annotated[
        float | None, typer.Option(metavar="POINTS", help="Size of the text in the figures' files.")
    ] = None,
    id_column: IdColumn = None,
    missing: Missing = "",
    join: Annotated[
        Join,
        typer.Option(
            help="What to do with people who have no twin and questions that the twins did not "
            "answer: error stops, inner drops them."
        ),
    ] = Join.ERROR,
    seed: Seed = 0,
) -> dict[str, Any]:
    """Report how good your twins are, for which questions and for whom, and what you may claim.

    Every question that people answered is predicted without their answers to it; the report says
    how well that worked, for single questions and groups, how many people the twins are worth, and
    what these tables cannot show. It opens with three sentences that sum it up.

    OUT/report.html is one file that needs no network. Beside it are the same report as Markdown,
    all numbers (results.json and tables) and every figure.
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
