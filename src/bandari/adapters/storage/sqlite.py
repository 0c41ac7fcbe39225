"""SQLite: one file, many readers, and one writer at a time among all processes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast
from urllib.parse import quote

from sqlalchemy import Engine, NullPool, Table, create_engine, event, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import Connection as EngineConnection
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import Insert

from bandari.adapters.storage.database import (
    Connection,
    Cursor,
    Entries,
    Lock,
    Outcome,
    StorageError,
    Verdict,
)
from bandari.adapters.storage.gathered import GatheredEntries
from bandari.adapters.storage.schema import epochs
from bandari.adapters.storage.statements import compiled, given

MAX_WAIT_S = 5.0
"""How long to wait for another process to finish its transaction."""
_POLL_MS = 8
"""SQLite's own waiting backs off to polls 100 ms apart, and a process that tries so seldom may
never get its turn beside a busy server. So it waits this long at a time and is asked again."""
_CACHED_STATEMENTS = 256
_CHECKPOINT_PAGES = 4_000
_MAX_WAL_BYTES = 64 * 1024 * 1024

_UNAVAILABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
_PRIMARY_CODE = 0xFF
_LAST_TRANSACTION = "SELECT coalesce(max(id), 0) FROM transactions"

_dialect = SQLiteDialect_pysqlite(paramstyle="qmark")
_CLOSE_OTHER_EPOCHS = compiled(
    _dialect,
    update(epochs)
    .values(closed_ms=given("now_ms"))
    .where(epochs.c.closed_ms.is_(None), epochs.c.id != given("id")),
    *("now_ms", "id"),
)


class SqliteConnection:
    """A connection that begins and commits only when it is told to."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._cursor = raw.cursor()
        self.cursor = cast(Cursor, self._cursor)
        self.transaction: str | None = None

    def begin(self) -> None:
        deadline = time.monotonic() + MAX_WAIT_S
        while True:
            try:
                # Immediate: a transaction that began by reading could not be told to wait later.
                self.cursor.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise

    def settled(self, wait_s: float | None = None) -> int | None:  # noqa: ARG002
        # There is one writer at a time, so transactions appear in the order of their numbers.
        (number,) = self.cursor.execute(_LAST_TRANSACTION).fetchone()
        return int(number)

    def begin_snapshot(self) -> None:
        self.cursor.execute("BEGIN")
        # The snapshot is taken by the first read, not by BEGIN.
        self.cursor.execute("SELECT count(*) FROM sqlite_schema").fetchone()

    def commit(self) -> None:
        self.cursor.execute("COMMIT")

    def roll_back(self) -> None:
        if self._raw.in_transaction:
            self.cursor.execute("ROLLBACK")

    def take(self, locks: Sequence[Lock]) -> None:
        """Nothing to do: the transaction has the whole database."""

    def epoch_opened(self, epoch: int, now_ms: int) -> None:
        # There is one server at a time (its data directory is locked): all earlier ones are gone.
        self.cursor.execute(_CLOSE_OTHER_EPOCHS, (now_ms, epoch))

    def epoch_closed(self, epoch: int) -> None:
        """Nothing to do."""

    def close_dead_epochs(self) -> None:
        """Nothing to do: ``epoch_opened`` did it. Whoever opened none cannot tell the dead."""

    def outcome_of(self, transaction: str) -> Outcome:  # noqa: ARG002
        return Outcome.UNKNOWN

    def cut(self) -> None:
        """Nothing to do: nobody can call a thread back that waits for its disk."""

    def close(self) -> None:
        # A cursor's unfinished statement would keep the connection and its lock alive.
        self._cursor.close()
        self._raw.close()


class SqliteDatabase:
    """The database in one file."""

    def __init__(self, path: str) -> None:
        if not path or path == ":memory:":
            raise StorageError("A ledger in memory would not survive a restart; name a file.")
        self.dialect: Dialect = _dialect
        self.entries: Entries = GatheredEntries()
        self._path = Path(path)

    def connect(self) -> Connection:
        raw = self._open()
        # FULL: in WAL mode each commit is synced before it returns, and not only each checkpoint.
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            f"busy_timeout = {_POLL_MS}",
            f"wal_autocheckpoint = {_CHECKPOINT_PAGES}",
            f"journal_size_limit = {_MAX_WAL_BYTES}",
        ):
            raw.execute(f"PRAGMA {pragma}")
        return SqliteConnection(raw)

    def connect_reader(self) -> Connection:
        raw = self._open()
        raw.execute("PRAGMA query_only = ON")
        return SqliteConnection(raw)

    def judge(self, error: Exception) -> Verdict:
        if isinstance(error, sqlite3.Error) and _code(error) in _UNAVAILABLE:
            return Verdict.UNAVAILABLE
        return Verdict.CULPRIT

    def is_driver_error(self, error: Exception) -> bool:
        return isinstance(error, sqlite3.Error)

    def insert_unless_there(self, table: Table) -> Insert:
        return insert(table).on_conflict_do_nothing()

    def exists(self) -> bool:
        return self._path.exists()

    def create(self) -> None:
        # Prices and customers' names are nobody else's business on a shared machine.
        try:
            self._path.touch(mode=0o600, exist_ok=True)
        except OSError as error:
            raise StorageError(f"The database cannot be opened: {error}") from error

    def migration_engine(self) -> Engine:
        engine = create_engine("sqlite://", creator=self._open_for_migration, poolclass=NullPool)

        @event.listens_for(engine, "begin")
        def begin(connection: EngineConnection) -> None:
            connection.exec_driver_sql("BEGIN EXCLUSIVE")

        return engine

    def _open_for_migration(self) -> sqlite3.Connection:
        raw = self._open()
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("PRAGMA synchronous = FULL")
        # A table that is made anew is dropped for a moment, while others point at it.
        raw.execute("PRAGMA foreign_keys = OFF")
        return raw

    def _open(self) -> sqlite3.Connection:
        # mode=rw: a file that was taken away is an error, and not a new and empty ledger.
        return sqlite3.connect(
            f"file:{quote(str(self._path))}?mode=rw",
            uri=True,
            timeout=MAX_WAIT_S,
            # Transactions begin and end where the store says so, not where the driver guesses.
            isolation_level=None,
            cached_statements=_CACHED_STATEMENTS,
            # Only so that another thread may close it; each is used by one thread.
            check_same_thread=False,
        )


def _code(error: sqlite3.Error) -> int:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return -1 if code is None else code & _PRIMARY_CODE
