"""Who may operate: the admin key of a request, and whether its user's role may do that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from bandari.domain.audit_log import Actor
from bandari.domain.keys import MAX_KEY_CHARACTERS
from bandari.domain.outcome import Deny, Reason
from bandari.service.administration import Action, Operator
from bandari.service.ports import Metrics
from bandari.service.tracing import request_id
from bandari.web import problems
from bandari.web.app import Endpoint
from bandari.web.exchange import Exchange

FindOperator = Callable[[str | None, str], Awaitable[Operator | Deny]]
"""Whose admin key that is; the second is the address that it comes from."""

Work = Callable[[Exchange, Actor], Awaitable[None]]
"""An endpoint that knows who is asking."""


class Entrance:
    """Every endpoint of the operator API stands behind it: nothing is done before somebody may."""

    def __init__(self, find_operator: FindOperator, metrics: Metrics) -> None:
        self._find_operator = find_operator
        self._metrics = metrics

    def to_read(self, work: Work) -> Endpoint:
        """The endpoint for whoever may look."""
        return self._guarded(work, Action.READ)

    def to_change(self, work: Work) -> Endpoint:
        return self._guarded(work, Action.CHANGE)

    def to_change_users(self, work: Work) -> Endpoint:
        return self._guarded(work, Action.CHANGE_USERS)

    def _guarded(self, work: Work, action: Action) -> Endpoint:
        async def endpoint(exchange: Exchange) -> None:
            # What is said of accounts and keys is nobody's to keep.
            exchange.headers.append((b"cache-control", b"no-store"))
            operator = await self._operator(exchange)
            if isinstance(operator, Operator) and not operator.may(action):
                operator = _not_allowed(operator, action)
            if isinstance(operator, Deny):
                await problems.tell(exchange, operator, self._metrics)
                return
            await work(exchange, Actor(operator.name, request_id.get()))

        return endpoint

    async def _operator(self, exchange: Exchange) -> Operator | Deny:
        key: str | None = exchange.header(b"x-admin-key")
        text = exchange.header(b"authorization")
        if key is None and text is not None:
            scheme, _, key = text.partition(" ")
            key = key.strip()
            if scheme.lower() != "bearer" or not key or len(key) > MAX_KEY_CHARACTERS:
                return Deny(
                    Reason.MALFORMED_KEY,
                    "The Authorization header must read 'Bearer YOUR_ADMIN_KEY'.",
                )
        return await self._find_operator(key, exchange.source)


def _not_allowed(operator: Operator, action: Action) -> Deny:
    doing = action.value.replace("_", " ")
    return Deny(Reason.WRONG_ROLE, f"The role '{operator.role}' may not {doing}.")
