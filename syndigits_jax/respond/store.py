"""The response store: every answer, in an SQLite file that survives whatever ends the program."""

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..schema import Persona, Question
from ._writer_lock import WriterLock
from .contents import (
    content_hash,
    persona_from_json,
    persona_json,
    question_from_json,
    question_json,
    settings_json,
)
from .requests import Decoding, EngineIdentity

VERSION = 1
"""Of the tables; a store of a newer version is refused."""

_APPLICATION = 0x53796E44  # "SynD": what tells our files from other SQLite files
_WAIT_SECONDS = 60.0
_LONGEST_BUFFER = 4096
_SECONDS_BETWEEN_COMMITS = (0.05, 1.0)
_COMMIT_SHARE = 0.02  # of the time, at most, goes to waiting for the disk
_TABLES = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, template TEXT NOT NULL,
    template_version TEXT NOT NULL, template_hash TEXT NOT NULL, model TEXT NOT NULL,
    settings TEXT NOT NULL
);
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs, engine TEXT NOT NULL,
    engine_version TEXT NOT NULL, package_version TEXT NOT NULL, started REAL NOT NULL
);
CREATE TABLE personas (
    id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, identifier TEXT NOT NULL,
    content TEXT NOT NULL
);
CREATE TABLE questions (
    id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, identifier TEXT NOT NULL,
    content TEXT NOT NULL
);
CREATE TABLE grids (
    run INTEGER NOT NULL REFERENCES runs, kind TEXT NOT NULL, position INTEGER NOT NULL,
    id INTEGER NOT NULL, PRIMARY KEY (run, kind, position)
) WITHOUT ROWID;
CREATE TABLE answers (
    run INTEGER NOT NULL REFERENCES runs, question INTEGER NOT NULL REFERENCES questions,
    answers TEXT NOT NULL, PRIMARY KEY (run, question)
) WITHOUT ROWID;
CREATE TABLE responses (
    run INTEGER NOT NULL REFERENCES runs, persona INTEGER NOT NULL REFERENCES personas,
    question INTEGER NOT NULL REFERENCES questions, shown TEXT NOT NULL, draw INTEGER NOT NULL,
    session INTEGER NOT NULL REFERENCES sessions, text TEXT NOT NULL, value REAL,
    status TEXT NOT NULL, probabilities BLOB, outside REAL, finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL, time REAL NOT NULL,
    PRIMARY KEY (run, persona, question, shown, draw)
) WITHOUT ROWID;
"""


class StoreError(RuntimeError):
    """The store cannot be written, or is damaged; the message says what to do."""


class Response(NamedTuple):
    """One answer, as a row of the table `responses`.

    `run`, `persona`, `question` number rows of the other tables, each of which is found by a hash
    of its content: template, model and decoding settings; everything the persona says; everything
    the question says. With `shown` (the sequence in which options were shown, "" as they are) and
    `draw` these are the key. `probabilities` are float32, one per answer (table `answers`),
    renormalised; `outside` is the mass that fell on no answer. `time`: seconds since 1970.
    """

    run: int
    persona: int
    question: int
    shown: str
    draw: int
    session: int
    text: str
    value: float | None
    status: str
    probabilities: bytes | None
    outside: float | None
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    time: float


_INSERT = f"INSERT OR IGNORE INTO responses VALUES ({', '.join('?' * len(Response._fields))})"


@dataclass(frozen=True)
class Run:
    """What all responses of a run share: the template, the model and the decoding settings."""

    id: int
    template: str
    template_version: str
    template_hash: str
    model: str
    settings: dict[str, Any]

    @property
    def readout(self) -> str:
        """How answers were read."""
        return self.settings["readout"]

    def __str__(self) -> str:
        rest = ", ".join(f"{k} {v}" for k, v in self.settings.items() if k != "readout")
        return (
            f"{self.template} {self.template_version} ({self.template_hash[:8]}), "
            f"model {self.model}, readout {self.readout}" + (f", {rest}" if rest else "")
        )


class ResponseStore:
    """A file of responses. Use it as a context manager.

    What is committed stays, whenever and however the program ends; a record that was being written
    then is gone as a whole. What is added is committed in the background, within a second at most,
    whether more comes or not. Others may read while one writes. At rest it is one file; while it
    is written, and after a kill, `PATH-wal` beside it belongs to it and must move with it. A new
    store in which nothing was registered leaves no file.

    **Arguments:** `path`: made if it is not there, with its folder. `read_only`: it must be there.

    **Raises:** `ValueError` if the file is no response store, or of a newer version;
    `FileNotFoundError` (`read_only`); `StoreError` if another process is writing it, or it is
    damaged; `OSError` naming the path if it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str], *, read_only: bool = False):
        self.path = Path(path)
        self.read_only = read_only
        self._pending: list[Response] = []
        self._wait = _SECONDS_BETWEEN_COMMITS[0]
        self._writing = threading.RLock()
        self._closing = threading.Event()
        self._committer: threading.Thread | None = None
        self._failure: StoreError | None = None
        self._created = False
        self._lock: WriterLock | None = None
        self._connection: sqlite3.Connection | None = None
        _check_file(self.path, read_only)
        try:
            if not read_only:
                self._acquire()
            with self._errors():
                self._open()
        except BaseException:
            self._abandon()
            raise

    # --- writing ------------------------------------------------------------------------------

    def together(self) -> contextlib.AbstractContextManager[Any]:
        """What is registered within is there as a whole or not at all."""
        return self._transaction()

    def register_run(self, template: Any, identity: EngineIdentity, decoding: Decoding) -> int:
        """The number of the run of this template, model and settings, a new one if need be."""
        names = (template.name, str(template.version), template.hash, identity.model)
        settings = settings_json(decoding)
        digest = content_hash("\0".join((*names, settings)))
        with self._transaction() as database:
            database.execute(
                "INSERT OR IGNORE INTO runs (hash, template, template_version, template_hash, "
                "model, settings) VALUES (?, ?, ?, ?, ?, ?)",
                (digest, *names, settings),
            )
            return database.execute("SELECT id FROM runs WHERE hash = ?", (digest,)).fetchone()[0]

    def register_session(self, run: int, identity: EngineIdentity) -> int:
        """The number of a new session, which says what answered, in which version, since when."""
        from .. import __version__

        with self._transaction() as database:
            cursor = database.execute(
                "INSERT INTO sessions (run, engine, engine_version, package_version, started) "
                "VALUES (?, ?, ?, ?, ?)",
                (run, identity.engine, identity.version, __version__, time.time()),
            )
            return int(cursor.lastrowid or 0)

    def register_grid(
        self,
        run: int,
        personas: Sequence[Persona],
        questions: Sequence[Question],
        answers: Sequence[Any],
    ) -> tuple[list[int], list[int]]:
        """The numbers of `personas` and `questions`, which become the run's grid: what was asked
        of whom by the latest call, in this order, and what an export has a cell for.

        `answers`: per question the [value, words] of each answer, in the order of probabilities.
        """
        with self._transaction() as database:
            rows = [
                (content_hash(text), persona.identifier, text)
                for persona, text in ((p, persona_json(p)) for p in personas)
            ]
            persona_ids = _registered(database, "personas", rows)
            rows = [
                (content_hash(text), question.identifier, text)
                for question, text in ((q, question_json(q)) for q in questions)
            ]
            question_ids = _registered(database, "questions", rows)
            database.execute("DELETE FROM grids WHERE run = ?", (run,))
            for kind, ids in (("personas", persona_ids), ("questions", question_ids)):
                database.executemany(
                    "INSERT INTO grids VALUES (?, ?, ?, ?)",
                    ((run, kind, position, number) for position, number in enumerate(ids)),
                )
            database.executemany(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)",
                ((run, q, json.dumps(one)) for q, one in zip(question_ids, answers)),
            )
        return persona_ids, question_ids

    def add(self, response: Response) -> None:
        """Keep a response; one that is there already stays as it is.

        **Raises:** `StoreError` if what was added before could not be committed.
        """
        if self._failure is not None:
            raise self._failure
        self._pending.append(response)
        if self._committer is None:
            self._committer = threading.Thread(target=self._commit_regularly, daemon=True)
            self._committer.start()
        if len(self._pending) >= _LONGEST_BUFFER:
            self.flush()

    def flush(self) -> None:
        """Commit what was added. **Raises:** `StoreError` if the disk is full; all that was
        committed before is kept."""
        with self._writing:
            batch = self._pending[:]
            if not batch:
                return
            start = time.monotonic()
            with self._transaction() as database:
                database.executemany(_INSERT, batch)
            del self._pending[: len(batch)]
            # A slow disk is asked less often, but at least once a second.
            least, most = _SECONDS_BETWEEN_COMMITS
            self._wait = min(most, max(least, (time.monotonic() - start) / _COMMIT_SHARE))

    def _commit_regularly(self) -> None:
        while not self._closing.wait(self._wait):
            try:
                self.flush()
            except StoreError as error:
                self._failure = error  # for whoever adds next
                return

    def close(self) -> None:
        """Commit and close; it may be closed twice."""
        if self._connection is None:
            return
        try:
            self._closing.set()
            if self._committer is not None:
                self._committer.join()
            if not self.read_only:
                self.flush()
        finally:
            self._abandon()

    # --- reading ------------------------------------------------------------------------------

    def runs(self) -> tuple[Run, ...]:
        """All runs, oldest first."""
        names = "id, template, template_version, template_hash, model, settings"
        rows = self.rows(f"SELECT {names} FROM runs ORDER BY id")
        return tuple(
            Run(number, *of, settings=json.loads(settings)) for number, *of, settings in rows
        )

    def count(self, run: int | None = None) -> int:
        """How many responses are committed, of one run or of all."""
        where = "" if run is None else "WHERE run = ?"
        arguments = () if run is None else (run,)
        return next(self.rows(f"SELECT COUNT(*) FROM responses {where}", arguments))[0]

    def keys(self, run: int) -> Iterator[tuple[int, int, str, int]]:
        """(persona, question, shown, draw) of the responses of a run."""
        return self.rows(
            "SELECT persona, question, shown, draw FROM responses WHERE run = ?", (run,)
        )

    def grid(self, run: int, *, everything: bool = False) -> "Grid":
        """Whom and what the latest call asked; with `everything`, all that was ever asked."""
        found = []
        for kind, column in (("personas", "persona"), ("questions", "question")):
            if everything:
                query = (
                    f"SELECT id, content FROM {kind} WHERE id IN "
                    f"(SELECT {column} FROM responses WHERE run = :run UNION "
                    f"SELECT id FROM grids WHERE run = :run AND kind = :kind) ORDER BY id"
                )
            else:
                query = (
                    f"SELECT {kind}.id, content FROM grids JOIN {kind} ON {kind}.id = grids.id "
                    "WHERE run = :run AND kind = :kind ORDER BY position"
                )
            found.append(list(self.rows(query, {"run": run, "kind": kind})))
        personas, questions = found
        answers = self.rows("SELECT question, answers FROM answers WHERE run = ?", (run,))
        return Grid(
            {number: persona_from_json(text) for number, text in personas},
            {number: question_from_json(text) for number, text in questions},
            {number: json.loads(text) for number, text in answers},
        )

    def rows(self, query: str, arguments: Any = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of an SQL query."""
        with self._errors():
            yield from self._database.execute(query, arguments)

    # --- the connection -----------------------------------------------------------------------

    def __enter__(self) -> "ResponseStore":
        return self

    def __exit__(self, *exception: object) -> None:
        if exception[1] is None:
            self.close()
            return
        # What was answered is kept; what went wrong first is what the caller should see.
        with contextlib.suppress(StoreError):
            self.close()

    @property
    def _database(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError(f"{self.path}: the store is closed")
        return self._connection

    def _acquire(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = WriterLock(self.path)
        except BlockingIOError as error:
            raise StoreError(
                f"{self.path}: {error} is writing it; wait for it to end, or give another file"
            ) from None

    def _open(self) -> None:
        # A reader too opens for writing where it may, to undo what a killed writer left half-done.
        uri = self.path.absolute().as_uri()
        mode = "rwc"
        if self.read_only:
            mode = "rw" if os.access(self.path, os.W_OK) else "ro"
        self._connection = sqlite3.connect(
            f"{uri}?mode={mode}", uri=True, timeout=_WAIT_SECONDS, isolation_level=None,
            check_same_thread=False,
        )  # fmt: skip
        if self.read_only:
            self._connection.execute("PRAGMA query_only = ON")
        application, version, tables = (
            self._connection.execute(query).fetchone()[0]
            for query in (
                "PRAGMA application_id", "PRAGMA user_version", "SELECT COUNT(*) FROM sqlite_master"
            )
        )  # fmt: skip
        if application != _APPLICATION:
            if tables or application or self.read_only:
                raise ValueError(f"{self.path}: an SQLite file, but not a response store")
            self._create()
            self._created = True
        elif version > VERSION:
            raise ValueError(
                f"{self.path}: written by a newer version (tables {version}, this one knows "
                f"{VERSION}); upgrade syndigits-jax"
            )
        if not self.read_only:
            # Readers go on while this writes. Where no such journal is possible, SQLite stays with
            # the one it has: as safe, but readers and the writer wait for each other.
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")

    def _create(self) -> None:
        with self._transaction() as database:
            for statement in filter(None, map(str.strip, _TABLES.split(";"))):
                database.execute(statement)
            database.execute(f"PRAGMA application_id = {_APPLICATION}")
            database.execute(f"PRAGMA user_version = {VERSION}")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or none; within another one, part of that."""
        database = self._database
        with self._writing, self._errors():
            if database.in_transaction:
                yield database
                return
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    database.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def _explained(self, error: sqlite3.Error) -> Exception:
        kind = getattr(error, "sqlite_errorname", "") or ""
        kept = "what was committed is kept, and the same command asks only what is missing"
        if kind.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
            what = "the disk is full" if kind == "SQLITE_FULL" else f"the disk failed ({error})"
            return StoreError(f"{self.path}: {what}; {kept}: make room and run it again")
        if kind.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            return OSError(f"{self.path}: cannot be opened for this ({error})")
        if kind.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return StoreError(f"{self.path}: another program has it locked; {kept}")
        if kind.startswith("SQLITE_NOTADB"):
            return ValueError(f"{self.path}: not a response store")
        return StoreError(f"{self.path}: the store is damaged ({error}); restore it from a copy")

    def _abandon(self) -> None:
        empty = False
        if self._connection is not None:
            if not self.read_only:
                # At rest a store is one plain file. Not possible while it is read, or if the disk
                # is full: then the journal stays, and belongs to it.
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("PRAGMA busy_timeout = 0")
                    self._connection.execute("PRAGMA journal_mode = DELETE")
                    if self._created:
                        query = "SELECT COUNT(*) FROM runs"
                        empty = self._connection.execute(query).fetchone()[0] == 0
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
            if empty:
                self.path.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.release()
            self._lock = None


@dataclass(frozen=True)
class Grid:
    """Personas and questions by their numbers in the store, in order; by question number the
    [value, words] of its answers, in the order of the stored probabilities."""

    personas: dict[int, Persona]
    questions: dict[int, Question]
    answers: dict[int, list[list[Any]]]


@contextlib.contextmanager
def reading(store: ResponseStore | str | os.PathLike[str]) -> Iterator[ResponseStore]:
    """An open store as it is, with all that was added committed; a path opened for reading."""
    if isinstance(store, ResponseStore):
        if not store.read_only:
            store.flush()
        yield store
        return
    with ResponseStore(store, read_only=True) as opened:
        yield opened


def _registered(
    database: sqlite3.Connection, table: str, rows: Iterable[tuple[bytes, str, str]]
) -> list[int]:
    rows = list(rows)
    database.executemany(
        f"INSERT OR IGNORE INTO {table} (hash, identifier, content) VALUES (?, ?, ?)", rows
    )
    find = f"SELECT id FROM {table} WHERE hash = ?"
    return [database.execute(find, (digest,)).fetchone()[0] for digest, _, _ in rows]


def _check_file(path: Path, read_only: bool) -> None:
    """Refuse what is no SQLite file before anything beside it is touched."""
    if path.is_dir():
        raise ValueError(f"{path}: a folder, not a response store")
    if not path.exists():
        if read_only:
            raise FileNotFoundError(f"no such response store: {path}")
        return
    with path.open("rb") as file:
        start = file.read(16)
    if start and start != b"SQLite format 3\0":
        raise ValueError(f"{path}: not a response store; it is left as it is")
    if not start and read_only:
        raise ValueError(f"{path}: empty, not a response store")
