"""`syndigits calibrate`: predictions for new questions or new people."""

import dataclasses
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from syndigits_jax.cli.choices import METHOD_NAMES, METHODS_OR_AUTO, Join, Method
from syndigits_jax.cli.command import command
from syndigits_jax.cli.options import (
    NO_OPTIONS,
    Human,
    IdColumn,
    Missing,
    OutTable,
    Report,
    Twin,
    Weights,
    check_intervals,
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
    method: Annotated[
        Method | None,
        typer.Option(
            help="auto (the default) combines several methods, the twins' own answers and people's "
            "means, with weights learnt from the known questions; a name chooses one method: "
            f"{METHOD_NAMES}.",
            **METHODS_OR_AUTO,
        ),
    ] = None,
    new_users: Annotated[
        bool, typer.Option("--new-users", help="Predict respondents without human answers.")
    ] = False,
    target: Annotated[
        list[str],
        typer.Option(
            help="Question to predict (with --new-users, respondent), even if there are some human "
            "answers; repeatable. By default those without any human answer."
        ),
    ] = NO_OPTIONS,
    weights: Weights = None,
    id_column: IdColumn = None,
    missing: Missing = "",
    join: Annotated[
        Join,
        typer.Option(
            help="What to do with respondents and questions that only one table has: error stops; "
            "inner drops them, except the twins' new questions (with --new-users, new respondents)."
        ),
    ] = Join.ERROR,
    report: Report = None,
    shares: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="With auto: table to write, with the estimated share of people per option and its "
            "interval.",
        ),
    ] = None,
    intervals: Annotated[
        float | None,
        typer.Option(
            help="With auto: add intervals that cover this share of people's answers, such as 0.9. "
            "Tables like --out hold their ends: predictions.lower.csv and predictions.upper.csv "
            "beside predictions.csv."
        ),
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option(
            help="With auto: write so many drawn answers of every respondent, a row each, in "
            "place of the predictions, which are their means. Draws vary and correlate as "
            "people's answers do."
        ),
    ] = None,
    questions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Questions, for their ranges and blocks (with --method auto or --threshold auto).",
        ),
    ] = None,
    batteries: Annotated[
        bool,
        typer.Option(
            "--batteries",
            help="Take questions whose names differ only by a number (Q5_1, Q5_2) for one "
            "battery; where there are none, by a letter (Q5a, Q5b), or else item1, item2. A "
            "target without a known question in its battery is from a new survey. (With --method "
            "auto or --threshold auto.)",
        ),
    ] = False,
    threshold: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|auto",
            help="Keep the twins' own answers to a question where the method's error among twins "
            "(training MSE) is above this. auto chooses the threshold that predicts the known "
            "questions best (whole blocks of them, for a target of a new survey).",
        ),
    ] = None,
    penalty: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|auto",
            help="Penalty on squared coefficients; auto chooses, among 0.01 to 100 times the "
            "default, the one that predicts the known questions best.",
        ),
    ] = None,
    alpha: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|auto",
            help="Penalty of the lasso or the elastic net; auto as for --penalty.",
        ),
    ] = None,
    l1_ratio: Annotated[
        float | None, typer.Option(help="Share of the l1 penalty in the elastic net, 0 to 1.")
    ] = None,
    rank: Annotated[int | None, typer.Option(help="Rank of low-rank methods.")] = None,
    hidden: Annotated[
        list[int], typer.Option(help="Units of a hidden layer of the network; repeatable.")
    ] = NO_NUMBERS,
    weight_decay: Annotated[float | None, typer.Option(help="Weight decay of the network.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Most training epochs of the network.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of methods with a random start.")] = None,
) -> dict[str, Any]:
    """Calibrate your own twins: predict human answers to new questions, or of new people.

    Both tables have a row per respondent, whose identifier is in the first column, and a column per
    question. Rows are matched by identifier. New questions are columns that only the twins' table
    has, or that no human answered; with --new-users, new respondents are such rows.

    By default the prediction combines several methods, the twins' own answers and people's means;
    its mean and spread are learnt from the known questions. The command prints how accurate the
    predictions can be expected to be.
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
    given = {name: value for name, value in given.items() if value is not None}
    check_intervals(intervals)
    ends = [] if intervals is None else [_beside(out, end) for end in ("lower", "upper")]
    outputs = {"out": out, "report": report, "shares": shares}
    check_tables(outputs | {f"intervals ({path.name})": path for path in ends}, (human, twin))
    tables = {
        "new_users": new_users,
        "targets": target,
        "weights": weights,
        "id_column": id_column,
        "join": str(join),
        "missing": missing,
    }
    written = [path for path in (out, report, shares, *ends) if path is not None]
    if method is None:
        tables["intervals"] = intervals
        return _estimate(human, twin, out, report, shares, draws, questions, batteries, given,
                         threshold, tables, written)  # fmt: skip
    limit = _number_or_auto("threshold", threshold)
    tables |= {"questions": questions, "batteries": batteries}
    of_auto = {"shares": shares, "draws": draws, "intervals": intervals}
    for option, value in (of_auto | {"questions": questions, "batteries": batteries}).items():
        if value not in (None, False) and option in of_auto:
            raise ValueError(f"`{option}` is for `--method auto`, not for {method}")
        if value and limit != "auto":
            raise ValueError(
                f"`{option}` is for `--method auto` or `--threshold auto`, not for {method} alone"
            )
    return _calibrate(human, twin, out, report, str(method), given, limit, tables, written)


def _estimate(human, twin, out, report, shares, draws, questions, batteries, given, threshold,
              tables, written) -> dict[str, Any]:  # fmt: skip
    key = given.pop("seed", 0)
    if of_calibrators := [*given, *(() if threshold is None else ("threshold",))]:
        raise ValueError(f"`{of_calibrators[0]}` is of a calibrator: choose one with `--method`")
    if shares is not None and tables["new_users"]:
        raise ValueError("`shares` is for new questions, not for `--new-users`")
    if tables["intervals"] is not None and tables["new_users"]:
        raise ValueError("`intervals` is for new questions, not for `--new-users`")
    if draws is not None and tables["new_users"]:
        raise ValueError("`draws` is for new questions, not for `--new-users`")
    from syndigits_jax.cli.render.calibration import print_estimated
    from syndigits_jax.cli.render.console import showing_progress
    from syndigits_jax.datasets.tables import write_tables
    from syndigits_jax.results.progress import Progress
    from syndigits_jax.workflows.estimate import estimate_files
    from syndigits_jax.workflows.people import design_effect

    with showing_progress() as show:

        def on_fit(done: int, total: int) -> None:
            doing = "estimating" if done else "compiling, then estimating"
            show(Progress(0, 1, doing, done, total, counted="fits"))

        result = estimate_files(
            human, twin, questions=questions, batteries=batteries, draws=draws, key=key,
            on_fit=on_fit, **tables,
        )  # fmt: skip
    made = {out: result.predictions if result.draws is None else result.draws}
    if report is not None:
        made[report] = result.report
    if shares is not None:
        made[shares] = result.shares.set_index("question")
    if result.lower is not None:
        made |= {_beside(out, "lower"): result.lower, _beside(out, "upper"): result.upper}
    write_tables(made)
    print_estimated(result, out, tables["intervals"], joined=tables["join"] == Join.INNER)
    estimates = result.estimates
    return {
        "written": written,
        "targets": result.report.reset_index().to_dict("records"),
        "weights": {name: dict(found) for name, found in estimates.weights.items()},
        "learnt": dict(estimates.learnt),
        "expected": {name: dataclasses.asdict(one) for name, one in estimates.expected.items()},
        "intervals": {
            name: [{"level": one.level, "units": one.units, **one.means()} for one in found]
            for name, found in estimates.judged.items()
        },
        "shares": result.shares.to_dict("records"),
        "draws": draws,
        "joint": dict(result.joint),
        "design_effect": None if result.weight is None else design_effect(result.weight),
        "dropped": dict(result.dropped),
    }


def _beside(out: Path, end: str) -> Path:
    """The table of one end of the intervals: `predictions.lower.csv` for `predictions.csv`."""
    return out.with_name(f"{out.stem}.{end}{out.suffix}")


def _calibrate(human, twin, out, report, method, given, threshold, tables, written):
    from syndigits_jax.cli.render.calibration import print_calibrated
    from syndigits_jax.cli.render.console import showing_step
    from syndigits_jax.datasets.tables import write_tables
    from syndigits_jax.workflows.calibrate import calibrate_files
    from syndigits_jax.workflows.people import design_effect

    chosen = ["threshold"] * (threshold == "auto") + [k for k, v in given.items() if v == "auto"]
    choosing = f", choosing the {' and the '.join(chosen)}" if chosen else ""
    with showing_step(f"compiling, then calibrating {twin} with {method}{choosing} ..."):
        result = calibrate_files(
            human, twin, method, hyperparameters=given, threshold=threshold, **tables
        )
        made = {out: result.predictions}
        write_tables(made if report is None else made | {report: result.report})
    print_calibrated(result, out, joined=tables["join"] == Join.INNER)
    rows = result.report.reset_index().to_dict("records")
    for row in rows:  # JSON has no infinity
        if not math.isfinite(row.get("threshold", 0)):
            row["threshold"] = str(row["threshold"])
    return {
        "written": written,
        "targets": rows,
        "design_effect": None if result.weight is None else design_effect(result.weight),
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
