"""The HTTP server under the application: uvicorn, in our own loop, with bounds that it lacks.

Signals are not its business: who runs it decides when to stop. A request's head has a size and a
time within which it must arrive, so that nobody can hold memory or a socket with half a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bandari.web.app import App
from bandari.web.exchange import CLIENT, Client

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

    Its requests find the ``Client`` of the connection in the extension ``CLIENT``.
    """

    _head_bytes = 0
    _in_head = True
    _head_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None
    _client: Client

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._client = Client()
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_unread_timer()
        super().connection_lost(exc)
        self._client.leave()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stop_unread_timer()
        self._unread_timer = self.loop.call_later(WRITE_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_unread_timer()
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
        self._in_head = False
        self._stop_timer()
        self.scope["extensions"] = {CLIENT: self._client}  # type: ignore[dict-item]
        super().on_headers_complete()

    def _expect_head(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._close_late)

    def _close_late(self) -> None:
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None


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
        timeout_keep_alive=KEEP_ALIVE_S,
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
