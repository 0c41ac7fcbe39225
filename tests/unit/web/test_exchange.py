from __future__ import annotations

import asyncio

import pytest
from tests.support.asgi import AsgiClient, scope
from tests.support.gates import Gate, until_idle

from bandari.domain.faults import RequestTimeout, RequestTooLarge
from bandari.web.exchange import CLIENT, Client, ClientLeft, Exchange


def exchange(client: AsgiClient, method: str = "POST", **headers: str) -> Exchange:
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Exchange(scope(method, "/v1/x", pairs), client.receive, client.send)


async def body(client: AsgiClient, max_bytes: int = 10, timeout_ms: int = 5000, **headers) -> bytes:
    return await exchange(client, **headers).body(max_bytes, timeout_ms)


def test_the_first_header_of_a_name_is_read():
    pairs = [("X-A", "1"), ("x-a", "2"), ("x-latin", "é")]
    made = Exchange(scope("GET", "/p", pairs), None, None)
    assert (made.header(b"x-a"), made.header(b"x-latin")) == ("1", "é")
    assert made.header(b"x-b") is None
    assert (made.method, made.path) == ("GET", "/p")


@pytest.mark.parametrize("pieces", [[b""], [b"0123456789"], [b"01", b"", b"23456789"]])
async def test_a_body_comes_in_one_piece_or_in_many(pieces):
    assert await body(AsgiClient(*pieces)) == b"".join(pieces)


@pytest.mark.parametrize("declared", ["11", "9" * 30])
async def test_a_body_that_says_it_is_too_large_is_not_read(declared):
    client = AsgiClient()  # nothing will ever come
    with pytest.raises(RequestTooLarge, match="the limit of 10 bytes"):
        await body(client, content_length=declared)


@pytest.mark.parametrize("pieces", [[b"x" * 11], [b"x" * 6, b"x" * 5], [b"x"] * 11])
async def test_a_body_that_is_too_large_is_noticed_as_it_comes(pieces):
    with pytest.raises(RequestTooLarge):
        await body(AsgiClient(*pieces, complete=False))


@pytest.mark.parametrize("declared", ["", "-5", "x", "²", "10"])
async def test_what_a_client_declares_is_no_reason_to_fail(declared):
    assert await body(AsgiClient(b"0123456789"), content_length=declared) == b"0123456789"


async def test_a_body_that_does_not_come_is_a_timeout():
    with pytest.raises(RequestTimeout, match=r"within 0\.02 s"):
        await body(AsgiClient(b"01", complete=False), timeout_ms=20)


async def test_a_body_that_trickles_in_is_a_timeout_too():
    client = AsgiClient()

    async def trickle() -> None:
        while True:
            client.more(b".", last=False)
            await asyncio.sleep(0.01)

    trickling = asyncio.create_task(trickle())
    with pytest.raises(RequestTimeout):
        await body(client, max_bytes=10_000, timeout_ms=100)
    trickling.cancel()


@pytest.mark.parametrize("pieces", [[], [b"01"]])
async def test_a_client_that_leaves_before_its_body_is_whole(pieces):
    client = AsgiClient(*pieces, complete=False)
    reading = asyncio.create_task(body(client))
    await until_idle()
    client.disconnect()
    with pytest.raises(ClientLeft):
        await reading


async def test_a_watch_calls_when_the_client_leaves_and_not_before():
    client = AsgiClient(b"{}")
    made = exchange(client)
    await made.body(10, 5000)
    left: list[bool] = []
    made.watch_client(lambda: left.append(True))
    client.more(b"", last=True)  # some servers repeat the end of the body
    await until_idle()
    assert not left
    client.disconnect()
    await until_idle()
    assert left == [True]


async def test_a_watch_that_was_ended_calls_nobody():
    client = AsgiClient(b"{}")
    made = exchange(client)
    await made.body(10, 5000)
    left: list[bool] = []
    made.watch_client(lambda: left.append(True))()
    client.disconnect()
    await until_idle()
    assert not left


async def test_our_listener_hands_over_who_is_there():
    there = Client()
    made = Exchange({**scope(), "extensions": {CLIENT: there}}, None, None)
    left: list[str] = []
    made.watch_client(lambda: left.append("first"))
    made.watch_client(lambda: left.append("second"))()
    there.leave()
    assert left == ["first"]
    made.watch_client(lambda: left.append("late"))
    assert left == ["first", "late"]


async def test_a_whole_answer():
    client = AsgiClient(b"")
    made = exchange(client)
    made.headers.append((b"x-request-id", b"r"))
    assert not made.began
    await made.respond(201, b"text/plain", b"Karibu")
    assert (client.status, client.body, client.ended) == (201, b"Karibu", True)
    assert client.headers == {
        "content-type": "text/plain",
        "x-request-id": "r",
        "content-length": "6",
    }
    assert (made.began, made.status) == (True, 201)


async def test_an_answer_to_head_has_the_length_and_no_body():
    client = AsgiClient(b"")
    await exchange(client, "HEAD").respond(200, b"text/plain", b"Karibu")
    assert (client.headers["content-length"], client.body) == ("6", b"")
    assert client.ended


async def test_a_streamed_answer():
    client = AsgiClient(b"")
    made = exchange(client)
    await made.begin(200, b"text/event-stream")
    await made.write(b"a")
    await made.write(b"b")
    assert (client.body, client.ended) == (b"ab", False)
    await made.end()
    assert client.ended


async def test_a_client_that_does_not_read_holds_the_writer_up():
    client = AsgiClient(b"")
    made = exchange(client)
    await made.begin(200, b"text/plain")
    client.not_reading = Gate()
    writing = asyncio.create_task(made.write(b"a"))
    await client.not_reading.reached.wait()
    assert not writing.done()
    client.not_reading.open()
    await writing
    assert client.body == b"a"
