"""A child process that is spoken to in lines of JSON, and that can be given up at any moment."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

_LAST_WORDS = 20_000  # bytes of its log that are looked at when it dies


class ChildDied(RuntimeError):
    """The child ended, or said something that is not JSON."""


class ChildProcess:
    """A child process: lines of JSON to its standard input, lines of JSON from its output.

    Reading and writing happen in threads of their own, so that neither a full pipe nor a child that
    hangs can block the caller for longer than it said. The child leads a group of its own: a
    Ctrl-C at the terminal is the parent's to handle, and killing takes the child's children along.

    **Arguments:** `command`; `environment`, all of it; `log`: a file to which the child's standard
    error is appended (nowhere by default, but for the last words).
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path | None = None
    ):
        # Of the child alone; the parent reads it when the child has died.
        self._log: IO[bytes] = (
            tempfile.TemporaryFile() if log is None else log.open("ab+")  # noqa: SIM115
        )
        self._start_of_log = self._log.seek(0, os.SEEK_END)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=dict(environment),
            start_new_session=True,
        )
        self._said: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._to_say: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._read, self._write)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """Its process identifier."""
        return self._process.pid

    def send(self, message: Any) -> None:
        """Say something; returns at once, whether or not the child listens."""
        self._to_say.put(json.dumps(message).encode() + b"\n")

    def receive(self, seconds: float) -> Any:
        """The next thing it says. **Raises:** `TimeoutError`; [`ChildDied`][] at its end."""
        try:
            line = self._said.get(timeout=max(seconds, 0.0))
        except queue.Empty:
            raise TimeoutError from None
        if line is None:
            raise ChildDied(self._how_it_ended())
        try:
            return json.loads(line)
        except ValueError:
            raise ChildDied(f"it said what is not JSON: {line[:80]!r}") from None

    def kill(self) -> None:
        """End it and its children, and wait until it is gone; it may be gone already."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                if sys.platform == "win32":
                    self._process.kill()
                else:
                    # Its group is its own: nobody else is in it.
                    os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._to_say.put(None)
        for thread in self._threads:
            thread.join(timeout=10)
        for stream in (self._process.stdout, self._log):
            if stream is not None and not stream.closed:
                stream.close()

    def last_words(self) -> str:
        """The last line of its log that reads like an error, or else the last line."""
        end = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(self._start_of_log, end - _LAST_WORDS))
        lines = [line.strip() for line in self._log.read().decode(errors="replace").splitlines()]
        lines = [line for line in lines if line]
        errors = [line for line in lines if "Error" in line or "error:" in line]
        return (errors or lines or [""])[-1][-400:]

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return "it closed its output"
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        words = self.last_words()
        return f"{how}: {words}" if words else how

    def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(OSError, ValueError):  # closed meanwhile
            for line in self._process.stdout:
                self._said.put(line)
        self._said.put(None)

    def _write(self) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        with contextlib.suppress(OSError, ValueError):  # it is gone, as the reader will say
            while (line := self._to_say.get()) is not None:
                pipe.write(line)
                pipe.flush()
        with contextlib.suppress(OSError):
            pipe.close()
