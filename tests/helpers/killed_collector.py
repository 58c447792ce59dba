"""A process that collects into a store and is killed repeatedly; run by test_killed.py.

Prints one JSON object of what was found. The package is imported once; what is killed are forks.
"""

import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from pathlib import Path

from stub_engines import StubEngine, plain_template, some_personas, some_questions

from syndigits_jax.respond.asking.collect import collect
from syndigits_jax.respond.requests import Decoding
from syndigits_jax.respond.store import responses as store_module
from syndigits_jax.respond.store.responses import ResponseStore, StoreError

PEOPLE, ASKED = some_personas(50), some_questions(30)
KILLS, LONGEST = 20, 0.12  # most seconds of life after the first answer
SECONDS_PER_ANSWER = 0.0004


def work(path, seconds=0.0, started=None):
    """Collect all that is missing; `started` is written to at the first answer."""

    class Engine(StubEngine):
        def stream(self, requests):
            for outcome in super().stream(requests):
                yield outcome
                if started is not None and len(self.asked) == 1:
                    os.write(started, b".")

    engine = Engine(seconds=seconds)
    return collect(engine, plain_template(), PEOPLE, ASKED, Decoding(orders=3), path)


def forked(function, *arguments):
    """The process that runs a function, and the end of a pipe on which it says that it began."""
    begun, started = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            function(*arguments, started=started)
            os._exit(0)
        except BaseException as error:
            print(type(error).__name__, error, file=sys.stderr)
            os._exit(1)
    os.close(started)
    return child, begun


def kill(child, begun, after, while_opening):
    """Kill it some time after it was made, or after its first answer; whether it was at work."""
    if not while_opening:
        os.read(begun, 1)
    time.sleep(after)
    os.close(begun)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def state(path):
    """How many responses a copy of the killed store has, and whether SQLite finds it sound."""
    copy = path.with_name("copy.db")
    for suffix in ("", "-wal", "-journal"):
        Path(f"{copy}{suffix}").unlink(missing_ok=True)
        if Path(f"{path}{suffix}").exists():
            shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    database = sqlite3.connect(copy)
    sound = database.execute("PRAGMA integrity_check").fetchone()[0]
    tables = database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
    count = database.execute("SELECT COUNT(*) FROM responses").fetchone()[0] if tables else 0
    database.close()
    return count, sound


def killed_again_and_again(path, moments):
    """A quarter of the processes die as they open the store, the first as it makes it; half of them
    commit as often as they can, so that some die while they commit."""
    found = []
    usual = store_module._SECONDS_BETWEEN_COMMITS
    for number in range(KILLS):
        rushed = number % 2 == 1
        store_module._SECONDS_BETWEEN_COMMITS = (1e-4, 1e-3) if rushed else usual
        child, begun = forked(work, path, SECONDS_PER_ANSWER)
        opening = number % 4 == 0
        after = moments.uniform(0, LONGEST / 10 if opening else LONGEST)
        at_work = kill(child, begun, after, opening)
        found.append([at_work, *state(path)])
    store_module._SECONDS_BETWEEN_COMMITS = usual
    return found


def hold(path, started):
    with ResponseStore(path):
        os.write(started, b".")
        time.sleep(60)


def refused_while_held(path):
    """What a second writer and a reader get, and what the next writer after the kill."""
    child, begun = forked(hold, path)
    os.read(begun, 1)
    refusal = ""
    try:
        ResponseStore(path).close()
    except StoreError as error:
        refusal = str(error)
    with ResponseStore(path, read_only=True) as reader:
        seen = reader.count()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(begun)
    with ResponseStore(path) as store:
        after = store.count()
    return {"refusal": refusal, "child": child, "seen": seen, "after": after}


def main(folder):
    moments = random.Random(0)
    kills = killed_again_and_again(folder / "killed.db", moments)
    last = work(folder / "killed.db")
    whole = work(folder / "whole.db")
    held = refused_while_held(folder / "whole.db")
    print(
        json.dumps(
            {
                "planned": whole.planned,
                "kills": kills,
                "last": [last.already, last.asked, last.missing],
                "held": held,
                "files": sorted(path.name for path in folder.iterdir()),
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
