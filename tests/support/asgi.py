"""Calls raw ASGI applications: a client that sends when told, reads when told, and may leave.

``receive`` and ``send`` behave as a server's do: after the body ``receive`` waits until the client
has left or has been answered in full, and ``send`` to a client that has left does nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from tests.support.gates import Gate

Message = MutableMapping[str, Any]
AsgiApp = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]


def scope(
    method: str = "GET",
    path: str = "/",
    headers: Iterable[tuple[str, str]] = (),
    query: str = "",
) -> Message:
    """An HTTP connection scope; header names are lower-cased, as servers do."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
        "client": ("127.0.0.1", 40000),
        "server": ("127.0.0.1", 8080),
    }


class AsgiClient:
    """One request. ``pieces`` is its body; further ones may be sent with ``more``.

    ``not_reading`` is a gate that holds up every write once the answer has begun.
    """

    def __init__(self, *pieces: bytes, complete: bool = True) -> None:
        self.sent: list[Message] = []
        self.not_reading: Gate | None = None
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._answered = asyncio.Event()
        self._left = False
        self._something_sent = asyncio.Condition()
        for index, piece in enumerate(pieces):
            last = index == len(pieces) - 1
            self.more(piece, last=complete and last)

    # The application's side.

    async def receive(self) -> Message:
        if not self._incoming.empty():
            return self._incoming.get_nowait()
        incoming = asyncio.ensure_future(self._incoming.get())
        answered = asyncio.ensure_future(self._answered.wait())
        try:
            await asyncio.wait({incoming, answered}, return_when=asyncio.FIRST_COMPLETED)
            return incoming.result() if incoming.done() else {"type": "http.disconnect"}
        finally:
            incoming.cancel()
            answered.cancel()

    async def send(self, message: Message) -> None:
        if self.not_reading is not None and message["type"] == "http.response.body":
            await self.not_reading.passing()
        if self._left:
            return
        async with self._something_sent:
            self.sent.append(message)
            self._something_sent.notify_all()
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._answered.set()

    # The test's side.

    def more(self, piece: bytes, *, last: bool = True) -> None:
        self._incoming.put_nowait({"type": "http.request", "body": piece, "more_body": not last})

    def disconnect(self) -> None:
        self._left = True
        self._incoming.put_nowait({"type": "http.disconnect"})

    async def until_body_has(self, text: bytes) -> None:
        async with self._something_sent:
            await self._something_sent.wait_for(lambda: text in self.body)

    @property
    def began(self) -> bool:
        return bool(self.sent)

    @property
    def ended(self) -> bool:
        """Whether the body ended in order; an answer that was broken off never does."""
        return self._answered.is_set()

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])


async def request(
    app: AsgiApp,
    method: str,
    path: str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    query: str = "",
) -> AsgiClient:
    """Call the application and wait for it to return."""
    client = AsgiClient(body)
    await app(scope(method, path, headers, query), client.receive, client.send)
    return client


def start(
    app: AsgiApp,
    client: AsgiClient,
    method: str,
    path: str,
    headers: Iterable[tuple[str, str]] = (),
) -> asyncio.Task[None]:
    """Call the application and do not wait."""

    async def call() -> None:
        await app(scope(method, path, headers), client.receive, client.send)

    return asyncio.create_task(call())
