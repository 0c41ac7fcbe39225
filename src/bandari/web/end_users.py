"""An account's end users: their limits and their wallets, for its operator and for itself."""

from __future__ import annotations

from collections.abc import Sequence

from bandari.domain.accounts import EndUser
from bandari.domain.allowance import Limits
from bandari.domain.audit_log import Actor
from bandari.domain.ledger import Wallet
from bandari.service.administration import Administration
from bandari.service.policies import policy_from
from bandari.web import problems
from bandari.web.exchange import Exchange
from bandari.web.requests import PAGE, body_of, check_no_parameters, payment_of, tell_page
from bandari.wire.admin import answers
from bandari.wire.admin.bodies import EndUserChange, Transfer
from bandari.wire.admin.queries import Query


class EndUsers:
    """``account`` is the name of whose end users they are. Raises what administration raises."""

    def __init__(self, administration: Administration) -> None:
        self._administration = administration

    async def list(self, exchange: Exchange, account: str) -> None:
        """A page of those of whom the account has said something, by name."""
        query = Query(exchange.query, PAGE)
        limit = query.limit()
        found = await self._administration.end_users(account, query.text("after") or "", limit)
        await tell_page(exchange, found, limit, answers.end_user, lambda each: each.name)

    async def one(self, exchange: Exchange, account: str, name: str) -> None:
        check_no_parameters(exchange)
        await _tell(exchange, *await self._administration.end_user(account, name))

    async def put(self, exchange: Exchange, account: str, name: str, by: Actor) -> None:
        """Give him limits of his own, in place of what he had; or none."""
        given = (await body_of(exchange, EndUserChange)).limits
        limits = None if given is None else policy_from(given, Limits, "limits")
        await self._administration.set_end_user_limits(account, name, limits, by=by)
        await _tell(exchange, *await self._administration.end_user(account, name))

    async def transfer(self, exchange: Exchange, account: str, name: str, by: Actor) -> None:
        """Move money between the account's own wallet and his."""
        asked = await payment_of(exchange, Transfer)
        own, his = await self._administration.transfer(
            account, name, asked.amount, asked.asset, why=asked.why, by=by
        )
        body = answers.encode({"account": answers.wallet(own), "end_user": answers.wallet(his)})
        await exchange.respond(200, problems.JSON, body)


async def _tell(exchange: Exchange, end_user: EndUser, wallets: Sequence[Wallet]) -> None:
    body = answers.encode(answers.end_user(end_user, wallets))
    await exchange.respond(200, problems.JSON, body)
