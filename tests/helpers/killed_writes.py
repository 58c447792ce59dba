"""Processes that die while they write a file, without a process ([`dying`][]) or as forks
([`kill_forks`][], [`kill_fork`][]).

Without a process the temporary file is cut in half at the given write, and nothing is tidied up:
what follows in the program is an exception that no code of the package catches. What a test then
finds on disk is what a kill leaves. Kills while a command computes are in
tests/respond/test_killed.py and tests/cli/test_evaluate_command.py.
"""

import contextlib
import functools
import itertools
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
import types
import warnings

import pytest

from syndigits_jax.results import files

OLD = b"of an earlier run\n"


class Killed(BaseException):
    """The end of the process."""


@functools.cache
def ended_process():
    """The number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@contextlib.contextmanager
def dying(at=None):
    """While it lasts, the write number `at` (from 1) kills; yields the list of files written.

    What follows it is another process: to that the one of this block has ended.
    """
    written = []
    own = types.SimpleNamespace(**vars(os))
    own.getpid = ended_process

    def replace(temporary, target):
        if len(written) + 1 == at:
            os.truncate(temporary, os.path.getsize(temporary) // 2)
            patch.setattr(files, "_remove", lambda *_: None)
            raise Killed
        os.replace(temporary, target)
        written.append(os.fspath(target))

    own.replace = replace
    files._tidied.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "os", own)
        yield written
    files._tidied.clear()


def killed(run, at):
    """Whether `run` was killed at write `at`; if it has fewer, it ran to its end."""
    with dying(at):
        try:
            run()
        except Killed:
            return True
    return False


def contents(folder):
    """The bytes of all files of a folder by name, without those of writes that were cut off."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".partial-")
    }


def left_over(folder):
    """The files of writes that were cut off."""
    return [path for path in folder.rglob(".partial-*") if path.is_file()]


def kill_at_each_write(run, out, names):
    """Kill a command at each of its writes into `out`, and run it again.

    All its files are whole before the first takes its place, and they do so in the order of
    `names`. Run again it writes the same, and nothing else is left. **Returns:** what it writes.
    """
    run()
    whole = contents(out)
    assert sorted(whole) == sorted(names)
    for at in range(1, len(names) + 1):
        for name in names:
            (out / name).write_bytes(OLD)
        assert killed(run, at)
        new = {name: whole[name] for name in names[: at - 1]}
        assert contents(out) == dict.fromkeys(names, OLD) | new
        assert len(left_over(out)) == len(names) - len(new)
        run()
        assert contents(out) == whole and not left_over(out)
    return whole


def kill_fork(run, signs, seconds=0.0):
    """Kill a fork that runs a function, so many seconds after so many signs that it gives by what
    the function is given; whether it was at work."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads, which the fork does without
        child = os.fork()
    if child == 0:
        try:
            run(lambda: os.write(writing, b"."))
        finally:
            os._exit(0)
    os.close(writing)
    return _killed(child, reading, signs, seconds)


def _killed(child, reading, signs, seconds):
    for _ in range(signs):
        if not (select.select([reading], [], [], 60)[0] and os.read(reading, 1)):
            break
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.close(reading)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def kill_forks(run, out, whole, stages, kills=3):
    """Kill forks of a command while it writes; each file is then the earlier one or the new one.

    At each write of `stages`, by number (from 1), `kills` forks go on from there. Each gets SIGKILL
    after some of its writes, and a moment more; `stages` says how many follow before anything is
    computed, this one counted. After the last fork of the last stage this process dies too, as by
    [`dying`][].

    `whole`: all that the command writes into `out`, by name. Before each fork the files are others.
    """
    parent, moments, writes, at_work = os.getpid(), random.Random(0), itertools.count(1), []
    earlier = {name: content + b"\n" for name, content in whole.items()}
    mine: list[int] = []  # a fork's end of the pipe on which it tells of its writes

    def fork(most):
        for name, content in earlier.items():
            (out / name).write_bytes(content)
        reading, writing = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of threads, which the fork does without
            child = os.fork()
        if child == 0:
            mine.append(writing)
            return
        os.close(writing)
        signs, seconds = moments.randint(1, most), moments.uniform(0, 2e-3)
        at_work.append(_killed(child, reading, signs, seconds))
        left = contents(out)
        odd = [name for name in whole if left[name] not in (earlier[name], whole[name])]
        assert not odd, odd

    def mkstemp(**options):
        at = next(writes)
        for _ in range(0 if mine or at not in stages else kills):
            fork(stages[at])
            if mine:
                break
        if mine:
            options["prefix"] = options["prefix"].replace(f"{parent}", f"{os.getpid()}")
            os.write(mine[0], b".")
        elif at == max(stages):
            raise Killed
        return tempfile.mkstemp(**options)

    own = types.SimpleNamespace(**vars(tempfile) | {"mkstemp": mkstemp})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "tempfile", own)
        try:
            run()
        except Killed:
            assert sum(at_work) > len(at_work) / 2  # not runs that were over anyway
            return
        finally:
            if os.getpid() != parent:
                os._exit(0)
            files._tidied.clear()  # what follows is another process
    raise AssertionError(f"fewer than {max(stages)} writes")
