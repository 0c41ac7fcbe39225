"""The door of a running server: a revoked key in a burst, guesses, and what is another's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2 as httpx
import pytest
from tests.support.chat import PATH, user
from tests.support.counting_upstream import CountingUpstream, counting_upstream
from tests.support.server import Bandari, running

CLIENTS = 20
REVOKED_WITHIN_S = 1.0
EACH_S = 3.0
"""After which one more failed attempt is free."""
CONFIG = """
[providers.counting]
base_url = "{url}/v1"
[models.counted]
targets = ["counting:any"]
[server]
trusted_proxies = ["127.0.0.1"]
"""
BODY = {"model": "counted", "messages": user("x"), "max_tokens": 2, "user": "x"}


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
    data: Path = tmp_path_factory.mktemp("doors") / "data"
    with running(data, CONFIG.format(url=upstream.url), **database()) as server:
        yield server
        server.verify()


class Burst:
    """Clients that ask with one key without a pause; each answer with when it was asked for."""

    def __init__(self, server: Bandari, key: str) -> None:
        self.answers: list[tuple[float, int]] = []
        self._server = server
        self._key = key
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        with self._server.client(self._key) as client:
            while not self._is_over.is_set():
                asked_s = time.monotonic()
                status = client.post(PATH, json=BODY).status_code
                self.answers.append((asked_s, status))


@pytest.mark.parametrize("how", ["revoke", "suspend"])
def test_a_key_stops_within_a_second_in_the_midst_of_a_burst(bandari: Bandari, how: str) -> None:
    key = bandari.new_key(f"burst-{how}", 1_000_000)
    burst = Burst(bandari, key)
    try:
        while len(burst.answers) < 100:
            time.sleep(0.01)
        if how == "revoke":
            bandari.cli("key", "revoke", key)
        else:
            bandari.cli("account", "set", f"burst-{how}", "--suspended")
        stopped_s = time.monotonic()
        time.sleep(REVOKED_WITHIN_S + 0.5)
    finally:
        burst.end()
    late = [status for asked_s, status in burst.answers if asked_s >= stopped_s + REVOKED_WITHIN_S]
    assert late
    assert set(late) == {401 if how == "revoke" else 403}
    assert {status for _, status in burst.answers} == {200, *late}


def guess(client: httpx.Client, source: str, number: int = 0) -> httpx.Response:
    key = f"bd_live_{number:043d}000000"
    headers = {"authorization": f"Bearer {key}", "x-forwarded-for": source}
    return client.get("/v1/models", headers=headers)


def test_guesses_are_slow_and_noticed(bandari: Bandari) -> None:
    good = bandari.new_key("honest", 1_000)
    with bandari.client() as client:
        headers = {"authorization": f"Bearer {good}", "x-forwarded-for": "203.0.113.9"}
        assert client.get("/v1/models", headers=headers).status_code == 200
        began_s = time.monotonic()
        statuses = [guess(client, "203.0.113.9", number).status_code for number in range(30)]
        came_back = int((time.monotonic() - began_s) / EACH_S) + 1
        assert statuses[:20] == [401] * 20
        assert set(statuses) == {401, 429}
        assert statuses.count(401) <= 20 + came_back
        while (refused := guess(client, "203.0.113.9")).status_code == 401:
            pass
        assert refused.json()["error"]["code"] == "too_many_failed_attempts"
        assert 0 < int(refused.headers["retry-after"]) <= 3
        assert client.get("/v1/models", headers=headers).status_code == 200, "who is known may"
        assert guess(client, "203.0.113.10").status_code == 401, "each source by itself"
        told = client.get("/metrics").text
    assert "bandari_refused_guesses_total" in told
    assert any("203.0.113.9" in line and "failed attempts" in line for line in bandari.log)
    assert not any("bd_live_0000" in line for line in bandari.log)


def test_one_account_cannot_tell_what_another_has(bandari: Bandari) -> None:
    """What is another's looks like what does not exist, to the byte."""
    mine, yours = bandari.new_key("mine", 100_000), bandari.new_key("yours", 100_000)
    with bandari.client(yours) as client:
        answer = client.post(PATH, json=BODY)
        receipt = answer.headers["x-bandari-receipt"]
        body = {"model": "counted", "input": "x", "max_output_tokens": 2, "user": "x"}
        response = client.post("/v1/responses", json=body).json()["id"]
        assert client.get(f"/v1/receipts/{receipt}").status_code == 200
        assert client.get(f"/v1/responses/{response}").status_code == 200
    with bandari.client(mine) as client:
        for path, there in (("/v1/receipts", receipt), ("/v1/responses", response)):
            none = there[:-1] + ("0" if there[-1] != "0" else "1")
            answers = [client.get(f"{path}/{each}") for each in (there, none)]
            assert [each.status_code for each in answers] == [404, 404]
            told = [
                each.text.replace(id_, "") for each, id_ in zip(answers, (there, none), strict=True)
            ]
            assert told[0] == told[1]
        assert client.get("/v1/usage").json()["data"] == []
        assert client.get("/v1/receipts").json()["data"] == []
        refused = client.post("/v1/responses", json=body | {"previous_response_id": response})
        assert refused.status_code in (400, 404)
