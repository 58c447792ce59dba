"""SIGTERM ends a command as Ctrl-C does, and within seconds where Ctrl-C would have to wait.

Python runs a signal's handler between two of its own instructions, and so not while the main thread
compiles a program or waits for one. The interpreter writes the signal's number to a socket at once,
however; a thread that reads it ends the process where the command has not ended by itself.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

TERMINATED = 128 + signal.SIGTERM
"""Exit code of a command that SIGTERM ended, as shells report it."""
GRACE = 3.0
"""Seconds for a command to end by itself before its process is ended."""
_SECONDS_TO_LEAVE = 2.0  # for what still runs once the command has ended
_SECONDS_TO_SPEAK = 1.0
_SHOW_CURSOR = "\x1b[?25h"  # progress bars hide it


class Termination:
    """A handler that interrupts the command at the first signal; `asked`: whether one came.

    Further signals are ignored, so that they do not interrupt the cleaning up.
    """

    asked = False

    def __call__(self, number: int, frame: object) -> None:
        """Raise `KeyboardInterrupt` once."""
        if not self.asked:
            self.asked = True
            raise KeyboardInterrupt


@contextlib.contextmanager
def heeding_sigterm(last_words: Callable[[], Any]) -> Iterator[Termination]:
    """While the context lasts, SIGTERM interrupts it; if it has not ended [`GRACE`][] seconds
    later, unfinished files are removed, `last_words` is called, and the process ends.

    No effect outside the main thread, the only one that may handle signals.
    """
    termination = Termination()
    if threading.current_thread() is not threading.main_thread():
        yield termination
        return
    before = signal.signal(signal.SIGTERM, termination)
    heard, told = socket.socketpair()
    told.setblocking(False)
    wakeup = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(heard, ended, last_words), daemon=True)
    watcher.start()
    try:
        yield termination
    finally:
        ended.set()
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
        told.close()
        watcher.join()
        heard.close()


def leave_soon(code: int) -> None:
    """End the process with `code` in two seconds, if threads that still work keep it."""

    def leave() -> None:
        time.sleep(_SECONDS_TO_LEAVE)
        os._exit(code)

    threading.Thread(target=leave, daemon=True).start()


def _watch(heard: socket.socket, ended: threading.Event, last_words: Callable[[], Any]) -> None:
    while numbers := heard.recv(64):
        if signal.SIGTERM in numbers:
            if not ended.wait(GRACE):
                _leave(last_words)
            return


def _leave(last_words: Callable[[], Any]) -> None:
    files = sys.modules.get("syndigits_jax.results.files")  # else nothing is being written
    if files is not None:
        files.remove_unfinished()
    # In a thread: a stream that nobody reads would keep this one.
    speaker = threading.Thread(target=_speak, args=(last_words,), daemon=True)
    speaker.start()
    speaker.join(_SECONDS_TO_SPEAK)
    os._exit(TERMINATED)


def _speak(last_words: Callable[[], Any]) -> None:
    if sys.stderr.isatty():
        print(_SHOW_CURSOR, end="", file=sys.stderr)
    last_words()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
