"""One HTTP request and its response, on raw ASGI: bounded reading, plain writing.

Raw, because a framework's request and response objects cost a third of the throughput here.
Knows no protocol and no use case.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from bandari.domain.faults import RequestTimeout, RequestTooLarge

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]


class ClientLeft(Exception):
    """The client closed the connection; nobody is there to answer."""


class Exchange:
    """``headers`` are sent with whatever answer is given: set them before ``begin``."""

    __slots__ = ("_receive", "_send", "began", "headers", "scope", "status", "write_timeout_s")

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, write_timeout_s: float = 60.0
    ) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self.headers: list[tuple[bytes, bytes]] = []
        self.began = False
        self.status = 0
        self.write_timeout_s = write_timeout_s

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
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                return await self._whole_body(max_bytes)
        except TimeoutError:
            raise RequestTimeout(
                f"The request body did not arrive within {timeout_ms / 1000:g} s."
            ) from None

    async def client_left(self) -> None:
        """Return when the client has closed the connection. Call after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def respond(self, status: int, content_type: bytes, body: bytes) -> None:
        """A whole answer."""
        length = (b"content-length", b"%d" % len(body))
        await self.begin(status, content_type, (length,))
        await self._send_body(b"" if self.method == "HEAD" else body, more=False)

    async def begin(self, status: int, content_type: bytes, extra: Headers = ()) -> None:
        """The status and the headers."""
        self.began = True
        self.status = status
        headers = [(b"content-type", content_type), *self.headers, *extra]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes) -> None:
        """More of the body. Waits while the client does not read; ``ClientLeft`` after a minute."""
        await self._send_body(data, more=True)

    async def end(self) -> None:
        """The end of the body. An answer that is broken off never gets here."""
        await self._send_body(b"", more=False)

    async def _send_body(self, data: bytes, *, more: bool) -> None:
        try:
            async with asyncio.timeout(self.write_timeout_s):
                await self._send({"type": "http.response.body", "body": data, "more_body": more})
        except TimeoutError:
            raise ClientLeft from None

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
