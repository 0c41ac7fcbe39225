"""Users: the people who operate. An admin key is told once."""

from __future__ import annotations

from bandari.domain.accounts import User
from bandari.domain.audit_log import Actor
from bandari.service.administration import Administration, NewUser
from bandari.web import problems
from bandari.web.exchange import Exchange
from bandari.web.requests import PAGE, body_of, check_says_nothing, number_in_path, tell_page
from bandari.wire.admin import answers
from bandari.wire.admin.bodies import NewUserOf, RoleChange
from bandari.wire.admin.queries import Query


class Users:
    def __init__(self, administration: Administration) -> None:
        self._administration = administration

    async def list(self, exchange: Exchange, _by: Actor) -> None:
        """A page, by id; disabled ones too."""
        query = Query(exchange.query, PAGE)
        limit = query.limit()
        found = await self._administration.users(query.number("after") or 0, limit)
        await tell_page(exchange, found, limit, answers.user, lambda each: each.id)

    async def create(self, exchange: Exchange, by: Actor) -> None:
        asked = await body_of(exchange, NewUserOf)
        await _tell_new(
            exchange, await self._administration.create_user(asked.name, asked.role, by=by)
        )

    async def change(self, exchange: Exchange, by: Actor) -> None:
        user_id = number_in_path(exchange, "user")
        role = (await body_of(exchange, RoleChange)).role
        await _tell(exchange, await self._administration.set_role(user_id, role, by=by))

    async def rotate(self, exchange: Exchange, by: Actor) -> None:
        """The former admin key opens no more."""
        await check_says_nothing(exchange)
        user_id = number_in_path(exchange, "user")
        await _tell_new(exchange, await self._administration.rotate_user_key(user_id, by=by))

    async def disable(self, exchange: Exchange, by: Actor) -> None:
        await check_says_nothing(exchange)
        user_id = number_in_path(exchange, "user")
        await _tell(exchange, await self._administration.disable_user(user_id, by=by))


async def _tell(exchange: Exchange, user: User) -> None:
    await exchange.respond(200, problems.JSON, answers.encode(answers.user(user)))


async def _tell_new(exchange: Exchange, made: NewUser) -> None:
    body = answers.encode(answers.new_user(made.text, made.user))
    await exchange.respond(200, problems.JSON, body)
