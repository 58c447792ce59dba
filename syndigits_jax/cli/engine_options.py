"""Engines from what is typed: the options that `respond` and `personas` share."""

import inspect
import json
from collections.abc import Mapping, Sequence
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
ENGINES = ("vllm", "openai")


def build_engine(
    engine: str | None,
    model: str | None,
    urls: Sequence[str] = (),
    *,
    concurrency: int | None = None,
    timeout: float | None = None,
    options: Sequence[str] = (),
) -> Any:
    """The engine that the options stand for; it starts when it is first needed.

    **Raises:** `ValueError` naming the option; `ImportError` that says what to install.
    """
    if engine not in ENGINES:
        raise ValueError(f"--engine must be one of {', '.join(ENGINES)}, got {engine!r}")
    if not model:
        raise ValueError("--model is missing: a folder or a name")
    given = _settings(options)
    if timeout is not None:
        given["timeout"] = timeout
    if engine == "openai":
        if not urls:
            raise ValueError("--engine openai needs a --url, such as http://localhost:8000/v1")
        if concurrency is not None:
            given["concurrency"] = concurrency
        from syndigits_jax.respond.engines.openai import OpenAIEngine

        unknown = sorted(given.keys() - _keywords(OpenAIEngine))
        if unknown:
            raise ValueError(
                f"--engine-option {unknown[0]}: a server has no such setting here; there are "
                f"{', '.join(sorted(_keywords(OpenAIEngine)))}"
            )
        return OpenAIEngine(list(urls), model, **given)
    for name, value in (("--url", urls), ("--concurrency", concurrency)):
        if value:
            raise ValueError(f"{name} is for --engine openai; vLLM runs on this machine")
    from syndigits_jax.respond.engines.vllm import VLLMEngine

    # What is no setting of ours is one of vLLM's, which knows them.
    own = {name: given.pop(name) for name in list(given) if name in _keywords(VLLMEngine)}
    more = own.pop("engine_arguments", {}) | given
    return VLLMEngine(model, **own, engine_arguments=more)


def _settings(options: Sequence[str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for option in options:
        name, equals, text = option.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name.isidentifier():
            raise ValueError(f"--engine-option {option!r}: expected NAME=VALUE")
        if name in settings:
            raise ValueError(f"--engine-option {name}: given twice")
        try:
            settings[name] = json.loads(text)
        except ValueError:  # a word, as in dtype=bfloat16
            settings[name] = text
    return settings


def _keywords(engine: Any) -> set[str]:
    parameters: Mapping[str, inspect.Parameter] = inspect.signature(engine).parameters
    return {name for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY}
