"""SIGTERM ends a command cleanly and soon, with an exit code of its own."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest
import typer
from typer.testing import CliRunner

from syndigits_jax.cli import termination
from syndigits_jax.cli.command import command
from syndigits_jax.cli.exits import INTERRUPTED
from syndigits_jax.cli.termination import TERMINATED
from syndigits_jax.results.files import remove_unfinished, replacing

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


def ended(act, *options):
    app = typer.Typer()

    @command(app, resume="run it again")
    def only():
        """Do it."""
        return act()

    before = signal.getsignal(signal.SIGTERM), signal.set_wakeup_fd(-1)
    result = CliRunner().invoke(app, options)
    assert (signal.getsignal(signal.SIGTERM), signal.set_wakeup_fd(-1)) == before
    return result


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(30)
    raise AssertionError("not interrupted")


def test_it_is_clean_and_has_its_own_code(tmp_path):
    (tmp_path / "a.txt").write_text("old")

    def act():
        with replacing(tmp_path / "a.txt") as temporary:
            temporary.write_text("ne")
            terminate()

    result = ended(act, "--json")
    assert result.exit_code == TERMINATED == 143, (result.output, result.exception)
    assert result.stderr == "stopped; run it again\n"
    assert json.loads(result.stdout) == {"status": "terminated", "error": "stopped; run it again"}
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_second_signal_does_not_interrupt_the_cleaning_up():
    cleaned = []

    def act():
        try:
            terminate()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            cleaned.append(True)

    assert ended(act).exit_code == TERMINATED and cleaned


def test_what_the_interrupt_makes_fail_is_no_error_of_its_own():
    def act():
        try:
            terminate()
        except KeyboardInterrupt:
            raise RuntimeError("the engine was stopped") from None

    assert ended(act).exit_code == TERMINATED
    assert ended(dict).exit_code == 0


def test_ctrl_c_keeps_its_code():
    def act():
        raise KeyboardInterrupt

    assert ended(act).exit_code == INTERRUPTED


def test_a_command_in_another_thread_takes_no_signals():
    found = []
    other = threading.Thread(target=lambda: found.append(ended(lambda: {"a": 1}).exit_code))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signal, "set_wakeup_fd", lambda fd: -1)  # of `ended`, main thread only
        other.start()
        other.join()
    assert found == [0] and signal.getsignal(signal.SIGTERM) is before


def test_unfinished_files_are_removed(tmp_path):
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("a")
        remove_unfinished()
        assert not list(tmp_path.iterdir())
        temporary.write_text("b")
    remove_unfinished()
    assert (tmp_path / "a.txt").read_text() == "b"


def test_a_command_that_cannot_listen_is_ended(tmp_path):
    """Its main thread is in C code that signals do not interrupt, as while a program compiles."""
    assert termination.GRACE < 10
    program = f"""
import hashlib, sys, typer
from syndigits_jax.cli import termination
from syndigits_jax.cli.command import command
from syndigits_jax.results.files import replacing
termination.GRACE = 0.5
app = typer.Typer()

@command(app, resume="run it again")
def only():
    "Do it."
    with replacing({str(tmp_path / "a.txt")!r}) as temporary:
        temporary.write_text("a")
        print("busy", file=sys.stderr, flush=True)
        hashlib.pbkdf2_hmac("sha256", b"a", b"b", 2**31 - 1)

app()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stderr is not None and process.stderr.readline() == "busy\n"
    process.send_signal(signal.SIGTERM)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == TERMINATED
    assert errors == "stopped; run it again\n" and json.loads(said)["status"] == "terminated"
    assert not list(tmp_path.iterdir())
