"""Finding receipts in the order of their numbers, where only the books' own order is an index.

Receipts have no index but their numbers, because every charge would pay for it. Where there can be
some of what is asked for, ``usage_hours`` knows: each of its rows says between which numbers its
receipts lie. What is not added up yet is looked through.

Rule 1: one look reads ``MAX_LOOK`` receipts and ``MAX_SPANS`` rows of ``usage_hours`` at most, and
says how far it has come; whoever wants more looks again.
Rule 2: no use is made of a receipt's time but to compare it: numbers and times do not grow
together where a clock was set back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, func, null, select
from sqlalchemy.engine import Dialect

from bandari.adapters.storage.database import Connection, Row
from bandari.adapters.storage.rows import receipt_read
from bandari.adapters.storage.schema import receipts, usage_hours, usage_progress
from bandari.adapters.storage.statements import compiled, first, given, read_receipts
from bandari.adapters.storage.usage_statements import SHAPES, is_in_hours, is_in_receipts
from bandari.domain.ledger import Receipt
from bandari.domain.reports import HOUR_MS

MAX_LOOK = 50_000
MAX_SPANS = 500
"""Rows of ``usage_hours`` that are read at once."""
PROBE = 10
"""How many times as many receipts as are wanted are looked through before it is asked where they
are: that is cheaper where every few are among them."""
NEAR = 50
"""Spans as near as this are read as one."""

_TIMES = ("start_ms", "end_ms")

Span = tuple[int, int]
"""From behind the first number to the second."""


class Look(NamedTuple):
    """What was found, each with its number; and the number up to which that is all there is."""

    found: Sequence[tuple[int, Receipt]]
    place: int


class _Statements(NamedTuple):
    """For a selection with certain fields."""

    some: str
    spans: str


class ReceiptPages:
    """Looks for receipts on a reader's connection. ``asked`` is what a selection says, by field."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._progress = compiled(dialect, select(usage_progress.c.transaction_id))
        number = receipts.c.transaction_id
        end = first(
            select(number).where(number > given("after"), number <= given("last")).order_by(number),
            given("count"),
        ).subquery("looked_through")
        self._end = compiled(
            dialect, select(func.max(end.c.transaction_id)), *("after", "last", "count")
        )

    def look(
        self, connection: Connection, asked: Mapping[str, int | str], span: Span, limit: int
    ) -> Look:
        """The first receipts of a span, at most ``limit``; perhaps not all of them yet."""
        statements = _statements(self._dialect, tuple(asked))
        looking = _Looking(connection, statements, asked, limit, self._end)
        after, last = span
        looking.take(after, min(after + PROBE * limit, last) if asked else last)
        if looking.is_full or looking.place >= last:
            return looking.result()
        (progress,) = connection.cursor.execute(self._progress).fetchone()
        spans, sure = looking.spans(looking.place, last)
        if sure is None:
            # The spans are all that there are; beyond the progress there may be receipts anywhere.
            spans.append((max(progress, looking.place), last))
            sure = last
        elif sure <= looking.place:
            spans, sure = [(looking.place, last)], last
        return looking.through(spans, sure)


class _Looking:
    """One look."""

    def __init__(
        self,
        connection: Connection,
        statements: _Statements,
        asked: Mapping[str, int | str],
        limit: int,
        end: str,
    ) -> None:
        self._connection = connection
        self._statements = statements
        self._asked = tuple(asked.values())
        self._hours = tuple(
            value - value % HOUR_MS if field == "start_ms" and isinstance(value, int) else value
            for field, value in asked.items()
        )
        self._limit = limit
        self._end = end
        self._left = MAX_LOOK
        self._found: list[tuple[int, Receipt]] = []
        self.place = 0

    def result(self) -> Look:
        return Look(self._found, self.place)

    @property
    def is_full(self) -> bool:
        """Whether there are as many as are wanted."""
        return len(self._found) >= self._limit

    def take(self, after: int, last: int) -> None:
        """Look there, for as many as are missing."""
        wanted = self._limit - len(self._found)
        parameters = (*self._asked, after, last, wanted)
        rows = self._connection.cursor.execute(self._statements.some, parameters).fetchall()
        self._found += map(_numbered, rows)
        self.place = last if len(rows) < wanted else self._found[-1][0]

    def spans(self, after: int, last: int) -> tuple[list[Span], int | None]:
        """Where receipts may lie, and the number up to which that is sure (None: all of them)."""
        cursor = self._connection.cursor
        parameters = (*self._hours, after, last, MAX_SPANS)
        rows = cursor.execute(self._statements.spans, parameters).fetchall()
        sure = None if len(rows) < MAX_SPANS else rows[-1][0] - 1
        spans: list[Span] = []
        for lowest, highest, requests in rows:
            if lowest is None:
                continue
            if requests is None or requests > 2:
                spans.append((lowest - 1, highest))
            else:
                spans += ((lowest - 1, lowest), (highest - 1, highest))
        return spans, sure

    def through(self, spans: Sequence[Span], sure: int) -> Look:
        """Look through the spans, which hold all that there is up to ``sure``."""
        for after, last in _merged(spans, self.place, sure):
            end = self._within_reach(after, last)
            self.take(after, end)
            if self.is_full or not self._left:
                return self.result()
        self.place = max(self.place, sure)
        return self.result()

    def _within_reach(self, after: int, last: int) -> int:
        """How far of a span may still be looked through; numbers may be missing in between."""
        if last - after <= self._left:
            self._left -= last - after
            return last
        row = self._connection.cursor.execute(self._end, (after, last, self._left)).fetchone()
        self._left = 0
        return last if row[0] is None else int(row[0])


@lru_cache(maxsize=SHAPES)
def _statements(dialect: Dialect, fields: tuple[str, ...]) -> _Statements:
    number = receipts.c.transaction_id
    some = first(
        read_receipts()
        .add_columns(number)
        .where(*map(is_in_receipts, fields), number > given("after"), number <= given("last"))
        .order_by(number),
        given("limit"),
    )
    here = usage_hours.c
    those = [
        *map(is_in_hours, fields),
        here.last_transaction_id > given("after"),
        here.first_transaction_id <= given("last"),
    ]
    lowest, highest = here.first_transaction_id, here.last_transaction_id
    span: list[ColumnElement[Any]] = [lowest, highest, here.requests]
    spans = select(*span).where(*those).order_by(lowest)
    if set(fields) <= set(_TIMES):
        # Of whole hours, what lies between their first and their last receipt.
        span = [func.min(lowest), func.max(highest), null()]
        spans = select(*span).where(*those)
    return _Statements(
        compiled(dialect, some, *fields, "after", "last", "limit"),
        compiled(dialect, first(spans, given("limit")), *fields, "after", "last", "limit"),
    )


def _merged(spans: Sequence[Span], place: int, sure: int) -> Iterator[Span]:
    """The spans between the two numbers in their order, those that touch or are near as one."""
    open_after, open_last = None, 0
    clipped = [(max(after, place), min(last, sure)) for after, last in spans]
    for after, last in sorted(span for span in clipped if span[0] < span[1]):
        if open_after is None:
            open_after, open_last = after, last
        elif after <= open_last + NEAR:
            open_last = max(open_last, last)
        else:
            yield open_after, open_last
            open_after, open_last = after, last
    if open_after is not None:
        yield open_after, open_last


def _numbered(row: Row) -> tuple[int, Receipt]:
    return row[-1], receipt_read(row)
