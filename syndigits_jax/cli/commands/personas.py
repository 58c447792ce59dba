"""The options of `syndigits personas`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from syndigits_jax.cli.commands.tables_options import MissingOption
from syndigits_jax.cli.engine_options import (
    NO_OPTIONS,
    ConcurrencyOption,
    EngineOption,
    ModelOption,
    MoreOption,
    TimeoutOption,
    UrlOption,
    build_engine,
)
from syndigits_jax.cli.errors import ending_well

_RESUME = "nothing was written; run the same command again"
_RESUME_WRITING = "texts are kept; run the same command again to have the rest written"
_FULL = "the whole survey is told: leave out what you will ask with --ask or --ask-block"

personas_app = typer.Typer(
    help="Build personas from surveys, demographics, summaries, rating histories, or marginals.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Out = Annotated[
    Path, typer.Option(help="Personas to write: .json, .jsonl, .csv, .tsv or .parquet.")
]
People = Annotated[int | None, typer.Option(help="Only the first so many people.")]
IdColumn = Annotated[
    str | None, typer.Option(help="Column of the people's identifiers; the first by default.")
]
Seed = Annotated[int, typer.Option(help="Seed of what is drawn, and of the model's texts.")]
AskQuestions = Annotated[
    Path | None, typer.Option(help="Questions that you will ask; they are left out.")
]
Count = Annotated[int, typer.Option("--n", help="How many personas.")]
RatingsFile = Annotated[
    Path, typer.Option(help="Ratings: columns user, item, rating and, if known, time.")
]
ItemsFile = Annotated[
    Path, typer.Option(help="Items: identifiers first, then title, genre, tags, ...")
]
TemplateOption = Annotated[
    str | None, typer.Option(help="Prompt that writes the texts; by default the paper's.")
]
StoreOption = Annotated[
    Path | None, typer.Option(help="Store of the texts; by default OUT.responses.")
]
TemperatureOption = Annotated[float | None, typer.Option(help="Of the texts.")]
TopPOption = Annotated[float | None, typer.Option("--top-p", help="Nucleus of the texts.")]
MaxTokensOption = Annotated[int | None, typer.Option(help="Longest text.")]


@personas_app.command()
def survey(
    answers: Annotated[Path, typer.Option(help="Table of human answers, a row per person.")],
    questions: Annotated[Path, typer.Option(help="What its columns ask: .json or a table.")],
    out: Out,
    ask: Annotated[
        list[str],
        typer.Option(help="Question that you will ask; left out with its block. Repeatable."),
    ] = NO_OPTIONS,
    ask_block: Annotated[
        list[str], typer.Option(help="Block that you will ask; left out. Repeatable.")
    ] = NO_OPTIONS,
    ask_questions: AskQuestions = None,
    form: Annotated[str, typer.Option(help="text or json.")] = "text",
    leave_out: Annotated[
        str, typer.Option(help="block, or question: tell others of the same block.")
    ] = "block",
    most: Annotated[int | None, typer.Option(help="Tell at most so many answers.")] = None,
    characters: Annotated[
        int | None,
        typer.Option(help="Longest text; some 5,000 for a model of 2,048 tokens."),
    ] = None,
    people: People = None,
    id_column: IdColumn = None,
    missing: MissingOption = "",
) -> None:
    """People's answers to a survey, as text or JSON, without what you will ask them."""
    options = {
        "answers": answers, "questions": questions, "ask": ask, "ask_block": ask_block,
        "ask_questions": ask_questions, "form": form, "leave_out": leave_out, "most": most,
        "characters": characters, "people": people, "id_column": id_column, "missing": missing,
    }  # fmt: skip
    whole = not (ask or ask_block or ask_questions)
    _build("survey", out, options, _FULL if whole else "")


@personas_app.command()
def demographics(
    table: Annotated[Path, typer.Option(help="Table of demographics, a row per person.")],
    out: Out,
    column: Annotated[
        list[str],
        typer.Option(help="Variable to tell; repeatable. By default the usual fourteen."),
    ] = NO_OPTIONS,
    questions: Annotated[
        Path | None, typer.Option(help="What its codes mean, where cells are codes.")
    ] = None,
    people: People = None,
    id_column: IdColumn = None,
) -> None:
    """People's demographics, a line per variable."""
    options = {
        "table": table, "column": column, "questions": questions, "people": people,
        "id_column": id_column,
    }  # fmt: skip
    _build("demographics", out, options)


@personas_app.command()
def summary(
    table: Annotated[Path, typer.Option(help="Table of summaries, a row per person.")],
    out: Out,
    column: Annotated[str, typer.Option(help="Its column of summaries.")] = "summary",
    surveys: Annotated[
        Path | None,
        typer.Option(help="Personas of the same people (survey --form json) to put before."),
    ] = None,
    people: People = None,
    id_column: IdColumn = None,
) -> None:
    """Summaries of people, alone or behind their surveys."""
    options = {
        "table": table, "column": column, "surveys": surveys, "people": people,
        "id_column": id_column,
    }  # fmt: skip
    _build("summary", out, options)


@personas_app.command()
def history(
    ratings: RatingsFile,
    items: ItemsFile,
    out: Out,
    ask: Annotated[
        list[str], typer.Option(help="Item that you will ask about; not shown. Repeatable.")
    ] = NO_OPTIONS,
    ask_questions: AskQuestions = None,
    shown: Annotated[int, typer.Option(help="Ratings of each user that are shown.")] = 250,
    in_context: Annotated[
        bool,
        typer.Option("--in-context", help="Show also the ratings of all items but the one asked."),
    ] = False,
    as_text: Annotated[
        bool, typer.Option("--as-text", help="As one text, for templates that take {persona}.")
    ] = False,
    user: Annotated[list[str], typer.Option(help="Whose; repeatable.")] = NO_OPTIONS,
    people: People = None,
    seed: Seed = 0,
    missing: MissingOption = "",
) -> None:
    """Users' rating histories, for zero-shot or in-context prediction."""
    options = {
        "ratings": ratings, "items": items, "ask": ask, "ask_questions": ask_questions,
        "shown": shown, "in_context": in_context, "as_text": as_text, "user": user,
        "people": people, "seed": seed, "missing": missing,
    }  # fmt: skip
    _build("history", out, options)


@personas_app.command()
def demographic(
    out: Out,
    n: Count = 100,
    marginals: Annotated[
        Path | None,
        typer.Option(help="Shares of the attributes' values (.toml); by default US adults."),
    ] = None,
    seed: Seed = 0,
    engine: EngineOption = None,
    model: ModelOption = None,
    url: UrlOption = NO_OPTIONS,
    template: TemplateOption = None,
    store: StoreOption = None,
    temperature: TemperatureOption = None,
    top_p: TopPOption = None,
    max_tokens: MaxTokensOption = None,
    concurrency: ConcurrencyOption = None,
    timeout: TimeoutOption = None,
    engine_option: MoreOption = NO_OPTIONS,
) -> None:
    """People of drawn age, gender, location, ..., whose texts a model writes."""
    _write("demographic", {"count": n, "marginals": marginals, "seed": seed}, seed, locals())


@personas_app.command()
def backstory(
    out: Out,
    n: Count = 100,
    seed: Seed = 0,
    engine: EngineOption = None,
    model: ModelOption = None,
    url: UrlOption = NO_OPTIONS,
    template: TemplateOption = None,
    store: StoreOption = None,
    temperature: TemperatureOption = None,
    top_p: TopPOption = None,
    max_tokens: MaxTokensOption = None,
    concurrency: ConcurrencyOption = None,
    timeout: TimeoutOption = None,
    engine_option: MoreOption = NO_OPTIONS,
) -> None:
    """People of whom nothing is given, whose life stories a model writes."""
    _write("backstory", {"count": n}, seed, locals())


@personas_app.command()
def grounded(
    ratings: RatingsFile,
    items: ItemsFile,
    out: Out,
    n: Count = 100,
    top: Annotated[int, typer.Option(help="Highest-rated items shown.")] = 20,
    ask_questions: AskQuestions = None,
    fewest: Annotated[int, typer.Option(help="Ratings that a user must have.")] = 10,
    category_label: Annotated[str, typer.Option(help="What the items are.")] = "films",
    seed: Seed = 0,
    engine: EngineOption = None,
    model: ModelOption = None,
    url: UrlOption = NO_OPTIONS,
    template: TemplateOption = None,
    store: StoreOption = None,
    temperature: TemperatureOption = None,
    top_p: TopPOption = None,
    max_tokens: MaxTokensOption = None,
    concurrency: ConcurrencyOption = None,
    timeout: TimeoutOption = None,
    engine_option: MoreOption = NO_OPTIONS,
    missing: MissingOption = "",
) -> None:
    """Real users, described by a model from the items they rated highest."""
    options = {
        "ratings": ratings, "items": items, "count": n, "top": top,
        "ask_questions": ask_questions, "fewest": fewest, "category_label": category_label,
        "seed": seed, "missing": missing,
    }  # fmt: skip
    _write("grounded", options, seed, locals())


@personas_app.command()
def rewritten(
    personas: Annotated[Path, typer.Option(help="Personas to write anew.")],
    out: Out,
    seed: Seed = 0,
    engine: EngineOption = None,
    model: ModelOption = None,
    url: UrlOption = NO_OPTIONS,
    template: TemplateOption = None,
    store: StoreOption = None,
    temperature: TemperatureOption = None,
    top_p: TopPOption = None,
    max_tokens: MaxTokensOption = None,
    concurrency: ConcurrencyOption = None,
    timeout: TimeoutOption = None,
    engine_option: MoreOption = NO_OPTIONS,
) -> None:
    """Personas that a model writes from others: by default summaries of them."""
    _write("rewritten", {"personas": personas}, seed, locals())


def _build(kind: str, out: Path, options: dict[str, Any], note: str = "") -> None:
    with ending_well(_RESUME):
        from syndigits_jax.cli.commands.personas_build import run

        run(kind, out, options, note)


def _write(kind: str, options: dict[str, Any], seed: int, given: dict[str, Any]) -> None:
    """`given`: all options of the command, for those that commands with texts share."""
    with ending_well(_RESUME_WRITING):
        from syndigits_jax.cli.commands.personas_build import run_written

        def engine() -> Any:
            return build_engine(
                given["engine"], given["model"], given["url"], concurrency=given["concurrency"],
                timeout=given["timeout"], options=given["engine_option"],
            )  # fmt: skip

        wanted = any(given[name] for name in ("engine", "model", "url", "engine_option"))
        names = ("temperature", "top_p", "max_tokens")
        if kind == "rewritten" and not wanted:
            raise ValueError("--engine is missing: what writes the texts")
        run_written(
            kind,
            given["out"],
            options,
            engine=engine if wanted else None,
            template=given["template"],
            store=given["store"],
            decoding={name: given[name] for name in names} | {"seed": seed},
        )
