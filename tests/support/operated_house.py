"""What operators and customers ask about, over doubles: accounts, keys, users, receipts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tests.support.client import Client, request, start
from tests.support.clock import SetClock
from tests.support.memory_store import MemoryStore
from tests.support.recorded_metrics import RecordedMetrics
from tests.support.reports_in_memory import ReportsInMemory
from tests.support.samples import a_model

from bandari.domain.accounts import Role
from bandari.domain.audit_log import Actor
from bandari.domain.catalogue import Group
from bandari.domain.keys import KeyPolicy
from bandari.service.access import Access
from bandari.service.administration import Administration
from bandari.service.groups import Groups
from bandari.service.guesses import Guesses
from bandari.service.limiting import Limiter
from bandari.service.models import Models
from bandari.service.reloading import ReloadOutcome
from bandari.service.reporting import Reporting
from bandari.web.admin.table import admin_routes
from bandari.web.admission import Admission
from bandari.web.app import App
from bandari.web.chat_settings import ChatSettings
from bandari.web.customer import Customer
from bandari.web.exports import Exports
from bandari.web.keys import KeyCheck

ADMIN_KEY = "the-owner-from-the-environment"
PREFIX = "bd_test_"
_BY = Actor("test")


def administration_over(
    store: MemoryStore,
    clock: SetClock,
    groups: Groups | None = None,
    guesses: Guesses | None = None,
) -> Administration:
    drawn = iter(range(1, 1000))
    return Administration(
        accounts=store,
        keys=store,
        users=store,
        audit_log=store,
        clock=clock,
        groups=groups or Groups(),
        key_prefix=PREFIX,
        admin_key=ADMIN_KEY,
        guesses=guesses,
        random_bytes=lambda count: next(drawn).to_bytes(count, "big"),
    )


def reporting_over(reports: ReportsInMemory, store: MemoryStore) -> Reporting:
    return Reporting(reports=reports, ledger=reports, accounts=store)  # type: ignore[arg-type]


async def nothing_to_reload(_by: Actor) -> ReloadOutcome:
    return ReloadOutcome()


class OperatedHouse:
    """The operator API and the customers' resources. ``admin_keys`` are by role."""

    def __init__(self) -> None:
        self.store, self.reports, self.clock = MemoryStore(), ReportsInMemory(), SetClock()
        self.groups = Groups({"gold": Group(name="gold", models=("gpt-*",), priority=5)})
        self.metrics = RecordedMetrics()
        self.exports = Exports()
        self.guesses = Guesses(self.clock, self.metrics)
        self.administration = administration_over(self.store, self.clock, self.groups, self.guesses)
        self.reporting = reporting_over(self.reports, self.store)
        self.reloaded: list[Actor] = []
        self.outcome = ReloadOutcome()
        self.admin_keys: dict[Role, str] = {}
        access = Access(
            keys=self.store,
            accounts=self.store,
            groups=self.groups,
            guesses=self.guesses,
            clock=self.clock,
            prefix=PREFIX,
        )
        self.limiter = Limiter(clock=self.clock)
        customer = Customer(
            admission=Admission(KeyCheck(access), self.limiter, self.metrics, ChatSettings()),
            limiter=self.limiter,
            administration=self.administration,
            reporting=self.reporting,
            exports=self.exports,
            now_s=lambda: self.clock.now_ms() // 1000,
        )
        operated = admin_routes(
            administration=self.administration,
            reporting=self.reporting,
            models=Models([a_model()]),
            reload=self._reload,
            exports=self.exports,
            metrics=self.metrics,
        )
        self.app = App(
            [*operated, *customer.routes("/v1")], self.metrics, lambda: "req_made", lambda *_: None
        )

    async def _reload(self, by: Actor) -> ReloadOutcome:
        self.reloaded.append(by)
        return self.outcome

    async def furnished(self) -> OperatedHouse:
        """With an operator of each role, and an account with some money."""
        for role in Role:
            made = await self.administration.create_user(f"{role} one", role, by=_BY)
            self.admin_keys[role] = made.text
        await self.administration.create_account("amina", _BY)
        await self.administration.credit("amina", 1000, why="test", by=_BY)
        return self

    async def a_key(self, account: str = "amina", **policy: Any) -> str:
        """The text of a new key."""
        made = await self.administration.create_key(
            account, "laptop", by=_BY, policy=KeyPolicy(**policy)
        )
        return made.text

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = ADMIN_KEY,
        headers: Iterable[tuple[str, str]] = (),
        raw: bytes | None = None,
    ) -> Client:
        path, _, query = path.partition("?")
        if raw is None:
            raw = b"" if body is None else json.dumps(body).encode()
        return await request(
            self.app, method, path, headers=[*_headers(key), *headers], body=raw, query=query
        )

    async def told(self, method: str, path: str, body: object = None, **options: Any) -> Any:
        """What a request that must succeed is answered."""
        client = await self.ask(method, path, body, **options)
        assert client.status == 200, client.body
        return json.loads(client.body)

    async def refused(
        self, method: str, path: str, body: object = None, **options: Any
    ) -> tuple[int, str, str | None]:
        """Status, code and field of a request that must fail."""
        client = await self.ask(method, path, body, **options)
        assert client.status >= 400, client.body
        error = json.loads(client.body)["error"]
        assert error["message"]
        return client.status, error["code"], error["param"]

    def begin(self, client: Client, path: str, key: str | None = ADMIN_KEY) -> Any:
        """A GET under way: the application's task."""
        path, _, query = path.partition("?")
        return start(_WithQuery(self.app, query), client, "GET", path, _headers(key))


class _WithQuery:
    def __init__(self, app: App, query: str) -> None:
        self._app, self._query = app, query

    async def __call__(self, exchange: Any) -> None:
        exchange.query = self._query
        await self._app(exchange)


def _headers(key: str | None) -> list[tuple[str, str]]:
    return [] if key is None else [("authorization", f"Bearer {key}")]
