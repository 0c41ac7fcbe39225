"""The store as a whole: opened by URL, and the ports it implements."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from bandari.adapters.storage.accounts import SqlAccounts
from bandari.adapters.storage.audit_log import SqlAuditLog
from bandari.adapters.storage.backup import back_up
from bandari.adapters.storage.database import Database, UnsupportedDatabase
from bandari.adapters.storage.group_commit import CommitObserver, GroupCommit
from bandari.adapters.storage.keys import SqlKeys
from bandari.adapters.storage.ledger import SqlLedger
from bandari.adapters.storage.long_work import run_long
from bandari.adapters.storage.migrate import bring_up
from bandari.adapters.storage.rate_cards import SqlRateCards
from bandari.adapters.storage.reader import Reader
from bandari.adapters.storage.recordings import SqlRecordings
from bandari.adapters.storage.reports import REPORT_TIMEOUT_S, SqlReports
from bandari.adapters.storage.responses import SqlResponses
from bandari.adapters.storage.sqlite import SqliteDatabase
from bandari.adapters.storage.users import SqlUsers


class Store:
    """Everything that is kept in one database: the books, and what is kept of answers."""

    def __init__(self, database: Database, on_commit: CommitObserver | None = None) -> None:
        self._database = database
        self.writer = GroupCommit(database, on_commit)
        self.reader = Reader(database)
        self.report_reader = Reader(database, timeout_s=REPORT_TIMEOUT_S)
        self.ledger = SqlLedger(database, self.writer, self.reader)
        self.accounts = SqlAccounts(database, self.writer, self.reader)
        self.keys = SqlKeys(database, self.writer, self.reader)
        self.users = SqlUsers(database, self.writer, self.reader)
        self.audit_log = SqlAuditLog(database, self.writer, self.reader)
        self.reports = SqlReports(database, self.writer, self.reader, self.report_reader)
        self.rate_cards = SqlRateCards(database, self.writer)
        self.responses = SqlResponses(database, self.writer, self.reader)
        self.recordings = SqlRecordings(database, self.writer, self.reader)

    async def back_up(self, file: Path, on_progress: Callable[[int, int], None]) -> int:
        """Copy everything, as it is at one moment, into a new SQLite file; returns the rows.

        ``on_progress`` is called with (transactions done, transactions in all). Raises a
        ``StorageError``. A backup that is cancelled leaves nothing behind.
        """
        return await run_long(partial(back_up, self._database, file), on_progress)

    async def aclose(self) -> None:
        """Finish the writes that are queued, then close every connection."""
        await self.writer.aclose()
        await self.reader.aclose()
        await self.report_reader.aclose()

    async def __aenter__(self) -> Store:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


def open_store(
    url: str,
    *,
    create: bool = True,
    migrate: bool = True,
    on_commit: CommitObserver | None = None,
) -> Store:
    """Open the database at ``sqlite:////absolute/path`` or ``postgresql://…``.

    Blocks while the schema is brought up to date. Raises a ``StorageError`` if there is no database
    and ``create`` is false, if its schema is old and ``migrate`` is false, or if it is too new.
    """
    database = open_database(url)
    bring_up(database, create=create, migrate=migrate)
    return Store(database, on_commit)


def open_database(url: str) -> Database:
    """The database that a URL names, of whichever kind."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise UnsupportedDatabase("The database URL cannot be read.") from error
    kind = parsed.get_backend_name()
    if kind == "sqlite":
        return SqliteDatabase(parsed.database or "")
    if kind in ("postgresql", "postgres"):
        # Imported here because its driver is an optional part of the package.
        from bandari.adapters.storage.postgresql import PostgresqlDatabase  # noqa: PLC0415

        plain = parsed.set(drivername="postgresql")
        return PostgresqlDatabase(plain.render_as_string(hide_password=False))
    raise UnsupportedDatabase(
        f"The database URL begins with sqlite:// or postgresql://, not {kind}://."
    )
