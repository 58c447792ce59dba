"""Common parts of all commands: --quiet, --verbose, --json, exit codes and one-line errors."""

import contextlib
import functools
import inspect
import json
import logging
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from syndigits_jax.cli.exits import BAD_INPUT, FAILED, INCOMPLETE, INTERRUPTED, Ended, say
from syndigits_jax.cli.exits import ending_well as _ending_well
from syndigits_jax.cli.program_cache import kept_programs
from syndigits_jax.cli.termination import TERMINATED

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show errors only.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show more of what happens, and tracebacks.")
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object instead of tables, for scripts.")
]
F = TypeVar("F", bound=Callable[..., Any])
_SHARED = {"quiet": Quiet, "verbose": Verbose, "json": Json}
_WORDS = {
    0: "done", INCOMPLETE: "incomplete", BAD_INPUT: "bad input", FAILED: "failed",
    INTERRUPTED: "interrupted", TERMINATED: "terminated",
}  # fmt: skip


@dataclass(frozen=True)
class Showing:
    """Whether a command shows `results` on standard output and `progress` on the error stream."""

    results: bool = True
    progress: bool = True


_showing: ContextVar[Showing | None] = ContextVar("showing", default=None)


def showing() -> Showing:
    """What the running command is to show."""
    return _showing.get() or Showing()


def flowing(function: F) -> F:
    """The function with each paragraph of its docstring in one line, for terminals to fold."""
    paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
    function.__doc__ = "\n\n".join(" ".join(one.split()) for one in paragraphs)
    return function


def command(
    app: typer.Typer, name: str | None = None, *, resume: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as a command of `app`, with the options that all commands have.

    The function returns a mapping of plain values, which `--json` prints, or nothing. To end with
    an exit code other than 0 it raises [`Ended`][syndigits_jax.cli.exits.Ended]; other exceptions
    are converted to one by [`ending_well`][syndigits_jax.cli.exits.ending_well].

    **Arguments:** `app`: the application; `name`: of the command, by default the function's;
    `resume`: advice to print after an interrupt.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, quiet: bool, verbose: bool, json: bool, **options: Any) -> None:
            with _shown(Showing(not (quiet or json), not quiet), verbose, quiet):

                def tell(end: Ended) -> None:
                    if end.line:
                        say(end.line)
                    if json:
                        said = {"error": end.line.removeprefix("error: ")} if end.line else {}
                        _print_json({"status": _WORDS.get(end.code, str(end.code)), **said})

                try:
                    with _ending_well(resume, tell), kept_programs():
                        content = function(*args, **options) or {}
                except Ended as end:
                    tell(end)
                    raise typer.Exit(end.code) from None
                if json:
                    _print_json({"status": _WORDS[0], **content})

        signature = inspect.signature(function)
        shared = [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=hint)
            for key, hint in _SHARED.items()
        ]
        run.__signature__ = signature.replace(  # pyright: ignore[reportAttributeAccessIssue]
            parameters=[*signature.parameters.values(), *shared]
        )
        run.__annotations__ = {**function.__annotations__, **_SHARED}
        app.command(name)(flowing(run))
        return function

    return register


@contextlib.contextmanager
def _shown(wanted: Showing, verbose: bool, quiet: bool) -> Iterator[None]:
    """While a command runs, log to the error stream, and show only what is `wanted`."""
    logger = logging.getLogger("syndigits_jax")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING)
    token = _showing.set(wanted)
    try:
        yield
    finally:
        _showing.reset(token)
        logger.setLevel(before)
        logger.removeHandler(handler)


def _print_json(content: Mapping[str, Any]) -> None:
    print(json.dumps(_plain(content), ensure_ascii=False, allow_nan=False))


def _plain(value: Any) -> Any:
    """A value for JSON: paths become text, numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item") and not isinstance(value, str):  # a NumPy number
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
