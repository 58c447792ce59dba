"""A process that dies while it writes a file, without a process.

At the given write the temporary file is cut in half, and nothing is tidied up: what follows in the
program is an exception that no code of the package catches. What a test then finds on disk is what
a kill leaves; real kills of whole processes are in tests/respond/test_killed.py and
tests/cli/test_evaluate_command.py.
"""

import contextlib
import os
import types

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
