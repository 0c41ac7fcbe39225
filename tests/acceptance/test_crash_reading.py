"""The server is killed in the middle of answers: what was durable is read back, and was paid for.

The provider counts as it goes, one token a word, so that every token charged can be found again.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from tests.support.counting_upstream import PROMPT_TOKENS, CountingUpstream, counting_upstream
from tests.support.server import Bandari, running, wait_until
from tests.support.stage import CREDIT
from tests.support.surfaces import STREAMS, SURFACES, Heard, ask, asking, data_of, follow, hear

CONFIG = """
[providers.counting]
base_url = "{url}/v1"
[models.acted]
targets = ["counting:any"]
"""
BACKGROUND = "background"
WHOLE = "whole"
ACCOUNT = "amina"


def request_of(kind: str) -> dict[str, Any]:
    """What to post: a keyed stream of a surface, a stream in the background, or a whole answer."""
    surface = {BACKGROUND: "responses", WHOLE: "chat_completions"}.get(kind, kind)
    asked: dict[str, Any] = {"user": kind}
    if surface == "messages":
        asked = {"metadata": {"user_id": kind}}
    if kind == BACKGROUND:
        asked |= {"background": True, "store": True}
    body = asking(surface, "go on", stream=kind != WHOLE, **asked)
    # Without a limit it goes on for longer than the test.
    body = {name: value for name, value in body.items() if not name.startswith("max_")}
    if surface in ("messages", "completions"):
        body["max_tokens"] = 10_000
    headers = dict(SURFACES[surface].headers)
    if kind != BACKGROUND:
        headers["idempotency-key"] = f"key-{kind}"
    return {"path": SURFACES[surface].path, "json": body, "headers": headers}


class Reader(threading.Thread):
    """Reads one answer until the server dies."""

    def __init__(self, server: Bandari, key: str, kind: str) -> None:
        super().__init__(daemon=True)
        self.kind = kind
        self.headers = httpx.Headers()
        self.body = b""
        self._client = server.client(key)

    def run(self) -> None:
        request = request_of(self.kind)
        path = request.pop("path")
        try:
            with self._client, self._client.stream("POST", path, **request) as response:
                self.headers = response.headers
                for piece in response.iter_raw():
                    self.body += piece
        except httpx.TransportError:
            return


def words_of(surface: str, events: list[bytes]) -> str:
    return "".join(map(SURFACES[surface].delta, data_of(events)))


def receipts_by_name(server: Bandari) -> dict[str, dict[str, Any]]:
    receipts = {row["end_user"]: row for row in server.receipts(ACCOUNT)}
    assert len(receipts) == len(server.receipts(ACCOUNT))
    return receipts


@pytest.fixture
def upstream() -> Iterator[CountingUpstream]:
    with counting_upstream() as upstream:
        yield upstream
        upstream.may_go_on.set()


def check_read_back(again: Heard, surface: str, live: Reader, receipt: dict[str, Any]) -> None:
    """What is read now is what was read then, as far as it is durable, and then the error."""
    assert again.status == 200, again.body
    assert again.broken is not None, "an answer that was interrupted may not look whole"
    *durable, last = again.events
    heard = Heard(200, live.headers, live.body).events
    both = min(len(durable), len(heard))
    assert durable[:both] == heard[:both]
    assert b"error" in last
    assert b"interrupted" in last or surface == "messages"
    words = words_of(surface, durable)
    assert words == "".join(f"{number} " for number in range(1, len(words.split()) + 1))
    assert len(words.split()) == receipt["output_tokens"] > 0
    assert receipt["ending"] == "server_died"
    assert receipt["amount"] == PROMPT_TOKENS + receipt["output_tokens"]


def test_what_was_durable_is_read_back(
    tmp_path: Path, variables: dict[str, str], upstream: CountingUpstream
) -> None:
    kinds = (*STREAMS, BACKGROUND)
    with running(tmp_path / "data", CONFIG.format(url=upstream.url), **variables) as server:
        key = server.new_key(ACCOUNT, CREDIT)
        readers = {kind: Reader(server, key, kind) for kind in kinds}
        for reader in readers.values():
            reader.start()
        counted = "SELECT count(*) AS number FROM holds WHERE output_tokens > 50"
        wait_until(
            lambda: server.query(counted)[0]["number"] == len(kinds), what="durable counts of all"
        )
        server.stop(signal.SIGKILL)
        for reader in readers.values():
            reader.join(10)
        calls = dict(upstream.sent)
        server.start()
        server.verify()
        receipts = receipts_by_name(server)
        assert set(receipts) == set(kinds)
        with server.client(key) as client:
            for kind in kinds:
                surface = "responses" if kind == BACKGROUND else kind
                live, receipt = readers[kind], receipts[kind]
                stream_id = live.headers["x-bandari-stream"]
                again = follow(client, stream_id)
                check_read_back(again, surface, live, receipt)
                assert follow(client, stream_id, 9).events == again.events[10:]
                if kind != BACKGROUND:
                    replayed = hear(client, "POST", **request_of(kind))
                    assert replayed.events == again.events
                    assert replayed.headers["x-bandari-replayed"] == "true"
            response_id = data_of(follow(client, stream_id).events)[0]["response"]["id"]
            path, parameters = f"/v1/responses/{response_id}", {"stream": True, "starting_after": 9}
            assert hear(client, "GET", path, params=parameters).events == again.events[10:]
        assert upstream.sent.keys() == calls.keys()
        assert receipts_by_name(server) == receipts
        spent = sum(receipt["amount"] for receipt in receipts.values())
        assert server.wallet(ACCOUNT) == (CREDIT - spent, 0)
        server.verify()


@pytest.mark.parametrize("kind", ["chat_completions", WHOLE])
def test_a_key_whose_answer_cost_nothing_is_free_again(
    tmp_path: Path, variables: dict[str, str], upstream: CountingUpstream, kind: str
) -> None:
    """A stream that had not begun, and a whole answer, of which nobody has had anything."""
    with running(tmp_path / "data", CONFIG.format(url=upstream.url), **variables) as server:
        key = server.new_key(ACCOUNT, CREDIT)
        if kind != WHOLE:
            upstream.may_go_on.clear()
        reader = Reader(server, key, kind)
        reader.start()
        wait_until(lambda: server.query("SELECT id FROM holds"), what="the hold")
        if kind == WHOLE:
            wait_until(lambda: upstream.sent.get(WHOLE, 0) > 50, what="some of the answer")
        server.stop(signal.SIGKILL)
        reader.join(10)
        server.start()
        assert server.receipts(ACCOUNT) == []
        assert server.wallet(ACCOUNT) == (CREDIT, 0)
        upstream.may_go_on.set()
        headers, stream = {"idempotency-key": f"key-{kind}"}, kind != WHOLE
        with server.client(key) as client:
            asked: Any = {"headers": headers, "stream": stream, "max_tokens": 5, "user": "x"}
            made = ask(client, "chat_completions", "again", **asked)
            assert made.status == 200, made.body
            assert made.text("chat_completions") == "1 2 3 4 5 "
            assert "x-bandari-replayed" not in made.headers
            again = ask(client, "chat_completions", "again", **asked)
            assert (again.body, again.headers["x-bandari-replayed"]) == (made.body, "true")
        assert len(server.receipts(ACCOUNT)) == 1
        server.verify()
