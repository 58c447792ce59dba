"""A store whose files are removed while open, or that cannot commit: errors state what is safe."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from open_stores import SAFE, filled, first_error, open_store, response
from stub_engines import StubEngine, plain_template, some_personas, some_questions

from syndigits_jax.respond import StoreError
from syndigits_jax.respond.asking.collect import collect
from syndigits_jax.respond.requests import Decoding
from syndigits_jax.respond.store.responses import ResponseStore

OTHER_PROCESS = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as database:
    database.execute("CREATE TABLE mine (x)")
    database.execute("INSERT INTO mine VALUES (1)")
"""


def elsewhere(path):
    return subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS, str(path)], check=True, capture_output=True
    )


def journals(path):
    return [path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-shm")]


def folder_removed(path):
    shutil.rmtree(path.parent)


def folder_moved(path):
    path.parent.rename(path.parent.with_name("moved"))


def folder_made_anew(path):
    shutil.rmtree(path.parent)
    path.parent.mkdir()


def folder_is_a_file(path):
    shutil.rmtree(path.parent)
    path.parent.write_text("")


def folder_links_elsewhere(path):
    folder_moved(path)
    other = path.parent.with_name("other")
    other.mkdir()
    filled(other / path.name, 1)[0].close()
    path.parent.symlink_to(other)


def file_removed(path):
    path.unlink()


def file_moved(path):
    path.rename(path.with_name("moved.db"))


def file_replaced(path):
    other = path.with_name("other.db")
    filled(other, 1)[0].close()
    other.replace(path)


def file_made_anew_by_another_process(path):
    path.unlink()
    elsewhere(path)


def file_truncated(path):
    os.truncate(path, 0)


def file_cut(path):
    os.truncate(path, path.stat().st_size // 2)


def file_overwritten(path):
    other = path.with_name("other.db")
    filled(other, 1)[0].close()
    shutil.copyfile(other, path)


def journal_removed(path):
    journals(path)[0].unlink()


def index_removed(path):
    journals(path)[1].unlink()


def journals_removed(path):
    for journal in journals(path):
        journal.unlink()


def journal_replaced(path):
    journal = journals(path)[0]
    copy = journal.with_name("copy")
    shutil.copyfile(journal, copy)
    copy.replace(journal)


def journal_truncated(path):
    os.truncate(journals(path)[0], 0)


def journal_cut(path):
    os.truncate(journals(path)[0], journals(path)[0].stat().st_size - 100)


def lock_removed(path):
    path.with_name(f"{path.name}.lock").unlink()


def lock_replaced(path):
    lock_removed(path)
    path.with_name(f"{path.name}.lock").write_text("4321")


# What happened, words of the message, and where the committed answers are after it.
CASES = {
    folder_removed: ("the file was removed", None),
    folder_moved: (r"the file was moved to .*moved/r\.db", "../moved/r.db"),
    folder_made_anew: ("the file was removed", None),
    folder_is_a_file: ("the file was removed", None),
    folder_links_elsewhere: (r"the file was moved to .*another file is in its place",
                             "../moved/r.db"),
    file_removed: ("the file was removed", None),
    file_moved: (r"the file was moved to .*moved\.db", "moved.db"),
    file_replaced: ("removed while it was open, and another file is in its place", None),
    file_made_anew_by_another_process: ("and another file is in its place", None),
    file_truncated: ("the file was truncated", None),
    file_cut: ("the file was truncated", None),
    file_overwritten: ("the file was truncated|the file was overwritten", None),
    journal_removed: ("its journal .*-wal was removed", "r.db"),
    index_removed: ("its journal .*-shm was removed", "r.db"),
    journals_removed: ("its journal .*-wal was removed", "r.db"),
    journal_replaced: ("its journal .*-wal was replaced", None),
    journal_truncated: ("its journal .*-wal was truncated", None),
    journal_cut: ("its journal .*-wal was truncated", None),
    lock_removed: ("its lock file .* was removed", "r.db"),
    lock_replaced: ("its lock file .* was replaced .*process 4321", "r.db"),
}  # fmt: skip


@pytest.mark.parametrize("happens", CASES, ids=lambda case: case.__name__)
def test_a_commit_that_would_end_nowhere_is_an_error(quiet, tmp_path, happens):
    words, survivor = CASES[happens]
    path, store, answer = open_store(tmp_path)
    happens(path)
    message = first_error(store, answer, words)
    assert f"committed: {SAFE} answers (the last at " in message or happens is file_truncated
    assert "run the same command again" in message.lower()
    if survivor is None:
        assert "safe" not in message
        return
    assert "safe in" in message
    where = path.parent / survivor if survivor[:2] != ".." else tmp_path / survivor[3:]
    with ResponseStore(where, read_only=True) as kept:
        assert kept.count() == SAFE
        assert list(kept.rows("PRAGMA integrity_check")) == [("ok",)]


@pytest.mark.parametrize("happens", CASES, ids=lambda case: case.__name__)
def test_so_it_is_with_nothing_left_to_commit(quiet, tmp_path, happens):
    """What was committed is not where it should be: `flush` and `close` do not pass over that."""
    words = CASES[happens][0]
    path, store, _ = open_store(tmp_path)
    happens(path)
    with pytest.raises(StoreError, match=words) as error:
        store.flush()
    assert "not saved" not in str(error.value)
    with pytest.raises(StoreError, match=words):
        store.close()
    store.close()


@pytest.mark.parametrize("happens", CASES, ids=lambda case: case.__name__)
def test_a_with_block_raises_it_once(quiet, tmp_path, happens):
    words = CASES[happens][0]
    path, store, answer = open_store(tmp_path)
    with pytest.raises(StoreError, match=words) as error, store:
        store.add(answer(1))
        happens(path)
    assert "not saved: 1 answer added since" in str(error.value)
    store.close()


def test_another_error_in_a_with_block_comes_first_and_names_what_is_lost(quiet, tmp_path):
    path, store, answer = open_store(tmp_path)
    with pytest.raises(KeyError) as error, store:
        store.add(answer(1))
        folder_removed(path)
        raise KeyError("mine")
    assert (
        "removed" in error.value.__notes__[0] and "not saved: 1 answer" in error.value.__notes__[0]
    )


def test_the_files_of_another_store_in_its_place_are_left_alone(quiet, tmp_path):
    """An open writer in the same place, with a journal and a lock of its own."""
    path, store, answer = open_store(tmp_path)
    folder_moved(path)
    second, run, persona, columns, session = filled(path, 2)
    first_error(store, answer, r"moved to .*another file is in its place")
    assert sorted(os.listdir(path.parent)) == ["r.db", "r.db-shm", "r.db-wal", "r.db.lock"]
    second.add(response(run, persona, columns[0], session, draw=5))
    second.close()
    with ResponseStore(path) as again:
        assert again.count() == 3
    with ResponseStore(tmp_path / "moved" / "r.db") as kept:
        assert kept.count() == SAFE


def test_a_folder_that_is_back_in_its_place_goes_on(quiet, tmp_path):
    path, store, answer = open_store(tmp_path)
    with store:
        store.add(answer(1))
        folder_moved(path)
        with pytest.raises(StoreError, match="moved"):
            store.flush()
        with pytest.raises(StoreError, match=r"moved.*not saved: 2 answers"):
            store.add(answer(2))
        path.parent.with_name("moved").rename(path.parent)
        store.flush()
        store.add(answer(3))
    with ResponseStore(path) as again:
        assert again.count() == SAFE + 3


def test_a_link_in_place_of_a_moved_folder_leads_to_the_same_file(tmp_path):
    path, store, answer = open_store(tmp_path)
    with store:
        folder_moved(path)
        path.parent.symlink_to(path.parent.with_name("moved"))
        store.add(answer(1))
    with ResponseStore(path) as again:
        assert again.count() == SAFE + 1


def test_a_relative_path_is_of_the_folder_it_was_opened_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store, run, persona, columns, session = filled("r.db", SAFE)
    with store:
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path / "other")
        store.add(response(run, persona, columns[0], session, draw=1))
    with ResponseStore(tmp_path / "r.db") as again:
        assert again.count() == SAFE + 1
    monkeypatch.chdir(tmp_path)
    unused = ResponseStore("unused.db")
    monkeypatch.chdir(tmp_path / "other")
    unused.close()
    assert sorted(os.listdir(tmp_path)) == ["other", "r.db"]


def test_the_background_notices_and_the_next_add_says_so(tmp_path):
    path, store, answer = open_store(tmp_path)
    store.add(answer(1))
    folder_removed(path)
    draws = iter(range(2, 10_000))
    pause = threading.Event()
    with pytest.raises(StoreError, match=r"removed.*not saved: \d+ answers"):
        while True:
            store.add(answer(next(draws)))
            pause.wait(0.01)
    with pytest.raises(StoreError, match="removed"):
        store.close()


def test_a_reader_whose_file_is_gone_says_so(tmp_path):
    path, store, _ = open_store(tmp_path)
    store.close()
    with ResponseStore(path, read_only=True) as reader:
        assert reader.count() == SAFE
        file_replaced(path)
        with pytest.raises(StoreError, match="another file is in its place"):
            reader.count()


def test_a_collection_stops_at_a_folder_that_is_gone(tmp_path):
    path = tmp_path / "folder" / "r.db"

    class Engine(StubEngine):
        def stream(self, requests):
            for outcome in super().stream(requests):
                yield outcome
                if len(self.asked) == 3:
                    shutil.rmtree(path.parent)

    with pytest.raises(StoreError, match=r"removed.*not saved: \d+ answer"):
        collect(Engine(), plain_template(), some_personas(3), some_questions(4), Decoding(), path)
    assert not path.exists()


# --- two writers ------------------------------------------------------------------------------


def test_a_moved_store_is_not_opened_twice_in_a_process(tmp_path):
    path, store, _ = open_store(tmp_path)
    folder_moved(path)
    moved = tmp_path / "moved" / "r.db"
    with pytest.raises(StoreError, match="this process is writing it"):
        ResponseStore(moved)
    assert moved.with_name("r.db.lock").exists()
    with pytest.raises(StoreError, match="moved"):
        store.close()
    with ResponseStore(moved) as again:
        assert again.count() == SAFE


HELPERS = Path(__file__).parents[1] / "helpers"
SECOND_WRITER = """
import sys
sys.path[:0] = sys.argv[2:]
from open_stores import response
from syndigits_jax.respond.store.responses import ResponseStore
with ResponseStore(sys.argv[1]) as store:
    store.add(response(1, 1, 2, 1, draw=77))
print("done")
"""


def test_two_writers_after_the_lock_was_removed(quiet, tmp_path):
    """The first one stops; neither loses what it committed."""
    path, store, answer = open_store(tmp_path)
    lock_removed(path)
    run = subprocess.run(
        [sys.executable, "-c", SECOND_WRITER, path, HELPERS],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.stdout == "done\n", run.stderr
    first_error(store, answer, "its lock file .* was removed")
    with ResponseStore(path) as again:
        assert again.count() == SAFE + 1


def test_reading_in_the_same_process_leaves_the_locks_alone(tmp_path):
    """Closing any handle of a file drops the locks that the process has on it; another process
    then takes itself for the last one, and removes the journal that is being written."""
    path, store, answer = open_store(tmp_path)
    with store:
        for draw in (1, 2):
            with ResponseStore(path, read_only=True) as reader:
                assert reader.count() == SAFE + draw - 1
            subprocess.run(
                [sys.executable, "-c",
                 "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]);"
                 "d.execute('SELECT COUNT(*) FROM responses').fetchone(); d.close()", path],
                check=True,
            )  # fmt: skip
            assert journals(path)[0].exists()
            store.add(answer(draw))
            store.flush()
    with ResponseStore(path) as again:
        assert again.count() == SAFE + 2


def test_another_program_may_merge_the_journal(quiet, tmp_path):
    path, store, answer = open_store(tmp_path)
    with store:
        for draw, mode in enumerate(("PASSIVE", "FULL", "RESTART", "TRUNCATE"), start=1):
            subprocess.run(
                [sys.executable, "-c",
                 "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]);"
                 f"d.execute('PRAGMA wal_checkpoint({mode})').fetchone(); d.close()", path],
                check=True,
            )  # fmt: skip
            os.utime(path)
            store.add(answer(draw)._replace(text="x" * 20_000))  # so that the file grows
            store.flush()
    with ResponseStore(path) as again:
        assert again.count() == SAFE + 4
