"""A client of the application, without a server: sends when told, reads when told, and may leave.

It stands where a connection would: exchanges write to it, and it reads answers with a parser of
its own. What it shows is what a client would see.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import httptools
from tests.support.gates import Gate

from bandari.web.exchange import Exchange

App = Callable[[Exchange], Awaitable[None]]


class Client:
    """One request. ``pieces`` is its body; further ones may be sent with ``more``.

    ``not_reading`` is a gate that holds up every write once the answer has begun.
    """

    def __init__(self, *pieces: bytes, complete: bool = True) -> None:
        self.written: list[bytes] = []
        self.headers: dict[str, str] = {}
        self.body = b""
        self.ended = False
        self.not_reading: Gate | None = None
        self.taken = 0
        self._pieces = list(pieces)
        self._is_complete = complete
        self._left = False
        self._exchange: Exchange | None = None
        self._something_sent = asyncio.Event()
        self._parser = httptools.HttpResponseParser(self)

    def exchange(
        self,
        method: str = "GET",
        path: str = "/",
        headers: Iterable[tuple[str, str]] = (),
        **options: Any,
    ) -> Exchange:
        """The request as an endpoint sees it; the first header of a name counts."""
        given: dict[bytes, bytes] = {}
        for name, value in headers:
            given.setdefault(name.lower().encode(), value.encode("latin-1"))
        self._exchange = exchange = Exchange(self, method, path, given, **options)
        pieces, self._pieces = self._pieces, []
        for index, piece in enumerate(pieces):
            self.more(piece, last=self._is_complete and index == len(pieces) - 1)
        if not pieces and self._is_complete and method in ("GET", "HEAD"):
            exchange.is_whole = True
        if self._left:
            exchange.leave()
        return exchange

    # A connection's side.

    @property
    def is_held_up(self) -> bool:
        gate = self.not_reading
        return gate is not None and not gate.is_open and self.began

    def send(self, data: bytes) -> None:
        assert not self._left, "written to a client that has left"
        self.written.append(data)
        self._parser.feed_data(data)
        self._something_sent.set()

    async def until_read(self) -> None:
        assert self.not_reading is not None
        await self.not_reading.passing()

    def body_was_taken(self) -> None:
        self.taken += 1

    # A parser's side.

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode()] = value.decode()

    def on_headers_complete(self) -> None:
        if self._exchange is not None and self._exchange.method == "HEAD":
            self.ended = True

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.ended = True

    # The test's side.

    def more(self, piece: bytes, *, last: bool = True) -> None:
        exchange = self._exchange
        if exchange is None:
            self._pieces.append(piece)
            return
        exchange.receive(piece)
        exchange.is_whole = last
        exchange.wake()

    def disconnect(self) -> None:
        self._left = True
        if self._exchange is not None:
            self._exchange.leave()

    async def until_body_has(self, text: bytes) -> None:
        while text not in self.body:
            self._something_sent.clear()
            await self._something_sent.wait()

    @property
    def began(self) -> bool:
        return bool(self.written)

    @property
    def status(self) -> int:
        return self._parser.get_status_code()


async def request(
    app: App,
    method: str,
    path: str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    query: str = "",
) -> Client:
    """Call the application and wait for it to return."""
    client = Client(body)
    await app(client.exchange(method, path, headers, query=query))
    return client


def start(
    app: App,
    client: Client,
    method: str,
    path: str,
    headers: Iterable[tuple[str, str]] = (),
) -> asyncio.Task[None]:
    """Call the application and do not wait."""

    async def call() -> None:
        await app(client.exchange(method, path, headers))

    return asyncio.create_task(call())
