"""Engines from what is typed: the options that `respond` and `personas` share."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

EngineOption = Annotated[
    str | None,
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
        "--url", help="Server, such as http://host:8000/v1; repeat it to spread over several."
    ),
]
ConcurrencyOption = Annotated[
    int | None, typer.Option("--concurrency", help="Most requests that a server has at a time.")
]
TimeoutOption = Annotated[
    float | None,
    typer.Option("--timeout", help="Seconds after which a request, or vLLM's batch, is given up."),
]
MoreOption = Annotated[
    list[str],
    typer.Option(
        "--engine-option",
        metavar="NAME=VALUE",
        help="Any other setting of the engine, such as tensor_parallel_size=4; repeatable.",
    ),
]
NO_OPTIONS: list[str] = []  # not None: old versions of typer know no optional list


def build_engine(
    engine: str | None,
    model: str | None,
    url: Sequence[str] = (),
    *,
    concurrency: int | None = None,
    timeout: float | None = None,
    options: Sequence[str] = (),
) -> Any:
    """The engine that the options stand for, further ones as NAME=VALUE.

    **Raises:** `ValueError` naming the option; `ImportError` that says what to install.
    """
    from syndigits_jax.respond.engines import build

    return build.build_engine(
        engine, model, url,
        concurrency=concurrency, timeout=timeout, options=_settings(options),
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
