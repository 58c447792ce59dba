"""`syndigits calibrate`: predictions for new questions or new people."""

from typing import Annotated, Any

import typer

from syndigits_jax.cli.choices import METHODS, Join, Method
from syndigits_jax.cli.command import command
from syndigits_jax.cli.options import (
    NO_OPTIONS,
    Human,
    IdColumn,
    Missing,
    OutTable,
    Report,
    Twin,
    check_tables,
)

NO_NUMBERS: list[int] = []


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, resume="nothing was written; run the same command again")(calibrate)


def calibrate(
    human: Human,
    twin: Twin,
    out: OutTable,
    method: Annotated[Method, typer.Option(help="Calibrator.", **METHODS)] = Method.ELASTIC_NET,
    new_users: Annotated[
        bool, typer.Option("--new-users", help="Predict respondents without human answers.")
    ] = False,
    target: Annotated[
        list[str],
        typer.Option(
            help="Question (or respondent) to predict, even if humans answered some; repeatable. "
            "By default those without any human answer."
        ),
    ] = NO_OPTIONS,
    id_column: IdColumn = None,
    missing: Missing = "",
    join: Annotated[
        Join,
        typer.Option(
            help="inner: drop respondents and questions that only one table has, except new "
            "questions of the twins, or with --new-users their new respondents."
        ),
    ] = Join.ERROR,
    report: Report = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Keep the twins' answers where the training MSE exceeds this."),
    ] = None,
    penalty: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|auto",
            help="Squared penalty λ; auto tries 0.01 to 100 times the default by how well the "
            "twins' own answers are predicted.",
        ),
    ] = None,
    alpha: Annotated[
        str | None,
        typer.Option(metavar="NUMBER|auto", help="Lasso or elastic-net penalty, or auto."),
    ] = None,
    l1_ratio: Annotated[float | None, typer.Option(help="Elastic-net mix, 0 to 1.")] = None,
    rank: Annotated[int | None, typer.Option(help="Rank of low-rank methods.")] = None,
    hidden: Annotated[
        list[int], typer.Option(help="Units of a hidden layer; repeatable.")
    ] = NO_NUMBERS,
    weight_decay: Annotated[float | None, typer.Option(help="Penalty of the network.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Most epochs of the network.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of methods with a random start.")] = None,
) -> dict[str, Any]:
    """Calibrate your own twins: predict human answers to new questions, or of new people.

    Both tables have one row per respondent and one column per question, and are matched by these
    identifiers. New questions are the columns that only the twins' table has (or that no human
    answered); with --new-users, new rows likewise.
    """
    given = {
        "penalty": _number_or_auto("penalty", penalty),
        "alpha": _number_or_auto("alpha", alpha),
        "l1_ratio": l1_ratio,
        "rank": rank,
        "hidden": tuple(hidden) if hidden else None,
        "weight_decay": weight_decay,
        "epochs": epochs,
        "seed": seed,
    }
    check_tables({"out": out, "report": report}, (human, twin))
    from syndigits_jax.cli.render.calibration import print_calibrated
    from syndigits_jax.cli.render.console import showing_step
    from syndigits_jax.datasets.tables import write_table
    from syndigits_jax.workflows.calibrate import calibrate_files

    with showing_step(f"calibrating {twin} with {method} ..."):
        result = calibrate_files(
            human, twin, str(method),
            hyperparameters={name: value for name, value in given.items() if value is not None},
            new_users=new_users, targets=target, id_column=id_column, threshold=threshold,
            join=str(join),  # pyright: ignore[reportArgumentType]
            missing=missing,
        )  # fmt: skip
        if report is not None:
            write_table(report, result.report)
        write_table(out, result.predictions)
    print_calibrated(result, out, joined=join is Join.INNER)
    rows = result.report.reset_index().to_dict("records")
    return {
        "written": [path for path in (out, report) if path is not None],
        "targets": rows,
        "dropped": dict(result.dropped),
    }


def _number_or_auto(option: str, text: str | None) -> float | str | None:
    """A penalty from an option: a number, "auto" or None. **Raises:** `ValueError`."""
    if text is None or text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"`{option}` must be a number or auto, got {text!r}") from None
