"""Idempotency-Key: however often a request is sent, it is answered and charged once.

Also across a restart and a kill; for the same request alone, and for the account alone.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest
from tests.support.acting_upstream import PROMPT_TOKENS
from tests.support.server import Bandari, wait_until
from tests.support.stage import CREDIT, Stage, stage
from tests.support.surfaces import (
    HELD,
    STREAMS,
    SURFACES,
    WHOLE,
    Heard,
    Script,
    ask,
    follow,
    text_of,
)

AT_ONCE = 20
KINDS = [(name, True) for name in STREAMS] + [(name, False) for name in WHOLE]


class House(NamedTuple):
    acted: Stage
    script: Script

    @property
    def server(self) -> Bandari:
        return self.acted.server

    def client(self, account: str) -> httpx.Client:
        """Of a new account."""
        return self.server.client(self.server.new_key(account, CREDIT))

    def paid_once(self, account: str, words: str, tokens: int) -> dict[str, Any]:
        """The question was asked, received and charged once: the receipt."""
        wait_until(lambda: self.server.wallet(account)[1] == 0, what="the end of the hold")
        assert self.script.calls(words) == 1
        (receipt,) = self.server.receipts(account)
        assert receipt["amount"] == PROMPT_TOKENS + tokens
        assert self.server.wallet(account) == (CREDIT - receipt["amount"], 0)
        return receipt


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, database: Callable[[], dict[str, str]]
) -> Iterator[House]:
    script = Script()
    data = tmp_path_factory.mktemp("idempotency") / "data"
    with stage(data, script.act, **database()) as acted:
        yield House(acted, script)


@pytest.fixture
def account(request: pytest.FixtureRequest) -> str:
    """A name of the test's own."""
    return "".join(char if char.isalnum() else "-" for char in request.node.name).strip("-")


@pytest.fixture
def client(house: House, account: str) -> Iterator[httpx.Client]:
    with house.client(account) as client:
        yield client


def keyed(key: str, **more: str) -> dict[str, str]:
    return {"idempotency-key": key} | more


def is_replay(heard: Heard) -> bool:
    return bool(heard.headers.get("x-bandari-replayed") == "true")


@pytest.mark.parametrize(("surface", "stream"), KINDS)
def test_twenty_at_once_are_one(
    house: House, account: str, client: httpx.Client, surface: str, stream: bool
) -> None:
    words = f"hold {account}"

    def one(_: int) -> Heard:
        return ask(client, surface, words, stream=stream, headers=keyed("order-66"))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = [pool.submit(one, number) for number in range(AT_ONCE)]
        wait_until(lambda: house.script.calls(words), what="the provider's answer")
        house.script.gates[account].set()
        heard = [answer.result(30) for answer in answers]
    assert {answer.status for answer in heard} == {200}
    assert len({b"".join(answer.events) if stream else answer.body for answer in heard}) == 1
    assert heard[0].text(surface) == text_of(2 * HELD)
    assert len({answer.receipt for answer in heard}) == 1
    assert [is_replay(answer) for answer in heard].count(False) == 1
    house.paid_once(account, words, 2 * HELD)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_finished_answers_are_replayed_by_another_process(
    house: House, account: str, client: httpx.Client, number: int
) -> None:
    first = {
        kind: ask(
            client,
            kind[0],
            f"say 4 {account} {kind}",
            stream=kind[1],
            headers=keyed("-".join(map(str, kind))),
        )
        for kind in KINDS
    }
    house.server.stop(number)
    house.server.start()
    with house.server.client() as again:
        again.headers = client.headers
        for kind, before in first.items():
            surface, stream = kind
            words = f"say 4 {account} {kind}"
            after = ask(
                again, surface, words, stream=stream, headers=keyed("-".join(map(str, kind)))
            )
            assert (before.status, after.status) == (200, 200), after.body
            assert after.text(surface) == text_of(4)
            if stream:
                assert after.events == before.events
            else:
                assert after.body == before.body
            assert (is_replay(before), is_replay(after)) == (False, True)
            assert (after.receipt, after.stream) == (before.receipt, before.stream)
            assert house.script.calls(words) == 1
    paid = len(KINDS) * (PROMPT_TOKENS + 4)
    assert house.server.wallet(account) == (CREDIT - paid, 0)


@pytest.mark.parametrize("stream", [True, False])
def test_the_same_key_with_anything_else_is_a_conflict(
    house: House, account: str, client: httpx.Client, stream: bool
) -> None:
    words = f"say 5 {account}"
    made = ask(client, "chat_completions", words, stream=stream, headers=keyed("k"))
    assert made.status == 200
    others = [
        ask(client, "chat_completions", words + "!", stream=stream, headers=keyed("k")),
        ask(client, "chat_completions", words, stream=stream, headers=keyed("k"), temperature=0.5),
        ask(client, "completions", words, stream=stream, headers=keyed("k")),
        ask(client, "messages", words, stream=stream, headers=keyed("k")),
        ask(client, "responses", words, stream=stream, headers=keyed("k")),
        ask(client, "typed_stream", words, headers=keyed("k")),
        ask(
            client,
            "chat_completions",
            words,
            stream=stream,
            headers=keyed("k", **{"x-on-behalf-of": "somebody"}),
        ),
    ]
    for other in others:
        assert other.status == 409, other.body
        assert other.headers["x-should-retry"] == "false"
        assert "Idempotency-Key" in other.error["message"]
    assert others[0].error["code"] == "idempotency_key_reused"
    house.paid_once(account, words, 5)


def test_another_account_has_keys_of_its_own(house: House, account: str) -> None:
    words = f"say 5 {account}"
    with house.client(f"{account}-a") as one, house.client(f"{account}-b") as other:
        first = ask(one, "chat_completions", words, headers=keyed("k"))
        second = ask(other, "chat_completions", words, headers=keyed("k"))
    assert (first.status, second.status) == (200, 200)
    assert not is_replay(second)
    assert first.stream != second.stream
    assert house.script.calls(words) == 2
    for name in (f"{account}-a", f"{account}-b"):
        assert house.server.wallet(name) == (CREDIT - PROMPT_TOKENS - 5, 0)


@pytest.mark.parametrize(("surface", "stream"), KINDS)
def test_what_failed_and_cost_nothing_leaves_the_key_free(
    house: House, account: str, client: httpx.Client, surface: str, stream: bool
) -> None:
    words = f"refuse {account}"
    house.script.refuses.set()
    failed = ask(client, surface, words, stream=stream, headers=keyed("k"))
    house.script.refuses.clear()
    assert failed.status == 503
    asked = house.script.calls(words)
    assert house.server.receipts(account) == []
    made = ask(client, surface, words, stream=stream, headers=keyed("k"))
    assert (made.status, made.text(surface)) == (200, text_of(HELD))
    again = ask(client, surface, words, stream=stream, headers=keyed("k"))
    assert again.text(surface) == text_of(HELD)
    assert (is_replay(made), is_replay(again)) == (False, True)
    assert house.script.calls(words) == asked + 1
    assert len(house.server.receipts(account)) == 1


@pytest.mark.parametrize("surface", STREAMS)
def test_what_failed_and_was_charged_is_replayed_as_it_was(
    house: House, account: str, client: httpx.Client, surface: str
) -> None:
    words = f"break {account}"
    failed = ask(client, surface, words, headers=keyed("k"))
    wait_until(lambda: house.server.receipts(account), what="the charge")
    again = ask(client, surface, words, headers=keyed("k"))
    assert (failed.status, again.status, is_replay(again)) == (200, 200, True)
    assert again.events == failed.events
    assert failed.broken is not None
    assert again.broken is not None, "a failed stream may not look whole"
    assert house.script.calls(words) == 1
    assert len(house.server.receipts(account)) == 1


@pytest.mark.parametrize(
    "key", [b"", b"k" * 256, b"two words", "schlüssel".encode(), b"tab\there", b"k\x01", b"k\x7f"]
)
def test_a_key_that_is_none_is_refused(
    house: House, account: str, client: httpx.Client, key: bytes
) -> None:
    """Over a bare connection: no client would send it."""
    parts = urlsplit(house.server.url)
    text = b'{"model": "acted", "messages": [{"role": "user", "content": "say 2"}]}'
    head = (
        f"POST {SURFACES['chat_completions'].path} HTTP/1.1\r\nhost: {parts.netloc}\r\n"
        f"authorization: {client.headers['authorization']}\r\nconnection: close\r\n"
        f"content-type: application/json\r\ncontent-length: {len(text)}\r\n"
    ).encode()
    asked = head + b"idempotency-key: " + key + b"\r\n\r\n" + text
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as bare:
        bare.sendall(asked)
        answer = b"".join(iter(lambda: bare.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    if not any(char < 32 or char == 127 for char in key):  # else the head is no HTTP
        assert b"idempotency-key" in answer.lower().partition(b"\r\n\r\n")[2]
    assert house.server.receipts(account) == []


def test_the_longest_key_is_taken(client: httpx.Client) -> None:
    heard = ask(client, "chat_completions", "say 2", stream=False, headers=keyed("~" * 255))
    assert heard.status == 200


@pytest.mark.parametrize("surface", STREAMS)
def test_a_client_that_leaves_is_waited_for(
    house: House, account: str, client: httpx.Client, surface: str
) -> None:
    """Its window, said by nobody, is at least a minute: it has told that it will come back."""
    words = f"hold {account}"
    left = ask(client, surface, words, leave_after=3, headers=keyed("k"))
    assert int(left.headers["x-resume-window"]) >= 60
    house.script.gates[account].set()
    receipt = house.paid_once(account, words, 2 * HELD)
    assert receipt["ending"] == "completed"
    again = ask(client, surface, words, headers=keyed("k"))
    assert again.events[:3] == left.events
    assert again.text(surface) == text_of(2 * HELD)
    assert follow(client, left.stream, 2).events == again.events[3:]
    rest = ask(client, surface, words, headers=keyed("k", **{"x-last-chunk-index": "2"}))
    assert rest.events == again.events[3:]
    house.paid_once(account, words, 2 * HELD)


def test_a_whole_answer_whose_client_left_is_fetched(
    house: House, account: str, client: httpx.Client
) -> None:
    words = f"hold {account}"
    hasty = httpx.Timeout(30, read=0.5)
    with pytest.raises(httpx.ReadTimeout):
        client.post(
            SURFACES["chat_completions"].path,
            json={"model": "acted", "messages": [{"role": "user", "content": words}]},
            headers=keyed("k"),
            timeout=hasty,
        )
    house.script.gates[account].set()
    house.paid_once(account, words, 2 * HELD)
    body = {"model": "acted", "messages": [{"content": words, "role": "user"}]}
    path = SURFACES["chat_completions"].path
    answer = client.post(path, json=body, headers=keyed("k"))
    assert answer.json()["choices"][0]["message"]["content"] == text_of(2 * HELD)
    house.paid_once(account, words, 2 * HELD)


def test_a_client_that_wants_to_be_cancelled_is(
    house: House, account: str, client: httpx.Client
) -> None:
    words = f"hold {account}"
    for window in ("0", "cancel"):
        headers = keyed(f"k-{window}", **{"x-resume-window": window})
        left = ask(client, "chat_completions", words, leave_after=3, headers=headers)
        assert left.headers["x-resume-window"] == "0"
    wait_until(lambda: len(house.server.receipts(account)) == 2, what="the ends of the holds")
    assert {row["ending"] for row in house.server.receipts(account)} == {"client_left"}
