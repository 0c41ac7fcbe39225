"""The log of changes: who, what, before, after."""

from __future__ import annotations

from bandari.domain.audit_log import Actor
from bandari.service.administration import Administration
from bandari.web import problems
from bandari.web.exchange import Exchange
from bandari.web.requests import PAGE
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
        following = found[-1].id if len(found) == limit else None
        body = answers.encode_page(map(answers.audit_entry, found), following)
        await exchange.respond(200, problems.JSON, body)
