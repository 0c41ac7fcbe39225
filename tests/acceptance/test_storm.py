"""Two hundred clients against one key's quota, limits and balance at once, leaving at random.

No limit lets a single token through beyond what it admits by definition, and nothing stays reserved
when they are gone. What was admitted is read from the receipts.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from msgspec import Struct
from tests.support.chat import PATH, user
from tests.support.counting_upstream import CountingUpstream, counting_upstream
from tests.support.server import Bandari, running, wait_until

from bandari.domain.allowance import Quota
from bandari.domain.keys import KeyPolicy

CLIENTS = 200
STORM_S = 1.5
MINUTE_MS = 60_000
PLENTY = 10_000_000
CONFIG = """
[providers.counting]
base_url = "{url}/v1"
max_connections = 1000
[models.counted]
targets = ["counting:any"]
[groups.requests]
limits = {{ requests_per_minute = 100 }}
[groups.tokens]
limits = {{ tokens_per_minute = 3000 }}
[groups.concurrency]
limits = {{ concurrent_requests = 7 }}
[groups.spend]
limits = {{ spend_per_day = {{ TOKEN = 3000 }} }}
[groups.together]
limits_together = {{ tokens_per_day = 4000 }}
[groups.all]
limits = {{ requests_per_minute = 600, tokens_per_minute = 4000, concurrent_requests = 20 }}
limits_per_account = {{ spend_per_month = {{ TOKEN = 4100 }} }}
"""


class Case(Struct, frozen=True):
    """What is scarce. None is plenty; windows are per minute."""

    group: str = "default"
    credit: int = PLENTY
    quota: int | None = None
    requests: int | None = None
    tokens: int | None = None
    in_all: int | None = None
    concurrent: int | None = None


CASES = {
    "balance": Case(credit=3_000),
    "quota": Case(quota=3_000),
    "requests": Case(group="requests", requests=100),
    "tokens": Case(group="tokens", tokens=3_000),
    "concurrency": Case(group="concurrency", concurrent=7),
    "spend": Case(group="spend", in_all=3_000),
    "together": Case(group="together", in_all=4_001),
    "all": Case(
        group="all",
        credit=4_300,
        quota=4_200,
        requests=600,
        tokens=4_000,
        in_all=4_100,
        concurrent=20,
    ),
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[CountingUpstream]:
    with counting_upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def bandari(
    tmp_path_factory: pytest.TempPathFactory,
    upstream: CountingUpstream,
    database: Callable[[], dict[str, str]],
) -> Iterator[Bandari]:
    data: Path = tmp_path_factory.mktemp("storm") / "data"
    with running(data, CONFIG.format(url=upstream.url), **database()) as server:
        yield server
        server.verify()


class Storm:
    """The clients, and what they were answered."""

    def __init__(self, server: Bandari, key: str, seed: int) -> None:
        self.statuses: list[int] = []
        self.codes: set[str] = set()
        self.left = 0
        self._server = server
        self._key = key
        self._chance = random.Random(seed)
        self._end = 0.0

    async def blow(self) -> None:
        self._end = time.monotonic() + STORM_S
        limits = httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS)
        headers = {"authorization": f"Bearer {self._key}"}
        async with httpx.AsyncClient(
            base_url=self._server.url, headers=headers, limits=limits, timeout=60
        ) as client:
            seeds = [self._chance.random() for _ in range(CLIENTS)]
            await asyncio.gather(*(self._client(client, random.Random(seed)) for seed in seeds))

    async def _client(self, client: httpx.AsyncClient, chance: random.Random) -> None:
        number = 0
        while time.monotonic() < self._end:
            number += 1
            body: dict[str, Any] = {
                "model": "counted",
                "messages": user("x"),
                "max_tokens": chance.randrange(1, 60),
                "user": f"{chance.random()}",
                "stream": chance.random() < 0.6,
            }
            patience_s = chance.choice([None, None, 0.005, 0.02, 0.05])
            try:
                async with asyncio.timeout(patience_s):
                    response = await client.post(PATH, json=body)
            except TimeoutError:
                self.left += 1
                continue
            self.statuses.append(response.status_code)
            if response.status_code != 200:
                self.codes.add(response.json()["error"]["code"])
                await asyncio.sleep(chance.random() / 20)


def receipts_of(server: Bandari, account: str) -> list[dict[str, Any]]:
    return server.query(
        "SELECT receipts.* FROM receipts JOIN wallets ON wallets.id = wallet_id "
        "JOIN accounts ON accounts.id = account_id WHERE accounts.name = ? ORDER BY ended_ms",
        account,
    )


def most_at_once(receipts: list[dict[str, Any]]) -> int:
    """How many answers ran at one time; one that ends makes room for one that begins."""
    steps = [(receipt["created_ms"], 1) for receipt in receipts]
    steps += [(receipt["ended_ms"], -1) for receipt in receipts]
    now = most = 0
    for _, step in sorted(steps):
        now += step
        most = max(most, now)
    return most


def beyond_the_window(receipts: list[dict[str, Any]], limit: int) -> float:
    """By how much any stretch of time exceeded what a window of a minute admits by definition.

    That is the limit at once, and what flows back meanwhile. Never positive where it is kept.
    """
    worst = float(-limit)
    for first in range(len(receipts)):
        tokens = 0
        for receipt in receipts[first:]:
            tokens += receipt["input_tokens"] + receipt["output_tokens"]
            stretch_ms = receipt["ended_ms"] - receipts[first]["ended_ms"] + 2  # of rounding
            worst = max(worst, tokens - limit - limit * stretch_ms / MINUTE_MS)
    return worst


@pytest.mark.parametrize("name", CASES)
def test_a_storm(bandari: Bandari, name: str) -> None:
    case = CASES[name]
    account = f"storm-{name}"
    policy = KeyPolicy(quota=Quota(lifetime=case.quota))
    key = bandari.new_key(account, case.credit, group=case.group, policy=policy)
    storm = Storm(bandari, key, seed=1)
    began_ms = time.time_ns() // 1_000_000
    asyncio.run(storm.blow())
    wait_until(lambda: bandari.wallet(account)[1] == 0, what="the end of all holds")
    stretch_ms = time.time_ns() // 1_000_000 - began_ms

    receipts = receipts_of(bandari, account)
    used = sum(receipt["input_tokens"] + receipt["output_tokens"] for receipt in receipts)
    paid = sum(receipt["amount"] for receipt in receipts)
    assert len(receipts) > 10
    assert storm.left > 10
    assert bandari.wallet(account) == (case.credit - paid, 0)
    assert all(receipt["overrun"] == 0 for receipt in receipts)
    assert paid <= case.credit
    assert used <= min(case.quota or PLENTY, case.in_all or PLENTY)
    if case.concurrent is not None:
        assert most_at_once(receipts) <= case.concurrent
    if case.tokens is not None:
        assert beyond_the_window(receipts, case.tokens) <= 0
    if case.requests is not None:
        admitted = len([status for status in storm.statuses if status != 429])
        assert admitted <= case.requests + case.requests * stretch_ms / MINUTE_MS
    assert storm.codes, "something was scarce"
    _nothing_is_left_reserved(bandari, key, case, used)


def _nothing_is_left_reserved(bandari: Bandari, key: str, case: Case, used: int) -> None:
    with bandari.client(key) as client:
        seen = client.get("/v1/balance").json()
    assert all(wallet["held"] == 0 for wallet in seen["wallets"])
    if case.quota is not None:
        assert seen["key"]["quota"]["lifetime"] == {
            "limit": case.quota,
            "used": used,
            "remaining": case.quota - used,
        }
    assert seen["limits"] or case.group in ("default", "together")
    for limit in seen["limits"]:
        assert limit["reserved"] == 0, limit
        if "spend" in limit["name"]:
            assert limit["used"] >= used

    def spent() -> set[int]:
        with bandari.client(key) as client:
            limits = client.get("/v1/balance").json()["limits"]
        return {limit["used"] for limit in limits if "spend" in limit["name"]}

    # A charge that was being made while the limits were read anew may count twice for a second.
    wait_until(lambda: spent() <= {used}, what="the limits' last look at what was spent")
