"""Exit codes of commands, and one line on the error stream for every end except success.

Only of several problems in a user's files, each has a line of its own."""

import contextlib
import errno
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import typer
import typer.core

from syndigits_jax.cli.termination import TERMINATED, heeding_sigterm
from syndigits_jax.cli.wording import as_typed

INCOMPLETE = 1
"""The command ended, but its results are incomplete."""
BAD_INPUT = 2
"""The options or files given cannot be used; nothing was done."""
FAILED = 3
"""The command failed while it ran: a full disk, an engine that stopped, a solver that failed."""
INTERRUPTED = 130
"""Ctrl-C; SIGTERM ends with [`TERMINATED`][]."""
_LONGEST = 1000
# Errors of the machine; other errors of files are the user's, who may name another file.
_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM,
            errno.EPIPE, errno.ESTALE)  # fmt: skip
_log = logging.getLogger(__name__)


class Ended(Exception):
    """Ends a command with an exit code other than 0 and one line of explanation."""

    def __init__(self, code: int, line: str = ""):
        super().__init__(line)
        self.code, self.line = code, line


class OneLineErrors(typer.core.TyperGroup):
    """A command group that reports usage errors in one line, like all other errors."""

    def main(self, *args: Any, standalone_mode: bool = True, **kwargs: Any) -> Any:
        """Parse, run and exit."""
        try:
            code = super().main(*args, standalone_mode=False, **kwargs)
        except Exception as error:
            # Usage errors: the parser's exceptions, whose module depends on typer's version.
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
def ending_well(
    resume: str, last_words: Callable[[Ended], Any] = lambda end: say(end.line)
) -> Iterator[None]:
    """Convert exceptions, Ctrl-C and SIGTERM into an [`Ended`][] with its code and one line.

    **Arguments:** `resume`: advice to print after Ctrl-C and SIGTERM; `last_words`: called with the
    end after a SIGTERM to which the command did not listen in time; then the process ends.
    """
    terminated = Ended(TERMINATED, f"stopped; {resume}")
    termination = None
    try:
        with heeding_sigterm(lambda: last_words(terminated)) as termination, _noting():
            yield
    except (typer.Exit, typer.Abort, Ended):
        raise
    except KeyboardInterrupt:
        if termination is not None and termination.asked:
            raise terminated from None
        raise Ended(INTERRUPTED, f"stopped; {resume}") from None
    except Exception as error:
        _log.debug("the error's traceback:", exc_info=error)
        if termination is not None and termination.asked:  # a failure of what was interrupted
            raise terminated from None
        raise Ended(_code(error), f"error: {_said(error)}") from None


def say(line: str) -> None:
    """Print one line on the error stream."""
    print(line, file=sys.stderr)


def _code(error: Exception) -> int:
    if isinstance(error, OSError):
        machine = error.errno in _MACHINE or isinstance(error, ConnectionError | TimeoutError)
        return FAILED if machine else BAD_INPUT
    return BAD_INPUT if isinstance(error, ValueError | ImportError) else FAILED


def _said(error: Exception) -> str:
    """An error in one line, or a line for each problem where several were collected."""
    problems = getattr(error, "problems", ())
    if len(problems) < 2:
        return _one_line(error)
    lines = [f"- {_one_line(ValueError(problem))}" for problem in problems]
    return "\n".join([f"{len(lines)} problems:", *lines])


def _one_line(error: Exception) -> str:
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror.lower()}"
    line = as_typed(" ".join(text.split()))
    if isinstance(error, MemoryError) and not line:
        line = "out of memory"
    if not isinstance(error, OSError | ValueError | ImportError | RuntimeError | MemoryError):
        line = f"{type(error).__name__}: {line} (a defect; --verbose shows where)"
    if len(line) > _LONGEST:  # errors of XLA may contain whole programs
        line = line[:_LONGEST] + " ..."
    return line or type(error).__name__


@contextlib.contextmanager
def _noting() -> Iterator[None]:
    """Print warnings about tables as notes on the error stream."""
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
