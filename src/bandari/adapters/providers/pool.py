"""Connections to one provider: opened, kept for the next request, and never too many.

Owns reaching a server (its addresses, TLS, a proxy of the environment) and who may have which
connection. What is sent over one is not its business.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from functools import cache
from itertools import islice

import aiohappyeyeballs
from aiohappyeyeballs import AddrInfoType as AddrInfo

from bandari.adapters.providers.http1 import Connection
from bandari.adapters.providers.proxies import Proxies, Tunnel
from bandari.adapters.providers.urls import Origin
from bandari.domain.faults import UpstreamOverloaded, UpstreamUnreachable

NEXT_ADDRESS_S = 0.25
"""How long an address may be silent before the next one of the same name is tried beside it."""


@cache
def tls_context() -> ssl.SSLContext:
    """Certificates are checked against the system's, or ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Pool:
    """At most ``max_connections`` at a time, whatever their origins; who waits for one gets it in
    the order of asking.

    One that is ``idle_s`` without a request is closed. Connecting, and waiting for a place, may
    take ``connect_s`` each.
    """

    def __init__(
        self, proxies: Proxies, *, connect_s: float, idle_s: float, max_connections: int
    ) -> None:
        self._connect_s = connect_s
        self._idle_s = idle_s
        self._max_connections = max_connections
        self._proxies = proxies
        self._idle: dict[Origin, list[Connection]] = {}
        self._open: dict[Connection, Origin] = {}
        self._connecting = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._lookups: dict[Origin, asyncio.Task[Sequence[AddrInfo]]] = {}
        self._is_closed = False

    async def take(self, origin: Origin, *, fresh: bool = False) -> Connection:
        """The connection that was used last, or a new one; with ``fresh`` always a new one.

        Raises ``UpstreamUnreachable``, or ``UpstreamOverloaded`` where none gets free in time.
        """
        if self._waiting or not self._has_something():
            await self._wait()
        connection = None if fresh else self._idle_one(origin)
        if connection is not None:
            return connection
        if self._is_closed:
            raise UpstreamUnreachable
        return await self._connect(origin)

    def keep(self, connection: Connection) -> None:
        """It can serve again."""
        self._idle.setdefault(self._open[connection], []).append(connection)
        self._call_next()

    def close_idle(self) -> None:
        """Those that nobody uses now."""
        for connection in [each for kept in self._idle.values() for each in kept]:
            connection.close()

    def close(self) -> None:
        """For good: what runs is interrupted, and what is asked for later is unreachable."""
        self._is_closed = True
        for connection in tuple(self._open):
            connection.close()
        self._call_next()

    # Who may have which.

    def _has_something(self) -> bool:
        """Whether there is a place, or a connection that nobody uses."""
        return self._free() > 0 or any(self._idle.values()) or self._is_closed

    def _free(self) -> int:
        return self._max_connections - len(self._open) - self._connecting

    def _idle_one(self, origin: Origin) -> Connection | None:
        kept = self._idle.get(origin)
        while kept:
            connection = kept.pop()
            if connection.is_usable:
                return connection
            connection.close()
        return None

    def _close_an_idle_one(self) -> None:
        for kept in self._idle.values():
            if kept:
                kept.pop(0).close()
                return

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._connect_s):
                await self._turn()
                while not self._has_something():
                    await self._turn()
        except TimeoutError:
            raise UpstreamOverloaded from None

    async def _turn(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            self._waiting.remove(waiter)
            self._call_next()  # the turn may have been given to somebody who has left
            raise
        self._waiting.remove(waiter)

    def _call_next(self) -> None:
        """As many of those who have waited longest as there is something for."""
        if not self._waiting:
            return
        there_is = self._free() + sum(map(len, self._idle.values()))
        called = len(self._waiting) if self._is_closed else max(there_is, 0)
        for waiter in islice(self._waiting, called):
            if not waiter.done():
                waiter.set_result(None)

    def _closed(self, connection: Connection) -> None:
        origin = self._open.pop(connection, None)
        if origin is None:  # it never came to be open
            return
        kept = self._idle.get(origin, [])
        if connection in kept:
            kept.remove(connection)
        if not kept:
            self._idle.pop(origin, None)
        self._call_next()

    # Reaching a server.

    async def _connect(self, origin: Origin) -> Connection:
        self._connecting += 1
        try:
            if self._free() < 0:
                self._close_an_idle_one()
            async with asyncio.timeout(self._connect_s):
                connection = await self._connected(origin)
            if self._is_closed or not connection.is_usable:
                connection.close()
                raise ConnectionResetError("closed as soon as it was made")
            self._open[connection] = origin
        except (OSError, ValueError) as error:  # TimeoutError is an OSError; a proxy may be none
            raise UpstreamUnreachable from error
        else:
            return connection
        finally:
            self._connecting -= 1
            self._call_next()

    async def _connected(self, origin: Origin) -> Connection:
        loop = asyncio.get_running_loop()
        proxy = self._proxies.for_origin(origin)
        sock = await self._socket(origin if proxy is None else proxy.origin)
        connection = Connection(self._idle_s, self._closed)
        tunnel = Tunnel() if origin.is_tls else None
        try:
            transport, _ = await loop.create_connection(lambda: tunnel or connection, sock=sock)
        except BaseException:
            sock.close()
            raise
        if tunnel is None:
            return connection
        try:
            if proxy is not None:
                await tunnel.open(origin, proxy)
            tunnel.check()
            secured = await loop.start_tls(
                transport, connection, tls_context(), server_hostname=origin.host
            )
        except BaseException:
            transport.abort()  # the socket is its own now
            raise
        assert secured is not None
        connection.connection_made(secured)
        return connection

    async def _socket(self, origin: Origin) -> socket.socket:
        addresses = await self._addresses(origin)
        task = asyncio.current_task()
        assert task is not None
        cancellations = task.cancelling()
        try:
            sock = await aiohappyeyeballs.start_connection(
                addresses, happy_eyeballs_delay=NEXT_ADDRESS_S, interleave=1
            )
        except RuntimeError as error:  # uvloop's, for some of what the system refuses
            raise OSError(str(error)) from error
        if task.cancelling() > cancellations:  # it is forgotten while the slower addresses are left
            sock.close()
            raise asyncio.CancelledError
        return sock

    async def _addresses(self, origin: Origin) -> Sequence[AddrInfo]:
        """A name is looked up once at a time, however many ask for it: a look-up keeps its thread
        until it ends, and there are few.
        """
        lookup = self._lookups.get(origin)
        if lookup is None:
            lookup = asyncio.get_running_loop().create_task(_look_up(origin))
            self._lookups[origin] = lookup
            lookup.add_done_callback(lambda done: self._looked_up(origin, done))
        return await asyncio.shield(lookup)

    def _looked_up(self, origin: Origin, lookup: asyncio.Task[Sequence[AddrInfo]]) -> None:
        del self._lookups[origin]
        if not lookup.cancelled():
            lookup.exception()  # whoever asked may have left: then nobody else hears of it


async def _look_up(origin: Origin) -> Sequence[AddrInfo]:
    loop = asyncio.get_running_loop()
    return await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
