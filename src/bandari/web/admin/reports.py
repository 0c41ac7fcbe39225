"""Receipts and usage of all accounts, or of one."""

from __future__ import annotations

from bandari.domain.audit_log import Actor
from bandari.domain.reports import Selection
from bandari.service.reporting import Reporting
from bandari.web.exchange import Exchange
from bandari.web.exports import Exports
from bandari.web.reports import RECEIPT_PARAMETERS, USAGE_PARAMETERS, Reports, selection_of
from bandari.web.requests import check_no_parameters
from bandari.wire.admin.queries import Query


class AllReports:
    def __init__(self, reporting: Reporting, exports: Exports) -> None:
        self._reporting = reporting
        self._reports = Reports(reporting, exports, tells_target=True)

    async def receipt(self, exchange: Exchange, _by: Actor) -> None:
        check_no_parameters(exchange)
        await self._reports.receipt(exchange, None)

    async def receipts(self, exchange: Exchange, by: Actor) -> None:
        query = Query(exchange.query, ("account", *RECEIPT_PARAMETERS))
        selection = await self._selection(query)
        await self._reports.receipts(exchange, query, selection, ("operator", by.name))

    async def usage(self, exchange: Exchange, by: Actor) -> None:
        query = Query(exchange.query, ("account", *USAGE_PARAMETERS))
        selection = await self._selection(query)
        await self._reports.usage(exchange, query, selection, ("operator", by.name))

    async def _selection(self, query: Query) -> Selection:
        """Raises ``NotFound`` for an account that is not there."""
        name = query.text("account")
        account_id = None if name is None else await self._reporting.account_id(name)
        return selection_of(query, account_id, query.number("key"))
