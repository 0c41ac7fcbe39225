"""The wall clock of the machine is set back by an hour while requests run, and forward again.

Whatever it says: limits neither open nor lock, what has expired stays so, and every answer is
charged once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2 as httpx
import pytest
from tests.support.chat import PATH, user
from tests.support.counting_upstream import CountingUpstream, counting_upstream
from tests.support.server import Bandari, running
from tests.support.stepped_clock import SteppedClock

HOUR_S = 3600
PROMPT_BOUND = 200
"""What is reserved for the prompt, at most: this provider cannot count it."""
CREDIT = 1_000_000
CONFIG = """
[providers.counting]
base_url = "{url}/v1"
[models.counted]
targets = ["counting:any"]
[groups.slow]
limits = {{ requests_per_minute = 3 }}
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[CountingUpstream]:
    with counting_upstream() as upstream:
        yield upstream


@pytest.fixture
def clock(tmp_path: Path) -> SteppedClock:
    return SteppedClock(tmp_path)


@pytest.fixture
def bandari(tmp_path: Path, upstream: CountingUpstream, clock: SteppedClock) -> Iterator[Bandari]:
    config = CONFIG.format(url=upstream.url)
    with running(tmp_path / "data", config, **clock.variables) as server:
        server.cli("account", "create", "amina")
        server.cli("account", "credit", "amina", str(CREDIT))
        yield server


def new_key(server: Bandari, *options: str) -> str:
    return server.cli("key", "create", "amina", *options).stdout.strip()


def ask(client: httpx.Client, tokens: int = 5, name: str = "x") -> httpx.Response:
    body = {"model": "counted", "messages": user("x"), "max_tokens": tokens, "user": name}
    return client.post(PATH, json=body)


class Clients:
    """A few that ask without a pause, until they are stopped."""

    def __init__(self, server: Bandari, key: str, count: int = 8) -> None:
        self.answered = 0
        self.refused: list[str] = []
        self._server = server
        self._key = key
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(at,)) for at in range(count)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, more: int) -> None:
        until, deadline = self.answered + more, time.monotonic() + 30
        while self.answered < until:
            assert time.monotonic() < deadline, "the clients get no further"
            assert not self.refused
            time.sleep(0.01)

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        with self._server.client(self._key) as client:
            while not self._stopped.is_set():
                response = ask(client, name=f"client-{number}")
                if response.status_code == 200:
                    self.answered += 1
                else:
                    self.refused.append(response.text)


def test_an_hour_back_and_forth(bandari: Bandari, clock: SteppedClock) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=8)
    expired = new_key(bandari, "--expires", soon.isoformat())
    slow = new_key(bandari, "--group", "slow")
    quota = new_key(bandari, "--quota-per-day", "500")
    clients = Clients(bandari, new_key(bandari))
    try:
        clients.wait_for(20)
        with bandari.client(slow) as client:
            assert [ask(client).status_code for _ in range(4)] == [200, 200, 200, 429]
        with bandari.client(quota) as client:
            used = 0
            while (answer := ask(client, 20)).status_code == 200:
                used += answer.json()["usage"]["total_tokens"]
            assert 500 - PROMPT_BOUND < used <= 500
        time.sleep(max(0.0, (soon - datetime.now(UTC)).total_seconds()) + 0.1)
        with bandari.client(expired) as client:
            assert ask(client).json()["error"]["code"] == "expired_api_key"
        for ahead in (-HOUR_S, 0):
            clock.be_ahead(ahead)
            clients.wait_for(50)
            with bandari.client(slow) as client:
                statuses = [ask(client).status_code for _ in range(4)]
            assert statuses.count(200) <= 2, "at most what has become free since"
            assert statuses[-1] == 429
            with bandari.client(quota) as client:
                assert ask(client, 20).json()["error"]["code"] == "insufficient_quota"
            with bandari.client(expired) as client:
                assert ask(client).status_code == 401
            with bandari.client(new_key(bandari, "--group", "slow")) as client:
                assert ask(client).status_code == 200, "a new key is not locked out"
    finally:
        clients.stop()
    assert clients.refused == []
    (total,) = bandari.query("SELECT sum(amount) AS amount, count(*) AS count FROM receipts")
    assert bandari.wallet("amina") == (CREDIT - total["amount"], 0)
    assert total["count"] > clients.answered
    (late,) = bandari.query("SELECT count(*) AS count FROM receipts WHERE ended_ms < created_ms")
    assert late["count"] == 0
    bandari.verify()
