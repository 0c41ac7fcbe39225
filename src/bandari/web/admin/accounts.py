"""Accounts: who they are, what they may, and what is in their wallets."""

from __future__ import annotations

import asyncio

from bandari.domain.accounts import AccountPolicy
from bandari.domain.audit_log import Actor
from bandari.domain.ledger import Wallet
from bandari.service.administration import Administration
from bandari.service.policies import policy_from
from bandari.web import problems
from bandari.web.end_users import EndUsers
from bandari.web.exchange import Exchange
from bandari.web.requests import PAGE, body_of, check_no_parameters, payment_of, tell_page
from bandari.wire.admin import answers
from bandari.wire.admin.bodies import AccountChange, Adjustment, Credit, NewAccount
from bandari.wire.admin.queries import Query


class Accounts:
    """An account is named in the path."""

    def __init__(self, administration: Administration) -> None:
        self._administration = administration
        self._end_users = EndUsers(administration)
        self._changing = asyncio.Lock()

    async def list(self, exchange: Exchange, _by: Actor) -> None:
        """A page, by id; without their wallets."""
        query = Query(exchange.query, PAGE)
        limit = query.limit()
        found = await self._administration.accounts(query.number("after") or 0, limit)
        await tell_page(exchange, found, limit, answers.account, lambda each: each.id)

    async def create(self, exchange: Exchange, by: Actor) -> None:
        asked = await body_of(exchange, NewAccount)
        policy = AccountPolicy()
        if asked.policy is not None:
            policy = policy_from(asked.policy, AccountPolicy, "policy")
        account = await self._administration.create_account(asked.name, by, policy)
        await exchange.respond(200, problems.JSON, answers.encode(answers.account(account, ())))

    async def one(self, exchange: Exchange, _by: Actor) -> None:
        check_no_parameters(exchange)
        await self._tell(exchange)

    async def change(self, exchange: Exchange, by: Actor) -> None:
        """What is said of the policy is changed, one operator after the other.

        So what two change at once is both there afterwards, where it is not the same.
        """
        asked = await body_of(exchange, AccountChange)
        name = exchange.path_id
        async with self._changing:
            policy = (await self._administration.account(name)).account.policy
            changed = policy_from(asked.policy, AccountPolicy, "policy", policy)
            await self._administration.set_account_policy(name, changed, by)
        await self._tell(exchange)

    async def wallets(self, exchange: Exchange, _by: Actor) -> None:
        """The account's own."""
        check_no_parameters(exchange)
        statement = await self._administration.account(exchange.path_id)
        body = answers.encode_page(map(answers.wallet, statement.wallets))
        await exchange.respond(200, problems.JSON, body)

    async def credit(self, exchange: Exchange, by: Actor) -> None:
        asked = await payment_of(exchange, Credit)
        wallet = await self._administration.credit(
            exchange.path_id,
            asked.amount,
            asked.asset,
            why=asked.why,
            by=by,
            end_user=asked.end_user,
        )
        await _tell_wallet(exchange, wallet)

    async def adjust(self, exchange: Exchange, by: Actor) -> None:
        asked = await payment_of(exchange, Adjustment)
        wallet = await self._administration.adjust(
            exchange.path_id,
            asked.amount,
            asked.asset,
            why=asked.why,
            by=by,
            end_user=asked.end_user,
            line=asked.line,
        )
        await _tell_wallet(exchange, wallet)

    async def end_users(self, exchange: Exchange, _by: Actor) -> None:
        await self._end_users.list(exchange, exchange.path_id)

    async def end_user(self, exchange: Exchange, _by: Actor) -> None:
        account, name = exchange.path_ids
        await self._end_users.one(exchange, account, name)

    async def put_end_user(self, exchange: Exchange, by: Actor) -> None:
        account, name = exchange.path_ids
        await self._end_users.put(exchange, account, name, by)

    async def transfer(self, exchange: Exchange, by: Actor) -> None:
        account, name = exchange.path_ids
        await self._end_users.transfer(exchange, account, name, by)

    async def _tell(self, exchange: Exchange) -> None:
        statement = await self._administration.account(exchange.path_id)
        body = answers.encode(answers.account(statement.account, statement.wallets))
        await exchange.respond(200, problems.JSON, body)


async def _tell_wallet(exchange: Exchange, wallet: Wallet) -> None:
    await exchange.respond(200, problems.JSON, answers.encode(answers.wallet(wallet)))
