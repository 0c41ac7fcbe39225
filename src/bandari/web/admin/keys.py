"""API keys: made, looked at, changed, rotated, revoked. A secret is told once."""

from __future__ import annotations

import asyncio

from bandari.domain.audit_log import Actor
from bandari.domain.catalogue import DEFAULT_GROUP
from bandari.domain.keys import ApiKey, KeyPolicy
from bandari.service.administration import Administration, NewKey
from bandari.service.policies import policy_from
from bandari.web import problems
from bandari.web.exchange import Exchange
from bandari.web.requests import (
    PAGE,
    body_if_any,
    body_of,
    check_no_parameters,
    check_says_nothing,
    number_in_path,
    tell_page,
)
from bandari.wire.admin import answers
from bandari.wire.admin.bodies import KeyChange, NewKeyOf, Rotation
from bandari.wire.admin.queries import Query


class Keys:
    """A key has its id in the path, never its text."""

    def __init__(self, administration: Administration) -> None:
        self._administration = administration
        self._changing = asyncio.Lock()

    async def list(self, exchange: Exchange, _by: Actor) -> None:
        """A page of all, or of one account's, by id; revoked ones too."""
        query = Query(exchange.query, ("account", *PAGE))
        limit = query.limit()
        account, after = query.text("account"), query.number("after") or 0
        found = await self._administration.keys(account, after, limit)
        await tell_page(exchange, found, limit, answers.key, lambda each: each.id)

    async def create(self, exchange: Exchange, by: Actor) -> None:
        asked = await body_of(exchange, NewKeyOf)
        policy = KeyPolicy()
        if asked.policy is not None:
            policy = policy_from(asked.policy, KeyPolicy, "policy")
        made = await self._administration.create_key(
            asked.account,
            asked.name,
            DEFAULT_GROUP if asked.group is None else asked.group,
            by=by,
            policy=policy,
        )
        await _tell_new(exchange, made)

    async def one(self, exchange: Exchange, _by: Actor) -> None:
        check_no_parameters(exchange)
        await _tell(exchange, await self._administration.key(number_in_path(exchange, "key")))

    async def change(self, exchange: Exchange, by: Actor) -> None:
        """What is said is changed, one operator after the other."""
        key_id = number_in_path(exchange, "key")
        asked = await body_of(exchange, KeyChange)
        async with self._changing:
            policy = None
            if asked.policy is not None:
                key = await self._administration.key(key_id)
                policy = policy_from(asked.policy, KeyPolicy, "policy", key.policy)
            changed = await self._administration.update_key(
                key_id, by=by, name=asked.name, group=asked.group, policy=policy
            )
        await _tell(exchange, changed)

    async def rotate(self, exchange: Exchange, by: Actor) -> None:
        key_id = number_in_path(exchange, "key")
        grace_s = (await body_if_any(exchange, Rotation)).grace_seconds
        await _tell_new(
            exchange, await self._administration.rotate_key(key_id, grace_s * 1000, by=by)
        )

    async def revoke(self, exchange: Exchange, by: Actor) -> None:
        await check_says_nothing(exchange)
        key_id = number_in_path(exchange, "key")
        await _tell(exchange, await self._administration.revoke_key(key_id, by=by))


async def _tell(exchange: Exchange, key: ApiKey) -> None:
    await exchange.respond(200, problems.JSON, answers.encode(answers.key(key)))


async def _tell_new(exchange: Exchange, made: NewKey) -> None:
    body = answers.encode(answers.new_key(made.text, made.key))
    await exchange.respond(200, problems.JSON, body)
