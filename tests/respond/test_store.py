"""The response store: which files it opens, which it refuses, and what it returns."""

import os
import shutil
import sqlite3
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from open_stores import STUB, filled, response
from stub_engines import plain_template, some_personas, some_questions

from syndigits_jax.respond.contents import (
    persona_from_json,
    persona_json,
    question_from_json,
    question_json,
    settings_json,
)
from syndigits_jax.respond.requests import Decoding, EngineIdentity
from syndigits_jax.respond.store import responses as store_module
from syndigits_jax.respond.store.responses import ResponseStore, StoreError
from syndigits_jax.schema import Option, Persona, Question, Scale


def test_what_was_closed_is_one_file_and_reads_back(tmp_path):
    path = tmp_path / "folder" / "r.db"
    filled(path)[0].close()
    assert os.listdir(path.parent) == ["r.db"]
    with ResponseStore(path, read_only=True) as store:
        assert store.count() == 3
        (run,) = store.runs()
        assert (run.model, run.template, run.readout) == ("m", "plain", "probabilities")
    assert os.listdir(path.parent) == ["r.db"]


def test_a_response_is_kept_once(tmp_path):
    store, run, persona, columns, session = filled(tmp_path / "r.db")
    with store:
        store.add(response(run, persona, columns[0], session, text="another"))
        store.flush()
        assert [text for (text,) in store.rows("SELECT text FROM responses")] == ["3"] * 3


def test_equal_content_has_one_number_and_other_content_another(tmp_path):
    with ResponseStore(tmp_path / "r.db") as store:

        def run(version="1", model="m", **settings):
            identity = EngineIdentity(model, "stub", "whatever")
            return store.register_run(plain_template(version), identity, Decoding(**settings))

        first = run()
        assert run() == first == run(seed=5) == run(orders=3) == run(max_tokens=7)
        text = {"readout": "text", "temperature": 0.5}
        others = [run("2"), run(model="n"), run(readout="choice"), run(**text)]
        others += [run(**text, seed=1), run(**text, max_tokens=7), run(**text, top_p=0.9)]
        assert len({first, *others}) == 8
        assert run(**text, draws=4) == others[3]
        persona = Persona("p", "text", {"a": "1"}, {"q": "line"})
        variants = [Persona("p", "text"), Persona("p", "other"), Persona("o", "text"), persona]
        question = Question("q", "text", (Option(1, "a"), Option(2, "b")))
        people, asked = store.register_grid(first, variants, [question, question], [[], []])
        assert len(set(people)) == 4 and asked[0] == asked[1]
        again, _ = store.register_grid(first, variants[::-1], [question], [[]])
        assert again == people[::-1]
        grid = store.grid(first)
        assert list(grid.personas.values()) == variants[::-1]
        assert list(grid.questions.values()) == [question]


def test_settings_are_those_that_change_answers():
    assert settings_json(Decoding()) == settings_json(Decoding(temperature=1.0, seed=3))
    assert settings_json(Decoding("text")) == settings_json(Decoding("text", seed=3))
    sampled = Decoding("sample", temperature=1.0)
    assert settings_json(sampled) != settings_json(Decoding("sample", temperature=1.0, seed=3))


anything = st.text(max_size=8)


@settings(max_examples=10)
@given(
    st.builds(
        Persona,
        identifier=anything.filter(bool),
        text=anything,
        attributes=st.dictionaries(anything, anything, max_size=2),
        answers=st.dictionaries(anything, anything, max_size=2),
    ),
    anything,
)
def test_personas_and_questions_survive_json(persona, text):
    assert persona_from_json(persona_json(persona)) == persona
    question = Question(
        "q" + text, text, (Option(1, text), Option(2.5, "b"), Option(99, "c")),
        scale=Scale(1, 5, None, "interval"), refusal=99.0, reverse_coded=True, block=text,
        item={"title": text},
    )  # fmt: skip
    assert question_from_json(question_json(question)) == question
    assert question_from_json(question_json(Question("q"))) == Question("q")


# --- what it refuses --------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"id,text\n1,2\n", b"SQLite format 2\0 and more"])
@pytest.mark.parametrize("read_only", [False, True])
def test_another_file_is_refused_and_left_alone(tmp_path, content, read_only):
    path = tmp_path / "r.db"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a response store"):
        ResponseStore(path, read_only=read_only)
    assert path.read_bytes() == content and os.listdir(tmp_path) == ["r.db"]


def test_another_sqlite_file_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "r.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE mine (x)")
    other.close()
    before = path.read_bytes()
    for read_only in (True, False):
        with pytest.raises(ValueError, match="but not a response store"):
            ResponseStore(path, read_only=read_only)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["r.db"]


def test_other_bad_paths(tmp_path):
    with pytest.raises(ValueError, match="a folder"):
        ResponseStore(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such response store"):
        ResponseStore(tmp_path / "none.db", read_only=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        ResponseStore(tmp_path / "file" / "r.db")
    with pytest.raises(ValueError, match="empty"):
        ResponseStore(tmp_path / "file", read_only=True)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path):
    filled(tmp_path / "r.db")[0].close()
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OSError, match=r"new\.db"):
            ResponseStore(tmp_path / "new.db")
        with ResponseStore(tmp_path / "r.db", read_only=True) as store:
            assert store.count() == 3
    finally:
        tmp_path.chmod(0o700)


def test_a_newer_version_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "r.db"
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "VERSION", store_module.VERSION + 1)
        filled(path)[0].close()
    for read_only in (True, False):
        with pytest.raises(ValueError, match="newer version"):
            ResponseStore(path, read_only=read_only)


def test_a_damaged_store_says_so(tmp_path):
    path = tmp_path / "r.db"
    filled(path, 200)[0].close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * len(content[4096:])
    path.write_bytes(content)
    damaged = pytest.raises(StoreError, match=r"r\.db: the store is damaged")
    with damaged, ResponseStore(path, read_only=True) as store:
        store.runs()
        store.count()


def test_an_empty_file_becomes_a_store_and_an_unused_new_one_goes(tmp_path):
    path = tmp_path / "r.db"
    path.touch()
    filled(path)[0].close()
    with ResponseStore(path, read_only=True) as store:
        assert store.count() == 3
    ResponseStore(tmp_path / "unused.db").close()
    assert os.listdir(tmp_path) == ["r.db"]


def test_a_closed_store_says_so(tmp_path):
    store = filled(tmp_path / "r.db")[0]
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.runs()


# --- several at once --------------------------------------------------------------------------


def test_a_second_writer_of_this_process_is_refused(tmp_path):
    path = tmp_path / "r.db"
    link = tmp_path / "link.db"
    with filled(path)[0] as store:
        link.symlink_to(path)
        for other in (path, link):
            with pytest.raises(StoreError, match="this process is writing it"):
                ResponseStore(other)
        store.register_session(1, STUB)  # the first goes on undisturbed
    with ResponseStore(link) as store:
        assert store.count() == 3


def test_readers_see_what_is_committed_while_one_writes(tmp_path):
    path = tmp_path / "r.db"
    store, run, persona, _, session = filled(path, 2)
    with store, ResponseStore(path, read_only=True) as reader:
        reading = reader.keys(run)
        next(reading)  # a reader in the middle does not hold the writer up
        store.register_grid(run, some_personas(1), some_questions(3), [[]] * 3)
        store.add(response(run, persona, 3, session))
        store.flush()
        assert len(list(reading)) == 1  # it sees one state throughout
        assert reader.count() == 3


def test_what_is_added_is_committed_though_nothing_follows(tmp_path):
    path = tmp_path / "r.db"
    store, run, persona, columns, session = filled(path, 1)
    with store:
        store.add(response(run, persona, columns[1], session))
        committed = threading.Event()
        with ResponseStore(path, read_only=True) as reader:
            while reader.count() < 2:
                committed.wait(0.01)


# --- what a crash leaves ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def torn(tmp_path_factory):
    """The files of a store as they are at a kill, after ten commits of one response each."""
    folder = tmp_path_factory.mktemp("torn")
    store, run, persona, columns, session = filled(folder / "r.db", 0)
    columns = store.register_grid(run, some_personas(1), some_questions(10), [[]] * 10)[1]
    for column in columns:
        store.add(response(run, persona, column, session))
        store.flush()
    copy = tmp_path_factory.mktemp("copy")
    for name in ("r.db", "r.db-wal"):
        shutil.copy(folder / name, copy / name)
    store.close()
    return copy


@settings(max_examples=10)
@given(st.integers(0, 60_000), st.booleans())
def test_a_torn_end_is_healed(torn, tmp_path_factory, lost, garbage):
    """Whatever end of the journal is lost or overwritten: whole commits stay, in order."""
    folder = tmp_path_factory.mktemp("t")
    for name in ("r.db", "r.db-wal"):
        shutil.copy(torn / name, folder / name)
    journal = folder / "r.db-wal"
    size = journal.stat().st_size
    lost = min(lost, size)
    with journal.open("r+b") as file:
        file.truncate(size - lost)
        if garbage:
            file.seek(0, os.SEEK_END)
            file.write(b"\x5a" * lost)
    with ResponseStore(folder / "r.db") as store:
        kept = [question for _, question, _, _ in store.keys(1)]
        assert kept == list(range(1, 1 + len(kept)))
        if lost == 0:
            assert len(kept) == 10
        if lost < 2 * 4096:
            assert len(kept) >= 9
        assert list(store.rows("PRAGMA integrity_check")) == [("ok",)]
        if store.runs():
            for question in range(1, 11):
                store.add(response(1, 1, question, 1))
            store.flush()
            assert store.count() == 10


def test_a_full_disk_keeps_what_was_committed(tmp_path):
    store, run, persona, columns, session = filled(tmp_path / "r.db", 2)
    full = pytest.raises(StoreError, match="the disk is full; what was committed is kept")
    with full, store:
        limited = store._connection
        assert limited is not None
        pages = limited.execute("PRAGMA page_count").fetchone()[0]
        limited.execute(f"PRAGMA max_page_count = {pages}")
        for draw in range(1, 1000):
            store.add(response(run, persona, columns[0], session, "x" * 100, draw=draw))
        store.flush()
    with ResponseStore(tmp_path / "r.db") as again:
        assert again.count() == 2
        again.add(response(run, persona, columns[0], session, "x" * 100, draw=1))
        again.flush()
        assert again.count() == 3
