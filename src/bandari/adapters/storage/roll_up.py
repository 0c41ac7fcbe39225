"""Receipts are added up by the hour, a chunk at a time, each in one transaction.

Rule 1: only numbers that are settled (``moment``) are added up, so that none comes later with a
lower one. ``usage_progress`` says how far it has come, and moves in the same transaction as
``usage_hours``: a receipt is on exactly one side of it, whatever dies in between.
Rule 2: whoever adds up has the row of ``usage_progress`` locked. Several servers do it in turns;
none waits for another, because its own writes would wait with it.
Rule 3: the hour is that of the receipt's own time. A clock may step back, so numbers and hours do
not grow together.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, literal_column, select, update

from bandari.adapters.storage.database import Connection, Database
from bandari.adapters.storage.schema import receipts, usage_hours, usage_progress, wallets
from bandari.adapters.storage.statements import USAGE, compiled, constant, first, given
from bandari.domain.reports import HOUR_MS

MAX_CHUNK = 1_000
"""Each number of a receipt is below 2^53, so the sums of as many fit into 64 bits."""
SETTLING_S = 0.5
"""How long to wait for the transactions that run at one moment to end."""

SUMS = (*USAGE, "amount", "overrun")
"""What is added up, beside the number of requests."""

_KEY = ("hour_ms", "account_id", "key_id", "model", "end_user", "asset")
_LARGEST = 2**63 - 1

NO_END_USER: ColumnElement[str] = literal_column("''")


def receipt_hour() -> ColumnElement[int]:
    """The beginning of the hour at which a receipt was charged."""
    return receipts.c.ended_ms - receipts.c.ended_ms % constant(HOUR_MS)


def receipt_end_user() -> ColumnElement[str]:
    """The end user as ``usage_hours`` has him."""
    return func.coalesce(receipts.c.end_user, NO_END_USER)


class RollUp:
    """Adds up what is not added up yet."""

    def __init__(self, database: Database) -> None:
        dialect = database.dialect
        number = receipts.c.transaction_id
        progress = select(usage_progress.c.transaction_id)
        beyond = number > progress.scalar_subquery()
        self._is_pending = compiled(
            dialect, first(select(number).where(beyond).order_by(number), constant(1))
        )
        self.progress = compiled(dialect, progress)
        self._take_progress = compiled(dialect, progress.with_for_update(skip_locked=True))
        chunk = first(
            select(number)
            .where(number > given("after"), number <= given("settled"))
            .order_by(number),
            given("limit"),
        ).subquery("chunk")
        self._chunk = compiled(
            dialect,
            select(func.count(), func.max(chunk.c.transaction_id)),
            *("after", "settled", "limit"),
        )
        hour, end_user = receipt_hour(), receipt_end_user()
        key = (
            hour,
            wallets.c.account_id,
            receipts.c.key_id,
            receipts.c.model,
            end_user,
            wallets.c.asset,
        )
        added_up = (
            select(
                *key,
                func.count(),
                *(func.sum(receipts.c[name]) for name in SUMS),
                func.min(number),
                func.max(number),
            )
            .select_from(receipts.join(wallets, wallets.c.id == receipts.c.wallet_id))
            .where(number > given("after"), number <= given("last"))
            .group_by(*key)
        )
        self._add = f"{_insert()} {compiled(dialect, added_up, 'after', 'last')} {_or_add()}"
        self._set_progress = compiled(
            dialect, update(usage_progress).values(transaction_id=given("last")), "last"
        )

    def settled(self, connection: Connection) -> int | None:
        """Up to which number there is something to add up; None if there is nothing yet.

        To be asked on a reader's connection, outside of transactions.
        """
        if connection.cursor.execute(self._is_pending).fetchone() is None:
            return None
        return connection.settled(SETTLING_S)

    def add(self, connection: Connection, settled: int, limit: int) -> int:
        """Add up to ``limit`` receipts, in the writer's transaction; returns how many there were.

        None, if another server is at it.
        """
        execute = connection.cursor.execute
        row = execute(self._take_progress).fetchone()
        if row is None:
            return 0
        (after,) = row
        count, last = execute(self._chunk, (after, settled, limit)).fetchone()
        if count:
            execute(self._add, (after, last))
            execute(self._set_progress, (last,))
        return int(count)


def _insert() -> str:
    columns = ", ".join(column.name for column in usage_hours.columns)
    return f"INSERT INTO usage_hours ({columns})"


def _or_add() -> str:
    """A sum that no column can hold stays at the largest that it can."""
    changes = [
        f"{name} = CASE WHEN usage_hours.{name} > {_LARGEST} - excluded.{name} THEN {_LARGEST}"
        f" ELSE usage_hours.{name} + excluded.{name} END"
        for name in ("requests", *SUMS)
    ]
    for name, further in (("first_transaction_id", "<"), ("last_transaction_id", ">")):
        changes.append(
            f"{name} = CASE WHEN excluded.{name} {further} usage_hours.{name}"
            f" THEN excluded.{name} ELSE usage_hours.{name} END"
        )
    return f"ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET {', '.join(changes)}"
