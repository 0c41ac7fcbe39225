"""One connection to an upstream that speaks HTTP/1.1: a request out, its answer in, then the next.

Owns framing, reading ahead within a bound, and the deadlines of an answer. Knows no pool, no
protocol that is spoken over HTTP, and no event of its own: who reads asks for what comes next.

Our own, because on the hot path it costs a third of what a general client does (ADR 0014); the
parser is llhttp (httptools), which the server under us uses too.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable

import httptools
from msgspec import Struct

from bandari.domain.faults import (
    UpstreamFault,
    UpstreamInterrupted,
    UpstreamMalformed,
    UpstreamTimeout,
)
from bandari.service.deadline import Deadline

MAX_HEAD_BYTES = 64 * 1024
"""What may come without a piece of a body: a head, or trailers, that do not end."""

READ_AHEAD_BYTES = 64 * 1024
"""What is read while nobody asks for it; beyond, the upstream is made to wait."""

_REQUEST_TIMEOUT = 408


STALE_S = 2.0
"""How soon after a request a connection is closed that its server had given up before."""


class Unanswered(UpstreamInterrupted):
    """A connection that had served before was closed without a byte of an answer.

    Most likely it was closed for having been idle, and the request was never read. A server may say
    so with a 408 that crosses the request (RFC 9110, 15.5.9).
    """


class _HeadersTooLarge(UpstreamMalformed):
    """The headers of the provider's answer are too large."""


class Limits(Struct, frozen=True):
    """How long an answer may take, in seconds: until the first bytes of its body, between them, and
    in all.
    """

    first_s: float
    silence_s: float
    answer_s: float


def spelled_head(method: str, target: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """A request's line and headers, without the empty line. Raises ``ValueError``."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    if any(not line.isprintable() for line in lines):
        raise ValueError("a line of a request's head holds what ends it")
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


class Connection(asyncio.Protocol):
    """Serves one request at a time: ``send``, ``head``, ``chunk`` until it is empty, ``release``.

    ``when_closed`` is called when it is gone, by whomever; ``idle_s`` is how long it may be without
    a request before it closes itself. ``is_complete``: all of the answer has come.
    """

    __slots__ = (
        "_ahead",
        "_ahead_bytes",
        "_answer_deadline",
        "_beside_bytes",
        "_deadline",
        "_ends_with_connection",
        "_fault",
        "_has_begun",
        "_has_enough",
        "_headers",
        "_idle_s",
        "_is_busy",
        "_is_paused",
        "_loop",
        "_now",
        "_parser",
        "_sent",
        "_silence_s",
        "_take",
        "_transport",
        "_waiter",
        "_when_closed",
        "has_served",
        "is_complete",
        "status",
    )

    def __init__(self, idle_s: float, when_closed: Callable[[Connection], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self._idle_s = idle_s
        self._when_closed = when_closed
        self._parser: httptools.HttpResponseParser | None = None
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._take: Callable[[bytes], bool] | None = None
        self._has_enough = False
        self._deadline = Deadline(self._loop, self._is_late)
        # A class, not an instance: one would hold the frames that it was raised through, and so
        # the request, for as long as it is held.
        self._fault: type[UpstreamFault] | None = None
        self._is_busy = False
        self.has_served = False
        self._sent = -math.inf
        self._clear()

    def _clear(self) -> None:
        self.status = 0
        self._has_begun = False
        self.is_complete = False
        self._headers: list[tuple[bytes, bytes]] = []
        self._beside_bytes = 0
        self._ends_with_connection = False
        self._ahead: list[bytes] = []
        self._ahead_bytes = 0
        self._is_paused = False

    # For whoever asks.

    @property
    def is_usable(self) -> bool:
        """Whether another request can be sent."""
        transport = self._transport
        return transport is not None and not transport.is_closing() and not self._is_busy

    def send(self, request: bytes, limits: Limits) -> None:
        """Send a whole request, spelled."""
        assert self.is_usable, "one request at a time"
        self._clear()
        self._is_busy = True
        now = self._now()
        self._sent = now
        self._silence_s = limits.silence_s
        self._answer_deadline = now + limits.answer_s
        self._deadline.set(now + min(limits.first_s, limits.answer_s))
        assert self._transport is not None
        self._transport.write(request)

    async def head(self) -> None:
        """Wait for the status and the headers."""
        while not self.status:
            await self._more()
        if self.status == _REQUEST_TIMEOUT and self.has_served and self._says_close():
            raise Unanswered

    def header(self, name: str) -> str | None:
        """The first header of that lower-case name."""
        wanted = name.encode()
        for key, value in self._headers:
            if key.lower() == wanted:
                return value.decode("latin-1")
        return None

    async def chunk(self) -> bytes:
        """What of the body has come since the last time; waits for some. Empty at its end."""
        while not self._ahead:
            if self.is_complete:
                return b""
            await self._more()
        return self._taken()

    async def feed(self, take: Callable[[bytes], bool]) -> bool:
        """Give ``take`` the body as it comes, until it returns false; false here: at its end.

        What comes while this waits costs the task no turn.
        """
        while True:
            if self._ahead:
                if not take(self._taken()):
                    return True
            elif self.is_complete:
                return False
            else:
                self._take = take
                self._has_enough = False  # of one who was cancelled it may still be true
                try:
                    await self._more()
                finally:
                    self._take = None
                if self._has_enough:
                    return True

    async def body(self, max_bytes: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while chunk := await self.chunk():
            size += len(chunk)
            if size > max_bytes:
                raise UpstreamMalformed(f"The provider's answer exceeds {max_bytes} bytes.")
            pieces.append(chunk)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def release(self) -> bool:
        """Nobody reads the answer any more. True if the connection can be used again."""
        self._is_busy = False
        self.has_served = True
        transport = self._transport
        if (
            transport is None
            or not self.is_complete
            or self._ends_with_connection
            or self._is_paused
            or transport.get_write_buffer_size()  # it was answered before it was read
        ):
            return False
        self._deadline.set(self._now() + self._idle_s)
        return True

    def close(self) -> None:
        self._break(UpstreamInterrupted)

    def _taken(self) -> bytes:
        ahead, self._ahead = self._ahead, []
        self._ahead_bytes = 0
        if self._is_paused:
            self._resume()
        return ahead[0] if len(ahead) == 1 else b"".join(ahead)

    def _says_close(self) -> bool:
        return (self.header("connection") or "").lower() == "close"

    def _resume(self) -> None:
        """It was we who kept the upstream waiting: its silence begins now."""
        self._is_paused = False
        if self._transport is not None:
            self._deadline.at = min(self._now() + self._silence_s, self._answer_deadline)
            self._transport.resume_reading()

    def _more(self) -> asyncio.Future[None]:
        if self._fault is not None:
            raise self._fault
        self._waiter = waiter = self._loop.create_future()
        return waiter

    # For the event loop.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            return
        if not self._is_busy or self.is_complete:
            self._break(UpstreamMalformed)  # nobody asked for that
            return
        self._has_begun = True
        before = self._ahead_bytes
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._break(UpstreamInterrupted if self.status else UpstreamMalformed)
            return
        if self.status and self._ahead_bytes != before:
            self._beside_bytes = 0
        else:
            self._beside_bytes += len(data)
            if self._beside_bytes > MAX_HEAD_BYTES:
                self._break(_HeadersTooLarge)
        self._wake()

    def eof_received(self) -> None:
        """Said apart from ``connection_lost``, which waits for what is still to be written."""
        if self._transport is not None and self._ends_with_connection:
            self.is_complete = True
        self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's
        # Later, somebody may have been at work on the answer: it is not to be begun twice.
        unanswered = self.has_served and not self._has_begun and self._now() < self._sent + STALE_S
        self._break(Unanswered if unanswered else UpstreamInterrupted)

    # For the parser, which makes an ``HttpParserError`` of what these raise.

    def on_message_begin(self) -> None:
        if self.is_complete:
            raise ValueError("a second answer to one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        status = self._parser.get_status_code()
        if status < 200:
            if status < 100:
                raise ValueError("no status of HTTP")
            return
        self.status = status
        # Of one that has no body, the end comes next, and says whether the connection ends too.
        self._ends_with_connection = not any(
            name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self._headers
        )

    def on_body(self, body: bytes) -> None:
        self._ahead.append(body)
        self._ahead_bytes += len(body)
        # The first piece might have taken longer than the next may: it may come forward.
        self._deadline.set(min(self._now() + self._silence_s, self._answer_deadline))
        if self._ahead_bytes > READ_AHEAD_BYTES and not self._is_paused:
            self._is_paused = True
            assert self._transport is not None
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        assert self._parser is not None
        if not self.status:  # it was an informational one: the answer is still to come
            self._headers = []
            self._ahead = []
            self._ahead_bytes = 0
            return
        self.is_complete = True
        self._ends_with_connection = not self._parser.should_keep_alive()

    # Ends and deadlines.

    def _break(self, fault: type[UpstreamFault]) -> None:
        """The connection is of no more use; who waits for more of an answer hears why."""
        if self._fault is None:
            self._fault = fault
        if self._transport is not None:
            self._transport.abort()
            self._gone()
        self._wake()

    def _gone(self) -> None:
        self._transport = None
        self._parser = None
        self._deadline.end()
        self._when_closed(self)

    def _wake(self) -> None:
        """Whoever waits is given what he takes at once, or woken."""
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if self._take is not None and self._ahead:
            self._has_enough = not self._take(self._taken())
            if not (self._has_enough or self.is_complete or self._fault):
                return
        waiter.set_result(None)

    def _is_late(self) -> None:
        now = self._now()
        if self._is_paused and now < self._answer_deadline:
            # It is not the upstream that keeps silent.
            self._deadline.set(min(now + self._silence_s, self._answer_deadline))
        else:
            self._break(UpstreamTimeout)
