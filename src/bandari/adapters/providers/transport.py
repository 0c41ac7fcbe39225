"""HTTP to upstreams, behind a port that fits on a screen.

Owns connections, timeouts and the mapping of the client library's exceptions to faults; knows no
protocol that is spoken over it. ``HttpTransport`` is the real one; tests exchange it for a script.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from datetime import timedelta
from types import TracebackType
from typing import Protocol

from msgspec import Struct
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import (
    BuilderError,
    ConnectError,
    ConnectTimeoutError,
    PoolTimeoutError,
    PyreqwestError,
    RequestTimeoutError,
)
from pyreqwest.request import StreamRequest
from pyreqwest.response import Response

from bandari.domain.faults import (
    UpstreamFault,
    UpstreamInterrupted,
    UpstreamMalformed,
    UpstreamOverloaded,
    UpstreamTimeout,
    UpstreamUnreachable,
)

MAX_BODY_BYTES = 64 * 1024 * 1024
"""The largest unstreamed answer that is read."""

MAX_ERROR_BODY_BYTES = 64 * 1024

IDLE_STEPS = 16
"""A silent upstream is given up after ``idle_ms``, or up to a sixteenth of it earlier."""


class Timeouts(Struct, frozen=True):
    """How long to wait for what, in milliseconds.

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
    """An upstream's answer. Leaving the context that gave it closes the connection."""

    status: int

    def header(self, name: str) -> str | None: ...

    async def body(self, max_bytes: int = MAX_BODY_BYTES) -> bytes:
        """All of it. Raises ``UpstreamMalformed`` beyond ``max_bytes``."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """As the network gives it. Raises ``UpstreamInterrupted`` when it breaks off."""
        ...


class Transport(Protocol):
    def post(
        self, url: str, headers: Mapping[str, str], body: bytes
    ) -> AbstractAsyncContextManager[Reply]:
        """Send; entering waits for the status. Raises ``UpstreamFault`` only."""
        ...

    async def close(self) -> None: ...


def _fault_of(error: PyreqwestError) -> UpstreamFault:
    if isinstance(error, BuilderError | ConnectError | ConnectTimeoutError):
        return UpstreamUnreachable()
    if isinstance(error, PoolTimeoutError):
        return UpstreamOverloaded()
    if isinstance(error, RequestTimeoutError):
        return UpstreamTimeout()
    return UpstreamInterrupted()


class HttpTransport:
    """pyreqwest: pooled connections to one provider.

    A server may close a connection that is idle just when it is used again. So idle ones are given
    up before most servers do (uvicorn's five seconds are the shortest in use), a request that got
    no answer because its connection was closed is sent once more, and with ``keep_alive`` false
    none is used twice.

    pyreqwest (0.15, and back to 0.11) does not close the connection of a request that is cancelled
    before the answer's head: it leaks, and its place among ``max_connections`` with it. So such a
    request is abandoned instead: its connection is closed as soon as its head has come, or when
    ``read_timeout`` ends it.
    """

    def __init__(
        self, timeouts: Timeouts, max_connections: int = 1000, *, keep_alive: bool = True
    ) -> None:
        self._timeouts = timeouts
        self._abandoned: set[asyncio.Task[None]] = set()
        longest_silence_ms = min(max(timeouts.first_event_ms, timeouts.idle_ms), timeouts.answer_ms)
        builder = ClientBuilder() if keep_alive else ClientBuilder().pool_max_idle_per_host(0)
        self._client: Client = (
            builder.pool_idle_timeout(timedelta(milliseconds=timeouts.idle_connection_ms))
            .connect_timeout(timedelta(milliseconds=timeouts.connect_ms))
            .pool_timeout(timedelta(milliseconds=timeouts.connect_ms))
            .read_timeout(timedelta(milliseconds=longest_silence_ms))
            .max_connections(max_connections)
            .follow_redirects(False)
            .gzip(False)
            .brotli(False)
            .zstd(False)
            .deflate(False)
            .referer(False)
            .user_agent("bandari")
            .build()
        )

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> _Post:
        return _Post(self, self._timeouts, url, headers, body)

    async def close(self) -> None:
        for task in self._abandoned:
            task.cancel()
        await asyncio.gather(*self._abandoned, return_exceptions=True)
        await self._client.close()

    async def sent(
        self, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[StreamRequest, Response]:
        """Send, and wait for the head of the answer. Raises like pyreqwest."""
        # With its default read-ahead the connection would outlive a reader that leaves early.
        try:
            request = (
                self._client.post(url)
                .headers(headers)
                .body_bytes(body)
                .streamed_read_buffer_limit(0)
                .build_streamed()
            )
        except ValueError as error:  # a URL without a host, a key with a newline
            raise UpstreamUnreachable from error
        entering = asyncio.ensure_future(request.__aenter__())
        try:
            return request, await asyncio.shield(entering)
        except asyncio.CancelledError:
            task = asyncio.create_task(_close_when_entered(request, entering))
            self._abandoned.add(task)
            task.add_done_callback(self._abandoned.discard)
            raise


async def _close_when_entered(request: StreamRequest, entering: asyncio.Future[Response]) -> None:
    with suppress(PyreqwestError):
        await entering
        await request.__aexit__(None, None, None)


class _Post:
    """One request, from its sending to the end of its answer. (A class because a generator's
    context would cost as much as all the rest of it.)
    """

    __slots__ = ("_body", "_deadline", "_headers", "_request", "_timeouts", "_transport", "_url")

    _deadline: asyncio.Timeout
    _request: StreamRequest

    def __init__(
        self,
        transport: HttpTransport,
        timeouts: Timeouts,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
    ) -> None:
        self._transport = transport
        self._timeouts = timeouts
        self._url = url
        self._headers = headers
        self._body = body

    async def __aenter__(self) -> _HttpReply:
        timeouts = self._timeouts
        latest = asyncio.get_running_loop().time() + timeouts.answer_ms / 1000
        first_ms = min(timeouts.first_event_ms, timeouts.answer_ms)
        self._deadline = asyncio.timeout(first_ms / 1000)
        await self._deadline.__aenter__()
        try:
            response = await self._send()
        except BaseException as error:
            await self._end(type(error), error, error.__traceback__)
            raise
        chunks = _Chunks(response, self._deadline, timeouts.idle_ms / 1000, latest)
        return _HttpReply(response, chunks)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._request.__aexit__(None, None, None)
        except BaseException as failure:
            await self._end(type(failure), failure, failure.__traceback__)
            raise
        await self._end(kind, error, trace)

    async def _send(self) -> Response:
        sent = self._transport.sent
        try:
            try:
                self._request, response = await sent(self._url, self._headers, self._body)
            except ConnectError:
                self._request, response = await sent(self._url, self._headers, self._body)
        except PyreqwestError as error:
            raise _fault_of(error) from error
        return response

    async def _end(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._deadline.__aexit__(kind, error, trace)
        except TimeoutError as late:
            raise UpstreamTimeout from late


class _HttpReply:
    __slots__ = ("_chunks", "_response", "status")

    def __init__(self, response: Response, chunks: _Chunks) -> None:
        self._response = response
        self._chunks = chunks
        self.status = response.status

    def header(self, name: str) -> str | None:
        return self._response.get_header(name)

    async def body(self, max_bytes: int = MAX_BODY_BYTES) -> bytes:
        pieces: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > max_bytes:
                raise UpstreamMalformed(f"The provider's answer exceeds {max_bytes} bytes.")
            pieces.append(chunk)
        return b"".join(pieces)

    def chunks(self) -> AsyncIterator[bytes]:
        return self._chunks


class _Chunks:
    """The body as the network gives it; each chunk moves the deadline."""

    __slots__ = ("_cancelled_before", "_deadline", "_idle_s", "_latest", "_moved", "_now", "_read")

    def __init__(
        self, response: Response, deadline: asyncio.Timeout, idle_s: float, latest: float
    ) -> None:
        self._read = response.body_reader.read_chunk
        self._deadline = deadline
        self._idle_s = idle_s
        self._latest = latest
        self._now = asyncio.get_running_loop().time
        self._moved = -math.inf
        self._cancelled_before = _cancellations()

    def __aiter__(self) -> _Chunks:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._read()
        except PyreqwestError as error:
            raise _fault_of(error) from error
        # pyreqwest swallows a cancellation that comes together with a chunk.
        if _cancellations() > self._cancelled_before:
            raise asyncio.CancelledError
        if chunk is None:
            raise StopAsyncIteration
        # Moving a timer costs as much as reading a chunk: not for every one of a quick stream.
        now = self._now()
        if now - self._moved > self._idle_s / IDLE_STEPS:
            self._moved = now
            self._deadline.reschedule(min(now + self._idle_s, self._latest))
        return bytes(chunk)


def _cancellations() -> int:
    task = asyncio.current_task()
    assert task is not None, "an answer is read in a task"
    return task.cancelling()
