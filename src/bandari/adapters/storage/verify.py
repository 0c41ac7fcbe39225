"""The audit: every balance, hold and receipt is derived again from the postings.

All on one snapshot, while the server goes on, and in SQL: what comes back is only what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct
from sqlalchemy import FromClause, Select, and_, case, func, or_, select

from bandari.adapters.storage.database import Connection, Database
from bandari.adapters.storage.schema import holds, postings, receipts, transactions, wallets
from bandari.adapters.storage.statements import compiled, constant, first, given
from bandari.domain.faults import StoreUnavailable
from bandari.domain.ledger import Difference, Line, TransactionKind, Verification

MAX_DIFFERENCES = 1_000

_COUNTED = (wallets, transactions, postings, holds, receipts)


class Check(Struct, frozen=True):
    """A question whose every row is wrong in at least one thing.

    A row is the subject's id, and then for each of ``things`` what is stored and what is derived.
    """

    subject: str
    things: tuple[str, ...]
    query: Select[Any]


def checks() -> tuple[Check, ...]:
    """All that must hold, each as a query for what does not."""
    zero, one = constant(0), constant(1)
    posted = (
        select(postings.c.wallet_id, func.sum(postings.c.amount).label("total"))
        .where(postings.c.wallet_id.is_not(None))
        .group_by(postings.c.wallet_id)
        .subquery("posted")
    )
    promised = (
        select(holds.c.wallet_id, func.sum(holds.c.amount).label("total"))
        .group_by(holds.c.wallet_id)
        .subquery("promised")
    )
    balance = func.coalesce(posted.c.total, zero)
    held = func.coalesce(promised.c.total, zero)
    free = wallets.c.balance - wallets.c.held

    taken = -func.coalesce(
        func.sum(
            case((postings.c.wallet_id == receipts.c.wallet_id, postings.c.amount), else_=zero)
        ),
        zero,
    )
    overrun = -func.coalesce(
        func.sum(
            case((postings.c.line == constant(Line.OVERRUNS.value), postings.c.amount), else_=zero)
        ),
        zero,
    )
    # Along the numbers of its transactions, a wallet's postings add up to its balance after each.
    course = (
        select(
            postings.c.transaction_id,
            postings.c.wallet_id,
            func.sum(postings.c.amount)
            .over(
                partition_by=postings.c.wallet_id,
                order_by=(postings.c.transaction_id, postings.c.position),
                rows=(None, 0),
            )
            .label("balance"),
        )
        .where(postings.c.wallet_id.is_not(None))
        .subquery("course")
    )
    is_charge = transactions.c.kind == constant(TransactionKind.CHARGE.value)
    return (
        Check(
            "transaction {}",
            ("sum of its postings",),
            select(postings.c.transaction_id, zero, func.sum(postings.c.amount))
            .group_by(postings.c.transaction_id, postings.c.asset)
            .having(func.sum(postings.c.amount) != zero),
        ),
        Check(
            "a posting of transaction {}",
            ("transaction", "wallet with its asset"),
            select(
                postings.c.transaction_id,
                postings.c.transaction_id,
                func.coalesce(transactions.c.id, zero),
                func.coalesce(postings.c.wallet_id, zero),
                case(
                    (postings.c.wallet_id.is_(None), zero),
                    else_=func.coalesce(wallets.c.id, zero),
                ),
            )
            .select_from(
                postings.outerjoin(
                    transactions, transactions.c.id == postings.c.transaction_id
                ).outerjoin(
                    wallets,
                    and_(
                        wallets.c.id == postings.c.wallet_id,
                        wallets.c.asset == postings.c.asset,
                    ),
                )
            )
            .where(
                or_(
                    transactions.c.id.is_(None),
                    and_(postings.c.wallet_id.is_not(None), wallets.c.id.is_(None)),
                )
            ),
        ),
        Check(
            "wallet {}",
            ("balance", "held"),
            select(wallets.c.id, wallets.c.balance, balance, wallets.c.held, held)
            .select_from(
                wallets.outerjoin(posted, posted.c.wallet_id == wallets.c.id).outerjoin(
                    promised, promised.c.wallet_id == wallets.c.id
                )
            )
            .where(or_(wallets.c.balance != balance, wallets.c.held != held)),
        ),
        Check(
            "wallet {}",
            ("free, which is never negative",),
            select(wallets.c.id, free, zero).where(free < zero),
        ),
        Check(
            "hold {}",
            ("wallet",),
            select(holds.c.id, holds.c.wallet_id, zero)
            .select_from(holds.outerjoin(wallets, wallets.c.id == holds.c.wallet_id))
            .where(wallets.c.id.is_(None)),
        ),
        Check(
            "hold {}",
            ("open, although it has a receipt",),
            select(holds.c.id, one, zero).select_from(
                holds.join(receipts, receipts.c.id == holds.c.id)
            ),
        ),
        Check(
            "transaction {}",
            ("receipts of a charge",),
            select(transactions.c.id, zero, one)
            .select_from(
                transactions.outerjoin(receipts, receipts.c.transaction_id == transactions.c.id)
            )
            .where(is_charge, receipts.c.id.is_(None)),
        ),
        Check(
            "receipt {}",
            ("transaction of its charge",),
            select(receipts.c.id, receipts.c.transaction_id, zero)
            .select_from(
                receipts.outerjoin(
                    transactions, and_(transactions.c.id == receipts.c.transaction_id, is_charge)
                )
            )
            .where(transactions.c.id.is_(None)),
        ),
        Check(
            "receipt {}",
            ("amount", "overrun"),
            select(receipts.c.id, receipts.c.amount, taken, receipts.c.overrun, overrun)
            .select_from(
                receipts.outerjoin(postings, postings.c.transaction_id == receipts.c.transaction_id)
            )
            # The transaction first: its index is in the postings' order, so nothing is sorted.
            .group_by(
                receipts.c.transaction_id,
                receipts.c.id,
                receipts.c.amount,
                receipts.c.overrun,
            )
            .having(or_(receipts.c.amount != taken, receipts.c.overrun != overrun)),
        ),
        Check(
            "receipt {}",
            ("balance after",),
            select(receipts.c.id, receipts.c.balance_after, course.c.balance)
            .select_from(
                course.join(
                    receipts,
                    and_(
                        receipts.c.transaction_id == course.c.transaction_id,
                        receipts.c.wallet_id == course.c.wallet_id,
                    ),
                )
            )
            .where(receipts.c.balance_after != course.c.balance),
        ),
    )


def verify(database: Database, on_progress: Callable[[int, int], None]) -> Verification:
    """Look at everything, on a connection and a snapshot of its own."""
    try:
        connection = database.connect_reader()
        try:
            connection.begin_snapshot()
            return _verify(database, connection, on_progress)
        finally:
            connection.close()
    except Exception as error:
        if database.is_driver_error(error):
            raise StoreUnavailable("The ledger cannot be read.") from error
        raise


def _verify(
    database: Database, connection: Connection, on_progress: Callable[[int, int], None]
) -> Verification:
    todo = checks()
    steps = 1 + len(todo)
    on_progress(0, steps)
    findings: list[Any] = [_count(database, connection, table) for table in _COUNTED]
    differences: list[Difference] = []
    for done, check in enumerate(todo, start=1):
        on_progress(done, steps)
        room = MAX_DIFFERENCES - len(differences)
        if room > 0:
            differences += list(_findings(database, connection, check, room))[:room]
    on_progress(steps, steps)
    findings.append(tuple(differences))
    return Verification(*findings)


def _count(database: Database, connection: Connection, table: FromClause) -> int:
    sql = compiled(database.dialect, select(func.count()).select_from(table))
    return int(connection.cursor.execute(sql).fetchone()[0])


def _findings(
    database: Database, connection: Connection, check: Check, limit: int
) -> Iterator[Difference]:
    sql = compiled(database.dialect, first(check.query, given("limit")), "limit")
    for subject, *numbers in connection.cursor.execute(sql, (limit,)).fetchall():
        pairs = zip(check.things, numbers[::2], numbers[1::2], strict=True)
        for thing, stored, derived in pairs:
            if stored != derived:
                # PostgreSQL's sums are decimals.
                name = f"{check.subject.format(subject)}: {thing}"
                yield Difference(name, int(stored), int(derived))
