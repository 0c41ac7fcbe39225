"""The HTTP server under the application: uvicorn, in our own loop, with bounds that it lacks.

Signals are not its business: who runs it decides when to stop. A request's head has a size and a
time within which it must arrive, so that nobody can hold memory or a socket with half a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from bandari.web.app import App
from bandari.web.exchange import CLIENT, Client, Headers, Scope

MAX_HEAD_BYTES = 256 * 1024
"""Of a request's head, together with what of its body comes in the same reads."""

HEAD_TIMEOUT_S = 30.0
KEEP_ALIVE_S = 75
WRITE_TIMEOUT_S = 60.0
"""How long a client may leave what we write unread before its connection is cut."""
LAST_WRITES_S = 10
"""For answers that are complete but not yet read by their clients, when the server stops."""


class _BoundedProtocol(HttpToolsProtocol):
    """Limits the head of a request in bytes and in seconds, and how long a client need not read.

    Its requests find the connection's ``Client`` in the extension ``CLIENT``.
    """

    _head_bytes = 0
    _in_head = True
    _is_idle = True
    _deadline = math.inf
    _timer_at = math.inf
    _timer: asyncio.TimerHandle | None = None
    _client: Client

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._client = _HttpClient(self)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)
        self._client.leave()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait(WRITE_TIMEOUT_S)

    def resume_writing(self) -> None:
        self._deadline = math.inf
        if self._is_idle:
            self._wait(KEEP_ALIVE_S)
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response("The request's head is too large.")
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        if not self._in_head:
            self._expect_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = self._is_idle = False
        self._deadline = math.inf
        self.scope["extensions"] = {CLIENT: self._client}  # type: ignore[dict-item]
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """As the base class does it, but for its timer: one for every request is too dear."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._is_idle = True
            self._wait(KEEP_ALIVE_S)

    def _expect_head(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        self._wait(HEAD_TIMEOUT_S)

    def _wait(self, seconds: float) -> None:
        """End the connection in that time, unless the deadline is moved or taken away.

        One timer serves them all: it looks again where the deadline has moved on.
        """
        self._deadline = deadline = self.loop.time() + seconds
        if deadline < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = deadline
            self._timer = self.loop.call_at(deadline, self._look_at_deadline)

    def _look_at_deadline(self) -> None:
        self._timer = None
        self._timer_at = math.inf
        left_s = self._deadline - self.loop.time()
        if left_s == math.inf:
            return
        if left_s > 0:
            self._wait(left_s)
        elif self.flow.write_paused:
            self.transport.abort()
        else:
            self.transport.close()


class _HttpClient(Client):
    """Does at once what uvicorn does in several steps, for a request that is not pipelined."""

    __slots__ = ("_connection",)

    def __init__(self, connection: _BoundedProtocol) -> None:
        super().__init__()
        self._connection = connection

    def taken_body(self, scope: Scope) -> bytes | None:
        cycle = self._connection.cycle
        if cycle.scope is not scope or cycle.more_body or cycle.disconnected:
            return None
        body, cycle.body = bytes(cycle.body), bytearray()
        return body

    def respond(self, scope: Scope, status: int, headers: Headers, body: bytes) -> bool:
        connection, cycle = self._connection, self._connection.cycle
        if not self._can_write(scope) or cycle.response_started:
            return False
        lines = [STATUS_LINE[status]]
        for name, value in (*connection.server_state.default_headers, *headers):
            lines.append(b"%b: %b\r\n" % (name, value))
        if not cycle.keep_alive:
            lines.append(b"connection: close\r\n")
        head = b"".join(lines)
        if head.count(b"\n") != len(lines):
            raise ValueError("a header holds what ends it")
        cycle.response_started = cycle.response_complete = True
        connection.transport.write(b"%b\r\n%b" % (head, body))
        if not cycle.keep_alive:
            connection.transport.close()
        cycle.message_event.set()
        cycle.on_response()
        return True

    def write(self, scope: Scope, data: bytes) -> bool:
        if not self._can_write(scope) or not self._connection.cycle.chunked_encoding:
            return False
        self._connection.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        return True

    def _can_write(self, scope: Scope) -> bool:
        connection = self._connection
        return (
            connection.cycle.scope is scope
            and not connection.flow.write_paused
            and not connection.transport.is_closing()
        )


class _Server(uvicorn.Server):
    """Leaves the process's signals alone, and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


def bind(host: str, port: int) -> socket.socket:
    """A listening address, taken. Raises ``OSError`` if it cannot be had."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def url_of(listener: socket.socket) -> str:
    """The base URL under which a bound socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def event_loop() -> asyncio.AbstractEventLoop:
    """A loop of the kind that the server runs best on."""
    factory = uvicorn.Config(app="", loop="uvloop", log_config=None).get_loop_factory()
    return factory() if factory is not None else asyncio.new_event_loop()


@asynccontextmanager
async def listening(app: App, listener: socket.socket) -> AsyncIterator[None]:
    """Answer requests inside; on leaving, close idle connections and wait for the last writes."""
    config = uvicorn.Config(
        _as_asgi(app),
        http=_BoundedProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=2048,
        timeout_graceful_shutdown=LAST_WRITES_S,
    )
    # It would call every answer that we break off on purpose an error.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    heard = asyncio.create_task(server.listening.wait())
    try:
        await asyncio.wait({serving, heard}, return_when=asyncio.FIRST_COMPLETED)
        yield
    finally:
        heard.cancel()
        server.should_exit = True
        await serving


def _as_asgi(app: App) -> Any:
    return app
