"""Receipts and usage, as a page of JSON or all of them as a file.

Whose they may be is decided by who calls; here is how the query is read and the answer is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Hashable, Sequence
from functools import partial
from typing import Final

from bandari.domain.faults import InvalidValue
from bandari.domain.reports import Dimension, Selection, UsageRow
from bandari.service.reporting import Reporting
from bandari.web import problems
from bandari.web.exchange import Exchange
from bandari.web.exports import Exports
from bandari.wire.admin.queries import Form, Query
from bandari.wire.reports import bodies
from bandari.wire.reports.exports import CUSTOMER_EXPORTS, EXPORTS, Export

FILTERS: Final = ("key", "end_user", "model", "start", "end", "format")
RECEIPT_PARAMETERS: Final = (*FILTERS, "after", "limit")
USAGE_PARAMETERS: Final = (*FILTERS, "by")
ROWS_OF_A_PIECE: Final = 50
"""What is spelled at once: about a millisecond, in which nobody's stream goes on."""


class Reports:
    """``tells_target``: whether those who ask are told which provider has answered."""

    def __init__(self, reporting: Reporting, exports: Exports, *, tells_target: bool) -> None:
        self._reporting = reporting
        self._exports = exports
        self._tells_target = tells_target
        self._forms = EXPORTS if tells_target else CUSTOMER_EXPORTS

    async def receipt(self, exchange: Exchange, account_id: int | None) -> None:
        """The one in the path. The same 404 for one that is not there and one of another's."""
        receipt = await self._reporting.receipt(exchange.path_ids[-1], account_id)
        body = bodies.receipt_body(receipt, tells_target=self._tells_target)
        await exchange.respond(200, problems.JSON, body)

    async def receipts(
        self, exchange: Exchange, query: Query, selection: Selection, owner: Hashable
    ) -> None:
        """In the order in which they were charged."""
        export = self._form(query)
        if export is None:
            page = await self._reporting.receipts(
                selection, query.number("after") or 0, query.limit()
            )
            spell = partial(bodies.receipts_body, tells_target=self._tells_target)
            # Beside the event loop, as it may be long.
            body = await asyncio.to_thread(spell, page.receipts, page.next)
            await exchange.respond(200, problems.JSON, body)
            return
        pieces = self._receipt_pieces(export, selection)
        await self._exports.send(
            exchange, owner, export.media_type, f"receipts{export.suffix}", pieces
        )

    async def usage(
        self, exchange: Exchange, query: Query, selection: Selection, owner: Hashable
    ) -> None:
        """Added up, by what the query says."""
        export, by = self._form(query), query.dimensions()
        rows = await self._reporting.usage(selection, by)
        if export is None:
            body = await asyncio.to_thread(bodies.usage_body, rows, by)
            await exchange.respond(200, problems.JSON, body)
            return
        pieces = _usage_pieces(export, rows, by)
        await self._exports.send(
            exchange, owner, export.media_type, f"usage{export.suffix}", pieces
        )

    def _form(self, query: Query) -> Export | None:
        """None for JSON."""
        form = query.choice("format", Form)
        return None if form is None or form is Form.JSON else self._forms[form]

    async def _receipt_pieces(
        self, export: Export, selection: Selection
    ) -> AsyncGenerator[bytes, None]:
        head = export.receipts_head
        async for page in self._reporting.each_receipt(selection):
            for start in range(0, len(page), ROWS_OF_A_PIECE):
                yield head + export.receipts(page[start : start + ROWS_OF_A_PIECE])
                head = b""
        yield head


def selection_of(
    query: Query, account_id: int | None, key_id: int | None, end_user: str | None = None
) -> Selection:
    """What the query selects of that account's, or of all.

    ``end_user`` is on whose behalf it is asked: then it is of him. Raises ``InvalidValue`` for a
    query that names another.
    """
    named = query.text("end_user")
    if end_user is not None and named not in (None, end_user):
        raise InvalidValue("'end_user' names another than 'X-On-Behalf-Of' does.", param="end_user")
    start_ms, end_ms = query.range_ms()
    return Selection(
        account_id=account_id,
        key_id=key_id,
        end_user=named if end_user is None else end_user,
        model=query.text("model"),
        start_ms=start_ms,
        end_ms=end_ms,
    )


async def _usage_pieces(
    export: Export, rows: Sequence[UsageRow], by: Sequence[Dimension]
) -> AsyncGenerator[bytes, None]:
    yield export.usage_head(by)
    for start in range(0, len(rows), ROWS_OF_A_PIECE):
        yield export.usage(rows[start : start + ROWS_OF_A_PIECE], by)
