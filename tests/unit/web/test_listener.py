"""The HTTP server itself, on a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing

from bandari.web import listener
from bandari.web.exchange import Exchange

App = Callable[[Exchange], Awaitable[None]]
REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@asynccontextmanager
async def connected(
    app: App,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async def asgi(scope, receive, send) -> None:
        await app(Exchange(scope, receive, send))

    with closing(listener.bind("127.0.0.1", 0)) as bound:
        async with listener.listening(asgi, bound):
            reader, writer = await asyncio.open_connection(*bound.getsockname())
            yield reader, writer
            writer.close()


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
    monkeypatch.setattr(listener, "WRITE_TIMEOUT_S", 0.05)
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
    monkeypatch.setattr(listener, "WRITE_TIMEOUT_S", 0.5)
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
