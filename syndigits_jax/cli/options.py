"""Options that several commands share, under one name each (see CONTRIBUTING.md)."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from syndigits_jax.cli.choices import EngineKind, TextEncoder

NO_OPTIONS: list[str] = []  # not None: old versions of typer do not support optional lists

# Tables and folders
Human = Annotated[
    Path,
    typer.Option("--human", metavar="TABLE", help="People's answers (.csv, .tsv, .parquet)."),
]
Twin = Annotated[
    Path, typer.Option("--twin", metavar="TABLE", help="The twins' answers (.csv, .tsv, .parquet).")
]
Questions = Annotated[
    Path, typer.Option("--questions", metavar="FILE", help="Questions: .json or a table.")
]
Ratings = Annotated[
    Path,
    typer.Option(
        "--ratings",
        metavar="TABLE",
        help="Ratings: columns user, item, rating and, if known, time.",
    ),
]
Items = Annotated[
    Path,
    typer.Option(
        "--items", metavar="TABLE", help="Items: identifiers first, then texts: title, genre, ..."
    ),
]
Embeddings = Annotated[
    Path | None,
    typer.Option(
        "--embeddings",
        metavar="FILE",
        help="Vectors of the items' texts (.npy, .npz): a row per item, in the order of --items.",
    ),
]
TextEncoderOption = Annotated[
    TextEncoder,
    typer.Option(
        "--text-encoder",
        help="How item texts become vectors: by MiniLM (extra `text`), or by TF-IDF, which needs "
        "no extra; auto takes MiniLM where it is installed.",
    ),
]
OutTable = Annotated[
    Path, typer.Option("--out", metavar="TABLE", help="Table to write (.csv, .tsv, .parquet).")
]
OutFolder = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="FOLDER",
        help="Folder for results and figures; finished parts are kept there, and the same command "
        "continues from them.",
    ),
]
Report = Annotated[
    Path | None,
    typer.Option("--report", metavar="TABLE", help="Table of diagnostics to write."),
]
Missing = Annotated[
    str,
    typer.Option(
        "--missing",
        help="What counts as a missing answer, beside empty cells: texts and numbers, separated by "
        'commas, such as "n/a,-99".',
    ),
]
IdColumn = Annotated[
    str | None,
    typer.Option("--id-column", help="Column of people's identifiers; the first by default."),
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="COLUMN",
        help="Column of survey weights; it is not taken for a question, and only ratios of weights "
        "matter.",
    ),
]
Batteries = Annotated[
    bool,
    typer.Option(
        "--batteries",
        help="Take questions whose names differ only by a number (Q5_1, Q5_2) for one battery.",
    ),
]

# Questions and people
Ask = Annotated[
    list[str], typer.Option("--ask", help="Identifier of a question to ask; repeatable.")
]
Block = Annotated[list[str], typer.Option("--block", help="Block of questions to ask; repeatable.")]
People = Annotated[int | None, typer.Option("--people", help="How many people.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of all random numbers.")]

# Engines
EngineOption = Annotated[
    EngineKind | None,
    typer.Option(
        "--engine",
        help="vllm (on this machine), or openai: any server that speaks OpenAI's protocol.",
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="Folder or name of the model; for a server, its name there."),
]
UrlOption = Annotated[
    list[str],
    typer.Option(
        "--url",
        help="Server, such as http://host:8000/v1; repeatable, to spread requests over several.",
    ),
]
ConcurrencyOption = Annotated[
    int | None,
    typer.Option("--concurrency", help="Most requests that are sent to a server at a time."),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option("--timeout", help="Seconds after which a request, or vLLM's batch, is given up."),
]
RetryForOption = Annotated[
    float | None,
    typer.Option(
        "--retry-for",
        help="Seconds for which to retry a server that is busy or cannot be reached; by default a "
        "few tries.",
    ),
]
MoreOption = Annotated[
    list[str],
    typer.Option(
        "--engine-option",
        metavar="NAME=VALUE",
        help="Any other setting of the engine, such as tensor_parallel_size=4; repeatable.",
    ),
]


def check_intervals(intervals: float | None) -> None:
    """**Raises:** `ValueError` unless the intervals' coverage, if any, is inside (0, 1)."""
    if intervals is not None and not 0 < intervals < 1:
        raise ValueError(f"`intervals` must be a share between 0 and 1, got {intervals:g}")


def check_tables(outputs: Mapping[str, Path | None], inputs: Sequence[Path] = ()) -> None:
    """Check that tables to write, by option, have a known format and overwrite neither an input
    nor each other.

    **Raises:** `ValueError` naming the option.
    """
    from syndigits_jax.datasets.tables import check_table_path

    for path in outputs.values():
        if path is not None:
            check_table_path(path)
    check_distinct(outputs, inputs)


def check_distinct(outputs: Mapping[str, Path | None], inputs: Sequence[Path] = ()) -> None:
    """Check that files to write, by option, overwrite neither an input nor each other.

    **Raises:** `ValueError` naming the option.
    """
    inside, seen = {os.path.realpath(path) for path in inputs}, {}
    for name, path in outputs.items():
        if path is None:
            continue
        real = os.path.realpath(path)  # `resolve` fails where links lead in a circle
        if real in inside:
            raise ValueError(f"`{name}`: {path} is an input and would be overwritten")
        other = seen.setdefault(real, name)
        if other != name:
            raise ValueError(
                f"`{name}`: {path} is that of `{other}` too; give each a file of its own"
            )


def build_engine(
    engine: str | None,
    model: str | None,
    url: Sequence[str] = (),
    *,
    concurrency: int | None = None,
    timeout: float | None = None,
    retry_for: float | None = None,
    options: Sequence[str] = (),
) -> Any:
    """The engine described by options.

    **Arguments:** `engine`, `model`, `url`, `concurrency`, `timeout`, `retry_for`: as in
    [`build_engine`][syndigits_jax.respond.engines.build.build_engine]; `options`: further settings
    as texts NAME=VALUE, where VALUE is JSON or a word.

    **Raises:** `ValueError` naming the option; `ImportError` that says what to install.
    """
    from syndigits_jax.respond.engines import build

    return build.build_engine(
        None if engine is None else str(engine), model, url,
        concurrency=concurrency, timeout=timeout, retry_for=retry_for, options=_settings(options),
    )  # fmt: skip


def _settings(options: Sequence[str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for option in options:
        name, equals, text = option.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name.isidentifier():
            raise ValueError(f"`engine_option` {option!r}: expected NAME=VALUE")
        if name in settings:
            raise ValueError(f"`engine_option` {name}: given twice")
        try:
            settings[name] = json.loads(text)
        except ValueError:  # a word, as in dtype=bfloat16
            settings[name] = text
    return settings
