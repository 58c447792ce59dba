"""Failed commits, and answers that cannot be stored: every loss is reported."""

import os
import re
import sqlite3
import threading

import pytest
from open_stores import SAFE, filled, first_error, open_store, response
from stub_engines import StubEngine, plain_template, some_personas, some_questions

from syndigits_jax.respond import StoreError
from syndigits_jax.respond.asking.collect import collect
from syndigits_jax.respond.requests import Completion, Decoding
from syndigits_jax.respond.store.responses import ResponseStore

FAILURES = [
    OSError(5, "Input/output error"), PermissionError(13, "Permission denied"),
    ValueError("no such thing"), sqlite3.OperationalError("disk I/O error"),
    sqlite3.DatabaseError("malformed"), sqlite3.ProgrammingError("misuse"), MemoryError(),
    OverflowError("too large"), StoreError("the store is damaged"),
]  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES, ids=lambda error: type(error).__name__)
def test_any_failure_of_a_commit_reaches_the_caller(tmp_path, monkeypatch, failure):
    path, store, answer = open_store(tmp_path)

    def fails(*_):
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(ResponseStore, "_transaction", fails)
        store.add(answer(1))
        assert store._committer is not None
        store._committer.join(60)
        assert not store._committer.is_alive()
        words = re.escape(str(failure) or type(failure).__name__)
        for told, waiting in ((lambda: store.add(answer(2)), 2), (store.flush, 2)):
            with pytest.raises(StoreError, match=words) as error:
                told()
            assert f"not saved: {waiting} answers added since" in str(error.value)
            assert str(path) in str(error.value)
    store.flush()  # nothing was dropped, and it commits again
    store.add(answer(3))
    store.close()
    with ResponseStore(path) as again:
        assert again.count() == SAFE + 3


@pytest.mark.parametrize("failure", FAILURES, ids=lambda error: type(error).__name__)
def test_a_failure_at_the_close_is_told_once(quiet, tmp_path, monkeypatch, failure):
    path, store, answer = open_store(tmp_path)

    def fails(*_):
        raise failure

    monkeypatch.setattr(ResponseStore, "_transaction", fails)
    with pytest.raises(StoreError, match="not saved: 1 answer added since"), store:
        store.add(answer(1))
    store.close()
    monkeypatch.undo()
    with ResponseStore(path) as again:  # its lock is released, and what was committed is there
        assert again.count() == SAFE


def test_a_failing_flush_of_any_kind_does_not_end_in_silence(tmp_path, monkeypatch):
    _, store, answer = open_store(tmp_path)

    def fails(*_):
        raise KeyError("unheard of")

    monkeypatch.setattr(store, "flush", fails)
    store.add(answer(1))
    assert store._committer is not None
    store._committer.join(60)
    with pytest.raises(StoreError, match=r"unheard of.*not saved: 2 answers"):
        store.add(answer(2))
    monkeypatch.undo()
    store.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"text": "\ud800"}, {"text": None}, {"text": 3}, {"finish_reason": None},
        {"prompt_tokens": 2**63}, {"prompt_tokens": None}, {"cached_tokens": 1.5},
        {"value": "x"}, {"probabilities": "x"}, {"draw": None}, {"status": b"answered"},
        {"time": float("nan")}, {"value": 10**400},
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_stored_is_refused_where_it_is_added(tmp_path, changes):
    """Not in the background, where it would take everything else with it; nor dropped unsaid."""
    path, store, answer = open_store(tmp_path)
    with store:
        store.add(answer(1))
        with pytest.raises(ValueError, match=f"`{next(iter(changes))}` of a response must be"):
            store.add(answer(2)._replace(**changes))
        store.add(answer(3))
    with ResponseStore(path) as again:
        assert again.count() == SAFE + 2


def test_numpy_numbers_are_stored(tmp_path):
    import numpy as np

    path, store, answer = open_store(tmp_path)
    with store:
        store.add(answer(np.int64(1))._replace(value=np.float64(0.1), prompt_tokens=np.int32(7)))
    with ResponseStore(path) as again:
        rows = again.rows("SELECT value, prompt_tokens FROM responses WHERE draw = 1")
        assert list(rows) == [(0.1, 7)]


@pytest.mark.parametrize("odd", ["\ud800", 10**30])
def test_an_odd_completion_is_a_failure_of_its_own(tmp_path, odd):
    """Half a character in a finish reason is mended; more tokens than there are is no answer."""

    def answer(request):
        broken = len(engine.asked) == 2
        reason = odd if broken and isinstance(odd, str) else "stop"
        tokens = odd if broken and isinstance(odd, int) else 1
        return Completion("1", None, reason, tokens, 1, 0)

    engine = StubEngine(answer=answer)
    path = tmp_path / "r.db"
    asked = (plain_template(), some_personas(2), some_questions(3), Decoding("choice"), path)
    report = collect(engine, *asked)
    lost = isinstance(odd, int)
    assert (report.answered, report.failed) == (6 - lost, int(lost))
    assert lost <= ("`prompt_tokens`" in " ".join(report.reasons))
    with ResponseStore(path) as store:
        assert store.count() == 6 - lost


def test_a_store_for_reading_takes_nothing(tmp_path):
    path, store, answer = open_store(tmp_path)
    store.close()
    with ResponseStore(path, read_only=True) as reader:
        for write in (lambda: reader.add(answer(1)), reader.flush):
            with pytest.raises(StoreError, match="for reading only"):
                write()


def test_what_is_flushed_within_a_transaction_that_fails_is_not_lost(quiet, tmp_path):
    path, store, answer = open_store(tmp_path)
    with store:
        with pytest.raises(KeyError), store.together():
            store.add(answer(1))
            store.flush()
            raise KeyError
        with store.together(), pytest.raises(StoreError, match="not within"):
            store.close()
        store.add(answer(2))
    with ResponseStore(path) as again:
        assert again.count() == SAFE + 2


def test_closing_while_the_background_commits_does_not_lock_up(tmp_path, monkeypatch):
    from syndigits_jax.respond.store import responses as module

    monkeypatch.setattr(module, "_SECONDS_BETWEEN_COMMITS", (1e-5, 1e-4))
    for turn in range(20):
        path = tmp_path / f"{turn}.db"
        store, run, persona, columns, session = filled(path, 1)
        for draw in range(1, 40):
            store.add(response(run, persona, columns[0], session, draw=draw))
            if draw % 7 == 0:
                with store.together():
                    store.add(response(run, persona, columns[1], session, draw=draw))
        if turn % 2:
            path.unlink()
        closer = threading.Thread(target=lambda store=store: _closed(store))
        closer.start()
        closer.join(60)
        assert not closer.is_alive()


def _closed(store):
    try:
        store.close()
    except StoreError:
        store.close()


def test_room_that_is_made_again(quiet, tmp_path):
    path, store, answer = open_store(tmp_path)
    with store:
        limited = store._connection
        assert limited is not None
        limited.execute("PRAGMA max_page_count = 1")
        for draw in range(1, 100):
            store.add(answer(draw)._replace(text="x" * 1000))
        with pytest.raises(StoreError, match=r"the disk is full.*not saved: 99 answers"):
            store.flush()
        limited.execute("PRAGMA max_page_count = 100000")
    with ResponseStore(path) as again:
        assert again.count() == SAFE + 99


# --- permissions ---------------------------------------------------------------------


@pytest.fixture
def nobody(tmp_path):
    """An unprivileged user, because permissions do not restrict the superuser."""
    if os.geteuid() == 0:
        for folder in (tmp_path, *tmp_path.parents):
            if not os.stat(folder).st_mode & 0o001:
                folder.chmod(0o755)
        os.chown(tmp_path, 65534, -1)
        os.seteuid(65534)
        yield
        os.seteuid(0)
    else:
        yield


def test_permission_that_is_withdrawn(quiet, tmp_path, nobody):
    path, store, answer = open_store(tmp_path)
    path.parent.chmod(0)
    try:
        first_error(store, answer, "cannot be reached any more")
    finally:
        path.parent.chmod(0o700)
    with ResponseStore(path) as again:
        assert again.count() == SAFE


def test_a_folder_without_room_for_new_files_keeps_what_is_added(quiet, tmp_path, nobody):
    """What is open may still be written: the answers are where the path says."""
    path, store, answer = open_store(tmp_path)
    path.parent.chmod(0o500)
    try:
        store.add(answer(1))
        store.close()
    finally:
        path.parent.chmod(0o700)
    with ResponseStore(path) as again:
        assert again.count() == SAFE + 1
