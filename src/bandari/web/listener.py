"""The listening socket, and the connections that were accepted on it, from first to last.

Signals are not its business: who runs it decides when to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from bandari.web.http1 import App, ServerConnection
from bandari.web.sources import TrustedProxies

_new_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    import uvloop

    _new_loop = uvloop.new_event_loop
except ImportError:
    _new_loop = asyncio.new_event_loop

BACKLOG = 2048
LAST_WRITES_S = 10.0
"""For answers that are complete but not yet read by their clients, when the server stops."""
CUT_S = 1.0
"""For those who were told to stop then."""

_log = logging.getLogger(__name__)


class _Connections:
    """Those that are open, or still being answered. Called, it makes one."""

    def __init__(self, app: App, proxies: TrustedProxies | None = None) -> None:
        self._app = app
        self._proxies = proxies
        self._open: set[ServerConnection] = set()
        self._is_draining = False
        self._all_gone = asyncio.Event()

    def __call__(self) -> ServerConnection:
        connection = ServerConnection(self._app, self._forget, self._proxies)
        self._open.add(connection)
        if self._is_draining:  # it was accepted just before
            connection.shut_down()
        return connection

    async def drain(self) -> None:
        """Close those that wait for a request; let the others end, but not for ever."""
        self._is_draining = True
        for connection in list(self._open):
            connection.shut_down()
        if await self._are_gone_within(LAST_WRITES_S):
            return
        _log.warning("connections cut", extra={"detail": f"{len(self._open)} were still open"})
        for connection in list(self._open):
            connection.abort()
        await self._are_gone_within(CUT_S)

    async def _are_gone_within(self, seconds: float) -> bool:
        if self._open:
            self._all_gone.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._all_gone.wait()
        return not self._open

    def _forget(self, connection: ServerConnection) -> None:
        self._open.discard(connection)
        if not self._open:
            self._all_gone.set()


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
    if _new_loop is asyncio.new_event_loop:
        _log.warning("uvloop is missing: the server is slower without it")
    return _new_loop()


@asynccontextmanager
async def listening(
    app: App, listener: socket.socket, proxies: TrustedProxies | None = None
) -> AsyncIterator[None]:
    """Answer requests inside; on leaving, close idle connections and wait for the last writes.

    ``proxies`` are those that may say for whom they ask, if there are any.
    """
    connections = _Connections(app, proxies)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(connections, sock=listener, backlog=BACKLOG)
    try:
        yield
    finally:
        server.close()
        await connections.drain()
