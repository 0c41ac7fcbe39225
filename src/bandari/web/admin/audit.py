"""The log of changes: who, what, before, after."""

from __future__ import annotations

from bandari.domain.audit_log import Actor
from bandari.service.administration import Administration
from bandari.web.exchange import Exchange
from bandari.web.requests import PAGE, tell_page
from bandari.wire.admin import answers
from bandari.wire.admin.queries import Query


class Audit:
    def __init__(self, administration: Administration) -> None:
        self._administration = administration

    async def list(self, exchange: Exchange, _by: Actor) -> None:
        """A page, the latest first: what comes after an entry is older."""
        query = Query(exchange.query, ("subject", "who", *PAGE))
        limit = query.limit()
        found = await self._administration.audit_entries(
            subject=query.text("subject"),
            who=query.text("who"),
            before=query.number("after"),
            limit=limit,
        )
        await tell_page(exchange, found, limit, answers.audit_entry, lambda each: each.id)
