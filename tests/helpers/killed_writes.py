"""Processes that die while they write a file, without a process ([`dying`][]) or as forks
([`kill_forks`][]).

Without a process the temporary file is cut in half at the given write, and nothing is tidied up:
what follows in the program is an exception that no code of the package catches. What a test then
finds on disk is what a kill leaves. Kills while a command computes are in
tests/respond/test_killed.py and tests/cli/test_evaluate_command.py.
"""

import contextlib
import itertools
import os
import random
import select
import signal
import tempfile
import time
import types
import warnings

import pytest

from syndigits_jax.results import files


class Killed(BaseException):
    """The end of the process."""


@contextlib.contextmanager
def dying(at=None):
    """While it lasts, the write number `at` (from 1) kills; yields the list of files written."""
    written = []
    own = types.SimpleNamespace(**vars(os))

    def replace(temporary, target):
        if len(written) + 1 == at:
            os.truncate(temporary, os.path.getsize(temporary) // 2)
            patch.setattr(files, "_remove", lambda *_: None)
            raise Killed
        os.replace(temporary, target)
        written.append(os.fspath(target))

    own.replace = replace
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "os", own)
        yield written


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
        for _ in range(moments.randint(1, most)):
            if not (select.select([reading], [], [], 60)[0] and os.read(reading, 1)):
                break
        time.sleep(moments.uniform(0, 2e-3))
        os.kill(child, signal.SIGKILL)
        at_work.append(os.WIFSIGNALED(os.waitpid(child, 0)[1]))
        os.close(reading)
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
    raise AssertionError(f"fewer than {max(stages)} writes")
