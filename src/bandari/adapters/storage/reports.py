"""What the books say afterwards: receipts one by one, and usage added up.

Rule: what people ask may take long, so it has a reader of its own, and no request waits behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bandari.adapters.storage.bounds import check_text
from bandari.adapters.storage.database import Connection, Database
from bandari.adapters.storage.group_commit import GroupCommit
from bandari.adapters.storage.reader import Reader
from bandari.adapters.storage.receipt_pages import ReceiptPages
from bandari.adapters.storage.roll_up import MAX_CHUNK, SETTLING_S, RollUp
from bandari.adapters.storage.statements import USAGE
from bandari.adapters.storage.usage_statements import (
    SUBJECTS,
    spent_statement,
    usage_statement,
    whole,
)
from bandari.domain.allowance import Subject
from bandari.domain.ledger import Receipt
from bandari.domain.reports import (
    HOUR_MS,
    TIME_DIMENSIONS,
    Dimension,
    Selection,
    Spent,
    UsageRow,
)
from bandari.domain.usage import Usage

REPORT_TIMEOUT_S = 30.0

_FIELD = {
    Dimension.HOUR: "start_ms",
    Dimension.DAY: "start_ms",
    Dimension.MONTH: "start_ms",
    Dimension.ACCOUNT: "account",
    Dimension.KEY: "key_id",
    Dimension.END_USER: "end_user",
    Dimension.MODEL: "model",
}


class SqlReports:
    """``service.ports.Reports`` on a database.

    ``reader`` answers what a request has to know, ``patient`` what people ask.
    """

    def __init__(
        self, database: Database, writer: GroupCommit, reader: Reader, patient: Reader
    ) -> None:
        self._dialect = database.dialect
        self._writer = writer
        self._reader = reader
        self._patient = patient
        self._roll_up = RollUp(database)
        self._pages = ReceiptPages(database.dialect)

    async def receipts(
        self, selection: Selection, after: int, limit: int, last: int | None = None
    ) -> Sequence[tuple[int, Receipt]]:
        asked = _asked(selection)
        settled = await self.last_number()
        end = settled if last is None else min(last, settled)
        found: list[tuple[int, Receipt]] = []
        while after < end and len(found) < limit:
            wanted = limit - len(found)
            some, after = await self._patient.run(self._pages.look, asked, (after, end), wanted)
            found += some
        return found

    async def last_number(self) -> int:
        return await self._patient.run(self._last_number)

    async def usage(
        self, selection: Selection, by: Sequence[Dimension], limit: int
    ) -> Sequence[UsageRow]:
        if len(set(TIME_DIMENSIONS).intersection(by)) > 1:
            raise ValueError("usage is told apart by one of hour, day and month")
        return await self._patient.run(
            self._usage, _asked(selection), tuple(dict.fromkeys(by)), limit
        )

    async def spent(
        self, subject: Subject, identity: tuple[int | str, ...], since_ms: int
    ) -> Sequence[Spent]:
        asked = dict(zip(SUBJECTS[subject], identity, strict=True))
        _check(asked)
        asked["start_ms"] = since_ms - since_ms % HOUR_MS
        return await self._reader.run(self._spent, subject, asked)

    async def roll_up(self, limit: int) -> int:
        settled = await self._patient.run(self._roll_up.settled)
        if settled is None:
            return 0
        chunk = min(limit, MAX_CHUNK)
        return await self._writer.run((), self._roll_up.add, settled, chunk)

    # Questions, on a reader's connection.

    def _last_number(self, connection: Connection) -> int:
        settled = connection.settled(SETTLING_S)
        return self._progress(connection) if settled is None else settled

    def _progress(self, connection: Connection) -> int:
        return int(connection.cursor.execute(self._roll_up.progress).fetchone()[0])

    def _usage(
        self,
        connection: Connection,
        asked: Mapping[str, int | str],
        by: tuple[Dimension, ...],
        limit: int,
    ) -> Sequence[UsageRow]:
        sql, names = usage_statement(self._dialect, tuple(asked), by)
        given = {**asked, "progress": self._progress(connection), "limit": limit}
        rows = connection.cursor.execute(sql, [given[name] for name in names]).fetchall()
        return [_usage_row(row, by) for row in rows]

    def _spent(
        self, connection: Connection, subject: Subject, asked: Mapping[str, int | str]
    ) -> Sequence[Spent]:
        sql, names = spent_statement(self._dialect, subject)
        given = {**asked, "progress": self._progress(connection)}
        rows = connection.cursor.execute(sql, [given[name] for name in names]).fetchall()
        hours: dict[int, Spent] = {}
        for hour_ms, asset, *sums in rows:
            requests, usage, amount, _ = _sums(sums)
            before = hours.get(hour_ms, Spent(hour_ms, 0, 0, {}))
            hours[hour_ms] = Spent(
                hour_ms,
                before.requests + requests,
                before.tokens + usage.total_tokens,
                {**before.amounts, asset: amount},
            )
        return list(hours.values())


def _asked(selection: Selection) -> dict[str, int | str]:
    """What a selection says, by field."""
    values = {field: getattr(selection, field) for field in Selection.__struct_fields__}
    asked = {field: value for field, value in values.items() if value is not None}
    _check(asked)
    return asked


def _check(asked: Mapping[str, int | str]) -> None:
    check_text(*(value for value in asked.values() if isinstance(value, str)))


def _usage_row(row: Sequence[Any], by: Sequence[Dimension]) -> UsageRow:
    apart = dict(zip((_FIELD[dimension] for dimension in by), row, strict=False))
    requests, usage, amount, overrun = _sums(row[len(by) + 1 :])
    return UsageRow(
        asset=row[len(by)],
        requests=requests,
        usage=usage,
        amount=amount,
        overrun=overrun,
        **apart,
    )


def _sums(row: Sequence[Any]) -> tuple[int, Usage, int, int]:
    """Requests, usage, amount and overrun."""
    requests, *rest = whole(row)
    return requests, Usage(*rest[: len(USAGE)]), rest[-2], rest[-1]
