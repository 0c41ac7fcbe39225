"""The HTTP server itself, on a real socket."""

from __future__ import annotations

import asyncio
import http.client
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import httpx2
import pytest
import uvloop
from tests.support.gates import Gate, until

from bandari.web import listener, timed_connection
from bandari.web.exchange import Exchange
from bandari.web.http1 import App
from bandari.web.sources import TrustedProxies

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
"""Sockets behave a little differently on each."""

REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@asynccontextmanager
async def connected(
    app: App,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with served(app) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
        yield reader, writer
        writer.close()


@asynccontextmanager
async def served(app: App) -> AsyncIterator[str]:
    with closing(listener.bind("127.0.0.1", 0)) as bound:
        async with listener.listening(app, bound):
            yield listener.url_of(bound)


async def echo(exchange: Exchange) -> None:
    body = await exchange.body(10_000_000, 5000)
    if exchange.path == "/stream":
        await exchange.begin(200, b"text/plain")
        for start in range(0, len(body), 100_000):
            await exchange.write(body[start : start + 100_000])
        await exchange.end()
    else:
        await exchange.respond(200, b"text/plain", body)


BODIES = [b"", b"Habari", b"x" * 3_000_000]


@pytest.mark.parametrize("path", ["/whole", "/stream"])
async def test_the_standard_librarys_client(path):
    def talk(url: str) -> None:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        for body in BODIES:
            connection.request("POST", path, body=body)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, body)
            socket = connection.sock
        connection.request("POST", path, body=iter([b"a", b"bc"]), encode_chunked=True)
        assert connection.getresponse().read() == b"abc"
        connection.request("HEAD", "/whole")
        assert connection.getresponse().read() == b""
        assert connection.sock is socket  # all on one connection
        connection.close()

    async with served(echo) as url:
        await asyncio.to_thread(talk, url)


@pytest.mark.parametrize("path", ["/whole", "/stream"])
async def test_httpx(path):
    async with served(echo) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        for body in BODIES:
            answer = await client.post(path, content=body)
            assert (answer.status_code, answer.content) == (200, body)
        answers = await asyncio.gather(*(client.post(path, content=b"%d" % i) for i in range(50)))
        assert [answer.content for answer in answers] == [b"%d" % i for i in range(50)]


async def test_an_early_answer_reaches_a_client_that_still_sends():
    async def refuse(exchange: Exchange) -> None:
        await exchange.respond(413, b"text/plain", b"too large")

    async with connected(refuse) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\ncontent-length: 99000000\r\n\r\n")
        for _ in range(50):
            writer.write(b"x" * 100_000)
            await writer.drain()
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert answer.endswith(b"too large")


async def test_who_is_not_answered_is_closed_and_who_is_is_waited_for():
    gate = Gate()

    async def app(exchange: Exchange) -> None:
        await gate.passing()
        await exchange.respond(200, b"text/plain", b"late")

    with closing(listener.bind("127.0.0.1", 0)) as bound:
        async with listener.listening(app, bound):
            idle, _idle_writer = await asyncio.open_connection(*bound.getsockname())
            busy, busy_writer = await asyncio.open_connection(*bound.getsockname())
            busy_writer.write(REQUEST)
            await gate.reached.wait()
            asyncio.get_running_loop().call_later(0.05, gate.open)
        assert gate.is_open
        assert await idle.read() == b""
        assert (await busy.read()).endswith(b"late")
        with pytest.raises(OSError):
            await asyncio.open_connection(*bound.getsockname())
    _idle_writer.close()
    busy_writer.close()


@pytest.mark.parametrize(
    ("trusted", "source"), [(None, "127.0.0.1"), (("127.0.0.0/8",), "203.0.113.9")]
)
async def test_where_a_request_comes_from(trusted, source):
    async def app(exchange: Exchange) -> None:
        await exchange.respond(200, b"text/plain", exchange.source.encode())

    proxies = TrustedProxies(trusted) if trusted else None
    with closing(listener.bind("127.0.0.1", 0)) as bound:
        async with listener.listening(app, bound, proxies):
            reader, writer = await asyncio.open_connection(*bound.getsockname())
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 203.0.113.9\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(len(source)) == source.encode()
            writer.close()


async def test_many_come_at_once():
    async with served(echo) as url:
        port = int(url.rsplit(":", 1)[1])

        async def visit() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(REQUEST)
            line = await reader.readline()
            writer.close()
            return line

        answers = await asyncio.gather(*(visit() for _ in range(400)))
        assert answers == [b"HTTP/1.1 200 OK\r\n"] * 400


async def test_more_than_there_are_descriptors_for_do_not_end_the_service():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with served(echo) as url:
        port = int(url.rsplit(":", 1)[1])
        crowd = []

        async def come_until_it_fails() -> None:
            while True:
                crowd.append(await asyncio.open_connection("127.0.0.1", port))

        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (80, limits[1]))
            with pytest.raises(OSError, match="Too many open files"):
                await come_until_it_fails()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for _, writer in crowd:
            writer.close()
        async with httpx2.AsyncClient(base_url=url, trust_env=False) as client:
            assert (await client.post("/", content=b"still here")).content == b"still here"


def test_a_loop_is_made_and_it_is_said_if_it_is_not_the_best(monkeypatch, caplog):
    loop = listener.event_loop()
    assert isinstance(loop, uvloop.Loop)
    loop.close()
    assert not caplog.records
    monkeypatch.setattr(listener, "_new_loop", asyncio.new_event_loop)
    listener.event_loop().close()
    assert "uvloop is missing" in caplog.text


async def test_a_client_that_leaves_is_told_at_once():
    left = asyncio.Event()

    async def app(exchange: Exchange) -> None:
        exchange.watch_client(left.set)
        await exchange.begin(200, b"text/plain")
        await left.wait()

    async with connected(app) as (reader, writer):
        writer.write(REQUEST)
        assert await reader.read(1)
        writer.close()
        async with asyncio.timeout(5):
            await left.wait()


async def test_a_client_that_leaves_while_much_is_written_is_no_error(caplog):
    left = asyncio.Event()

    async def app(exchange: Exchange) -> None:
        exchange.watch_client(left.set)
        await exchange.begin(200, b"text/plain")
        while not left.is_set():
            await exchange.write(b"x" * 100_000)
        for _ in range(10):
            await exchange.write(b"x" * 100_000)
        await exchange.end()

    async with connected(app) as (reader, writer):
        writer.write(REQUEST)
        await reader.read(1)
        writer.transport.abort()
        async with asyncio.timeout(5):
            await left.wait()
    await until(lambda: len(asyncio.all_tasks()) == 1)
    assert not caplog.records


async def test_one_request_is_not_told_of_the_next_ones_end():
    left: list[str] = []

    async def app(exchange: Exchange) -> None:
        exchange.watch_client(lambda: left.append(exchange.path))()
        await exchange.respond(200, b"text/plain", b"x")

    async with connected(app) as (reader, writer):
        writer.write(REQUEST)
        assert await reader.read(1)
    assert left == []


async def test_a_client_that_does_not_read_for_too_long_is_cut(monkeypatch):
    monkeypatch.setattr(timed_connection, "WRITE_TIMEOUT_S", 0.05)
    left = asyncio.Event()

    async def app(exchange: Exchange) -> None:
        exchange.watch_client(left.set)
        await exchange.begin(200, b"text/plain")
        while not left.is_set():
            await exchange.write(b"x" * 1_000_000)

    async with connected(app) as (_, writer):
        writer.write(REQUEST)
        async with asyncio.timeout(10):
            await left.wait()


async def test_a_client_that_reads_slowly_is_not_cut(monkeypatch):
    monkeypatch.setattr(timed_connection, "WRITE_TIMEOUT_S", 0.5)
    size = 3_000_000

    async def app(exchange: Exchange) -> None:
        await exchange.respond(200, b"text/plain", b"x" * size)

    async with connected(app) as (reader, writer):
        writer.write(REQUEST)
        got = 0
        while got < size:
            piece = await reader.read(200_000)
            assert piece
            got += len(piece)
