"""Holds roll: a long answer locks up little of a wallet, and ends where the wallet does."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from tests.support.chat import PATH, Stream, user
from tests.support.counting_upstream import (
    LONG,
    PROMPT_TOKENS,
    CountingUpstream,
    counting_upstream,
)
from tests.support.server import Bandari, running, wait_until

ROLL_TOKENS = 1024
BOUND = 200
"""More than the bound of a short prompt can be."""

CONFIG = """
[providers.counting]
base_url = "{url}/v1"
[models.wide]
targets = ["counting:any"]
context_window = 128000
"""


@pytest.fixture
def upstream() -> Iterator[CountingUpstream]:
    with counting_upstream() as upstream:
        yield upstream
        upstream.may_go_on.set()


@pytest.fixture
def server(
    tmp_path: Path, upstream: CountingUpstream, variables: dict[str, str]
) -> Iterator[Bandari]:
    with running(tmp_path / "data", CONFIG.format(url=upstream.url), **variables) as server:
        yield server
        server.verify()


def body(name: str, **fields: Any) -> dict[str, Any]:
    wanted = {"model": "wide", "messages": user("x"), "user": name, "stream": True}
    return wanted | {"stream_options": {"include_usage": True}} | fields


def receipt_of(server: Bandari, name: str) -> dict[str, Any]:
    (row,) = server.query("SELECT * FROM receipts WHERE end_user = ?", name)
    return row


def test_a_long_answer_locks_only_the_next_tokens_and_rolls_without_a_gap(
    server: Bandari, upstream: CountingUpstream
) -> None:
    key = server.new_key("amina", 5_000)
    upstream.may_go_on.clear()
    with server.client(key) as client, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.post, PATH, json=body("long"))
        wait_until(lambda: server.wallet("amina")[1] > 0, what="the hold")
        balance, held = server.wallet("amina")
        assert balance == 5_000
        assert ROLL_TOKENS < held <= ROLL_TOKENS + BOUND
        upstream.may_go_on.set()
        beside = client.post(PATH, json=body("beside", max_tokens=20, stream=False) | PLAIN)
        stream = Stream(answer.result().text)
    assert beside.json()["usage"]["total_tokens"] == PROMPT_TOKENS + 20
    assert stream.text() == "".join(f"{number} " for number in range(1, LONG + 1))
    assert stream.finish() == "stop"
    assert receipt_of(server, "long")["amount"] == PROMPT_TOKENS + LONG
    assert server.wallet("amina") == (5_000 - 2 * PROMPT_TOKENS - 20 - LONG, 0)


PLAIN: dict[str, Any] = {"stream_options": None}


def test_a_wallet_that_runs_dry_in_mid_answer_ends_it_with_length(
    server: Bandari, upstream: CountingUpstream
) -> None:
    """Two answers that both could have had the whole wallet share it to the last token."""
    key = server.new_key("baraka", 4_000)

    def ask(name: str) -> httpx.Response:
        with server.client(key) as client:
            return client.post(PATH, json=body(name))

    upstream.may_go_on.clear()
    with ThreadPoolExecutor(2) as pool:
        answers = {name: pool.submit(ask, name) for name in ("one", "two")}
        wait_until(lambda: len(server.query("SELECT id FROM holds")) == 2, what="the hold of both")
        upstream.may_go_on.set()
        streams = {name: Stream(answer.result().text) for name, answer in answers.items()}
    spent = 0
    for name, stream in streams.items():
        receipt = receipt_of(server, name)
        delivered = len(stream.text().split())
        assert stream.data[-1] == "[DONE]"
        assert stream.usage is not None
        assert stream.usage["total_tokens"] == receipt["amount"]
        assert receipt["output_tokens"] == delivered
        assert receipt["overrun"] == 0
        spent += receipt["amount"]
    endings = {receipt_of(server, name)["ending"] for name in streams}
    assert "out_of_balance" in endings
    assert "length" in {stream.finish() for stream in streams.values()}
    assert server.wallet("baraka") == (4_000 - spent, 0)
    assert spent <= 4_000
