"""What the store needs of a database, apart from common SQL: connections, locks, epochs, verdicts,
and its own way of entering holds and charges.

``sqlite.py`` and ``postgresql.py`` implement it; nothing else knows which of the two is in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Protocol

from msgspec import Struct
from sqlalchemy import Engine, Table
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import Insert

from bandari.domain.ledger import Charge, Hold, Receipt
from bandari.service.ports import Placement

Row = tuple[Any, ...]
Lock = str | tuple[int, str]
"""What an operation will change: a hold's wallet, by the hold's id, or somebody's wallets: an
account's own, by its id and an empty text, or an end user's, by its id and his name."""


class StorageError(Exception):
    """The database cannot be used."""


class DatabaseMissing(StorageError):
    """There is no database yet."""


class DatabaseNotMigrated(StorageError):
    """The database was written by an older version of Bandari; start the server to update it."""


class DatabaseTooNew(StorageError):
    """The database was written by a newer version of Bandari than this one."""


class UnsupportedDatabase(StorageError):
    """This database is not supported."""


class Verdict(Enum):
    """What to make of an error that a driver raised."""

    RETRY = "retry"
    """Another transaction was in the way: the same again may well succeed."""
    LOST = "lost"
    """The connection is gone: a new one may do."""
    UNAVAILABLE = "unavailable"
    """The database cannot be reached or written; no operation is to blame."""
    CULPRIT = "culprit"
    """The operation itself is at fault."""


class Outcome(Enum):
    """What became of a transaction whose COMMIT was not answered."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    UNDECIDED = "undecided"
    """It is still running: ask again."""
    UNKNOWN = "unknown"
    """This database cannot tell."""


class Cursor(Protocol):
    """What ``sqlite3.Cursor`` and ``psycopg.Cursor`` have in common."""

    def execute(
        self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ..., /
    ) -> Cursor: ...

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> object: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def fetchmany(self, size: int = ..., /) -> list[Any]: ...


class Connection(Protocol):
    """One connection of one thread, with its one cursor."""

    cursor: Cursor
    transaction: str | None
    """The database's own name of the transaction that ``begin`` started, by which a later
    connection can be asked for its outcome. None where a COMMIT that failed took no effect."""

    def begin(self) -> None:
        """Start a transaction that may write."""
        ...

    def settled(self, wait_s: float | None = None) -> int | None:
        """The highest number up to which no transaction can appear any more.

        None if that cannot be said within ``wait_s`` (None: as long as an audit may wait). To be
        asked for outside of transactions.
        """
        ...

    def begin_snapshot(self) -> None:
        """Start a transaction that only reads, and sees one moment."""
        ...

    def commit(self) -> None:
        """Returns once the transaction is durable."""
        ...

    def roll_back(self) -> None: ...

    def take(self, locks: Sequence[Lock]) -> None:
        """Lock all that a batch will change, in an order that every process keeps."""
        ...

    def epoch_opened(self, epoch: int, now_ms: int) -> None:
        """This connection's server lives in ``epoch`` from now on."""
        ...

    def epoch_closed(self, epoch: int) -> None: ...

    def close_dead_epochs(self) -> None:
        """Close the epochs whose server is gone without having said so."""
        ...

    def outcome_of(self, transaction: str) -> Outcome:
        """What became of a transaction of an earlier connection."""
        ...

    def cut(self) -> None:
        """Called by another thread: have the call under way fail, where that can be done.

        Never raises, and does nothing to a connection that is closed.
        """
        ...

    def close(self) -> None: ...


class Outright(Struct, frozen=True):
    """A hold that is charged as it is placed, and so never stands."""

    hold: Hold
    charge: Charge


Written = tuple[Sequence[Receipt | None], Sequence[Receipt | Placement | None], Sequence[Placement]]
"""What became of the charges, of those that are outright, and of the holds."""


class Entries(Protocol):
    """How holds and charges are entered in the books: what each database does best."""

    def write(
        self,
        connection: Connection,
        charges: Sequence[Charge],
        outright: Sequence[Outright],
        holds: Sequence[Hold],
    ) -> Written:
        """Post the charges in their order, then what is outright, then place the holds in theirs.

        No receipt: the hold of that charge is not open, or not any more; what is outright was
        charged before. A placement for what is outright is its refusal.
        """
        ...


class Database(Protocol):
    """One database, of one kind."""

    dialect: Dialect
    entries: Entries

    def connect(self) -> Connection:
        """A connection for the writer."""
        ...

    def connect_reader(self) -> Connection:
        """A connection that cannot write."""
        ...

    def judge(self, error: Exception) -> Verdict: ...

    def is_driver_error(self, error: Exception) -> bool: ...

    def insert_unless_there(self, table: Table) -> Insert:
        """An INSERT that does nothing where a unique constraint would be broken."""
        ...

    def exists(self) -> bool: ...

    def create(self) -> None:
        """Make an empty database where there is none."""
        ...

    def migration_engine(self) -> Engine:
        """An engine whose every transaction keeps other migrations out until it ends."""
        ...
