"""How commands end: 0, or one line and 2 for bad input, or 130 after Ctrl-C."""

import contextlib
import importlib
import re
import signal
import sys
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn

import typer
import typer.core

BAD_INPUT = 2
INTERRUPTED = 130
_LONGEST = 600


class OneLineErrors(typer.core.TyperGroup):
    """A command group whose usage errors take one line, like all other errors."""

    def main(self, *args: Any, standalone_mode: bool = True, **kwargs: Any) -> Any:
        """Parse, run and exit."""
        try:
            code = super().main(*args, standalone_mode=False, **kwargs)
        except Exception as error:
            # Usage errors: the parser's exceptions, wherever this typer's version keeps them.
            message = getattr(error, "format_message", None)
            if message is None:
                raise
            if type(error).__name__ == "NoArgsIsHelpError":
                print(message())
                raise SystemExit(0) from None
            _say(f"error: {message()} (see --help)")
            raise SystemExit(BAD_INPUT) from None
        if not standalone_mode:
            return code
        raise SystemExit(code if isinstance(code, int) else 0)


@contextlib.contextmanager
def ending_well(resume: str) -> Iterator[None]:
    """Turn bad input into one line and exit code 2, and interrupts into `resume` and 130.

    A termination signal counts as an interrupt, so that half-written files are removed then too.
    Warnings about tables become notes.
    """
    previous = _on_terminate(_interrupt)
    try:
        with _noting():
            yield
    except KeyboardInterrupt:
        _say(f"stopped; {resume}")
        raise typer.Exit(INTERRUPTED) from None
    except (ValueError, OSError, ImportError, MemoryError) as error:
        _say(f"error: {_one_line(error)}")
        raise typer.Exit(BAD_INPUT) from None
    except RuntimeError as error:
        # Solvers that did not converge, and XLA, out of memory for one; not our own mistakes, nor
        # typer's ways to exit.
        ours = (NotImplementedError, RecursionError, typer.Exit, typer.Abort)
        if isinstance(error, ours):
            raise
        _say(f"error: {_one_line(error)}")
        raise typer.Exit(BAD_INPUT) from None
    finally:
        _on_terminate(previous)


@contextlib.contextmanager
def _noting() -> Iterator[None]:
    from syndigits_jax.cli.commands.tables_options import typed
    from syndigits_jax.cli.render.console import output
    from syndigits_jax.tables.cells import TableWarning

    with warnings.catch_warnings():
        warnings.simplefilter("always", TableWarning)
        show = warnings.showwarning

        def note(message: Any, category: Any, *where: Any, **more: Any) -> None:
            if issubclass(category, TableWarning):
                output().print(f"note: {typed(str(message))}", soft_wrap=True, markup=False)
            else:
                show(message, category, *where, **more)

        warnings.showwarning = note
        yield


def _one_line(error: BaseException) -> str:
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror.lower()}"
    line = " ".join(text.split())
    line = _as_typed(line)
    if isinstance(error, MemoryError) and not line:
        line = "out of memory"
    if len(line) > _LONGEST:  # XLA appends whole programs
        line = line[:_LONGEST] + " ..."
    return line or type(error).__name__


def _as_typed(line: str) -> str:
    """Arguments in backticks as the options they are of the command that runs: `top` as --top."""
    context = _context()
    if context is None:
        return line
    options = {
        parameter.name: parameter.opts[0]
        for parameter in context.command.params
        if parameter.opts and parameter.opts[0].startswith("-")
    }
    return re.sub(r"`(\w+)`", lambda found: options.get(found[1], found[0]), line)


def _context() -> Any:
    # Newer versions of typer keep a copy of click of their own.
    for module in ("typer._click.globals", "click.globals"):
        with contextlib.suppress(ImportError):
            context = importlib.import_module(module).get_current_context(silent=True)
            if context is not None:
                return context
    return None


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _on_terminate(handler: Any) -> Any:
    """Set the handler of SIGTERM and return the one before; nothing outside the main thread."""
    try:
        return signal.signal(signal.SIGTERM, handler)
    except ValueError:
        return signal.SIG_DFL
