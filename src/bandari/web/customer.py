"""What a customer asks about himself, with his own key: balance, usage, receipts, end users.

Everything is of the key's own account: no name and no number in a request can make it another's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from bandari.domain.accounts import EndUser
from bandari.domain.audit_log import Actor
from bandari.domain.faults import NotFound
from bandari.domain.keys import Principal, Scope
from bandari.domain.ledger import Wallet
from bandari.domain.reports import Selection
from bandari.service.administration import Administration
from bandari.service.limiting import Limiter
from bandari.service.reporting import Reporting
from bandari.service.tracing import request_id
from bandari.web import problems
from bandari.web.admission import Admission
from bandari.web.app import Endpoint, Route
from bandari.web.end_users import EndUsers
from bandari.web.exchange import Exchange
from bandari.web.exports import Exports
from bandari.web.reports import RECEIPT_PARAMETERS, USAGE_PARAMETERS, Reports, selection_of
from bandari.web.requests import check_no_parameters
from bandari.wire.admin import answers
from bandari.wire.admin.queries import Query

THIS_KEY: Final = "this"
_DAY_S: Final = 86_400

Work = Callable[[Exchange, Principal], Awaitable[None]]
"""An endpoint that knows whose key was given."""


class Customer:
    """``now_s`` tells the time in seconds since 1970."""

    def __init__(
        self,
        *,
        admission: Admission,
        administration: Administration,
        reporting: Reporting,
        limiter: Limiter,
        exports: Exports,
        now_s: Callable[[], int],
    ) -> None:
        self._admission = admission
        self._administration = administration
        self._reporting = reporting
        self._limiter = limiter
        self._reports = Reports(reporting, exports, tells_target=False)
        self._end_users = EndUsers(administration)
        self._now_s = now_s

    def routes(self, base: str) -> list[Route]:
        """All of them, under one of the API's bases."""
        reads, rules = Scope.USAGE, Scope.END_USERS
        one = f"{base}/end-users/{{end_user}}"
        return [
            Route(f"{base}/balance", GET=self._guarded(self._balance, reads)),
            Route(f"{base}/usage", GET=self._guarded(self._usage, reads)),
            Route(f"{base}/receipts", GET=self._guarded(self._receipts, reads)),
            Route(f"{base}/receipts/{{receipt}}", GET=self._guarded(self._receipt, reads)),
            Route(f"{base}/end-users", GET=self._guarded(self._all_end_users, rules)),
            Route(
                one,
                GET=self._guarded(self._end_user, rules),
                PUT=self._guarded(self._put_end_user, rules),
            ),
            Route(f"{one}/transfers", POST=self._guarded(self._transfer, rules)),
        ]

    def _guarded(self, work: Work, scope: Scope) -> Endpoint:
        async def endpoint(exchange: Exchange) -> None:
            exchange.headers.append((b"cache-control", b"no-store"))
            principal = await self._admission.identify(exchange, scope)
            if principal is not None:
                await work(exchange, principal)

        return endpoint

    async def _balance(self, exchange: Exchange, principal: Principal) -> None:
        check_no_parameters(exchange)
        statement = await self._administration.account(principal.account)
        key = await self._administration.key(principal.key_id)
        end_user = await self._whom(principal)
        body = answers.encode_balance(
            statement.account,
            statement.wallets,
            key,
            await self._used(principal),
            None if end_user is None else answers.end_user(*end_user),
            await self._limiter.states(principal),
        )
        await exchange.respond(200, problems.JSON, body)

    async def _whom(self, principal: Principal) -> tuple[EndUser, tuple[Wallet, ...]] | None:
        """On whose behalf it is, if the account has said something of him."""
        if principal.end_user is None:
            return None
        try:
            end_user, wallets = await self._administration.end_user(
                principal.account, principal.end_user
            )
        except NotFound:
            return None
        return end_user, tuple(wallets)

    async def _used(self, principal: Principal) -> dict[str, tuple[int, int]]:
        """Of each part of the key's quota, how many tokens it has and how many were charged."""
        quota, now_s = principal.policy.quota, self._now_s()
        today_s = now_s - now_s % _DAY_S
        month = datetime.fromtimestamp(now_s, UTC).replace(
            day=1, hour=0, minute=0, second=0, microsecond=0
        )
        parts: dict[str, tuple[int, int]] = {}
        for name, amount, since_s in (
            ("lifetime", quota.lifetime, None),
            ("per_day", quota.per_day, today_s),
            ("per_month", quota.per_month, int(month.timestamp())),
        ):
            if amount is not None:
                parts[name] = amount, await self._charged(principal, since_s)
        return parts

    async def _charged(self, principal: Principal, since_s: int | None) -> int:
        selection = Selection(
            account_id=principal.account_id,
            key_id=principal.key_id,
            start_ms=None if since_s is None else since_s * 1000,
        )
        rows = await self._reporting.usage(selection)
        return sum(row.usage.total_tokens for row in rows)

    async def _usage(self, exchange: Exchange, principal: Principal) -> None:
        query = Query(exchange.query, USAGE_PARAMETERS)
        selection = _own(query, principal)
        await self._reports.usage(exchange, query, selection, principal.account_id)

    async def _receipts(self, exchange: Exchange, principal: Principal) -> None:
        query = Query(exchange.query, RECEIPT_PARAMETERS)
        selection = _own(query, principal)
        await self._reports.receipts(exchange, query, selection, principal.account_id)

    async def _receipt(self, exchange: Exchange, principal: Principal) -> None:
        check_no_parameters(exchange)
        await self._reports.receipt(exchange, principal.account_id)

    async def _all_end_users(self, exchange: Exchange, principal: Principal) -> None:
        await self._end_users.list(exchange, principal.account)

    async def _end_user(self, exchange: Exchange, principal: Principal) -> None:
        await self._end_users.one(exchange, principal.account, exchange.path_id)

    async def _put_end_user(self, exchange: Exchange, principal: Principal) -> None:
        await self._end_users.put(exchange, principal.account, exchange.path_id, _by(principal))

    async def _transfer(self, exchange: Exchange, principal: Principal) -> None:
        await self._end_users.transfer(
            exchange, principal.account, exchange.path_id, _by(principal)
        )


def _own(query: Query, principal: Principal) -> Selection:
    """What the query selects of the account's own; of one end user, where it is on his behalf."""
    key = query.text("key")
    key_id = principal.key_id if key == THIS_KEY else query.number("key")
    return selection_of(query, principal.account_id, key_id, principal.end_user)


def _by(principal: Principal) -> Actor:
    return Actor(f"key:{principal.key_id}", request_id.get())
