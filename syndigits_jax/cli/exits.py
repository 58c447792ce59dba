"""How commands end: the exit codes, and one line on the error stream for everything but success."""

import contextlib
import errno
import logging
import signal
import sys
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn

import typer
import typer.core

from syndigits_jax.cli.wording import as_typed

INCOMPLETE = 1
"""It ended, but something that was asked for is missing."""
BAD_INPUT = 2
"""The options or files given cannot be used; nothing was done."""
FAILED = 3
"""It failed while it ran: a full disk, a dead engine, a solver without a result."""
INTERRUPTED = 130
_LONGEST = 600
# Errors of files that come from the machine; others are mended by naming another file.
_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM,
            errno.EPIPE, errno.ESTALE)  # fmt: skip
_log = logging.getLogger(__name__)


class Ended(Exception):
    """A command that ends with another code than 0, and what to say of it."""

    def __init__(self, code: int, line: str = ""):
        super().__init__(line)
        self.code, self.line = code, line


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
            say(f"error: {message()} (see --help)")
            raise SystemExit(BAD_INPUT) from None
        if not standalone_mode:
            return code
        raise SystemExit(code if isinstance(code, int) else 0)


@contextlib.contextmanager
def ending_well(resume: str) -> Iterator[None]:
    """Turn every way to end but success into an [`Ended`][] with its code and one line.

    `resume`: what to tell after an interrupt. A termination signal counts as one, so that
    half-written files are removed then too.
    """
    previous = _on_terminate(_interrupt)
    try:
        with _noting():
            yield
    except (typer.Exit, typer.Abort, Ended):
        raise
    except KeyboardInterrupt:
        raise Ended(INTERRUPTED, f"stopped; {resume}") from None
    except Exception as error:
        _log.debug("the error's traceback:", exc_info=error)
        raise Ended(_code(error), f"error: {_one_line(error)}") from None
    finally:
        _on_terminate(previous)


def say(line: str) -> None:
    """One line on the error stream."""
    print(line, file=sys.stderr)


def _code(error: Exception) -> int:
    if isinstance(error, OSError):
        machine = error.errno in _MACHINE or isinstance(error, ConnectionError | TimeoutError)
        return FAILED if machine else BAD_INPUT
    return BAD_INPUT if isinstance(error, ValueError | ImportError) else FAILED


def _one_line(error: Exception) -> str:
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror.lower()}"
    line = as_typed(" ".join(text.split()))
    if isinstance(error, MemoryError) and not line:
        line = "out of memory"
    if not isinstance(error, OSError | ValueError | ImportError | RuntimeError | MemoryError):
        line = f"{type(error).__name__}: {line} (a defect; --verbose shows where)"
    if len(line) > _LONGEST:  # XLA appends whole programs
        line = line[:_LONGEST] + " ..."
    return line or type(error).__name__


@contextlib.contextmanager
def _noting() -> Iterator[None]:
    """Warnings about tables become notes on the error stream."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        show = warnings.showwarning

        def note(message: Any, category: Any, *where: Any, **more: Any) -> None:
            if category.__name__ == "TableWarning":
                say(f"note: {as_typed(str(message))}")
            else:
                show(message, category, *where, **more)

        warnings.showwarning = note
        yield


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _on_terminate(handler: Any) -> Any:
    """Set the handler of SIGTERM and return the one before; nothing outside the main thread."""
    try:
        return signal.signal(signal.SIGTERM, handler)
    except ValueError:
        return signal.SIG_DFL
