from __future__ import annotations

import asyncio

import pytest
from tests.support.client import Client
from tests.support.gates import Gate, until_idle

from bandari.domain.faults import InvalidRequest, InvalidValue, RequestTimeout, RequestTooLarge
from bandari.web.exchange import UNWANTED_BYTES, ClientLeft, Exchange


def exchange(client: Client, method: str = "POST", **headers: str) -> Exchange:
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return client.exchange(method, "/v1/x", pairs)


async def body(client: Client, max_bytes: int = 10, timeout_ms: int = 5000, **headers) -> bytes:
    return await exchange(client, **headers).body(max_bytes, timeout_ms)


# -- the request -----------------------------------------------------------------------------------


def test_the_first_header_of_a_name_is_read():
    pairs = [("X-A", "1"), ("x-a", "2"), ("x-latin", "é")]
    made = Client().exchange("GET", "/p", pairs)
    assert (made.header(b"x-a"), made.header(b"x-latin")) == ("1", "é")
    assert made.header(b"x-b") is None
    assert (made.method, made.path) == ("GET", "/p")


@pytest.mark.parametrize("pieces", [[b""], [b"0123456789"], [b"01", b"", b"23456789"]])
async def test_a_body_comes_in_one_piece_or_in_many(pieces):
    assert await body(Client(*pieces)) == b"".join(pieces)


@pytest.mark.parametrize("pieces", [[b"0123456789"], [b"01", b"", b"23456789"]])
async def test_a_body_may_come_while_it_is_waited_for(pieces):
    client = Client(complete=False)
    reading = asyncio.create_task(body(client))
    await until_idle()
    for piece in pieces:
        client.more(piece, last=False)
        await until_idle()
        assert not reading.done()
    client.more(b"")
    assert await reading == b"".join(pieces)
    assert client.taken == len(pieces) + 1  # each time what was read may be read again


@pytest.mark.parametrize("declared", ["11", "9" * 30])
async def test_a_body_that_says_it_is_too_large_is_not_read(declared):
    client = Client(complete=False)  # nothing will ever come
    with pytest.raises(RequestTooLarge, match="the limit of 10 bytes"):
        await body(client, content_length=declared, expect="100-continue")
    assert not client.began


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("pieces", [[b"x" * 11], [b"x" * 6, b"x" * 5], [b"x"] * 11])
async def test_a_body_that_is_too_large_is_noticed_as_it_comes(pieces, complete):
    with pytest.raises(RequestTooLarge):
        await body(Client(*pieces, complete=complete))


async def test_a_body_that_becomes_too_large_is_noticed_then():
    client = Client(b"x" * 10, complete=False)
    reading = asyncio.create_task(body(client))
    await until_idle()
    assert not reading.done()
    client.more(b"x", last=False)
    with pytest.raises(RequestTooLarge):
        await reading


async def test_a_body_that_does_not_come_is_a_timeout():
    with pytest.raises(RequestTimeout, match=r"within 0\.02 s"):
        await body(Client(b"01", complete=False), timeout_ms=20)


async def test_a_body_that_trickles_in_is_a_timeout_too():
    client = Client(complete=False)

    async def trickle() -> None:
        while True:
            client.more(b".", last=False)
            await asyncio.sleep(0.01)

    reading = asyncio.create_task(body(client, max_bytes=10_000, timeout_ms=100))
    await until_idle()
    trickling = asyncio.create_task(trickle())
    with pytest.raises(RequestTimeout):
        await reading
    trickling.cancel()


@pytest.mark.parametrize("pieces", [[], [b"01"]])
async def test_a_client_that_leaves_before_its_body_is_whole(pieces):
    client = Client(*pieces, complete=False)
    reading = asyncio.create_task(body(client))
    await until_idle()
    client.disconnect()
    with pytest.raises(ClientLeft):
        await reading


async def test_a_client_that_left_before_its_body_was_read():
    client = Client(b"01")
    made = exchange(client)
    client.disconnect()
    with pytest.raises(ClientLeft):
        await made.body(10, 5000)


async def test_a_client_that_waits_to_be_asked_for_its_body_is_asked_once():
    client = Client(complete=False)
    reading = asyncio.create_task(body(client, expect="100-Continue"))
    await until_idle()
    assert client.written == [b"HTTP/1.1 100 Continue\r\n\r\n"]
    client.more(b"0", last=False)
    await until_idle()
    client.more(b"1")
    assert await reading == b"01"
    assert len(client.written) == 1


@pytest.mark.parametrize("made_of", [{"expect": "200-maybe"}, {}])
async def test_a_client_that_does_not_wait_is_not_asked(made_of):
    client = Client(complete=False)
    reading = asyncio.create_task(body(client, **made_of))
    await until_idle()
    client.more(b"01")
    assert await reading == b"01"
    assert not client.began


async def test_a_client_of_http_1_0_is_not_asked_for_its_body():
    client = Client(complete=False)
    made = client.exchange("POST", "/", [("expect", "100-continue")], is_http_1_1=False)
    reading = asyncio.create_task(made.body(10, 5000))
    await until_idle()
    client.more(b"01")
    assert await reading == b"01"
    assert not client.began


# -- whether the client is there -------------------------------------------------------------------


async def test_a_watch_calls_when_the_client_leaves_and_not_before():
    client = Client(b"{}")
    made = exchange(client)
    await made.body(10, 5000)
    left: list[bool] = []
    made.watch_client(lambda: left.append(True))
    await until_idle()
    assert not left
    client.disconnect()
    assert left == [True]


async def test_a_watch_that_was_ended_calls_nobody():
    client = Client(b"{}")
    made = exchange(client)
    await made.body(10, 5000)
    left: list[bool] = []
    made.watch_client(lambda: left.append(True))()
    client.disconnect()
    assert not left


async def test_each_watch_is_told_once_and_a_late_one_at_once():
    client = Client(b"{}")
    made = exchange(client)
    left: list[str] = []
    made.watch_client(lambda: left.append("first"))
    made.watch_client(lambda: left.append("second"))()
    client.disconnect()
    made.leave()  # a connection may say it twice
    assert left == ["first"]
    made.watch_client(lambda: left.append("late"))()
    assert left == ["first", "late"]


# -- the answer ------------------------------------------------------------------------------------


async def test_a_whole_answer():
    client = Client(b"")
    made = exchange(client)
    made.headers.append((b"x-request-id", b"r"))
    assert not made.began
    await made.respond(201, b"text/plain", b"Karibu")
    assert (client.status, client.body, client.ended) == (201, b"Karibu", True)
    assert client.headers.pop("date").endswith(" GMT")
    assert client.headers == {
        "content-type": "text/plain",
        "x-request-id": "r",
        "content-length": "6",
    }
    assert (made.began, made.status, made.is_over) == (True, 201, True)
    assert len(client.written) == 1


async def test_an_answer_to_head_has_the_length_and_no_body():
    client = Client(b"")
    await exchange(client, "HEAD").respond(200, b"text/plain", b"Karibu")
    assert (client.headers["content-length"], client.body) == ("6", b"")
    assert client.written[0].endswith(b"\r\n\r\n")


async def test_a_streamed_answer_to_head_has_no_body():
    client = Client(b"")
    made = exchange(client, "HEAD")
    await made.begin(200, b"text/plain")
    await made.write(b"Karibu")
    await made.end()
    assert made.is_over
    assert len(client.written) == 1
    assert "transfer-encoding" not in client.headers


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_that_has_no_body_says_no_length(status):
    client = Client(b"")
    await exchange(client).respond(status, b"text/plain", b"Karibu")
    assert client.ended
    assert client.written[0].endswith(b"\r\n\r\n")
    assert "content-length" not in client.headers
    client = Client(b"")
    made = exchange(client)
    await made.begin(status, b"text/plain")
    await made.write(b"Karibu")
    await made.end()
    assert len(client.written) == 1
    assert "transfer-encoding" not in client.headers


async def test_a_streamed_answer():
    client = Client(b"")
    made = exchange(client)
    await made.begin(200, b"text/event-stream")
    await made.write(b"a")
    await made.write(b"")  # it would be the end, were it written
    assert made.write_now(b"b" * 300)
    assert (client.body, client.ended) == (b"a" + b"b" * 300, False)
    await made.end()
    assert client.ended
    assert client.written[1:] == [
        b"1\r\na\r\n",
        b"12c\r\n" + b"b" * 300 + b"\r\n",
        b"0\r\n\r\n",
    ]


async def test_a_client_of_http_1_0_reads_until_the_connection_ends():
    client = Client(b"")
    made = client.exchange("POST", is_http_1_1=False)
    await made.begin(200, b"text/plain")
    await made.write(b"a")
    await made.end()
    assert client.headers["connection"] == "close"
    assert "transfer-encoding" not in client.headers
    assert client.written[1:] == [b"a"]
    assert made.is_last


async def test_a_status_without_a_name():
    client = Client(b"")
    await exchange(client).respond(599, b"text/plain", b"")
    assert client.status == 599


@pytest.mark.parametrize("given", [b"a\r\nx: y", b"a\n", b"\r", b"a\0b", b"\r\n\r\n<html>"])
@pytest.mark.parametrize("is_name", [True, False])
async def test_a_header_that_holds_what_ends_it_is_not_sent(given, is_name):
    client = Client(b"")
    made = exchange(client)
    made.headers.append((given, b"v") if is_name else (b"n", given))
    with pytest.raises(ValueError, match="holds what ends it"):
        await made.respond(200, b"text/plain", b"")
    with pytest.raises(ValueError, match="holds what ends it"):
        await made.begin(200, b"text/plain")
    assert not client.began
    assert not made.began


async def test_a_client_that_does_not_read_holds_the_writer_up():
    client = Client(b"")
    made = exchange(client)
    await made.begin(200, b"text/plain")
    client.not_reading = Gate()
    assert not made.write_now(b"a")
    writing = asyncio.create_task(made.write(b"a"))
    await client.not_reading.reached.wait()
    assert not writing.done()
    client.not_reading.open()
    await writing
    assert client.body == b"a"


class BehindAnother(Client):
    """It has not read the answer before this one yet."""

    @property
    def is_held_up(self) -> bool:
        return not self.not_reading.is_open


@pytest.mark.parametrize(
    ("what", "arguments"), [("respond", (200, b"", b"")), ("begin", (200, b""))]
)
async def test_no_answer_is_added_to_one_that_is_not_read(what, arguments):
    client = BehindAnother(b"")
    client.not_reading = Gate()
    made = exchange(client)
    writing = asyncio.create_task(getattr(made, what)(*arguments))
    await client.not_reading.reached.wait()
    assert not client.began
    client.not_reading.open()
    await writing
    assert client.began


async def test_the_end_is_not_added_to_what_is_not_read():
    client = Client(b"")
    made = exchange(client)
    await made.begin(200, b"text/plain")
    client.not_reading = Gate()
    ending = asyncio.create_task(made.end())
    await client.not_reading.reached.wait()
    assert not client.ended
    client.not_reading.open()
    await ending
    assert client.ended


async def test_nothing_is_written_to_a_client_that_has_left():
    client = Client(b"")
    made = exchange(client)
    await made.begin(200, b"text/plain")
    client.not_reading = Gate()
    client.disconnect()
    await made.write(b"a")
    assert not made.write_now(b"b")
    client.not_reading.open()
    await made.end()
    assert len(client.written) == 1


@pytest.mark.parametrize("what", ["respond", "begin"])
async def test_a_client_that_has_left_is_not_answered(what):
    client = Client(b"")
    made = exchange(client)
    client.disconnect()
    await getattr(made, what)(*{"respond": (200, b"", b""), "begin": (200, b"")}[what])
    assert not client.began


async def test_an_answer_ends_once():
    made = exchange(Client(b""))
    await made.respond(200, b"text/plain", b"")
    with pytest.raises(AssertionError, match="ends once"):
        made.write_now(b"a")


# -- an answer that does not wait for the body -----------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "is_last"),
    [
        ({"content_length": str(UNWANTED_BYTES + 2)}, False),
        ({"content_length": str(UNWANTED_BYTES + 3)}, True),
        ({"content_length": "3", "expect": "100-continue"}, True),  # will it be sent or not?
        ({"transfer_encoding": "chunked"}, True),
    ],
)
async def test_a_body_that_nobody_waited_for_ends_the_connection_unless_it_is_short(
    headers, is_last
):
    client = Client(b"..", complete=False)
    made = exchange(client, **headers)
    await made.respond(401, b"text/plain", b"No")
    assert made.is_last is is_last
    assert client.headers.get("connection") == ("close" if is_last else None)


async def test_a_body_that_was_asked_for_will_come_and_may_be_short():
    client = Client(complete=False)
    made = exchange(client, content_length="3", expect="100-continue")
    with pytest.raises(RequestTimeout):
        await made.body(10, 1)
    await made.respond(408, b"text/plain", b"")
    assert not made.is_last


async def test_what_comes_after_the_answer_is_not_kept():
    client = Client(complete=False)
    made = exchange(client, content_length="100")
    await made.respond(401, b"text/plain", b"No")
    client.more(b"x" * 50, last=False)
    assert (made.received_bytes, made.unread_bytes) == (50, 0)


# -- the query ------------------------------------------------------------------------------------


def asked(query: str):
    return Client().exchange("GET", "/", query=query)


def test_a_parameter_is_read_from_the_query():
    exchange = asked("stream=true&starting_after=7&name=a%20b")
    assert exchange.flag("stream")
    assert exchange.number("starting_after", 0, 100) == 7
    assert exchange.parameter("name") == "a b"


@pytest.mark.parametrize("query", ["", "stream=", "stream=false", "other=true"])
def test_a_flag_that_is_not_set(query):
    assert not asked(query).flag("stream")


@pytest.mark.parametrize("value", ["a", "-1", "101", "1.5", "²", "9" * 30])
def test_a_number_out_of_its_bounds_is_named(value):
    with pytest.raises(
        InvalidValue, match="'limit' must be an integer between 0 and 100"
    ) as caught:
        asked(f"limit={value}").number("limit", 0, 100)
    assert caught.value.param == "limit"


def test_a_flag_that_is_no_flag_is_named():
    with pytest.raises(InvalidValue, match="'stream' must be true or false"):
        asked("stream=yes").flag("stream")


def test_a_query_has_its_bound():
    with pytest.raises(InvalidRequest, match="more than 50 parameters"):
        asked("a=1&" * 51).parameter("a")
