"""The response store: all answers in one SQLite file, safe against interrupted programs.

Longer than 400 lines: one class, whose methods share one guarantee; its parts are in `_rows`,
`_files` and `_connection`.
"""

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ...schema import Persona, Question
from ..contents import (
    content_hash,
    persona_from_json,
    persona_json,
    question_from_json,
    question_json,
    settings_json,
)
from ..requests import Decoding, EngineIdentity
from ._connection import StoreConnection
from ._files import is_open, watched
from ._rows import INSERT, TABLES, Grid, Response, Run, StoreError, counted, storable
from ._writer_lock import WriterLock

__all__ = ["VERSION", "Grid", "Response", "ResponseStore", "Run", "StoreError", "reading"]

VERSION = 1
"""Version of the tables; a store of a newer version is rejected."""

_APPLICATION = 0x53796E44  # "SynD": marks response stores among SQLite files
_WAIT_SECONDS = 60.0
_LONGEST_BUFFER = 4096
_SECONDS_BETWEEN_COMMITS = (0.05, 1.0)
_COMMIT_SHARE = 0.02  # the largest share of time spent waiting for the disk


class ResponseStore(StoreConnection):
    """A file of responses. Use it as a context manager.

    Committed responses are safe whenever and however the program ends; a response is never written
    in part. Added responses are committed in the background, at most one second later. One process
    may write while others read. A closed store is a single file; while it is written, and after the
    program was killed, the file `PATH-wal` beside it belongs to it and must be moved with it. A new
    store in which nothing was registered leaves no file.

    The file and its folder must not be moved while the store is open. If the file, the journal or
    the lock file is removed, moved, replaced or truncated, the next commit raises an error, and
    responses added since the last commit are not saved. The same holds for any other failure of a
    commit.

    **Arguments:** `path`: the file, created with its folder if absent. `read_only`: open an
    existing file for reading.

    **Raises:** `ValueError` if the file is not a response store, or of a newer version;
    `FileNotFoundError` (`read_only`); `StoreError` if another process is writing it, or it is
    damaged; `OSError` naming the path if it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str], *, read_only: bool = False):
        super().__init__(path, read_only)
        self._pending: list[Response] = []
        self._wait = _SECONDS_BETWEEN_COMMITS[0]
        self._closing = threading.Event()
        self._committer: threading.Thread | None = None
        self._failure: tuple[str, BaseException] | None = None
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
        """A context manager; everything registered within it is stored as a whole or not at all."""
        return self._transaction()

    def register_run(self, template: Any, identity: EngineIdentity, decoding: Decoding) -> int:
        """The number of the run with this template, model and settings; a new one if necessary."""
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
        """The number of a new session, which records the engine, its version and the time."""
        from ...version import __version__

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
        """Register the grid of a run: the personas and questions of its latest call, in order.

        Exports have one cell per persona and question of the grid.

        **Arguments:**

        - `run`: the run's number.
        - `personas`, `questions`: what the call asks.
        - `answers`: for each question the [value, words] of each answer, in the order of the
          probabilities.

        **Returns:** the numbers of `personas` and of `questions` in the store.
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
        """Add a response; one with the same key that is already stored is not changed.

        **Raises:** `ValueError` naming a field that cannot be stored; `StoreError` if the store is
        closed, or earlier responses could not be committed: the message states what is safe.
        """
        row = storable(response)
        self._check_writable()
        self._pending.append(row)
        if self._failure is not None:
            raise self._error(*self._failure)
        if self._committer is None or not self._committer.is_alive():
            self._committer = threading.Thread(target=self._commit_regularly, daemon=True)
            self._committer.start()
        if len(self._pending) >= _LONGEST_BUFFER:
            self.flush()

    def flush(self) -> None:
        """Commit all added responses; within [`together`][] this does nothing.

        After an error the responses are kept in memory, and another `flush` tries again.

        **Raises:** `StoreError` if the disk is full or the file was removed, for example; the
        message states what is safe.
        """
        self._check_writable()
        with self._writing:
            if self._database.in_transaction:
                return
            batch = self._pending[:]
            start = time.monotonic()
            try:
                self._check_files()
                if batch:
                    with self._transaction() as database:
                        database.executemany(INSERT, batch)
                    del self._pending[: len(batch)]
                    self._committed_at = time.time()
                    self._check_files()
            except Exception as error:
                self._failure = (self._reason(error), error)
                raise self._error(*self._failure) from error
            self._failure = None
            if batch:
                # Commits to a slow disk are less frequent, but at least once a second.
                least, most = _SECONDS_BETWEEN_COMMITS
                self._wait = min(most, max(least, (time.monotonic() - start) / _COMMIT_SHARE))

    def _commit_regularly(self) -> None:
        while not self._closing.wait(self._wait):
            # Never wait for the lock: its holder may be waiting for this thread to end.
            if not self._pending or not self._writing.acquire(blocking=False):
                continue
            try:
                self.flush()
            except Exception as error:  # raised by the next call that adds, flushes or closes
                self._failure = self._failure or (self._reason(error), error)
                return
            finally:
                self._writing.release()

    def close(self) -> None:
        """Commit and close; closing again has no effect.

        **Raises:** `StoreError` as `flush` does; the store is closed then too, and uncommitted
        responses are lost.
        """
        if self._connection is None:
            return
        with self._writing:
            if self._connection is None:
                return
            if self._connection.in_transaction:
                raise StoreError(f"{self.path}: close it after `together`, not within")
            try:
                self._closing.set()
                if self._committer is not None:
                    self._committer.join()
                if not self.read_only:
                    self.flush()
            except BaseException:
                self._abandon()
                raise
            lost = self._abandon()
        if lost and not self.read_only:
            raise self._error(lost, None)

    def _check_writable(self) -> None:
        if self._connection is None:
            raise self._error(f"{self.path}: the store is closed", None)
        if self.read_only:
            raise StoreError(f"{self.path}: the store was opened for reading only")

    def _error(self, reason: str, cause: BaseException | None) -> StoreError:
        """An error with `reason` and the number of answers that are not saved."""
        if self._pending:
            reason += f"; not saved: {counted(len(self._pending))} added since"
        error = StoreError(reason)
        error.__cause__ = cause
        return error

    # --- reading ------------------------------------------------------------------------------

    def runs(self) -> tuple[Run, ...]:
        """All runs, oldest first."""
        names = "id, template, template_version, template_hash, model, settings"
        rows = self.rows(f"SELECT {names} FROM runs ORDER BY id")
        with self.made_of("runs"):
            found = tuple(
                Run(number, *of, settings=json.loads(settings)) for number, *of, settings in rows
            )
            for one in found:
                str(one)  # what any reader needs of it
        return found

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
        """The personas and questions of the latest call, or with `everything` of all calls."""
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
        with self.made_of("personas and questions"):
            return Grid(
                {number: persona_from_json(text) for number, text in personas},
                {number: question_from_json(text) for number, text in questions},
                {number: json.loads(text) for number, text in answers},
            )

    def rows(self, query: str, arguments: Any = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of an SQL query.

        **Raises:** `StoreError` if the store is closed, or its file was moved or removed.
        """
        trouble = None if self._files is None else self._files.database_trouble()
        if trouble is not None:
            raise StoreError(self._describe(trouble))
        with self._errors():
            # Not `yield from`, which closes the cursor of what is not read to its end: the store
            # may be closed by then.
            for row in self._database.execute(query, arguments):  # noqa: UP028
                yield row

    # --- the connection -----------------------------------------------------------------------

    def __enter__(self) -> "ResponseStore":
        return self

    def __exit__(self, *exception: object) -> None:
        first = exception[1]
        if first is None:
            self.close()
            return
        # Answers are kept, and the caller sees the first error.
        try:
            self.close()
        except StoreError as error:
            if not isinstance(first, StoreError) and isinstance(first, BaseException):
                first.add_note(str(error))

    def _acquire(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = WriterLock(self.path)
        except BlockingIOError as error:
            raise StoreError(
                f"{self.path}: {error} is writing it; wait for it to end, or give another file"
            ) from None

    def _open(self) -> None:
        # Readers open for writing too if possible, to roll back what a killed writer left behind.
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
        self._files = watched(self.path)
        if not self.read_only:
            # Allows reading while this store writes. Where such a journal is not possible, SQLite
            # keeps its default one: as safe, but readers and the writer wait for each other.
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA user_version").fetchone()  # creates the journal
            if self._files is not None:
                self._files.watch_journal()

    def _create(self) -> None:
        with self._transaction() as database:
            for statement in filter(None, map(str.strip, TABLES.split(";"))):
                database.execute(statement)
            database.execute(f"PRAGMA application_id = {_APPLICATION}")
            database.execute(f"PRAGMA user_version = {VERSION}")


@contextlib.contextmanager
def reading(store: ResponseStore | str | os.PathLike[str]) -> Iterator[ResponseStore]:
    """A context manager: an open store after committing, or a path opened for reading."""
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
    """Check that the file is an SQLite file before any file beside it is changed."""
    if path.is_dir():
        raise ValueError(f"{path}: a folder, not a response store")
    if not path.exists():
        if read_only:
            raise FileNotFoundError(f"no such response store: {path}")
        return
    if is_open(path):  # opening and closing it here would release SQLite's locks
        return
    with path.open("rb") as file:
        start = file.read(16)
    if start and start != b"SQLite format 3\0":
        raise ValueError(f"{path}: not a response store; it is left as it is")
    if not start and read_only:
        raise ValueError(f"{path}: empty, not a response store")
