"""The commands and their options; what they do is in the modules they call."""

from pathlib import Path
from typing import Annotated

import typer

from syndigits_jax import __version__
from syndigits_jax.cli._engines import (
    ConcurrencyOption,
    EngineOption,
    ModelOption,
    MoreOption,
    TimeoutOption,
    UrlOption,
    build_engine,
)
from syndigits_jax.cli._errors import OneLineErrors, ending_well
from syndigits_jax.cli._personas_app import personas_app

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
    """Calibrate LLM-simulated people against real ones."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path("syndigits-out"),
) -> None:
    """Try it on simulated people: calibration, answer distributions, persona fidelity; figures."""
    with ending_well("run the same command again to start where it stopped"):
        from syndigits_jax.cli._demo import run

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
            from syndigits_jax.cli._reproduce_fidelity import run as run_fidelity

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
        from syndigits_jax.cli._reproduce import run

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
        str, typer.Option(help="'inner' drops respondents or questions only one table has.")
    ] = "error",
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
        from syndigits_jax.cli._calibrate import number_or_auto, run

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
) -> None:
    """Predict how people answer a new question from how they answered others, and from twins.

    Questions are matched by their identifiers. Those that only the twins' table has, or that have
    no counts, are predicted.
    """
    with ending_well("nothing was written; run the same command again"):
        from syndigits_jax.cli._calibrate_distribution import run

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
) -> None:
    """Measure how far your personas are from real users in what they prefer.

    An encoder of preferences is trained on the real ratings; personas are placed in its space and
    compared with real users, with baselines and, where they have seeds, with those.
    """
    with ending_well("finished epochs are kept; run the same command again to resume"):
        from syndigits_jax.cli._fidelity import run

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
        )


@app.command()
def respond(
    personas: Annotated[Path, typer.Option(help="Personas: .json, .jsonl or a table.")],
    questions: Annotated[
        Path, typer.Option(help="Questions: .json or a table; with --answers a table of items.")
    ],
    template: Annotated[
        str, typer.Option(help="Prompt: a name (see syndigits templates) or a .toml file.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Store of responses to make or to add to.")
    ] = None,
    engine: EngineOption = None,
    model: ModelOption = None,
    url: UrlOption = _NO_NAMES,
    readout: Annotated[
        str | None,
        typer.Option(
            help="probabilities (of all answers), choice (the most probable), sample (drawn from "
            "them) or text (parsed); by default the template's."
        ),
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="Of text and samples.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Nucleus of text and samples.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest text.")] = None,
    draws: Annotated[int | None, typer.Option(help="Answers per question.")] = None,
    orders: Annotated[
        int | None,
        typer.Option(help="Orders in which options are shown, over which answers are averaged."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of draws and orders.")] = None,
    only: Annotated[
        list[str], typer.Option(help="Ask this question, not all of the file; repeatable.")
    ] = _NO_NAMES,
    block: Annotated[
        list[str], typer.Option(help="Ask the questions of this block only; repeatable.")
    ] = _NO_NAMES,
    answers: Annotated[
        str | None,
        typer.Option(help="Have items rated: stars (0.5 to 5) or purchase (1 to 5)."),
    ] = None,
    concurrency: ConcurrencyOption = None,
    timeout: TimeoutOption = None,
    engine_option: MoreOption = _NO_NAMES,
    limit: Annotated[int | None, typer.Option(help="Ask no more than so many requests.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show prompts, count tokens and cost; ask nothing.")
    ] = False,
    input_price: Annotated[
        float | None, typer.Option(help="Price of a million prompt tokens, for --dry-run.")
    ] = None,
    output_price: Annotated[
        float | None, typer.Option(help="Price of a million completion tokens, for --dry-run.")
    ] = None,
) -> None:
    """Ask a language model the questions as each of the personas; keep every answer.

    Whatever interrupts it, the same command asks only what is still missing.
    """
    decoding = {
        "readout": readout,
        "temperature": temperature,
        "top_p": top_p,
        "max_tokens": max_tokens,
        "draws": draws,
        "orders": orders,
        "seed": seed,
    }
    with ending_well("answers are kept; run the same command again to ask the rest"):
        from syndigits_jax.cli._respond import run

        run(
            personas,
            questions,
            template,
            out,
            engine=lambda: build_engine(
                engine,
                model,
                url,
                concurrency=concurrency,
                timeout=timeout,
                options=engine_option,
            ),
            model=model,
            only=only,
            block=block,
            answers=answers,
            decoding=decoding,
            limit=limit,
            dry=dry_run,
            input_price=input_price,
            output_price=output_price,
        )


@app.command()
def templates() -> None:
    """List the prompts that come with the package: wording's source, slots, defaults."""
    with ending_well("run the same command again"):
        from syndigits_jax.cli._respond import templates as print_templates

        print_templates()


@app.command()
def panel(
    store: Annotated[Path, typer.Argument(help="Store that syndigits respond wrote.")],
    out: Annotated[
        Path | None, typer.Option(help="Table to write: a row per persona, a column per question.")
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(help="Which run, if there are several: its number, or words that tell it."),
    ] = None,
    human: Annotated[
        Path | None, typer.Option(help="Table of human answers with which --out is aligned.")
    ] = None,
    join: Annotated[
        str, typer.Option(help="'inner' drops people or questions only --human has.")
    ] = "error",
    tensor: Annotated[
        Path | None,
        typer.Option(help="Array (persona, question, option) of probabilities to write, .npz."),
    ] = None,
    ratings: Annotated[
        Path | None,
        typer.Option(help="Table for syndigits fidelity to write: a row per persona and item."),
    ] = None,
    records: Annotated[
        Path | None, typer.Option(help="Table of all that is known of each response to write.")
    ] = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="All that was ever asked, not what the latest command asked."),
    ] = False,
) -> None:
    """Make tables of responses; without anything to write, say what the store holds."""
    with ending_well("nothing was written; run the same command again"):
        from syndigits_jax.cli._panel import run as make

        make(
            store,
            out,
            run=run,
            human=human,
            join=join,
            tensor=tensor,
            ratings=ratings,
            records=records,
            everything=everything,
        )


@app.command()
def probes(
    ratings: Annotated[
        Path, typer.Option(help="Table of real ratings, as for syndigits fidelity.")
    ],
    items: Annotated[
        Path, typer.Option(help="Table of items: identifiers first, then texts such as title.")
    ],
    out: Annotated[Path, typer.Option(help="Questions to write (.json).")],
    size: Annotated[int, typer.Option(help="How many items.")] = 100,
    answers: Annotated[
        str, typer.Option(help="Answers: purchase (1 to 5) or stars (0.5 to 5).")
    ] = "purchase",
    embeddings: Annotated[
        Path | None,
        typer.Option(help="Text vectors of the items (.npy, .npz), a row per row of the items."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the choice.")] = 0,
) -> None:
    """Choose the items that personas are asked to rate: popular and rare ones, of every kind."""
    with ending_well("nothing was written; run the same command again"):
        from syndigits_jax.cli._probes import run

        run(ratings, items, out, size=size, answers=answers, embeddings=embeddings, seed=seed)


@app.command()
def pipeline(
    config: Annotated[Path, typer.Argument(help="What to do (.toml).")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show prompts and count tokens; ask nothing.")
    ] = False,
) -> None:
    """Personas, their answers, and calibration or fidelity, with a report: all that a file says.

    Whatever interrupts it, the same command goes on where it was.
    """
    with ending_well("what is done is kept; run the same command again to go on"):
        from syndigits_jax.cli._pipeline import run

        run(config, dry=dry_run)
