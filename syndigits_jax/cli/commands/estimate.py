"""`syndigits estimate`: a population's answer from few people and many twins."""

from pathlib import Path
from typing import Annotated, Any

import typer

from syndigits_jax.cli.choices import Join, What
from syndigits_jax.cli.command import command
from syndigits_jax.cli.options import (
    Batteries,
    Human,
    IdColumn,
    Missing,
    Seed,
    Twin,
    Weights,
    check_intervals,
    check_tables,
)

NO_ANSWERS: list[float] = []


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, resume="nothing was written; run the same command again")(estimate)


def estimate(
    human: Human,
    twin: Twin,
    target: Annotated[
        str, typer.Option(help="Question that some people were asked and all twins answered.")
    ],
    what: Annotated[
        What,
        typer.Option(
            help="The mean answer, the share of people who give --answer, or the difference "
            "between two groups."
        ),
    ] = What.MEAN,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Column of two groups, for the difference: the group that sorts second less the "
            "first.",
        ),
    ] = None,
    answer: Annotated[
        list[float],
        typer.Option(
            help="Answer whose share is estimated; repeatable, for the share of those who give "
            "any of them."
        ),
    ] = NO_ANSWERS,
    weights: Weights = None,
    intervals: Annotated[float, typer.Option(help="Confidence level of the intervals.")] = 0.95,
    finite: Annotated[
        bool,
        typer.Option(
            "--finite",
            help="Take the people of the tables for the whole population, not for a sample of it.",
        ),
    ] = False,
    id_column: IdColumn = None,
    missing: Missing = "",
    join: Annotated[
        Join,
        typer.Option(
            help="What to do with people who have no twin and questions that the twins did not "
            "answer: error stops, inner drops them."
        ),
    ] = Join.ERROR,
    questions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Questions, for their ranges and their blocks."),
    ] = None,
    batteries: Batteries = False,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="TABLE", help="Table to write (.csv, .tsv, .parquet)."),
    ] = None,
) -> dict[str, Any]:
    """Estimate what a population would answer from the few people who were asked, and their twins.

    People who were asked have an answer to the target in their table; who was asked should be
    decided at random. Everybody else has a twin only. Prediction-powered inference corrects the
    twins by the people asked: the interval holds however bad the twins are.

    It prints the estimate beside that from people alone, how many more people the twins were worth,
    and what people's other answers would do without any twin. With --quiet it prints nothing: use
    --out or --json.
    """
    check_intervals(intervals)
    check_tables({"out": out}, (human, twin))
    from syndigits_jax.cli.render.console import showing_progress
    from syndigits_jax.cli.render.target import print_target
    from syndigits_jax.datasets.tables import write_table
    from syndigits_jax.results.progress import Progress
    from syndigits_jax.workflows.target import estimate_target_files

    with showing_progress() as show:

        def on_fit(done: int, total: int) -> None:
            show(Progress(0, 1, "calibrating", done, total, counted="fits"))

        result = estimate_target_files(
            human, twin, target, what=str(what), group=group, answers=answer, weights=weights,
            level=intervals, finite=finite, questions=questions, batteries=batteries,
            id_column=id_column, join=str(join), missing=missing, key=seed, on_fit=on_fit,
        )  # fmt: skip
    table = result.table()
    if out is not None:
        write_table(out, table)
    print_target(result, out, joined=join == Join.INNER, weighted=weights is not None)
    return {
        "written": [] if out is None else [out],
        "target": target,
        "what": str(what),
        "groups": list(result.groups),
        "level": intervals,
        "chosen": result.chosen,
        "basis": result.basis.word,
        "people": float(result.estimate.people),
        "worth": float(result.estimate.worth),
        "weights": weights,
        "design_effect": result.design_effect,
        "estimates": table.reset_index().to_dict("records"),
        "unavailable": dict(result.unavailable),
        "dropped": dict(result.dropped),
    }
