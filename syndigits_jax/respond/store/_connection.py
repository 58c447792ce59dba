"""The open file of a response store: transactions and errors."""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ._files import StoreFiles, Trouble, close_unmerged
from ._rows import StoreError, counted
from ._writer_lock import WriterLock


class StoreConnection:
    """An SQLite connection, its open files, and the lock for writing them."""

    def __init__(self, path: str | os.PathLike[str], read_only: bool):
        self.path = Path(path)
        self._place = Path(os.path.abspath(path))  # independent of the working directory
        self.read_only = read_only
        self._writing = threading.RLock()
        self._committed_at = 0.0
        self._created = False
        self._files: StoreFiles | None = None
        self._lock: WriterLock | None = None
        self._connection: sqlite3.Connection | None = None

    @property
    def _database(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError(f"{self.path}: the store is closed")
        return self._connection

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """An atomic transaction; within another one, a part of that."""
        database = self._database
        with self._writing, self._errors():
            if database.in_transaction:
                yield database
                return
            self._check_files()
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    database.execute("ROLLBACK")
                raise
            if self._files is not None:
                self._files.settle()

    def _check_files(self) -> None:
        """Raise `StoreError` unless `path` still names the open file and the lock is held."""
        trouble = self._trouble()
        if trouble is not None:
            raise StoreError(self._describe(trouble))

    def _trouble(self) -> Trouble | None:
        trouble = None if self._files is None else self._files.trouble()
        if trouble is None and self._lock is not None:
            what = self._lock.trouble()
            if what:
                end = "See that no other process writes it, and run the same command again"
                return Trouble(what, "safe in it", end)
        return trouble

    def _describe(self, trouble: Trouble) -> str:
        """A message: what happened to the files, which answers are safe, and what to do."""
        database, count, merged = self._database, "an unknown number of answers", False
        with contextlib.suppress(sqlite3.Error):
            query = "SELECT COUNT(*) FROM responses"
            count = counted(database.execute(query).fetchone()[0])
        if self._committed_at:
            count += f" (the last at {time.ctime(self._committed_at)})"
        if trouble.mergeable and not self.read_only and not database.in_transaction:
            # Answers that are only in the journal would be lost with it.
            with contextlib.suppress(sqlite3.Error):
                _, pages, done = database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                merged = pages == done
        fate = trouble.fate if merged or not trouble.otherwise else trouble.otherwise
        return f"{self.path}: {trouble.what}; committed: {count}, {fate}. {trouble.advice}"

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._explained(error) from error

    @contextlib.contextmanager
    def made_of(self, what: str) -> Iterator[None]:
        """For a block that makes something of what the store holds.

        **Raises:** `StoreError` that its `what` are damaged, if the block fails: nothing else makes
        them differ from what was written.
        """
        try:
            yield
        except (
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
            ArithmeticError,
            RecursionError,
        ) as error:
            raise StoreError(
                f"{self.path}: the store is damaged (its {what}: {error}); restore it from a copy"
            ) from error

    def _explained(self, error: sqlite3.Error) -> Exception:
        kind = getattr(error, "sqlite_errorname", "") or ""
        if not kind:  # an error of Python's interface to SQLite
            return StoreError(f"{self.path}: {error}")
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

    def _reason(self, error: BaseException) -> str:
        """The message of an error in a commit, with the path of the store."""
        text = str(error) or type(error).__name__
        return text if str(self.path) in text else f"{self.path}: cannot commit: {text}"

    def _abandon(self) -> str:
        """Close everything, and return what is wrong with the files, or ""."""
        lost, empty = "", False
        if self._connection is not None:
            trouble = self._trouble()
            if trouble is None and not self.read_only:
                # A closed store is a single file. Merging the journal is not possible while the
                # store is read or if the disk is full; then the journal remains as a part of it.
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("PRAGMA busy_timeout = 0")
                    self._connection.execute("PRAGMA journal_mode = DELETE")
                    if self._created:
                        query = "SELECT COUNT(*) FROM runs"
                        empty = self._connection.execute(query).fetchone()[0] == 0
                trouble = None if self._files is None else self._files.database_trouble()
            if trouble is not None:
                lost, empty = self._describe(trouble), False
            with contextlib.suppress(sqlite3.Error):
                if trouble is not None and trouble.foreign:
                    close_unmerged(self._connection)
                else:
                    self._connection.close()
            self._connection = None
        if self._files is not None:
            self._files.release()
            self._files = None
        if empty:
            self._place.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        return lost
