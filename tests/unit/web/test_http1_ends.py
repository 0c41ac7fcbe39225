"""How a connection ends: silence, clients that leave or do not read, and a server that stops."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.gates import Gate, until_idle
from tests.support.virtual_time import VirtualLoop
from tests.support.visitor import Visitor

from bandari.domain.faults import RequestTimeout
from bandari.web import listener
from bandari.web.exchange import ClientLeft, Exchange
from bandari.web.http1 import HEAD_TIMEOUT_S, KEEP_ALIVE_S, LINGER_S
from bandari.web.timed_connection import WRITE_TIMEOUT_S

LOOPS = {"virtual": VirtualLoop}

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n"


async def ok(exchange: Exchange) -> None:
    await exchange.respond(200, b"text/plain", b"ok")


class Held:
    """An application that answers when its gate is opened, and tells who has left."""

    def __init__(self, *, begins: bool = False) -> None:
        self.gate = Gate()
        self.left: list[str] = []
        self.cancelled = 0
        self._begins = begins

    async def __call__(self, exchange: Exchange) -> None:
        unwatch = exchange.watch_client(lambda: self.left.append(exchange.path))
        try:
            if self._begins:
                await exchange.begin(200, b"text/plain")
            await self.gate.passing()
            if self._begins:
                await exchange.write(b"ok")
                await exchange.end()
            else:
                await exchange.respond(200, b"text/plain", b"ok")
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            unwatch()


def now() -> float:
    return asyncio.get_running_loop().time()


async def closing_time(visitor: Visitor, most_s: float = 1000) -> float:
    """How long it takes from now on until the connection is closed."""
    began = now()
    while visitor.is_open:
        assert now() - began < most_s, "it is never closed"
        await asyncio.sleep(0.5)
    return now() - began


def around(seconds: float):
    return pytest.approx(seconds, abs=1)


# -- silence ---------------------------------------------------------------------------------------


async def test_a_client_that_asks_for_nothing():
    assert await closing_time(Visitor(ok)) == around(HEAD_TIMEOUT_S)


@pytest.mark.parametrize("before", [b"", GET])
async def test_a_client_that_sends_its_head_slowly(before):
    visitor = Visitor(ok)
    visitor.sends(before + b"GET / HTTP/1.1\r\n")

    async def trickle() -> None:
        while True:
            await asyncio.sleep(5)
            visitor.sends(b"a: b\r\n")

    trickling = asyncio.create_task(trickle())
    assert await closing_time(visitor) == around(HEAD_TIMEOUT_S)
    trickling.cancel()
    assert len(visitor.answers()) == len(before) // len(GET)


async def test_a_head_has_its_time_from_when_the_answer_before_it_is_given():
    held = Held()
    visitor = Visitor(held)
    await visitor.asks(GET + b"GET / HT")
    await asyncio.sleep(HEAD_TIMEOUT_S * 3)
    assert visitor.is_open
    held.gate.open()
    await visitor.settles()
    assert await closing_time(visitor) == around(HEAD_TIMEOUT_S)


async def test_a_client_that_asks_for_nothing_more():
    visitor = Visitor(ok)
    await visitor.asks(GET)
    await asyncio.sleep(KEEP_ALIVE_S - 5)
    await visitor.asks(GET)
    assert await closing_time(visitor) == around(KEEP_ALIVE_S)
    assert len(visitor.answers()) == 2
    assert visitor.gone == 1


async def test_an_answer_may_take_its_time():
    held = Held()
    visitor = Visitor(held)
    await visitor.asks(GET)
    await asyncio.sleep(10 * KEEP_ALIVE_S)
    held.gate.open()
    (answer,) = await visitor.asks()
    assert answer.ended


async def test_a_body_that_does_not_come():
    faults = []

    async def app(exchange: Exchange) -> None:
        try:
            await exchange.body(10, 20_000)
        except RequestTimeout:
            faults.append(now())
            await exchange.respond(408, b"text/plain", b"")

    visitor = Visitor(app)
    await visitor.asks(POST + b"hel")
    await asyncio.sleep(21)
    assert faults == [20]
    assert visitor.answers()[0].status == 408
    assert await closing_time(visitor) == around(LINGER_S - 1)


async def test_what_is_still_sent_after_a_refusal_is_heard_for_a_while_only():
    for text in (b"nonsense\r\n\r\n", b"POST / HTTP/1.1\r\ncontent-length: 999999999\r\n\r\n"):
        visitor = Visitor(ok)
        await visitor.asks(text)

        async def go_on(visitor: Visitor = visitor) -> None:
            while True:
                visitor.sends(b"x" * 1000)
                await asyncio.sleep(1)

        going_on = asyncio.create_task(go_on())
        assert await closing_time(visitor) == around(LINGER_S)
        going_on.cancel()


async def test_a_refusal_ends_the_connection_though_the_endpoint_does_not_notice():
    held = Held()
    visitor = Visitor(held)
    await visitor.asks(POST.replace(b"content-length: 5", b"transfer-encoding: chunked"), b"x\r\n")
    assert visitor.answers()[0].status == 400
    visitor.connection.pause_writing()
    visitor.connection.resume_writing()
    assert await closing_time(visitor) == around(LINGER_S)
    assert visitor.gone == 0
    held.gate.open()
    await until_idle()
    assert visitor.gone == 1
    assert len(visitor.answers()) == 1


async def test_a_body_that_nobody_wanted_has_a_short_time_and_the_next_request_a_long_one():
    for rest, seconds in ((b"", LINGER_S), (b"hello", KEEP_ALIVE_S)):
        visitor = Visitor(ok)
        await visitor.asks(POST)
        await visitor.asks(rest)
        assert len(visitor.answers()) == 1
        assert await closing_time(visitor) == around(seconds)


# -- a client that leaves --------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["leaves", "ends"])
@pytest.mark.parametrize("text", [b"", b"GET / HT", GET])
async def test_a_client_that_leaves_while_nothing_is_answered(text, how):
    visitor = Visitor(ok)
    await visitor.asks(text)
    getattr(visitor, how)()
    await until_idle()
    assert visitor.gone == 1
    assert not visitor.is_open


@pytest.mark.parametrize("how", ["leaves", "ends"])
async def test_a_client_that_leaves_while_it_sends_a_body(how):
    faults = []

    async def app(exchange: Exchange) -> None:
        try:
            await exchange.body(10, 20_000)
        except ClientLeft as left:
            faults.append(left)

    visitor = Visitor(app)
    await visitor.asks(POST + b"hel")
    getattr(visitor, how)()
    await until_idle()
    assert len(faults) == 1
    assert (visitor.gone, visitor.line.written) == (1, b"")


@pytest.mark.parametrize("how", ["leaves", "ends"])
@pytest.mark.parametrize("begins", [True, False])
async def test_a_client_that_leaves_is_told_of_at_once(begins, how):
    held = Held(begins=begins)
    visitor = Visitor(held)
    await visitor.asks(GET)
    written = visitor.line.written
    getattr(visitor, how)()
    await until_idle()
    assert held.left == ["/"]
    assert visitor.gone == 0  # it is still being answered
    held.gate.open()
    await until_idle()
    assert visitor.gone == 1
    assert visitor.line.written == written
    assert held.left == ["/"]


async def test_a_client_that_ends_is_told_of_before_what_it_does_not_read_is_written():
    held = Held(begins=True)
    visitor = Visitor(held)
    await visitor.asks(GET)
    visitor.line.unsent = 100
    visitor.ends()
    assert held.left == ["/"]
    assert visitor.gone == 0
    held.gate.open()
    await asyncio.sleep(WRITE_TIMEOUT_S - 2)
    assert visitor.gone == 0
    await asyncio.sleep(4)
    assert visitor.gone == 1


async def test_who_waits_for_a_client_that_ends_is_told_so():
    visitor = Visitor(flood)
    await visitor.asks(GET)
    visitor.line.unsent = 100_000
    visitor.connection.pause_writing()
    await asyncio.sleep(2)
    visitor.ends()
    await asyncio.sleep(2)
    assert [task.get_name() for task in asyncio.all_tasks()].count("request") == 0


async def test_a_connection_that_is_gone_keeps_no_timer():
    visitor = Visitor(ok)
    await visitor.asks(GET)
    visitor.leaves()
    await until_idle()
    timers = asyncio.get_running_loop()._scheduled
    assert all(timer.cancelled() for timer in timers)


async def test_a_client_that_leaves_after_its_answer_is_nobodys_concern():
    held = Held()
    held.gate.open()
    visitor = Visitor(held)
    await visitor.asks(GET, GET)
    visitor.leaves()
    await until_idle()
    assert held.left == []


async def test_requests_of_a_client_that_has_left_are_not_begun():
    held = Held()
    visitor = Visitor(held)
    await visitor.asks(GET.replace(b"/ ", b"/1 ") + GET.replace(b"/ ", b"/2 "))
    visitor.leaves()
    held.gate.open()
    await until_idle()
    assert held.left == ["/1"]
    assert visitor.gone == 1


# -- a client that does not read -------------------------------------------------------------------


async def flood(exchange: Exchange) -> None:
    await exchange.begin(200, b"text/plain")
    while not exchange.has_left:
        await exchange.write(b"x" * 1000)
        await asyncio.sleep(1)


async def test_a_client_that_does_not_read_is_cut():
    visitor = Visitor(flood)
    await visitor.asks(GET)
    visitor.line.unsent = 100_000
    visitor.connection.pause_writing()
    written = visitor.line.written
    assert await closing_time(visitor) == around(WRITE_TIMEOUT_S)
    await asyncio.sleep(2)
    assert visitor.line.written == written
    assert visitor.gone == 1


async def test_a_client_that_reads_slowly_is_not_cut():
    visitor = Visitor(flood)
    await visitor.asks(GET)
    visitor.line.unsent = 100_000
    visitor.connection.pause_writing()
    for _ in range(20):
        await asyncio.sleep(WRITE_TIMEOUT_S - 1)
        visitor.line.read(visitor.line.unsent - 10)
    assert visitor.is_open
    written = visitor.line.written
    visitor.line.read(0)
    visitor.connection.resume_writing()
    await asyncio.sleep(WRITE_TIMEOUT_S * 5)
    assert visitor.is_open
    assert len(visitor.line.written) > len(written)
    visitor.line.unsent = 100_000
    visitor.connection.pause_writing()
    await asyncio.sleep(WRITE_TIMEOUT_S - 1)
    visitor.line.read(visitor.line.unsent - 10)
    assert await closing_time(visitor) == around(WRITE_TIMEOUT_S)
    await asyncio.sleep(2)


async def test_an_answer_that_waits_for_its_reader_goes_on():
    held = Held(begins=True)
    visitor = Visitor(held)
    await visitor.asks(GET)
    visitor.connection.pause_writing()
    held.gate.open()
    await until_idle()
    assert not visitor.answers()[0].ended
    visitor.connection.resume_writing()
    (answer,) = await visitor.asks()
    assert (answer.body, answer.ended) == (b"ok", True)
    assert await closing_time(visitor) == around(KEEP_ALIVE_S)


@pytest.mark.parametrize("text", [GET[:-2] + b"connection: close\r\n\r\n", b"nonsense\r\n\r\n"])
async def test_a_last_answer_that_is_not_read_is_cut(text):
    visitor = Visitor(ok)
    visitor.line.unsent = 100
    await visitor.asks(text)
    await asyncio.sleep(WRITE_TIMEOUT_S - 2)
    assert visitor.gone == 0
    await asyncio.sleep(LINGER_S + 4)
    assert visitor.gone == 1


async def test_a_long_answer_has_to_be_read_before_the_next_request_is_waited_for():
    visitor = Visitor(ok)
    visitor.line.unsent = 100_000
    visitor.line.pauses = True
    await visitor.asks(GET)
    assert await closing_time(visitor) == around(WRITE_TIMEOUT_S)


async def test_the_last_of_a_last_answer_has_its_time():
    visitor = Visitor(ok)
    visitor.line.unsent = 100_000
    visitor.line.pauses = True
    await visitor.asks(GET[:-2] + b"connection: close\r\n\r\n")
    visitor.line.read(10)
    visitor.connection.resume_writing()
    await asyncio.sleep(2 * WRITE_TIMEOUT_S - 2)  # once, it was seen to read
    assert visitor.gone == 0
    await asyncio.sleep(4)
    assert visitor.gone == 1


async def test_an_answer_that_is_not_read_though_all_of_it_was_written_is_cut():
    visitor = Visitor(ok)
    visitor.line.unsent = 100
    await visitor.asks(GET)
    await asyncio.sleep(KEEP_ALIVE_S + 2)
    assert (visitor.is_open, visitor.gone) == (False, 0)
    await asyncio.sleep(WRITE_TIMEOUT_S)
    assert visitor.gone == 1


async def test_the_next_request_does_not_take_the_time_to_read_away():
    visitor = Visitor(ok)
    visitor.line.unsent = 100_000
    await visitor.asks(GET)
    visitor.connection.pause_writing()
    await visitor.asks(GET)
    assert await closing_time(visitor) == around(WRITE_TIMEOUT_S)


# -- a server that stops ---------------------------------------------------------------------------


class House:
    """Connections as the listener keeps them, and what it takes to close them."""

    def __init__(self, app) -> None:
        self.app = app
        self.connections = listener._Connections(app)

    def visitor(self) -> Visitor:
        return Visitor(self.app, self.connections())

    async def closed_after(self) -> float:
        began = now()
        await self.connections.drain()
        return now() - began


async def test_a_house_without_visitors_is_closed_at_once():
    assert await House(ok).closed_after() == 0


@pytest.mark.parametrize("text", [b"", b"GET / HT", GET])
async def test_who_is_not_being_answered_is_sent_away(text):
    house = House(ok)
    visitor = house.visitor()
    await visitor.asks(text)
    assert await house.closed_after() == 0
    assert not visitor.is_open


@pytest.mark.parametrize("begins", [True, False])
async def test_who_is_being_answered_gets_the_answer_and_no_other(begins):
    held = Held(begins=begins)
    house = House(held)
    visitor = house.visitor()
    await visitor.asks(GET + GET)
    draining = asyncio.create_task(house.closed_after())
    await asyncio.sleep(3)
    assert visitor.is_open
    assert visitor.line.is_reading()
    visitor.sends(GET)
    held.gate.open()
    assert await draining == 3
    (answer,) = visitor.answers()
    assert (answer.body, answer.ended) == (b"ok", True)
    assert answer.headers.get("connection") == (None if begins else "close")
    assert not visitor.is_open


async def test_a_body_that_is_under_way_is_waited_for():
    bodies = []

    async def app(exchange: Exchange) -> None:
        bodies.append(await exchange.body(10, 30_000))
        await ok(exchange)

    house = House(app)
    visitor = house.visitor()
    await visitor.asks(POST + b"hel")
    draining = asyncio.create_task(house.closed_after())
    await asyncio.sleep(3)
    visitor.sends(b"lo" + GET)
    assert await draining == 3
    assert bodies == [b"hello"]
    assert [answer.headers["connection"] for answer in visitor.answers()] == ["close"]


async def test_an_answer_that_does_not_end_is_cancelled(caplog):
    held = Held(begins=True)
    house = House(held)
    visitor = house.visitor()
    await visitor.asks(GET)
    assert await house.closed_after() == listener.LAST_WRITES_S
    assert held.cancelled == 1
    assert not visitor.is_open
    assert "connections cut" in caplog.text


async def test_an_answer_that_is_not_read_is_waited_for_and_then_cut():
    house = House(ok)
    quick, slow = house.visitor(), house.visitor()
    for visitor in (quick, slow):
        visitor.line.unsent = 100
        await visitor.asks(GET)
    draining = asyncio.create_task(house.closed_after())
    await asyncio.sleep(2)
    quick.line.read()
    assert await draining == listener.LAST_WRITES_S
    assert len(slow.answers()) == 1


async def test_who_was_let_in_at_the_last_moment_is_sent_away():
    house = House(ok)
    early = house.connections()
    draining = asyncio.create_task(house.closed_after())
    await until_idle()
    visitors = [Visitor(ok, early), house.visitor()]
    assert await draining == 0
    assert not any(visitor.is_open for visitor in visitors)


async def test_an_endpoint_that_does_not_stop_when_it_is_told_to_is_not_waited_for_long():
    gate = Gate()

    async def stubborn(exchange: Exchange) -> None:
        with pytest.raises(asyncio.CancelledError):
            await gate.passing()
        await gate.passing()

    house = House(stubborn)
    await house.visitor().asks(GET)
    assert await house.closed_after() == listener.LAST_WRITES_S + listener.CUT_S
    gate.open()
