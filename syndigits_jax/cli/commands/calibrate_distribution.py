"""`syndigits calibrate-distribution`: predicted distributions of answers to new questions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from syndigits_jax.cli.choices import Divergence, Variant
from syndigits_jax.cli.command import command
from syndigits_jax.cli.options import (
    NO_OPTIONS,
    Missing,
    OutTable,
    Report,
    Twin,
    Weights,
    check_intervals,
    check_tables,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    resume = "nothing was written; run the same command again"
    command(app, "calibrate-distribution", resume=resume)(calibrate_distribution)


def calibrate_distribution(
    human: Annotated[
        Path,
        typer.Option(
            metavar="TABLE",
            help="How many people chose each option: a row per question, a column per option. With "
            "--weights, people's answers instead: a row per person, a column per question.",
        ),
    ],
    twin: Twin,
    out: OutTable,
    divergence: Annotated[
        Divergence,
        typer.Option(
            metavar="NAME",
            help="What the weights of the twins minimise: tv, chi2, kl, hellinger, ks, cdf_l1 or "
            "cdf_l2.",
        ),
    ] = Divergence.TV,
    variant: Annotated[
        Variant,
        typer.Option(
            metavar="NAME",
            help="What gets weights: personas (the twins), dummies (which always answer the same "
            "option) or both.",
        ),
    ] = Variant.BOTH,
    drop: Annotated[
        list[str], typer.Option(help="Option to leave out, such as refusals; repeatable.")
    ] = NO_OPTIONS,
    options: Annotated[
        list[str],
        typer.Option(
            help="Options of a new question, where it does not have all of them: Q9=1,2; "
            "repeatable.",
            metavar="QUESTION=VALUES",
        ),
    ] = NO_OPTIONS,
    blend: Annotated[
        bool,
        typer.Option(
            help="Mix the prediction with the mean distribution of past questions, as far as "
            "cross-validation finds useful."
        ),
    ] = True,
    weight_by_count: Annotated[
        bool,
        typer.Option(
            "--weight-by-count",
            help="Let a question count by the number of people who answered it; by default all "
            "count alike.",
        ),
    ] = False,
    intervals: Annotated[
        float | None,
        typer.Option(help="Add intervals for the shares, with this confidence level, such as 0.9."),
    ] = None,
    weights: Weights = None,
    missing: Missing = "",
    report: Report = None,
) -> dict[str, Any]:
    """Predict how answers to a new question are distributed, from past distributions and twins.

    The twins get weights with which they answer the past questions as people did. Questions are
    matched by identifier; those that only the twins' table has, or that have no counts, are
    predicted.
    """
    check_intervals(intervals)
    check_tables({"out": out, "report": report}, (human, twin))
    chosen = _by_question(options)
    from syndigits_jax.cli.render.console import showing_step
    from syndigits_jax.cli.render.distributions import print_distributions
    from syndigits_jax.datasets.tables import write_tables
    from syndigits_jax.workflows.distributions import calibrate_distribution_files
    from syndigits_jax.workflows.people import design_effect

    with showing_step(f"weighing the twins of {twin} by {divergence} ..."):
        result = calibrate_distribution_files(
            human, twin, str(divergence),
            variant=str(variant), drop=drop, blend=blend,
            alpha=None if intervals is None else 1 - intervals,
            new_options=chosen, weight_by_count=weight_by_count, weights=weights, missing=missing,
        )  # fmt: skip
        made = {out: result.predictions}
        write_tables(made if report is None else made | {report: result.report})
    print_distributions(result, out, intervals)
    return {
        "written": [path for path in (out, report) if path is not None],
        "questions": [str(name) for name in result.predictions.index],
        "errors": result.report.mean().to_dict(),
        "design_effect": None if result.weight is None else design_effect(result.weight),
    }


def _by_question(given: Sequence[str]) -> dict[str, list[str]]:
    """The options of questions, from texts `QUESTION=1,2`."""
    found = {}
    for text in given:
        name, sign, values = text.rpartition("=")
        if not (name and sign and values):
            raise ValueError(
                f"`options`: expected QUESTION=VALUE,VALUE such as Q9=1,2, got {text!r}"
            )
        found[name] = [value.strip() for value in values.split(",")]
    return found
