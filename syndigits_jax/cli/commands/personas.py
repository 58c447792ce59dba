"""`syndigits personas KIND`: build personas, with texts by a model, and write them to a file."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from syndigits_jax.cli.choices import Form, LeaveOut
from syndigits_jax.cli.command import command
from syndigits_jax.cli.options import (
    NO_OPTIONS,
    Ask,
    Block,
    ConcurrencyOption,
    EngineOption,
    Human,
    IdColumn,
    Items,
    Missing,
    ModelOption,
    MoreOption,
    People,
    Questions,
    Ratings,
    RetryForOption,
    Seed,
    TimeoutOption,
    UrlOption,
    build_engine,
)

_RESUME = "nothing was written; run the same command again"
_RESUME_WRITING = "texts are kept; run the same command again to have the rest written"
_FULL = "the whole survey is told: leave out what you will ask with --ask or --block"

personas = typer.Typer(
    help="Build personas from surveys, demographics, summaries, rating histories or drawn "
    "attributes.",
    no_args_is_help=True,
)

Out = Annotated[
    Path,
    typer.Option(metavar="FILE", help="Personas to write: .json, .jsonl, .csv, .tsv or .parquet."),
]
Table = Annotated[Path, typer.Option(metavar="TABLE", help="A row per person.")]
AskQuestions = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="File of the questions that you will ask; they are left out of the personas.",
    ),
]
Count = Annotated[int, typer.Option("--people", help="How many personas.")]
_TEXTS: dict[str, tuple[Any, Any]] = {
    "engine": (EngineOption, None),
    "model": (ModelOption, None),
    "url": (UrlOption, NO_OPTIONS),
    "template": (
        Annotated[
            str | None, typer.Option(help="Prompt that writes the texts; by default the paper's.")
        ],
        None,
    ),
    "store": (
        Annotated[
            Path | None,
            typer.Option(metavar="FILE", help="Store of the texts; by default OUT.responses."),
        ],
        None,
    ),
    "temperature": (Annotated[float | None, typer.Option(help="Temperature of the texts.")], None),
    "top_p": (Annotated[float | None, typer.Option(help="Nucleus sampling of the texts.")], None),
    "max_tokens": (Annotated[int | None, typer.Option(help="Longest text, in tokens.")], None),
    "seed": (Seed, 0),
    "concurrency": (ConcurrencyOption, None),
    "timeout": (TimeoutOption, None),
    "retry_for": (RetryForOption, None),
    "engine_option": (MoreOption, NO_OPTIONS),
}
"""Options of the commands for kinds of personas whose texts a model writes."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(personas, name="personas")


@command(personas, resume=_RESUME)
def survey(
    human: Human,
    questions: Questions,
    out: Out,
    ask: Ask = NO_OPTIONS,
    block: Block = NO_OPTIONS,
    ask_questions: AskQuestions = None,
    form: Annotated[Form, typer.Option(help="Write the answers as text or as JSON.")] = Form.TEXT,
    leave_out: Annotated[
        LeaveOut,
        typer.Option(
            help="What is left out for a question to ask: its whole block, or that question alone."
        ),
    ] = LeaveOut.BLOCK,
    shown: Annotated[
        int | None, typer.Option(help="Most answers of a person that are told.")
    ] = None,
    characters: Annotated[
        int | None,
        typer.Option(
            help="Most characters of a text; about 5,000 for a model that takes 2,048 tokens."
        ),
    ] = None,
    people: People = None,
    id_column: IdColumn = None,
    missing: Missing = "",
) -> dict[str, Any]:
    """People's answers to a survey, as text or JSON, without what you will ask them."""
    options = {
        "human": human, "questions": questions, "ask": ask, "block": block,
        "ask_questions": ask_questions, "form": str(form), "leave_out": str(leave_out),
        "shown": shown, "characters": characters, "people": people, "id_column": id_column,
        "missing": missing,
    }  # fmt: skip
    return _build("survey", out, options, "" if ask or block or ask_questions else _FULL)


@command(personas, resume=_RESUME)
def demographics(
    table: Table,
    out: Out,
    column: Annotated[
        list[str],
        typer.Option(
            help="Variable to tell; repeatable. By default the fourteen of the SYN-DIGITS paper."
        ),
    ] = NO_OPTIONS,
    questions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Questions that say what the codes in --table mean."),
    ] = None,
    people: People = None,
    id_column: IdColumn = None,
) -> dict[str, Any]:
    """People's demographics, a line per variable."""
    options = {
        "table": table, "column": column, "questions": questions, "people": people,
        "id_column": id_column,
    }  # fmt: skip
    return _build("demographics", out, options)


@command(personas, resume=_RESUME)
def summary(
    table: Table,
    out: Out,
    column: Annotated[
        str, typer.Option(help="Column of --table that holds the summaries.")
    ] = "summary",
    surveys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Survey personas of the same people (made with --form json), put before the "
            "summary.",
        ),
    ] = None,
    people: People = None,
    id_column: IdColumn = None,
) -> dict[str, Any]:
    """Summaries of people, alone or after their surveys."""
    options = {
        "table": table, "column": column, "surveys": surveys, "people": people,
        "id_column": id_column,
    }  # fmt: skip
    return _build("summary", out, options)


@command(personas, resume=_RESUME)
def history(
    ratings: Ratings,
    items: Items,
    out: Out,
    ask: Ask = NO_OPTIONS,
    ask_questions: AskQuestions = None,
    shown: Annotated[int, typer.Option(help="How many ratings of each user are shown.")] = 250,
    in_context: Annotated[
        bool,
        typer.Option(
            "--in-context", help="Also show the user's ratings of the other items to be asked."
        ),
    ] = False,
    as_text: Annotated[
        bool,
        typer.Option(
            "--as-text", help="Write the history as one text, for templates that take {persona}."
        ),
    ] = False,
    user: Annotated[
        list[str], typer.Option(help="User whose history is written; repeatable.")
    ] = NO_OPTIONS,
    people: People = None,
    missing: Missing = "",
    seed: Seed = 0,
) -> dict[str, Any]:
    """Users' rating histories, for zero-shot or in-context prediction."""
    options = {
        "ratings": ratings, "items": items, "ask": ask, "ask_questions": ask_questions,
        "shown": shown, "in_context": in_context, "as_text": as_text, "user": user,
        "people": people, "key": seed, "missing": missing,
    }  # fmt: skip
    return _build("history", out, options)


def _written(options_of: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Register a kind whose texts a model writes; the function returns the kind's options."""

    @functools.wraps(options_of)
    def run(out: Path, **given: Any) -> dict[str, Any]:
        texts = {name: given.pop(name) for name in _TEXTS}
        own = {"seed": texts["seed"]} if "seed" in signature.parameters else {}
        return _write(options_of.__name__, out, options_of(**given, **own), texts)

    signature = inspect.signature(options_of)
    out = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, annotation=Out)
    own = [one.replace(kind=out.kind) for one in signature.parameters.values()]
    texts = [
        inspect.Parameter(name, out.kind, default=default, annotation=hint)
        for name, (hint, default) in _TEXTS.items()
    ]
    known = {one.name for one in texts}
    run.__signature__ = signature.replace(  # pyright: ignore[reportAttributeAccessIssue]
        parameters=[out, *(one for one in own if one.name not in known), *texts]
    )
    hints = {name: hint for name, (hint, _) in _TEXTS.items()}
    run.__annotations__ = {**options_of.__annotations__, **hints, "out": Out}
    command(personas, resume=_RESUME_WRITING)(run)
    return options_of


@_written
def sampled(
    people: Count = 100,
    marginals: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Shares of the attributes' values (.toml); by default those of US adults.",
        ),
    ] = None,
    seed: Seed = 0,
) -> dict[str, Any]:
    """People of drawn age, gender, location, ..., described by a model."""
    return {"people": people, "marginals": marginals, "key": seed}


@_written
def backstory(people: Count = 100) -> dict[str, Any]:
    """People whose life stories a model invents, with nothing given."""
    return {"people": people}


@_written
def grounded(
    ratings: Ratings,
    items: Items,
    people: Count = 100,
    shown: Annotated[
        int, typer.Option(help="How many of a user's highest-rated items are shown.")
    ] = 20,
    ask: Ask = NO_OPTIONS,
    ask_questions: AskQuestions = None,
    fewest: Annotated[int, typer.Option(help="Fewest ratings of a user who is taken.")] = 10,
    category_label: Annotated[str, typer.Option(help="What the prompt calls the items.")] = "films",
    missing: Missing = "",
    seed: Seed = 0,
) -> dict[str, Any]:
    """Real users, described by a model from the items they rated highest."""
    return {
        "ratings": ratings, "items": items, "people": people, "shown": shown,
        "ask": ask, "ask_questions": ask_questions, "fewest": fewest,
        "category_label": category_label, "key": seed, "missing": missing,
    }  # fmt: skip


@_written
def rewritten(
    personas: Annotated[Path, typer.Option(metavar="FILE", help="Personas that are rewritten.")],
) -> dict[str, Any]:
    """Personas that a model writes from others: by default summaries of them."""
    return {"personas": personas}


def _build(kind: str, out: Path, options: dict[str, Any], note: str = "") -> dict[str, Any]:
    from syndigits_jax.cli.render.console import output
    from syndigits_jax.cli.render.personas import lengths
    from syndigits_jax.datasets.personas import check_personas_path, write_personas
    from syndigits_jax.workflows.personas import KINDS

    check_personas_path(out)
    built = KINDS[kind](**options)
    write_personas(out, built)
    for line in (f"{len(built)} personas{lengths(built)}; written: {out}", note):
        if line:
            output().print(line, soft_wrap=True)
    return {"written": [out], "personas": len(built)}


def _write(kind: str, out: Path, options: dict[str, Any], texts: dict[str, Any]) -> dict[str, Any]:
    wanted = any(texts[name] for name in ("engine", "model", "url", "engine_option"))
    if not wanted:
        from syndigits_jax.cli.render.personas import NO_TEXT

        if kind == "rewritten":
            raise ValueError("`engine` is missing: what writes the texts")
        for name in ("store", "template"):
            if texts[name] is not None:
                raise ValueError(f"`{name}` is for texts that a model writes; give `engine` too")
        return _build(kind, out, options, NO_TEXT)
    from syndigits_jax.cli.render.personas import write_texts_of

    def engine() -> Any:
        return build_engine(
            texts["engine"], texts["model"], texts["url"], concurrency=texts["concurrency"],
            timeout=texts["timeout"], retry_for=texts["retry_for"],
            options=texts["engine_option"],
        )  # fmt: skip

    names = ("temperature", "top_p", "max_tokens", "seed")
    return write_texts_of(
        kind, out, options,
        engine=engine, template=texts["template"], store=texts["store"],
        decoding={name: texts[name] for name in names},
    )  # fmt: skip
