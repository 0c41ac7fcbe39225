"""One HTTP request and its response, on raw ASGI: bounded reading, plain writing.

Raw, because a framework's request and response objects cost a third of the throughput here.
Knows no protocol and no use case.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from functools import partial
from typing import Any

from bandari.domain.faults import RequestTimeout, RequestTooLarge

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]


CLIENT = "bandari.client"
"""The ASGI extension in which our listener hands over the ``Client`` of a request's connection."""


class Client:
    """Who is at the other end of a connection, and whether he is still there.

    A listener may do better than ASGI where nobody has to wait: ``taken_body``, ``respond`` and
    ``write`` are asked first, with the scope of the request, and say whether they did it.
    """

    __slots__ = ("_watchers", "has_left")

    def __init__(self) -> None:
        self.has_left = False
        self._watchers: set[Callable[[], None]] = set()

    def watch(self, when_left: Callable[[], None]) -> None:
        """Have ``when_left`` called when he leaves: now, if he has."""
        if self.has_left:
            when_left()
        else:
            self._watchers.add(when_left)

    def unwatch(self, when_left: Callable[[], None]) -> None:
        self._watchers.discard(when_left)

    def taken_body(self, scope: Scope) -> bytes | None:  # noqa: ARG002 - a listener's to use
        """The request's body, if it has come whole."""
        return None

    def respond(self, scope: Scope, status: int, headers: Headers, body: bytes) -> bool:  # noqa: ARG002
        """A whole answer, in one write."""
        return False

    def write(self, scope: Scope, data: bytes) -> bool:  # noqa: ARG002
        """More of an answer's body that has begun."""
        return False

    def leave(self) -> None:
        self.has_left = True
        watchers, self._watchers = self._watchers, set()
        for when_left in watchers:
            when_left()


class ClientLeft(Exception):
    """The client closed the connection; nobody is there to answer."""


_NONE: Mapping[str, Any] = {}


class Exchange:
    """``headers`` are sent with whatever answer is given: set them before ``begin``."""

    __slots__ = (
        "_client",
        "_receive",
        "_send",
        "began",
        "headers",
        "scope",
        "status",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self._client: Client | None = scope.get("extensions", _NONE).get(CLIENT)
        self._receive = receive
        self._send = send
        self.headers: list[tuple[bytes, bytes]] = []
        self.began = False
        self.status = 0

    @property
    def method(self) -> str:
        return str(self.scope["method"])

    @property
    def path(self) -> str:
        return str(self.scope["path"])

    def header(self, name: bytes) -> str | None:
        """The first header of that lower-case name."""
        for key, value in self.scope["headers"]:
            if key == name:
                return str(value.decode("latin-1"))
        return None

    async def body(self, max_bytes: int, timeout_ms: int) -> bytes:
        """The whole body. Raises ``RequestTooLarge``, ``RequestTimeout`` or ``ClientLeft``."""
        declared = self.header(b"content-length") or ""
        if declared.isascii() and declared.isdigit() and int(declared[:20]) > max_bytes:
            raise _too_large(max_bytes)
        taken = None if self._client is None else self._client.taken_body(self.scope)
        if taken is not None:
            if len(taken) > max_bytes:
                raise _too_large(max_bytes)
            return taken
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                return await self._whole_body(max_bytes)
        except TimeoutError:
            raise RequestTimeout(
                f"The request body did not arrive within {timeout_ms / 1000:g} s."
            ) from None

    def watch_client(self, when_left: Callable[[], None]) -> Callable[[], object]:
        """Have ``when_left`` called when the client closes the connection.

        To be called after the body was read. Returns what ends the watch.
        """
        client = self._client
        if client is not None:
            client.watch(when_left)
            return partial(client.unwatch, when_left)
        # Other servers tell it only to those who ask; a task costs more than a callback.
        asking = asyncio.create_task(self._ask_until_left(when_left))
        return asking.cancel

    async def _ask_until_left(self, when_left: Callable[[], None]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        when_left()

    async def respond(self, status: int, content_type: bytes, body: bytes) -> None:
        """A whole answer."""
        length = (b"content-length", b"%d" % len(body))
        if self.method == "HEAD":
            body = b""
        self.began = True
        self.status = status
        headers = [(b"content-type", content_type), length, *self.headers]
        if self._client is None or not self._client.respond(self.scope, status, headers, body):
            await self._send({"type": "http.response.start", "status": status, "headers": headers})
            await self._send_body(body, more=False)

    async def begin(self, status: int, content_type: bytes) -> None:
        """The status and the headers."""
        self.began = True
        self.status = status
        headers = [(b"content-type", content_type), *self.headers]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    def write_now(self, data: bytes) -> bool:
        """More of the body, if nobody has to wait for that; to be called between writes only."""
        return self._client is not None and self._client.write(self.scope, data)

    async def write(self, data: bytes) -> None:
        """More of the body. Waits while the client does not read, as long as the server allows."""
        await self._send_body(data, more=True)

    async def end(self) -> None:
        """The end of the body. An answer that is broken off never gets here."""
        await self._send_body(b"", more=False)

    async def _send_body(self, data: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def _whole_body(self, max_bytes: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            piece: bytes = message.get("body", b"")
            size += len(piece)
            if size > max_bytes:
                raise _too_large(max_bytes)
            pieces.append(piece)
            if not message.get("more_body", False):
                return piece if len(pieces) == 1 else b"".join(pieces)


def _too_large(max_bytes: int) -> RequestTooLarge:
    return RequestTooLarge(f"The request body exceeds the limit of {max_bytes} bytes.")
