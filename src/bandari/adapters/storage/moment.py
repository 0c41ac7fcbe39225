"""One moment of the books, read in pages, without holding on to it.

A snapshot that lasts keeps SQLite from ever starting its log again, and PostgreSQL from forgetting
the former versions of a busy wallet's row. So only what changes is read on a snapshot, and that is
little; transactions, postings and receipts are only ever appended, and can be read at leisure.

Why it is still one moment: a number is ``settled`` once no transaction up to it can appear any
more. It is asked for before the snapshot is taken, so the snapshot sees all of these. What
it sees beyond (as much as was committed in between) is read while it lasts. Together they are
exactly what the snapshot sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Column, Select, func, select

from bandari.adapters.storage.database import Connection, Database, Row
from bandari.adapters.storage.schema import postings, receipts, transactions
from bandari.adapters.storage.statements import compiled, given

PAGE = 2_000
"""How many transactions are read at once."""
MAX_UNSETTLED = 50_000
"""How many transactions beyond the settled ones are kept in memory. More than that come only with
damage, or with a writer that stands still; then the snapshot is kept to the end."""

_NUMBERS = (transactions.c.id, postings.c.transaction_id, receipts.c.transaction_id)

Columns = Sequence[Column[Any]]


class Page(Struct, frozen=True):
    """What belongs to the transactions from one number to another, in the order of the numbers.

    Rows have the columns that ``Moment`` was asked for.
    """

    last: int
    transactions: Sequence[Row]
    postings: Sequence[Row]
    receipts: Sequence[Row]

    def __len__(self) -> int:
        return len(self.transactions) + len(self.postings) + len(self.receipts)


class Moment:
    """From its making until ``pages`` is called, the connection is on a snapshot.

    ``first`` and ``last`` are the lowest and the highest number of a transaction, of those too that
    are lost and have left a posting or a receipt behind; (1, 0) where there is none.
    """

    def __init__(
        self,
        database: Database,
        connection: Connection,
        transaction_columns: Columns,
        posting_columns: Columns,
        receipt_columns: Columns,
    ) -> None:
        self._database = database
        self._connection = connection
        self._queries = [
            self._compiled_page(transaction_columns, transactions.c.id),
            self._compiled_page(posting_columns, postings.c.transaction_id, postings.c.position),
            self._compiled_page(receipt_columns, receipts.c.transaction_id),
        ]
        lowest = [
            select(func.min(number)).where(number > given("after")).scalar_subquery()
            for number in _NUMBERS
        ]
        self._beyond = compiled(database.dialect, select(*lowest), "after", "after", "after")
        self._settled = connection.settled()
        connection.begin_snapshot()
        self.first, self.last = self._ends()

    def pages(self) -> Iterator[Page]:
        """All of the moment's transactions, page by page. Ends the snapshot as soon as may be."""
        end = self.last
        unsettled = None
        if self._settled is not None and end - self._settled <= MAX_UNSETTLED:
            end = min(end, self._settled)
            unsettled = self._read(end, self.last)
            self._connection.roll_back()
        after = self.first - 1
        while after < end:
            page = self._read(after, min(after + PAGE, end))
            after = page.last
            if not len(page):
                after = min(self._next(after) - 1, end)
                continue
            yield page
        if unsettled is None:
            self._connection.roll_back()
        elif len(unsettled):
            yield unsettled

    def _ends(self) -> tuple[int, int]:
        ends = [
            select(extreme(number)).scalar_subquery()
            for extreme in (func.min, func.max)
            for number in _NUMBERS
        ]
        sql = compiled(self._database.dialect, select(*ends))
        row = self._connection.cursor.execute(sql).fetchone()
        known = [number for number in row if number is not None]
        return (min(known), max(known)) if known else (1, 0)

    def _next(self, after: int) -> int:
        """The lowest number beyond; there is one where this is called, or it is the end."""
        row = self._connection.cursor.execute(self._beyond, (after, after, after)).fetchone()
        return min((number for number in row if number is not None), default=self.last + 1)

    def _read(self, after: int, last: int) -> Page:
        execute = self._connection.cursor.execute
        return Page(last, *(execute(query, (after, last)).fetchall() for query in self._queries))

    def _compiled_page(self, columns: Columns, *order: Column[Any]) -> str:
        number = order[0]
        query: Select[Any] = (
            select(*columns)
            .where(number > given("after"), number <= given("last"))
            .order_by(*order)
        )
        return compiled(self._database.dialect, query, "after", "last")
