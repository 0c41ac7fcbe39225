"""A store that cannot be written: new work is refused, running answers end as errors, nothing is
lost, and service returns by itself.
"""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from tests.support.chat import PATH, user
from tests.support.counting_upstream import PROMPT_TOKENS, CountingUpstream, counting_upstream
from tests.support.postgresql import PostgresqlServer
from tests.support.server import Bandari, running, wait_until

CREDIT = 100_000
TOKENS = 50
CONFIG = """
[providers.counting]
base_url = "{url}/v1"
[models.counted]
targets = ["counting:any"]
"""


@pytest.fixture
def upstream() -> Iterator[CountingUpstream]:
    with counting_upstream() as upstream:
        yield upstream
        upstream.may_go_on.set()


def body(name: str, *, stream: bool) -> dict[str, Any]:
    return {
        "model": "counted",
        "messages": user("x"),
        "user": name,
        "stream": stream,
        "max_tokens": TOKENS,
    }


def read_until_broken(client: httpx.Client, name: str) -> str:
    """All of a stream that breaks off."""
    text = ""
    with client.stream("POST", PATH, json=body(name, stream=True)) as response:
        try:
            for piece in response.iter_text():
                text += piece
        except httpx.RemoteProtocolError:
            return text
    pytest.fail(f"the stream ended in order: {text[-200:]}")


def starve(
    server: Bandari, upstream: CountingUpstream, break_it: Callable[[], Callable[[], None]]
) -> None:
    """``break_it`` makes the store unwritable and returns what mends it."""
    key = server.new_key("amina", CREDIT)
    upstream.may_go_on.clear()
    with server.client(key) as client, ThreadPoolExecutor(1) as pool:
        running_answer = pool.submit(read_until_broken, client, "running")
        wait_until(lambda: server.wallet("amina")[1] > 0, what="the hold")
        mend = break_it()
        refused = client.post(PATH, json=body("refused", stream=False))
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "store_unavailable"
        assert refused.headers["x-should-retry"] == "true"
        upstream.may_go_on.set()
        told = running_answer.result(60)
        mend()
        assert '"code":"store_unavailable"' in told
        assert "[DONE]" not in told
        wait_until(
            lambda: client.post(PATH, json=body("again", stream=False)).status_code == 200,
            what="an answer after the store is back",
        )
    wait_until(lambda: server.wallet("amina")[1] == 0, what="the end of every hold")
    rows = server.query("SELECT * FROM receipts ORDER BY id")
    assert {row["end_user"]: row["ending"] for row in rows} == {
        "running": "server_stopped",
        "again": "completed",
    }
    assert {row["amount"] for row in rows} == {PROMPT_TOKENS + TOKENS}
    assert server.wallet("amina") == (CREDIT - 2 * (PROMPT_TOKENS + TOKENS), 0)
    server.verify()


def test_a_locked_file(tmp_path: Path, upstream: CountingUpstream) -> None:
    with (
        running(tmp_path / "data", CONFIG.format(url=upstream.url)) as server,
        closing(sqlite3.connect(server.data / "bandari.db", isolation_level=None)) as other,
    ):

        def lock() -> Callable[[], None]:
            other.execute("BEGIN IMMEDIATE")
            return lambda: other.execute("ROLLBACK") and None

        starve(server, upstream, lock)


def test_a_disk_that_is_full(tmp_path: Path, upstream: CountingUpstream) -> None:
    """Played by a limit on the size of the files that the process may write."""
    with running(tmp_path / "data", CONFIG.format(url=upstream.url)) as server:
        assert server.process is not None
        pid = server.process.pid

        def fill() -> Callable[[], None]:
            before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
            return lambda: resource.prlimit(pid, resource.RLIMIT_FSIZE, before) and None

        starve(server, upstream, fill)


@pytest.mark.postgresql
def test_a_database_that_takes_no_connections(
    tmp_path: Path, upstream: CountingUpstream, postgresql: PostgresqlServer
) -> None:
    url = postgresql.create_database()
    name = url.rpartition("/")[2]
    config = CONFIG.format(url=upstream.url)
    with running(tmp_path / "data", config, BANDARI_DATABASE_URL=url) as server:

        def shut() -> Callable[[], None]:
            postgresql.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            postgresql.execute(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            )
            return lambda: postgresql.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')

        starve(server, upstream, shut)
