"""The commands and their options; what they do is in the modules they call."""

from pathlib import Path
from typing import Annotated

import typer

from syndigits_jax import __version__
from syndigits_jax.cli.commands.models import models_app
from syndigits_jax.cli.commands.personas import personas_app
from syndigits_jax.cli.commands.tables_options import MissingOption
from syndigits_jax.cli.errors import OneLineErrors, ending_well

# Empty lists rather than None: old versions of typer know no optional list.
_NO_NAMES: list[str] = []
_NO_NUMBERS: list[int] = []

app = typer.Typer(
    name="syndigits",
    cls=OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(models_app)  # without a name: commands of this one
app.add_typer(personas_app, name="personas")


def _print_version(wanted: bool) -> bool:
    if wanted:
        print(f"syndigits {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _entry(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print it.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Simulate people with language models, calibrate them against real ones, and tell how far
    apart the two are."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path("syndigits-out"),
) -> None:
    """Try it on simulated people: calibration, answer distributions, persona fidelity; figures."""
    with ending_well("run the same command again to start where it stopped"):
        from syndigits_jax.cli.commands.demo import run

        run(out)


@app.command()
def reproduce(
    table: Annotated[
        str,
        typer.Argument(help="table2, table4, table5, figure5, table6, tables9-10, or fidelity."),
    ],
    data: Annotated[
        Path,
        typer.Option(
            help="Folder with the published SYN-DIGITS data; for fidelity the one that holds "
            "amazon-2018, movielens and syn-digits."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for results.json, figures, finished work.")],
    construction: Annotated[
        list[str], typer.Option(help="Twin-2K-500 construction, by folder; repeatable.")
    ] = _NO_NAMES,
    method: Annotated[
        list[str], typer.Option(help="Method, such as elastic-net; repeatable.")
    ] = _NO_NAMES,
    setting: Annotated[
        str | None,
        typer.Option(help="reference (as published), default (corrected) or both."),
    ] = None,
    dataset: Annotated[
        list[str], typer.Option(help="fidelity: data set, such as ml-latest-small; repeatable.")
    ] = _NO_NAMES,
    study: Annotated[
        list[str], typer.Option(help="fidelity: baselines or twins; repeatable.")
    ] = _NO_NAMES,
    embeddings: Annotated[
        Path | None,
        typer.Option(help="fidelity: folder where encoded item texts are kept, shared by runs."),
    ] = None,
    seed: Annotated[int, typer.Option(help="fidelity: seed of all random numbers.")] = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="fidelity: few epochs and resamples, for a first look.")
    ] = False,
) -> None:
    """Evaluate a table of a paper and print our numbers beside the published ones."""
    with ending_well("finished parts are kept; run the same command again to resume"):
        if table == "fidelity":
            for option, given in (
                ("--construction", construction), ("--method", method), ("--setting", setting),
            ):  # fmt: skip
                if given:
                    raise ValueError(f"fidelity takes no {option}")
            from syndigits_jax.cli.commands.reproduce_fidelity import run as run_fidelity

            run_fidelity(
                data, out, datasets=dataset, studies=study, embeddings=embeddings, seed=seed,
                quick=quick,
            )  # fmt: skip
            return
        for option, given in (
            ("--dataset", dataset), ("--study", study), ("--embeddings", embeddings),
            ("--seed", seed), ("--quick", quick),
        ):  # fmt: skip
            if given:
                raise ValueError(f"{table} takes no {option}: that is for fidelity")
        from syndigits_jax.cli.commands.reproduce import run

        run(table, data, out, construction, method, setting or "reference")


@app.command()
def calibrate(
    human: Annotated[Path, typer.Option(help="Table of human answers (.csv, .tsv, .parquet).")],
    twin: Annotated[Path, typer.Option(help="Table of the twins' answers.")],
    out: Annotated[Path, typer.Option(help="Table of predictions to write.")],
    method: Annotated[str, typer.Option(help="Method, such as elastic-net.")] = "elastic-net",
    new_users: Annotated[
        bool, typer.Option("--new-users", help="Predict respondents without human answers.")
    ] = False,
    target: Annotated[
        list[str],
        typer.Option(
            help="Question (or respondent) to predict, even if humans answered some; repeatable. "
            "By default those without any human answer."
        ),
    ] = _NO_NAMES,
    id_column: Annotated[
        str | None, typer.Option(help="Column of respondent identifiers; the first by default.")
    ] = None,
    join: Annotated[
        str,
        typer.Option(
            help="'inner' drops respondents and questions that only one table has, except new "
            "questions of the twins, or with --new-users their new respondents."
        ),
    ] = "error",
    missing: MissingOption = "",
    report: Annotated[
        Path | None, typer.Option(help="Table of diagnostics per prediction to write.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Keep the twins' answers where the training MSE exceeds this."),
    ] = None,
    penalty: Annotated[
        str | None,
        typer.Option(
            help="Squared penalty λ; auto tries 0.01 to 100 times the default by how well the "
            "twins' own answers are predicted."
        ),
    ] = None,
    alpha: Annotated[
        str | None, typer.Option(help="Lasso or elastic-net penalty, or auto likewise.")
    ] = None,
    l1_ratio: Annotated[float | None, typer.Option(help="Elastic-net mix, 0 to 1.")] = None,
    rank: Annotated[int | None, typer.Option(help="Rank of low-rank methods.")] = None,
    hidden: Annotated[
        list[int], typer.Option(help="Units of a hidden layer; repeatable.")
    ] = _NO_NUMBERS,
    weight_decay: Annotated[float | None, typer.Option(help="Penalty of the network.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Most epochs of the network.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of methods with a random start.")] = None,
) -> None:
    """Calibrate your own twins: predict human answers to new questions, or of new people.

    Both tables have one row per respondent and one column per question, and are matched by these
    identifiers. New questions are the columns that only the twins' table has (or that no human
    answered); with --new-users, new rows likewise.
    """
    given = {
        "penalty": penalty,  # numbers, or auto: read below
        "alpha": alpha,
        "l1_ratio": l1_ratio,
        "rank": rank,
        "hidden": tuple(hidden) if hidden else None,
        "weight_decay": weight_decay,
        "epochs": epochs,
        "seed": seed,
    }
    with ending_well("nothing was written; run the same command again"):
        from syndigits_jax.cli.commands.calibrate import number_or_auto, run

        for name in ("penalty", "alpha"):
            given[name] = number_or_auto(name, given[name])
        run(
            human,
            twin,
            out,
            method=method,
            hyperparameters={name: value for name, value in given.items() if value is not None},
            new_users=new_users,
            targets=target,
            id_column=id_column,
            join=join,
            threshold=threshold,
            report=report,
            missing=missing,
        )


@app.command()
def calibrate_distribution(
    targets: Annotated[
        Path, typer.Option(help="Table of counts: a row per question, a column per option.")
    ],
    twins: Annotated[
        Path,
        typer.Option(help="Table of the twins' answers: a row per twin, a column per question."),
    ],
    out: Annotated[Path, typer.Option(help="Table of predicted shares to write.")],
    divergence: Annotated[
        str, typer.Option(help="tv, chi2, kl, hellinger, ks, cdf_l1 or cdf_l2.")
    ] = "tv",
    variant: Annotated[
        str, typer.Option(help="Weigh personas, dummies (twins of constant answer) or both.")
    ] = "both",
    drop: Annotated[
        list[str], typer.Option(help="Option to leave out, such as refusals; repeatable.")
    ] = _NO_NAMES,
    options: Annotated[
        list[str],
        typer.Option(
            help="Options of a new question that has not all, as Q9=1,2; repeatable.",
            metavar="QUESTION=VALUES",
        ),
    ] = _NO_NAMES,
    blend: Annotated[
        bool,
        typer.Option(
            help="Mix with the mean distribution as far as cross-validation finds useful."
        ),
    ] = True,
    weight_by_count: Annotated[
        bool,
        typer.Option(
            "--weight-by-count",
            help="Questions count as much as people answered them, not all alike.",
        ),
    ] = False,
    alpha: Annotated[
        float | None,
        typer.Option(help="Add intervals of which this share may miss, such as 0.1."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Table of errors per known question to write.")
    ] = None,
    missing: MissingOption = "",
) -> None:
    """Predict how people answer a new question from how they answered others, and from twins.

    Questions are matched by their identifiers. Those that only the twins' table has, or that have
    no counts, are predicted.
    """
    with ending_well("nothing was written; run the same command again"):
        from syndigits_jax.cli.commands.calibrate_distribution import run

        run(
            targets,
            twins,
            out,
            divergence=divergence,
            variant=variant,
            drop=drop,
            options=options,
            blend=blend,
            weight_by_count=weight_by_count,
            alpha=alpha,
            report=report,
            missing=missing,
        )


@app.command()
def fidelity(
    ratings: Annotated[
        Path,
        typer.Option(
            help="Table of real ratings: columns user, item, rating and time (by default rows are "
            "in order of time)."
        ),
    ],
    items: Annotated[
        Path, typer.Option(help="Table of items: identifiers first, then texts such as title.")
    ],
    personas: Annotated[
        Path,
        typer.Option(
            help="Table of persona ratings: columns persona, item, rating; seed, if personas were "
            "made from real users; condition, if they were made in several ways."
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for results.json, personas.csv, figures, finished work.")
    ],
    embeddings: Annotated[
        Path | None,
        typer.Option(help="Text vectors of the items (.npy, .npz), a row per row of the items."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Most epochs of the encoder.")] = None,
    gap: Annotated[
        float, typer.Option(help="Difference of two ratings that counts as a preference.")
    ] = 1.0,
    control: Annotated[
        str,
        typer.Option(
            help="Ratings that place real users as personas are placed: held_out of training, or "
            "all."
        ),
    ] = "held_out",
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.")] = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few epochs and resamples, for a first look.")
    ] = False,
    missing: MissingOption = "",
) -> None:
    """Measure how far your personas are from real users in what they prefer.

    An encoder of preferences is trained on the real ratings; personas are placed in its space and
    compared with real users, with baselines and, where they have seeds, with those.
    """
    with ending_well("finished epochs are kept; run the same command again to resume"):
        from syndigits_jax.cli.commands.fidelity import run

        run(
            ratings,
            items,
            personas,
            out,
            embeddings=embeddings,
            epochs=epochs,
            seed=seed,
            gap=gap,
            control=control,
            quick=quick,
            missing=missing,
        )
