"""HTTP to upstreams, behind a port that fits on a screen.

Owns how long to wait for what, and what is sent twice; knows no protocol that is spoken over it.
``HttpTransport`` is the real one; tests exchange it for a script.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import lru_cache, partial
from types import TracebackType
from typing import Protocol

from msgspec import Struct

from bandari.adapters.providers.http1 import Connection, Limits, Unanswered, spelled_head
from bandari.adapters.providers.pool import Pool
from bandari.adapters.providers.proxies import Proxies
from bandari.adapters.providers.urls import Origin, target_of
from bandari.domain.faults import UpstreamUnreachable

MAX_BODY_BYTES = 64 * 1024 * 1024
"""The largest unstreamed answer that is read."""

MAX_ERROR_BODY_BYTES = 64 * 1024

MAX_HEADS = 256
"""Requests' heads that are kept spelled: there is one for each URL and key of a provider."""


class Timeouts(Struct, frozen=True):
    """How long to wait for what, in milliseconds.

    ``connect_ms`` is for a connection, and for a place among the most that there may be.
    ``first_event_ms`` and ``answer_ms`` (all of it) count from the request, ``idle_ms`` from the
    last sign of life.
    A connection that is ``idle_connection_ms`` without a request is given up.
    """

    connect_ms: int = 5_000
    first_event_ms: int = 120_000
    idle_ms: int = 60_000
    answer_ms: int = 600_000
    idle_connection_ms: int = 4_000


class Reply(Protocol):
    """An upstream's answer. Leaving the context that gave it before its end closes the connection.

    Reading raises ``UpstreamInterrupted`` when it breaks off, and ``UpstreamTimeout``.
    """

    status: int

    def header(self, name: str) -> str | None:
        """The first header of that lower-case name."""
        ...

    async def chunk(self) -> bytes:
        """As the network gives it: what has come since the last time. Empty at the end only."""
        ...

    async def feed(self, take: Callable[[bytes], bool]) -> bool:
        """Give ``take`` the chunks as they come, until it returns false. False: at the end."""
        ...

    async def body(self, max_bytes: int) -> bytes:
        """All of it. Raises ``UpstreamMalformed`` beyond ``max_bytes``."""
        ...


class Transport(Protocol):
    def post(
        self, url: str, headers: Mapping[str, str], body: bytes
    ) -> AbstractAsyncContextManager[Reply]:
        """Send; entering waits for the status. Raises ``UpstreamFault`` only."""
        ...

    async def close(self) -> None: ...


class HttpTransport:
    """HTTP/1.1 over pooled connections to one provider.

    A server may close a connection that is idle just when it is used again. So idle ones are given
    up before most servers do (five seconds are the shortest in use), a request whose
    connection had served before and was soon closed without a byte of an answer is sent again, on a
    new one, and with ``keep_alive`` false none is used twice.

    Closing is for good: who reads hears ``UpstreamInterrupted``, and who asks for more later
    ``UpstreamUnreachable``.
    """

    def __init__(
        self, timeouts: Timeouts, max_connections: int = 1000, *, keep_alive: bool = True
    ) -> None:
        self._keep_alive = keep_alive
        self._limits = Limits(
            timeouts.first_event_ms / 1000, timeouts.idle_ms / 1000, timeouts.answer_ms / 1000
        )
        self._proxies = Proxies.of_environment()
        self._pool = Pool(
            self._proxies,
            connect_s=timeouts.connect_ms / 1000,
            idle_s=timeouts.idle_connection_ms / 1000,
            max_connections=max_connections,
        )
        self._head = lru_cache(MAX_HEADS)(partial(_request_head, self._proxies))

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> _Post:
        return _Post(self, url, headers, body)

    def retire(self) -> None:
        """Serve what runs, and who still asks, and keep no connection for another request."""
        self._keep_alive = False
        self._pool.close_idle()

    async def close(self) -> None:
        self._pool.close()

    async def ask(self, url: str, headers: Mapping[str, str], body: bytes) -> Connection:
        """Send, and wait for the head of the answer."""
        try:
            origin, head = self._head(url, tuple(headers.items()))
        except ValueError as error:  # a URL without a host, a key with a newline
            raise UpstreamUnreachable from error
        request = b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)
        try:
            return await self._answered(await self._pool.take(origin), request)
        except Unanswered:
            pass
        return await self._answered(await self._pool.take(origin, fresh=True), request)

    def done(self, connection: Connection) -> None:
        """Its answer was read, or is not wanted any more: then it is closed."""
        if connection.release() and self._keep_alive:
            self._pool.keep(connection)
        else:
            connection.close()

    async def _answered(self, connection: Connection, request: bytes) -> Connection:
        try:
            connection.send(request, self._limits)
            await connection.head()
        except BaseException:
            connection.close()
            raise
        return connection


def _request_head(
    proxies: Proxies, url: str, headers: tuple[tuple[str, str], ...]
) -> tuple[Origin, bytes]:
    target = target_of(url)
    own = [("host", target.host), ("user-agent", "bandari")]
    path = target.path
    proxy = None if target.origin.is_tls else proxies.for_origin(target.origin)
    if proxy is not None:
        path = f"http://{target.host}{path}"
        if proxy.authorization is not None:
            own.append(("proxy-authorization", proxy.authorization))
    return target.origin, spelled_head("POST", path, (*own, *headers))


class _Post:
    """One request, from its sending to the end of its answer. (A class because a generator's
    context would cost as much as all the rest of it.)
    """

    __slots__ = ("_body", "_connection", "_headers", "_transport", "_url")

    _connection: Connection

    def __init__(
        self, transport: HttpTransport, url: str, headers: Mapping[str, str], body: bytes
    ) -> None:
        self._transport = transport
        self._url = url
        self._headers = headers
        self._body = body

    async def __aenter__(self) -> Reply:
        self._connection = await self._transport.ask(self._url, self._headers, self._body)
        return self._connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._transport.done(self._connection)
