"""PostgreSQL: many servers at once, each with its own writer.

Order of locks: a batch first locks the wallets it will change, by their ids; holds are only
changed under their wallet's lock. Two servers then never wait for each other in a circle. A batch
of one is spared that: its own statements lock what they change. Where servers still wait in a
circle (both end one hold, new wallets, new rate cards), PostgreSQL breaks it and the batch runs
again.

A server is alive while its writer's session holds the advisory lock on the number of its epoch.

A connection that breaks during COMMIT leaves its outcome open. So each transaction that may write
notes its number, and the next connection asks what became of it.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Sequence
from time import monotonic, sleep
from typing import Any, cast

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.numeric import Int8Dumper
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Engine,
    NullPool,
    Table,
    Text,
    and_,
    any_,
    create_engine,
    event,
    func,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import Connection as EngineConnection
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import Insert

from bandari.adapters.storage.combined import CombinedEntries
from bandari.adapters.storage.database import (
    Connection,
    Cursor,
    Entries,
    Lock,
    Outcome,
    Verdict,
)
from bandari.adapters.storage.schema import holds, wallets
from bandari.adapters.storage.statements import compiled, given

CONNECT_TIMEOUT_S = 5
MAX_SETTLING_S = 5.0
"""How long to wait for the transactions that run at one moment to end."""
_POLL_S = 0.005
_TCP: dict[str, int] = {
    # A server whose machine or network is gone says nothing: this is how we notice.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
LOCKS = 0x62616E64
"""The first half of our advisory locks' keys ("band"); the second is an epoch, or this:"""
_MIGRATION = 0

_SETTINGS = (
    "SET default_transaction_isolation = 'read committed'",
    "SET lock_timeout = '10s'",
    "SET statement_timeout = '60s'",
    # "off" would acknowledge what a crash can lose; anything stronger is the operator's choice.
    (
        "SELECT set_config('synchronous_commit', 'on', false)"
        " WHERE current_setting('synchronous_commit') = 'off'"
    ),
)
_READER_SETTINGS = (
    "SET default_transaction_read_only = on",
    "SET lock_timeout = '5s'",
    "SET statement_timeout = '10s'",
)

_RETRY = frozenset({"40001", "40P01", "55P03"})
_LOST = frozenset({"57P01", "57P02", "57P03"})
# Read-only (a standby), and classes of states: lost, no resources, operator intervention, system.
_UNAVAILABLE = ("25006", "08", "53", "57", "58")

_dialect = PGDialect_psycopg(paramstyle="format")  # type: ignore[no-untyped-call]
_owners = (
    func.unnest(given("account_ids", ARRAY(BigInteger)), given("end_users", ARRAY(Text)))
    .table_valued("account_id", "end_user")
    .render_derived(name="owners")
)
_TAKE = compiled(
    _dialect,
    select(wallets.c.id)
    .where(
        wallets.c.id.in_(
            union_all(
                select(wallets.c.id).join(
                    _owners,
                    and_(
                        wallets.c.account_id == _owners.c.account_id,
                        wallets.c.end_user == _owners.c.end_user,
                    ),
                ),
                select(holds.c.wallet_id).where(holds.c.id == any_(given("hold_ids", ARRAY(Text)))),
            )
        )
    )
    .order_by(wallets.c.id)
    .with_for_update(key_share=True),
    *("account_ids", "end_users", "hold_ids"),
)
# Two statements in one message: the number costs no round trip.
_BEGIN = b"BEGIN; SELECT pg_current_xact_id()::text"
# Numbers mean nothing to another cluster, nor after a failover: the standby gives them anew. Nor
# after a crash, from which numbers that had not reached the disk are given anew too: then the
# postmaster has started again, or at least its checkpointer (where we may see that).
_INCARNATION = (
    b"SELECT concat_ws('/', system_identifier, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),"
    b" pg_postmaster_start_time(),"
    b" (SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'))"
    b" FROM pg_control_system()"
)
_STATUS = "SELECT pg_xact_status(%s::text::xid8)"
_OUTCOMES = {
    "committed": Outcome.COMMITTED,
    "aborted": Outcome.ABORTED,
    "in progress": Outcome.UNDECIDED,
}
_CLAIM = "SELECT pg_advisory_lock(%s::int, %s::int)"
_RELEASE = "SELECT pg_advisory_unlock(%s::int, %s::int)"
_END_FORMER_SESSION = (
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND classid = %s::int AND objid = %s::int AND pid <> pg_backend_pid()"
)
_LAST_TRANSACTION = "SELECT coalesce(max(id), 0) FROM transactions"
# Takes a number of PostgreSQL's own, which a standby cannot.
_NEXT_TO_BEGIN = (
    "SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_current_xact_id()::text::bigint END"
)
_OLDEST_RUNNING = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
_REOPEN = "UPDATE epochs SET closed_ms = NULL WHERE id = %s"
_UNCLOSED = (
    "SELECT id FROM epochs WHERE closed_ms IS NULL AND id IN (SELECT epoch FROM holds UNION ALL"
    " SELECT epoch FROM responses WHERE status IN ('queued', 'in_progress')) ORDER BY id"
)
_IS_DEAD = "SELECT pg_try_advisory_xact_lock(%s::int, %s::int)"
_CLOSE = "UPDATE epochs SET closed_ms = (extract(epoch FROM now()) * 1000)::bigint WHERE id = %s"


class PostgresqlConnection:
    """A connection that begins and commits only when it is told to."""

    def __init__(
        self, raw: psycopg.Connection[Any], epochs: set[int], incarnation: str = ""
    ) -> None:
        self._raw = raw
        self._epochs = epochs
        self._incarnation = incarnation
        self._cursor = raw.cursor()
        self.cursor = cast(Cursor, self._cursor)
        self.transaction: str | None = None
        # Of our own: libpq may close its own at any moment, and another file get the number.
        self._socket = socket.socket(fileno=os.dup(raw.fileno()))

    def begin(self) -> None:
        self.transaction = None
        self._cursor.execute(_BEGIN, prepare=False)
        self._cursor.nextset()
        row = self._cursor.fetchone()
        assert row is not None, "a function has a value"
        self.transaction = f"{self._incarnation}/{row[0]}"

    def settled(self, wait_s: float | None = None) -> int | None:
        # A number is given before its transaction is committed. But whoever has one has written to
        # a wallet or a hold before, so it is among those that run now, and they come to an end.
        (number,) = self.cursor.execute(_LAST_TRANSACTION).fetchone()
        (later,) = self.cursor.execute(_NEXT_TO_BEGIN).fetchone()
        deadline = monotonic() + (MAX_SETTLING_S if wait_s is None else wait_s)
        while later is not None:
            (oldest,) = self.cursor.execute(_OLDEST_RUNNING).fetchone()
            if oldest >= later:
                return int(number)
            if monotonic() > deadline:
                break
            sleep(_POLL_S)
        return None

    def begin_snapshot(self) -> None:
        self.cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        # An audit of a large ledger takes as long as it takes.
        self.cursor.execute("SET LOCAL statement_timeout = 0")

    def commit(self) -> None:
        self._cursor.execute("COMMIT", prepare=False)

    def roll_back(self) -> None:
        self._cursor.execute("ROLLBACK", prepare=False)

    def take(self, locks: Sequence[Lock]) -> None:
        if len(locks) > 1:
            owners = {lock for lock in locks if not isinstance(lock, str)}
            account_ids = [account_id for account_id, _ in owners]
            end_users = [end_user for _, end_user in owners]
            hold_ids = list({lock for lock in locks if isinstance(lock, str)})
            self.cursor.execute(_TAKE, (account_ids, end_users, hold_ids)).fetchall()

    def epoch_opened(self, epoch: int, now_ms: int) -> None:  # noqa: ARG002
        # Before the epoch is committed, so that nobody ever sees it without its lock.
        self.cursor.execute(_CLAIM, (LOCKS, epoch))
        self._epochs.add(epoch)

    def epoch_closed(self, epoch: int) -> None:
        self._epochs.discard(epoch)
        self.cursor.execute(_RELEASE, (LOCKS, epoch))

    def close_dead_epochs(self) -> None:
        for (epoch,) in self.cursor.execute(_UNCLOSED).fetchall():
            if epoch in self._epochs:
                continue
            # Held until this transaction ends: a server that comes back waits for it.
            (is_dead,) = self.cursor.execute(_IS_DEAD, (LOCKS, epoch)).fetchone()
            if is_dead:
                self.cursor.execute(_CLOSE, (epoch,))

    def outcome_of(self, transaction: str) -> Outcome:
        incarnation, _, number = transaction.rpartition("/")
        if incarnation != self._incarnation:
            return Outcome.UNKNOWN
        row = self._cursor.execute(_STATUS, (number,)).fetchone()
        assert row is not None, "a function has a value"
        # No status: it is too long ago.
        return _OUTCOMES.get(row[0], Outcome.UNKNOWN)

    def cut(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._raw.close()
        self._socket.close()


class PostgresqlDatabase:
    """The database at a URL."""

    def __init__(self, url: str) -> None:
        self.dialect: Dialect = _dialect
        self.entries: Entries = CombinedEntries(_dialect)
        self._url = url
        self._epochs: set[int] = set()

    def connect(self) -> Connection:
        raw = self._open(_SETTINGS)
        try:
            (incarnation,) = raw.execute(_INCARNATION).fetchone() or ("",)
            for epoch in self._epochs:
                # The server may not have noticed yet that our former connection is gone.
                raw.execute(_END_FORMER_SESSION, (LOCKS, epoch))
                raw.execute(_CLAIM, (LOCKS, epoch))
                raw.execute(_REOPEN, (epoch,))
        except BaseException:
            raw.close()
            raise
        return PostgresqlConnection(raw, self._epochs, incarnation)

    def connect_reader(self) -> Connection:
        return PostgresqlConnection(self._open(_READER_SETTINGS), self._epochs)

    def judge(self, error: Exception) -> Verdict:
        if not isinstance(error, psycopg.Error):
            return Verdict.CULPRIT
        state = error.sqlstate
        if state in _RETRY:
            return Verdict.RETRY
        if state in _LOST or (state is None and isinstance(error, psycopg.OperationalError)):
            return Verdict.LOST
        if isinstance(error, psycopg.InterfaceError):
            return Verdict.LOST
        if state is not None and state.startswith(_UNAVAILABLE):
            return Verdict.UNAVAILABLE
        return Verdict.CULPRIT

    def is_driver_error(self, error: Exception) -> bool:
        return isinstance(error, psycopg.Error)

    def insert_unless_there(self, table: Table) -> Insert:
        return insert(table).on_conflict_do_nothing()

    def exists(self) -> bool:
        return True

    def create(self) -> None:
        """Nothing to do: the operator creates the database, Bandari the tables."""

    def migration_engine(self) -> Engine:
        engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: psycopg.connect(self._url, connect_timeout=CONNECT_TIMEOUT_S),
            poolclass=NullPool,
        )

        @event.listens_for(engine, "begin")
        def begin(connection: EngineConnection) -> None:
            connection.exec_driver_sql(
                "SELECT pg_advisory_xact_lock(%s::int, %s::int)", (LOCKS, _MIGRATION)
            )

        return engine

    def _open(self, settings: Sequence[str]) -> psycopg.Connection[Any]:
        # What the operator's URL says of these goes before.
        ours = {"connect_timeout": CONNECT_TIMEOUT_S, **_TCP}
        said = conninfo_to_dict(self._url)
        raw = psycopg.connect(make_conninfo("", **{**ours, **said}), autocommit=True)
        try:
            # By default a number's size decides its type, and every mixture of sizes would be
            # another prepared statement.
            raw.adapters.register_dumper(int, Int8Dumper)
            for setting in settings:
                raw.execute(setting.encode())
        except BaseException:
            raw.close()
            raise
        return raw
