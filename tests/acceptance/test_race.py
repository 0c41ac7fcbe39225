"""Many requests against a wallet that covers few of them: exactly those few run.

The provider answers only after every request was decided, so that no answer's end can make room for
another's beginning. An answer costs a fixed fee, so that "exactly 37" has a meaning.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.support.chat import PATH, user
from tests.support.postgresql import PostgresqlServer
from tests.support.server import Bandari, running

REQUESTS = 200
AFFORDABLE = 37
FEE = 1000
ANSWER = (
    b'{"choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
)
CONFIG = """
[providers.gated]
base_url = "{url}/v1"
max_connections = 1000
[models.fee]
targets = ["gated:any"]
[models.fee.prices.KES]
input_per_million = 0
output_per_million = 0
per_request = {fee}
"""


class Decisions:
    """Counts requests that were decided: refused, or arrived at the provider."""

    def __init__(self, expected: int) -> None:
        self._left = expected
        self._lock = threading.Lock()
        self.all_made = threading.Event()

    def one_more(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self.all_made.set()


@pytest.fixture
def decisions() -> Decisions:
    return Decisions(REQUESTS)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512


@pytest.fixture
def gated(decisions: Decisions) -> Iterator[str]:
    """The URL of a provider that answers once all requests are decided."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            decisions.one_more()
            assert decisions.all_made.wait(60)
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(ANSWER)))
            self.end_headers()
            self.wfile.write(ANSWER)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name
            return

    server = _Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def ask_all(servers: list[Bandari], key: str, decisions: Decisions) -> Counter[int]:
    """Ask at once, by turns on each server; the statuses."""

    def one(number: int) -> int:
        with servers[number % len(servers)].client(key) as client:
            body = {"model": "fee", "messages": user("x"), "max_tokens": 5}
            status = client.post(PATH, json=body).status_code
        if status == 402:
            decisions.one_more()
        return status

    with ThreadPoolExecutor(REQUESTS) as pool:
        return Counter(pool.map(one, range(REQUESTS)))


def race(servers: list[Bandari], decisions: Decisions) -> None:
    key = servers[0].new_key("amina", AFFORDABLE * FEE, asset="KES")
    assert ask_all(servers, key, decisions) == {200: AFFORDABLE, 402: REQUESTS - AFFORDABLE}
    assert servers[0].wallet("amina", "KES") == (0, 0)
    servers[0].verify()


def test_exactly_the_affordable_answers_run(
    tmp_path: Path, gated: str, decisions: Decisions
) -> None:
    with running(tmp_path / "data", CONFIG.format(url=gated, fee=FEE)) as server:
        race([server], decisions)


@pytest.mark.postgresql
@pytest.mark.parametrize("count", [1, 2])
def test_exactly_the_affordable_answers_run_on_postgresql(
    tmp_path: Path, postgresql: PostgresqlServer, gated: str, decisions: Decisions, count: int
) -> None:
    """Also where two servers charge one wallet."""
    url = postgresql.create_database()
    config = CONFIG.format(url=gated, fee=FEE)
    with ExitStack() as stack:
        servers = [
            stack.enter_context(
                running(tmp_path / f"data{number}", config, BANDARI_DATABASE_URL=url)
            )
            for number in range(count)
        ]
        race(servers, decisions)
