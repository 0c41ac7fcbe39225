"""The audit: every balance, hold and receipt is derived again from the postings.

Of one moment, while the server goes on. What is in memory is the wallets and a page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Select, select

from bandari.adapters.storage.audit import Audit
from bandari.adapters.storage.database import Connection, Database, Row
from bandari.adapters.storage.moment import Moment
from bandari.adapters.storage.schema import holds, postings, receipts, transactions, wallets
from bandari.adapters.storage.statements import compiled
from bandari.domain.faults import StoreUnavailable
from bandari.domain.ledger import Verification

_ROWS = 1_000

_WALLETS = select(wallets.c.id, wallets.c.asset, wallets.c.balance, wallets.c.held)
_HOLDS = select(holds.c.id, holds.c.wallet_id, holds.c.amount, receipts.c.id).select_from(
    holds.outerjoin(receipts, receipts.c.id == holds.c.id)
)


def verify(database: Database, report: Callable[[int, int], None]) -> Verification:
    """Look at everything, on a connection of its own.

    ``report`` is called with (transactions done, transactions in all).
    """
    try:
        connection = database.connect_reader()
        try:
            return _verify(database, connection, report)
        finally:
            connection.close()
    except Exception as error:
        if database.is_driver_error(error):
            raise StoreUnavailable("The ledger cannot be read.") from error
        raise


def _verify(
    database: Database, connection: Connection, report: Callable[[int, int], None]
) -> Verification:
    audit = Audit()
    moment = Moment(
        database,
        connection,
        (transactions.c.id, transactions.c.kind),
        (
            postings.c.transaction_id,
            postings.c.asset,
            postings.c.amount,
            postings.c.wallet_id,
            postings.c.line,
        ),
        (
            receipts.c.transaction_id,
            receipts.c.id,
            receipts.c.wallet_id,
            receipts.c.amount,
            receipts.c.overrun,
            receipts.c.balance_after,
        ),
    )
    before = moment.first - 1
    total = moment.last - before
    report(0, total)
    for wallet in _rows(database, connection, _WALLETS):
        audit.wallet(*wallet)
    for hold in _rows(database, connection, _HOLDS):
        audit.hold(*hold)
    for page in moment.pages():
        audit.transactions(page.transactions, page.postings, page.receipts)
        report(page.last - before, total)
    return audit.close()


def _rows(database: Database, connection: Connection, query: Select[Any]) -> Iterator[Row]:
    cursor = connection.cursor.execute(compiled(database.dialect, query))
    while rows := cursor.fetchmany(_ROWS):
        yield from rows
