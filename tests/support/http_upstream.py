"""A small real HTTP/1.1 server on loopback that plays byte scripts: for what reads from sockets.

Each request is answered with the next ``Reply`` (the last one again when there are no more). Its
steps are bytes, sent as they are; ``Gate``s and ``asyncio.Event``s, waited for; ``RESET`` and
``CUT``, which end the connection at once. How the body is delimited is ``framing``:

- ``chunked``: every bytes step is one chunk; the last chunk follows the last step;
- ``length``: content-length of all bytes together, keep-alive;
- ``close``: neither; the connection ends the body.

``raw=True`` sends the steps without a head.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import Enum
from socket import SO_LINGER, SOL_SOCKET
from types import TracebackType
from typing import Any, Literal

from tests.support.gates import Gate


class End(Enum):
    RESET = "reset"
    """An abrupt end: TCP RST."""

    CUT = "cut"
    """A close in the middle: TCP FIN, with the body's end missing."""


RESET, CUT = End.RESET, End.CUT
Step = bytes | Gate | asyncio.Event | End


class Reply:
    def __init__(
        self,
        *steps: Step,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        framing: Literal["chunked", "length", "close"] = "chunked",
        raw: bool = False,
        before_head: Sequence[Step] = (),
    ) -> None:
        self.steps = steps
        self.status = status
        self.headers = dict(headers or {})
        self.framing = framing
        self.raw = raw
        self.before_head = before_head


def sse(*steps: Step | str, **options: Any) -> Reply:
    """A stream of server-sent events; a str step is the data of one event."""
    spelled = [f"data: {step}\n\n".encode() if isinstance(step, str) else step for step in steps]
    headers = {"content-type": "text/event-stream", **options.pop("headers", {})}
    return Reply(*spelled, headers=headers, **options)


def json_body(value: object, status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(
        json.dumps(value).encode(),
        status=status,
        headers={"content-type": "application/json", **named},
        framing="length",
    )


class Request:
    """What the server was asked. ``connection`` numbers connections from 0.

    ``client_gone`` is set when the client closed while the answer was under way.
    """

    def __init__(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, connection: int
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.connection = connection
        self.client_gone = asyncio.Event()
        self.answered = asyncio.Event()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class _Connection(asyncio.StreamReaderProtocol):
    """A stream protocol that tells at once when the client closes, whoever is reading."""

    def __init__(self, server: HttpUpstream) -> None:
        self.gone = asyncio.Event()
        self._served: asyncio.Task[None] | None = None
        super().__init__(asyncio.StreamReader(), self._connected)
        self._server = server

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._server.serve(reader, writer, self.gone))
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    def eof_received(self) -> bool | None:
        self.gone.set()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
        super().connection_lost(exc)


class HttpUpstream:
    """``async with HttpUpstream(reply, ...) as server``; ``server.url`` is its base URL.

    With ``tls`` it is reached as ``localhost``, which is the name in its certificate.
    """

    def __init__(self, *replies: Reply, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.url = ""
        self.port = 0
        self._tls = tls
        self._writers: list[asyncio.StreamWriter] = []
        self._replies = list(replies)
        self._asked = asyncio.Condition()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> HttpUpstream:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self), "127.0.0.1", 0, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]
        here = "http://127.0.0.1" if self._tls is None else "https://localhost"
        self.url = f"{here}:{self.port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()
        await self._server.wait_closed()

    async def request(self, number: int = 0) -> Request:
        """The request of that number, as soon as it has arrived."""
        async with self._asked:
            await self._asked.wait_for(lambda: len(self.requests) > number)
        return self.requests[number]

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gone: asyncio.Event
    ) -> None:
        connection = self.connections
        self.connections += 1
        self._writers.append(writer)
        try:
            while True:
                request = await _read_request(reader, connection)
                if request is None:
                    return
                watching = asyncio.create_task(_tell(gone, request.client_gone))
                reply = self._replies[min(len(self.requests), len(self._replies) - 1)]
                async with self._asked:
                    self.requests.append(request)
                    self._asked.notify_all()
                try:
                    goes_on = await _play(reply, writer)
                finally:
                    watching.cancel()
                request.answered.set()
                if not goes_on:
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


async def _tell(gone: asyncio.Event, client_gone: asyncio.Event) -> None:
    await gone.wait()
    client_gone.set()


async def _read_request(reader: asyncio.StreamReader, connection: int) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.rstrip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, body, connection)


async def _play(reply: Reply, writer: asyncio.StreamWriter) -> bool:
    """Send the reply; False when the connection has ended with it."""
    for step in reply.before_head:
        if not await _waited_or_ended(step, writer):
            return False
    if not reply.raw:
        writer.write(_head(reply))
    for step in reply.steps:
        if isinstance(step, bytes):
            chunked = reply.framing == "chunked" and not reply.raw
            writer.write(b"%x\r\n%b\r\n" % (len(step), step) if chunked else step)
            await writer.drain()
        elif not await _waited_or_ended(step, writer):
            return False
    if reply.raw or reply.framing == "close":
        return False
    if reply.framing == "chunked":
        writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True


async def _waited_or_ended(step: Step, writer: asyncio.StreamWriter) -> bool:
    match step:
        case Gate():
            await step.passing()
        case asyncio.Event():
            await step.wait()
        case End.RESET:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
        case End.CUT:
            return False
        case bytes():
            raise AssertionError("bytes come after the head")
    return True


def _head(reply: Reply) -> bytes:
    headers = dict(reply.headers)
    if reply.framing == "chunked":
        headers["transfer-encoding"] = "chunked"
    elif reply.framing == "length":
        size = sum(len(step) for step in reply.steps if isinstance(step, bytes))
        headers["content-length"] = str(size)
    else:
        headers["connection"] = "close"
    lines = [f"HTTP/1.1 {reply.status} Whatever", *(f"{n}: {v}" for n, v in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
