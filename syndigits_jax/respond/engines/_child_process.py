"""A child process that exchanges lines of JSON and can be killed at any time."""

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

_LOG_TAIL = 20_000  # bytes at the end of its log that are searched for an error when it ends


class ChildDied(RuntimeError):
    """The child process ended, or its output is not JSON."""


class ChildProcess:
    """A child process that reads lines of JSON from its standard input and writes such lines.

    Separate threads read and write, so that neither a full pipe nor a child that hangs can block
    the caller beyond the time it allows. The child leads its own process group: a Ctrl-C at the
    terminal only reaches the parent, and killing the group also ends the child's children.

    **Arguments:** `command`: program and arguments; `environment`: all variables; `log`: a file to
    which standard error is appended (by default a temporary file, for error messages).
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path | None = None
    ):
        # Written by the child; read by the parent once the child has ended.
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
        """The process identifier."""
        return self._process.pid

    def send(self, message: Any) -> None:
        """Queue a message and return at once, whether or not the child reads it."""
        self._to_say.put(json.dumps(message).encode() + b"\n")

    def receive(self, seconds: float) -> Any:
        """The next message. **Raises:** `TimeoutError`; [`ChildDied`][] if the process ended."""
        try:
            line = self._said.get(timeout=max(seconds, 0.0))
        except queue.Empty:
            raise TimeoutError from None
        if line is None:
            raise ChildDied(self._exit_reason())
        try:
            return json.loads(line)
        except ValueError:
            raise ChildDied(f"its output is not JSON: {line[:80]!r}") from None

    def kill(self) -> None:
        """Kill the process and its children, if they still run, and wait for its end."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                if sys.platform == "win32":
                    self._process.kill()
                else:
                    # The group consists of the child and its children only.
                    os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._to_say.put(None)
        for thread in self._threads:
            thread.join(timeout=10)
        for stream in (self._process.stdout, self._log):
            if stream is not None and not stream.closed:
                stream.close()

    def log_tail(self) -> str:
        """The last line of the log that looks like an error message, or else the last line."""
        end = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(self._start_of_log, end - _LOG_TAIL))
        lines = [line.strip() for line in self._log.read().decode(errors="replace").splitlines()]
        lines = [line for line in lines if line]
        errors = [line for line in lines if "Error" in line or "error:" in line]
        return (errors or lines or [""])[-1][-400:]

    def _exit_reason(self) -> str:
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return "it closed its output"
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        words = self.log_tail()
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
        with contextlib.suppress(OSError, ValueError):  # it ended, which `receive` reports
            while (line := self._to_say.get()) is not None:
                pipe.write(line)
                pipe.flush()
        with contextlib.suppress(OSError):
            pipe.close()
